//! Volumes, mounts and images of the fake.

use std::collections::BTreeMap;

use super::archives::{FakeFile, in_memory};
use super::state::{Cluster, Fail, FakeHostState, FakeVolume, mixed};
use super::time::rfc3339;
use crate::engine::ErrorKind;
use crate::project::{ContainerSpec, HostName, VolumeSpec};
use crate::world::{ImageSeen, MountSeen, VolumeSeen};

impl FakeHostState {
    /// The mounts of a new container. Named volumes that are missing are made, as are those without a name.
    pub(super) fn make_mounts(&mut self, id: &str, spec: &ContainerSpec, of_image: &[String]) -> Result<Vec<MountSeen>, Fail> {
        let mut mounts = self.inherited(spec)?;
        for bind in &spec.host_config.binds {
            let mut parts = bind.splitn(3, ':');
            let (first, second) = (parts.next().unwrap_or_default(), parts.next());
            let target = second.unwrap_or(first).to_owned();
            let kind = if second.is_some() && first.starts_with('/') { "bind" } else { "volume" };
            let source = second.map(|_| first.to_owned()).unwrap_or_default();
            self.mount(id, &mut mounts, kind, &source, target);
        }
        self.check_sources(spec)?;
        for mount in &spec.host_config.mounts {
            let source = mount.source.clone().unwrap_or_default();
            self.mount(id, &mut mounts, &mount.kind, &source, mount.target.clone());
        }
        for target in spec.volumes.keys().chain(of_image) {
            if !mounts.iter().any(|mount| mount.target == *target) {
                self.mount(id, &mut mounts, "volume", "", target.clone());
            }
        }
        Ok(mounts)
    }

    /// What is mounted from the host's memory must be there; of all other paths nothing is known.
    pub(super) fn check_sources(&self, spec: &ContainerSpec) -> Result<(), Fail> {
        let sources =
            spec.host_config.mounts.iter().filter(|mount| mount.kind == "bind").filter_map(|mount| mount.source.as_deref());
        let mut paths = sources.filter_map(|source| Some((source, in_memory(source)?)));
        match paths.find(|(_, path)| !self.memory.contains_key(path)) {
            Some((source, _)) => {
                Err(Fail::refused(format!("invalid mount config for type \"bind\": bind source path does not exist: {source}")))
            }
            None => Ok(()),
        }
    }

    /// The volumes of the containers that `VolumesFrom` names.
    fn inherited(&self, spec: &ContainerSpec) -> Result<Vec<MountSeen>, Fail> {
        let from = spec.host_config.rest.get("VolumesFrom").and_then(|value| value.as_array());
        let mut mounts = Vec::new();
        for text in from.into_iter().flatten().filter_map(|value| value.as_str()) {
            let name = text.split(':').next().unwrap_or(text);
            let other = self.find(name).ok_or_else(|| Fail::refused(format!("No such container: {name}")))?;
            mounts.extend(other.mounts.iter().cloned());
        }
        Ok(mounts)
    }

    fn mount(&mut self, id: &str, mounts: &mut Vec<MountSeen>, kind: &str, source: &str, target: String) {
        mounts.retain(|mount| mount.target != target);
        let mut mount = MountSeen { kind: kind.to_owned(), target, ..MountSeen::default() };
        if kind == "volume" {
            mount.name = if source.is_empty() { anonymous_name(id, mounts.len()) } else { source.to_owned() };
            mount.source = format!("/var/lib/docker/volumes/{}/_data", mount.name);
            self.put_volume(&mount.name, BTreeMap::new());
            if source.is_empty()
                && let Some(volume) = self.volumes.get_mut(&mount.name)
            {
                volume.is_anonymous = true;
            }
        } else {
            source.clone_into(&mut mount.source);
        }
        mounts.push(mount);
    }

    /// Makes a local volume unless there is one of this name.
    pub(super) fn put_volume(&mut self, name: &str, labels: BTreeMap<String, String>) {
        let driver = "local".to_owned();
        let seen = VolumeSeen { name: name.to_owned(), driver, labels, ..VolumeSeen::default() };
        self.volumes.entry(name.to_owned()).or_insert(FakeVolume { seen, is_anonymous: false, files: no_files() });
    }

    pub(super) fn uses_volume(&self, name: &str) -> bool {
        self.containers.values().flat_map(|container| &container.mounts).any(|mount| mount.kind == "volume" && mount.name == name)
    }
}

