//! New hosts for replicas that have none.

use std::collections::{BTreeMap, BTreeSet};

use super::anchor::{self, Home, Thing};
use super::bits::Bits;
use super::filters::{self, Query, Stance};
use super::place::{Draft, SeatDraft, WhyDraft};
use super::score::{Attempt, Level, Score, Spread};
use super::site::{hash_of, mixed};
use super::{Misfit, Refusal};

impl Draft<'_> {
    /// Seats what the service still lacks, or refuses it.
    pub(super) fn fill(&mut self, service: usize) {
        if std::mem::replace(&mut self.is_filled[service], true) {
            return;
        }
        if self.scene.asks[service].mode.is_global() {
            self.leave_without_leaders(service);
            self.fill_global(service);
            return;
        }
        self.move_after_leaders(service);
        if !self.open[service].is_empty() {
            let bundle = self.settle_bundle(service);
            self.fill_open(service);
            // The rest of the bundle follows at once, before anybody else takes the room on its host.
            for member in bundle {
                if self.scene.asks[member].beside.iter().all(|leader| self.is_filled[*leader]) {
                    self.fill(member);
                }
            }
        }
        self.scene.undecided[service] = 0;
    }

    /// A replica that stayed where the service that it must be beside did not come to leaves again.
    fn move_after_leaders(&mut self, service: usize) {
        if self.scene.asks[service].beside.is_empty() {
            return;
        }
        let mut open = std::mem::take(&mut self.open[service]);
        let seats = std::mem::take(&mut self.seats[service]);
        for seat in seats {
            let query = Query { service, number: seat.number, site: seat.site, stance: Stance::New };
            let is_silent = self.scene.sites[seat.site].seen.is_none();
            let is_there = matches!(seat.why, WhyDraft::Stays | WhyDraft::Held(_)) && !is_silent;
            if is_there && filters::beside::misfit(&self.scene, query).is_some() {
                self.scene.unseat(query);
                open.push(seat.number);
            } else {
                self.seats[service].push(seat);
            }
        }
        self.set_open(service, open);
    }

    /// Chooses the one host of everything that is bound together by anchors without a home. Returns the services concerned, in
    /// the order in which they are to be filled.
    fn settle_bundle(&mut self, service: usize) -> Vec<usize> {
        if self.scene.anchors_of(service).all(|anchor| anchor.is_settled()) {
            return Vec::new();
        }
        let mut members = anchor::bundle(&self.scene, service);
        members.sort_by_key(|member| (self.scene.asks[*member].level, *member));
        let mut candidates = self.scene.active.clone();
        for member in self.with_followers(&members) {
            // Who is on no host in any case is not waited for.
            if self.scene.asks[member].meets.count() > 0 {
                candidates.keep(&self.allowed(member));
            }
        }
        // Where no host can have them all together, the first decides, and the others say why not.
        let best = self.best_for_bundle(&members, &candidates);
        if let Some(site) = best.or_else(|| self.best_for_bundle(&members, &self.allowed(service))) {
            members.iter().for_each(|member| self.settle_at(*member, site));
        }
        members.retain(|member| *member != service);
        members
    }

    /// What binds the service and has no home yet is at home here from now on.
    fn settle_at(&mut self, service: usize, site: usize) {
        let mut is_new = false;
        for anchor in &self.scene.asks[service].anchors {
            let anchor = &mut self.scene.anchors[*anchor];
            if !anchor.is_settled() && anchor.allows(site) {
                anchor.home = Home::At(site);
                is_new = true;
            }
        }
        if is_new {
            anchor::propagate(&mut self.scene);
        }
    }

    /// The services, and those that must be beside one of them.
    fn with_followers(&self, members: &[usize]) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        let mut open = members.to_vec();
        while let Some(member) = open.pop() {
            if all.insert(member) {
                open.extend(self.followers[member].iter().filter(|follower| !self.scene.asks[**follower].mode.is_global()));
            }
        }
        all
    }

    /// Hosts that take new replicas, meet the service's rules, and have what binds it.
    fn allowed(&self, service: usize) -> Bits {
        let mut allowed = self.scene.asks[service].meets.clone();
        allowed.keep(&self.scene.active);
        for anchor in self.scene.anchors_of(service) {
            match &anchor.home {
                Home::Open => {}
                Home::OneOf(sites) => allowed.keep(sites),
                Home::At(site) => allowed.keep(&Bits::only(self.scene.sites.len(), *site)),
            }
        }
        allowed
    }

    /// The first host by score that takes every open replica of the members; else the one that takes most of them.
    fn best_for_bundle(&mut self, members: &[usize], candidates: &Bits) -> Option<usize> {
        let slots: Vec<(usize, u32)> =
            members.iter().flat_map(|member| self.open[*member].iter().map(|number| (*member, *number))).collect();
        let seed = self.request.seed ^ hash_of(self.scene.asks[*members.first()?].name.as_str());
        let mut scores: Vec<Score> = Vec::new();
        for site in candidates.iter() {
            let seated = members.iter().map(|member| self.scene.seated_at(*member, site)).sum();
            scores.push(Score::of(site, &self.scene.sites[site], seated, mixed(seed)));
        }
        scores.sort_unstable();
        let mut best: Option<(usize, usize)> = None;
        for score in scores {
            let taken = self.try_all(&slots, score.site);
            if taken == slots.len() {
                return Some(score.site);
            }
            if taken > best.map_or(0, |(taken, _)| taken) {
                best = Some((taken, score.site));
            }
        }
        best.map(|(_, site)| site)
    }

    /// How many of the slots the host would take.
    fn try_all(&mut self, slots: &[(usize, u32)], site: usize) -> usize {
        let mut seated = Vec::new();
        let mut full = None;
        for (service, number) in slots.iter().copied() {
            if !self.scene.asks[service].meets.has(site) {
                continue;
            }
            let query = Query { service, number, site, stance: Stance::New };
            // Whom it must be beside may come to it later.
            let is_here = |leader: &usize| self.is_filled[*leader] || slots.iter().any(|(member, _)| member == leader);
            let is_askable = self.scene.asks[service].beside.iter().all(is_here);
            if full == Some(service) || (is_askable && filters::misfit_of_the_moment(&self.scene, query).is_some()) {
                full = Some(service);
                continue;
            }
            self.scene.seat(query);
            seated.push(query);
        }
        let taken = seated.len();
        seated.into_iter().for_each(|query| self.scene.unseat(query));
        taken
    }

    fn fill_open(&mut self, service: usize) {
        let numbers = std::mem::take(&mut self.open[service]);
        let allowed = self.allowed(service);
        let why = self.why(service, allowed.count());
        let seed = mixed(self.request.seed ^ hash_of(self.scene.asks[service].name.as_str()));
        let scores =
            allowed.iter().map(|site| Score::of(site, &self.scene.sites[site], self.scene.seated_at(service, site), seed));
        let scores: Vec<Score> = scores.collect();
        let levels: Vec<&Level> = self.scene.asks[service].preferences.iter().map(|level| &self.scene.levels[*level]).collect();
        let mut spread = Spread::new(&levels, scores, &self.scene.seated[service]);
        let names_matter = self.scene.sites.iter().any(|site| site.has_similar_stranger);
        let preferred = self.preferred(service);
        let mut refusal: Option<Refusal> = None;
        for number in numbers {
            let unit = self.unit(service, number);
            let mut first = preferred.get(&number).into_iter().flatten().filter(|site| allowed.has(**site));
            // Those that wait for it already count more than those that have no host yet.
            let is_seated = first.clone().any(|site| self.try_unit(service, number, &unit, *site, &why))
                || (!unit.is_empty() && first.any(|site| self.try_unit(service, number, &[], *site, &why)))
                || self.offer(&mut spread, service, number, &unit, &why, seed)
                || (!unit.is_empty() && self.offer(&mut spread, service, number, &[], &why, seed));
            if is_seated {
                continue;
            }
            let refusal = match refusal.clone().filter(|_| !names_matter) {
                Some(refusal) => refusal,
                None => refusal.insert(self.refusal(service, number)).clone(),
            };
            self.refused.push((service, number, refusal));
        }
    }

    fn offer(
        &mut self,
        spread: &mut Spread,
        service: usize,
        number: u32,
        unit: &[(usize, u32)],
        why: &WhyDraft,
        seed: u64,
    ) -> bool {
        let mut attempt = |site: usize| {
            let query = Query { service, number, site, stance: Stance::New };
            match filters::misfit_of_the_moment(&self.scene, query) {
                Some(Misfit::ContainerName { .. }) => return Attempt::NotThis,
                Some(_) => return Attempt::Full,
                None => {}
            }
            if !self.try_unit(service, number, unit, site, why) {
                return Attempt::NotThis;
            }
            Attempt::Seated(Score::of(site, &self.scene.sites[site], self.scene.seated_at(service, site), seed))
        };
        spread.seat(&mut attempt).is_some()
    }

    /// Seats the replica with all that must be beside it, or none of them.
    fn try_unit(&mut self, service: usize, number: u32, unit: &[(usize, u32)], site: usize, why: &WhyDraft) -> bool {
        let query = Query { service, number, site, stance: Stance::New };
        if filters::misfit_of_the_moment(&self.scene, query).is_some() {
            return false;
        }
        self.scene.seat(query);
        let mut seated = vec![query];
        for (follower, number) in unit {
            let query = Query { service: *follower, number: *number, site, stance: Stance::New };
            let is_allowed = self.scene.asks[*follower].meets.has(site);
            if !is_allowed || filters::misfit_of_the_moment(&self.scene, query).is_some() {
                seated.into_iter().for_each(|query| self.scene.unseat(query));
                return false;
            }
            self.scene.seat(query);
            seated.push(query);
        }
        for query in seated {
            let why = if query.service == service { why.clone() } else { self.why_beside(query.service) };
            self.settle_at(query.service, site);
            if let Ok(index) = self.open[query.service].binary_search(&query.number) {
                self.open[query.service].remove(index);
            }
            self.seats[query.service].push(SeatDraft { number: query.number, site, why });
        }
        true
    }

    /// Open replicas that are to be beside this one, directly or over others, those that stand nearer first.
    fn unit(&self, service: usize, number: u32) -> Vec<(usize, u32)> {
        if self.followers[service].is_empty() {
            return Vec::new();
        }
        let mut unit = BTreeSet::new();
        let mut open = vec![(service, number)];
        while let Some((leader, number)) = open.pop() {
            for follower in &self.followers[leader] {
                for partner in self.partners(leader, number, *follower) {
                    let is_open = self.open[*follower].binary_search(&partner).is_ok();
                    if is_open && unit.insert((self.scene.asks[*follower].level, *follower, partner)) {
                        open.push((*follower, partner));
                    }
                }
            }
        }
        unit.into_iter().map(|(_, follower, number)| (follower, number)).collect()
    }

    /// The follower's numbers that belong to this replica of the leader.
    fn partners(&self, leader: usize, number: u32, follower: usize) -> impl Iterator<Item = u32> + use<> {
        // A global service has a replica on every host, so none of them is anybody's in particular.
        let step = self.scene.asks[leader].replicas;
        let last = if step == 0 { 0 } else { self.scene.asks[follower].replicas };
        (number..=last).step_by(usize::try_from(step.max(1)).unwrap_or(usize::MAX))
    }

    /// The number of the leader's replica that a follower's replica belongs to: its own, or counted round where there are fewer.
    fn partner(&self, leader: usize, number: u32) -> Option<u32> {
        match self.scene.asks[leader].replicas {
            0 => None,
            replicas => Some((number - 1) % replicas + 1),
        }
    }

    /// Hosts to try first for each number: where the partner of a follower is, and where followers wait for their leader.
    fn preferred(&self, service: usize) -> BTreeMap<u32, Vec<usize>> {
        let mut preferred: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for leader in &self.scene.asks[service].beside {
            for seat in &self.seats[*leader] {
                for number in self.partners(*leader, seat.number, service) {
                    preferred.entry(number).or_default().push(seat.site);
                }
            }
        }
        for seat in self.followers[service].iter().flat_map(|follower| &self.seats[*follower]) {
            if let Some(number) = self.partner(service, seat.number) {
                preferred.entry(number).or_default().push(seat.site);
            }
        }
        preferred
    }

    /// What a new seat of the service is explained by.
    fn why(&self, service: usize, fitting: u32) -> WhyDraft {
        if !self.scene.asks[service].beside.is_empty() {
            return self.why_beside(service);
        }
        let settled = |anchor: &&anchor::Anchor| anchor.is_settled();
        match self.scene.anchors_of(service).find(settled).map(|anchor| (anchor.thing, &anchor.users)) {
            Some((Thing::Volume(name), _)) => WhyDraft::Volume(name.to_owned()),
            Some((Thing::Folder(path), _)) => WhyDraft::Folder(path.to_owned()),
            Some((Thing::Network(_), users)) => {
                let other = users.iter().find(|user| **user != service && !self.seats[**user].is_empty());
                other.map_or(WhyDraft::Best { fitting }, |other| WhyDraft::With(*other))
            }
            None => WhyDraft::Best { fitting },
        }
    }

    fn why_beside(&self, service: usize) -> WhyDraft {
        let leader = self.scene.asks[service].beside.first();
        leader.map_or(WhyDraft::Best { fitting: 1 }, |leader| WhyDraft::With(*leader))
    }
}
