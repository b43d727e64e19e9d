//! Files that have to be on a host before a container can be made there: what a service needs, and from where it comes.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::draft::Draft;
use super::volumes::volume_spec;
use super::{Cause, Note, Op, Plan, StepId, Subject, sealed};
use crate::project::{
    Content, HostName, Mount, Project, Service, ServiceName, Volume, VolumeName, VolumeSpec, bind_key, carriers_of, grant_key,
};
use crate::world::{Container, SeenHost, VolumeSeen, keys};

const KEY_HINT: &str = "put the key into `mcompose.key` beside hosts.toml, or into MCOMPOSE_KEY";

/// A content that a service mounts, and the attribute that asks for it.
pub(super) struct Needed<'a> {
    pub(super) attribute: &'static str,
    pub(super) content: &'a Content,
    /// It is no file on any machine: a value of the Compose file or its environment.
    is_value: bool,
}

/// What a service mounts of the project's contents, once for each attribute.
pub(super) fn of_service<'a>(project: &'a Project, service: &'a Service) -> Vec<Needed<'a>> {
    if project.contents.is_empty() {
        return Vec::new();
    }
    let binds = service.volumes.iter().filter_map(|mount| of_bind(project, mount));
    let mut needed: Vec<Needed<'a>> = binds.map(|content| Needed { attribute: "volumes", content, is_value: false }).collect();
    let kinds =
        [("configs", "config", &service.configs, &project.configs), ("secrets", "secret", &service.secrets, &project.secrets)];
    for (attribute, kind, grants, objects) in kinds {
        for grant in grants {
            if let Some(content) = project.contents.get(&grant_key(kind, grant)) {
                let is_value = objects.get(&grant.source).is_some_and(|object| object.file.is_none());
                needed.push(Needed { attribute, content, is_value });
            }
        }
    }
    let mut known = BTreeSet::new();
    needed.retain(|needed| known.insert((needed.content.digest.as_str(), needed.attribute, needed.is_value)));
    needed
}

/// Whether some of what is mounted is not the same on every host: this machine's own, or what stands for it.
pub(super) fn of_here(project: &Project) -> bool {
    !project.contents.is_empty() || project.volumes.values().any(|volume| volume.folder.is_some())
}

pub(super) fn of_bind<'a>(project: &'a Project, mount: &Mount) -> Option<&'a Content> {
    let source = mount.source.as_deref().filter(|_| mount.kind == "bind" && !project.contents.is_empty())?;
    project.contents.get(&bind_key(source))
}

/// The deliveries of a plan.
#[derive(Debug, Default)]
pub(super) struct Deliveries<'a> {
    steps: BTreeMap<(&'a str, &'a HostName), StepId>,
}

