//! From a service's slot to the container that the engine is asked for, in docker compose's way.
//!
//! What all slots of a service share is made once; a slot adds its name, number and image, some also neighbours and inherited
//! volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compose::Compose;
use super::contents;
use super::slot_spec::{Beside, Own, SlotSpec};
use super::{limits, mounts, networks, ports};
use crate::placement::reservation;
use crate::project::newer;
use crate::project::{
    ConfigHash, ContainerSpec, Endpoint, HashPart, HealthConfig, Healthcheck, HostName, Service, ServiceName, SpecHash,
};
use crate::world::{Labels, MountSeen};

/// The version of docker compose whose labels and config hash these are (`com.docker.compose.version`).
pub const COMPOSE_VERSION: &str = "2.40.3";

/// What every slot of one service has in common.
pub(super) struct Template<'c, 'a> {
    compose: &'c Compose<'a>,
    name: &'a ServiceName,
    service: &'a Service,
    /// On the main network without the slot's name.
    spec: Arc<ContainerSpec>,
    /// By engine name, the main network first.
    endpoints: Vec<(String, Endpoint)>,
}

/// What one slot adds.
pub(super) struct Fill<'a> {
    pub(super) number: u32,
    pub(super) host: &'a HostName,
    /// Id of the image on that host, where it is there already.
    pub(super) image_id: Option<Arc<str>>,
    /// The slot's name for its container.
    pub(super) name: Arc<str>,
    /// Anonymous volumes of the container that it replaces.
    pub(super) inherited: &'a [MountSeen],
    pub(super) is_replacement: bool,
}

impl<'c, 'a> Template<'c, 'a> {
    pub(super) fn new(compose: &'c Compose<'a>, name: &'a ServiceName, service: &'a Service, hash: &SpecHash) -> Self {
        let project = compose.project;
        let mut spec = ContainerSpec {
            image: service.image_name(project, name.as_str()),
            platform: service.platform.clone(),
            hostname: service.hostname.clone(),
            domainname: service.domainname.clone(),
            user: service.user.clone(),
            working_dir: service.working_dir.clone(),
            env: environment(&service.environment),
            cmd: service.command.clone(),
            entrypoint: service.entrypoint.clone(),
            healthcheck: service.healthcheck.as_ref().map(healthcheck),
            open_stdin: service.stdin_open,
            tty: service.tty,
            attach_stdout: true,
            attach_stderr: true,
            stop_signal: service.stop_signal.clone(),
            stop_timeout: service.stop_grace_period.map(|period| period.nanos / 1_000_000_000),
            labels: labels(compose, name, service, hash).encode(),
            exposed_ports: ports::exposed(service),
            host_config: limits::host_config(service),
            ..ContainerSpec::default()
        };
        spec.host_config.port_bindings = ports::bindings(service);
        let mounted = mounts::of_service(project, service, mounts::Place { is_local: true, root_dir: "" });
        spec.host_config.binds = mounted.binds;
        spec.host_config.mounts = mounted.mounts;
        let endpoints = match &service.network_mode {
            Some(mode) => {
                spec.host_config.network_mode = Some(mode.clone());
                Vec::new()
            }
            None => networks::endpoints(compose, name, service),
        };
        if service.network_mode.is_none() {
            let main = endpoints.first().map_or("none", |(network, _)| network.as_str());
            spec.host_config.network_mode = Some(main.to_owned());
        }
        match endpoints.first().cloned() {
            Some((network, endpoint)) => drop(spec.networking_config.endpoints_config.insert(network, endpoint)),
            None => spec.mac_address.clone_from(&service.mac_address),
        }
        Self { compose, name, service, spec: Arc::new(spec), endpoints }
    }

    /// The container of one slot, and the networks that it is connected to after it is made: engines before API 1.44 take
    /// one at creation.
    pub(super) fn fill(&self, fill: Fill<'_>) -> (SlotSpec, Vec<(String, Endpoint)>) {
        let common = if self.is_as_all(&fill) { Arc::clone(&self.spec) } else { Arc::new(self.adapted(&fill)) };
        let further = if self.endpoints.len() > 1 { self.endpoints_of(fill.number).split_off(1) } else { Vec::new() };
        let beside = self.beside(&fill);
        let numbered = || format!("{}{}{}", self.name, self.compose.project.separator(), fill.number);
        let replaced = || self.service.container_name.clone().unwrap_or_else(numbered);
        let own = Own {
            number: Some(fill.number),
            image_id: fill.image_id,
            replaces: fill.is_replacement.then(replaced),
            alias: Some(fill.name),
            beside,
        };
        (SlotSpec { common, own }, further)
    }

