//! Text to Project, one file per phase: the document stays a tree of nodes with their spans until the last one.

mod bind;
mod canonical;
mod discover;
mod dotenv;
mod environment;
mod extends;
pub mod interop;
mod interpolate;
mod load;
mod locate;
mod merge;
mod node;
mod normalise;
mod render;
mod scalar;
mod schema;
mod short_forms;
mod validate;
mod yaml;

pub use load::{Files, LoadFailure, LoadOptions, LoadRequest, Loaded, load};
pub use locate::render;
pub use node::{Diagnostic, Entry, Map, Node, Note, Severity, Source, SourceId, Sources, Span, Tag, Value};
pub use render::{json, yaml as to_yaml};
