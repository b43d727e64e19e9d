//! Images that no registry gives: which host's is the one that is meant, and how the others come by it.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::draft::Draft;
use super::{Cause, Op, StepId, Subject};
use crate::project::{Host, HostName};
use crate::world::{ImageSeen, SeenHost, World};

/// An image as it is to be on every host that needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Meant<'a> {
    pub(super) host: &'a HostName,
    pub(super) image: &'a ImageSeen,
}

/// The images of the project that come from a host and not from a registry: by reference, where some host has it. Images that are
/// built count as such; any other that a registry has given to no host that has it.
pub(super) fn meant<'a>(compose: &Compose<'a>) -> BTreeMap<String, Meant<'a>> {
    let mut found = BTreeMap::new();
    let order = builders(compose.inventory, compose.world);
    let built: BTreeSet<String> = compose
        .project
        .services
        .iter()
        .chain(&compose.project.bases)
        .filter(|(_, service)| service.build.is_some())
        .map(|(name, service)| service.image_name(compose.project, name.as_str()))
        .collect();
    for image in compose.project.images() {
        let holders = order.iter().filter_map(|host| Some(Meant { host, image: compose.seen(host)?.images.get(&image)? }));
        let holders: Vec<Meant<'a>> = holders.collect();
        let Some(first) = holders.first().copied() else { continue };
        if built.contains(&image) || comes_from_hosts(compose, &holders) {
            found.insert(image, first);
        }
    }
    found
}

/// Whether no registry has given the image to any of these hosts, as far as that can be told. containerd's image store gives every image a
/// digest, also one that was built or loaded; where its hosts have the same one, what a host lacks is taken from them, which is never
/// wrong.
fn comes_from_hosts(compose: &Compose<'_>, holders: &[Meant<'_>]) -> bool {
    let has_none = |holder: &Meant<'_>| holder.image.digests.is_empty();
    let tells_nothing = |holder: &Meant<'_>| {
        let is_own = |digest: &String| digest.split_once('@').is_some_and(|(_, digest)| digest == holder.image.id);
        let has_containerd = compose.seen(holder.host).is_some_and(|seen| !takes_parts(&seen.engine.storage_driver));
        has_containerd && holder.image.digests.iter().all(is_own)
    };
    let are_same = || holders.windows(2).all(|pair| pair[0].image.is_same(pair[1].image));
    let is_told_of_none = |holder: &Meant<'_>| has_none(holder) || tells_nothing(holder);
    holders.iter().all(has_none) || (holders.iter().all(is_told_of_none) && are_same())
}

/// Hosts that answered, in the order in which they are asked to build: this machine's own engine, one with the label `builder`,
/// any. What the first of them has is what the others get.
pub(super) fn builders<'a>(hosts: &'a [Host], world: &'a World) -> Vec<&'a HostName> {
    let seen: BTreeSet<&HostName> = world.seen_hosts().map(|(name, _)| name).collect();
    let mut order: Vec<&'a Host> = hosts.iter().filter(|host| seen.contains(&host.name)).collect();
    order.sort_by_key(|host| (!host.is_local(), !host.labels.contains_key("builder"), &host.name));
    order.into_iter().map(|host| &host.name).collect()
}

/// Whether a host has the image, and not an older one of the name.
pub(super) fn is_there(compose: &Compose<'_>, seen: &SeenHost, image: &str) -> bool {
    let Some(has) = seen.images.get(image) else { return false };
    compose.meant(image).is_none_or(|meant| has.is_same(meant.image))
}

/// Id of the image that a new container on the host will have, where it is known already.
pub(super) fn id_on<'a>(compose: &Compose<'a>, image: &str, host: &HostName) -> Option<&'a str> {
    let seen = compose.seen(host)?;
    match compose.meant(image) {
        Some(meant) if !is_there(compose, seen, image) => Some(meant.image.id.as_str()),
        _ => seen.images.get(image).map(|image| image.id.as_str()),
    }
}

/// The shipments of a plan.
#[derive(Debug, Default)]
pub(super) struct Shipments<'a> {
    steps: BTreeMap<(String, &'a HostName), StepId>,
}

impl<'a> Shipments<'a> {
    /// Makes the step that brings an image to a host; nothing where it comes from a registry.
    pub(super) fn require(
        &mut self,
        compose: &Compose<'a>,
        draft: &mut Draft,
        image: &str,
        host: &'a HostName,
    ) -> Option<StepId> {
        let meant = compose.meant(image)?;
        let key = (image.to_owned(), host);
        if let Some(step) = self.steps.get(&key) {
            return Some(*step);
        }
        let is_older = compose.seen(host).is_some_and(|seen| seen.images.contains_key(image));
        let step = step(compose, draft, image, meant, host, if is_older { Cause::ImageChanged } else { Cause::Missing });
        self.steps.insert(key, step);
        Some(step)
    }

    /// What would be on one host alone goes to a second one, so that a lost host's replicas find it.
    pub(super) fn copy(&mut self, compose: &Compose<'a>, draft: &mut Draft, images: &BTreeSet<&str>) {
        for (image, meant) in images.iter().filter_map(|image| Some((*image, compose.meant(image)?))) {
            let others: Vec<_> = compose.world.seen_hosts().filter(|(host, _)| *host != meant.host).collect();
            let has = |(host, seen): &(&'a HostName, &'a SeenHost)| {
                is_there(compose, seen, image) || self.steps.contains_key(&(image.to_owned(), *host))
            };
            if others.iter().any(has) {
                continue;
            }
            let next = others.into_iter().min_by_key(|(host, seen)| {
                (!compose.is_active(host), compose.is_local(host), seen.images.contains_key(image), *host)
            });
            if let Some((host, _)) = next {
                let step = step(compose, draft, image, meant, host, Cause::Spare);
                draft.tolerate(step);
            }
        }
    }

    pub(super) fn before(&self, image: &str, host: &'a HostName) -> Option<StepId> {
        if self.steps.is_empty() {
            return None;
        }
        self.steps.get(&(image.to_owned(), host)).copied()
    }
}

fn step(compose: &Compose<'_>, draft: &mut Draft, image: &str, meant: Meant<'_>, host: &HostName, cause: Cause) -> StepId {
    let takes_parts = |host: &HostName| compose.seen(host).is_some_and(|seen| takes_parts(&seen.engine.storage_driver));
    let whole = !(takes_parts(meant.host) && takes_parts(host));
    let op = Op::Ship { image: image.to_owned(), from: meant.host.clone(), bytes: meant.image.size_bytes, whole };
    draft.step(host, Subject::Image(image.to_owned()), op, cause, Vec::new())
}

/// Whether an engine with this storage driver loads an image without the layers that it has: those of moby's own store do, and
/// containerd's snapshotters (`overlayfs`, `native` …) do not.
pub fn takes_parts(storage_driver: &str) -> bool {
    matches!(storage_driver, "overlay2" | "vfs" | "btrfs" | "zfs" | "fuse-overlayfs" | "aufs" | "devicemapper" | "overlay")
}
