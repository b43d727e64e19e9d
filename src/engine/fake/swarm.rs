//! Swarms between fake hosts: membership, and the config objects in their Raft.

use std::collections::BTreeMap;

use super::state::{Cluster, Fail, Reach, mixed};
use super::time::rfc3339;
use crate::engine::{ConfigObject, ErrorKind, Node};
use crate::project::{HostName, Role};
use crate::world::NetworkSeen;

#[derive(Default)]
pub(super) struct FakeSwarm {
    pub(super) nodes: BTreeMap<String, FakeNode>,
    /// Overlay networks by name; `ingress` is one from the beginning.
    pub(super) networks: BTreeMap<String, NetworkSeen>,
    pub(super) configs: BTreeMap<String, ConfigObject>,
    version: u64,
}

pub(super) struct FakeNode {
    /// Nothing once the host left.
    pub(super) host: Option<HostName>,
    pub(super) hostname: String,
    pub(super) is_manager: bool,
    pub(super) addr: String,
}

const NOT_A_MANAGER: &str = "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. \
                             Please run this command on a manager node or promote the current node to a manager.";
const NOT_IN_A_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
                              node to swarm and try again.";
const ALREADY_IN_A_SWARM: &str =
    "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.";
/// The port of the swarm's managers.
const CONTROL_PORT: u16 = 2377;

impl Cluster {
    pub(super) fn swarm_init(&mut self, host: &HostName, advertise: &str) -> Result<(), Fail> {
        self.check_joinable(host)?;
        let (swarm_id, ingress_id) = (short(self.new_id()), self.new_id());
        let ingress = NetworkSeen {
            id: ingress_id,
            name: "ingress".to_owned(),
            driver: "overlay".to_owned(),
            scope: "swarm".to_owned(),
            ..NetworkSeen::default()
        };
        let mut swarm = FakeSwarm { version: 10, ..FakeSwarm::default() };
        swarm.networks.insert(ingress.name.clone(), ingress);
        self.swarms.insert(swarm_id.clone(), swarm);
        self.add_node(host, &swarm_id, Role::Manager, advertise)
    }

    /// The others keep their place in the list and are managers no more; the real engine makes those that come back managers again
    /// after half a minute, unless they were told otherwise.
    pub(super) fn swarm_recover(&mut self, host: &HostName) -> Result<(), Fail> {
        let Some((swarm_id, node_id)) = self.host(host)?.member.clone() else { return Err(Fail::failed(NOT_IN_A_SWARM)) };
        let nodes = self.swarms.get_mut(&swarm_id).map(|swarm| &mut swarm.nodes);
        nodes.into_iter().flatten().for_each(|(id, node)| node.is_manager = *id == node_id);
        Ok(())
    }

    pub(super) fn join_token(&mut self, host: &HostName, role: Role) -> Result<String, Fail> {
        self.manager_of(host)?;
        let swarm = self.host(host)?.member.as_ref().map(|(swarm, _)| swarm.clone()).unwrap_or_default();
        Ok(token(&swarm, role))
    }

    pub(super) fn swarm_join(&mut self, host: &HostName, advertise: &str, remote: &str, given: &str) -> Result<(), Fail> {
        self.check_joinable(host)?;
        let remote_host = remote.split(':').next().unwrap_or(remote);
        let at_remote = self.hosts.iter().find(|(name, state)| {
            let node_addr = self.node_of(name).map(|node| node.addr.as_str());
            (state.addr == remote_host || node_addr == Some(remote_host)) && self.is_connected(name)
        });
        let swarm_id = at_remote.and_then(|(name, state)| {
            let (swarm, _) = state.member.as_ref()?;
            self.node_of(name).filter(|node| node.is_manager).map(|_| swarm.clone())
        });
        let unreachable =
            || Fail::failed("rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing\"");
        let swarm_id = swarm_id.filter(|_| self.is_connected(host)).ok_or_else(unreachable)?;
        let role = [Role::Manager, Role::Worker].into_iter().find(|role| token(&swarm_id, *role) == given);
        let role = role.ok_or_else(|| {
            Fail::failed("rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster")
        })?;
        if !self.has_leader(&swarm_id) {
            return Err(no_leader());
        }
        self.add_node(host, &swarm_id, role, advertise)
    }

