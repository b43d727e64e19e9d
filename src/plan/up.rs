//! The goal `Up`: the project as its file says.
//!
//! First what becomes of each slot is decided, service by service, needed ones first; then the steps are made. Everything is
//! created as soon as it can be; a replica is started, and the one it replaces is stopped, once what it depends on is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compose::Compose;
use super::contents;
use super::diff::{Action, Turn, Wake, Wanted};
use super::draft::Draft;
use super::order::{self, Chosen};
use super::outdated::Outdated;
use super::relocate::unfinished;
use super::resources::Resources;
use super::teardown::Leaving;
use super::view::Filler;
use super::volumes::OutdatedVolumes;
use super::waits::{longest, meets};
use super::{
    Cause, ContainerRef, Inputs, Note, Op, Plan, Recreate, Selection, StepId, Subject, Up, follow, ports, refusals, roll, sealed,
};
use crate::placement::Why;
use crate::project::{Condition, Dependency, HostName, Service, ServiceName, Slot, Until};
use crate::world::{Container, Health, State};

pub(super) fn plan(goal: &Up, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let mut up = Upping::new(&compose, goal);
    up.decide();
    up.resources.outdated = Outdated::find(&compose, &mut up.rises, &mut up.draft, goal.remove_orphans);
    up.resources.outdated_volumes =
        OutdatedVolumes::find(&compose, &mut up.rises, &mut up.draft, goal.renew_volumes, goal.remove_orphans);
    follow::let_dependents_follow(&compose, &mut up.rises, goal.start, &mut up.draft);
    up.emit();
    sealed::arrange(&compose, &mut up.draft);
    up.draft.finish(&compose.project.name)
}

/// A service on its way up.
pub(super) struct Rise<'a> {
    pub(super) wanted: Wanted<'a>,
    pub(super) turns: Vec<Turn<'a>>,
    /// Containers of slots that are no longer asked for.
    pub(super) surplus: Vec<Filler<'a>>,
    pub(super) steps: RiseSteps,
}

/// The steps of a service that others come to wait for.
#[derive(Debug, Default)]
pub(super) struct RiseSteps {
    /// The start of each slot that has one.
    pub(super) started: BTreeMap<u32, Started>,
    /// Stops of replicas that run now.
    pub(super) stops: Vec<StepId>,
    /// The first steps of replicas that make way: their pre_stop hooks or stops.
    pub(super) leaves: Vec<StepId>,
    /// Names of new containers that keep the one that they are made under.
    pub(super) names: BTreeMap<u32, Arc<str>>,
    /// The end of the hooks that run once before any replica starts, where they run.
    pub(super) prepared: Option<StepId>,
    /// The last tally of a rolling update.
    pub(super) rolled: Option<StepId>,
    /// The step from which on the slot's new container has the slot's name.
    pub(super) named: BTreeMap<u32, StepId>,
}

/// A start and the last of its post_start hooks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Started {
    pub(super) start: StepId,
    pub(super) end: StepId,
}

