//! What binds all replicas of several services to one host: a host-local volume, or a network that does not cross hosts.
//!
//! A named volume of the `local` driver is one directory on one host, and docker compose means the same one for every replica
//! of every service that names it. So they all share that host. Replicas of global services are left out: each has the volume
//! of its own host. With bridge networks on several hosts, services that share a network share a host for the same reason.

use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use super::bits::Bits;
use super::claims::{Claims, Holding};
use super::scene::Scene;
use super::site::Site;
use crate::project::{Mount, Project};
use crate::world::{Fabric, MountSeen, Moving, moving};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing<'a> {
    /// By the engine's name.
    Volume(&'a str),
    /// A folder for data on the host itself, by its path.
    Folder(&'a str),
    Network(&'a str),
}

#[derive(Debug, Clone)]
pub(super) struct Anchor<'a> {
    pub(super) thing: Thing<'a>,
    /// Services that are not global and want a replica or more, in order; of volumes, those that may have one somewhere.
    pub(super) users: Vec<usize>,
    pub(super) home: Home,
    /// Of a volume that moves: where what is called so is not whole, or out of date.
    pub(super) stale: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Home {
    /// Not decided: the first replica decides.
    Open,
    /// It exists on several hosts and nothing says which one counts: one of these.
    OneOf(Bits),
    At(usize),
}

impl Anchor<'_> {
    pub(super) fn allows(&self, site: usize) -> bool {
        match &self.home {
            Home::Open => true,
            Home::OneOf(sites) => sites.has(site),
            Home::At(home) => *home == site,
        }
    }

    /// A host to name when another is refused.
    pub(super) fn somewhere(&self) -> Option<usize> {
        match &self.home {
            Home::Open => None,
            Home::OneOf(sites) => sites.iter().next(),
            Home::At(home) => Some(*home),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        matches!(self.home, Home::At(_))
    }
}

/// Finds the project's anchors and where each is, and tells the services.
pub(super) fn settle(scene: &mut Scene, request: &Request, claims: &Claims) {
    let mut anchors: Vec<Anchor> = Vec::new();
    for (thing, users) in things(scene, request, claims) {
        anchors.push(Anchor { thing, users: users.into_iter().collect(), home: Home::Open, stale: None });
    }
    for (index, anchor) in anchors.iter().enumerate() {
        for user in &anchor.users {
            scene.asks[*user].anchors.push(index);
        }
    }
    scene.anchors = anchors;
    if scene.anchors.is_empty() {
        return;
    }
    let existing = existing_volumes(scene);
    let moving = moving(scene.sites.iter().filter_map(|site| Some((&site.host.name, site.seen?))));
    for index in 0..scene.anchors.len() {
        if let Thing::Volume(name) = scene.anchors[index].thing
            && let Some(moving) = moving.get(name)
        {
            scene.anchors[index].home = home_while_moving(scene, moving, existing.get(name));
            scene.anchors[index].stale = scene.sites.iter().position(|site| site.host.name == *moving.stale());
            continue;
        }
        scene.anchors[index].home = match scene.anchors[index].thing {
            Thing::Volume(name) => home_of_volume(scene, claims, name, &scene.anchors[index].users, existing.get(name)),
            Thing::Folder(path) => home_of_folder(scene, claims, path, &scene.anchors[index].users),
            Thing::Network(_) => Home::Open,
        };
    }
    propagate(scene);
    for index in 0..scene.anchors.len() {
        if let (Thing::Network(_), Home::Open) = (scene.anchors[index].thing, &scene.anchors[index].home) {
            let users = &scene.anchors[index].users;
            scene.anchors[index].home = busiest(scene, claims, users, |_| true).map_or(Home::Open, Home::At);
        }
    }
    propagate(scene);
}

/// Every anchor with the services that it binds.
fn things<'a>(scene: &Scene<'a>, request: &Request, claims: &Claims) -> BTreeMap<Thing<'a>, BTreeSet<usize>> {
    let project: &'a Project = scene.project;
    let mut things: BTreeMap<Thing<'a>, BTreeSet<usize>> = BTreeMap::new();
    // Who is on no host, since no host will do, pulls no volume anywhere.
    let is_somewhere = |index: usize| {
        let holds_data = |mount: &Mount| {
            let source = mount.source.as_deref();
            source.is_some_and(|source| mount.kind == "volume" || is_data_folder(project, mount, source))
        };
        let has_volume = || scene.asks[index].service.volumes.iter().any(holds_data);
        let is_held = |site: &Site| site.seen.is_none() && (!site.is_lost || has_volume());
        let is_known = || claims.known.iter().any(|(other, _, site)| *other == index && is_held(&scene.sites[*site]));
        scene.asks[index].meets.count() > 0 || !claims.of(index).is_empty() || is_known()
    };
    for (index, ask) in scene.asks.iter().enumerate().filter(|(_, ask)| ask.replicas > 0) {
        let service = ask.service;
        let sources = service.volumes.iter().filter(|mount| mount.kind == "volume").filter_map(|mount| mount.source.as_deref());
        let sources = sources.filter(|_| is_somewhere(index));
        for volume in sources.filter_map(|key| project.volumes.get(key)) {
            if !volume.external && volume.is_host_local() {
                things.entry(Thing::Volume(&volume.name)).or_default().insert(index);
            }
        }
        for mount in service.volumes.iter().filter(|_| is_somewhere(index)) {
            if let Some(source) = mount.source.as_deref().filter(|source| is_data_folder(project, mount, source)) {
                things.entry(Thing::Folder(source)).or_default().insert(index);
            }
        }
        // Who is on no host now may be on one when a host joins; the others are not to move then.
        if request.fabric == Fabric::Bridge && scene.sites.iter().filter(|site| site.is_listed).count() > 1 {
            for network in service.networks.keys().filter_map(|key| project.networks.get(key)) {
                if !matches!(network.driver.as_deref(), Some("macvlan" | "ipvlan")) {
                    things.entry(Thing::Network(&network.name)).or_default().insert(index);
                }
            }
        }
    }
    // Replicas of one service do not need each other over the network.
    things.retain(|thing, users| !matches!(thing, Thing::Network(_)) || users.len() > 1);
    things
}

