//! Named volumes: which ones a service mounts, and what each is made as.

use super::compose::Compose;
use super::container::COMPOSE_VERSION;
use crate::project::{Project, Service, Volume, VolumeName, VolumeSpec};
use crate::world::keys;

/// The declared volumes that a service mounts, external ones too.
pub(super) fn of_service<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = (&'a VolumeName, &'a Volume)> + use<'a> {
    let named = service.volumes.iter().filter(|mount| mount.kind == "volume");
    named.filter_map(|mount| project.volumes.get_key_value(mount.source.as_deref()?))
}

/// The request that makes a volume, with docker compose's labels.
pub(super) fn spec(compose: &Compose<'_>, key: &VolumeName, volume: &Volume) -> VolumeSpec {
    let mut labels = volume.labels.clone();
    labels.insert(keys::VOLUME.to_owned(), key.to_string());
    labels.insert(keys::PROJECT.to_owned(), compose.project.name.to_string());
    labels.insert(keys::VERSION.to_owned(), COMPOSE_VERSION.to_owned());
    VolumeSpec { name: volume.name.clone(), driver: volume.driver.clone(), driver_opts: volume.driver_opts.clone(), labels }
}