/// Of an empty volume.
fn no_files() -> super::archives::Files {
    let folder = FakeFile::of(tar::EntryType::Directory, 0o755, Vec::new());
    [(super::archives::DATA.to_owned(), folder)].into()
}

/// The volume whose folder on the host this is.
pub(super) fn volume_of_folder(source: &str) -> Option<String> {
    let name = source.strip_prefix("/var/lib/docker/volumes/")?;
    (!name.contains('/')).then(|| name.to_owned())
}

fn anonymous_name(id: &str, index: usize) -> String {
    let seed = id.bytes().fold(index as u64, |sum, byte| mixed(sum ^ u64::from(byte)));
    (0..4).map(|part| format!("{:016x}", mixed(seed.wrapping_add(part)))).collect()
}

impl Cluster {
    pub(super) fn create_volume(&mut self, host: &HostName, spec: &VolumeSpec) -> Result<(), Fail> {
        let state = self.host_mut(host)?;
        let driver = spec.driver.clone().unwrap_or_else(|| "local".to_owned());
        if let Some(volume) = state.volumes.get(&spec.name) {
            if volume.seen.driver != driver {
                return Err(Fail::conflict(format!("A volume named {} already exists with the {} driver", spec.name, driver)));
            }
            return Ok(());
        }
        if !state.info.volume_plugins.contains(&driver) {
            return Err(Fail::not_found(format!("plugin \"{driver}\" not found")));
        }
        let seen = VolumeSeen { name: spec.name.clone(), driver, options: spec.driver_opts.clone(), labels: spec.labels.clone() };
        state.volumes.insert(spec.name.clone(), FakeVolume { seen, is_anonymous: false, files: no_files() });
        Ok(())
    }

    pub(super) fn remove_volume(&mut self, host: &HostName, name: &str) -> Result<(), Fail> {
        let state = self.host_mut(host)?;
        if state.uses_volume(name) {
            return Err(Fail::conflict(format!("remove {name}: volume is in use")));
        }
        state.volumes.remove(name);
        Ok(())
    }

    pub(super) fn pull(&mut self, host: &HostName, image: &str) -> Result<(), Fail> {
        self.host(host)?;
        let seen = self.in_registry(image)?;
        self.host_mut(host)?.images.insert(image.to_owned(), seen);
        Ok(())
    }

    pub(super) fn digest(&mut self, host: &HostName, image: &str) -> Result<String, Fail> {
        self.host(host)?;
        Ok(self.in_registry(image)?.id)
    }

    /// The registry has every image but those that were taken from it.
    fn in_registry(&self, image: &str) -> Result<ImageSeen, Fail> {
        match self.registry.get(image) {
            None => Ok(image_of(image, 0, self.now_ms)),
            Some(Some(generation)) => Ok(image_of(image, *generation, self.now_ms)),
            Some(None) => Err(Fail::new(ErrorKind::NotFound, format!("manifest for {image} not found: manifest unknown"))),
        }
    }

    pub(super) fn put_image(&mut self, host: &HostName, image: &str) {
        let generation = self.registry.get(image).copied().flatten().unwrap_or_default();
        let now_ms = self.now_ms;
        if let Some(state) = self.hosts.get_mut(host) {
            state.images.entry(image.to_owned()).or_insert_with(|| image_of(image, generation, now_ms));
        }
    }

    pub(super) fn remove_image(&mut self, host: &HostName, image: &str) -> Result<(), Fail> {
        let state = self.host_mut(host)?;
        let user = state.containers.values().find(|container| container.spec.image == image);
        if let Some(user) = user {
            return Err(Fail::conflict(format!(
                "conflict: unable to remove repository reference \"{image}\" (must force) - container {} is using its \
                 referenced image",
                user.id
            )));
        }
        state.images.remove(image);
        Ok(())
    }
}

fn image_of(image: &str, generation: u64, tagged_ms: u64) -> ImageSeen {
    let seed = image.bytes().fold(generation, |sum, byte| mixed(sum ^ u64::from(byte)));
    let digits: String = (0..4).map(|part| format!("{:016x}", mixed(seed.wrapping_add(part)))).collect();
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    ImageSeen {
        id: format!("sha256:{digits}"),
        digests: vec![format!("{name}@sha256:{digits}")],
        size_bytes: 5_000_000,
        created: format!("2023-11-14T22:13:20.{generation:03}Z"),
        tagged: rfc3339(tagged_ms),
        layers: vec![format!("sha256:{digits}")],
    }
}
