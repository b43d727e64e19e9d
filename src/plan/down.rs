//! The goal `Down`: containers, then networks, and with consent volumes and images. Dependents leave first.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::contents;
use super::draft::Draft;
use super::order;
use super::pre_start::is_hook;
use super::relocate::marks_of;
use super::teardown::Leaving;
use super::{Cause, Inputs, Note, Op, Plan, Rmi, Selection, StepId, Subject, networks, sealed};
use crate::project::{HostName, Service, Slot};
use crate::world::{Container, keys};

/// What `down` was asked for.
pub(super) struct Downing<'x> {
    pub(super) services: &'x Selection,
    pub(super) volumes: bool,
    pub(super) rmi: Option<Rmi>,
    pub(super) remove_orphans: bool,
    pub(super) timeout_secs: Option<u64>,
}

pub(super) fn plan(goal: &Downing<'_>, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let mut down = Down { compose: &compose, goal, draft: Draft::default(), removed: BTreeMap::new() };
    for (host, why) in compose.world.unreachable_hosts() {
        down.draft.note(Note::HostUnreachable { host: host.clone(), why: why.to_owned() });
    }
    down.containers();
    down.networks();
    if goal.volumes {
        down.volumes();
    }
    if *goal.services == Selection::All {
        contents::leave(&compose, &mut down.draft, &down.removed);
    }
    down.images();
    sealed::arrange(&compose, &mut down.draft);
    down.draft.finish(&compose.project.name)
}

struct Down<'x, 'a> {
    compose: &'x Compose<'a>,
    goal: &'x Downing<'x>,
    draft: Draft,
    /// The removal of each container that goes, by host and name.
    removed: BTreeMap<(&'a HostName, &'a str), StepId>,
}

