//! Which services must be on the same host as which others, because a container joins another's namespace or volumes.

use std::collections::{BTreeMap, BTreeSet};

use crate::project::{Project, Service};

/// What one service hangs on.
#[derive(Debug, Default)]
pub(super) struct Relation<'a> {
    /// Indexes of services of the project, each once.
    pub(super) services: Vec<usize>,
    /// Names of containers that no service of the project makes.
    pub(super) strangers: Vec<&'a str>,
}

/// For each service, in order: `network_mode`, `ipc` and `pid` of `service:` or `container:`, `volumes_from`, and links to a
/// service with which it shares no network. What two services of the same third hang on is on one host too.
pub(super) fn relations(project: &Project) -> Vec<Relation<'_>> {
    let index: BTreeMap<&str, usize> = project.services.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let mut by_container: BTreeMap<&str, usize> = BTreeMap::new();
    for (service, position) in project.services.values().zip(0..) {
        by_container.extend(service.container_name.as_deref().map(|name| (name, position)));
    }
    let mut relations: Vec<Relation> = Vec::with_capacity(index.len());
    for (position, service) in project.services.values().enumerate() {
        let mut services = BTreeSet::new();
        let mut strangers = BTreeSet::new();
        for target in targets(service) {
            let found = match target {
                Target::Service(name) => index.get(name).copied(),
                Target::Container(name) => by_container.get(name).copied().or_else(|| replica_of(project, &index, name)),
            };
            match (found, target) {
                (Some(other), _) => drop(services.insert(other)),
                (None, Target::Container(name)) => drop(strangers.insert(name)),
                // The loader refuses a service that is not there; one left out by its profile binds nothing.
                (None, Target::Service(_)) => {}
            }
        }
        for link in &service.links {
            let name = link.split(':').next().unwrap_or(link);
            if let Some((other, linked)) = index.get(name).zip(project.services.get(name))
                && !shares_a_network(service, linked)
            {
                services.insert(*other);
            }
        }
        services.remove(&position);
        relations.push(Relation { services: services.into_iter().collect(), strangers: strangers.into_iter().collect() });
    }
    join_leaders(&mut relations);
    cut_circles(&mut relations);
    relations
}

#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    Service(&'a str),
    Container(&'a str),
}

fn targets(service: &Service) -> Vec<Target<'_>> {
    let modes = [&service.network_mode, &service.ipc, &service.pid];
    let mut targets = Vec::new();
    for mode in modes.into_iter().filter_map(|mode| mode.as_deref()) {
        match mode.split_once(':') {
            Some(("service", name)) => targets.push(Target::Service(name)),
            Some(("container", name)) => targets.push(Target::Container(name)),
            _ => {}
        }
    }
    for from in &service.volumes_from {
        match from.strip_prefix("container:") {
            Some(rest) => targets.push(Target::Container(rest.split(':').next().unwrap_or(rest))),
            None => targets.push(Target::Service(from.split(':').next().unwrap_or(from))),
        }
    }
    targets
}

/// The service of which `PROJECT-SERVICE-N` is a replica.
fn replica_of(project: &Project, index: &BTreeMap<&str, usize>, container: &str) -> Option<usize> {
    let rest = container.strip_prefix(project.name.as_str())?.strip_prefix(project.separator())?;
    let (service, number) = rest.rsplit_once(project.separator())?;
    number.parse::<u32>().ok()?;
    index.get(service).copied()
}

fn shares_a_network(one: &Service, other: &Service) -> bool {
    one.networks.keys().any(|network| other.networks.contains_key(network))
}

/// Where a service hangs on several, those hang on the first of them, so that one host can have them all.
fn join_leaders(relations: &mut [Relation]) {
    for position in 0..relations.len() {
        let leaders = relations[position].services.clone();
        let Some((first, others)) = leaders.split_first() else { continue };
        for other in others {
            if !reaches(relations, *other, *first) && !reaches(relations, *first, *other) {
                relations[*other].services.push(*first);
            }
        }
    }
}

/// Whether `from` hangs on `to`, by whatever way.
fn reaches(relations: &[Relation], from: usize, to: usize) -> bool {
    let mut open = vec![from];
    let mut seen = BTreeSet::new();
    while let Some(position) = open.pop() {
        if position == to {
            return true;
        }
        if seen.insert(position) {
            open.extend(&relations[position].services);
        }
    }
    false
}

/// A circle cannot be started; the loader refuses it. Should one come here, the edge that closes it is left out.
fn cut_circles(relations: &mut [Relation]) {
    for position in 0..relations.len() {
        let kept: Vec<usize> =
            relations[position].services.iter().copied().filter(|other| !reaches(relations, *other, position)).collect();
        relations[position].services = kept;
    }
}

/// How many services deep each stands behind those that it hangs on.
pub(super) fn levels(relations: &[Relation]) -> Vec<usize> {
    let mut levels = vec![0; relations.len()];
    // Without circles, as many rounds as there are services settle every level.
    for _ in 0..relations.len() {
        let mut is_settled = true;
        for position in 0..relations.len() {
            let level = relations[position].services.iter().map(|other| levels[*other] + 1).max().unwrap_or_default();
            is_settled &= level == levels[position];
            levels[position] = level;
        }
        if is_settled {
            break;
        }
    }
    levels
}
