//! What is, as last seen. One snapshot of every host; not seen is not absent.

mod image;
mod labels;
mod moving;

pub use image::ImageSeen;
pub use labels::{Labels, Reservation, keys};
pub use moving::{Moving, Way, moving};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::project::{ContainerId, Content, Host, HostName, ProjectName, Protocol, Slot, carriers_of};

/// Every host of the inventory with what it showed when it was last looked at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct World {
    pub hosts: BTreeMap<HostName, Sight>,
}

/// One host's part of a look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Sight {
    /// Shared by all who look at one snapshot, of which there are many at once and each is large.
    Seen(Arc<SeenHost>),
    /// Nothing is known of what runs there, so nothing there may be counted as gone.
    Unreachable { why: String },
}

impl World {
    /// The host as seen, or nothing where it is unreachable or not in the inventory.
    pub fn seen(&self, host: &str) -> Option<&SeenHost> {
        match self.hosts.get(host) {
            Some(Sight::Seen(seen)) => Some(seen),
            Some(Sight::Unreachable { .. }) | None => None,
        }
    }

    pub fn seen_hosts(&self) -> impl Iterator<Item = (&HostName, &SeenHost)> {
        self.hosts.iter().filter_map(|(name, sight)| match sight {
            Sight::Seen(seen) => Some((name, seen.as_ref())),
            Sight::Unreachable { .. } => None,
        })
    }

    /// Hosts that did not answer, with the reason.
    pub fn unreachable_hosts(&self) -> impl Iterator<Item = (&HostName, &str)> {
        self.hosts.iter().filter_map(|(name, sight)| match sight {
            Sight::Seen(_) => None,
            Sight::Unreachable { why } => Some((name, why.as_str())),
        })
    }

    /// For each slot of a project the container that speaks for it: one that runs before one that does not.
    pub fn fillers<'a>(&'a self, project: &'a ProjectName) -> BTreeMap<Slot, &'a Container> {
        let rank = |container: &Container| (container.state.is_up(), container.health != Health::Unhealthy, container.created);
        let mut fillers: BTreeMap<Slot, &'a Container> = BTreeMap::new();
        for (_, container) in self.containers_of(project) {
            let Some(slot) = container.slot() else { continue };
            match fillers.get(&slot) {
                Some(other) if rank(other) >= rank(container) => {}
                _ => drop(fillers.insert(slot, container)),
            }
        }
        fillers
    }

    /// Every container of a project that was seen, with its host, in order of host and name; one-off containers included.
    pub fn containers_of<'a>(&'a self, project: &'a ProjectName) -> impl Iterator<Item = (&'a HostName, &'a Container)> {
        self.seen_hosts().flat_map(move |(name, seen)| {
            seen.containers.iter().filter(move |c| c.labels.project.as_deref() == Some(project.as_str())).map(move |c| (name, c))
        })
    }

    /// Whether a container, network or volume of a project was seen.
    pub fn has_any_of(&self, project: &ProjectName) -> bool {
        let is_ours = |labels: &BTreeMap<String, String>| labels.get(keys::PROJECT).map(String::as_str) == Some(project.as_str());
        let has_more = |seen: &SeenHost| {
            seen.networks.iter().any(|network| is_ours(&network.labels))
                || seen.volumes.iter().any(|volume| is_ours(&volume.labels))
        };
        self.containers_of(project).next().is_some() || self.seen_hosts().any(|(_, seen)| has_more(seen))
    }

    /// The newest revision that a container of the project shows, 0 where none does.
    pub fn newest_revision(&self, project: &ProjectName) -> u64 {
        let revisions = self.containers_of(project).filter_map(|(_, container)| container.labels.revision);
        revisions.max().unwrap_or_default()
    }
}

/// An engine that answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenHost {
    pub engine: EngineInfo,
    pub swarm: Swarm,
    /// Every container of the engine, foreign ones too (they hold ports and memory), by name.
    pub containers: Vec<Container>,
    pub networks: Vec<NetworkSeen>,
    pub volumes: Vec<VolumeSeen>,
    /// Image references that the look asked about, with the image each stands for here. Absent: not on this host.
    pub images: BTreeMap<String, ImageSeen>,
}

