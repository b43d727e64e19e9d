//! What a fake cluster consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::faults::Faults;
use super::pace::Pace;
use super::swarm::FakeSwarm;
use super::time::Change;
use crate::engine::{ContainerEvent, ErrorKind, LogLine};
use crate::project::{ContainerSpec, Endpoint, HostName};
use crate::world::{EngineInfo, Health, ImageSeen, MountSeen, NetworkSeen, PortSeen, State, VolumeSeen};

/// Whether a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Up,
    /// No packets; what runs goes on.
    Cut,
    /// Nobody listens, and whoever asks is told so at once; what runs goes on.
    Refusing,
    /// No power.
    Crashed,
    /// Nothing moves; what is sent waits.
    Frozen,
}

/// A call as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub host: HostName,
    /// In words, with its object: "start `shop-web-1`".
    pub call: String,
    pub failed: bool,
}

/// How containers of an image behave once started.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// What a healthcheck finds out, and how long after the start.
    pub health: Health,
    pub health_after: Duration,
    /// The process ends by itself: after this time, with this code.
    pub exits: Option<(Duration, i64)>,
    /// The exit code after SIGTERM; nothing: the process ignores it, and SIGKILL follows.
    pub on_term: Option<i64>,
    /// The start is refused with this text.
    pub start_error: Option<String>,
    /// The image itself has a healthcheck.
    pub has_healthcheck: bool,
    /// Paths that the image declares as volumes.
    pub volumes: Vec<String>,
    /// What commands inside end with, by the command's words joined with spaces; any other ends with 0.
    pub exec: BTreeMap<String, (i64, String)>,
}

impl Default for Behaviour {
    /// Runs until it is told to end, healthy after a second.
    fn default() -> Self {
        Self {
            health: Health::Healthy,
            health_after: Duration::from_secs(1),
            exits: None,
            on_term: Some(0),
            start_error: None,
            has_healthcheck: false,
            volumes: Vec::new(),
            exec: BTreeMap::new(),
        }
    }
}

/// An engine's refusal, before host and call are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fail {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Fail {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }
}

pub(super) struct Cluster {
    pub(super) hosts: BTreeMap<HostName, FakeHostState>,
    pub(super) swarms: BTreeMap<String, FakeSwarm>,
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    /// Generation behind a reference; nothing: the registry does not have it. Absent: it has, at generation 0.
    pub(super) registry: BTreeMap<String, Option<u64>>,
    pub(super) now_ms: u64,
    pub(super) next_id: u64,
    pub(super) faults: Faults,
    /// Nothing: calls take no time but what the clock is moved by.
    pub(super) pace: Option<Pace>,
    pub(super) calls: Vec<Call>,
    /// What happened to containers, on every host.
    pub(super) events: Vec<(HostName, ContainerEvent)>,
}

/// Where the clock stands at first: 2023-11-14T22:13:20Z.
const START_MS: u64 = 1_700_000_000_000;

impl Default for Cluster {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            swarms: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            registry: BTreeMap::new(),
            now_ms: START_MS,
            next_id: 0,
            faults: Faults::default(),
            pace: None,
            calls: Vec::new(),
            events: Vec::new(),
        }
    }
}

impl Cluster {
    /// 64 hexadecimal digits, another at each call, the same in each run.
    pub(super) fn new_id(&mut self) -> String {
        self.next_id += 1;
        (0..4).map(|part| format!("{:016x}", mixed(self.next_id * 4 + part))).collect()
    }

    pub(super) fn behaviour(&self, image: &str) -> Behaviour {
        self.behaviours.get(image).cloned().unwrap_or_default()
    }

    /// Writes down what happened to a container that still exists.
    pub(super) fn tell(&mut self, host: &HostName, id: &str, action: &str) {
        let Some(container) = self.hosts.get(host).and_then(|host| host.containers.get(id)) else { return };
        let event = ContainerEvent {
            time_ns: i64::try_from(self.now_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX),
            action: action.to_owned(),
            id: id.to_owned(),
            name: container.name.clone(),
            image: container.spec.image.clone(),
            exit_code: (action == "die").then_some(container.exit_code),
            labels: container.spec.labels.clone(),
        };
        self.events.push((host.clone(), event));
    }

    pub(super) fn host(&self, name: &HostName) -> Result<&FakeHostState, Fail> {
        self.hosts.get(name).ok_or_else(|| Fail::new(ErrorKind::Unreachable, "there is no such host"))
    }

    pub(super) fn host_mut(&mut self, name: &HostName) -> Result<&mut FakeHostState, Fail> {
        self.hosts.get_mut(name).ok_or_else(|| Fail::new(ErrorKind::Unreachable, "there is no such host"))
    }

    /// Why a host does not answer, if so.
    pub(super) fn reach(&self, name: &HostName) -> Result<(), Fail> {
        match self.host(name)?.reach {
            Reach::Up => Ok(()),
            Reach::Cut => Err(Fail::new(ErrorKind::Unreachable, "no route to host")),
            Reach::Refusing => Err(Fail::new(ErrorKind::Unreachable, "connection refused")),
            Reach::Crashed => Err(Fail::new(ErrorKind::Unreachable, "connection timed out")),
            Reach::Frozen => Err(Fail::new(ErrorKind::Timeout, "no answer in time")),
        }
    }
}

