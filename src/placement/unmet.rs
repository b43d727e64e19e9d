//! What of a placement is not so in the world: replicas that should run and do not.

use std::collections::BTreeMap;
use std::fmt;

use super::{Placement, Refusal};
use crate::project::{HostName, Project, Slot};
use crate::world::{Health, State, World};

/// Why a replica does not run, or not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    FitsNowhere(Refusal),
    /// Its host does not answer: it may run, and is not started elsewhere before the host counts as lost.
    HostSilent {
        host: HostName,
    },
    Missing {
        host: HostName,
    },
    Down {
        host: HostName,
        state: State,
    },
    Unhealthy {
        host: HostName,
    },
}

impl fmt::Display for Unmet {
    /// To stand behind the replica's name: "is missing on alpha".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FitsNowhere(refusal) => write!(f, "fits nowhere: {refusal}"),
            Self::HostSilent { host } => write!(f, "is on {host}, which does not answer"),
            Self::Missing { host } => write!(f, "is missing on {host}"),
            Self::Down { host, state: State::Exited { code: Some(code) } } => {
                write!(f, "is down on {host}: exited with code {code}")
            }
            Self::Down { host, state } => write!(f, "is down on {host}: {state}"),
            Self::Unhealthy { host } => write!(f, "is unhealthy on {host}"),
        }
    }
}

/// The replicas of the project that do not run as placed. One that ended well is not among them, nor one that starts.
pub fn unmet(project: &Project, placement: &Placement, world: &World) -> BTreeMap<Slot, Unmet> {
    let best = world.fillers(&project.name);
    let refused = placement.refused.iter().map(|(slot, refusal)| (slot.clone(), Unmet::FitsNowhere(refusal.clone())));
    let seated = placement.seats.iter().filter_map(|(slot, seat)| {
        let host = seat.host.clone();
        let unmet = match best.get(slot) {
            None if world.seen(host.as_str()).is_none() => Unmet::HostSilent { host },
            None => Unmet::Missing { host },
            Some(container) => match &container.state {
                State::Running if container.health == Health::Unhealthy => Unmet::Unhealthy { host },
                State::Exited { code: Some(0) } => return None,
                state if !state.is_up() => Unmet::Down { host, state: state.clone() },
                _ => return None,
            },
        };
        Some((slot.clone(), unmet))
    });
    refused.chain(seated).collect()
}
