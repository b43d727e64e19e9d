//! Text to Project, one file per phase: the document stays a tree of nodes with their spans until the last one.

mod access;
mod bind;
mod canonical;
mod cast;
mod consistency;
mod defaults;
mod discover;
mod dotenv;
mod environment;
mod extends;
mod finish;
pub mod flags;
mod go;
mod hash;
pub mod interop;
mod interpolate;
mod load;
mod locate;
mod merge;
mod node;
mod normalise;
mod paths;
mod profiles;
mod render;
mod scalar;
mod schema;
mod short_forms;
mod validate;
mod variables;
mod yaml;

pub use load::{Files, LoadFailure, LoadOptions, LoadRequest, Loaded, Model, load, model};
pub use locate::render;
pub use node::{Diagnostic, Entry, Map, Node, Note, Severity, Source, SourceId, Sources, Span, Tag, Value};
pub use render::{hashes, images, models, names, to_json, to_yaml};
pub use schema::{Attribute, Support, support};
pub use variables::{Variable, variables};
