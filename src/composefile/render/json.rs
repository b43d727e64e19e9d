//! JSON as docker compose writes it.

use super::super::go;
use super::super::schema::{EMPTY_HOOK, Form, Json, PROJECT, Type, ULIMIT};
use super::super::{Node, Value};

/// Two spaces, keys of the top level in order of the alphabet, no newline at the end.
pub(in crate::composefile) fn document(document: &Node) -> String {
    let mut out = Writer { text: String::new(), indent: Some(0), doubles_dollars: true };
    let mut keys: Vec<&String> = document.as_map().into_iter().flat_map(|map| map.keys()).collect();
    keys.sort_unstable();
    let entries = keys.into_iter().filter(|key| *key != "models").filter_map(|key| Some((key.as_str(), document.get(key)?)));
    let mut parts: Vec<(&str, Part<'_>)> =
        entries.map(|(key, node)| (key, Part::of(node, PROJECT.field(key).map(|f| f.form)))).collect();
    if document.get("name").is_none() {
        parts.insert(0, ("name", Part::Literal("\"\"")));
    }
    out.object(&parts);
    out.text
}

/// A document that was not made final, every key in order of the alphabet.
pub(in crate::composefile) fn raw(document: &Node) -> String {
    let mut out = Writer { text: String::new(), indent: Some(0), doubles_dollars: false };
    out.part(&Part::of(document, None));
    out.text
}

/// Without spaces, as Go's `json.Marshal` gives the struct.
pub(in crate::composefile) fn compact(node: &Node, kind: &'static Type, text: &mut String) {
    let mut out = Writer { text: std::mem::take(text), indent: None, doubles_dollars: false };
    out.part(&Part::Typed(node, kind));
    *text = out.text;
}

/// Something to write.
enum Part<'a> {
    Literal(&'static str),
    /// Of the user's own shape.
    Plain(&'a Node),
    Typed(&'a Node, &'static Type),
    ListOf(&'a Node, &'static Type),
    MapOf(&'a Node, &'static Type),
    /// Numbers or pairs, without zeros.
    Ulimits(&'a Node),
    /// A pair, without zeros.
    Limits(&'a Node),
}

impl<'a> Part<'a> {
    fn of(node: &'a Node, form: Option<Form>) -> Self {
        match form {
            _ if node.is_null() => Self::Literal("null"),
            Some(Form::Object(kind)) => Self::Typed(node, kind),
            Some(Form::Objects(kind)) => Self::ListOf(node, kind),
            Some(Form::Map(kind)) => Self::MapOf(node, kind),
            Some(Form::Ulimits) => Self::Ulimits(node),
            _ => Self::Plain(node),
        }
    }
}

struct Writer {
    text: String,
    /// Nothing: compact.
    indent: Option<usize>,
    doubles_dollars: bool,
}

impl Writer {
    fn part(&mut self, part: &Part<'_>) {
        match part {
            Part::Literal(text) => self.literal(text),
            Part::Plain(node) => self.plain(node),
            Part::Typed(node, kind) => self.typed(node, kind),
            Part::ListOf(node, kind) => {
                let items = node.as_list().unwrap_or_default().iter().map(|item| match item.value {
                    // An env file may be but a path.
                    Value::Text(_) => Part::Plain(item),
                    _ => Part::Typed(item, kind),
                });
                self.list(&items.collect::<Vec<_>>());
            }
            Part::MapOf(node, kind) => {
                let entries = node.as_map().into_iter().flatten();
                let parts: Vec<_> =
                    entries.map(|(key, entry)| (key.as_str(), Part::of(&entry.node, Some(Form::Object(kind))))).collect();
                self.object(&parts);
            }
            Part::Ulimits(node) => self.ulimits(node),
            Part::Limits(node) => {
                let sides = ULIMIT.fields.iter().filter_map(|field| Some((field.key, node.get(field.key)?)));
                let set = sides.filter(|(_, limit)| !matches!(limit.value, Value::Int(0)));
                self.object(&set.map(|(key, limit)| (key, Part::Plain(limit))).collect::<Vec<_>>());
            }
        }
    }

    /// Known keys in the order of the type; `x-*` keys are not written.
    fn typed(&mut self, node: &Node, kind: &'static Type) {
        let mut parts: Vec<(&str, Part<'_>)> = Vec::new();
        for field in kind.fields {
            let name = match field.json {
                Json::Renamed(name) => name,
                _ => field.key,
            };
            match (node.get(field.key), field.json) {
                (Some(Node { value: Value::Bool(false), .. }), Json::TrueOnly) => {}
                (Some(value), _) => parts.push((name, Part::of(value, Some(field.form)))),
                (None, Json::OrNull) => parts.push((name, Part::Literal("null"))),
                (None, Json::Or(literal)) => parts.push((name, Part::Literal(literal))),
                (None, _) => {}
            }
        }
        self.object(&parts);
    }

    fn ulimits(&mut self, node: &Node) {
        let entries = node.as_map().into_iter().flatten();
        let parts: Vec<(&str, Part<'_>)> = entries
            .map(|(name, entry)| match &entry.node.value {
                Value::Int(0) => (name.as_str(), Part::Literal("{}")),
                Value::Map(_) => (name.as_str(), Part::Limits(&entry.node)),
                _ => (name.as_str(), Part::Plain(&entry.node)),
            })
            .collect();
        self.object(&parts);
    }

    fn plain(&mut self, node: &Node) {
        match &node.value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(flag) => self.text.push_str(if *flag { "true" } else { "false" }),
            Value::Int(number) => self.text.push_str(&number.to_string()),
            // JSON has no number for these.
            Value::Float(number) if !number.is_finite() => self.string(&go::float(*number)),
            Value::Float(number) => self.text.push_str(&go::json_float(*number)),
            Value::Text(text) | Value::Timestamp(text) => self.string(text),
            Value::List(items) => {
                let parts: Vec<Part<'_>> = items.iter().map(|item| Part::of(item, None)).collect();
                self.list(&parts);
            }
            Value::Map(map) => {
                let mut parts: Vec<_> = map.iter().map(|(key, entry)| (key.as_str(), Part::of(&entry.node, None))).collect();
                parts.sort_by_key(|(key, _)| *key);
                self.object(&parts);
            }
        }
    }

    fn literal(&mut self, text: &'static str) {
        if self.indent.is_some() && text == EMPTY_HOOK {
            self.object(&[("command", Part::Literal("null"))]);
        } else {
            self.text.push_str(text);
        }
    }

    fn object(&mut self, parts: &[(&str, Part<'_>)]) {
        self.enclosed('{', '}', parts.len(), |out, index| {
            let (key, part) = &parts[index];
            out.string(key);
            out.text.push_str(if out.indent.is_some() { ": " } else { ":" });
            out.part(part);
        });
    }

    fn list(&mut self, parts: &[Part<'_>]) {
        self.enclosed('[', ']', parts.len(), |out, index| out.part(&parts[index]));
    }

    fn enclosed(&mut self, open: char, close: char, count: usize, mut item: impl FnMut(&mut Self, usize)) {
        self.text.push(open);
        self.indent = self.indent.map(|indent| indent + 1);
        for index in 0..count {
            if index > 0 {
                self.text.push(',');
            }
            self.new_line();
            item(self, index);
        }
        self.indent = self.indent.map(|indent| indent - 1);
        if count > 0 {
            self.new_line();
        }
        self.text.push(close);
    }

    fn new_line(&mut self) {
        if let Some(indent) = self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n("  ", indent));
        }
    }

    /// Escaped as Go does it, HTML's characters among them.
    fn string(&mut self, text: &str) {
        use std::fmt::Write as _;
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => _ = write!(self.text, "\\u{:04x}", u32::from(c)),
                '$' if self.doubles_dollars => self.text.push_str("$$"),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}
