//! A host's Docker engine. One narrow trait is the only way out; the real one and the fake stand behind it alike.

pub mod docker;
mod error;
pub mod fake;
mod folder;
mod storage;
mod turns;

pub use error::{EngineError, ErrorKind};
pub use folder::{Folder, FolderEntry, Wanted};
pub use storage::{df_command, free_of_df};
pub use turns::Turns;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::io::AsyncWrite;

use crate::project::{ContainerSpec, Endpoint, Hook, HostName, ImageBuild, NetworkSpec, Role, Until, VolumeSpec};
use crate::world::{Container, Health, Pace, Question, SeenHost, State};

/// The body of a request as it comes. An error in it ends the request: the engine does not take a part for the whole.
pub type Pieces = BoxStream<'static, std::io::Result<Bytes>>;

/// The engines of all hosts of the inventory.
pub type Engines = BTreeMap<HostName, Arc<dyn Engine>>;

/// What a build may ask for while it runs, by the names that its Dockerfile has for it. Never shown.
#[derive(Clone, Default)]
pub struct Lent {
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of SSH agents on this machine.
    pub agents: BTreeMap<String, PathBuf>,
    /// `context`, where the Dockerfile is (`dockerfile`), and further contexts.
    pub folders: BTreeMap<String, Arc<dyn Folder>>,
    /// Whose folders they are: builds with one key are told apart by what changed since the last of them.
    pub folders_key: Option<String>,
}

impl Lent {
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.agents.is_empty() && self.folders.is_empty()
    }
}

/// What is to be said of an image that is made of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// `REPOSITORY[:TAG]`, or nothing.
    pub image: String,
    pub author: String,
    pub message: String,
    /// Instructions as in a Dockerfile.
    pub changes: Vec<String>,
    /// The container is paused meanwhile.
    pub pause: bool,
}

/// Of an id, in names.
const ID_CHARS: usize = 12;
/// What an engine says that has taken a container's names out of a network and cannot write others.
const NAMES_ARE_GONE: &str = "Could not add service state";

/// Calls to one host's engine. Each has a bound of its own, returns what the engine said, and names host and call in its error.
/// `container` is an id or a name. An object that is already as asked for is no error (`start` of a running container …).
#[async_trait]
pub trait Engine: Send + Sync {
    /// Whose engine it is.
    fn host(&self) -> &HostName;

    /// What the engine shows now: itself, its swarm, containers, networks, volumes, and the images asked about.
    async fn look(&self, question: &Question) -> Result<SeenHost, EngineError>;

    /// As `look`, a moment after another: itself and its swarm are as they were `before`, since they are most of its work for the engine.
    async fn look_again(&self, question: &Question, before: &SeenHost) -> Result<SeenHost, EngineError>;

    /// The containers of a look alone: a tenth of its work, and no part of the swarm's.
    async fn containers(&self, pace: Pace) -> Result<Vec<Container>, EngineError>;
    /// Whether the engine answers, within two seconds.
    async fn ping(&self) -> Result<(), EngineError>;
    /// Bytes left where a folder of the host is; nothing where the way to the host runs no commands (all but SSH), or it cannot tell.
    async fn storage_left(&self, folder: &str) -> Option<u64>;
    /// What happens to containers from `since` on (seconds since 1970 with a fraction; empty for now), until `until` or, where that is
    /// empty, for as long as the stream is read. Engines keep the last 256 events. Dropping the stream ends it.
    async fn events(
        &self,
        since: &str,
        until: &str,
    ) -> Result<BoxStream<'static, Result<ContainerEvent, EngineError>>, EngineError>;

