//! A service in canonical form: one type per attribute, every short form already made long.
//!
//! Field names are those of the Compose Specification, so that the canonical document deserialises into it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Project;
use super::duration::GoDuration;
use super::names::{NetworkName, ServiceName};
use super::resource::ByteSize;

type Strings = Vec<String>;
type StringMap = BTreeMap<String, String>;

/// An entry of `services`. Absent and empty are the same, except where an `Option` keeps them apart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Service {
    pub annotations: StringMap,
    /// `attach: false` keeps a service's logs out of an attached `up`.
    pub attach: Option<bool>,
    pub build: Option<Build>,
    /// As in the document, keys `weight`, `weight_device`, `device_read_bps` …
    pub blkio_config: Option<Value>,
    pub cap_add: Strings,
    pub cap_drop: Strings,
    pub cgroup: Option<String>,
    pub cgroup_parent: Option<String>,
    /// Nothing: the image's own command. An empty list: cleared.
    pub command: Option<Strings>,
    pub configs: Vec<FileGrant>,
    pub container_name: Option<String>,
    pub cpu_count: Option<i64>,
    pub cpu_percent: Option<f64>,
    pub cpu_shares: Option<i64>,
    /// Microseconds.
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<i64>,
    pub cpu_rt_period: Option<i64>,
    pub cpu_rt_runtime: Option<i64>,
    /// Number of CPUs.
    pub cpus: Option<f64>,
    pub cpuset: Option<String>,
    pub credential_spec: Option<Value>,
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    pub deploy: Option<Deploy>,
    pub develop: Option<Value>,
    pub device_cgroup_rules: Strings,
    pub devices: Vec<Device>,
    pub dns: Strings,
    pub dns_opt: Strings,
    pub dns_search: Strings,
    pub domainname: Option<String>,
    pub entrypoint: Option<Strings>,
    /// `env_file` is merged in. No value: unset in the container, where the project's environment had none either.
    pub environment: BTreeMap<String, Option<String>>,
    pub expose: Strings,
    pub external_links: Strings,
    /// `HOST=IP`
    pub extra_hosts: Strings,
    pub gpus: Vec<DeviceRequest>,
    pub group_add: Strings,
    pub healthcheck: Option<Healthcheck>,
    pub hostname: Option<String>,
    pub image: Option<String>,
    pub init: Option<bool>,
    pub ipc: Option<String>,
    pub isolation: Option<String>,
    /// `label_file` is merged in.
    pub labels: StringMap,
    /// `SERVICE` or `SERVICE:ALIAS`
    pub links: Strings,
    pub logging: Option<Logging>,
    pub mac_address: Option<String>,
    pub mem_limit: Option<ByteSize>,
    pub mem_reservation: Option<ByteSize>,
    /// A percentage, which the canonical form prints as it prints sizes.
    pub mem_swappiness: Option<ByteSize>,
    /// −1: unlimited.
    pub memswap_limit: Option<ByteSize>,
    pub models: BTreeMap<String, Value>,
    pub network_mode: Option<String>,
    /// In the order of the canonical form: by key. No value: nothing but membership.
    pub networks: BTreeMap<NetworkName, Option<Attachment>>,
    pub oom_kill_disable: Option<bool>,
    pub oom_score_adj: Option<i64>,
    pub pid: Option<String>,
    pub pids_limit: Option<i64>,
    pub platform: Option<String>,
    pub ports: Vec<Port>,
    pub pre_start: Vec<Hook>,
    pub post_start: Vec<Hook>,
    pub pre_stop: Vec<Hook>,
    pub privileged: bool,
    pub profiles: Strings,
    pub provider: Option<Value>,
    pub pull_policy: Option<String>,
    pub pull_refresh_after: Option<String>,
    pub read_only: bool,
    pub restart: Option<String>,
    pub runtime: Option<String>,
    pub scale: Option<u32>,
    pub secrets: Vec<FileGrant>,
    pub security_opt: Strings,
    pub shm_size: Option<ByteSize>,
    pub stdin_open: bool,
    pub stop_grace_period: Option<GoDuration>,
    pub stop_signal: Option<String>,
    pub storage_opt: StringMap,
    pub sysctls: StringMap,
    pub tmpfs: Strings,
    pub tty: bool,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub use_api_socket: bool,
    pub user: Option<String>,
    pub userns_mode: Option<String>,
    pub uts: Option<String>,
    pub volumes: Vec<Mount>,
    pub volumes_from: Strings,
    pub working_dir: Option<String>,
}

