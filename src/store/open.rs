//! Which store a set of hosts has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{FolderStore, Holder, RaftStore, Store, StoreError};
use crate::cluster::Managers;
use crate::engine::Engines;
use crate::project::HostName;
use crate::world::{Fabric, SeenHost, Swarm, World};

/// The store of these hosts: the Raft of their swarm, or of the one host that manages a swarm; else a folder below `state`.
///
/// `inventory` is the absolute path of the inventory: with several hosts and no swarm, it names the folder.
pub fn open(
    fabric: &Fabric,
    engines: &Engines,
    world: &World,
    state: &Path,
    inventory: &str,
) -> Result<Arc<dyn Store>, StoreError> {
    let managers: Vec<HostName> = match fabric {
        Fabric::Overlay { managers } => managers.clone(),
        Fabric::Bridge if engines.len() == 1 => {
            world.seen_hosts().filter(|(_, seen)| manages(seen)).map(|(name, _)| name.clone()).collect()
        }
        Fabric::Bridge => Vec::new(),
    };
    let reached = managers.iter().filter_map(|name| engines.get(name).cloned()).collect();
    let node_id = |host: &HostName| match world.seen(host.as_str()).map(|seen| &seen.swarm) {
        Some(Swarm::Active(member)) => Some(member.node_id.clone()),
        _ => None,
    };
    if let (Some(first), Some(managers)) = (managers.first(), Managers::new(reached)) {
        return Ok(Arc::new(RaftStore::new(managers.known_as(node_id), first.clone())));
    }
    Ok(Arc::new(FolderStore::new(state.join("mcompose").join(folder_name(engines, world, inventory)))))
}

fn manages(seen: &SeenHost) -> bool {
    matches!(&seen.swarm, Swarm::Active(member) if member.is_manager && member.control_available)
}

/// The engine's id for one host, so that the records are found under whatever name the host is given; engines of one
/// machine may share an id, but never a data folder.
fn folder_name(engines: &Engines, world: &World, inventory: &str) -> String {
    const USUAL_ROOT: &str = "/var/lib/docker";
    let engine = world.seen_hosts().next().map(|(_, seen)| &seen.engine).filter(|engine| !engine.id.is_empty());
    match engine {
        Some(engine) if engines.len() == 1 => {
            let id: String = engine.id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            if engine.root_dir == USUAL_ROOT { id } else { format!("{id}-{}", short_hash(&engine.root_dir)) }
        }
        _ => format!("inventory-{}", short_hash(inventory)),
    }
}

fn short_hash(text: &str) -> String {
    const BYTES: usize = 6;
    Sha256::digest(text.as_bytes()).iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// `XDG_STATE_HOME`, else `~/.local/state` (XDG Base Directory Specification).
pub fn state_folder() -> Result<PathBuf, StoreError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state"))).ok_or(StoreError::NoFolder)
}

/// Seconds since 1970, as records carry them.
pub fn now_secs() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `user@host` of this process.
pub fn whoami() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.or_else(user_of_process);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{}@{host}", user.as_deref().unwrap_or("somebody"))
}

/// The name of this process's user in /etc/passwd, or its number.
fn user_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = lines.find(|fields| fields.get(2) == Some(&uid.as_str())).map(|fields| fields[0].to_owned());
    name.or(Some(uid))
}

impl Holder {
    /// This process, about to run a command.
    pub fn this_process(what: &str) -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let who = whoami();
        let token = format!("{who}:{}:{}", std::process::id(), since_epoch.as_nanos());
        Self { who, what: what.to_owned(), since: since_epoch.as_secs() as i64, token }
    }
}
