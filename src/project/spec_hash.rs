//! The fingerprint of what a service asks of a container.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A short hash per attribute that a container is made from, so that a difference can be named without the old file.
///
/// Text form, as it stands in a label: `image=1f2e3d4c,ports=…`, sorted by key. Two are equal when every part is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SpecHash {
    parts: BTreeMap<String, String>,
}

/// Hexadecimal digits kept per attribute.
const DIGITS: usize = 10;

impl SpecHash {
    /// Hashes each entry of a JSON object by itself. Nulls, empty lists, empty maps, `false` and `""` count as absent.
    pub fn of(attributes: &BTreeMap<String, Value>) -> Self {
        let parts = attributes.iter().filter(|(_, value)| !is_empty(value)).map(|(key, value)| {
            let digest = Sha256::digest(value.to_string().as_bytes());
            let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            (key.clone(), text[..DIGITS].to_owned())
        });
        Self { parts: parts.collect() }
    }

    /// The keys whose values differ, those that only one side has among them.
    pub fn changed(&self, other: &Self) -> BTreeSet<String> {
        let keys = self.parts.keys().chain(other.parts.keys());
        keys.filter(|key| self.parts.get(*key) != other.parts.get(*key)).cloned().collect()
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(|(key, hash)| format!("{key}={hash}")).collect();
        f.write_str(&parts.join(","))
    }
}

impl From<SpecHash> for String {
    fn from(hash: SpecHash) -> String {
        hash.to_string()
    }
}

impl From<String> for SpecHash {
    /// Reads any text; what is no `key=hash` is left out, so that a damaged label differs from every hash.
    fn from(text: String) -> Self {
        let parts = text.split(',').filter_map(|part| part.split_once('='));
        Self { parts: parts.map(|(key, hash)| (key.to_owned(), hash.to_owned())).collect() }
    }
}