/// The file on this machine that a `security_opt` names as seccomp profile. What the engine knows itself, and a profile's text, are none.
pub fn seccomp_file(option: &str) -> Option<&str> {
    let profile = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:"))?;
    let is_known = matches!(profile, "unconfined" | "builtin") || profile.starts_with('{');
    (!is_known).then_some(profile)
}

/// How old an image may be under a `pull_policy` with an age: `daily`, `weekly`, `every_1d12h`. Nothing for any other.
pub fn image_age_max(policy: &str) -> Option<Duration> {
    const DAY_SECS: u64 = 24 * 60 * 60;
    let mut rest = match policy {
        "daily" => "1d",
        "weekly" => "1w",
        _ => policy.strip_prefix("every_").filter(|time| !time.is_empty())?,
    };
    let mut secs = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit_secs = match rest.as_bytes().get(digits)? {
            b'w' => 7 * DAY_SECS,
            b'd' => DAY_SECS,
            b'h' => 60 * 60,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        secs = secs.saturating_add(count.saturating_mul(unit_secs));
        rest = &rest[digits + 1..];
    }
    Some(Duration::from_secs(secs))
}

impl Service {
    /// How many replicas a replicated service wants: `scale`, else `deploy.replicas`, else 1.
    pub fn replicas(&self) -> u32 {
        self.scale.or(self.deploy.as_ref().and_then(|deploy| deploy.replicas)).unwrap_or(1)
    }

    pub fn mode(&self) -> Mode {
        self.deploy.as_ref().map(|deploy| deploy.mode).unwrap_or_default()
    }

    /// The rules of `deploy.placement`; the default is none.
    pub fn placement(&self) -> Placement {
        self.deploy.as_ref().map(|deploy| deploy.placement.clone()).unwrap_or_default()
    }

    /// What docker compose names the image of a service: `image`, else `PROJECT-SERVICE` of a build.
    pub fn image_name(&self, project: &Project, service: &str) -> String {
        self.image.clone().unwrap_or_else(|| format!("{}{}{service}", project.name, project.separator()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    #[default]
    Replicated,
    Global,
    ReplicatedJob,
    GlobalJob,
}

impl Mode {
    /// One slot on every host that fits.
    pub fn is_global(self) -> bool {
        matches!(self, Self::Global | Self::GlobalJob)
    }

    /// Runs to completion; a replica that exited with 0 is done.
    pub fn is_job(self) -> bool {
        matches!(self, Self::ReplicatedJob | Self::GlobalJob)
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Deploy {
    pub mode: Mode,
    pub replicas: Option<u32>,
    pub endpoint_mode: Option<String>,
    pub labels: StringMap,
    pub update_config: Option<UpdateConfig>,
    pub rollback_config: Option<UpdateConfig>,
    pub resources: Resources,
    pub restart_policy: Option<RestartPolicy>,
    pub placement: Placement,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    pub parallelism: Option<u64>,
    pub delay: Option<GoDuration>,
    pub failure_action: Option<String>,
    pub monitor: Option<GoDuration>,
    pub max_failure_ratio: Option<f64>,
    pub order: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    pub condition: Option<String>,
    pub delay: Option<GoDuration>,
    pub max_attempts: Option<u64>,
    pub window: Option<GoDuration>,
}

/// `deploy.placement`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    pub constraints: Strings,
    pub preferences: Vec<Preference>,
    pub max_replicas_per_node: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Preference {
    pub spread: String,
}

/// `deploy.resources`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    pub limits: Option<Limits>,
    pub reservations: Option<Limits>,
}

/// A side of `deploy.resources`; `pids` belongs to limits, the lists to reservations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Number of CPUs.
    #[serde(deserialize_with = "number_or_text")]
    pub cpus: Option<f64>,
    pub memory: Option<ByteSize>,
    pub pids: Option<i64>,
    pub devices: Vec<DeviceRequest>,
    pub generic_resources: Vec<GenericResource>,
}

fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(Value::String(text)) => {
            text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("`{text}` is not a number")))
        }
        Some(other) => Err(serde::de::Error::custom(format!("`{other}` is not a number"))),
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GenericResource {
    pub discrete_resource_spec: Option<DiscreteResource>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscreteResource {
    pub kind: String,
    pub value: i64,
}

/// A request for devices such as GPUs. `count` −1 means all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    pub capabilities: Strings,
    pub driver: Option<String>,
    pub count: Option<i64>,
    pub device_ids: Strings,
    pub options: StringMap,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    pub source: String,
    pub target: String,
    pub permissions: String,
}

/// `depends_on.*`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dependency {
    pub condition: Condition,
    #[serde(default)]
    pub restart: bool,
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    ServiceStarted,
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

/// `networks.*` of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    pub aliases: Strings,
    pub interface_name: Option<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub link_local_ips: Strings,
    pub mac_address: Option<String>,
    pub driver_opts: StringMap,
    pub priority: i64,
    pub gw_priority: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// An entry of `ports`, long form.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    pub name: Option<String>,
    /// `ingress` or `host`; the same here: the port of the replica's own host.
    pub mode: Option<String>,
    pub host_ip: Option<String>,
    pub target: u16,
    /// A port, a range `7000-7010`, or nothing for one that the engine picks.
    pub published: Option<String>,
    pub protocol: Protocol,
    pub app_protocol: Option<String>,
}

