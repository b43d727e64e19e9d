//! What of a placement is not so in the world: replicas that should run and do not.

use std::collections::BTreeMap;
use std::fmt;

use super::{Placement, Refusal, Why};
use crate::project::{HostName, Project, Slot};
use crate::world::{Health, Restarts, State, World};

/// Why a replica does not run, or not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    FitsNowhere(Refusal),
    /// Its host does not answer: it may run, and is not started elsewhere before the host counts as lost; never where its data is
    /// in a volume there.
    HostSilent {
        host: HostName,
        volume: Option<String>,
    },
    /// Something speaks against its host, and it cannot leave it. It may run.
    Held {
        host: HostName,
        because: String,
    },
    Missing {
        host: HostName,
    },
    Down {
        host: HostName,
        state: State,
    },
    /// Its engine starts it again by itself, with growing pauses.
    Restarting {
        host: HostName,
        restarts: Option<Restarts>,
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
            Self::HostSilent { host, volume: None } => write!(f, "is on {host}, which does not answer"),
            Self::HostSilent { host, volume: Some(volume) } => {
                write!(f, "is held on {host}, which does not answer: its volume `{volume}` is there")
            }
            Self::Held { host, because } => write!(f, "is held on {host}: {because}"),
            Self::Missing { host } => write!(f, "is missing on {host}"),
            Self::Down { host, state: State::Exited { code: Some(code) } } => {
                write!(f, "is down on {host}: exited with code {code}")
            }
            Self::Down { host, state } => write!(f, "is down on {host}: {state}"),
            Self::Restarting { host, restarts: None } => write!(f, "is started again and again by its engine on {host}"),
            Self::Restarting { host, restarts: Some(Restarts { count, .. }) } => {
                write!(f, "is started again by its engine on {host}, {count} times so far")
            }
            Self::Unhealthy { host } => write!(f, "is unhealthy on {host}"),
        }
    }
}

/// The replicas of the project that do not run as placed, or run where they should not. One that ended well is not among them, nor one
/// that starts.
pub fn unmet(project: &Project, placement: &Placement, world: &World) -> BTreeMap<Slot, Unmet> {
    let best = world.fillers(&project.name);
    let refused = placement.refused.iter().map(|(slot, refusal)| (slot.clone(), Unmet::FitsNowhere(refusal.clone())));
    let seated = placement.seats.iter().filter_map(|(slot, seat)| {
        let host = seat.host.clone();
        let unmet = match best.get(slot) {
            None if world.seen(host.as_str()).is_none() => {
                Unmet::HostSilent { host, volume: local_volume(project, slot).map(str::to_owned) }
            }
            None => Unmet::Missing { host },
            Some(container) => match &container.state {
                State::Running if container.health == Health::Unhealthy => Unmet::Unhealthy { host },
                State::Exited { code: Some(0) } => return None,
                State::Restarting => Unmet::Restarting { host, restarts: container.restarts },
                state if !state.is_up() => Unmet::Down { host, state: state.clone() },
                _ => match &seat.why {
                    Why::Held { because } => Unmet::Held { host, because: because.clone() },
                    _ => return None,
                },
            },
        };
        Some((slot.clone(), unmet))
    });
    refused.chain(seated).collect()
}

/// The first of the replica's volumes that no other host has.
fn local_volume<'a>(project: &'a Project, slot: &Slot) -> Option<&'a str> {
    let mounts = project.services.get(&slot.service)?.volumes.iter().filter(|mount| mount.kind == "volume");
    let mut volumes = mounts.filter_map(|mount| project.volumes.get(mount.source.as_deref()?));
    volumes.find(|volume| volume.is_host_local()).map(|volume| volume.name.as_str())
}
