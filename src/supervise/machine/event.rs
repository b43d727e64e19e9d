//! What the loop tells the machine, and what the machine tells the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Deployment, Notice, Settings};
use crate::plan::Plan;
use crate::project::{Host, HostName, ProjectName, Slot};
use crate::world::{Fabric, SeenHost, Sight};

/// What happened, as the loop reports it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The inventory was read.
    Hosts(Vec<Host>),
    /// What else the inventory says, and what follows from its hosts.
    Terms {
        settings: Settings,
        fabric: Fabric,
        lost_after_ms_of: BTreeMap<HostName, u64>,
    },
    /// A ping was answered.
    Answered {
        host: HostName,
    },
    /// A ping or a look was not answered, or was refused.
    Silent {
        host: HostName,
        refused: bool,
        why: String,
    },
    /// A container changed, or the stream of events broke off: what was seen of the host may not hold any more.
    Doubted {
        host: HostName,
    },
    Looked {
        host: HostName,
        seen: Arc<SeenHost>,
    },
    /// The newest record of every project.
    Records(BTreeMap<ProjectName, Deployment>),
    /// Whether this supervisor is the one that acts.
    Lease(bool),
    /// The project's lock is held; its record and these hosts were read under it.
    Locked {
        project: ProjectName,
        deployment: Option<Box<Deployment>>,
        looks: BTreeMap<HostName, Sight>,
    },
    /// The lock could not be had, or the record not be read.
    NotLocked {
        project: ProjectName,
        why: String,
    },
    /// Slots that could not be made or started, each with its host and what the host said: comes before the end of their plan.
    Unlucky {
        project: ProjectName,
        slots: BTreeMap<Slot, (HostName, String)>,
    },
    /// A plan ended, well where there are no errors, and the lock was given back. `tried`: slots that a start was tried for.
    Applied {
        project: ProjectName,
        tried: BTreeSet<Slot>,
        errors: BTreeSet<String>,
        looks: BTreeMap<HostName, Sight>,
        took_ms: u64,
    },
}

/// What the loop is to do. Each is answered with an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Ping {
        host: HostName,
    },
    Look {
        host: HostName,
    },
    ReadRecords,
    /// Take the project's lock, read its record, look at these hosts.
    Lock {
        project: ProjectName,
        look: BTreeSet<HostName>,
    },
    /// Keep the seats, carry the plan out, look at these hosts again, and give the lock back.
    Apply {
        project: ProjectName,
        plan: Box<Plan>,
        seats: BTreeMap<Slot, HostName>,
        look: BTreeSet<HostName>,
    },
    /// Give the lock back: there is nothing to do. Answered with nothing.
    Unlock {
        project: ProjectName,
    },
    /// Write down that the record was deployed whole and well, and give the lock back. Answered with nothing.
    Settle {
        project: ProjectName,
    },
    /// Begin nothing new of the plan that is carried out.
    Interrupt {
        project: ProjectName,
    },
    /// The host left the inventory, and nothing is on it any more: it is not watched from now on. Answered with nothing.
    LetGo {
        host: HostName,
    },
    /// Answered with nothing.
    Tell(Notice),
}
