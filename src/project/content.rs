//! Files of this machine that a service needs on its hosts, by what is in them.

use serde::{Deserialize, Serialize};

use super::service::FileGrant;

/// Of a volume's name in those of its carriers: it may be as long as the engine allows.
const CARRIED_CHARS_MAX: usize = 200;

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

    /// How the names of all its carriers begin.
    pub fn carriers(&self) -> String {
        carriers_of(&self.volume())
    }
}

/// How a delivery into a volume names its two things on a host: the container that holds the volume while it is filled, and the mark, an
/// empty volume, which says that it is not whole. Each delivery adds a word of its own, since an engine may keep the container of one
/// that was cut off to itself.
pub fn carriers_of(volume: &str) -> String {
    let own = if volume.starts_with("mcompose_") { "" } else { "mcompose_" };
    let name: String = volume.chars().take(CARRIED_CHARS_MAX).collect();
    format!("{own}{name}_carrier_")
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
