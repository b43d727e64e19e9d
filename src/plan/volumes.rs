//! Named volumes: which ones a service mounts, and what each is made as.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::container::COMPOSE_VERSION;
use super::draft::Draft;
use super::outdated::{User, make_way, who_stays};
use super::up::Rise;
use super::{Cause, Note, Op, StepId, Subject};
use crate::project::{HostName, Project, ProjectName, Service, Volume, VolumeName, VolumeSpec};
use crate::world::{Container, VolumeSeen, keys};

/// The declared volumes that a service mounts, external ones too.
pub(super) fn of_service<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = (&'a VolumeName, &'a Volume)> + use<'a> {
    let named = service.volumes.iter().filter(|mount| mount.kind == "volume");
    named.filter_map(|mount| project.volumes.get_key_value(mount.source.as_deref()?))
}

/// The request that makes a volume, with docker compose's labels.
pub fn volume_spec(project: &ProjectName, key: &VolumeName, volume: &Volume) -> VolumeSpec {
    let mut labels = volume.labels.clone();
    labels.insert(keys::VOLUME.to_owned(), key.to_string());
    labels.insert(keys::PROJECT.to_owned(), project.to_string());
    labels.insert(keys::VERSION.to_owned(), COMPOSE_VERSION.to_owned());
    if let Some(hash) = &volume.config_hash {
        labels.insert(keys::CONFIG_HASH.to_owned(), hash.clone());
    }
    VolumeSpec { name: volume.name.clone(), driver: volume.driver.clone(), driver_opts: volume.driver_opts.clone(), labels }
}

/// Volumes that are not what the file says any more, and are to be made anew with consent: by engine name and host.
#[derive(Debug, Default)]
pub(super) struct OutdatedVolumes<'a> {
    removals: BTreeMap<(&'a str, &'a HostName), (StepId, Vec<User<'a>>)>,
}

impl<'a> OutdatedVolumes<'a> {
    /// Says of each that it is kept; with consent to lose its data, lets the turns of its containers make way and makes the
    /// step that removes it.
    pub(super) fn find(compose: &Compose<'a>, rises: &mut [Rise<'a>], draft: &mut Draft, consent: bool, orphans: bool) -> Self {
        let mut outdated = Self::default();
        for ((name, host), keys) in differing(compose, rises) {
            let kept = |why: &str| {
                let text = format!("volume `{name}` on {host} is not as the file says ({}), and is kept: {why}", list(&keys));
                Note::Remark { text }
            };
            if !consent {
                draft.note(kept("`mcompose up --yes` makes it anew, empty"));
                continue;
            }
            let users = users(compose, name, host);
            if let Some(reason) = who_stays(compose, rises, &users, orphans) {
                draft.note(kept(&reason));
                continue;
            }
            let op = Op::RemoveVolume { name: name.to_owned() };
            let step = draft.step(host, Subject::Volume(name.to_owned()), op, Cause::Changed { keys }, Vec::new());
            make_way(rises, &users, "volumes");
            outdated.removals.insert((name, host), (step, users));
        }
        outdated
    }

    pub(super) fn is_empty(&self) -> bool {
        self.removals.is_empty()
    }

    /// The step after which the volume can be made again; nothing where it is not outdated.
    pub(super) fn removal(&self, name: &str, host: &HostName) -> Option<StepId> {
        self.removals.get(&(name, host)).map(|(step, _)| *step)
    }

    /// Each volume is removed after its containers are.
    pub(super) fn wait_for_users(&self, draft: &mut Draft, removed: &BTreeMap<(&'a HostName, &'a str), StepId>) {
        for (step, users) in self.removals.values() {
            let users = users.iter().filter_map(|(host, user)| removed.get(&(*host, user.name.as_str())).copied());
            draft.wait_for(*step, &users.collect::<Vec<_>>());
        }
    }
}

fn list(keys: &BTreeSet<String>) -> String {
    keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ") + " changed"
}

/// The volumes of these services on the hosts of their turns that differ from the file, with what differs.
fn differing<'a>(compose: &Compose<'a>, rises: &[Rise<'a>]) -> BTreeMap<(&'a str, &'a HostName), BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for rise in rises.iter().filter(|rise| !rise.wanted.service.volumes.is_empty()) {
        let hosts: BTreeSet<&'a HostName> = rise.turns.iter().map(|turn| turn.host).collect();
        for (_, volume) in of_service(compose.project, rise.wanted.service).filter(|(_, volume)| !volume.external) {
            for host in &hosts {
                let volumes = compose.seen(host).map(|seen| seen.volumes.as_slice()).unwrap_or_default();
                let seen = volumes.iter().find(|seen| seen.name == volume.name);
                let keys = seen.map(|seen| differences(compose, volume, seen)).unwrap_or_default();
                if !keys.is_empty() {
                    found.insert((volume.name.as_str(), *host), keys);
                }
            }
        }
    }
    found
}

/// What differs. A volume of another project, or of nobody, is used as it is.
fn differences(compose: &Compose<'_>, volume: &Volume, seen: &VolumeSeen) -> BTreeSet<String> {
    if seen.labels.get(keys::PROJECT).map(String::as_str) != Some(compose.project.name.as_str()) {
        return BTreeSet::new();
    }
    let wanted = volume.driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or("local");
    let has = if seen.driver.is_empty() { "local" } else { &seen.driver };
    let parts = [("driver", wanted != has), ("driver_opts", volume.driver_opts != seen.options)];
    parts.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()).collect()
}

fn users<'a>(compose: &Compose<'a>, volume: &str, host: &'a HostName) -> Vec<User<'a>> {
    let containers = compose.seen(host).map(|seen| seen.containers.as_slice()).unwrap_or_default();
    let mounts = |container: &&Container| container.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == volume);
    containers.iter().filter(mounts).map(|container| (host, container)).collect()
}
