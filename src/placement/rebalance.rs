//! Which replicas would have to move so that the hosts carry more even loads.
//!
//! Placement leaves what runs where it is, so hosts that return or are added stay empty. Rebalancing lets some replicas choose
//! anew, one after the other, and keeps each choice that makes things more even: a host with many replicas of one service weighs
//! most, one with many replicas of all services weighs too.

use std::collections::{BTreeMap, BTreeSet};

use super::{Placement, Request, Why, place};
use crate::project::{Host, HostName, Project, ServiceName, Slot};
use crate::world::World;

/// Tries for each replica that may move.
const TRIES_PER_MOVE: usize = 8;

/// A replica that would move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub slot: Slot,
    pub from: HostName,
    pub to: HostName,
}

/// Moves, and what they are good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// In order of slot.
    pub moves: Vec<Move>,
    /// The placement after them.
    pub placement: Placement,
    /// Replicas of the fullest and of the emptiest host that takes replicas, of all projects, now and then.
    pub now: (usize, usize),
    pub then: (usize, usize),
}

/// At most `max` moves. Never moved: what owns a host-local volume, is beside another service's replica, or is on each host, and
/// the slots that are to `stay`. The same input gives the same moves.
pub fn rebalance(
    project: &Project,
    hosts: &[Host],
    world: &World,
    request: &Request,
    stay: &BTreeSet<Slot>,
    max: usize,
) -> Rebalance {
    let before = place(project, hosts, world, request);
    let others = others(project, world);
    let mut leave = request.leave.clone();
    let mut placement = before.clone();
    let mut tried: BTreeSet<Slot> = stay.clone();
    let open: Vec<&HostName> =
        hosts.iter().filter(|host| host.takes_new() && world.seen(host.name.as_str()).is_some()).map(|host| &host.name).collect();
    let mut tries = max.saturating_mul(TRIES_PER_MOVE);
    while moved(&before, &placement).len() < max && tries > 0 {
        let Some(slot) = fullest(&placement, &others, &tried) else { break };
        tried.insert(slot.clone());
        tries -= 1;
        if !may_be_better(&slot, &placement, &others, &open) {
            continue;
        }
        let mut leaving = leave.clone();
        leaving.insert(slot.clone());
        let next = place(project, hosts, world, &Request { leave: leaving.clone(), ..request.clone() });
        let is_alone = moved(&placement, &next).iter().all(|other| other.slot == slot);
        let is_whole = next.refused.len() == placement.refused.len();
        if is_alone && is_whole && unevenness(&next, &others) < unevenness(&placement, &others) {
            (leave, placement) = (leaving, next);
        }
    }
    let range = |placement: &Placement| {
        let loads = loads(placement, &others);
        let counts: Vec<usize> = open.iter().map(|host| loads.get(*host).copied().unwrap_or_default()).collect();
        (counts.iter().max().copied().unwrap_or_default(), counts.iter().min().copied().unwrap_or_default())
    };
    Rebalance { moves: moved(&before, &placement), now: range(&before), then: range(&placement), placement }
}

/// Replicas of other projects by host.
fn others(project: &Project, world: &World) -> BTreeMap<HostName, usize> {
    let count = |containers: &[crate::world::Container]| {
        let is_other = |name: &str| name != project.name.as_str();
        let up = containers.iter().filter(|container| container.state.is_up() && container.slot().is_some());
        up.filter(|container| container.labels.project.as_deref().is_some_and(is_other)).count()
    };
    world.seen_hosts().map(|(host, seen)| (host.clone(), count(&seen.containers))).collect()
}

fn loads(placement: &Placement, others: &BTreeMap<HostName, usize>) -> BTreeMap<HostName, usize> {
    let mut loads = others.clone();
    for seat in placement.seats.values() {
        *loads.entry(seat.host.clone()).or_default() += 1;
    }
    loads
}

fn of_services(placement: &Placement) -> BTreeMap<(&ServiceName, &HostName), usize> {
    let mut counts = BTreeMap::new();
    for (slot, seat) in &placement.seats {
        *counts.entry((&slot.service, &seat.host)).or_default() += 1;
    }
    counts
}

/// Squares add up to the least where all are equal. A service's own spread counts before the sum of all.
fn unevenness(placement: &Placement, others: &BTreeMap<HostName, usize>) -> (usize, usize) {
    let squares = |counts: &mut dyn Iterator<Item = usize>| counts.map(|count| count * count).sum::<usize>();
    let of_services = squares(&mut of_services(placement).into_values());
    (of_services, squares(&mut loads(placement, others).into_values()))
}

/// Whether some host would make things more even if this replica alone were there: a placement of the whole project, which tells
/// whether it may be, costs a thousand times as much.
fn may_be_better(slot: &Slot, placement: &Placement, others: &BTreeMap<HostName, usize>, open: &[&HostName]) -> bool {
    let Some(from) = placement.seats.get(slot).map(|seat| &seat.host) else { return false };
    let (of_services, loads) = (of_services(placement), loads(placement, others));
    let weight = |host: &HostName| {
        let of_service = of_services.get(&(&slot.service, host)).copied().unwrap_or_default();
        (of_service, loads.get(host).copied().unwrap_or_default())
    };
    let (of_service, load) = weight(from);
    // It takes one from here and adds one there; squares add up to less where the second is less than the first.
    let is_lighter = |host: &&&HostName| {
        let (there, load_there) = weight(host);
        (there + 1, load_there + 1) < (of_service, load)
    };
    open.iter().any(|host| *host != from && is_lighter(&host))
}

/// The replica to try next: of those that stay of their own choice, the last one of the service that is thickest on its host, on the
/// fullest host.
fn fullest(placement: &Placement, others: &BTreeMap<HostName, usize>, tried: &BTreeSet<Slot>) -> Option<Slot> {
    let (of_services, loads) = (of_services(placement), loads(placement, others));
    let free = placement.seats.iter().filter(|(slot, seat)| seat.why == Why::Stays && !tried.contains(*slot));
    let chosen = free.max_by_key(|(slot, seat)| (of_services[&(&slot.service, &seat.host)], loads[&seat.host], slot.number));
    chosen.map(|(slot, _)| slot.clone())
}

fn moved(before: &Placement, after: &Placement) -> Vec<Move> {
    let moves = after.seats.iter().filter_map(|(slot, seat)| {
        let from = &before.seats.get(slot)?.host;
        (*from != seat.host).then(|| Move { slot: slot.clone(), from: from.clone(), to: seat.host.clone() })
    });
    moves.collect()
}