pub(super) struct Upping<'a, 'c> {
    pub(super) compose: &'c Compose<'a>,
    pub(super) goal: &'c Up,
    pub(super) draft: Draft,
    pub(super) rises: Vec<Rise<'a>>,
    /// Index into `rises` by service.
    index: BTreeMap<&'a str, usize>,
    /// Services that should have replicas, and have none that could be made or that stand already.
    left_out: BTreeSet<&'a str>,
    /// What waits for each condition of a service, made once for all that wait: by service, condition and whether it is required.
    ready: BTreeMap<(&'a str, Condition, bool), Vec<StepId>>,
    pub(super) resources: Resources<'a>,
    /// Host ports that stops of this plan set free, and names that its removals do.
    pub(super) freed_ports: BTreeMap<(&'a HostName, u16), Vec<StepId>>,
    pub(super) freed_names: BTreeMap<(&'a HostName, &'a str), StepId>,
    /// Who takes which host port; filled in only when something makes way.
    wanted_ports: BTreeMap<(&'a HostName, u16), BTreeSet<&'a ServiceName>>,
}

impl<'a, 'c> Upping<'a, 'c> {
    fn new(compose: &'c Compose<'a>, goal: &'c Up) -> Self {
        Self {
            compose,
            goal,
            draft: Draft::default(),
            rises: Vec::new(),
            index: BTreeMap::new(),
            left_out: BTreeSet::new(),
            ready: BTreeMap::new(),
            resources: Resources::default(),
            freed_ports: BTreeMap::new(),
            freed_names: BTreeMap::new(),
            wanted_ports: BTreeMap::new(),
        }
    }

    fn decide(&mut self) {
        let compose = self.compose;
        for (host, why) in compose.world.unreachable_hosts() {
            self.draft.note(Note::HostUnreachable { host: host.clone(), why: why.to_owned() });
        }
        for text in unfinished(compose.project, compose.world) {
            self.draft.note(Note::Remark { text });
        }
        for (name, service) in order::services(compose.project, &self.goal.services, self.goal.deps) {
            let is_named = match &self.goal.services {
                Selection::All => true,
                Selection::Only(names) => names.contains(name),
            };
            let recreate = match (is_named, self.goal.keep.contains(name)) {
                (_, true) => Recreate::Never,
                (true, false) => self.goal.recreate,
                (false, false) => self.goal.recreate_deps,
            };
            let rise = self.decide_service((name, service), recreate);
            self.index.insert(name.as_str(), self.rises.len());
            self.rises.push(rise);
        }
    }

    fn decide_service(&mut self, (name, service): Chosen<'a>, recreate: Recreate) -> Rise<'a> {
        let compose = self.compose;
        let wanted = Wanted::new(compose, name, service, recreate);
        let mut refusals = refusals::Refusals::new(compose, name, service);
        let claims = compose.view.of(name.as_str());
        let missing = self.left_out_need(service);
        let mut turns = Vec::new();
        let mut left_out = 0;
        let mut at = 0;
        let mut surplus = Vec::new();
        let refused: BTreeSet<u32> = self.note_unplaced(name);
        let take = |until: u32, at: &mut usize| {
            let from = *at;
            while claims.get(*at).is_some_and(|claim| claim.number <= until) {
                *at += 1;
            }
            &claims[from..*at]
        };
        for (number, host) in compose.seats(name) {
            let before = take(number - 1, &mut at);
            surplus.extend(before.iter().filter(|claim| !refused.contains(&claim.number)).copied());
            let claims = take(number, &mut at);
            let Some(place) = compose.place_of(host) else {
                self.hold(name, number, host);
                continue;
            };
            let rests = self.is_in(&self.goal.rest, name, number);
            let keeps_best = rests || self.goal.keep.contains(name);
            let turn = wanted.decide(compose, number, (host, place), claims, keeps_best);
            let Some(mut turn) = self.held_back(turn, &wanted, rests) else { continue };
            if turn.is_newer && turn.is_new() {
                self.refuse_to_undo(name, number, turn.filler);
                if turn.action == Action::Move {
                    continue;
                }
                turn.action = Action::Keep(Wake::Nothing);
            }
            if turn.is_new() && (missing.is_some() || refusals.refuses((host, place), number, &mut self.draft)) {
                left_out += 1;
                continue;
            }
            turns.push(turn);
        }
        let after = take(u32::MAX, &mut at);
        surplus.extend(after.iter().filter(|claim| !refused.contains(&claim.number)).copied());
        surplus.retain(|claim| {
            let is_newer = compose.is_newer(claim.container);
            if is_newer {
                self.refuse_to_undo(name, claim.number, Some(*claim));
            }
            !is_newer
        });
        self.renew_what_failed(&wanted, &mut turns);
        refusals.note_inert(&turns, &mut self.draft);
        if turns.is_empty() && left_out + refused.len() > 0 {
            self.left_out.insert(name.as_str());
        }
        if let Some(needed) = missing.filter(|_| left_out > 0) {
            self.draft.note(Note::Refused {
                subject: name.to_string(),
                attribute: format!("depends_on.{needed}"),
                why: format!("`{needed}` is left out"),
                hint: format!("see what is said of `{needed}`, or make it `required: false`"),
            });
        }
        Rise { wanted, turns, surplus, steps: RiseSteps::default() }
    }

    fn is_in(&self, slots: &BTreeSet<Slot>, name: &ServiceName, number: u32) -> bool {
        !slots.is_empty() && Slot::new(name.clone(), number).is_some_and(|slot| slots.contains(&slot))
    }

    /// Whoever goes on with an update makes anew what it brought and is unhealthy, which would be awaited in vain. `repair` and the tally
    /// of those before see to it that no other replica is updated unless that is well then.
    fn renew_what_failed(&self, wanted: &Wanted<'a>, turns: &mut [Turn<'a>]) {
        let goes_on = self.goal.start && !self.goal.keep.contains(wanted.name) && turns.iter().any(roll::is_update);
        if !goes_on || roll::Rolling::of(wanted.service, self.goal.rollback).is_none() {
            return;
        }
        for turn in turns.iter_mut().filter(|turn| !self.is_in(&self.goal.rest, wanted.name, turn.number)) {
            let failed = turn.filler.is_some_and(|filler| {
                filler.container.health == Health::Unhealthy && filler.container.labels.revision == Some(self.compose.revision)
            });
            if failed && turn.action == Action::Keep(Wake::Nothing) {
                turn.action = Action::Replace(Cause::Unhealthy);
            }
        }
    }

    /// What supervision asks of single slots: some are left as they are, some get another container.
    fn held_back(&self, mut turn: Turn<'a>, wanted: &Wanted<'a>, rests: bool) -> Option<Turn<'a>> {
        // Of a stuck update, one that is sick and of the other record is the one that it is stuck at.
        let is_stuck = |turn: &Turn<'a>| {
            self.goal.keep.contains(wanted.name) && turn.filler.is_some_and(|filler| !wanted.is_of_project(self.compose, &filler))
        };
        if rests {
            turn.filler?;
            turn.action = Action::Keep(Wake::Nothing);
            turn.misnamed = false;
            turn.unconnected.clear();
        } else if self.is_in(&self.goal.renew, wanted.name, turn.number) && !turn.is_new() && !is_stuck(&turn) {
            turn.action = Action::Replace(Cause::Unhealthy);
        } else if self.is_in(&self.goal.halt, wanted.name, turn.number) && !turn.is_new() {
            turn.action = Action::Keep(Wake::Halt(Cause::GivenUp));
        }
        Some(turn)
    }

    /// A required service of which this plan makes no replica, though it should have some.
    fn left_out_need(&self, service: &'a Service) -> Option<&'a ServiceName> {
        let required = service.depends_on.iter().filter(|(_, dependency)| dependency.required);
        required.map(|(needed, _)| needed).find(|needed| self.left_out.contains(needed.as_str()))
    }

    /// Slots that fit nowhere: said, and what fills them now is left alone.
    fn note_unplaced(&mut self, name: &ServiceName) -> BTreeSet<u32> {
        let first = Slot::new(name.clone(), 1);
        let last = Slot::new(name.clone(), u32::MAX);
        let refused = first.zip(last).map(|(first, last)| self.compose.placement.refused.range(first..=last));
        let refused = refused.into_iter().flatten();
        refused
            .map(|(slot, refusal)| {
                self.draft.note(Note::unplaced(slot.clone(), refusal));
                slot.number.get()
            })
            .collect()
    }

    /// Promise 7: a newer record's container stays as it is.
    fn refuse_to_undo(&mut self, service: &ServiceName, number: u32, newer: Option<Filler<'a>>) {
        let Some(Filler { host, container, .. }) = newer else { return };
        let (name, ours) = (&container.name, self.compose.revision);
        let theirs = container.labels.revision.unwrap_or_default();
        self.draft.note(Note::Refused {
            subject: format!("{service}.{number}"),
            attribute: "revision".to_owned(),
            why: format!("`{name}` on {host} is of revision {theirs}, and this plan is of revision {ours}, which is older"),
            hint: "a newer deployment is not undone: read the newest record again, or deploy with `mcompose up`".to_owned(),
        });
    }

    fn hold(&mut self, name: &ServiceName, number: u32, host: &HostName) {
        if let Some(slot) = Slot::new(name.clone(), number) {
            let because = match self.compose.placement.seats.get(&slot).map(|seat| &seat.why) {
                Some(Why::Held { because }) => because.clone(),
                _ => "its host does not answer".to_owned(),
            };
            self.draft.note(Note::Held { slot, host: host.clone(), because });
        }
    }

    fn emit(&mut self) {
        let mut rises = std::mem::take(&mut self.rises);
        self.require_resources(&rises);
        // One is made and started for each.
        self.draft.reserve(2 * rises.iter().flat_map(|rise| &rise.turns).filter(|turn| turn.is_new()).count());
        for index in 0..rises.len() {
            let (before, rest) = rises.split_at_mut(index);
            let Some(rise) = rest.first_mut() else { continue };
            let ready = self.ready_for(before, rise);
            self.emit_service(before, rise, &ready);
        }
        self.stop_dependents_first(&rises);
        self.orphans();
        contents::collect(self.compose, &mut self.draft);
        self.wait_for_what_is_freed(&rises);
        if self.goal.wait_secs.is_some() {
            self.wait_until_ready(&rises);
        }
        self.rises = rises;
    }

    /// What a service's starts wait for: every condition of its `depends_on` that is not met already.
    fn ready_for(&mut self, before: &[Rise<'a>], rise: &Rise<'a>) -> Vec<StepId> {
        let has_starts = rise.turns.iter().any(|turn| turn.action != Action::Keep(Wake::Nothing));
        if !self.goal.start || !has_starts {
            return Vec::new();
        }
        let mut ready = Vec::new();
        for (needed, dependency) in &rise.wanted.service.depends_on {
            let Some(needed) = self.index.get(needed.as_str()).and_then(|index| before.get(*index)) else { continue };
            let key = (needed.wanted.name.as_str(), dependency.condition, dependency.required);
            if !self.ready.contains_key(&key) {
                let ends = self.await_condition(needed, dependency, rise.wanted.name);
                let ends = self.draft.gate(needed.wanted.name, ends);
                self.ready.insert(key, ends);
            }
            ready.extend(self.ready.get(&key).into_iter().flatten());
        }
        ready
    }

    /// The steps after which a service meets a condition; none where it does already. A dependency that is not required is
    /// always awaited by steps whose failure is a warning.
    fn await_condition(&mut self, needed: &Rise<'a>, dependency: &Dependency, by: &ServiceName) -> Vec<StepId> {
        let mut ends = Vec::new();
        for turn in &needed.turns {
            let started = needed.steps.started.get(&turn.number).map(|started| started.end);
            if started.is_none() && turn.filler.is_some_and(|filler| meets(filler.container, dependency.condition)) {
                continue;
            }
            let until = match dependency.condition {
                Condition::ServiceStarted if dependency.required => {
                    ends.extend(started);
                    continue;
                }
                Condition::ServiceStarted => Until::Running,
                Condition::ServiceHealthy => Until::Healthy,
                Condition::ServiceCompletedSuccessfully => Until::Completed,
            };
            let cause = Cause::DependsOn { service: by.clone() };
            let wait = self.wait_step(needed, turn, until, cause, longest(until), !dependency.required);
            ends.extend(wait);
        }
        ends
    }

    /// `--wait`: a wait for each replica of which it is not certain already.
    fn wait_until_ready(&mut self, rises: &[Rise<'a>]) {
        let at_most = self.goal.wait_secs.filter(|secs| *secs > 0);
        for rise in rises {
            let until = if rise.wanted.completes { Until::Completed } else { Until::Ready };
            for turn in &rise.turns {
                let is_certain = turn.filler.is_some_and(|filler| match filler.container.state {
                    State::Running => !rise.wanted.completes && matches!(filler.container.health, Health::None | Health::Healthy),
                    State::Exited { code } => rise.wanted.completes && code == Some(0),
                    _ => false,
                });
                if is_certain && !rise.steps.started.contains_key(&turn.number) {
                    continue;
                }
                self.wait_step(rise, turn, until, Cause::Requested, at_most.unwrap_or(longest(until)), false);
            }
        }
    }

    fn wait_step(
        &mut self,
        rise: &Rise<'a>,
        turn: &Turn<'a>,
        until: Until,
        cause: Cause,
        at_most_secs: u64,
        is_optional: bool,
    ) -> Option<StepId> {
        let slot = Slot::new(rise.wanted.name.clone(), turn.number)?;
        let container = match rise.steps.names.get(&turn.number) {
            Some(name) => ContainerRef::Name(name.clone()),
            None => self.container_of(&rise.wanted, turn),
        };
        let after: Vec<StepId> = rise.steps.started.get(&turn.number).map(|started| started.end).into_iter().collect();
        let op = Op::Await { container, until, at_most_secs };
        let step = self.draft.step(turn.host, Subject::Slot(slot), op, cause, after);
        if is_optional {
            self.draft.tolerate(step);
        }
        Some(step)
    }

    fn require_resources(&mut self, rises: &[Rise<'a>]) {
        for rise in rises {
            self.resources.require(self.compose, &mut self.draft, rise);
        }
        self.resources.spare(self.compose, &mut self.draft, rises);
        if rises.iter().any(|rise| rise.turns.iter().any(Turn::is_replaced)) {
            self.wanted_ports = wanted_ports(rises);
        }
    }

    /// Those that depend on a service with `restart: true`, or share something with it, stop before its replicas do.
    fn stop_dependents_first(&mut self, rises: &[Rise<'a>]) {
        let mut stops: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
        let rolled: BTreeMap<&str, StepId> = rises
            .iter()
            .filter(|rise| rise.wanted.service.ports.is_empty())
            .filter_map(|rise| Some((rise.wanted.name.as_str(), rise.steps.rolled?)))
            .collect();
        for rise in rises.iter().filter(|rise| !rise.steps.stops.is_empty()) {
            let service = rise.wanted.service;
            let restarting = service.depends_on.iter().filter(|(_, dependency)| dependency.restart);
            let mut needed: BTreeSet<&str> = order::shares(service);
            needed.extend(restarting.map(|(name, _)| name.as_str()));
            for name in needed {
                match rolled.get(name) {
                    // Its replicas change one after the other: those that depend on it restart once, at the end.
                    Some(end) => rise.steps.leaves.iter().for_each(|leave| self.draft.wait_for(*leave, &[*end])),
                    None => stops.entry(name).or_default().extend(&rise.steps.stops),
                }
            }
        }
        for needed in rises.iter().filter(|rise| !rise.steps.leaves.is_empty()) {
            let Some(stops) = stops.remove(needed.wanted.name.as_str()) else { continue };
            let stops = self.draft.gate(needed.wanted.name, stops);
            for leave in &needed.steps.leaves {
                self.draft.wait_for(*leave, &stops);
            }
        }
    }

    /// A replica that takes a host port starts after the container that holds it now has stopped; one whose name is taken is
    /// created after that name is free.
    fn wait_for_what_is_freed(&mut self, rises: &[Rise<'a>]) {
        if !self.freed_ports.is_empty() {
            for rise in rises.iter().filter(|rise| !rise.wanted.service.ports.is_empty()) {
                for (turn, started) in rise.turns.iter().filter_map(|turn| Some((turn, rise.steps.started.get(&turn.number)?))) {
                    for port in published(rise.wanted.service) {
                        let stops = self.freed_ports.get(&(turn.host, port)).map(Vec::as_slice).unwrap_or_default();
                        // In a rolling update each waits for its own place only, which it does in any case.
                        let is_own = |stop: &StepId| rise.steps.rolled.is_some() && rise.steps.stops.contains(stop);
                        let stops: Vec<StepId> = stops.iter().filter(|stop| !is_own(stop)).copied().collect();
                        self.draft.wait_for(started.start, &stops);
                    }
                }
            }
        }
        self.draft.create_after_removal(&self.freed_names);
        self.resources.outdated.wait_for_users(&mut self.draft, &self.freed_names);
        self.resources.outdated_volumes.wait_for_users(&mut self.draft, &self.freed_names);
    }

    /// Whether a replica of another service that is about to start takes a host port that this container holds.
    pub(super) fn is_in_the_way(&self, service: &ServiceName, filler: &Filler<'a>) -> bool {
        let ports = filler.container.ports.iter().filter_map(|port| port.host_port);
        let mut takers = ports.filter_map(|port| self.wanted_ports.get(&(filler.host, port)));
        takers.any(|takers| takers.iter().any(|taker| *taker != service))
    }

    fn orphans(&mut self) {
        let compose = self.compose;
        let orphans: Vec<(&'a HostName, &'a Container)> = compose
            .view
            .services()
            .filter(|(service, _)| !compose.knows_service(service))
            .flat_map(|(_, fillers)| fillers.iter().map(|filler| (filler.host, filler.container)))
            .chain(compose.view.strays.iter().copied())
            .collect();
        for (host, container) in orphans {
            if self.goal.remove_orphans && !compose.is_newer(container) {
                let leaving = Leaving {
                    host,
                    subject: Subject::Container(container.name.clone()),
                    container,
                    cause: Cause::Orphan,
                    timeout_secs: self.goal.timeout_secs,
                    quiet_ms: None,
                    service: None,
                    volumes: false,
                };
                let (stopped, removed) = leaving.leave(&mut self.draft, Vec::new());
                self.frees((host, container), stopped, Some(removed));
            } else if !self.goal.ignore_orphans {
                self.draft.note(Note::Orphan {
                    host: host.clone(),
                    container: container.name.clone(),
                    service: container.labels.service.clone().unwrap_or_default(),
                });
            }
        }
    }
}

/// Every host port that a service may take.
fn published(service: &Service) -> impl Iterator<Item = u16> {
    service.ports.iter().filter_map(|port| port.published.as_deref()).flat_map(ports::numbers)
}

/// The services that take a host port on a host when they start.
fn wanted_ports<'a>(rises: &[Rise<'a>]) -> BTreeMap<(&'a HostName, u16), BTreeSet<&'a ServiceName>> {
    let mut wanted: BTreeMap<(&HostName, u16), BTreeSet<&ServiceName>> = BTreeMap::new();
    for rise in rises.iter().filter(|rise| !rise.wanted.service.ports.is_empty()) {
        for turn in rise.turns.iter().filter(|turn| turn.action != Action::Keep(Wake::Nothing)) {
            for port in published(rise.wanted.service) {
                wanted.entry((turn.host, port)).or_default().insert(rise.wanted.name);
            }
        }
    }
    wanted
}