/// Whether a service writes there, on whichever host it is.
pub(super) fn is_data_folder(project: &Project, mount: &Mount, source: &str) -> bool {
    mount.kind == "bind" && !mount.read_only && project.data_folders.contains(source)
}

/// The folder of the project that a volume, by the engine's name, stands for on hosts that are other machines.
pub(super) fn folder_of<'a>(project: &'a Project, name: &str) -> Option<&'a str> {
    let volume = project.volumes.values().find(|volume| volume.name == name)?;
    Some(volume.folder.as_ref()?.path.as_str())
}

/// Whether a container's mount is this volume, or the folder that it stands for.
pub(super) fn mounts_volume(name: &str, folder: Option<&str>, mount: &MountSeen) -> bool {
    match mount.kind.as_str() {
        "volume" => mount.name == name,
        "bind" => folder.is_some_and(|path| mount.source.trim_end_matches('/') == path),
        _ => false,
    }
}

/// Where most containers of its users have it mounted; else where the last record says that they are. The host of the first one to
/// write there keeps them all, since no other host has what was written.
fn home_of_folder(scene: &Scene, claims: &Claims, path: &str, users: &[usize]) -> Home {
    let mounts = |holding: &Holding| {
        holding.container.mounts.iter().any(|mount| mount.kind == "bind" && mount.source.trim_end_matches('/') == path)
    };
    if let Some(site) = busiest(scene, claims, users, mounts) {
        return Home::At(site);
    }
    let mut known: BTreeMap<usize, u32> = BTreeMap::new();
    for (user, number, site) in claims.known.iter().filter(|(user, ..)| users.contains(user)) {
        if *number <= scene.asks[*user].replicas {
            *known.entry(*site).or_default() += 1;
        }
    }
    most(&known).map_or(Home::Open, Home::At)
}

/// Volumes of anchors that exist, with their hosts.
fn existing_volumes<'a>(scene: &Scene<'a>) -> BTreeMap<&'a str, Bits> {
    let mut existing: BTreeMap<&str, Bits> = BTreeMap::new();
    for anchor in &scene.anchors {
        if let Thing::Volume(name) = anchor.thing {
            existing.insert(name, Bits::none(scene.sites.len()));
        }
    }
    for (index, site) in scene.sites.iter().enumerate() {
        for volume in site.seen.into_iter().flat_map(|seen| &seen.volumes) {
            if let Some(sites) = existing.get_mut(volume.name.as_str()) {
                sites.set(index);
            }
        }
    }
    existing
}

/// Where the marks say that it lives; nowhere if that host is not in the inventory, or answers and does not have it.
fn home_while_moving(scene: &Scene, moving: &Moving, existing: Option<&Bits>) -> Home {
    let home = scene.sites.iter().position(|site| site.host.name == *moving.home());
    let has = |site: &usize| scene.sites[*site].seen.is_none() || existing.is_some_and(|sites| sites.has(*site));
    home.filter(has).map_or_else(|| Home::OneOf(Bits::none(scene.sites.len())), Home::At)
}

