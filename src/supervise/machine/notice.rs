//! What a supervisor says of what it sees and does, once each.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::project::{HostName, ProjectName};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Notice {
    /// It is the one that acts, or not any more.
    Leads,
    StandsBy,
    HostUp {
        host: HostName,
    },
    HostDoubtful {
        host: HostName,
        why: String,
    },
    HostLost {
        host: HostName,
        silent_ms: u64,
        why: String,
    },
    HostBack {
        host: HostName,
        trusted_in_ms: u64,
    },
    /// It doubts itself: too many hosts are silent at once.
    Holds {
        silent: usize,
        hosts: usize,
    },
    GoesOn,
    /// Something is put right: one line per cause.
    Repairs {
        project: ProjectName,
        causes: BTreeSet<String>,
    },
    Repaired {
        project: ProjectName,
        took_ms: u64,
    },
    Failed {
        project: ProjectName,
        errors: BTreeSet<String>,
        retry_in_ms: u64,
    },
    /// Moves that would make the hosts' loads more even, which nobody asked for.
    Uneven {
        project: ProjectName,
        moves: BTreeSet<String>,
    },
    /// A slot that is held, fits nowhere, or is backed off.
    Unmet {
        project: ProjectName,
        text: String,
    },
}

impl fmt::Display for Notice {
    /// One line, without an end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leads => f.write_str("supervising"),
            Self::StandsBy => f.write_str("standing by: the lease is not held"),
            Self::HostUp { host } => write!(f, "host {host} answers"),
            Self::HostDoubtful { host, why } => write!(f, "host {host} did not answer: {why}"),
            Self::HostLost { host, silent_ms, why } => {
                write!(f, "host {host} is lost: silent for {} ({why})", Secs(*silent_ms))
            }
            Self::HostBack { host, trusted_in_ms } => {
                write!(f, "host {host} is back; it gets new replicas in {}", Secs(*trusted_in_ms))
            }
            Self::Holds { silent, hosts } => {
                write!(f, "{silent} of {hosts} hosts are silent at once: holding, since the fault may be on this side")
            }
            Self::GoesOn => f.write_str("most hosts answer again: going on"),
            Self::Repairs { project, causes } => write!(f, "{project}: {}", joined(causes)),
            Self::Repaired { project, took_ms } => write!(f, "{project}: put right in {}", Secs(*took_ms)),
            Self::Failed { project, errors, retry_in_ms } => {
                write!(f, "{project}: {}; trying again in {}", joined(errors), Secs(*retry_in_ms))
            }
            Self::Uneven { project, moves } => {
                write!(f, "{project}: loads are uneven: {}; `mcompose hosts rebalance --apply` moves them", joined(moves))
            }
            Self::Unmet { project, text } => write!(f, "{project}: {text}"),
        }
    }
}

fn joined(lines: &BTreeSet<String>) -> String {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.join("; ")
}

/// Milliseconds as seconds with one decimal.
struct Secs(u64);

impl fmt::Display for Secs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 1000, self.0 % 1000 / 100)
    }
}
