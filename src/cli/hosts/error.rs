//! Why a `hosts` verb did not do what it was asked for.

use crate::cluster::ClusterError;
use crate::inventory::InventoryFailure;
use crate::inventory::edit::EditError;
use crate::project::{HostName, InvalidName};
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    #[error(transparent)]
    Inventory(#[from] InventoryFailure),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("cannot {what} the inventory `{path}`")]
    Io { what: &'static str, path: String, source: std::io::Error },
    #[error("there is no inventory to change: the local engine is the one host")]
    NoFile,
    #[error("there is no host `{name}` in the inventory{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    NoSuchHost { name: String, near: Option<String> },
    #[error("there is no project `{name}` on these hosts{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    NoSuchProject { name: String, near: Option<String> },
    #[error("`{text}` unsets a label, and a new host has none")]
    NothingToUnset { text: String },
    #[error("host `{host}` does not answer: {why}")]
    Unreachable { host: HostName, why: String },
    #[error("host `{host}` has {count} running replicas")]
    HasReplicas { host: HostName, count: usize },
    #[error("{what} did not succeed on every host; hosts.toml {file}")]
    Incomplete { what: &'static str, file: &'static str },
}

impl HostsError {
    /// The excerpts of an inventory that cannot be used, which are a message of their own.
    pub fn excerpts(&self, color: bool) -> Option<String> {
        match self {
            Self::Inventory(failure) => Some(failure.render(color)),
            _ => None,
        }
    }

    /// What helps, where something is known to.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NoFile => Some("name one: `-i hosts.toml`; `mcompose hosts add` begins it".to_owned()),
            Self::HasReplicas { host, .. } => {
                Some(format!("move them with `mcompose hosts drain {host}` first, or leave them to their fate with --force"))
            }
            Self::Unreachable { host, .. } => {
                Some(format!("`mcompose hosts check {host}` tells more; --force goes on without it"))
            }
            Self::Incomplete { .. } => {
                Some("`mcompose hosts check` tells what is missing, `mcompose hosts init` goes on".to_owned())
            }
            Self::NoSuchProject { .. } => Some("`mcompose ls` shows which there are".to_owned()),
            Self::NothingToUnset { .. } => Some("a label of a new host is KEY=VALUE".to_owned()),
            Self::Inventory(_) | Self::Edit(_) | Self::NoSuchHost { .. } | Self::Name(_) | Self::Io { .. } => None,
        }
    }
}
