//! What should run. Plain values, checked at the door, that every other room speaks of.

mod build;
mod config_hash;
mod container;
mod content;
mod duration;
mod host;
pub mod moment;
mod names;
pub mod newer;
mod one_off;
mod record_state;
mod resource;
mod service;
mod spec_hash;
mod suggest;

pub use build::{
    BUILDKIT_OWNS, FOR_WINDOWS, ImageBuild, LINUX_HAS_NONE, NO_ATTESTATIONS, NOT_KEPT, Naming, SECRET_OWNER, Unbuildable,
};
pub use config_hash::{ConfigHash, HashPart};
pub use container::{
    ContainerSpec, EmptyObject, Endpoint, EndpointIpam, EngineRestartPolicy, HealthConfig, HostConfig, MountSpec, NetworkSpec,
    NetworkingConfig, PortBinding, Until, VolumeSpec,
};
pub use content::{Content, bind_key, carriers_of, grant_key};
pub use duration::GoDuration;
pub use host::{Address, Availability, Host, Rebalancing, Role, Tls};
pub use names::{ContainerId, HostName, InvalidName, NetworkName, ProjectName, ServiceName, Slot, VolumeName};
pub use one_off::{OneOff, Ports};
pub use record_state::RecordState;
pub use resource::{ByteSize, FileObject, Folder, IpamConfig, IpamPool, Network, Volume};
pub use service::{
    Attachment, Build, Condition, Dependency, Deploy, Device, DeviceRequest, DiscreteResource, FileGrant, GenericResource,
    Healthcheck, Hook, Limits, Logging, Mode, Mount, MountBind, MountImage, MountTmpfs, MountVolume, Placement as PlacementRules,
    Port, Preference, Protocol, Resources, RestartPolicy, Service, Ulimit, UpdateConfig, image_age_max, seccomp_file,
};
pub use spec_hash::SpecHash;
pub use suggest::nearest;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One Compose project, after every phase of the loader: names resolved, defaults filled in, only active services.
///
/// It serialises to JSON and back without loss: that is the form in which a record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    pub name: ProjectName,
    /// Absolute directory that relative paths were resolved against.
    pub working_dir: String,
    /// The Compose files as docker compose writes them into `com.docker.compose.project.config_files`.
    pub config_files: Vec<String>,
    /// The `--env-file` files, for `com.docker.compose.project.environment_file`.
    #[serde(default)]
    pub environment_files: Vec<String>,
    pub services: BTreeMap<ServiceName, Service>,
    /// Services left out because none of their profiles is active. Their containers are no orphans.
    #[serde(default)]
    pub disabled_services: BTreeSet<ServiceName>,
    /// Services among those left out whose images the build of another service has as contexts: they are built, and not run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<ServiceName, Service>,
    #[serde(default)]
    pub networks: BTreeMap<NetworkName, Network>,
    #[serde(default)]
    pub volumes: BTreeMap<VolumeName, Volume>,
    #[serde(default)]
    pub configs: BTreeMap<String, FileObject>,
    #[serde(default)]
    pub secrets: BTreeMap<String, FileObject>,
    /// What of this machine's files the services need on their hosts, by `bind_key` and `grant_key`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, Content>,
    /// Sources of bind mounts below the project's folder where there is nothing on this machine: folders for data, each host's own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data_folders: BTreeSet<String>,
    /// docker compose's own hash of each service, for `com.docker.compose.config-hash`.
    #[serde(default)]
    pub config_hashes: BTreeMap<ServiceName, ConfigHash>,
    /// `--compatibility`: names of containers and built images are joined by `_`, as docker compose 1 had them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compatibility: bool,
}

impl Project {
    /// One of which nothing is known but its name and where its files are.
    pub fn bare(name: ProjectName, working_dir: String) -> Self {
        Self {
            name,
            working_dir,
            config_files: Vec::new(),
            environment_files: Vec::new(),
            services: BTreeMap::new(),
            disabled_services: BTreeSet::new(),
            bases: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            contents: BTreeMap::new(),
            data_folders: BTreeSet::new(),
            config_hashes: BTreeMap::new(),
            compatibility: false,
        }
    }

    /// A service that is built, whether or not it is run.
    pub fn built(&self, name: &str) -> Option<(&ServiceName, &Service)> {
        self.services.get_key_value(name).or_else(|| self.bases.get_key_value(name))
    }

    /// The images of all services that are run or built, and of what runs before they start.
    pub fn images(&self) -> BTreeSet<String> {
        let hooks = self.services.values().flat_map(|service| &service.pre_start);
        let services = self.services.iter().chain(&self.bases).map(|(name, service)| service.image_name(self, name.as_str()));
        services.chain(hooks.filter_map(|hook| hook.image.clone())).collect()
    }

    /// What stands between the words of a container's name.
    pub fn separator(&self) -> &'static str {
        if self.compatibility { "_" } else { "-" }
    }

    /// What the container of a slot is called where its service does not say: `PROJECT-SERVICE-N`.
    pub fn replica_name(&self, service: &ServiceName, number: u32) -> String {
        // Made for every slot of a plan, of which `format!` would be a visible part.
        let (project, service, separator) = (self.name.as_str(), service.as_str(), self.separator());
        let mut name = String::with_capacity(project.len() + service.len() + "--4294967295".len());
        name.extend([project, separator, service, separator, number.to_string().as_str()]);
        name
    }

    /// Every slot that replicated services ask for, in order of service and number.
    /// Global services have one slot per host that fits; placement names those.
    pub fn replicated_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.services
            .iter()
            .filter(|(_, service)| !service.mode().is_global())
            .flat_map(|(name, service)| (1..=service.replicas()).filter_map(|number| Slot::new(name.clone(), number)))
    }
}
