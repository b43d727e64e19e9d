//! Files of this machine that a service needs on its hosts, by what is in them.

use serde::{Deserialize, Serialize};

use super::service::FileGrant;

/// A file or folder as it was when the project was loaded. On a host it is a volume that never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// What it is, for those who read: a path, or `config NAME`.
    pub name: String,
    /// SHA-256 of its archive, 64 hexadecimal digits; of a secret, a digest that it cannot be guessed from.
    pub digest: String,
    /// Of its archive.
    pub bytes: u64,
    /// A folder is mounted whole, of a file's volume only `FILE`.
    pub is_folder: bool,
}

impl Content {
    /// What a file is called in its volume.
    pub const FILE: &str = "file";

    /// The volume that holds it on a host: the same for whoever needs the same.
    pub fn volume(&self) -> String {
        format!("mcompose_{}", self.digest.get(..40).unwrap_or(&self.digest))
    }

    /// The container that holds the volume while it is being filled: while it is there, the volume is not whole.
    pub fn carrier(&self) -> String {
        format!("{}_carrier", self.volume())
    }
}

/// The key below `Project::contents` of what a bind mount names.
pub fn bind_key(source: &str) -> String {
    format!("bind {source}")
}

/// The key below `Project::contents` of a config or secret as it is granted; `kind` is `config` or `secret`.
pub fn grant_key(kind: &str, grant: &FileGrant) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{kind} {} {}:{}:{}", grant.source, part(&grant.uid), part(&grant.gid), part(&grant.mode))
}
