//! Files of this machine that a service needs on its hosts, by what is in them.

use serde::{Deserialize, Serialize};

use super::service::FileGrant;

/// Of a digest in names.
const DIGEST_CHARS: usize = 40;
/// How names of volumes of contents begin.
const VOLUME: &str = "mcompose_";

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
    /// The id of the key that it is encrypted with in its volume, as `FILE` there; it is mounted from the memory of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<String>,
}

impl Content {
    /// What a file is called in its volume.
    pub const FILE: &str = "file";
    /// Where hosts have what was sealed: a folder in their memory.
    pub const UNSEALED: &str = "/run/mcompose/secrets";

    /// The volume that holds it on a host: the same for whoever needs the same.
    pub fn volume(&self) -> String {
        format!("{VOLUME}{}", self.unsealed_folder())
    }

    /// Its folder below `UNSEALED`, in which it is called `FILE`.
    pub fn unsealed_folder(&self) -> &str {
        self.digest.get(..DIGEST_CHARS).unwrap_or(&self.digest)
    }

    /// What containers mount once it is unsealed.
    pub fn unsealed_path(&self) -> String {
        format!("{}/{}/{}", Self::UNSEALED, self.unsealed_folder(), Self::FILE)
    }

    /// The volume of the content that something mounted was unsealed from.
    pub fn volume_of_unsealed(source: &str) -> Option<String> {
        let (folder, _) = source.strip_prefix(Self::UNSEALED)?.strip_prefix('/')?.split_once('/')?;
        Some(format!("{VOLUME}{folder}"))
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
    let own = if volume.starts_with(VOLUME) { "" } else { VOLUME };
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
