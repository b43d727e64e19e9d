//! Who lives where. Turns a project, the hosts and the world into a placement. Never talks to a host.

mod anchor;
mod beside;
mod bits;
mod claims;
mod explain;
mod fill;
mod filters;
mod global;
mod keep;
mod place;
mod rebalance;
mod rule;
mod scene;
mod score;
mod site;
mod unlisted;
mod unmet;

pub use filters::platform::{native_of, runs_natively};
pub use filters::resources::reservation;
pub use place::{misfits, place, seats_to_remember};
pub use rebalance::{Move, Rebalance, rebalance};
pub use unmet::{Unmet, unmet};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::project::{HostName, ServiceName, Slot};
use crate::world::Fabric;

/// What a placement is made under, beside project, hosts and world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Breaks ties between equally good hosts. The same seed gives the same placement.
    pub seed: u64,
    /// Unreachable hosts that count as lost for good: their slots are placed anew, unless data holds them.
    /// A host that is unreachable and not in here keeps its slots.
    pub lost: BTreeSet<HostName>,
    /// Where each slot was placed last, as the record says. It counts for hosts that are unreachable now: the slots that it
    /// names there are not placed a second time. A slot that neither it nor the world knows counts as not placed.
    pub known: BTreeMap<Slot, HostName>,
    /// Whether the project's networks cross hosts.
    pub fabric: Fabric,
    /// Replicas that give up the host where they are, if they may be elsewhere and their data is not there; they choose anew.
    pub leave: BTreeSet<Slot>,
    /// What becomes of containers of services that the project does not have any more.
    pub orphans: Orphans,
}

/// Containers of services that the project does not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orphans {
    /// They go on, and keep their ports and reservations.
    #[default]
    Stay,
    /// `--remove-orphans`: what they hold is free.
    Leave,
}

impl Default for Request {
    /// Seed 0, nothing lost, nothing known, nobody who leaves, networks that cross hosts, orphans that stay.
    fn default() -> Self {
        let fabric = Fabric::Overlay { managers: Vec::new() };
        Self { seed: 0, lost: BTreeSet::new(), known: BTreeMap::new(), fabric, leave: BTreeSet::new(), orphans: Orphans::Stay }
    }
}

/// Every slot of the project, on a host or with the reason why on none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Placement {
    pub seats: BTreeMap<Slot, Seat>,
    pub refused: BTreeMap<Slot, Refusal>,
}

impl Placement {
    /// The host of a slot that has one.
    pub fn host_of(&self, slot: &Slot) -> Option<&HostName> {
        self.seats.get(slot).map(|seat| &seat.host)
    }
}

/// A slot's host and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub host: HostName,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It is there already and may stay.
    Stays,
    /// It is there and must not be moved, though something speaks against the host: it does not answer, or it is drained
    /// while a volume of the slot lives there. The reason is a sentence without its full stop.
    Held { because: String },
    /// The best of the `fitting` hosts (out of `hosts`) that meet the service's rules.
    Best { fitting: u32, hosts: u32 },
    /// Its volume lives there.
    Volume { volume: String },
    /// What it writes into this folder of the host is there.
    Folder { folder: String },
    /// It shares a namespace, volumes or a host-only network with another service's replica.
    With { service: ServiceName },
    /// One replica on each host.
    Global,
}

/// Why a slot fits on no host. Prints as "2 hosts lack memory (need 512 MiB), 1 is drained".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusal {
    /// Shared, since every further replica of a service is refused for the same reasons.
    pub misfits: Arc<BTreeMap<HostName, Misfit>>,
}

/// Why one host cannot take one slot; each comes from one filter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Misfit {
    Unreachable,
    Paused,
    Drained,
    Constraint {
        constraint: String,
    },
    /// A constraint that no host can meet, since it is none.
    BadConstraint {
        constraint: String,
        why: String,
    },
    Platform {
        wanted: String,
        has: String,
    },
    /// Billionths of a CPU.
    Cpus {
        needed: i64,
        free: i64,
    },
    Memory {
        needed_bytes: i64,
        free_bytes: i64,
    },
    Generic {
        kind: String,
        needed: i64,
        free: i64,
    },
    Port {
        port: u16,
        protocol: String,
        holder: String,
    },
    MaxReplicas {
        limit: u32,
    },
    /// The volume that the slot owns lives elsewhere.
    VolumeElsewhere {
        volume: String,
        host: HostName,
    },
    /// What the slot wrote into a folder of a host is on that host.
    FolderElsewhere {
        folder: String,
        host: HostName,
    },
    /// It was being moved, and where it lives by the marks of that there is none.
    VolumeNowhere {
        volume: String,
    },
    /// It must be beside another service's replica, which lives elsewhere or nowhere.
    NotBeside {
        service: ServiceName,
    },
    Plugin {
        kind: String,
        name: String,
    },
    /// A container runtime (`runtime: nvidia`).
    Runtime {
        name: String,
    },
    /// An attribute that its engine does not know; `needed`: the Engine API version that does.
    OldEngine {
        attribute: String,
        needed: (u32, u32),
    },
    /// It needs another service over a network that does not cross hosts.
    NetworkElsewhere {
        service: ServiceName,
        host: HostName,
    },
    ContainerName {
        name: String,
    },
    /// An external volume that is not on this host.
    VolumeMissing {
        volume: String,
    },
    /// An external network that is not on this host.
    NetworkMissing {
        network: String,
    },
    /// A container of no project here whose namespace or volumes are to be shared.
    ContainerMissing {
        name: String,
    },
}
