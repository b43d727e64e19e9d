//! Containers of the fake: made, started, stopped and removed with the engine's rules and refusals.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Cluster, Fail, FakeContainer, FakeEndpoint, FakeHostState};
use super::time::{Change, end_process};
use crate::engine::Processes;
use crate::project::{ContainerSpec, Endpoint, HostName, PortBinding, Protocol};
use crate::world::{Health, PortSeen, State};

/// The first port that the engine picks by itself.
const EPHEMERAL_PORT: u16 = 32_768;

impl Cluster {
    pub(super) fn create(&mut self, host: &HostName, name: &str, spec: &ContainerSpec) -> Result<String, Fail> {
        check_name(name)?;
        let behaviour = self.behaviour(&spec.image);
        let (id, now_ms) = (self.new_id(), self.now_ms);
        let state = self.host_mut(host)?;
        let image = state.images.get(&spec.image).cloned();
        let image = image.ok_or_else(|| Fail::not_found(format!("No such image: {}", spec.image)))?;
        if let Some(other) = state.containers.values().find(|other| other.name == name) {
            return Err(name_taken(name, &other.id));
        }
        let endpoints = &spec.networking_config.endpoints_config;
        if endpoints.len() > 1 {
            let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
            return Err(Fail::refused(format!("Container cannot be connected to network endpoints: {}", names.join(", "))));
        }
        let mounts = state.make_mounts(&id, spec, &behaviour.volumes)?;
        let health_test = spec.healthcheck.as_ref().map(|check| check.test.clone()).unwrap_or_default();
        let has_healthcheck = match health_test.first().map(String::as_str) {
            Some("NONE") => false,
            Some(_) => true,
            None => behaviour.has_healthcheck,
        };
        let container = FakeContainer {
            id: id.clone(),
            name: name.to_owned(),
            spec: spec.clone(),
            image_id: image.id,
            state: State::Created,
            health: Health::None,
            has_healthcheck,
            created_ms: now_ms,
            started_ms: None,
            finished_ms: None,
            exit_code: 0,
            error: String::new(),
            restart_count: 0,
            restart_delay_ms: 0,
            stopped_by_user: false,
            networks: first_networks(spec),
            mounts,
            ports: Vec::new(),
            lines: Vec::new(),
            due: Vec::new(),
        };
        state.containers.insert(id.clone(), container);
        self.tell(host, &id, "create");
        Ok(id)
    }

    pub(super) fn start(&mut self, host: &HostName, container: &str) -> Result<(), Fail> {
        let found = self.host_mut(host)?.container(container)?;
        match found.state {
            State::Running => return Ok(()),
            State::Paused => return Err(Fail::conflict("cannot start a paused container, try unpause instead")),
            State::Removing | State::Dead => return Err(Fail::conflict("container is marked for removal and cannot be started")),
            State::Created | State::Restarting | State::Exited { .. } | State::Other(_) => {}
        }
        found.stopped_by_user = false;
        (found.restart_count, found.restart_delay_ms) = (0, 0);
        let id = found.id.clone();
        self.start_process(host, &id)
    }

    /// What both a user and the engine's restart policy do to start a container.
    pub(super) fn start_process(&mut self, host: &HostName, id: &str) -> Result<(), Fail> {
        self.join_networks(host, id)?;
        let (now_ms, image) = (self.now_ms, self.host_mut(host)?.container(id)?.spec.image.clone());
        let behaviour = self.behaviour(&image);
        let state = self.host_mut(host)?;
        state.check_namespaces(id)?;
        let spec = state.container(id)?.spec.clone();
        state.check_sources(&spec)?;
        let ports = state.allocate_ports(id)?;
        if let Some(message) = behaviour.start_error {
            let container = state.container(id)?;
            container.exit_code = 127;
            container.error.clone_from(&message);
            return Err(Fail::refused(message));
        }
        let mut next_addr = state.next_addr;
        let container = state.container(id)?;
        for endpoint in container.networks.values_mut() {
            next_addr += 1;
            endpoint.addr = format!("172.18.{}.{}", next_addr / 250 % 250, next_addr % 250 + 2);
        }
        container.state = State::Running;
        container.started_ms = Some(now_ms);
        container.error.clear();
        container.exit_code = 0;
        container.ports = ports;
        container.due.clear();
        container.health = Health::None;
        if container.has_healthcheck {
            container.health = Health::Starting;
            if behaviour.health != Health::Starting {
                let after_ms = u64::try_from(behaviour.health_after.as_millis()).unwrap_or(u64::MAX);
                container.due.push((now_ms.saturating_add(after_ms), Change::Health(behaviour.health)));
            }
        }
        if let Some((after, code)) = behaviour.exits {
            let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            container.due.push((now_ms.saturating_add(after_ms), Change::Exit(code)));
        }
        state.next_addr = next_addr;
        self.tell(host, id, "start");
        Ok(())
    }

