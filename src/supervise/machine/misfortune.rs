//! Hosts that answer and yet make or start no container of a slot: a full disk, a broken runtime.
//!
//! Placement knows nothing of that, and would give the slot the same host for ever. After a few failures in a row another host is
//! preferred for a while, if one fits; then the host is as good as any other again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Machine, Notice};
use crate::placement::{Placement, Request, place};
use crate::project::{Availability, Host, HostName, Project, ProjectName, Slot};
use crate::world::World;

/// So many failures in a row are no accident.
const FAILURES_MAX: u32 = 3;
/// For so long another host is preferred.
const SHUNNED_MS: u64 = 300_000;

/// Failures of one slot on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfortune {
    times: u32,
    last_ms: u64,
}

impl Misfortune {
    fn is_shunned(&self, now_ms: u64) -> bool {
        self.times >= FAILURES_MAX && now_ms < self.last_ms.saturating_add(SHUNNED_MS)
    }
}

pub(super) type Misfortunes = BTreeMap<(Slot, HostName), Misfortune>;

impl Machine {
    /// Slots that could not be made or started where they are placed, each with its host and what the host said.
    pub(super) fn failed_on_hosts(&mut self, project: &ProjectName, slots: BTreeMap<Slot, (HostName, String)>, now_ms: u64) {
        let Some(care) = self.cares.get_mut(project) else { return };
        care.misfortunes.retain(|_, misfortune| now_ms < misfortune.last_ms.saturating_add(SHUNNED_MS));
        let mut notices = Vec::new();
        for (slot, (host, why)) in slots {
            let misfortune =
                care.misfortunes.entry((slot.clone(), host.clone())).or_insert(Misfortune { times: 0, last_ms: now_ms });
            misfortune.times += 1;
            misfortune.last_ms = now_ms;
            if misfortune.times == FAILURES_MAX {
                notices.push(Notice::Shunned { project: project.clone(), slot, host, why, for_ms: SHUNNED_MS });
            }
        }
        notices.into_iter().for_each(|notice| self.tell(notice));
    }
}

/// Which slots had no luck on which host.
pub(super) fn shunned(misfortunes: &Misfortunes, now_ms: u64) -> BTreeMap<HostName, BTreeSet<Slot>> {
    let mut shunned: BTreeMap<HostName, BTreeSet<Slot>> = BTreeMap::new();
    for ((slot, host), _) in misfortunes.iter().filter(|(_, misfortune)| misfortune.is_shunned(now_ms)) {
        shunned.entry(host.clone()).or_default().insert(slot.clone());
    }
    shunned
}

/// A placement in which those slots are elsewhere; nothing where they do not fit elsewhere.
pub(super) fn elsewhere(
    project: &Project,
    hosts: &[Host],
    world: &World,
    request: &Request,
    before: &Placement,
    shunned: &BTreeMap<HostName, BTreeSet<Slot>>,
) -> Option<Placement> {
    let is_there = |(host, slots): (&HostName, &BTreeSet<Slot>)| slots.iter().any(|slot| before.host_of(slot) == Some(host));
    if !shunned.iter().any(is_there) {
        return None;
    }
    let shun = |host: &Host| match shunned.contains_key(&host.name) && host.availability == Availability::Active {
        true => Host { availability: Availability::Pause, ..host.clone() },
        false => host.clone(),
    };
    let hosts: Vec<Host> = hosts.iter().map(shun).collect();
    let leave = shunned.values().flatten().cloned().collect();
    let placement = place(project, &hosts, world, &Request { leave, ..request.clone() });
    let is_better = |(host, slots): (&HostName, &BTreeSet<Slot>)| {
        slots.iter().all(|slot| before.host_of(slot) != Some(host) || placement.host_of(slot).is_some_and(|other| other != host))
    };
    (placement.refused.len() <= before.refused.len() && shunned.iter().all(is_better)).then_some(placement)
}
