//! What `hosts ls` shows of a host.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::Node;
use crate::inventory::Inventory;
use crate::project::Host;
use crate::world::{SeenHost, Sight, Swarm, World};

/// One host, in the order of the inventory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostRow {
    pub name: String,
    pub address: String,
    /// `manager`, `leader` or `worker`; as hosts.toml says where the host is in no swarm; `-` where that is open.
    pub role: String,
    pub availability: String,
    /// `ready`, `unreachable`, or the swarm's word for a member that it does not hear.
    pub state: String,
    /// The engine's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub engine: String,
    pub cpus: u32,
    pub memory_bytes: i64,
    /// Running containers that fill slots of projects.
    pub replicas: usize,
    pub labels: BTreeMap<String, String>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

pub const HEADINGS: [&str; 9] = ["NAME", "ADDRESS", "ROLE", "AVAILABILITY", "STATE", "ENGINE", "CPUS", "MEMORY", "REPLICAS"];

/// `nodes` is a manager's list; empty where there is no swarm.
pub fn rows(inventory: &Inventory, world: &World, nodes: &[Node]) -> Vec<HostRow> {
    inventory.hosts.iter().map(|host| row(host, world.hosts.get(&host.name), nodes)).collect()
}

fn row(host: &Host, sight: Option<&Sight>, nodes: &[Node]) -> HostRow {
    let by_file = host.role.map_or_else(|| "-".to_owned(), |role| role.to_string());
    let mut row = HostRow {
        name: host.name.to_string(),
        address: host.address.to_string(),
        role: by_file,
        availability: host.availability.to_string(),
        state: "unreachable".to_owned(),
        engine: String::new(),
        cpus: 0,
        memory_bytes: 0,
        replicas: 0,
        labels: host.labels.clone(),
        why: String::new(),
    };
    match sight {
        Some(Sight::Seen(seen)) => fill(&mut row, seen, nodes),
        Some(Sight::Unreachable { why }) => row.why.clone_from(why),
        None => {}
    }
    row
}

fn fill(row: &mut HostRow, seen: &SeenHost, nodes: &[Node]) {
    row.state = "ready".to_owned();
    row.engine.clone_from(&seen.engine.version);
    row.cpus = seen.engine.cpus;
    row.memory_bytes = seen.engine.memory_bytes;
    row.replicas = replicas_on(seen);
    match &seen.swarm {
        Swarm::Inactive => {}
        Swarm::Pending { state, error } => {
            row.state.clone_from(state);
            row.why.clone_from(error);
        }
        Swarm::Active(member) => {
            let node = nodes.iter().find(|node| node.id == member.node_id);
            let is_leader = node.is_some_and(|node| node.is_leader);
            row.role = if is_leader {
                "leader"
            } else if member.is_manager {
                "manager"
            } else {
                "worker"
            }
            .to_owned();
            if let Some(node) = node.filter(|node| node.state != "ready") {
                row.state.clone_from(&node.state);
            }
            row.why.clone_from(&member.error);
        }
    }
}

/// How many running replicas of any project a host has.
pub fn replicas_on(seen: &SeenHost) -> usize {
    seen.containers.iter().filter(|container| container.state.is_up() && container.slot().is_some()).count()
}

impl HostRow {
    /// In the order of `HEADINGS`.
    pub fn cells(&self) -> Vec<String> {
        let known = !self.engine.is_empty();
        let or_dash = |text: String| if known { text } else { "-".to_owned() };
        vec![
            self.name.clone(),
            self.address.clone(),
            self.role.clone(),
            self.availability.clone(),
            self.state.clone(),
            or_dash(self.engine.clone()),
            or_dash(self.cpus.to_string()),
            or_dash(gibibytes(self.memory_bytes)),
            or_dash(self.replicas.to_string()),
        ]
    }
}

fn gibibytes(bytes: i64) -> String {
    const GIBIBYTE: f64 = 1_073_741_824.0;
    format!("{:.1} GiB", bytes as f64 / GIBIBYTE)
}