/// In this order: where most containers of its users have it mounted; where the last record says that its users are, if that
/// host is unreachable or has the volume; the only host that has it; of several, the one with most of its users' containers;
/// where most of its users' containers are that may stay; else anywhere.
fn home_of_volume(scene: &Scene, claims: &Claims, name: &str, users: &[usize], existing: Option<&Bits>) -> Home {
    let folder = folder_of(scene.project, name);
    let mounts = |holding: &Holding| holding.container.mounts.iter().any(|mount| mounts_volume(name, folder, mount));
    if let Some(site) = busiest(scene, claims, users, mounts) {
        return Home::At(site);
    }
    let has = |site: usize| existing.is_some_and(|sites| sites.has(site));
    let mut known: BTreeMap<usize, u32> = BTreeMap::new();
    for (user, number, site) in claims.known.iter().filter(|(user, ..)| users.contains(user)) {
        let is_seen = claims.of(*user).iter().any(|holding| holding.number == *number);
        if is_seen || *number > scene.asks[*user].replicas {
            continue;
        }
        if scene.sites[*site].seen.is_none() || has(*site) {
            *known.entry(*site).or_default() += 1;
        }
    }
    if let Some(site) = most(&known) {
        return Home::At(site);
    }
    let may_stay = |holding: &Holding| {
        let (ask, site) = (&scene.asks[holding.service], &scene.sites[holding.site]);
        ask.meets.has(holding.site) && super::filters::availability::of(site, super::filters::Stance::Keep).is_none()
    };
    match existing.map(|sites| (sites.count(), sites)) {
        Some((1, sites)) => sites.iter().next().map_or(Home::Open, Home::At),
        Some((2.., sites)) => {
            let site = busiest(scene, claims, users, |holding| sites.has(holding.site));
            site.map_or_else(|| Home::OneOf(sites.clone()), Home::At)
        }
        _ => busiest(scene, claims, users, may_stay).map_or(Home::Open, Home::At),
    }
}

/// The host with most of the users' containers of which the question is true; of each slot the best such container counts.
fn busiest(scene: &Scene, claims: &Claims, users: &[usize], counts: impl Fn(&Holding) -> bool) -> Option<usize> {
    let mut sites: BTreeMap<usize, u32> = BTreeMap::new();
    for user in users {
        let mut last = None;
        for holding in claims.of(*user).iter().filter(|holding| holding.number <= scene.asks[*user].replicas) {
            if last != Some(holding.number) && counts(holding) {
                last = Some(holding.number);
                *sites.entry(holding.site).or_default() += 1;
            }
        }
    }
    most(&sites)
}

/// The site with the highest count, the first of equals.
fn most(counts: &BTreeMap<usize, u32>) -> Option<usize> {
    counts.iter().max_by_key(|(site, count)| (**count, std::cmp::Reverse(**site))).map(|(site, _)| *site)
}

/// A service whose one anchor has a home takes its other anchors there.
pub(super) fn propagate(scene: &mut Scene) {
    loop {
        let mut settled = Vec::new();
        for ask in &scene.asks {
            let home = ask.anchors.iter().find_map(|anchor| match scene.anchors[*anchor].home {
                Home::At(site) => Some(site),
                Home::Open | Home::OneOf(_) => None,
            });
            if let Some(site) = home {
                let open = ask.anchors.iter().filter(|anchor| !scene.anchors[**anchor].is_settled());
                settled.extend(open.filter(|anchor| scene.anchors[**anchor].allows(site)).map(|anchor| (*anchor, site)));
            }
        }
        if settled.is_empty() {
            return;
        }
        for (anchor, site) in settled {
            if !scene.anchors[anchor].is_settled() {
                scene.anchors[anchor].home = Home::At(site);
            }
        }
    }
}

/// The services that are bound to one host with this one through anchors whose home is not decided, itself among them.
pub(super) fn bundle(scene: &Scene, service: usize) -> Vec<usize> {
    let mut members = BTreeSet::new();
    let mut open = vec![service];
    while let Some(member) = open.pop() {
        if members.insert(member) {
            let anchors = scene.anchors_of(member).filter(|anchor| !anchor.is_settled());
            open.extend(anchors.flat_map(|anchor| anchor.users.iter().copied()));
        }
    }
    members.into_iter().collect()
}