impl<'a> Deliveries<'a> {
    /// Makes the steps that bring to these hosts what a service needs there.
    pub(super) fn require(&mut self, compose: &Compose<'a>, draft: &mut Draft, service: &'a Service, hosts: &[&'a HostName]) {
        for needed in of_service(compose.project, service) {
            let content = needed.content;
            for host in hosts.iter().filter(|host| needed.is_value || !compose.is_local(host)) {
                let is_there = compose.seen(host).is_none_or(|seen| seen.holds(content));
                let key = (content.digest.as_str(), *host);
                if is_there || self.steps.contains_key(&key) {
                    continue;
                }
                if let Some(from) = origin(compose, content) {
                    self.steps.insert(key, step(compose, draft, content, host, from, Cause::Missing));
                }
            }
        }
    }

    /// What would be on one host alone goes to a second one, so that a lost host's replicas find it.
    pub(super) fn copy(&mut self, compose: &Compose<'a>, draft: &mut Draft) {
        let contents: BTreeMap<&'a str, &'a Content> =
            compose.project.contents.values().map(|content| (content.digest.as_str(), content)).collect();
        for (digest, content) in contents {
            let arriving: Vec<&'a HostName> = self.steps.keys().filter(|(of, _)| *of == digest).map(|(_, host)| *host).collect();
            let holders = arriving.iter().copied().chain(holders(compose, content)).collect::<BTreeSet<_>>();
            let others = compose.world.seen_hosts().map(|(host, _)| host);
            let others = others.filter(|host| !compose.is_local(host) && !holders.contains(host));
            let Some(next) = others.min_by_key(|host| (!compose.is_active(host), *host)) else { continue };
            if holders.len() != 1 || arriving.is_empty() {
                continue;
            }
            if let Some(from) = origin(compose, content) {
                let step = step(compose, draft, content, next, from, Cause::Spare);
                draft.tolerate(step);
            }
        }
    }

    /// The steps that a container of this service waits for on that host.
    pub(super) fn before(&self, compose: &Compose<'a>, service: &'a Service, host: &'a HostName) -> Vec<StepId> {
        if self.steps.is_empty() {
            return Vec::new();
        }
        let needed = of_service(compose.project, service).into_iter();
        needed.filter_map(|needed| self.steps.get(&(needed.content.digest.as_str(), host)).copied()).collect()
    }
}

/// Where a content can be had: from this machine, or from a host. Nothing: from nowhere now.
enum Origin<'a> {
    Here,
    Host(&'a HostName),
}

fn origin<'a>(compose: &Compose<'a>, content: &Content) -> Option<Origin<'a>> {
    if compose.here.contains(&content.digest) {
        return Some(Origin::Here);
    }
    holders(compose, content).next().map(Origin::Host)
}

fn holders<'a>(compose: &Compose<'a>, content: &Content) -> impl Iterator<Item = &'a HostName> {
    compose.world.seen_hosts().filter(|(_, seen)| seen.holds(content)).map(|(host, _)| host)
}

fn step(compose: &Compose<'_>, draft: &mut Draft, content: &Content, host: &HostName, from: Origin<'_>, cause: Cause) -> StepId {
    let mut labels = BTreeMap::from([
        (keys::CONTENT.to_owned(), content.digest.clone()),
        (keys::CONTENT_PROJECT.to_owned(), compose.project.name.to_string()),
    ]);
    labels.extend(content.sealed.as_ref().map(|key| (keys::SEALED.to_owned(), key.clone())));
    let from = match from {
        Origin::Here => None,
        Origin::Host(host) => Some(host.clone()),
    };
    let volume = VolumeSpec { name: content.volume(), labels, ..VolumeSpec::default() };
    let left = compose.seen(host).map(|seen| seen.unfinished(&volume.name)).unwrap_or_default();
    let op = Op::Deliver { content: content.clone(), volume: Box::new(volume), from, left };
    draft.step(host, Subject::Content(content.name.clone()), op, cause, Vec::new())
}

/// What makes a volume that stands for a folder of the project, out of this machine's files. Nothing where those are not here.
pub(super) fn fill(compose: &Compose<'_>, key: &VolumeName, volume: &Volume, seen: &SeenHost) -> Option<(Subject, Op)> {
    let content = volume.folder.as_ref()?.content.as_ref().filter(|content| compose.here.contains(&content.digest))?;
    let mut spec = volume_spec(&compose.project.name, key, volume);
    spec.labels.insert(keys::FOLDER.to_owned(), content.digest.clone());
    let left = seen.unfinished(&volume.name);
    let op = Op::Deliver { content: content.clone(), volume: Box::new(spec), from: None, left };
    Some((Subject::Content(content.name.clone()), op))
}

