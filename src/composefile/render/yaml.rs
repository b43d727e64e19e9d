//! YAML as `config` prints it.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::super::{Node, Value};

/// The document in its own order with `$` doubled; one that was not made final in order of the alphabet, with `$` as it is.
pub(in crate::composefile) fn document(document: &Node, is_final: bool) -> String {
    let style = if is_final { Style::Final } else { Style::Raw };
    // Nothing in the tree is without a form in YAML.
    serde_yaml::to_string(&Written { node: document, style }).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Final,
    Raw,
}

struct Written<'a> {
    node: &'a Node,
    style: Style,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let style = self.style;
        match &self.node.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::Text(text) if style == Style::Final && text.contains('$') => {
                serializer.serialize_str(&text.replace('$', "$$"))
            }
            Value::Text(text) | Value::Timestamp(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items.iter().map(|node| Written { node, style })),
            Value::Map(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if style == Style::Raw {
                    entries.sort_by_key(|(key, _)| key.as_str());
                }
                let mut out = serializer.serialize_map(Some(entries.len()))?;
                for (key, entry) in entries {
                    out.serialize_entry(key, &Written { node: &entry.node, style })?;
                }
                out.end()
            }
        }
    }
}