    /// Returns the new container's id.
    async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<String, EngineError>;
    async fn connect(&self, network: &str, container: &str, endpoint: &Endpoint) -> Result<(), EngineError>;
    /// What is not on the network is no error.
    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError>;
    async fn start(&self, container: &str) -> Result<(), EngineError>;
    async fn stop(&self, container: &str, timeout_secs: Option<u64>) -> Result<(), EngineError>;
    async fn restart(&self, container: &str, timeout_secs: Option<u64>) -> Result<(), EngineError>;
    async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError>;
    async fn pause(&self, container: &str) -> Result<(), EngineError>;
    async fn unpause(&self, container: &str) -> Result<(), EngineError>;
    async fn rename(&self, container: &str, to: &str) -> Result<(), EngineError>;
    /// Takes a container's names out of the networks that cross hosts; it goes on, and answers at its addresses.
    ///
    /// No call of the API does only that. But an engine that is asked to rename a container that runs on such a network takes its
    /// names out of the network's table, and then fails to write the new one, since the entry that has just gone is in its way
    /// (seen with 20.10). One that renames it after all keeps its aliases in the table, so that nothing is gained, nor lost.
    async fn withdraw(&self, container: &str) -> Result<(), EngineError> {
        let short: String = container.chars().take(ID_CHARS).collect();
        match self.rename(container, &format!("{short}_leaves")).await {
            Err(error) if error.message.contains(NAMES_ARE_GONE) => Ok(()),
            end => end,
        }
    }
    async fn remove(&self, container: &str, volumes: bool, force: bool) -> Result<(), EngineError>;
    /// Waits until the condition holds, or fails: at once when it cannot hold any more, `Overdue` after `at_most`.
    async fn wait(&self, container: &str, until: Until, at_most: Duration) -> Result<(), EngineError>;
    async fn inspect(&self, container: &str) -> Result<Inspected, EngineError>;
    /// Runs a command inside; the output is standard output and error together, its first 64 KiB.
    async fn exec(&self, container: &str, hook: &Hook) -> Result<ExecOutcome, EngineError>;
    /// Begins a command inside, with its input and output for the caller. Its environment entries without a value are left out.
    async fn exec_attached(&self, container: &str, command: &ExecCommand) -> Result<Attached, EngineError>;
    /// Begins a command inside and leaves it.
    async fn exec_detached(&self, container: &str, command: &ExecCommand) -> Result<(), EngineError>;
    /// The exit code of a command that has ended.
    async fn exec_code(&self, id: &str) -> Result<i64, EngineError>;
    /// Tells a command's terminal its size.
    async fn exec_resize(&self, id: &str, columns: u16, rows: u16) -> Result<(), EngineError>;
    /// A container's own input, if `stdin`, and output from now on; `id` is the container's. Also of one that has not begun. What is typed
    /// in `detach_keys` (the engine's own, Ctrl-P Ctrl-Q, where there are none) ends it and leaves the container running.
    async fn attach(&self, container: &str, stdin: bool, detach_keys: Option<&str>) -> Result<Attached, EngineError>;
    /// Tells a container's terminal its size.
    async fn resize(&self, container: &str, columns: u16, rows: u16) -> Result<(), EngineError>;
    /// A container's exit code, once it has ended. An end that comes after this has returned is not missed.
    async fn ending(&self, container: &str, when: Ending) -> Result<BoxFuture<'static, Result<i64, EngineError>>, EngineError>;
    /// What runs in a container, as its host's `ps` lists it.
    async fn processes(&self, container: &str) -> Result<Processes, EngineError>;
    /// What a container uses: once, or with `follow` about once a second until it is removed.
    async fn usage(&self, container: &str, follow: bool) -> Result<BoxStream<'static, Result<Usage, EngineError>>, EngineError>;
    /// Lines as they come, until the container ends, or with `follow` until it is removed. Dropping the stream ends it.
    async fn logs(
        &self,
        container: &str,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError>;

    /// Unpacks an archive (tar) into a folder of a container, which need not run; volumes that it mounts included.
    async fn put_archive(&self, container: &str, path: &str, archive: Pieces) -> Result<(), EngineError>;
    /// A file or folder of a container as an archive.
    async fn get_archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError>;
    /// All that is in a container but for what it mounts, as an archive.
    async fn export(&self, container: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError>;
    /// Makes an image of what is in a container; returns its id.
    async fn commit(&self, container: &str, commit: &Commit) -> Result<String, EngineError>;
    /// Where a symbolic link of a container leads to in the end, as an absolute path; nothing where it is none.
    async fn link_target(&self, container: &str, path: &str) -> Result<Option<String>, EngineError>;
    /// Whether a path of a container is a folder; nothing where there is none.
    async fn is_folder(&self, container: &str, path: &str) -> Result<Option<bool>, EngineError>;
    /// Makes an image out of an archive of its files.
    async fn import_image(&self, name: &str, tag: &str, archive: Bytes) -> Result<(), EngineError>;

    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError>;
    async fn remove_network(&self, name: &str) -> Result<(), EngineError>;
    /// Waits until the engine shows no network of that name any more; `Overdue` after `at_most`.
    async fn network_gone(&self, name: &str, at_most: Duration) -> Result<(), EngineError>;
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError>;
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;
    /// `progress` is told a line now and then. `login`: what the registry asks for, as the header `X-Registry-Auth` has it.
    async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError>;
    /// The digest (`sha256:…`) that an image's registry has for its name now. `login` as for `pull`.
    async fn digest(&self, image: &str, login: Option<&str>) -> Result<String, EngineError>;
    /// To the registry that the image's name says. `login` as for `pull`.
    async fn push(&self, image: &str, login: Option<&str>, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), EngineError>;
    /// An image as an archive that `load` takes.
    async fn save(&self, image: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError>;
    /// Takes an image in from an archive; `image` is for errors.
    async fn load(&self, image: &str, archive: Pieces) -> Result<(), EngineError>;
    /// The ids of all images.
    async fn images(&self) -> Result<Vec<String>, EngineError>;
    /// What an image consists of.
    async fn image(&self, image: &str) -> Result<ImageParts, EngineError>;
    /// Builds an image. `context`: its archive, unless the engine fetches it or reads it as a folder that is lent. `dockerfile`: its path
    /// there.
    async fn build(
        &self,
        build: &ImageBuild,
        dockerfile: &str,
        context: Option<Pieces>,
        lent: &Lent,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError>;
    async fn remove_image(&self, image: &str) -> Result<(), EngineError>;

    async fn swarm_init(&self, advertise: &str) -> Result<(), EngineError>;
    /// On a manager of a swarm that has lost most of the others (`ForceNewCluster`): the swarm goes on with this one alone.
    async fn swarm_recover(&self, advertise: &str) -> Result<(), EngineError>;
    /// Asked of a manager. A secret: never shown.
    async fn join_token(&self, role: Role) -> Result<String, EngineError>;
    async fn swarm_join(&self, advertise: &str, remote: &str, token: &str) -> Result<(), EngineError>;
    async fn swarm_leave(&self, force: bool) -> Result<(), EngineError>;
    async fn nodes(&self) -> Result<Vec<Node>, EngineError>;
    async fn node_remove(&self, node_id: &str, force: bool) -> Result<(), EngineError>;
    async fn node_role(&self, node_id: &str, role: Role) -> Result<(), EngineError>;
    /// Returns once a manager hears that its swarm has a new leader. It only listens: a question that needs the leader, asked of a
    /// manager that has not noticed yet that the leader is gone, keeps its host's containers off overlay networks for 20 s.
    async fn new_leader(&self) -> Result<(), EngineError>;

    /// Config objects of the swarm's Raft whose names start with `prefix`. Asked of a manager.
    async fn configs(&self, prefix: &str) -> Result<Vec<ConfigObject>, EngineError>;
    /// Returns the id; `Conflict` when the name is taken, which makes it an atomic claim.
    async fn config_create(&self, name: &str, labels: &BTreeMap<String, String>, data: &[u8]) -> Result<String, EngineError>;
    /// Replaces the labels if the object still has this version (compare-and-set); `Conflict` if not.
    async fn config_relabel(&self, id: &str, version: u64, labels: &BTreeMap<String, String>) -> Result<(), EngineError>;
    async fn config_remove(&self, id: &str) -> Result<(), EngineError>;
}

/// A container in detail.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspected {
    pub id: String,
    pub name: String,
    pub state: State,
    pub health: Health,
    /// Whether a healthcheck is configured, by the image's own too.
    pub has_healthcheck: bool,
    pub exit_code: i64,
    /// The engine's own word on why it did not start or ended: empty mostly.
    pub error: String,
    pub oom_killed: bool,
    pub restart_count: i64,
    pub tty: bool,
    /// RFC 3339, empty if it never started or ended.
    pub started_at: String,
    pub finished_at: String,
    /// How it is to join each network, by the network's name: what was asked for, not what came of it.
    pub networks: BTreeMap<String, Endpoint>,
    /// Output of the last probes of the healthcheck, the newest last.
    pub health_log: Vec<String>,
    /// The whole answer.
    pub raw: serde_json::Value,
}

/// A command that is to run inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecCommand {
    pub command: Vec<String>,
    /// `KEY=VALUE`
    pub environment: Vec<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub privileged: bool,
    pub tty: bool,
    /// Its input is the caller's; else it has none.
    pub stdin: bool,
}

/// A command that runs.
pub struct Attached {
    /// For `exec_code` and `exec_resize`.
    pub id: String,
    /// Its end, shut down, is the end of the command's input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// Ends with the command.
    pub output: BoxStream<'static, Result<Piece, EngineError>>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub is_stderr: bool,
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    pub exit_code: i64,
    pub output: String,
}

/// Which end of a container is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It does not run: now, or from the next end on.
    Stopped,
    /// The next one, also of one that has not begun.
    Next,
    /// The engine removes it by itself when it has ended, which is then done too.
    Removed,
}

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageParts {
    /// As the engine's store names it: by its configuration, or by its manifest.
    pub id: String,
    /// The digests of its layers, the lowest first.
    pub layers: Vec<String>,
}

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    pub titles: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// What a container uses; traffic since its start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// 100 is one CPU.
    pub cpu_percent: f64,
    pub memory_bytes: u64,
    pub memory_limit_bytes: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub processes: u64,
}