    pub(super) fn stop(&mut self, host: &HostName, container: &str, timeout_secs: Option<u64>) -> Result<(), Fail> {
        let now_ms = self.now_ms;
        let image = self.host_mut(host)?.container(container)?.spec.image.clone();
        let on_term = self.behaviour(&image).on_term;
        let found = self.host_mut(host)?.container(container)?;
        found.stopped_by_user = true;
        if !found.state.is_up() {
            return Ok(());
        }
        let own_secs = found.spec.stop_timeout.and_then(|secs| u64::try_from(secs).ok()).unwrap_or(10);
        let id = found.id.clone();
        end_process(found, now_ms, on_term.unwrap_or(137));
        self.tell(host, &id, "die");
        if on_term.is_none() {
            self.advance(timeout_secs.unwrap_or(own_secs).saturating_mul(1000));
        }
        self.remove_by_itself(host, &id);
        Ok(())
    }

    pub(super) fn kill(&mut self, host: &HostName, container: &str, signal: &str) -> Result<(), Fail> {
        let now_ms = self.now_ms;
        let image = self.host_mut(host)?.container(container)?.spec.image.clone();
        let on_term = self.behaviour(&image).on_term;
        let found = self.host_mut(host)?.container(container)?;
        if !found.state.is_up() {
            return Err(Fail::conflict(format!("Cannot kill container: {container}: Container {} is not running", found.id)));
        }
        let code = match signal.trim_start_matches("SIG") {
            "KILL" | "9" | "" => Some(137),
            "TERM" | "15" => on_term.map(|code| if code == 0 { 143 } else { code }),
            "INT" | "2" => on_term.map(|_| 130),
            "QUIT" | "3" => on_term.map(|_| 131),
            _ => None,
        };
        if let Some(code) = code {
            found.stopped_by_user = true;
            let id = found.id.clone();
            end_process(found, now_ms, code);
            self.tell(host, &id, "die");
            self.remove_by_itself(host, &id);
        }
        Ok(())
    }

    pub(super) fn pause(&mut self, host: &HostName, container: &str) -> Result<(), Fail> {
        let found = self.host_mut(host)?.container(container)?;
        match found.state {
            State::Running => found.state = State::Paused,
            State::Paused => {}
            _ => return Err(Fail::conflict(format!("Container {} is not running", found.id))),
        }
        Ok(())
    }