    /// What the hash of a container is made of that shares something with others.
    fn beside(&self, fill: &Fill<'_>) -> Option<Beside> {
        let ConfigHash::Beside(parts) = self.compose.project.config_hashes.get(self.name)? else { return None };
        let name = |service: &String| Some((service.clone(), self.compose.neighbour_name(service, fill.number, fill.host)?));
        let services = parts.iter().filter_map(|part| if let HashPart::Id(service) = part { Some(service) } else { None });
        Some(Beside { parts: parts.clone(), containers: services.filter_map(name).collect() })
    }

    /// Whether neither the slot's host nor its number changes anything but what `Own` says.
    fn is_as_all(&self, fill: &Fill<'_>) -> bool {
        let service = self.service;
        let names_a_neighbour = |mode: &Option<String>| mode.as_deref().is_some_and(|mode| mode.starts_with("service:"));
        let has_neighbours = [&service.network_mode, &service.ipc, &service.pid].into_iter().any(names_a_neighbour)
            || !service.volumes_from.is_empty()
            || !service.links.is_empty();
        let has_mac_address = service.mac_address.is_some() || self.endpoints.iter().any(|(_, to)| to.mac_address.is_some());
        let start_interval = self.spec.healthcheck.as_ref().and_then(|check| check.start_interval);
        let depends_on_api = (has_mac_address && !self.endpoints.is_empty())
            || (start_interval.is_some() && self.compose.api_is_before(fill.host, newer::START_INTERVAL.since));
        let has_files = !fill.inherited.is_empty() || contents::of_here(self.compose.project);
        !has_neighbours && !depends_on_api && !has_files
    }

    fn adapted(&self, fill: &Fill<'_>) -> ContainerSpec {
        let mut spec = ContainerSpec::clone(&self.spec);
        if let Some((network, mut endpoint)) = self.endpoints.first().cloned() {
            self.put_mac_address(fill.host, &mut spec, &mut endpoint);
            spec.networking_config.endpoints_config.insert(network, endpoint);
        }
        self.put_neighbours(fill, &mut spec);
        self.put_contents(fill.host, &mut spec);
        mounts::inherit(&mut spec.host_config, fill.inherited);
        if let Some(check) = &mut spec.healthcheck
            && self.compose.api_is_before(fill.host, newer::START_INTERVAL.since)
        {
            check.start_interval = None;
        }
        spec
    }

    /// How the slot's container joins its networks, the main one first.
    pub(super) fn endpoints_of(&self, number: u32) -> Vec<(String, Endpoint)> {
        let name = self.compose.container_name(self.name, self.service, number);
        let with_name = |(network, endpoint): &(String, Endpoint)| {
            let mut endpoint = endpoint.clone();
            endpoint.aliases.insert(0, name.clone());
            (network.clone(), endpoint)
        };
        self.endpoints.iter().map(with_name).collect()
    }

    /// Engines before API 1.44 know one MAC address for the container, later ones one for each endpoint.
    fn put_mac_address(&self, host: &HostName, spec: &mut ContainerSpec, endpoint: &mut Endpoint) {
        if self.compose.api_is_before(host, ENDPOINT_MAC_API) {
            spec.mac_address = endpoint.mac_address.take().or_else(|| self.service.mac_address.clone());
        } else if endpoint.mac_address.is_none() {
            endpoint.mac_address.clone_from(&self.service.mac_address);
        }
    }

    /// Mounts what is delivered to the host in the place of this machine's paths.
    fn put_contents(&self, host: &HostName, spec: &mut ContainerSpec) {
        if !contents::of_here(self.compose.project) {
            return;
        }
        let root_dir = self.compose.seen(host).map(|seen| seen.engine.root_dir.as_str()).unwrap_or_default();
        let place = mounts::Place { is_local: self.compose.is_local(host), root_dir };
        let mounted = mounts::of_service(self.compose.project, self.service, place);
        spec.host_config.binds = mounted.binds;
        spec.host_config.mounts = mounted.mounts;
    }

