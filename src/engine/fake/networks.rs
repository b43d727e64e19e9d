//! Networks of the fake: bridges of one host, overlays of a swarm.

use super::state::{Cluster, Fail, FakeEndpoint, FakeHostState};
use crate::engine::ErrorKind;
use crate::project::{Endpoint, HostName, NetworkSpec};
use crate::world::NetworkSeen;

/// How long a host shows an overlay network that its swarm has let go (seen with 20.10: up to 200 ms).
const FADES_MS: u64 = 200;

impl Cluster {
    pub(super) fn create_network(&mut self, host: &HostName, spec: &NetworkSpec) -> Result<(), Fail> {
        let driver = spec.driver.clone().unwrap_or_else(|| "bridge".to_owned());
        if !self.host(host)?.info.network_plugins.contains(&driver) {
            return Err(Fail::not_found(format!("could not find plugin {driver} in v1 plugin registry: plugin not found")));
        }
        if self.known_networks(host).iter().any(|network| network.name == spec.name) {
            return Err(Fail::conflict(format!("network with name {} already exists", spec.name)));
        }
        let id = self.new_id();
        let network = NetworkSeen {
            id,
            name: spec.name.clone(),
            scope: if driver == "overlay" { "swarm" } else { "local" }.to_owned(),
            driver,
            attachable: spec.attachable,
            internal: spec.internal,
            labels: spec.labels.clone(),
        };
        if network.scope == "local" {
            self.host_mut(host)?.networks.insert(spec.name.clone(), network);
            return Ok(());
        }
        if self.node_of(host).is_some_and(|node| !node.is_manager) {
            let message = "Cannot create a multi-host network from a worker node. Please create it from a manager";
            return Err(Fail::refused(message));
        }
        let swarm = self.manager_of(host)?;
        if swarm.networks.contains_key(&spec.name) {
            return Err(Fail::conflict(format!("network with name {} already exists", spec.name)));
        }
        swarm.networks.insert(spec.name.clone(), network);
        Ok(())
    }

    pub(super) fn remove_network(&mut self, host: &HostName, name: &str) -> Result<(), Fail> {
        let Some(network) = self.known_networks(host).into_iter().find(|network| network.name == name) else {
            return Ok(());
        };
        let in_use = |state: &FakeHostState| {
            state.containers.values().any(|container| container.state.is_up() && container.networks.contains_key(name))
        };
        if network.scope == "local" {
            let state = self.host_mut(host)?;
            if matches!(name, "bridge" | "host" | "none") {
                return Err(Fail::refused(format!("{name} is a pre-defined network and cannot be removed")));
            }
            if in_use(state) {
                return Err(Fail::refused(format!(
                    "error while removing network: network {name} id {} has active endpoints",
                    network.id
                )));
            }
            state.networks.remove(name);
            return Ok(());
        }
        self.manager_of(host)?;
        let swarm_id = self.host(host)?.member.as_ref().map(|(swarm, _)| swarm.clone());
        let of_swarm = |state: &&FakeHostState| state.member.as_ref().map(|(swarm, _)| swarm) == swarm_id.as_ref();
        if self.hosts.values().filter(of_swarm).any(in_use) {
            return Err(Fail::refused(format!(
                "rpc error: code = FailedPrecondition desc = network {} is in use by task",
                network.id
            )));
        }
        let until_ms = self.now_ms + FADES_MS;
        let shown: Vec<HostName> = self
            .hosts
            .keys()
            .filter(|host| self.known_networks(host).iter().any(|known| known.id == network.id))
            .cloned()
            .collect();
        self.manager_of(host)?.networks.remove(name);
        for host in &shown {
            self.host_mut(host)?.fading.push((network.clone(), until_ms));
        }
        Ok(())
    }

    pub(super) fn connect(&mut self, host: &HostName, network: &str, container: &str, endpoint: &Endpoint) -> Result<(), Fail> {
        let exists = self.reachable_network(host, network);
        let state = self.host_mut(host)?;
        let found = state.find(container).ok_or_else(|| Fail::not_found(format!("No such container: {container}")))?;
        let (id, is_up) = (found.id.clone(), found.state.is_up());
        let mode = found.spec.host_config.network_mode.clone().unwrap_or_default();
        if mode == "host" || mode.starts_with("container:") {
            let message =
                "container sharing network namespace with another container or host cannot be connected to any other network";
            return Err(Fail::refused(message));
        }
        let network_id = exists?;
        let state = self.host_mut(host)?;
        if state.container(&id)?.networks.contains_key(network) {
            // The engine's "already exists in network" means that all is as asked for.
            return Ok(());
        }
        state.next_addr += 1;
        let addr = format!("172.19.{}.{}", state.next_addr / 250 % 250, state.next_addr % 250 + 2);
        let (addr, network_id) = if is_up { (addr, network_id) } else { (String::new(), String::new()) };
        let joined = FakeEndpoint { endpoint: endpoint.clone(), network_id, addr };
        state.container(&id)?.networks.insert(network.to_owned(), joined);
        Ok(())
    }

