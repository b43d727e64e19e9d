//! The API's answers as far as they are read, tolerant of every word that is not known: absent and null are the default.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::engine::{ContainerEvent, Inspected, Node};
use crate::project::{ContainerId, Endpoint, Protocol, moment};
use crate::world::{
    Container, EngineInfo, Health, ImageSeen, Labels, MountSeen, NetworkSeen, PortSeen, Restarts, State, Swarm, SwarmMember,
    VolumeSeen,
};

/// Null reads as the default.
fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ContainerRow {
    pub(super) id: String,
    #[serde(deserialize_with = "lenient")]
    names: Vec<String>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    state: String,
    status: String,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    ports: Vec<PortRow>,
    #[serde(deserialize_with = "lenient")]
    mounts: Vec<MountRow>,
    #[serde(deserialize_with = "lenient")]
    network_settings: NetworkSettings,
    #[serde(deserialize_with = "lenient")]
    host_config: RowHostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RowHostConfig {
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(deserialize_with = "lenient")]
    networks: BTreeMap<String, EndpointRow>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointRow {
    #[serde(rename = "IPAddress", deserialize_with = "lenient")]
    ip_address: String,
    #[serde(rename = "NetworkID", deserialize_with = "lenient")]
    network_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PortRow {
    #[serde(rename = "IP")]
    ip: String,
    private_port: u16,
    public_port: Option<u16>,
    #[serde(rename = "Type")]
    protocol: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MountRow {
    #[serde(rename = "Type")]
    kind: String,
    name: String,
    source: String,
    destination: String,
}

impl ContainerRow {
    /// Nothing for a row without an id.
    pub(super) fn read(self) -> Option<Container> {
        let slashless = |name: &String| name.strip_prefix('/').unwrap_or(name).to_owned();
        // A linked container has further names of the form /other/alias.
        let name = self.names.iter().map(slashless).find(|name| !name.contains('/')).unwrap_or_default();
        let endpoints = self.network_settings.networks;
        let network_ids = endpoints.iter().filter(|(_, end)| !end.network_id.is_empty());
        let network_ids = network_ids.map(|(name, end)| (name.clone(), end.network_id.clone())).collect();
        let mut ports: Vec<PortSeen> = self.ports.into_iter().map(PortRow::read).collect();
        ports.sort_unstable();
        let mut mounts: Vec<MountSeen> = self.mounts.into_iter().map(MountRow::read).collect();
        mounts.sort_unstable_by(|a, b| a.target.cmp(&b.target));
        Some(Container {
            id: ContainerId::new(self.id).ok()?,
            name,
            image: self.image,
            image_id: self.image_id,
            state: state(&self.state, exit_code(&self.status)),
            health: health_in_status(&self.status),
            created: self.created,
            labels: Labels::decode(self.labels),
            ports,
            mounts,
            networks: endpoints.into_iter().map(|(name, end)| (name, end.ip_address)).collect(),
            network_ids,
            network_mode: self.host_config.network_mode,
            command: self.command,
            status: self.status,
            restarts: None,
        })
    }
}

impl PortRow {
    fn read(self) -> PortSeen {
        let protocol = match self.protocol.as_str() {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        PortSeen {
            host_ip: self.ip,
            host_port: self.public_port.filter(|port| *port > 0),
            container_port: self.private_port,
            protocol,
        }
    }
}

impl MountRow {
    fn read(self) -> MountSeen {
        MountSeen { kind: self.kind, name: self.name, source: self.source, target: self.destination }
    }
}

/// The engine's word for a state; `code` is that of an exited container, where known.
pub(super) fn state(word: &str, code: Option<i64>) -> State {
    match word {
        "created" => State::Created,
        "running" => State::Running,
        "paused" => State::Paused,
        "restarting" => State::Restarting,
        "removing" => State::Removing,
        "exited" => State::Exited { code },
        "dead" => State::Dead,
        other => State::Other(other.to_owned()),
    }
}

/// `Exited (137) 2 minutes ago`
fn exit_code(status: &str) -> Option<i64> {
    status.split_once('(')?.1.split_once(')')?.0.parse().ok()
}

/// `Up 2 minutes (healthy)`: the only place where a list of API 1.41 shows it.
fn health_in_status(status: &str) -> Health {
    if status.contains("(healthy)") {
        Health::Healthy
    } else if status.contains("(unhealthy)") {
        Health::Unhealthy
    } else if status.contains("(health: starting)") {
        Health::Starting
    } else {
        Health::None
    }
}

pub(super) fn health(word: &str) -> Health {
    match word {
        "starting" => Health::Starting,
        "healthy" => Health::Healthy,
        "unhealthy" => Health::Unhealthy,
        _ => Health::None,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct NetworkRow {
    id: String,
    pub(super) name: String,
    driver: String,
    scope: String,
    attachable: bool,
    internal: bool,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
}

impl NetworkRow {
    pub(super) fn read(self) -> NetworkSeen {
        let Self { id, name, driver, scope, attachable, internal, labels } = self;
        NetworkSeen { id, name, driver, scope, attachable, internal, labels }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct VolumeList {
    #[serde(deserialize_with = "lenient")]
    pub(super) volumes: Vec<VolumeRow>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct VolumeRow {
    name: String,
    driver: String,
    #[serde(deserialize_with = "lenient")]
    options: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
}

impl VolumeRow {
    pub(super) fn read(self) -> VolumeSeen {
        VolumeSeen { name: self.name, driver: self.driver, options: self.options, labels: self.labels }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ImageAnswer {
    id: String,
    #[serde(deserialize_with = "lenient")]
    repo_digests: Vec<String>,
    size: i64,
    created: String,
    #[serde(rename = "RootFS", deserialize_with = "lenient")]
    root_fs: RootFs,
    #[serde(deserialize_with = "lenient")]
    metadata: ImageMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ImageMetadata {
    last_tag_time: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RootFs {
    #[serde(deserialize_with = "lenient")]
    layers: Vec<String>,
}

impl ImageAnswer {
    pub(super) fn read(self) -> ImageSeen {
        let Self { id, repo_digests: digests, size: size_bytes, created, root_fs, metadata } = self;
        ImageSeen { id, digests, size_bytes, created, tagged: metadata.last_tag_time, layers: root_fs.layers }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct VersionAnswer {
    #[serde(rename = "Version")]
    version: String,
    #[serde(rename = "ApiVersion")]
    pub(super) api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub(super) min_api_version: String,
    #[serde(rename = "Arch")]
    pub(super) arch: String,
    #[serde(rename = "Os")]
    pub(super) os: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct InfoAnswer {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(rename = "NCPU")]
    cpus: u32,
    mem_total: i64,
    #[serde(deserialize_with = "lenient")]
    labels: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    generic_resources: Vec<GenericRow>,
    #[serde(deserialize_with = "lenient")]
    runtimes: BTreeMap<String, Value>,
    #[serde(deserialize_with = "lenient")]
    plugins: Plugins,
    live_restore_enabled: bool,
    #[serde(deserialize_with = "lenient")]
    security_options: Vec<String>,
    driver: String,
    server_version: String,
    docker_root_dir: String,
    #[serde(deserialize_with = "lenient")]
    swarm: SwarmAnswer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct GenericRow {
    discrete_resource_spec: Option<Discrete>,
    named_resource_spec: Option<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Discrete {
    kind: String,
    value: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Named {
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Plugins {
    #[serde(deserialize_with = "lenient")]
    volume: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    network: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct SwarmAnswer {
    #[serde(rename = "NodeID")]
    node_id: String,
    node_addr: String,
    local_node_state: String,
    control_available: bool,
    error: String,
    #[serde(deserialize_with = "lenient")]
    remote_managers: Vec<RemoteManager>,
    #[serde(deserialize_with = "lenient")]
    cluster: ClusterAnswer,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RemoteManager {
    #[serde(rename = "NodeID")]
    node_id: String,
    #[serde(rename = "Addr")]
    addr: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClusterAnswer {
    #[serde(rename = "ID")]
    id: String,
}

impl InfoAnswer {
    pub(super) fn engine(&self, version: &VersionAnswer, spoken: &str, clock_skew_ms: i64) -> EngineInfo {
        let mut generic_resources: BTreeMap<String, i64> = BTreeMap::new();
        for row in &self.generic_resources {
            if let Some(discrete) = &row.discrete_resource_spec {
                *generic_resources.entry(discrete.kind.clone()).or_default() += discrete.value;
            }
            if let Some(named) = &row.named_resource_spec {
                *generic_resources.entry(named.kind.clone()).or_default() += 1;
            }
        }
        let pair =
            |label: &String| label.split_once('=').map_or((label.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()));
        EngineInfo {
            id: self.id.clone(),
            hostname: self.name.clone(),
            // An engine that was upgraded since.
            version: if self.server_version.is_empty() { version.version.clone() } else { self.server_version.clone() },
            api_version: spoken.to_owned(),
            min_api_version: version.min_api_version.clone(),
            os: version.os.clone(),
            arch: version.arch.clone(),
            cpus: self.cpus,
            memory_bytes: self.mem_total,
            labels: self.labels.iter().map(pair).collect(),
            generic_resources,
            runtimes: self.runtimes.keys().cloned().collect(),
            volume_plugins: self.plugins.volume.iter().cloned().collect(),
            network_plugins: self.plugins.network.iter().cloned().collect(),
            live_restore: self.live_restore_enabled,
            rootless: self.security_options.iter().any(|option| option.contains("name=rootless")),
            storage_driver: self.driver.clone(),
            root_dir: self.docker_root_dir.clone(),
            clock_skew_ms,
        }
    }

    pub(super) fn swarm(self) -> Swarm {
        let swarm = self.swarm;
        match swarm.local_node_state.as_str() {
            "" | "inactive" => Swarm::Inactive,
            "active" => Swarm::Active(SwarmMember {
                is_manager: swarm.control_available || !swarm.cluster.id.is_empty(),
                cluster_id: swarm.cluster.id,
                node_id: swarm.node_id,
                node_addr: swarm.node_addr,
                managers: swarm.remote_managers.into_iter().map(|manager| (manager.node_id, manager.addr)).collect(),
                // A manager says so also while there is no leader; its error tells.
                control_available: swarm.control_available && swarm.error.is_empty(),
                error: swarm.error,
            }),
            _ => Swarm::Pending { state: swarm.local_node_state, error: swarm.error },
        }
    }
}

/// What the engine's own restarts came to, of the same answer as an inspection.
pub(super) fn restarts(raw: &Value) -> Restarts {
    let moment = |key: &str| raw["State"][key].as_str().and_then(moment::parse).unwrap_or_default();
    let lived = moment("FinishedAt").saturating_sub(moment("StartedAt"));
    Restarts {
        count: raw["RestartCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or_default(),
        lived_ms: u64::try_from(lived.as_millis()).unwrap_or(u64::MAX),
    }
}

/// A container's inspection (`GET /containers/{id}/json`).
pub(super) fn inspected(raw: Value) -> Inspected {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state_of = &raw["State"];
    let exit_code = state_of["ExitCode"].as_i64().unwrap_or_default();
    let test = raw["Config"]["Healthcheck"]["Test"].as_array();
    let probes = state_of["Health"]["Log"].as_array().into_iter().flatten();
    Inspected {
        id: text(&raw["Id"]),
        name: text(&raw["Name"]).trim_start_matches('/').to_owned(),
        state: state(state_of["Status"].as_str().unwrap_or_default(), Some(exit_code)),
        health: health(state_of["Health"]["Status"].as_str().unwrap_or_default()),
        has_healthcheck: test.is_some_and(|test| test.first().is_some_and(|word| word != "NONE" && word != "")),
        exit_code,
        error: text(&state_of["Error"]),
        oom_killed: state_of["OOMKilled"].as_bool().unwrap_or_default(),
        restart_count: raw["RestartCount"].as_i64().unwrap_or_default(),
        tty: raw["Config"]["Tty"].as_bool().unwrap_or_default(),
        started_at: text(&state_of["StartedAt"]),
        finished_at: text(&state_of["FinishedAt"]),
        networks: endpoints(&raw["NetworkSettings"]["Networks"]),
        health_log: probes.map(|probe| text(&probe["Output"])).collect(),
        raw,
    }
}

/// `NetworkSettings.Networks` without what the engine gave: addresses, and the short id that it adds as an alias by itself.
fn endpoints(networks: &Value) -> BTreeMap<String, Endpoint> {
    fn read<T: Default + serde::de::DeserializeOwned>(value: &Value) -> T {
        T::deserialize(value).unwrap_or_default()
    }
    let asked_for = |endpoint: &Value| Endpoint {
        aliases: read(&endpoint["Aliases"]),
        links: read(&endpoint["Links"]),
        ipam_config: read(&endpoint["IPAMConfig"]),
        driver_opts: read(&endpoint["DriverOpts"]),
        gw_priority: read(&endpoint["GwPriority"]),
        mac_address: None,
    };
    networks.as_object().into_iter().flatten().map(|(name, endpoint)| (name.clone(), asked_for(endpoint))).collect()
}

/// A row of `GET /nodes`.
pub(super) fn node(row: &Value) -> Node {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Node {
        id: text(&row["ID"]),
        hostname: text(&row["Description"]["Hostname"]),
        is_manager: row["Spec"]["Role"] == "manager",
        is_leader: row["ManagerStatus"]["Leader"].as_bool().unwrap_or_default(),
        state: text(&row["Status"]["State"]),
        availability: text(&row["Spec"]["Availability"]),
        addr: text(&row["Status"]["Addr"]),
    }
}

/// An event as the stream has it. Attributes are the container's labels beside `image`, `name` and the event's own.
pub(super) fn event(message: &Value) -> ContainerEvent {
    let attributes = message["Actor"]["Attributes"].as_object().into_iter().flatten();
    let mut labels: BTreeMap<String, String> =
        attributes.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    ContainerEvent {
        image: labels.remove("image").unwrap_or_default(),
        time_ns: message["timeNano"].as_i64().unwrap_or_default(),
        action: message["Action"].as_str().unwrap_or_default().to_owned(),
        id: message["Actor"]["ID"].as_str().unwrap_or_default().to_owned(),
        name: labels.remove("name").unwrap_or_default(),
        exit_code: labels.remove("exitCode").and_then(|text| text.parse().ok()),
        labels,
    }
}
