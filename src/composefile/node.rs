//! The tree that every phase works on, and the diagnostics that point into it.

use indexmap::IndexMap;

/// Index into `Sources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SourceId(pub u32);

/// Every text that was read, in order of reading.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub list: Vec<Source>,
}

#[derive(Debug, Clone)]
pub struct Source {
    /// As the user would name it: the path given or found, `-` for standard input.
    pub name: String,
    pub text: String,
}

/// Byte range in a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    pub source: SourceId,
    pub start: u32,
    pub end: u32,
}

/// One value of the document and where it was written. Equality ignores the span.
#[derive(Debug, Clone)]
pub struct Node {
    pub span: Span,
    pub tag: Tag,
    pub value: Value,
}

/// The tags that Compose gives a meaning to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tag {
    #[default]
    None,
    Reset,
    Override,
}

/// Scalars are resolved by go-yaml's rules (`0644` is 420, `yes` is a text).
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A plain scalar that go-yaml takes for a date; its text.
    Timestamp(String),
    List(Vec<Node>),
    Map(Map),
}

/// In the order of writing; keys are unique.
pub type Map = IndexMap<String, Entry>;

#[derive(Debug, Clone)]
pub struct Entry {
    pub key_span: Span,
    pub node: Node,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, entry)| b.get(key).is_some_and(|other| other.node == entry.node))
            }
            _ => false,
        }
    }
}

impl Node {
    pub fn new(span: Span, value: Value) -> Self {
        Self { span, tag: Tag::None, value }
    }

    pub fn text(span: Span, text: impl Into<String>) -> Self {
        Self::new(span, Value::Text(text.into()))
    }

    /// The value of a key, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(map) => map.get(key).map(|entry| &entry.node),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Something said about the document. Several errors are reported at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// One line: what is wrong, with the key's path where there is one: "services.web.prots: unknown key".
    pub message: String,
    /// Where; nothing for what has no place in a file.
    pub span: Option<Span>,
    /// Words at the span: "did you mean `ports`?"
    pub label: String,
    /// Further places, such as the first of two equal keys.
    pub notes: Vec<Note>,
    pub hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    pub span: Span,
    pub label: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}
