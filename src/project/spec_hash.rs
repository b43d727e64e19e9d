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
    /// The text form: sorted by key, each key once. One text is compared faster than many.
    text: String,
}

/// Hexadecimal digits kept per attribute.
const DIGITS: usize = 10;

impl SpecHash {
    /// Hashes each entry of a JSON object by itself. Nulls, empty lists, empty maps, `false` and `""` count as absent.
    pub fn of(attributes: &BTreeMap<String, Value>) -> Self {
        let parts = attributes.iter().filter(|(_, value)| !is_empty(value)).map(|(key, value)| {
            let digest = Sha256::digest(value.to_string().as_bytes());
            let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{key}={}", &text[..DIGITS])
        });
        Self { text: parts.collect::<Vec<_>>().join(",") }
    }

    /// The keys whose values differ, those that only one side has among them.
    pub fn changed(&self, other: &Self) -> BTreeSet<String> {
        let (ours, theirs) = (self.parts(), other.parts());
        let keys = ours.keys().chain(theirs.keys());
        keys.filter(|key| ours.get(*key) != theirs.get(*key)).map(|key| (*key).to_owned()).collect()
    }

    fn parts(&self) -> BTreeMap<&str, &str> {
        parts(&self.text).collect()
    }
}

fn parts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|part| part.split_once('='))
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
        f.write_str(&self.text)
    }
}

impl From<SpecHash> for String {
    fn from(hash: SpecHash) -> String {
        hash.text
    }
}

impl From<String> for SpecHash {
    /// Reads any text; what is no `key=hash` is left out, so that a damaged label differs from every hash.
    fn from(text: String) -> Self {
        let parts: BTreeMap<&str, &str> = parts(&text).collect();
        let joined: Vec<String> = parts.iter().map(|(key, hash)| format!("{key}={hash}")).collect();
        Self { text: joined.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::SpecHash;

    fn hash(value: serde_json::Value) -> SpecHash {
        SpecHash::of(&serde_json::from_value(value).expect("it is an object"))
    }

    #[test]
    fn what_changed_is_named_by_its_key() {
        let old = hash(json!({ "image": "web:1", "tty": true, "user": "me" }));
        let new = hash(json!({ "image": "web:2", "tty": true, "init": true }));
        assert_eq!(old.changed(&new).into_iter().collect::<Vec<_>>(), ["image", "init", "user"]);
    }

    #[test]
    fn absent_and_empty_are_the_same() {
        assert_eq!(hash(json!({ "tty": false, "ports": [], "user": "" })), SpecHash::default());
        assert_ne!(hash(json!({ "replicas": 0 })), SpecHash::default());
    }

    #[test]
    fn the_text_reads_back_and_damage_makes_a_difference() {
        let hash = hash(json!({ "image": "web:1", "ports": [80] }));
        let text = hash.to_string();
        assert_eq!(SpecHash::from(text.clone()), hash);
        assert_ne!(SpecHash::from(text[..text.len() - 1].to_owned()), hash);
        assert_ne!(SpecHash::from(text.replace('=', " ")), hash);
    }
}
