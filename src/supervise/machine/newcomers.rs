//! Hosts that a network has yet to come to, just after another host fell silent.
//!
//! A host joins an overlay network with the first container that it puts on it, and greets all who are on that network already. One of
//! them that is gone, which the others have not noticed yet, is waited for: 10 s in which nothing starts there. So what needs a
//! network that its host lacks rests for the moment until they have noticed.

use std::collections::BTreeSet;

use super::{Care, Machine, Phase, Watch};
use crate::placement::Placement;
use crate::project::{HostName, Project, ProjectName, Service, Slot};
use crate::world::{Fabric, World};

/// The hosts on an overlay network miss one after 5 to 8 s (seven losses among five hosts with 20.10).
const MISSED_AFTER_MS: u64 = 9_000;

impl Machine {
    /// Until when the hosts may not have noticed that one of them is gone; nothing where that is past, or no network crosses hosts.
    pub(super) fn unnoticed_until_ms(&self, now_ms: u64) -> Option<u64> {
        let missed_ms = |watch: &Watch| watch.heard_ms.saturating_add(MISSED_AFTER_MS);
        let silent = self.watches.values().filter(|watch| watch.is_silent()).map(missed_ms);
        silent.max().filter(|until_ms| *until_ms > now_ms && matches!(self.fabric, Fabric::Overlay { .. }))
    }

    /// Interrupts plans that were begun without slots that are due by now. Such a plan may last: an engine whose manager is lost takes
    /// up to 20 s to put a container on a network.
    pub(super) fn interrupt_for_newcomers(&mut self, now_ms: u64) {
        let is_due = |care: &Care| {
            let is_applying = matches!(care.phase, Phase::Applying { .. });
            is_applying && care.newcomers_due_ms.is_some_and(|due_ms| due_ms <= now_ms)
        };
        let due = self.cares.iter().filter(|(_, care)| is_due(care));
        let due: Vec<ProjectName> = due.map(|(project, _)| project.clone()).collect();
        due.iter().for_each(|project| self.interrupt(project));
    }
}

/// Slots that are to start on a host that none of their networks has come to yet.
pub(super) fn newcomers(project: &Project, placement: &Placement, world: &World) -> BTreeSet<Slot> {
    let seats = placement.seats.iter().map(|(slot, seat)| (slot, &seat.host));
    let starts = seats.filter(|(slot, host)| !runs(world, project, slot, host));
    let lacks = |slot: &Slot, host: &HostName| {
        let service = project.services.get(&slot.service);
        service.is_some_and(|service| !has_networks(world, project, service, host))
    };
    starts.filter(|(slot, host)| lacks(slot, host)).map(|(slot, _)| slot.clone()).collect()
}

fn runs(world: &World, project: &Project, slot: &Slot, host: &HostName) -> bool {
    let mut containers = world.containers_of(&project.name).filter(|(on, _)| *on == host);
    containers.any(|(_, container)| container.state.is_up() && container.slot().as_ref() == Some(slot))
}

/// Whether containers of the host are on each of the service's networks.
fn has_networks(world: &World, project: &Project, service: &Service, host: &HostName) -> bool {
    let containers = world.seen(host.as_str()).into_iter().flat_map(|seen| &seen.containers);
    let here: BTreeSet<&str> = containers
        .filter(|container| container.state.is_up())
        .flat_map(|container| container.networks.keys().map(String::as_str))
        .collect();
    let mut needed = service.networks.keys().filter_map(|key| project.networks.get(key));
    needed.all(|network| here.contains(network.name.as_str()))
}
