//! Names that were checked once, where they came in, and the slot. A copy of a name costs nothing: plans are full of them.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A text that cannot be the name it was meant as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {rule}")]
pub struct InvalidName {
    pub kind: &'static str,
    pub text: String,
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl Ord for $type {
            /// As texts are ordered. Copies of one name, the most frequent case, are known as such without a look at the text.
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $type {
            /// Returns the name, or why the text cannot be one.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                let valid: fn(&str) -> bool = $check;
                if valid(&text) { Ok(Self(text.into())) } else { Err(InvalidName { kind: $kind, text, rule: $rule }) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_word(text: &str, inner: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || inner.contains(c))
}

name!(
    /// A project's name (Compose Specification, "Name top-level element").
    ProjectName, "project name", "it must match [a-z0-9][a-z0-9_-]*",
    |text| is_word(text, "_-") && !text.starts_with(['_', '-']) && !text.chars().any(|c| c.is_ascii_uppercase())
);
name!(
    /// A key below `services`.
    ServiceName, "service name", "it must match [a-zA-Z0-9._-]+", |text| is_word(text, "._-")
);
name!(
    /// A key below `[hosts]` of the inventory.
    HostName, "host name", "it must match [a-zA-Z0-9][a-zA-Z0-9._-]*",
    |text| is_word(text, "._-") && text.starts_with(|c: char| c.is_ascii_alphanumeric())
);
name!(
    /// A key below `networks` of the Compose file. The engine knows the network by `Network::name`.
    NetworkName, "network name", "it must match [a-zA-Z0-9._-]+", |text| is_word(text, "._-")
);
name!(
    /// A key below `volumes` of the Compose file. The engine knows the volume by `Volume::name`.
    VolumeName, "volume name", "it must match [a-zA-Z0-9._-]+", |text| is_word(text, "._-")
);
name!(
    /// The engine's id of a container (64 hexadecimal digits; any word here, since the fake engine gives shorter ones).
    ContainerId, "container id", "it must match [a-zA-Z0-9_-]+", |text| is_word(text, "_-")
);

impl ContainerId {
    /// The first twelve digits, as docker prints them.
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(12)]
    }
}

/// Replica `number` of a service: its identity over time, unique in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot {
    pub service: ServiceName,
    pub number: NonZeroU32,
}

impl Slot {
    /// Returns nothing for number 0.
    pub fn new(service: ServiceName, number: u32) -> Option<Self> {
        Some(Self { service, number: NonZeroU32::new(number)? })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.service, self.number))
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> String {
        slot.to_string()
    }
}

impl TryFrom<String> for Slot {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { kind: "slot", text: text.clone(), rule: "it must be SERVICE.N with N from 1" };
        let (service, number) = text.rsplit_once('.').ok_or_else(invalid)?;
        let number = number.parse().ok().and_then(NonZeroU32::new).ok_or_else(invalid)?;
        Ok(Self { service: ServiceName::new(service)?, number })
    }
}
