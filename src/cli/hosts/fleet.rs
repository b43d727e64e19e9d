//! What every `hosts` verb works on: the inventory and its file, the hosts' engines and what they show.
#![expect(clippy::disallowed_methods, reason = "the verbs read and write the inventory")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use super::{HostsError, Stage};
use crate::cluster::{Managers, Probes, form, probe_own_storage, probe_ports, resolve, with_leader};
use crate::engine::{Engines, Node, Turns};
use crate::inventory::{Context, Inventory, parse};
use crate::plan::{Plan, Step};
use crate::project::{Host, HostName, ProjectName};
use crate::world::{Question, Sight, Swarm, World};

/// The hosts, and the way to them.
pub struct Fleet {
    pub inventory: Inventory,
    /// Nothing where the local engine is the one host.
    pub file: Option<InventoryFile>,
    /// Where `add` begins a file if there is none.
    pub begins: PathBuf,
    /// Opens the engines of hosts; connections begin with the first call.
    pub open: Box<Opener>,
    /// Tries the swarm's ports of hosts, and asks for the storage left, from this machine.
    pub probe: Box<Prober>,
}

pub type Opener = dyn Fn(&[Host]) -> Engines + Send + Sync;
pub type Prober = dyn Fn(Vec<Host>, World, BTreeMap<HostName, IpAddr>) -> BoxFuture<'static, Probes> + Send + Sync;

/// The file that verbs edit.
#[derive(Debug, Clone)]
pub struct InventoryFile {
    pub path: PathBuf,
    pub text: String,
}

impl Fleet {
    pub fn new(inventory: Inventory, file: Option<InventoryFile>, open: Box<Opener>) -> Self {
        let probe = |hosts, world, addresses| -> BoxFuture<'static, Probes> { Box::pin(probe(hosts, world, addresses)) };
        Self { inventory, file, begins: PathBuf::from("hosts.toml"), open, probe: Box::new(probe) }
    }

    pub fn engines(&self) -> Engines {
        (self.open)(&self.inventory.hosts)
    }

    /// The file, or the one that begins.
    pub fn file_or_new(&self) -> InventoryFile {
        self.file.clone().unwrap_or_else(|| InventoryFile { path: self.begins.clone(), text: String::new() })
    }

    pub fn file(&self) -> Result<&InventoryFile, HostsError> {
        self.file.as_ref().ok_or(HostsError::NoFile)
    }

    /// A host by its name; an unknown one is an error with the nearest name.
    pub fn host(&self, name: &str) -> Result<&Host, HostsError> {
        let near = || self.inventory.suggest(name).map(str::to_owned);
        self.inventory.host(name).ok_or_else(|| HostsError::NoSuchHost { name: name.to_owned(), near: near() })
    }
}

impl InventoryFile {
    /// What a text would mean in this file.
    pub fn meaning_of(&self, text: &str) -> Result<Inventory, HostsError> {
        let folder = self.path.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        let folder = if folder.is_empty() { ".".to_owned() } else { folder };
        let home = std::env::var("HOME").ok();
        let context = Context { folder: &folder, home: home.as_deref(), exists: &|path| Path::new(path).is_file() };
        Ok(parse(&self.path.display().to_string(), text, &context)?)
    }

    /// Puts a new text in place of the old one, whole or not at all; owner and rights stay, and a link stays a link.
    pub fn replace(&self, text: &str) -> Result<(), HostsError> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let beside = path.with_extension("toml.new");
        let write = || {
            let mut file = fs::File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            if let Ok(old) = fs::metadata(&path) {
                file.set_permissions(fs::Permissions::from_mode(old.mode()))?;
                // Only root may give a file away; others write what is theirs.
                let _ = std::os::unix::fs::chown(&beside, Some(old.uid()), Some(old.gid()));
            }
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|source| HostsError::Io { what: "write", path: path.display().to_string(), source })
    }
}

async fn probe(hosts: Vec<Host>, world: World, addresses: BTreeMap<HostName, IpAddr>) -> Probes {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (mut probes, free) = tokio::join!(probe_ports(&addresses), probe_own_storage(&hosts, &world, hostname.trim()));
    for (host, bytes) in free {
        probes.entry(host).or_default().storage_free_bytes = Some(bytes);
    }
    probes
}

/// Looks at every host; each look has its own bound.
pub async fn look(engines: &Engines) -> World {
    look_for(engines, &Question::default()).await
}

/// Looks at every host with a question.
pub async fn look_for(engines: &Engines, question: &Question) -> World {
    look_again(engines, question, &World::default()).await
}

/// As `look_for`, a moment after another look: engines and swarm are as they were `before`, where they were seen.
pub async fn look_again(engines: &Engines, question: &Question, before: &World) -> World {
    let (turns, question) = (&Turns::default(), &question.clone().of_hosts(engines.len()));
    let looks = engines.iter().map(|(name, engine)| async move {
        let look = async {
            match before.seen(name.as_str()) {
                Some(seen) => engine.look_again(question, seen).await,
                None => engine.look(question).await,
            }
        };
        let sight = match turns.take(look).await {
            Ok(seen) => Sight::Seen(Arc::new(seen)),
            Err(error) => Sight::Unreachable { why: error.message },
        };
        (name.clone(), sight)
    });
    World { hosts: join_all(looks).await.into_iter().collect() }
}

/// The swarm's list of nodes, asked of any manager; empty where there is none, or none that answers.
pub async fn nodes(engines: &Engines, world: &World) -> Vec<Node> {
    let manages = |swarm: &Swarm| matches!(swarm, Swarm::Active(member) if member.is_manager && member.control_available);
    let managers: Vec<&HostName> = world.seen_hosts().filter(|(_, seen)| manages(&seen.swarm)).map(|(name, _)| name).collect();
    let reached = managers.into_iter().filter_map(|name| engines.get(name).cloned()).collect();
    match Managers::new(reached) {
        Some(managers) => with_leader(&managers, |engine| async move { engine.nodes().await }).await.unwrap_or_default(),
        None => Vec::new(),
    }
}

/// The steps that make one swarm of the inventory's hosts.
pub async fn steps_to_form(inventory: &Inventory, world: &World) -> Result<Vec<Step>, HostsError> {
    let addresses = resolve(&inventory.hosts, world).await;
    Ok(form(&inventory.hosts, &inventory.network, world, &addresses)?)
}

/// Carries out steps on hosts; true when all of them ended well.
pub async fn carry_out(stage: &dyn Stage, engines: &Engines, steps: Vec<Step>) -> bool {
    let project = ProjectName::new("hosts").expect("a plain word is a project name");
    let plan = Plan { project, steps, notes: Vec::new() };
    plan.is_empty() || stage.carry_out(engines, &plan, None).await.is_success()
}
