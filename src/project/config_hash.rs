//! docker compose's hash of a service, the value of `com.docker.compose.config-hash` on its containers.

use serde::{Deserialize, Serialize};

/// Known from the document alone, or with the ids of containers that the service shares something with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigHash {
    /// SHA-256, hexadecimal.
    Known(String),
    /// What is hashed, in its order.
    Beside(Vec<HashPart>),
}

/// A piece of the text that is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashPart {
    Text(String),
    /// The id of the container of this service.
    Id(String),
}
