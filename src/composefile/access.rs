//! Reaching into the tree.

use super::{Entry, Map, Node, Span, Value};

impl Node {
    /// The entries, where this is a mapping.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items, where this is a list.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key).map(|entry| &mut entry.node)
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The entries below a key of a mapping: name and value.
    pub(super) fn entries(&self, key: &str) -> impl Iterator<Item = (&str, &Node)> {
        let map = self.get(key).and_then(Node::as_map);
        map.into_iter().flatten().map(|(name, entry)| (name.as_str(), &entry.node))
    }

    pub(super) fn entries_mut(&mut self, key: &str) -> impl Iterator<Item = (&str, &mut Node)> {
        let map = self.get_mut(key).and_then(Node::as_map_mut);
        map.into_iter().flatten().map(|(name, entry)| (name.as_str(), &mut entry.node))
    }

    /// The items of a list below a key of a mapping.
    pub(super) fn items(&self, key: &str) -> &[Node] {
        self.get(key).and_then(Node::as_list).unwrap_or_default()
    }

    pub(super) fn items_mut(&mut self, key: &str) -> &mut [Node] {
        self.get_mut(key).and_then(Node::as_list_mut).map(Vec::as_mut_slice).unwrap_or_default()
    }

    /// A text below a key of a mapping.
    pub(super) fn text_at(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_str)
    }

    /// Sets a key of a mapping; the place of a key that was not there is the mapping's own. Nothing happens to what is no mapping.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        let span = self.span;
        if let Some(map) = self.as_map_mut() {
            match map.get_mut(key) {
                Some(entry) => entry.node.value = value,
                None => {
                    map.insert(key.to_owned(), Entry { key_span: span, node: Node::new(span, value) });
                }
            }
        }
    }

    /// As `set`, only where the key is not there.
    pub(super) fn set_default(&mut self, key: &str, value: Value) {
        if self.get(key).is_none() {
            self.set(key, value);
        }
    }
}

/// An entry all of whose parts are at one place.
pub(super) fn entry(span: Span, value: Value) -> Entry {
    Entry { key_span: span, node: Node::new(span, value) }
}

/// A mapping all of whose parts are at one place.
pub(super) fn map_of<const N: usize>(span: Span, entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), entry(span, value))).collect())
}

pub(super) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}