impl<'a> Down<'_, 'a> {
    fn containers(&mut self) {
        let compose = self.compose;
        let services = order::services(compose.project, self.goal.services, false);
        let needed_by = order::needed_by(&services);
        // Per service what those that it needs wait for before they leave.
        let mut gates: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
        for (name, service) in services.iter().rev() {
            let dependents = needed_by.get(name.as_str()).into_iter().flatten();
            let after: Vec<StepId> = dependents.filter_map(|name| gates.get(name.as_str())).flatten().copied().collect();
            let mut ends = Vec::new();
            for filler in compose.view.of(name.as_str()) {
                let slot = Slot::new((*name).clone(), filler.number).map(Subject::Slot);
                ends.push(self.leave(filler.host, filler.container, slot, Some(service), Cause::Requested, after.clone()));
            }
            // A service without containers hands on what it would have waited for.
            let ends = if ends.is_empty() { after } else { self.draft.gate(name, ends) };
            gates.insert(name.as_str(), ends);
        }
        self.oneoffs_and_orphans();
    }

    fn oneoffs_and_orphans(&mut self) {
        let compose = self.compose;
        let is_chosen =
            |container: &Container| container.labels.service.as_deref().is_some_and(|service| self.goal.services.has(service));
        let oneoffs: Vec<_> = compose.view.oneoffs.iter().filter(|(_, container)| is_chosen(container)).copied().collect();
        for (host, container) in oneoffs {
            // As docker compose (2.40.3) does: somebody may wait for what it does.
            if self.goal.remove_orphans || is_hook(container) {
                self.leave(host, container, None, None, Cause::Requested, Vec::new());
            } else {
                let name = &container.name;
                let text = format!("one-off container `{name}` on {host} is left: --remove-orphans takes it away too");
                self.draft.note(Note::Remark { text });
            }
        }
        let unknown = compose.view.services().filter(|(service, _)| !compose.knows_service(service));
        let orphans = unknown.flat_map(|(_, fillers)| fillers.iter().map(|filler| (filler.host, filler.container)));
        let orphans: Vec<_> = orphans.chain(compose.view.strays.iter().copied()).collect();
        for (host, container) in orphans {
            if self.goal.remove_orphans {
                self.leave(host, container, None, None, Cause::Orphan, Vec::new());
            } else {
                let service = container.labels.service.clone().unwrap_or_default();
                self.draft.note(Note::Orphan { host: host.clone(), container: container.name.clone(), service });
            }
        }
    }

    fn leave(
        &mut self,
        host: &'a HostName,
        container: &'a Container,
        slot: Option<Subject>,
        service: Option<&'a Service>,
        cause: Cause,
        after: Vec<StepId>,
    ) -> StepId {
        let subject = slot.unwrap_or_else(|| Subject::Container(container.name.clone()));
        let volumes = self.goal.volumes;
        let leaving =
            Leaving { host, subject, container, cause, timeout_secs: self.goal.timeout_secs, quiet_ms: None, service, volumes };
        let (_, removed) = leaving.leave(&mut self.draft, after);
        self.removed.insert((host, container.name.as_str()), removed);
        removed
    }

    /// Networks with the project's label go once nothing is on them; one that something else uses stays, with the reason.
    fn networks(&mut self) {
        let compose = self.compose;
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for (host, seen) in compose.world.seen_hosts() {
            for network in &seen.networks {
                let is_ours = network.labels.get(keys::PROJECT).map(String::as_str) == Some(compose.project.name.as_str());
                let crosses = network.scope == "swarm";
                if !is_ours || (crosses && done.contains(network.name.as_str())) {
                    continue;
                }
                let (users, after) = self.users(&network.name, (!crosses).then_some(host));
                let away = crosses.then(|| compose.world.unreachable_hosts().next()).flatten();
                if let Some(user) = users.first() {
                    self.keep(&network.name, &format!("{user} uses it"));
                } else if let Some((away, _)) = away {
                    self.keep(&network.name, &format!("{away} does not answer and may use it"));
                } else {
                    let remover = if crosses { self.manager(&network.name).unwrap_or(host) } else { host };
                    let cause = if after.is_empty() { Cause::Unused } else { Cause::Requested };
                    let removal = networks::remove(compose, &mut self.draft, remover, network, &cause, after);
                    if crosses {
                        // A swarm may count a container of a host that crashed as on it for long after; the next `down` or `up` finds it.
                        self.draft.tolerate(removal.step);
                    }
                }
                if crosses {
                    done.insert(network.name.as_str());
                }
            }
        }
    }

    /// A manager that answers: only those can remove what crosses hosts.
    fn manager(&self, network: &str) -> Option<&'a HostName> {
        let sightings = networks::sightings(self.compose, network);
        sightings.into_keys().find(|host| {
            let swarm = self.compose.seen(host).map(|seen| &seen.swarm);
            matches!(swarm, Some(crate::world::Swarm::Active(member)) if member.is_manager)
        })
    }

    /// Containers on a network that stay, and the removals of those that go; on one host or on all.
    fn users(&self, network: &str, on: Option<&HostName>) -> (Vec<&'a str>, Vec<StepId>) {
        let mut stay = Vec::new();
        let mut removals = Vec::new();
        for (host, seen) in self.compose.world.seen_hosts().filter(|(host, _)| on.is_none_or(|on| on == *host)) {
            for container in seen.containers.iter().filter(|container| container.networks.contains_key(network)) {
                match self.removed.get(&(host, container.name.as_str())) {
                    Some(removal) => removals.push(*removal),
                    None if container.state.is_up() => stay.push(container.name.as_str()),
                    None => {}
                }
            }
        }
        (stay, removals)
    }

    fn keep(&mut self, what: &str, why: &str) {
        self.draft.note(Note::Remark { text: format!("network `{what}` is kept: {why}") });
    }

    /// The project's own volumes on every host that answers, once the containers that mount them are gone.
    fn volumes(&mut self) {
        let compose = self.compose;
        if *self.goal.services != Selection::All {
            return;
        }
        let names: BTreeSet<&str> =
            compose.project.volumes.values().filter(|volume| !volume.external).map(|volume| volume.name.as_str()).collect();
        for (host, marks) in marks_of(compose.world, &names) {
            for name in marks {
                let op = Op::RemoveVolume { name: name.to_owned() };
                self.draft.step(host, Subject::Volume(name.to_owned()), op, Cause::Requested, Vec::new());
            }
        }
        for (host, seen) in compose.world.seen_hosts() {
            for volume in seen.volumes.iter().filter(|volume| names.contains(volume.name.as_str())) {
                let mounting = |container: &&Container| {
                    container.mounts.iter().any(|mount| mount.name == volume.name) && !contents::is_carrier(container)
                };
                let users = seen.containers.iter().filter(mounting);
                let (gone, stay): (Vec<_>, Vec<_>) =
                    users.map(|user| (user, self.removed.get(&(host, user.name.as_str())))).partition(|(_, step)| step.is_some());
                if let Some((user, _)) = stay.first() {
                    let text = format!("volume `{}` on {host} is kept: {} uses it", volume.name, user.name);
                    self.draft.note(Note::Remark { text });
                    continue;
                }
                let after = gone.into_iter().filter_map(|(_, step)| step.copied()).collect();
                contents::remove(&mut self.draft, (host, seen), volume, after, &Cause::Requested);
            }
        }
    }

    /// `--rmi`: the images of the services on every host that has them. One that something else uses stays; that is a warning.
    fn images(&mut self) {
        let Some(rmi) = self.goal.rmi else { return };
        let compose = self.compose;
        let services = compose.project.services.iter().filter(|(name, _)| self.goal.services.has(name.as_str()));
        let chosen = services.filter(|(_, service)| rmi == Rmi::All || service.image.is_none());
        let images: BTreeSet<String> = chosen.map(|(name, service)| service.image_name(compose.project, name.as_str())).collect();
        for (host, seen) in compose.world.seen_hosts() {
            for image in images.iter().filter(|image| seen.images.contains_key(*image)) {
                let users = seen.containers.iter().filter(|container| container.image == *image);
                let after = users.filter_map(|user| self.removed.get(&(host, user.name.as_str())).copied()).collect();
                let op = Op::RemoveImage { image: image.clone() };
                let step = self.draft.step(host, Subject::Image(image.clone()), op, Cause::Requested, after);
                self.draft.tolerate(step);
            }
        }
    }
}
