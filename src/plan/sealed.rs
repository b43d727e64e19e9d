//! What is encrypted where it lies: it comes into a host's memory before a container that mounts it is made or started there, and is taken
//! out again when no such container is left.
//!
//! No engine tells what is in its host's memory. While a container that mounts it runs, it is there; else it is put there anew, which
//! changes nothing where it was.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::draft::Draft;
use super::{Cause, ContainerRef, Op, Step, StepId, Subject, contents};
use crate::project::{Content, HostName};
use crate::world::{Container, SeenHost, State, keys};

/// A host, and the name of a volume of something sealed on it.
type Place = (HostName, String);

/// Adds the steps of the drafted ones: they wait for each other as they must.
pub(super) fn arrange(compose: &Compose<'_>, draft: &mut Draft) {
    let known = known(compose, draft);
    if known.is_empty() {
        return;
    }
    let mounting = Mounting::find(compose);
    unseal(compose, draft, &known, &mounting);
    wipe(draft, &known, &mounting);
}

/// The id of the key that a content needs on a host to get into its memory, where that key is not here and it is not there already.
pub(super) fn unknown_key<'c>(compose: &Compose<'_>, content: &'c Content, seen: &SeenHost) -> Option<&'c str> {
    let key = content.sealed.as_deref()?;
    let volume = content.volume();
    let is_there = seen.containers.iter().any(|container| runs(container) && mounts(container).any(|other| other == volume));
    (!is_there && !compose.here.contains(key)).then_some(key)
}

/// What is sealed on hosts, or is being brought there by a step.
fn known(compose: &Compose<'_>, draft: &Draft) -> BTreeMap<Place, (Content, Option<StepId>)> {
    let mut known = BTreeMap::new();
    for (host, seen) in compose.world.seen_hosts() {
        for volume in &seen.volumes {
            let label = |key: &str| volume.labels.get(key).cloned();
            if let Some((key, digest)) = label(keys::SEALED).zip(label(keys::CONTENT)) {
                let of_project = compose.project.contents.values().find(|content| content.digest == digest).cloned();
                let content = of_project.unwrap_or_else(|| unnamed(digest, key));
                known.insert((host.clone(), volume.name.clone()), (content, None));
            }
        }
    }
    for (index, step) in draft.steps().iter().enumerate() {
        if let Op::Deliver { content, .. } = &step.op
            && content.sealed.is_some()
        {
            known.insert((step.host.clone(), content.volume()), (content.clone(), Some(StepId(index))));
        }
    }
    known
}

/// One that the project has no more, or does not tell of.
fn unnamed(digest: String, key: String) -> Content {
    let short = digest.get(..12).unwrap_or(&digest);
    Content { name: format!("secret {short}"), bytes: 0, is_folder: false, sealed: Some(key), digest }
}

/// Containers that mount what was unsealed.
#[derive(Default)]
struct Mounting<'a> {
    /// By the place of what they mount.
    users: BTreeMap<Place, Vec<&'a Container>>,
    /// By host, and by id and name.
    by_reference: BTreeMap<(&'a HostName, &'a str), &'a Container>,
}

impl<'a> Mounting<'a> {
    fn find(compose: &Compose<'a>) -> Self {
        let mut found = Self::default();
        for (host, seen) in compose.world.seen_hosts() {
            for container in seen.containers.iter().filter(|container| !contents::is_carrier(container)) {
                for volume in mounts(container) {
                    found.users.entry((host.clone(), volume)).or_default().push(container);
                    let names = [container.id.as_str(), container.name.as_str()];
                    found.by_reference.extend(names.map(|name| ((host, name), container)));
                }
            }
        }
        found
    }

    fn container(&self, host: &HostName, container: &ContainerRef) -> Option<&'a Container> {
        self.by_reference.get(&(host, container.as_str())).copied()
    }

    fn of(&self, place: &Place) -> &[&'a Container] {
        self.users.get(place).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The volumes of what was unsealed that a container mounts.
fn mounts(container: &Container) -> impl Iterator<Item = String> {
    container.mounts.iter().filter_map(|mount| Content::volume_of_unsealed(&mount.source))
}

fn runs(container: &Container) -> bool {
    matches!(container.state, State::Running | State::Paused)
}

/// The volumes of what a step needs in its host's memory.
fn needs(step: &Step, mounting: &Mounting<'_>) -> Vec<String> {
    match &step.op {
        Op::Create { spec, .. } => {
            let sources = spec.common.host_config.mounts.iter().filter_map(|mount| mount.source.as_deref());
            sources.filter_map(Content::volume_of_unsealed).collect()
        }
        Op::Start { container } | Op::Restart { container, .. } => {
            mounting.container(&step.host, container).map(|container| mounts(container).collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn unseal(compose: &Compose<'_>, draft: &mut Draft, known: &BTreeMap<Place, (Content, Option<StepId>)>, mounting: &Mounting<'_>) {
    let mut needed: BTreeMap<Place, Vec<StepId>> = BTreeMap::new();
    for (index, step) in draft.steps().iter().enumerate() {
        for volume in needs(step, mounting) {
            needed.entry((step.host.clone(), volume)).or_default().push(StepId(index));
        }
    }
    for (place, waiting) in needed {
        let Some((content, delivery)) = known.get(&place) else { continue };
        // Where the key is not here, what is made is refused before; what stands already may find it there yet.
        let has_key = content.sealed.as_ref().is_some_and(|key| compose.here.contains(key));
        if !has_key || mounting.of(&place).iter().any(|user| runs(user)) {
            continue;
        }
        let (op, subject) = (Op::Unseal { content: content.clone() }, Subject::Content(content.name.clone()));
        let step = draft.step(&place.0, subject, op, Cause::Missing, delivery.iter().copied().collect());
        waiting.into_iter().for_each(|waiting| draft.wait_for(waiting, &[step]));
    }
}

fn wipe(draft: &mut Draft, known: &BTreeMap<Place, (Content, Option<StepId>)>, mounting: &Mounting<'_>) {
    let mut removals: BTreeMap<(HostName, &str), StepId> = BTreeMap::new();
    let mut volumes: BTreeMap<Place, StepId> = BTreeMap::new();
    let mut kept: BTreeSet<Place> = BTreeSet::new();
    for (index, step) in draft.steps().iter().enumerate() {
        match &step.op {
            Op::Remove { container, .. } => {
                let container = mounting.container(&step.host, container);
                removals.extend(container.map(|container| ((step.host.clone(), container.id.as_str()), StepId(index))));
            }
            Op::RemoveVolume { name } => drop(volumes.insert((step.host.clone(), name.clone()), StepId(index))),
            Op::Create { .. } => kept.extend(needs(step, mounting).into_iter().map(|volume| (step.host.clone(), volume))),
            _ => {}
        }
    }
    for (place, (content, _)) in known.iter().filter(|(place, _)| !kept.contains(*place)) {
        let users = mounting.of(place).iter();
        let gone: Option<Vec<StepId>> = users.map(|user| removals.get(&(place.0.clone(), user.id.as_str())).copied()).collect();
        let volume = volumes.get(place);
        let Some(gone) = gone.filter(|gone| !gone.is_empty() || volume.is_some()) else { continue };
        let (op, subject) = (Op::Wipe { content: content.clone() }, Subject::Content(content.name.clone()));
        let step = draft.step(&place.0, subject, op, Cause::Unused, gone);
        // While the volume is there, another plan finds what this one did not come to.
        volume.into_iter().for_each(|volume| draft.wait_for(*volume, &[step]));
    }
}
