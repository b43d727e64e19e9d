//! What of a document with errors can still be looked at, so that one run tells of all errors that do not follow from each other.

use std::collections::HashSet;

use super::access::{entry, text};
use super::{Diagnostic, Entry, Map, Node, Severity, Span, Value};

/// Sections, and what an entry needs lest its absence is told, too: one of the keys, else this one.
const NEEDS: [(&str, &[&str], &str); 4] = [
    ("services", &["image", "build", "provider"], "image"),
    ("secrets", &["file", "environment", "external"], "file"),
    ("configs", &["file", "environment", "content", "external"], "file"),
    ("models", &["model"], "model"),
];

/// Takes out every attribute of a service, network, volume and so on in which one of these errors is. Returns false where one is
/// elsewhere, so that what is told after it might only follow from it.
pub(super) fn salvage(document: &mut Node, faults: &[Diagnostic]) -> bool {
    let mut errors = faults.iter().filter(|fault| fault.severity == Severity::Error).peekable();
    if errors.peek().is_none() {
        return true;
    }
    let spans: Option<HashSet<Span>> = errors.map(|fault| fault.span).collect();
    let (Some(spans), Some(map)) = (spans, document.as_map_mut()) else { return false };
    let mut search = Search { spans: &spans, found: HashSet::new() };
    for (section, entry) in map {
        if !search.section(section, entry) {
            return false;
        }
    }
    search.found.len() == spans.len()
}

struct Search<'s> {
    spans: &'s HashSet<Span>,
    found: HashSet<Span>,
}

impl Search<'_> {
    /// Returns false where an error is of the section itself.
    fn section(&mut self, section: &str, entry: &mut Entry) -> bool {
        let is_at = |span: &Span| self.spans.contains(span);
        let Value::Map(items) = &mut entry.node.value else { return !self.has(entry) };
        if is_at(&entry.key_span) || is_at(&entry.node.span) {
            return false;
        }
        for item in items.values_mut() {
            self.item(section, item);
        }
        true
    }

    fn item(&mut self, section: &str, item: &mut Entry) {
        let is_whole = self.has_at(item.key_span) | self.has_at(item.node.span);
        let is_hurt = match &mut item.node.value {
            Value::Map(attributes) => {
                let before = attributes.len();
                attributes.retain(|_, attribute| !self.has(attribute));
                attributes.len() < before
            }
            _ => false,
        };
        if is_whole {
            item.node.value = Value::Map(Map::new());
        }
        if is_whole || is_hurt {
            stand_in(section, &mut item.node);
        }
    }

    fn has(&mut self, entry: &Entry) -> bool {
        self.has_at(entry.key_span) | self.has_within(&entry.node)
    }

    fn has_within(&mut self, node: &Node) -> bool {
        let mut has = self.has_at(node.span);
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| has |= self.has_within(item)),
            Value::Map(map) => map.values().for_each(|entry| has |= self.has(entry)),
            _ => {}
        }
        has
    }

    fn has_at(&mut self, span: Span) -> bool {
        let is_at = self.spans.contains(&span);
        if is_at {
            self.found.insert(span);
        }
        is_at
    }
}

fn stand_in(section: &str, node: &mut Node) {
    let Some((_, keys, own)) = NEEDS.iter().find(|(name, ..)| *name == section) else { return };
    let span = node.span;
    if let Some(map) = node.as_map_mut()
        && !keys.iter().any(|key| map.contains_key(*key))
    {
        map.insert((*own).to_owned(), entry(span, text("unknown")));
    }
}