/// A number that looks random (the finaliser of splitmix64).
pub(super) fn mixed(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

pub(super) struct FakeHostState {
    pub(super) reach: Reach,
    pub(super) info: EngineInfo,
    /// The address that other hosts reach it at.
    pub(super) addr: String,
    pub(super) containers: BTreeMap<String, FakeContainer>,
    pub(super) networks: BTreeMap<String, NetworkSeen>,
    /// Overlay networks that the swarm has let go, shown until that time of the cluster's clock.
    pub(super) fading: Vec<(NetworkSeen, u64)>,
    pub(super) volumes: BTreeMap<String, FakeVolume>,
    pub(super) images: BTreeMap<String, ImageSeen>,
    /// Swarm and node id.
    pub(super) member: Option<(String, String)>,
    pub(super) in_flight: u32,
    pub(super) most_in_flight: u32,
    pub(super) next_addr: u32,
    pub(super) boots: u32,
    pub(super) saved: Option<Disk>,
    /// What is in its memory, below `/run/mcompose`, until it loses power.
    pub(super) memory: super::archives::Files,
}

/// What a host keeps without power.
#[derive(Clone)]
pub(super) struct Disk {
    containers: BTreeMap<String, FakeContainer>,
    networks: BTreeMap<String, NetworkSeen>,
    volumes: BTreeMap<String, FakeVolume>,
}

#[derive(Clone)]
pub(super) struct FakeVolume {
    pub(super) seen: VolumeSeen,
    pub(super) is_anonymous: bool,
    /// In the folder that the engine keeps for it: its own, `_data`, and whatever was put beside that.
    pub(super) files: super::archives::Files,
}

impl FakeHostState {
    pub(super) fn new(name: &HostName, number: usize) -> Self {
        let names = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<String>>();
        let info = EngineInfo {
            id: format!("ENGINE-{}", name.as_str().to_ascii_uppercase()),
            hostname: name.to_string(),
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            min_api_version: "1.12".to_owned(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            cpus: 8,
            memory_bytes: 16 << 30,
            runtimes: names(&["runc"]),
            volume_plugins: names(&["local"]),
            network_plugins: names(&["bridge", "host", "ipvlan", "macvlan", "null", "overlay"]),
            storage_driver: "overlay2".to_owned(),
            root_dir: "/var/lib/docker".to_owned(),
            ..EngineInfo::default()
        };
        let builtin = |name: &str, driver: &str| NetworkSeen {
            id: format!("{name}-of-{number}"),
            name: name.to_owned(),
            driver: driver.to_owned(),
            scope: "local".to_owned(),
            ..NetworkSeen::default()
        };
        let networks = [builtin("bridge", "bridge"), builtin("host", "host"), builtin("none", "null")];
        Self {
            reach: Reach::Up,
            info,
            addr: format!("10.0.{}.{}", number / 250, number % 250 + 1),
            containers: BTreeMap::new(),
            fading: Vec::new(),
            networks: networks.into_iter().map(|network| (network.name.clone(), network)).collect(),
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            member: None,
            in_flight: 0,
            most_in_flight: 0,
            next_addr: 1,
            boots: 0,
            saved: None,
            memory: super::archives::Files::new(),
        }
    }

    pub(super) fn disk(&self) -> Disk {
        Disk { containers: self.containers.clone(), networks: self.networks.clone(), volumes: self.volumes.clone() }
    }

    pub(super) fn put_disk(&mut self, disk: Disk) {
        let Disk { containers, networks, volumes } = disk;
        (self.containers, self.networks, self.volumes) = (containers, networks, volumes);
    }

    /// By id, name, or the first digits of an id.
    pub(super) fn find(&self, container: &str) -> Option<&FakeContainer> {
        self.id_of(container).and_then(|id| self.containers.get(&id))
    }

    pub(super) fn find_mut(&mut self, container: &str) -> Option<&mut FakeContainer> {
        self.id_of(container).and_then(|id| self.containers.get_mut(&id))
    }

    fn id_of(&self, container: &str) -> Option<String> {
        if self.containers.contains_key(container) {
            return Some(container.to_owned());
        }
        let container = container.strip_prefix('/').unwrap_or(container);
        let named = self.containers.values().find(|other| other.name == container);
        let by_prefix = || self.containers.values().find(|other| container.len() >= 4 && other.id.starts_with(container));
        named.or_else(by_prefix).map(|found| found.id.clone())
    }

    pub(super) fn container(&mut self, container: &str) -> Result<&mut FakeContainer, Fail> {
        self.find_mut(container).ok_or_else(|| Fail::not_found(format!("No such container: {container}")))
    }
}

#[derive(Clone)]
pub(super) struct FakeContainer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) spec: ContainerSpec,
    pub(super) image_id: String,
    pub(super) state: State,
    pub(super) health: Health,
    pub(super) has_healthcheck: bool,
    pub(super) created_ms: u64,
    pub(super) started_ms: Option<u64>,
    pub(super) finished_ms: Option<u64>,
    pub(super) exit_code: i64,
    pub(super) error: String,
    pub(super) restart_count: i64,
    /// What the engine waited for before the last one.
    pub(super) restart_delay_ms: u64,
    /// A user stopped or killed it: the engine does not restart it.
    pub(super) stopped_by_user: bool,
    pub(super) networks: BTreeMap<String, FakeEndpoint>,
    pub(super) mounts: Vec<MountSeen>,
    pub(super) ports: Vec<PortSeen>,
    pub(super) lines: Vec<LogLine>,
    /// What happens to it by itself, and when.
    pub(super) due: Vec<(u64, Change)>,
}

#[derive(Clone)]
pub(super) struct FakeEndpoint {
    pub(super) endpoint: Endpoint,
    /// The network's own id once it was joined: another network of the same name will not do then.
    pub(super) network_id: String,
    /// Empty while not running.
    pub(super) addr: String,
}

impl FakeContainer {
    pub(super) fn log(&mut self, now_ms: u64, text: &str, is_stderr: bool) {
        self.lines.push(LogLine { time: super::time::rfc3339(now_ms), is_stderr, text: text.to_owned() });
    }
}