/// What `logs` is asked for, times as the API takes them: seconds since 1970 with a fraction, empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    pub follow: bool,
    /// Nothing: all.
    pub tail: Option<u64>,
    pub since: String,
    pub until: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// RFC 3339 with nanoseconds, by the engine's clock.
    pub time: String,
    pub is_stderr: bool,
    /// Without the line's end. Bytes that are no UTF-8 are replaced.
    pub text: String,
}

/// Something that happened to a container (`GET /events`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerEvent {
    /// Nanoseconds since 1970, by the engine's clock.
    pub time_ns: i64,
    /// The engine's word: `start`, `die`, `oom`, `health_status: unhealthy` …
    pub action: String,
    pub id: String,
    pub name: String,
    /// The reference that it was created from.
    pub image: String,
    /// Of a `die`.
    pub exit_code: Option<i64>,
    /// The container's labels.
    pub labels: BTreeMap<String, String>,
}

/// A node of the swarm as a manager lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub id: String,
    pub hostname: String,
    pub is_manager: bool,
    pub is_leader: bool,
    /// `ready`, `down` …
    pub state: String,
    pub availability: String,
    pub addr: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigObject {
    pub id: String,
    pub name: String,
    /// For `config_relabel`.
    pub version: u64,
    pub labels: BTreeMap<String, String>,
    pub data: Vec<u8>,
    /// RFC 3339.
    pub created_at: String,
    pub updated_at: String,
}
