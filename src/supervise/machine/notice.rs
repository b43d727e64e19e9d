//! What a supervisor says of what it sees and does, once each.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::project::{HostName, ProjectName, Slot};

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
    /// It answers and is not in the swarm, so that no network of the projects reaches it.
    HostOutside {
        host: HostName,
    },
    /// The inventory does not list it any more, and it is not let go before it is empty.
    HostUnlisted {
        host: HostName,
    },
    /// What is still on such a host, and does not move by itself.
    HostKept {
        host: HostName,
        because: BTreeSet<String>,
    },
    /// Nothing is on such a host any more.
    HostLetGo {
        host: HostName,
    },
    /// A record names a host that was not listed when supervision began, so that nobody knows what runs there.
    Unlisted {
        project: ProjectName,
        host: HostName,
        slots: BTreeSet<String>,
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
    /// A slot that one host cannot make or start again and again.
    Shunned {
        project: ProjectName,
        slot: Slot,
        host: HostName,
        why: String,
        for_ms: u64,
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
            Self::HostOutside { host } => {
                write!(
                    f,
                    "host {host} is not in the swarm: it gets nothing new before it has joined; `mcompose hosts check` tells more"
                )
            }
            Self::HostUnlisted { host } => {
                write!(f, "host {host} is no more in the inventory: what is on it moves, and then it is let go")
            }
            Self::HostKept { host, because } => write!(
                f,
                "host {host} is no more in the inventory and not let go, since this is there: {}; list it again and take a volume along \
                 with `mcompose volume mv`, or remove what is not needed",
                joined(because)
            ),
            Self::HostLetGo { host } => {
                write!(
                    f,
                    "nothing is on host {host} any more: it is let go; where it is still in the swarm, `docker swarm leave` there ends that"
                )
            }
            Self::Unlisted { project, host, slots } => write!(
                f,
                "{project}: by its record {} is on host {host}, which is not in the inventory: what runs there goes on unseen; list the host \
                 again, and take it out with `mcompose hosts drain` and `hosts rm`",
                joined(slots)
            ),
            Self::Holds { silent, hosts } => {
                write!(f, "{silent} of {hosts} hosts are silent at once: holding, since the fault may be on this side")
            }
            Self::GoesOn => f.write_str("most hosts answer again: going on"),
            Self::Repairs { project, causes } => write!(f, "{project}: {}", joined(causes)),
            Self::Repaired { project, took_ms } => write!(f, "{project}: put right in {}", Secs(*took_ms)),
            Self::Failed { project, errors, retry_in_ms } => {
                write!(f, "{project}: {}; trying again in {}", joined(errors), Secs(*retry_in_ms))
            }
            Self::Shunned { project, slot, host, why, for_ms } => write!(
                f,
                "{project}: {slot} cannot be had on host {host} ({why}): another host is preferred for {}, if one fits",
                Secs(*for_ms)
            ),
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