    pub(super) fn swarm_leave(&mut self, host: &HostName, force: bool) -> Result<(), Fail> {
        let Some((swarm_id, node_id)) = self.host(host)?.member.clone() else {
            return Err(Fail::failed("This node is not part of a swarm"));
        };
        let is_manager = self.node_of(host).is_some_and(|node| node.is_manager);
        if is_manager && !force {
            return Err(Fail::failed(
                "You are attempting to leave the swarm on a node that is participating as a manager. Use `--force` to suppress this message.",
            ));
        }
        self.host_mut(host)?.member = None;
        if let Some(swarm) = self.swarms.get_mut(&swarm_id) {
            if let Some(node) = swarm.nodes.get_mut(&node_id) {
                node.host = None;
            }
            if swarm.nodes.values().all(|node| node.host.is_none()) {
                self.swarms.remove(&swarm_id);
            }
        }
        Ok(())
    }

    /// What is on the host's disk, its place in a swarm among it, is gone.
    pub(super) fn lose_disk(&mut self, host: &HostName) {
        let Some(state) = self.hosts.get_mut(host) else { return };
        state.containers.clear();
        state.volumes.clear();
        state.networks.retain(|name, _| matches!(name.as_str(), "bridge" | "host" | "none"));
        let Some((swarm_id, node_id)) = state.member.take() else { return };
        if let Some(node) = self.swarms.get_mut(&swarm_id).and_then(|swarm| swarm.nodes.get_mut(&node_id)) {
            node.host = None;
        }
    }

    pub(super) fn nodes(&mut self, host: &HostName) -> Result<Vec<Node>, Fail> {
        self.manager_of(host)?;
        let swarm_id = self.host(host)?.member.as_ref().map(|(swarm, _)| swarm.clone()).unwrap_or_default();
        let Some(swarm) = self.swarms.get(&swarm_id) else { return Ok(Vec::new()) };
        let ready = |node: &FakeNode| node.host.as_ref().is_some_and(|name| self.is_connected(name));
        let leader = swarm.nodes.iter().find(|(_, node)| node.is_manager && ready(node)).map(|(id, _)| id);
        let nodes = swarm.nodes.iter().map(|(id, node)| Node {
            id: id.clone(),
            hostname: node.hostname.clone(),
            is_manager: node.is_manager,
            is_leader: Some(id) == leader,
            state: if ready(node) { "ready" } else { "down" }.to_owned(),
            availability: "active".to_owned(),
            addr: node.addr.clone(),
        });
        Ok(nodes.collect())
    }

    pub(super) fn node_remove(&mut self, host: &HostName, node_id: &str, force: bool) -> Result<(), Fail> {
        let nodes = self.nodes(host)?;
        let Some(node) = nodes.iter().find(|node| node.id == node_id) else { return Ok(()) };
        if node.state == "ready" && !force {
            return Err(Fail::refused(format!(
                "rpc error: code = FailedPrecondition desc = node {node_id} is not down and can't be removed"
            )));
        }
        if node.is_manager && node.state == "ready" {
            return Err(Fail::refused(format!(
                "rpc error: code = FailedPrecondition desc = node {node_id} is a cluster manager and is a member of the raft \
                 cluster. It must be demoted to worker before removal"
            )));
        }
        self.manager_of(host)?.nodes.remove(node_id);
        Ok(())
    }

    pub(super) fn node_role(&mut self, host: &HostName, node_id: &str, role: Role) -> Result<(), Fail> {
        let swarm = self.manager_of(host)?;
        let managers = swarm.nodes.values().filter(|node| node.is_manager).count();
        let node = swarm.nodes.get_mut(node_id).ok_or_else(|| Fail::not_found(format!("node {node_id} not found")))?;
        if node.is_manager && role == Role::Worker && managers == 1 {
            return Err(Fail::refused(
                "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm",
            ));
        }
        node.is_manager = role == Role::Manager;
        Ok(())
    }

    pub(super) fn configs(&mut self, host: &HostName, prefix: &str) -> Result<Vec<ConfigObject>, Fail> {
        let swarm = self.manager_of(host)?;
        let mut configs: Vec<ConfigObject> =
            swarm.configs.values().filter(|config| config.name.starts_with(prefix)).cloned().collect();
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(configs)
    }

    pub(super) fn config_create(
        &mut self,
        host: &HostName,
        name: &str,
        labels: &BTreeMap<String, String>,
        data: &[u8],
    ) -> Result<String, Fail> {
        let (id, time) = (short(self.new_id()), rfc3339(self.now_ms));
        if name.is_empty() || name.len() > 64 || data.is_empty() || data.len() >= 1000 * 1024 {
            return Err(Fail::refused("rpc error: code = InvalidArgument desc = invalid name or data"));
        }
        let swarm = self.manager_of(host)?;
        if swarm.configs.values().any(|config| config.name == name) {
            return Err(Fail::conflict(format!("rpc error: code = AlreadyExists desc = config {name} already exists")));
        }
        swarm.version += 1;
        let config = ConfigObject {
            id: id.clone(),
            name: name.to_owned(),
            version: swarm.version,
            labels: labels.clone(),
            data: data.to_vec(),
            created_at: time.clone(),
            updated_at: time,
        };
        swarm.configs.insert(id.clone(), config);
        Ok(id)
    }