/// Why the replicas of a service cannot be made on a host: a volume that is there is half, or not there and not to be filled.
pub(super) fn half(
    compose: &Compose<'_>,
    name: &ServiceName,
    service: &Service,
    host: &HostName,
    seen: &SeenHost,
) -> Option<Note> {
    let refused =
        |why: String, hint: String| Note::Refused { subject: name.to_string(), attribute: "volumes".to_owned(), why, hint };
    let mut volumes = super::volumes::of_service(compose.project, service).filter(|(_, volume)| !volume.external);
    volumes.find_map(|(key, volume)| match &volume.folder {
        Some(_) if compose.is_local(host) || seen.has_whole(&volume.name) || fill(compose, key, volume, seen).is_some() => None,
        Some(folder) => {
            let why = format!("`{}` is not on {host}, and not known here", folder.path);
            Some(refused(why, "run `mcompose up` where the project's files are".to_owned()))
        }
        None if seen.is_half(&volume.name) => {
            let why = format!("what is in volume `{}` on {host} is not whole: a `volume restore` was cut off", volume.name);
            Some(refused(why, format!("run it again, or `mcompose volume rm {key}`")))
        }
        None => None,
    })
}

/// Why the replicas of a service cannot be made on a host: what they need is neither there, nor to be had.
pub(super) fn lacking(
    compose: &Compose<'_>,
    name: &ServiceName,
    service: &Service,
    host: &HostName,
    seen: &SeenHost,
) -> Option<Note> {
    let needed = of_service(compose.project, service);
    let mut needed = needed.iter().filter(|needed| needed.is_value || !compose.is_local(host));
    let mut sealed = needed.clone();
    if let Some((needed, key)) = sealed.find_map(|needed| Some((needed, sealed::unknown_key(compose, needed.content, seen)?))) {
        return Some(Note::Refused {
            subject: name.to_string(),
            attribute: needed.attribute.to_owned(),
            why: format!("{} is encrypted on {host} with key {key}, which is not here", needed.content.name),
            hint: KEY_HINT.to_owned(),
        });
    }
    // What lies on a host as it is, of an older record, may go on to do so.
    let is_from_here = |content: &Content| !seen.holds(content) && matches!(origin(compose, content), Some(Origin::Here));
    let mut open = needed.clone().filter(|needed| needed.attribute == "secrets" && needed.content.sealed.is_none());
    if let Some(needed) = open.find(|needed| is_from_here(needed.content)).filter(|_| compose.has_sealed()) {
        return Some(Note::Refused {
            subject: name.to_string(),
            attribute: needed.attribute.to_owned(),
            why: format!(
                "the project's secrets lie encrypted on its hosts, and without a key {} would lie there as it is",
                needed.content.name
            ),
            hint: format!("{KEY_HINT}; after `mcompose down` it goes without"),
        });
    }
    let lacking = needed.find(|needed| !seen.holds(needed.content) && origin(compose, needed.content).is_none())?;
    Some(Note::Refused {
        subject: name.to_string(),
        attribute: lacking.attribute.to_owned(),
        why: format!("{} is not on {host}, and no machine that answers has it", lacking.content.name),
        hint: "run `mcompose up` where the project's files are".to_owned(),
    })
}

/// Volumes of contents that nothing asks for any more: not the project, not one of its records, not a container that is there.
pub(super) fn collect(compose: &Compose<'_>, draft: &mut Draft) {
    let Some(kept) = compose.kept else { return };
    let wanted: BTreeSet<&str> = compose.project.contents.values().map(|content| content.digest.as_str()).collect();
    for (host, seen) in compose.world.seen_hosts() {
        for (volume, digest) in of_project(compose, seen) {
            let is_wanted = wanted.contains(digest.as_str()) || kept.contains(digest);
            let mut users = seen.containers.iter().filter(|container| mounts(container, &volume.name));
            if !is_wanted && users.all(is_carrier) {
                remove(draft, (host, seen), volume, Vec::new(), &Cause::Unused);
            }
        }
    }
}

