//! The plan as a value: steps with their causes and order, and what was not planned and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::slot_spec::SlotSpec;
use crate::placement::Refusal;
use crate::project::{
    ContainerId, Content, Endpoint, Hook, HostName, ImageBuild, NetworkSpec, ProjectName, Role, ServiceName, Slot, Until,
    VolumeSpec,
};

/// Everything that is to be done, in an order in which each step stands behind all that it waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub project: ProjectName,
    pub steps: Vec<Step>,
    pub notes: Vec<Note>,
}

/// A step's index in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub usize);

/// One engine call, or one bounded wait, on one host; a delivery, its opening and wiping, a shipment, a build, and a creation beside
/// containers whose ids it asks for, are the few calls that make one thing. A gate is neither: see `Op::Gate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub host: HostName,
    pub subject: Subject,
    pub op: Op,
    pub cause: Cause,
    /// Steps that must have ended well before; every one has a lower id.
    pub after: Vec<StepId>,
    pub tolerance: Tolerance,
}

/// What a step is about, for those who read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    Slot(Slot),
    /// A container that fills no slot of the project: orphans, duplicates, one-offs.
    Container(String),
    Network(String),
    Volume(String),
    Image(String),
    /// Files that are delivered.
    Content(String),
    Host,
    /// All replicas of a service together: gates.
    Service(ServiceName),
}

/// What a step that failed, or was skipped, means for those that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Tolerance {
    /// They are skipped, and the outcome is a failure.
    #[default]
    Strict,
    /// They go on; the failure is a warning (`depends_on.*.required: false`).
    Warn,
}

/// A container that was seen, or one that an earlier step makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContainerRef {
    Id(ContainerId),
    Name(Arc<str>),
}

impl ContainerRef {
    /// What the engine takes for either.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Name(name) => name,
        }
    }
}

/// What is large in it is boxed: a plan may hold a hundred thousand of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    SwarmInit {
        advertise: String,
    },
    /// On a manager of a swarm without a leader: begins it anew, alone, with all that it knows.
    SwarmRecover {
        advertise: String,
    },
    /// Joins the swarm that `via` manages; the token is asked of `via` when the step runs and never stands in a plan.
    SwarmJoin {
        via: HostName,
        role: Role,
        advertise: String,
        remote: String,
    },
    SwarmLeave {
        force: bool,
    },
    /// On a manager: takes a node that has left, or is gone, out of the list.
    NodeRemove {
        node_id: String,
        force: bool,
    },
    NodeRole {
        node_id: String,
        role: Role,
    },
    CreateNetwork(Box<NetworkSpec>),
    RemoveNetwork {
        name: String,
    },
    /// A host goes on to show an overlay network for a moment after its swarm has let it go, and what is made there meanwhile would be
    /// put on one that is not there.
    AwaitGone {
        network: String,
        at_most_secs: u64,
    },
    CreateVolume(Box<VolumeSpec>),
    RemoveVolume {
        name: String,
    },
    /// Makes the volume and fills it: with this machine's files, or with what the host `from` has. `left`: what earlier deliveries
    /// have there that did not come to their end, which then count no more.
    Deliver {
        content: Content,
        volume: Box<VolumeSpec>,
        from: Option<HostName>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
    /// Opens what lies encrypted in its volume on the host, into the memory of the host, for containers to mount. Needs its key.
    Unseal {
        content: Content,
    },
    /// Takes what was unsealed out of the memory of the host.
    Wipe {
        content: Content,
    },
    /// What the host `from` has of the volume. `in_use`: while it may still be written to, so that some of it may be missing; else
    /// all that differs, and it ends well only if both are the same.
    CopyVolume {
        name: String,
        from: HostName,
        in_use: bool,
    },
    Pull {
        image: String,
        platform: Option<String>,
    },
    /// From the host `from`, whose copy is the one that is meant. `whole`: all its layers, also those that are there.
    Ship {
        image: String,
        from: HostName,
        bytes: i64,
        whole: bool,
    },
    /// With this machine's files, unless the context is a URL.
    Build(Box<ImageBuild>),
    RemoveImage {
        image: String,
    },
    /// To the registry of its name, with this machine's password for it.
    Push {
        image: String,
    },
    Create {
        name: Arc<str>,
        spec: Box<SlotSpec>,
    },
    Connect {
        container: ContainerRef,
        network: String,
        endpoint: Box<Endpoint>,
    },
    Start {
        container: ContainerRef,
    },
    /// The engine sends SIGKILL after `timeout_secs`; nothing leaves it the container's own stop timeout. `quiet_ms`: for so long
    /// before, its names are out of the networks that cross hosts, and it goes on at its addresses. That is one thing: a replica
    /// that runs without its names is of no use to anybody.
    Stop {
        container: ContainerRef,
        timeout_secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_ms: Option<u64>,
    },
    Restart {
        container: ContainerRef,
        timeout_secs: Option<u64>,
    },
    Kill {
        container: ContainerRef,
        signal: String,
    },
    Pause {
        container: ContainerRef,
    },
    Unpause {
        container: ContainerRef,
    },
    Rename {
        container: ContainerRef,
        to: Arc<str>,
    },
    /// `volumes`: its anonymous volumes go with it. `force`: also if it runs.
    Remove {
        container: ContainerRef,
        volumes: bool,
        force: bool,
    },
    Await {
        container: ContainerRef,
        until: Until,
        at_most_secs: u64,
    },
    /// A lifecycle hook inside the container; a non-zero exit code is a failure.
    Exec {
        container: ContainerRef,
        hook: Box<Hook>,
    },
    /// No call and no wait: ends as soon as every step in `after` has, and well only if they did. Where each of n steps waits
    /// for each of m others, a gate between them makes n + m edges of n × m. Not shown to readers; takes no turn on its host.
    Gate,
    /// A pause in a rolling update: `deploy.update_config.delay`, or until all hosts know of names that changed.
    Delay {
        millis: u64,
    },
    /// Like a gate, but what it waits for may have failed: it ends well unless more than `may_fail` of those steps did, those of
    /// the tally before it included. Where it fails, the rest of the update waits for ever, and `then` says what follows.
    Tally {
        may_fail: u32,
        then: FailureAction,
    },
}