    pub(super) fn config_relabel(
        &mut self,
        host: &HostName,
        id: &str,
        version: u64,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Fail> {
        let time = rfc3339(self.now_ms);
        let swarm = self.manager_of(host)?;
        let config = swarm.configs.get_mut(id).ok_or_else(|| Fail::not_found(format!("config {id} not found")))?;
        if config.version != version {
            return Err(Fail::conflict("rpc error: code = Unknown desc = update out of sequence"));
        }
        swarm.version += 1;
        config.version = swarm.version;
        config.labels.clone_from(labels);
        config.updated_at = time;
        Ok(())
    }

    pub(super) fn config_remove(&mut self, host: &HostName, id: &str) -> Result<(), Fail> {
        let removed = self.manager_of(host)?.configs.remove(id);
        removed.map(drop).ok_or_else(|| Fail::not_found(format!("config {id} not found")))
    }

    /// The swarm that this host manages, if it does and the swarm has a leader.
    pub(super) fn manager_of(&mut self, host: &HostName) -> Result<&mut FakeSwarm, Fail> {
        let Some((swarm_id, _)) = self.host(host)?.member.clone() else { return Err(Fail::failed(NOT_IN_A_SWARM)) };
        if !self.node_of(host).is_some_and(|node| node.is_manager) {
            return Err(Fail::failed(NOT_A_MANAGER));
        }
        if !self.has_leader(&swarm_id) || !self.is_connected(host) {
            return Err(no_leader());
        }
        self.swarms.get_mut(&swarm_id).ok_or_else(|| Fail::failed(NOT_IN_A_SWARM))
    }

    /// More than half of the managers have power and network.
    pub(super) fn has_leader(&self, swarm_id: &str) -> bool {
        let Some(swarm) = self.swarms.get(swarm_id) else { return false };
        let managers: Vec<&FakeNode> = swarm.nodes.values().filter(|node| node.is_manager).collect();
        let up = managers.iter().filter(|node| node.host.as_ref().is_some_and(|name| self.is_connected(name))).count();
        up * 2 > managers.len()
    }

    /// The host has power and reaches the others.
    pub(super) fn is_connected(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|state| state.reach == Reach::Up)
    }

    pub(super) fn node_of(&self, host: &HostName) -> Option<&FakeNode> {
        let (swarm, node) = self.hosts.get(host)?.member.as_ref()?;
        self.swarms.get(swarm)?.nodes.get(node)
    }

    fn check_joinable(&self, host: &HostName) -> Result<(), Fail> {
        let state = self.host(host)?;
        if state.member.is_some() {
            return Err(Fail::failed(ALREADY_IN_A_SWARM));
        }
        if state.info.live_restore {
            return Err(Fail::refused("--live-restore daemon configuration is incompatible with swarm mode"));
        }
        Ok(())
    }

    fn add_node(&mut self, host: &HostName, swarm_id: &str, role: Role, advertise: &str) -> Result<(), Fail> {
        let node_id = short(self.new_id());
        let state = self.host_mut(host)?;
        state.member = Some((swarm_id.to_owned(), node_id.clone()));
        let advertise = advertise.strip_suffix(&format!(":{CONTROL_PORT}")).unwrap_or(advertise);
        let addr = if advertise.is_empty() { state.addr.clone() } else { advertise.to_owned() };
        let hostname = state.info.hostname.clone();
        let node = FakeNode { host: Some(host.clone()), hostname, is_manager: role == Role::Manager, addr };
        if let Some(swarm) = self.swarms.get_mut(swarm_id) {
            swarm.nodes.insert(node_id, node);
        }
        Ok(())
    }
}

fn no_leader() -> Fail {
    Fail::new(
        ErrorKind::NoLeader,
        "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.",
    )
}

/// Ids of swarm objects have 25 characters.
fn short(id: String) -> String {
    id.chars().take(25).collect()
}

fn token(swarm_id: &str, role: Role) -> String {
    let seed = swarm_id.bytes().fold(role as u64 + 1, |sum, byte| mixed(sum ^ u64::from(byte)));
    format!("SWMTKN-1-{:016x}{:016x}", mixed(seed), mixed(seed + 1))
}
