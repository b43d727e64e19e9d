//! Who stays where it is.
//!
//! A replica stays unless a rule forbids its host. Of several containers for one slot the best counts that may stay: of the
//! newest revision, up, healthy, the youngest. On a host that does not answer, the last record says which slots are there; they
//! are held. And data holds: where the host itself is what speaks against a replica (drained, a constraint …), but a volume of
//! the replica lives there, it is held too, with the reason, for it cannot have its data elsewhere.

use super::anchor::{Thing, folder_of, mounts_volume};
use super::claims::Holding;
use super::filters::ports::PortAsk;
use super::filters::{self, Query, Stance};
use super::place::{Draft, SeatDraft, Stuck, WhyDraft};
use super::{Misfit, filters::availability};
use crate::project::{Project, Slot};
use crate::world::MountSeen;

/// What can be done about data on a host that the inventory does not list.
const WHAT_HELPS: &str = "list the host again, or give up what it has with `mcompose hosts rm --force`";

/// Why a replica is held whose host may be back any moment.
pub(super) const AWAY: &str = "its host does not answer";

impl<'a> Draft<'a> {
    /// Goes through all services, those that others must be beside first; and before all, through those replicas whose containers
    /// hold what they need already: who wants another port or more memory than before comes after them.
    pub(super) fn keep_all(&mut self, stuck: &Stuck) {
        let mut order: Vec<usize> = (0..self.scene.asks.len()).collect();
        order.sort_by_key(|service| (self.scene.asks[*service].level, *service));
        // Until its turn, a service may come to those that must be beside it.
        self.scene.undecided.fill(1);
        for service in &order {
            self.keep_settled(*service, stuck);
        }
        for service in order {
            if self.scene.asks[service].mode.is_global() {
                self.keep_global(service, stuck);
            } else {
                self.keep_replicated(service, stuck);
            }
        }
    }

    /// Seats what may stay and needs nothing that its container does not hold.
    fn keep_settled(&mut self, service: usize, stuck: &Stuck) {
        let is_global = self.scene.asks[service].mode.is_global();
        let last = if is_global { u32::MAX } else { self.scene.asks[service].replicas };
        let holdings: Vec<Holding<'a>> = self.claims.of(service).to_vec();
        let known = self.known_unreachable(service);
        for group in holdings.chunk_by(|a, b| a.number == b.number) {
            let holding = group[0];
            if self.is_elsewhere(group, &known) {
                continue;
            }
            let query = Query { service, number: holding.number, site: holding.site, stance: Stance::Keep };
            let is_open = holding.number <= last && !stuck.contains_key(&(service, holding.number));
            let is_second = is_global && self.scene.seated_at(service, holding.site) > 0;
            if is_open
                && !is_second
                && !self.leaves(service, holding.number)
                && !holding.is_done(&self.scene)
                && self.is_settled(&holding)
                && self.misfit_of_keeping(query).is_none()
            {
                self.seat(query, WhyDraft::Stays);
            }
        }
    }

    /// Whether the replica is asked to choose another host.
    fn leaves(&self, service: usize, number: u32) -> bool {
        let leave = &self.request.leave;
        !leave.is_empty() && Slot::new(self.scene.asks[service].name.clone(), number).is_some_and(|slot| leave.contains(&slot))
    }