impl Op {
    /// It only joins other steps: neither a call nor a wait, and nothing to show while it goes well.
    pub fn is_gate(&self) -> bool {
        matches!(self, Self::Gate | Self::Tally { .. })
    }

    /// Nothing changes by it, and it may end at once when somebody wants to.
    pub fn is_wait(&self) -> bool {
        matches!(self, Self::Await { .. } | Self::AwaitGone { .. } | Self::Delay { .. })
    }
}

/// `deploy.update_config.failure_action`: what follows where more replicas failed than may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// The rest stays as it is until somebody says so.
    Pause,
    /// The update goes on.
    Continue,
    /// The service goes back to the last good record.
    Rollback,
}

/// Why a step is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// No container fills the slot; no such network, volume or image on the host.
    Missing,
    /// These attributes of the service differ from those the container was made with.
    Changed {
        keys: BTreeSet<String>,
    },
    /// The image's reference stands for another image now.
    ImageChanged,
    /// The container was made by another tool or version, and its hash differs.
    Forced,
    /// The container exists and does not run.
    NotRunning {
        state: String,
    },
    /// Its healthcheck failed for as often as it allows.
    Unhealthy,
    /// Its engine starts it again more often than its policy says.
    GivenUp,
    /// The verb itself asks for it.
    Requested,
    ScaledDown,
    Orphan,
    /// Another, newer or better container fills the slot.
    Duplicate {
        kept: String,
    },
    /// The slot's host is another one now.
    Moved {
        to: HostName,
    },
    /// The container is under a temporary name of an interrupted replacement.
    Misnamed {
        name: String,
    },
    /// A service that this one depends on with `restart: true`, or whose namespace it shares, was replaced.
    DependencyReplaced {
        service: ServiceName,
    },
    /// It is part of replacing, starting or stopping the subject of the same cause.
    DependsOn {
        service: ServiceName,
    },
    /// A hook of the service.
    Hook {
        hook: String,
    },
    /// The hosts need a common swarm for networks that cross them.
    Fabric,
    /// It is part of a rolling update.
    Update,
    /// So that more than one host has it.
    Spare,
    /// Nothing uses it any more.
    Unused,
}

/// What was seen and is not acted on, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Note {
    HostUnreachable {
        host: HostName,
        why: String,
    },
    /// The slot stays where it is and nothing is done about it.
    Held {
        slot: Slot,
        host: HostName,
        because: String,
    },
    Unplaced {
        slot: Slot,
        refusal: String,
        misfits: BTreeMap<HostName, String>,
    },
    Orphan {
        host: HostName,
        container: String,
        service: String,
    },
    /// Something asked for that cannot be honoured; the steps of the slots concerned are left out, and the run is no success.
    Refused {
        /// A service, or `networks.NAME` and the like.
        subject: String,
        attribute: String,
        why: String,
        hint: String,
    },
    /// An attribute that is not honoured, and why that is harmless.
    Inert {
        service: String,
        attribute: String,
        why: String,
    },
    /// Said for the reader: a translation such as bridge to overlay.
    Remark {
        text: String,
    },
}

impl Note {
    pub fn unplaced(slot: Slot, refusal: &Refusal) -> Self {
        let misfits = refusal.misfits.iter().map(|(host, misfit)| (host.clone(), misfit.to_string())).collect();
        Self::Unplaced { slot, refusal: refusal.to_string(), misfits }
    }
}

impl Plan {
    /// Nothing to do. Notes may still say why.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether something that was asked for is left out: slots that fit nowhere, attributes that are refused. Applying such a
    /// plan well is still no success.
    pub fn is_partial(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::Unplaced { .. } | Note::Refused { .. }))
    }
}
