//! Text to Project, one file per phase: the document stays a tree of nodes with their spans until the last one.

mod node;

pub use node::{Diagnostic, Entry, Map, Node, Note, Severity, Source, SourceId, Sources, Span, Tag, Value};
