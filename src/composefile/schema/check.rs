//! Whether a document has the shapes of the table. Reports every fault, each at its place.

use std::collections::HashMap;
use std::fmt;

use super::{Others, Path, Shape, Type};
use crate::composefile::{Diagnostic, Map, Node, Note, Value};
use crate::project::nearest;

/// So many keys can be read in a hint.
const LISTED_MAX: usize = 16;

/// Checks a whole document: unknown keys, wrong types, words, ranges, what is required, items that repeat.
pub(in crate::composefile) fn check(document: &Node, faults: &mut Vec<Diagnostic>) {
    if matches!(document.value, Value::Map(_)) {
        Walk { faults }.node(document, Shape::Object(&super::PROJECT), &Path::Root);
    } else {
        let message = format!("a Compose file must be a mapping, but this is {}", kind_of(&document.value));
        faults.push(Diagnostic::error(document.span, message));
    }
}

/// What a value is, in the words of messages.
pub(in crate::composefile) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Text(_) => "a text",
        Value::Timestamp(_) => "a date",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

struct Walk<'f> {
    faults: &'f mut Vec<Diagnostic>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, shape: Shape, path: &Path<'_>) {
        match (shape, &node.value) {
            (Shape::AnyOf(shapes), value) => match shapes.iter().find(|shape| takes(**shape, value)) {
                Some(shape) => self.node(node, *shape, path),
                None => self.wrong_kind(node, shape, path),
            },
            (shape, value) if !takes(shape, value) => self.wrong_kind(node, shape, path),
            (Shape::Words(words), Value::Text(text)) if !words.contains(&text.as_str()) => {
                let mut found = Diagnostic::error(node.span, format!("{path} must be {}, is `{text}`", one_of(words)));
                if let Some(near) = nearest(text, words.iter().copied()) {
                    found.label = format!("did you mean `{near}`?");
                }
                self.faults.push(found);
            }
            (Shape::Ruled(accepts, rule), Value::Text(text)) if !accepts(text) => {
                self.faults.push(Diagnostic::error(node.span, format!("{path} must {rule}, is `{text}`")));
            }
            (Shape::Within(first, last), value) if !number_of(value).is_some_and(|n| first as f64 <= n && n <= last as f64) => {
                let range = if last == i64::MAX { format!("{first} or more") } else { format!("from {first} to {last}") };
                self.faults.push(Diagnostic::error(node.span, format!("{path} must be {range}")));
            }
            (Shape::TextWithin(first, last), value) => {
                let number = value_of(value);
                if number.is_some_and(|n| n.fract() != 0.0 || n < first as f64 || n > last as f64) {
                    self.node(&Node::new(node.span, Value::Float(number.unwrap_or_default())), Shape::Within(first, last), path);
                }
            }
            (Shape::List(item), Value::List(items)) => self.items(items, *item, path),
            (Shape::Unique(item), Value::List(items)) => {
                self.items(items, *item, path);
                self.repeated(items, path);
            }
            (Shape::Map(entry) | Shape::Keyed(entry), Value::Map(map)) => {
                if let Some(empty) = map.get("").filter(|_| matches!(shape, Shape::Keyed(_))) {
                    self.faults.push(Diagnostic::error(empty.key_span, format!("{path}: a key must not be empty")));
                }
                for (key, value) in map {
                    self.node(&value.node, *entry, &Path::Key(path, key));
                }
            }
            (Shape::Names(entry), Value::Map(map)) => self.names(map, *entry, path),
            (Shape::Object(kind), Value::Map(map)) => self.object(node, map, kind, path),
            _ => {}
        }
    }

    fn items(&mut self, items: &[Node], shape: Shape, path: &Path<'_>) {
        for (index, item) in items.iter().enumerate() {
            self.node(item, shape, &Path::Item(path, index));
        }
    }

    fn names(&mut self, map: &Map, shape: Shape, path: &Path<'_>) {
        for (name, entry) in map {
            let path = Path::Key(path, name);
            if is_name(name) {
                self.node(&entry.node, shape, &path);
            } else {
                let message = format!("{path}: a name is made of letters, digits, `.`, `_` and `-`");
                self.faults.push(Diagnostic::error(entry.key_span, message));
            }
        }
    }

    fn object(&mut self, node: &Node, map: &Map, kind: &Type, path: &Path<'_>) {
        for (key, entry) in map {
            match kind.field(key) {
                Some(field) => self.node(&entry.node, field.shape, &Path::Key(path, key)),
                None if kind.others == Others::All || (key.starts_with("x-") && kind.others == Others::Extensions) => {}
                None => {
                    let mut found = Diagnostic::error(entry.key_span, format!("{}: unknown key", Path::Key(path, key)));
                    if let Some(near) = nearest(key, kind.fields.iter().map(|field| field.key)) {
                        found.label = format!("did you mean `{near}`?");
                    } else if kind.fields.len() <= LISTED_MAX {
                        let known: Vec<&str> = kind.fields.iter().map(|field| field.key).collect();
                        found.hint = Some(format!("what may be here: {}", known.join(", ")));
                    }
                    self.faults.push(found);
                }
            }
        }
        for field in kind.fields.iter().filter(|field| field.is_required && !map.contains_key(field.key)) {
            self.faults.push(Diagnostic::error(node.span, format!("{path}: `{}` is missing", field.key)));
        }
    }

    fn repeated(&mut self, items: &[Node], path: &Path<'_>) {
        if items.len() < 2 {
            return;
        }
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let mut print = String::new();
            fingerprint(&item.value, &mut print);
            if let Some(first) = seen.insert(print, index) {
                let mut found = Diagnostic::error(item.span, format!("{path}: items {first} and {index} are equal"));
                found.notes.push(Note { span: items[first].span, label: "first here".to_owned() });
                self.faults.push(found);
            }
        }
    }

    fn wrong_kind(&mut self, node: &Node, shape: Shape, path: &Path<'_>) {
        let kind = kind_of(&node.value);
        self.faults.push(Diagnostic::error(node.span, format!("{path} must be {}, is {kind}", wanted(shape))));
    }
}

