//! What becomes of the attributes that a file uses: what `config --support` prints.

use super::schema::{self, Attribute};
use super::{Model, Node, Value};

/// An attribute that the file uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    pub attribute: Attribute,
    /// The names of the services, networks, volumes … that have it, as the file has them in order. Empty for an attribute of the project.
    pub by: Vec<String>,
}

/// The attributes that the model has, in the order of the specification: those of services, networks and so on, and of their parts
/// those that have something to be said of. A part of what is inert or refused is so with it, and not told by itself.
pub fn used(model: &Model) -> Vec<Used> {
    let row = |attribute: Attribute| {
        let steps: Vec<&str> = attribute.path.split('.').collect();
        let by = users(&model.document, &steps);
        (!by.is_empty()).then(|| Used { by: by.into_iter().flatten().collect(), attribute })
    };
    schema::outstanding().into_iter().filter_map(row).collect()
}

/// Who has what is at a path below a node: names of entries of a top-level element, nobody's for what belongs to the project.
fn users(document: &Node, steps: &[&str]) -> Vec<Option<String>> {
    let entries = |section: &str| document.entries(section).collect::<Vec<_>>();
    match *steps {
        // Networks that are as they are by default are used all the same.
        [section] if document.get(section).is_some_and(|node| node.as_map().is_some()) => {
            entries(section).into_iter().map(|(name, _)| Some(name.to_owned())).collect()
        }
        [section, "*", ref below @ ..] => {
            let has = entries(section).into_iter().filter(|(_, node)| is_used(node, below));
            has.map(|(name, _)| Some(name.to_owned())).collect()
        }
        _ => is_used(document, steps).then_some(None).into_iter().collect(),
    }
}

/// Whether something is at a path: `*` is any entry, `KEY[]` any item of a list.
fn is_used(node: &Node, steps: &[&str]) -> bool {
    let Some((step, below)) = steps.split_first() else { return is_something(node) };
    if *step == "*" {
        return node.as_map().is_some_and(|map| map.values().any(|entry| is_used(&entry.node, below)));
    }
    match step.strip_suffix("[]") {
        Some(key) => node.items(key).iter().any(|item| is_used(item, below)),
        None => node.get(step).is_some_and(|node| is_used(node, below)),
    }
}

/// Nothing, and what is empty, have no effect.
fn is_something(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::List(items) => !items.is_empty(),
        Value::Map(map) => !map.is_empty(),
        _ => true,
    }
}
