//! Services with one replica on each host that fits.
//!
//! A replica's number stays with its host as long as its container does. A host without one gets the number that the last
//! record gave it, else the smallest that is free, hosts in the order of their names.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::Holding;
use super::filters::{self, Query, Stance};
use super::keep::AWAY;
use super::place::{Draft, SeatDraft, Stuck, WhyDraft};
use super::{Misfit, Refusal};

impl<'a> Draft<'a> {
    pub(super) fn keep_global(&mut self, service: usize, stuck: &Stuck) {
        let mut holdings: Vec<Holding<'a>> = self.claims.of(service).to_vec();
        // Of several numbers on one host the lowest stays; of several hosts for one number the best container's.
        holdings.sort_by_key(|holding| holding.number);
        let mut sites: BTreeSet<usize> = self.seats[service].iter().map(|seat| seat.site).collect();
        let mut numbers: BTreeSet<u32> = self.seats[service].iter().map(|seat| seat.number).collect();
        for holding in &holdings {
            let (number, site) = (holding.number, holding.site);
            if sites.contains(&site) || !numbers.insert(number) {
                continue;
            }
            sites.insert(site);
            if let Some(refusal) = stuck.get(&(service, number)) {
                self.refused.push((service, number, refusal.clone()));
                continue;
            }
            let query = Query { service, number, site, stance: Stance::Keep };
            if holding.is_done(&self.scene) {
                self.seats[service].push(SeatDraft { number, site, why: WhyDraft::Done });
                continue;
            }
            match self.misfit_of_keeping(query) {
                None => self.seat(query, WhyDraft::Stays),
                Some(misfit) if filters::is_of_capacity(&misfit) => self.refuse_at(service, number, site, misfit),
                Some(_) => {}
            }
        }
        for (number, site) in self.known_unreachable(service) {
            if !self.scene.sites[site].is_lost && !sites.contains(&site) && numbers.insert(number) {
                sites.insert(site);
                self.seat(Query { service, number, site, stance: Stance::Keep }, WhyDraft::Held(AWAY.to_owned()));
            }
        }
        self.scene.undecided[service] = 1;
    }

    /// A replica leaves a host that the service which it must be beside has left; where that one only found no room, it is
    /// refused with it.
    pub(super) fn leave_without_leaders(&mut self, service: usize) {
        if self.scene.asks[service].beside.is_empty() {
            return;
        }
        for seat in std::mem::take(&mut self.seats[service]) {
            let query = Query { service, number: seat.number, site: seat.site, stance: Stance::New };
            let misfit = match seat.why {
                WhyDraft::Stays => filters::beside::misfit(&self.scene, query),
                _ => None,
            };
            let Some(misfit) = misfit else {
                self.seats[service].push(seat);
                continue;
            };
            self.scene.unseat(query);
            let leaders = self.scene.asks[service].beside.clone();
            if self.refused.iter().any(|(other, ..)| leaders.contains(other)) {
                self.refuse_at(service, seat.number, seat.site, misfit);
            }
        }
    }

    pub(super) fn fill_global(&mut self, service: usize) {
        let mut numbers: BTreeSet<u32> = self.claims.of(service).iter().map(|holding| holding.number).collect();
        numbers.extend(self.seats[service].iter().map(|seat| seat.number));
        let mut decided: BTreeSet<usize> = self.seats[service].iter().map(|seat| seat.site).collect();
        decided.extend(self.refused_sites(service));
        let known = self.known_numbers(service);
        numbers.extend(known.values());
        let mut fitting = self.scene.asks[service].meets.clone();
        fitting.keep(&self.scene.active);
        let mut sites: Vec<usize> = fitting.iter().filter(|site| !decided.contains(site)).collect();
        sites.sort_by_key(|site| &self.scene.sites[*site].host.name);
        let mut given: BTreeSet<u32> = self.seats[service].iter().map(|seat| seat.number).collect();
        let mut next = 1;
        for site in sites {
            let remembered =
                known.get(&site).copied().filter(|number| !given.contains(number) && !self.is_claimed(service, *number));
            let number = remembered.unwrap_or_else(|| {
                while numbers.contains(&next) {
                    next += 1;
                }
                next
            });
            let query = Query { service, number, site, stance: Stance::New };
            match filters::misfit_of_the_moment(&self.scene, query) {
                None => self.seat(query, WhyDraft::Global),
                Some(misfit) if filters::is_of_capacity(&misfit) => self.refuse_at(service, number, site, misfit),
                Some(_) => continue,
            }
            numbers.insert(number);
            given.insert(number);
        }
        self.scene.undecided[service] = 0;
        self.refuse_if_nowhere(service);
    }

    /// A host that its rules leave out is no fault of a global service, but it is one if it runs nowhere for another reason.
    fn refuse_if_nowhere(&mut self, service: usize) {
        if !self.seats[service].is_empty() || self.refused.iter().any(|(other, ..)| *other == service) {
            return;
        }
        let Refusal { misfits } = self.refusal(service, 1);
        let is_meant = |misfit: &Misfit| matches!(misfit, Misfit::Constraint { .. } | Misfit::Platform { .. });
        if misfits.is_empty() || !misfits.values().all(is_meant) {
            self.refused.push((service, 1, Refusal { misfits }));
        }
    }

    fn refused_sites(&self, service: usize) -> Vec<usize> {
        let names =
            self.refused.iter().filter(|(other, ..)| *other == service).flat_map(|(_, _, refusal)| refusal.misfits.keys());
        names.filter_map(|name| self.scene.sites.iter().position(|site| site.host.name == *name)).collect()
    }

    fn is_claimed(&self, service: usize, number: u32) -> bool {
        self.claims.of(service).iter().any(|holding| holding.number == number)
    }

    /// The numbers that the last record gave hosts.
    fn known_numbers(&self, service: usize) -> BTreeMap<usize, u32> {
        let of_service = self.claims.known.iter().filter(|(other, ..)| *other == service);
        of_service.map(|(_, number, site)| (*site, *number)).collect()
    }
}