fn takes(shape: Shape, value: &Value) -> bool {
    match shape {
        Shape::Null => matches!(value, Value::Null),
        Shape::Text | Shape::Words(_) | Shape::Ruled(..) => matches!(value, Value::Text(_)),
        Shape::Bool => matches!(value, Value::Bool(_)),
        Shape::TextWithin(first, last) => matches!(value, Value::Text(_)) || takes(Shape::Within(first, last), value),
        Shape::Integer | Shape::Within(..) => match value {
            Value::Int(_) => true,
            Value::Float(number) => number.fract() == 0.0,
            _ => false,
        },
        Shape::Number => matches!(value, Value::Int(_) | Value::Float(_)),
        Shape::List(_) | Shape::Unique(_) => matches!(value, Value::List(_)),
        Shape::Map(_) | Shape::Keyed(_) | Shape::Names(_) | Shape::Object(_) => matches!(value, Value::Map(_)),
        Shape::AnyOf(shapes) => shapes.iter().any(|shape| takes(*shape, value)),
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// As `number_of`, with the number that a text stands for.
fn value_of(value: &Value) -> Option<f64> {
    match value {
        Value::Text(text) => text.parse().ok(),
        value => number_of(value),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// What a shape asks for: "a text or a list".
fn wanted(shape: Shape) -> String {
    let mut kinds = Vec::new();
    collect_kinds(shape, &mut kinds);
    one_of_plain(&kinds)
}

fn collect_kinds(shape: Shape, kinds: &mut Vec<&'static str>) {
    let kind = match shape {
        Shape::AnyOf(shapes) => return shapes.iter().for_each(|shape| collect_kinds(*shape, kinds)),
        Shape::Null => "empty",
        Shape::Text | Shape::Words(_) | Shape::Ruled(..) => "a text",
        Shape::Bool => "true or false",
        Shape::TextWithin(..) => return [Shape::Text, Shape::Integer].iter().for_each(|shape| collect_kinds(*shape, kinds)),
        Shape::Integer | Shape::Within(..) => "a whole number",
        Shape::Number => "a number",
        Shape::List(_) | Shape::Unique(_) => "a list",
        Shape::Map(_) | Shape::Keyed(_) | Shape::Names(_) | Shape::Object(_) => "a mapping",
    };
    if !kinds.contains(&kind) {
        kinds.push(kind);
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    one_of_plain(&quoted.iter().map(String::as_str).collect::<Vec<_>>())
}

fn one_of_plain(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// A text that two values share exactly when they are equal as JSON: the order of keys does not matter, `1` equals `1.0`.
fn fingerprint(value: &Value, out: &mut String) {
    use fmt::Write as _;
    let _ = match value {
        Value::Null => write!(out, "n"),
        Value::Bool(flag) => write!(out, "{flag}"),
        Value::Int(number) => write!(out, "{}", *number as f64),
        Value::Float(number) => write!(out, "{number}"),
        Value::Text(text) | Value::Timestamp(text) => write!(out, "{text:?}"),
        Value::List(items) => {
            out.push('[');
            for item in items {
                fingerprint(&item.value, out);
                out.push(',');
            }
            write!(out, "]")
        }
        Value::Map(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                let _ = write!(out, "{key:?}:");
                fingerprint(&map[key].node.value, out);
                out.push(',');
            }
            write!(out, "}}")
        }
    };
}