/// The volumes of contents that were made for the project, with their digests.
fn of_project<'a>(compose: &'a Compose<'_>, seen: &'a SeenHost) -> impl Iterator<Item = (&'a VolumeSeen, &'a String)> {
    let is_ours = |volume: &&VolumeSeen| {
        volume.labels.get(keys::CONTENT_PROJECT).map(String::as_str) == Some(compose.project.name.as_str())
    };
    seen.volumes.iter().filter(is_ours).filter_map(|volume| Some((volume, volume.labels.get(keys::CONTENT)?)))
}

/// Whether a container mounts a volume, a file in it, or what was unsealed from it.
fn mounts(container: &Container, volume: &str) -> bool {
    let in_volume = format!("/volumes/{volume}/");
    let is_unsealed = |source: &str| Content::volume_of_unsealed(source).is_some_and(|of| of == volume);
    container.mounts.iter().any(|mount| mount.name == volume || mount.source.contains(&in_volume) || is_unsealed(&mount.source))
}

/// Volumes of contents that the project is done with when it goes: on hosts where no container that stays mounts them, with the
/// containers that an interrupted delivery left.
pub(super) fn leave<'a>(compose: &Compose<'a>, draft: &mut Draft, removed: &BTreeMap<(&'a HostName, &'a str), StepId>) {
    for (host, seen) in compose.world.seen_hosts() {
        for (volume, _) in of_project(compose, seen) {
            let users = seen.containers.iter().filter(|container| mounts(container, &volume.name) && !is_carrier(container));
            let gone: Option<Vec<StepId>> = users.map(|user| removed.get(&(host, user.name.as_str())).copied()).collect();
            if let Some(after) = gone {
                remove(draft, (host, seen), volume, after, &Cause::Unused);
            }
        }
    }
}

/// It holds a volume while what is in it comes or goes, and never runs.
pub(super) fn is_carrier(container: &Container) -> bool {
    container.labels.rest.contains_key(keys::CONTENT)
}

/// Removes a volume, with what was left by those who filled or read it: the containers before it, and the marks after it, since
/// without them it would count as whole.
pub(super) fn remove(
    draft: &mut Draft,
    (host, seen): (&HostName, &SeenHost),
    volume: &VolumeSeen,
    mut after: Vec<StepId>,
    cause: &Cause,
) {
    // One that wiped does not mount it.
    let names = carriers_of(&volume.name);
    let is_its = |container: &Container| mounts(container, &volume.name) || container.name.starts_with(&names);
    for carrier in seen.containers.iter().filter(|container| is_carrier(container) && is_its(container)) {
        let container = super::ContainerRef::Id(carrier.id.clone());
        let op = Op::Remove { container, volumes: false, force: true };
        after.push(draft.step(host, Subject::Container(carrier.name.clone()), op, cause.clone(), Vec::new()));
    }
    let volume_step = |draft: &mut Draft, name: &String, after: Vec<StepId>| {
        let op = Op::RemoveVolume { name: name.clone() };
        draft.step(host, Subject::Volume(name.clone()), op, cause.clone(), after)
    };
    let step = volume_step(draft, &volume.name, after);
    let is_mark = |seen: &&VolumeSeen| seen.labels.get(keys::CONTENT_OF) == Some(&volume.name);
    let marks: Vec<&VolumeSeen> = seen.volumes.iter().filter(is_mark).collect();
    if marks.is_empty() && *cause == Cause::Unused {
        draft.tolerate(step);
    }
    for mark in marks {
        volume_step(draft, &mark.name, vec![step]);
    }
}

impl Plan {
    /// Whether it brings something to hosts that a list of their containers does not show.
    pub fn brings_resources(&self) -> bool {
        let brings = |op: &Op| {
            matches!(
                op,
                Op::Deliver { .. }
                    | Op::CreateVolume(_)
                    | Op::CopyVolume { .. }
                    | Op::RemoveVolume { .. }
                    | Op::Pull { .. }
                    | Op::Ship { .. }
                    | Op::RemoveImage { .. }
            )
        };
        self.steps.iter().any(|step| brings(&step.op))
    }
}