    /// The first of the volumes and folders that its data is in, where it is.
    fn data_of(&self, holding: &Holding) -> Option<Thing<'a>> {
        let mounts = &holding.container.mounts;
        let anchors = self.scene.anchors_of(holding.service).filter(|anchor| anchor.stale != Some(holding.site));
        let mut things = anchors.map(|anchor| anchor.thing);
        things.find(|thing| mounts.iter().any(|mount| holds(self.scene.project, *thing, mount)))
    }

    fn is_settled(&self, holding: &Holding) -> bool {
        let ask = &self.scene.asks[holding.service];
        let reserved = holding.container.labels.reservation.as_ref();
        let has = |port: &PortAsk| {
            let mut seen = holding.container.ports.iter().filter(|seen| seen.protocol == port.protocol);
            seen.any(|seen| seen.host_port.is_some_and(|number| (port.first..=port.last).contains(&number)))
        };
        reserved.map_or(ask.reserves_nothing, |reserved| *reserved == ask.needs) && ask.ports.iter().all(has)
    }

    fn keep_replicated(&mut self, service: usize, stuck: &Stuck) {
        let replicas = self.scene.asks[service].replicas;
        let holdings: Vec<Holding<'a>> = self.claims.of(service).to_vec();
        let known = self.known_unreachable(service);
        let settled: Vec<u32> = self.seats[service].iter().map(|seat| seat.number).collect();
        let mut open = Vec::new();
        let mut rest = holdings.as_slice();
        for number in 1..=replicas {
            let (group, after) = rest.split_at(rest.partition_point(|holding| holding.number <= number));
            rest = after;
            if settled.binary_search(&number).is_ok() {
                continue;
            }
            if let Some(refusal) = stuck.get(&(service, number)) {
                self.refused.push((service, number, refusal.clone()));
                continue;
            }
            let is_away = group.is_empty() || self.is_elsewhere(group, &known);
            let stays = !is_away && self.keep_slot(group);
            let is_held = is_away && self.hold_known(service, number, &known);
            if !stays && !is_held {
                open.push(number);
            }
        }
        self.set_open(service, open);
    }

    /// Seats the slot at the first of its containers that may stay, else at the first with data there.
    fn keep_slot(&mut self, group: &[Holding<'a>]) -> bool {
        let mut held = None;
        for holding in group {
            let query = Query { service: holding.service, number: holding.number, site: holding.site, stance: Stance::Keep };
            if holding.is_done(&self.scene) {
                // Its work is done; it needs nothing of its host any more.
                let draft = SeatDraft { number: query.number, site: query.site, why: WhyDraft::Done };
                self.seats[query.service].push(draft);
                return true;
            }
            match self.misfit_of_keeping(query) {
                None if self.leaves(query.service, query.number) && self.data_of(holding).is_none() => return false,
                None => {
                    self.seat(query, WhyDraft::Stays);
                    return true;
                }
                Some(misfit) => held = held.or_else(|| Some((query, self.data_hold(holding, &misfit)?))),
            }
        }
        match held {
            Some((query, because)) => {
                self.seat(query, WhyDraft::Held(because));
                true
            }
            None => false,
        }
    }

    pub(super) fn misfit_of_keeping(&self, query: Query) -> Option<Misfit> {
        let is_met = self.scene.asks[query.service].meets.has(query.site);
        let is_available = availability::of(&self.scene.sites[query.site], Stance::Keep).is_none();
        if is_met && is_available {
            return filters::misfit_of_the_moment(&self.scene, query);
        }
        filters::misfit(&self.scene, query)
    }

    /// Why the replica must not leave though its host does not fit: a volume of it lives there.
    pub(super) fn data_hold(&self, holding: &Holding, misfit: &Misfit) -> Option<String> {
        let (service, number, site) = (holding.service, holding.number, holding.site);
        let query = Query { service, number, site, stance: Stance::Keep };
        // Where it could not run there either, it is refused: data holds a replica, it does not make it fit.
        let others = || filters::beside::misfit(&self.scene, query).or_else(|| filters::misfit_of_capacity(&self.scene, query));
        if filters::is_of_capacity(misfit) || others().is_some() {
            return None;
        }
        let name = &self.scene.sites[holding.site].host.name;
        let volume = match self.data_of(holding)? {
            Thing::Volume(volume) => volume,
            Thing::Folder(path) => return Some(format!("host `{name}` {misfit}, but what it wrote to `{path}` is there")),
            Thing::Network(_) => return None,
        };
        Some(match misfit {
            Misfit::VolumeElsewhere { volume: other, host } if other == volume => {
                format!("its data is in volume `{volume}` of host `{name}`, though the others use the one of `{host}`")
            }
            _ => format!("host `{name}` {misfit}, but volume `{volume}` lives there"),
        })
    }

    /// The service's slots of the last record on hosts that do not answer: number and host.
    pub(super) fn known_unreachable(&self, service: usize) -> Vec<(u32, usize)> {
        let first = self.claims.known.partition_point(|(other, ..)| *other < service);
        let of_service = self.claims.known[first..].iter().take_while(|(other, ..)| *other == service);
        let unreachable = of_service.filter(|(_, _, site)| self.scene.sites[*site].seen.is_none());
        unreachable.map(|(_, number, site)| (*number, *site)).collect()
    }

    /// Whether what is seen of a slot was left behind: by the last record it is on a host that is silent for the moment, and nothing
    /// of it is up or done on the others.
    fn is_elsewhere(&self, group: &[Holding<'a>], known: &[(u32, usize)]) -> bool {
        let number = group.first().map_or(0, |holding| holding.number);
        let Ok(found) = known.binary_search_by_key(&number, |(number, _)| *number) else { return false };
        let is_left = |holding: &Holding| !holding.container.state.is_up() && !holding.is_done(&self.scene);
        !self.scene.sites[known[found].1].is_lost && group.iter().all(is_left)
    }

    fn hold_known(&mut self, service: usize, number: u32, known: &[(u32, usize)]) -> bool {
        let Ok(found) = known.binary_search_by_key(&number, |(number, _)| *number) else { return false };
        let site = known[found].1;
        let name = &self.scene.sites[site].host.name;
        let because = if self.scene.sites[site].is_lost {
            // A slot whose data is lost with the host is not started on an empty volume.
            let thing = self.scene.anchors_of(service).map(|anchor| anchor.thing);
            match thing.into_iter().find(|thing| !matches!(thing, Thing::Network(_))) {
                Some(Thing::Volume(volume)) if !self.scene.sites[site].is_listed => {
                    format!("host `{name}` is no more in the inventory, and volume `{volume}` is there; {WHAT_HELPS}")
                }
                Some(Thing::Folder(path)) if !self.scene.sites[site].is_listed => {
                    format!(
                        "host `{name}` is no more in the inventory, and what was written to its `{path}` is there; {WHAT_HELPS}"
                    )
                }
                Some(Thing::Volume(volume)) => format!("host `{name}` is lost, and volume `{volume}` with it"),
                Some(Thing::Folder(path)) => format!("host `{name}` is lost, and what was written to its `{path}` with it"),
                Some(Thing::Network(_)) | None => return false,
            }
        } else {
            AWAY.to_owned()
        };
        self.seat(Query { service, number, site, stance: Stance::Keep }, WhyDraft::Held(because));
        true
    }
}

/// Whether a container's mount is this volume, or this folder for data.
fn holds(project: &Project, thing: Thing, mount: &MountSeen) -> bool {
    match thing {
        Thing::Volume(name) => mounts_volume(name, folder_of(project, name), mount),
        Thing::Folder(path) => mount.kind == "bind" && mount.source.trim_end_matches('/') == path,
        Thing::Network(_) => false,
    }
}