impl SeenHost {
    /// Whether a content is here, whole: no mark says that it is not. What a delivery left that another has completed since is no mark.
    pub fn holds(&self, content: &Content) -> bool {
        let (volume, carriers) = (content.volume(), content.carriers());
        let mut is_here = false;
        for seen in &self.volumes {
            is_here |= seen.name == volume;
            if seen.name.starts_with(&carriers) {
                return false;
            }
        }
        is_here
    }

    /// Whether there is a volume of this name, and no mark that says that it is not whole.
    pub fn has_whole(&self, volume: &str) -> bool {
        self.volumes.iter().any(|seen| seen.name == volume) && !self.is_half(volume)
    }

    /// Whether a mark says that what is in a volume is not whole: who filled it did not come to the end.
    pub fn is_half(&self, volume: &str) -> bool {
        let is_mark = |seen: &VolumeSeen| seen.labels.get(keys::CONTENT_OF).is_some_and(|of| of == volume);
        self.volumes.iter().any(is_mark)
    }

    /// What has begun to fill a volume here and did not come to its end, by name: marks, carriers, or both.
    pub fn unfinished(&self, volume: &str) -> Vec<String> {
        let carriers = carriers_of(volume);
        let volumes = self.volumes.iter().map(|seen| &seen.name);
        let names = volumes.chain(self.containers.iter().map(|seen| &seen.name));
        let names: BTreeSet<&String> = names.filter(|name| name.starts_with(&carriers)).collect();
        names.into_iter().cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineInfo {
    /// The engine's own id (`/info` ID): two inventory hosts with one id are one machine.
    pub id: String,
    pub hostname: String,
    pub version: String,
    /// The version spoken with it, within 1.41 to 1.51.
    pub api_version: String,
    pub min_api_version: String,
    /// As Go names them: `linux`; `amd64`, `arm64` …
    pub os: String,
    pub arch: String,
    pub cpus: u32,
    pub memory_bytes: i64,
    /// dockerd's own labels, `engine.labels.*` of placement constraints.
    pub labels: BTreeMap<String, String>,
    /// `--node-generic-resource` of dockerd: how many of a kind.
    pub generic_resources: BTreeMap<String, i64>,
    pub runtimes: BTreeSet<String>,
    pub volume_plugins: BTreeSet<String>,
    pub network_plugins: BTreeSet<String>,
    pub live_restore: bool,
    pub rootless: bool,
    pub storage_driver: String,
    pub root_dir: String,
    /// The engine's clock at the look minus this machine's, in milliseconds.
    pub clock_skew_ms: i64,
}

impl EngineInfo {
    /// What tells machines apart. Clones of one share the engine's id, so the host name and the data folder count as well.
    pub fn machine(&self) -> (&str, &str, &str) {
        (&self.id, &self.hostname, &self.root_dir)
    }

    /// Whether both are one engine, seen under two names.
    pub fn is_same_machine(&self, other: &Self) -> bool {
        !self.id.is_empty() && self.machine() == other.machine()
    }

    /// Whether the API spoken with it has what came in this version; one that told none counts as new.
    pub fn speaks(&self, version: (u32, u32)) -> bool {
        let spoken = self.api_version.split_once('.');
        let spoken = spoken.and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
        spoken.is_none_or(|spoken| spoken >= version)
    }
}

/// What an engine says of the swarm it is in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Swarm {
    #[default]
    Inactive,
    /// Joining, locked, or in error: not usable now.
    Pending {
        state: String,
        error: String,
    },
    Active(SwarmMember),
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SwarmMember {
    /// Empty on a worker, which the engine does not tell.
    pub cluster_id: String,
    pub node_id: String,
    /// The address other nodes know it by.
    pub node_addr: String,
    pub is_manager: bool,
    /// Managers' node ids and `address:2377`, as this node knows them: the way to tell which swarm a worker is in.
    pub managers: BTreeMap<String, String>,
    /// Whether a manager answers; on a manager: whether the swarm has a leader.
    pub control_available: bool,
    pub error: String,
}

/// One container as a list shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: ContainerId,
    /// Without the leading slash.
    pub name: String,
    /// The reference it was created from, and the id of the image it stands for.
    pub image: String,
    pub image_id: String,
    pub state: State,
    pub health: Health,
    /// Seconds since 1970, by the engine's clock.
    pub created: i64,
    pub labels: Labels,
    pub ports: Vec<PortSeen>,
    pub mounts: Vec<MountSeen>,
    /// By the engine's name of the network: the address there (empty while not running).
    pub networks: BTreeMap<String, String>,
    /// By the same name: the id of the network that it was on when it last ran. The engine starts it on no other.
    #[serde(default)]
    pub network_ids: BTreeMap<String, String>,
    pub network_mode: String,
    pub command: String,
    /// The engine's own words: `Up 2 minutes (healthy)`.
    pub status: String,
    /// What the engine's own restarts came to, of a replica that does not run now; nothing where the engine was not asked.
    #[serde(default)]
    pub restarts: Option<Restarts>,
}

/// How often an engine started a container again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restarts {
    /// Since somebody started it last.
    pub count: u32,
    /// How long it ran the last time, in milliseconds.
    pub lived_ms: u64,
}