    pub(super) fn disconnect(&mut self, host: &HostName, network: &str, container: &str) -> Result<(), Fail> {
        self.host_mut(host)?.container(container)?.networks.remove(network);
        Ok(())
    }

    /// Every network that a container is to join exists and can be joined now, and is the one that it has been on before.
    pub(super) fn join_networks(&mut self, host: &HostName, id: &str) -> Result<(), Fail> {
        let names: Vec<String> = self.host_mut(host)?.container(id)?.networks.keys().cloned().collect();
        for name in names {
            let network_id = self.reachable_network(host, &name)?;
            if let Some(joined) = self.host_mut(host)?.container(id)?.networks.get_mut(&name) {
                if !joined.network_id.is_empty() && joined.network_id != network_id {
                    return Err(Fail::not_found(format!("network {} not found", joined.network_id)));
                }
                joined.network_id = network_id;
            }
        }
        Ok(())
    }

    /// Whether a network of this name crosses hosts, as this host knows it.
    pub(super) fn swarm_network(&self, host: &HostName, name: &str) -> bool {
        let Ok(state) = self.host(host) else { return false };
        let swarm = state.member.as_ref().and_then(|(swarm, _)| self.swarms.get(swarm));
        !state.networks.contains_key(name) && swarm.is_some_and(|swarm| swarm.networks.contains_key(name))
    }

    /// The id of a network that is one of the host's own, or an attachable one of its swarm whose managers answer.
    fn reachable_network(&self, host: &HostName, name: &str) -> Result<String, Fail> {
        let state = self.host(host)?;
        if let Some(network) = state.networks.get(name) {
            return Ok(network.id.clone());
        }
        let missing = || Fail::not_found(format!("network {name} not found"));
        let (swarm_id, _) = state.member.as_ref().ok_or_else(missing)?;
        let swarm = self.swarms.get(swarm_id).ok_or_else(missing)?;
        if !self.has_leader(swarm_id) || !self.is_connected(host) {
            return Err(Fail::new(
                ErrorKind::NoLeader,
                format!(
                    "attaching to network {name} failed, make sure your network options are correct and check manager logs: \
                 context deadline exceeded"
                ),
            ));
        }
        let network = swarm.networks.get(name).ok_or_else(missing)?;
        if network.attachable {
            return Ok(network.id.clone());
        }
        Err(Fail::failed(format!(
            "Could not attach to network {name}: rpc error: code = PermissionDenied desc = network {name} not manually attachable"
        )))
    }

    pub(super) fn shows_network(&self, host: &HostName, name: &str) -> bool {
        self.visible_networks(host).iter().any(|network| network.name == name)
    }

    /// Moves the clock on to when the host shows no network of that name any more, or to `at_most_ms` from now.
    pub(super) fn network_gone(&mut self, host: &HostName, name: &str, at_most_ms: u64) -> Result<(), Fail> {
        let fades =
            self.host(host)?.fading.iter().filter(|(network, _)| network.name == name).map(|(_, until_ms)| *until_ms).max();
        let deadline_ms = self.now_ms.saturating_add(at_most_ms);
        let until_ms = fades.unwrap_or(self.now_ms).clamp(self.now_ms, deadline_ms);
        self.advance(until_ms - self.now_ms);
        if self.shows_network(host, name) {
            return Err(Fail::new(ErrorKind::Overdue, format!("the engine still shows it after {} s", at_most_ms / 1000)));
        }
        Ok(())
    }

    /// As `docker network ls` on the host shows: what is there, and for a moment what is not any more.
    pub(super) fn visible_networks(&self, host: &HostName) -> Vec<NetworkSeen> {
        let mut networks = self.known_networks(host);
        let fading = self.host(host).map(|state| state.fading.as_slice()).unwrap_or_default();
        let is_known = |id: &str| networks.iter().any(|network| network.id == id);
        let fading: Vec<_> =
            fading.iter().filter(|(network, until_ms)| *until_ms > self.now_ms && !is_known(&network.id)).collect();
        networks.extend(fading.into_iter().map(|(network, _)| network.clone()));
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }

    /// A worker knows an overlay only while a container of its own is on it.
    fn known_networks(&self, host: &HostName) -> Vec<NetworkSeen> {
        let Ok(state) = self.host(host) else { return Vec::new() };
        let mut networks: Vec<NetworkSeen> = state.networks.values().cloned().collect();
        let member = state.member.as_ref();
        let swarm = member.and_then(|(swarm, node)| Some((self.swarms.get(swarm)?, node)));
        if let Some((swarm, node)) = swarm {
            let is_manager = swarm.nodes.get(node).is_some_and(|node| node.is_manager);
            let attached = |name: &str| {
                state.containers.values().any(|container| container.state.is_up() && container.networks.contains_key(name))
            };
            networks.extend(swarm.networks.values().filter(|network| is_manager || attached(&network.name)).cloned());
        }
        networks
    }
}
