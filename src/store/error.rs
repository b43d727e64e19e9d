//! Why a record or a lock could not be had.

use crate::engine::EngineError;
use crate::project::ProjectName;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {what}")]
    Engine { what: String, source: EngineError },
    #[error("cannot {what}: `{path}`")]
    Io { what: &'static str, path: String, source: std::io::Error },
    /// Somebody else deploys.
    #[error("the project `{project}` is being changed by {holder}; waited {waited_secs} s")]
    Held { project: ProjectName, holder: String, waited_secs: u64 },
    #[error("the record {name} cannot be read: {why}")]
    Damaged { name: String, why: String },
    #[error("the project `{project}` is too large for a record: {bytes} bytes compressed, at most {max} fit")]
    TooLarge { project: ProjectName, bytes: usize, max: usize },
    /// Somebody wrote it without holding the lock, or after losing it.
    #[error("revision {revision} of the project `{project}` was written by somebody else meanwhile")]
    Raced { project: ProjectName, revision: u64 },
    /// Whoever held the lock was silent for so long that it went to somebody else.
    #[error("the lock of project `{project}` was lost before anything was written{}", of(.holder))]
    LockLost { project: ProjectName, holder: Option<String> },
    #[error("there is no folder for records: neither XDG_STATE_HOME nor HOME is set")]
    NoFolder,
}

fn of(holder: &Option<String>) -> String {
    holder.as_ref().map(|holder| format!(": {holder} has it now")).unwrap_or_default()
}

impl StoreError {
    /// What helps, where something is known to.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Held { .. } => "wait for it to end; the lock of one that was killed is free after half a minute",
            Self::Damaged { .. } => "`mcompose up` writes a new one; `docker config ls` on a manager shows those of a swarm",
            Self::TooLarge { .. } => "put large `configs.*.content` into files: they are not part of a record",
            Self::Raced { .. } | Self::LockLost { .. } => "run the command again",
            Self::Engine { .. } | Self::Io { .. } | Self::NoFolder => return None,
        };
        Some(text.to_owned())
    }
}