impl Container {
    /// Whether it takes a question of its own to know what the engine's restarts came to: a list does not tell.
    pub fn may_have_restarted(&self) -> bool {
        let has_ended = matches!(self.state, State::Restarting | State::Exited { .. });
        has_ended && self.labels.project.is_some() && !self.labels.oneoff
    }

    /// The slot it fills, if its labels say that it is a replica and no one-off.
    pub fn slot(&self) -> Option<Slot> {
        if self.labels.oneoff { None } else { self.labels.slot() }
    }
}

/// A container's state by the engine's words; a word this version does not know is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    /// Exit code where the engine told it.
    Exited {
        code: Option<i64>,
    },
    Dead,
    Other(String),
}

impl State {
    /// Its process exists: running, paused or about to be started again by the engine.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

impl std::fmt::Display for State {
    /// The engine's word: `running`, `exited` …
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited { .. } => "exited",
            Self::Dead => "dead",
            Self::Other(word) => word,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Health {
    /// No healthcheck, or the engine did not say.
    #[default]
    None,
    Starting,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortSeen {
    pub host_ip: String,
    /// None for a port that is exposed but not published.
    pub host_port: Option<u16>,
    pub container_port: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MountSeen {
    /// `volume`, `bind`, `tmpfs` …
    pub kind: String,
    /// The volume's name; empty for binds.
    pub name: String,
    pub source: String,
    pub target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSeen {
    pub id: String,
    pub name: String,
    pub driver: String,
    /// `swarm` for overlay networks, `local` else.
    pub scope: String,
    pub attachable: bool,
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSeen {
    pub name: String,
    pub driver: String,
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// What a look asks beyond what it always shows, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// Image references to look up on each host.
    pub images: BTreeSet<String>,
    pub pace: Pace,
}

/// How a look asks one host for its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// All at once, since somebody waits for the answer.
    #[default]
    AtOnce,
    /// One after the other, over one connection that ends with the look, as is best for who looks at a thousand hosts.
    OneByOne,
}

impl Question {
    pub fn about(images: BTreeSet<String>) -> Self {
        Self { images, ..Self::default() }
    }

    /// The same for each of so many hosts.
    pub fn of_hosts(self, count: usize) -> Self {
        Self { pace: Pace::of_hosts(count), ..self }
    }
}

impl Pace {
    /// What suits looks at so many hosts.
    pub fn of_hosts(count: usize) -> Self {
        if count > AT_ONCE_HOSTS_MAX { Self::OneByOne } else { Self::AtOnce }
    }
}

/// Each of them may be asked for everything at once; of more, that would be a thousand connections or more.
const AT_ONCE_HOSTS_MAX: usize = 100;

/// How the containers of a project reach each other across hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fabric {
    /// Each host alone: bridge networks, as docker compose makes them.
    Bridge,
    /// One swarm under all hosts: attachable overlay networks, made through any of these managers.
    Overlay { managers: Vec<HostName> },
}

/// A host that placement may choose, with what was seen of it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub host: &'a Host,
    pub sight: &'a Sight,
}