    pub(super) fn unpause(&mut self, host: &HostName, container: &str) -> Result<(), Fail> {
        let found = self.host_mut(host)?.container(container)?;
        // The engine's "is not paused" means that all is as asked for.
        if found.state == State::Paused {
            found.state = State::Running;
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, host: &HostName, container: &str, to: &str) -> Result<(), Fail> {
        check_name(to)?;
        let state = self.host_mut(host)?;
        let id = state.container(container)?.id.clone();
        if let Some(other) = state.containers.values().find(|other| other.name == to && other.id != id) {
            return Err(name_taken(to, &other.id));
        }
        let found = state.container(&id)?;
        let networks: Vec<String> = found.networks.keys().cloned().collect();
        let crosses = |name: &String| self.swarm_network(host, name);
        // Seen with 20.10: the name is an entry in the table of a network that crosses hosts, which is not written twice.
        if self.host(host)?.find(&id).is_some_and(|found| found.state.is_up()) && networks.iter().any(crosses) {
            return Err(Fail::failed(format!(
                "Could not add service state for endpoint {to} to cluster on rename: already exists"
            )));
        }
        to.clone_into(&mut self.host_mut(host)?.container(&id)?.name);
        self.tell(host, &id, "rename");
        Ok(())
    }

    pub(super) fn remove(&mut self, host: &HostName, container: &str, volumes: bool, force: bool) -> Result<(), Fail> {
        let state = self.host_mut(host)?;
        let Some(found) = state.find(container) else { return Ok(()) };
        if found.state.is_up() && !force {
            return Err(Fail::conflict(format!(
                "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
                found.id
            )));
        }
        let (id, was_up) = (found.id.clone(), found.state.is_up());
        if was_up {
            self.tell(host, &id, "die");
        }
        self.tell(host, &id, "destroy");
        let state = self.host_mut(host)?;
        if let Some(removed) = state.containers.remove(&id)
            && volumes
        {
            for mount in removed.mounts.iter().filter(|mount| mount.kind == "volume") {
                let is_anonymous = state.volumes.get(&mount.name).is_some_and(|volume| volume.is_anonymous);
                if is_anonymous && !state.uses_volume(&mount.name) {
                    state.volumes.remove(&mount.name);
                }
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// The one process of a container, as a host's `ps` shows it.
    pub(super) fn processes(&mut self, host: &HostName, container: &str) -> Result<Processes, Fail> {
        let found = self.host_mut(host)?.container(container)?;
        if !found.state.is_up() {
            return Err(Fail::conflict(format!("Container {} is not running", found.id)));
        }
        let command = found.spec.cmd.clone().unwrap_or_default().join(" ");
        let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"].map(str::to_owned).to_vec();
        let row = ["root", "100", "99", "0", "22:13", "?", "00:00:00"].map(str::to_owned).into_iter().chain([command]).collect();
        Ok(Processes { titles, rows: vec![row] })
    }

    /// `AutoRemove`: the engine takes away what has ended, with its anonymous volumes.
    pub(super) fn remove_by_itself(&mut self, host: &HostName, id: &str) {
        let found = self.hosts.get(host).and_then(|host| host.containers.get(id));
        let is_meant = found.is_some_and(|found| found.spec.host_config.rest.get("AutoRemove") == Some(&true.into()));
        if is_meant && found.is_some_and(|found| !found.state.is_up()) {
            let _ = self.remove(host, id, true, false);
        }
    }
}

impl FakeHostState {
    /// Containers whose namespaces this one joins must run.
    fn check_namespaces(&self, id: &str) -> Result<(), Fail> {
        let Some(container) = self.containers.get(id) else { return Ok(()) };
        let host_config = &container.spec.host_config;
        let network = host_config.network_mode.as_deref();
        let rest = |key: &str| host_config.rest.get(key).and_then(|value| value.as_str());
        let modes = [("network", network), ("IPC", rest("IpcMode")), ("PID", rest("PidMode"))];
        for (kind, mode) in modes {
            let Some(target) = mode.and_then(|mode| mode.strip_prefix("container:")) else { continue };
            let other = self.find(target).ok_or_else(|| Fail::not_found(format!("No such container: {target}")))?;
            if !other.state.is_up() {
                return Err(Fail::conflict(format!("cannot join {kind} of a non running container: {}", other.id)));
            }
        }
        Ok(())
    }

    /// The host ports that a start binds, or the engine's refusal where one is taken.
    fn allocate_ports(&self, id: &str) -> Result<Vec<PortSeen>, Fail> {
        let Some(container) = self.containers.get(id) else { return Ok(Vec::new()) };
        let network_mode = container.spec.host_config.network_mode.as_deref().unwrap_or_default();
        if network_mode == "host" || network_mode.starts_with("container:") {
            return Ok(Vec::new());
        }
        let others = self.containers.values().filter(|other| other.id != id).flat_map(|other| other.ports.iter().cloned());
        let mut taken: Vec<PortSeen> = others.collect();
        let mut ports = Vec::new();
        for (key, bindings) in &container.spec.host_config.port_bindings {
            let (container_port, protocol) = container_port(key)?;
            for binding in bindings {
                let (first, last) = host_range(binding)?;
                let seen =
                    |port: u16| PortSeen { host_ip: binding.host_ip.clone(), host_port: Some(port), container_port, protocol };
                let free = (first..=last).find(|port| !taken.iter().any(|other| clashes(other, &seen(*port))));
                let port = free.ok_or_else(|| {
                    let ip = if binding.host_ip.is_empty() { "0.0.0.0" } else { &binding.host_ip };
                    Fail::failed(format!(
                        "driver failed programming external connectivity on endpoint {} ({}): Bind for {ip}:{first} failed: \
                         port is already allocated",
                        container.name, container.id
                    ))
                })?;
                taken.push(seen(port));
                if binding.host_ip.is_empty() {
                    ports.push(PortSeen { host_ip: "0.0.0.0".to_owned(), ..seen(port) });
                    ports.push(PortSeen { host_ip: "::".to_owned(), ..seen(port) });
                } else {
                    ports.push(seen(port));
                }
            }
        }
        let published: BTreeSet<u16> = ports.iter().map(|port| port.container_port).collect();
        for key in container.spec.exposed_ports.keys() {
            let (container_port, protocol) = container_port(key)?;
            if !published.contains(&container_port) {
                ports.push(PortSeen { host_ip: String::new(), host_port: None, container_port, protocol });
            }
        }
        Ok(ports)
    }
}

fn check_name(name: &str) -> Result<(), Fail> {
    let valid = name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if valid {
        return Ok(());
    }
    Err(Fail::refused(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

fn name_taken(name: &str, id: &str) -> Fail {
    Fail::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that \
         container to be able to reuse that name."
    ))
}

/// The endpoint of the create request, or the one that the network mode means.
fn first_networks(spec: &ContainerSpec) -> BTreeMap<String, FakeEndpoint> {
    let made = |endpoint: &Endpoint| FakeEndpoint { endpoint: endpoint.clone(), network_id: String::new(), addr: String::new() };
    let mut networks: BTreeMap<String, FakeEndpoint> =
        spec.networking_config.endpoints_config.iter().map(|(name, endpoint)| (name.clone(), made(endpoint))).collect();
    let mode = spec.host_config.network_mode.as_deref().unwrap_or("default");
    if networks.is_empty() && !mode.starts_with("container:") {
        let name = if mode.is_empty() || mode == "default" { "bridge" } else { mode };
        networks.insert(name.to_owned(), made(&Endpoint::default()));
    }
    networks
}

fn container_port(key: &str) -> Result<(u16, Protocol), Fail> {
    let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
    let protocol = match protocol {
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    let port = port.parse().map_err(|_| Fail::refused(format!("invalid port specification: \"{key}\"")))?;
    Ok((port, protocol))
}

/// First and last host port that will do; an empty text leaves the choice to the engine.
fn host_range(binding: &PortBinding) -> Result<(u16, u16), Fail> {
    let text = binding.host_port.as_str();
    if text.is_empty() || text == "0" {
        return Ok((EPHEMERAL_PORT, u16::MAX));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(Fail::refused(format!("invalid port specification: \"{text}\""))),
    }
}

fn clashes(taken: &PortSeen, wanted: &PortSeen) -> bool {
    let wild = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
    let is_v6 = |ip: &str| ip.contains(':');
    let (a, b) = (taken.host_ip.as_str(), wanted.host_ip.as_str());
    let ips = if a.is_empty() || b.is_empty() { true } else { is_v6(a) == is_v6(b) && (a == b || wild(a) || wild(b)) };
    ips && taken.host_port == wanted.host_port && taken.protocol == wanted.protocol
}