    /// Turns `service:X` into the container of X that is on the same host. The engine takes names there too and keeps the id.
    fn put_neighbours(&self, fill: &Fill<'_>, spec: &mut ContainerSpec) {
        let neighbour = |mode: &str| {
            let service = mode.strip_prefix("service:")?;
            let name = self.compose.neighbour_name(service, fill.number, fill.host)?;
            Some(format!("container:{name}"))
        };
        if let Some(mode) = self.service.network_mode.as_deref().and_then(neighbour) {
            spec.host_config.network_mode = Some(mode);
        }
        let rest = &mut spec.host_config.rest;
        for (key, mode) in [("IpcMode", &self.service.ipc), ("PidMode", &self.service.pid)] {
            if let Some(mode) = mode.as_deref().and_then(neighbour) {
                rest.insert(key.to_owned(), mode.into());
            }
        }
        let volumes_from = self.service.volumes_from.iter().filter_map(|entry| {
            if let Some(container) = entry.strip_prefix("container:") {
                return Some(container.to_owned());
            }
            let (service, mode) = entry.split_once(':').map_or((entry.as_str(), None), |(name, mode)| (name, Some(mode)));
            let name = self.compose.neighbour_name(service, fill.number, fill.host)?;
            Some(mode.map_or(name.clone(), |mode| format!("{name}:{mode}")))
        });
        let volumes_from: Vec<String> = volumes_from.collect();
        if !volumes_from.is_empty() {
            rest.insert("VolumesFrom".to_owned(), volumes_from.into());
        }
        let links = networks::legacy_links(self.compose, self.service, fill.host);
        if !links.is_empty() {
            rest.insert("Links".to_owned(), links.into());
        }
    }
}

/// From this API version on the MAC address belongs to the endpoint (Engine API 1.44).
const ENDPOINT_MAC_API: (u32, u32) = (1, 44);

/// Compose's labels and mcompose's own; the container number is filled in later.
fn labels(compose: &Compose<'_>, name: &ServiceName, service: &Service, hash: &SpecHash) -> Labels {
    let project = compose.project;
    let dependency = |(name, dependency): (&ServiceName, &crate::project::Dependency)| {
        format!("{name}:{}:{}", condition(dependency.condition), dependency.restart)
    };
    let depends_on: Vec<String> = service.depends_on.iter().map(dependency).collect();
    let joined = |files: &[String]| (!files.is_empty()).then(|| files.join(","));
    let reservation = reservation(service);
    Labels {
        project: Some(project.name.to_string()),
        service: Some(name.to_string()),
        number: None,
        oneoff: false,
        config_hash: match project.config_hashes.get(name) {
            Some(ConfigHash::Known(hash)) => Some(hash.clone()),
            Some(ConfigHash::Beside(_)) | None => None,
        },
        image: None,
        depends_on: Some(depends_on.join(",")),
        working_dir: Some(project.working_dir.clone()),
        config_files: joined(&project.config_files),
        environment_file: joined(&project.environment_files),
        version: Some(COMPOSE_VERSION.to_owned()),
        spec: Some(hash.clone()),
        revision: Some(compose.revision),
        reservation: (reservation != Default::default()).then_some(reservation),
        rest: service.labels.clone(),
    }
}

fn condition(condition: crate::project::Condition) -> &'static str {
    match condition {
        crate::project::Condition::ServiceStarted => "service_started",
        crate::project::Condition::ServiceHealthy => "service_healthy",
        crate::project::Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
    }
}

/// `KEY=VALUE`; a key without value is unset in the container, the image's own value with it.
fn environment(variables: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let entry = |(key, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    variables.iter().map(entry).collect()
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    if check.disable {
        return HealthConfig { test: vec!["NONE".to_owned()], ..HealthConfig::default() };
    }
    HealthConfig {
        test: check.test.clone(),
        interval: check.interval.map(|time| time.nanos),
        timeout: check.timeout.map(|time| time.nanos),
        retries: check.retries.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        start_period: check.start_period.map(|time| time.nanos),
        start_interval: check.start_interval.map(|time| time.nanos),
    }
}