/// An entry of `volumes` of a service, long form.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, `image`, `cluster` or `npipe`
    #[serde(rename = "type")]
    pub kind: String,
    /// Path, key below the top-level `volumes`, or image. None for tmpfs and anonymous volumes.
    pub source: Option<String>,
    pub target: String,
    pub read_only: bool,
    pub consistency: Option<String>,
    pub bind: Option<MountBind>,
    pub volume: Option<MountVolume>,
    pub tmpfs: Option<MountTmpfs>,
    pub image: Option<MountImage>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MountBind {
    pub propagation: Option<String>,
    pub create_host_path: Option<bool>,
    pub recursive: Option<String>,
    pub selinux: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MountVolume {
    pub labels: StringMap,
    pub nocopy: bool,
    pub subpath: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MountTmpfs {
    pub size: Option<ByteSize>,
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MountImage {
    pub subpath: Option<String>,
}

/// A config or secret that a service is given as a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FileGrant {
    /// Key below the top-level `configs` or `secrets`.
    pub source: String,
    pub target: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    /// Octal text, `"0440"`.
    pub mode: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    pub disable: bool,
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`; empty: the image's own.
    pub test: Strings,
    pub interval: Option<GoDuration>,
    pub timeout: Option<GoDuration>,
    pub retries: Option<u64>,
    pub start_period: Option<GoDuration>,
    pub start_interval: Option<GoDuration>,
}

/// `pre_start`, `post_start` and `pre_stop` entries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    pub command: Option<Strings>,
    pub image: Option<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub working_dir: Option<String>,
    pub environment: BTreeMap<String, Option<String>>,
    pub per_replica: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: StringMap,
}

/// One limit for both, or a pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ulimit {
    Single(i64),
    Pair {
        #[serde(default)]
        soft: i64,
        #[serde(default)]
        hard: i64,
    },
}

/// `build`, kept as the document has it; the image room reads it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Build {
    pub document: serde_json::Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::{image_age_max, seccomp_file};

    #[test]
    fn ages_of_images_are_read() {
        let secs = |policy: &str| image_age_max(policy).map(|age| age.as_secs());
        assert_eq!(secs("daily"), Some(86_400));
        assert_eq!(secs("every_1w2d3h4m5s"), Some(788_645));
        for other in ["always", "every_", "every_5", "every_5x", "everyday", "every_d", "refresh"] {
            assert_eq!(secs(other), None, "{other}");
        }
        assert_eq!(secs("every_99999999999999999w"), Some(u64::MAX), "more than there is");
    }

    #[test]
    fn profiles_in_files_are_told_from_others() {
        assert_eq!(seccomp_file("seccomp=a/b.json"), Some("a/b.json"));
        assert_eq!(seccomp_file("seccomp:c.json"), Some("c.json"));
        for other in ["seccomp=unconfined", "seccomp:builtin", "seccomp={\"a\":1}", "apparmor=x", "no-new-privileges"] {
            assert_eq!(seccomp_file(other), None, "{other}");
        }
    }
}
