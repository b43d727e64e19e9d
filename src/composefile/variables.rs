//! The variables that a document which was not interpolated asks for.

use std::collections::BTreeMap;

use super::interpolate::{Asked, asked};
use super::{Model, Node, Value};

/// A variable, with what the document says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variable {
    /// What stands where it is not set; a template as it is written.
    pub default: String,
    /// What stands in its place where it is set.
    pub alternate: String,
    /// Whether loading fails without it.
    pub is_required: bool,
}

/// Every variable by name. Of several defaults the first one of the document counts.
pub fn variables(model: &Model) -> BTreeMap<String, Variable> {
    let mut found = BTreeMap::new();
    walk(&model.document, &mut found);
    found
}

fn walk(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) if text.contains('$') => asked(text, &mut |name, what, text| {
            let variable = found.entry(name.to_owned()).or_default();
            match what {
                Asked::Plainly => {}
                Asked::WithDefault if variable.default.is_empty() => text.clone_into(&mut variable.default),
                Asked::WithAlternate if variable.alternate.is_empty() => text.clone_into(&mut variable.alternate),
                Asked::WithDefault | Asked::WithAlternate => {}
                Asked::Insistently => variable.is_required = true,
            }
        }),
        Value::List(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Map(map) => map.values().for_each(|entry| walk(&entry.node, found)),
        _ => {}
    }
}
