//! The steps of one slot on its way up: made, replaced, moved, started.
//!
//! A replacement goes as docker compose's does: the new container is made under a temporary name, the old one stopped and
//! removed, the new one renamed and started. Wherever that is interrupted, the containers that are left say by their labels
//! which slot they claim, and the next plan goes on from there.

use std::cell::OnceCell;
use std::sync::Arc;

use super::container::{Fill, Template};
use super::diff::{Action, Turn, Wake, Wanted};
use super::images;
use super::mounts;
use super::order;
use super::pre_start;
use super::roll;
use super::teardown::{Leaving, Stopped};
use super::up::{Rise, RiseSteps, Started, Upping};
use super::view::Filler;
use super::{Cause, ContainerRef, Note, Op, StepId, Subject};
use crate::project::{HostName, Slot};
use crate::world::{Container, MountSeen};

/// What the new containers of one service on one host have in common.
#[derive(Debug, Clone)]
struct OnHost {
    /// Steps that bring to the host what they need.
    before: Vec<StepId>,
    /// Id of the image, where it is known already.
    image_id: Option<Arc<str>>,
}

/// What the steps of one slot have in common.
pub(super) struct Stage<'x, 'a> {
    pub(super) wanted: &'x Wanted<'a>,
    pub(super) turn: &'x Turn<'a>,
    pub(super) slot: Slot,
    /// The slot's name for its container.
    pub(super) name: Arc<str>,
    /// What all new containers of the service on its host have in common.
    common: &'x OnceCell<OnHost>,
    pub(super) template: Option<&'x Template<'x, 'a>>,
    /// What a start waits for.
    ready: &'x [StepId],
    /// Steps after which neighbours, whose namespaces it shares, are the new ones.
    neighbours: Vec<StepId>,
    /// Hooks run before the first replica of the service starts.
    pub(super) prepares: bool,
    /// A service with which it is to restart is replaced: it stops before that one does.
    restarts: bool,
    /// Stops of other containers for the slot, and their removals on its host.
    extras_stopped: Vec<StepId>,
    pub(super) extras_removed: Vec<StepId>,
    /// As in `Op::Stop`, for other containers that leave.
    pub(super) quiet_ms: Option<u64>,
    /// What everything waits for: in a rolling update, the batch before.
    pub(super) gate: Vec<StepId>,
}

impl<'a, 'c> Upping<'a, 'c> {
    pub(super) fn emit_service(&mut self, before: &[Rise<'a>], rise: &mut Rise<'a>, ready: &[StepId]) {
        let compose: &'c super::compose::Compose<'a> = self.compose;
        let Rise { wanted, turns, surplus, steps } = rise;
        let prepares = pre_start::is_due(&wanted.service.pre_start, turns);
        let has_hooks = !wanted.service.pre_start.is_empty();
        let needs_template = has_hooks || turns.iter().any(|turn| turn.is_new() || !turn.unconnected.is_empty());
        let template = needs_template.then(|| Template::new(compose, wanted.name, wanted.service, &wanted.hash));
        let rolling = self.rolling(before, wanted, turns);
        let goes_on = rolling.is_some() && turns.iter().any(roll::is_update);
        let restarts = restarts_with(before, wanted).is_some();
        let commons = if needs_template { compose.for_each_place(OnceCell::new()) } else { Vec::new() };
        let nothing = OnceCell::new();
        let (mut at_once, mut rolled) = (Vec::new(), Vec::new());
        for turn in turns.iter().filter(|turn| turn.has_steps() || rolling.is_some()) {
            let Some(slot) = Slot::new(wanted.name.clone(), turn.number) else { continue };
            let mut stage = Stage {
                wanted,
                turn,
                slot,
                name: compose.container_name(wanted.name, wanted.service, turn.number).into(),
                common: commons.get(turn.place).unwrap_or(&nothing),
                template: template.as_ref(),
                ready,
                neighbours: self.new_neighbours(before, wanted, turn),
                prepares,
                restarts,
                extras_stopped: Vec::new(),
                extras_removed: Vec::new(),
                quiet_ms: None,
                gate: Vec::new(),
            };
            match &rolling {
                Some(rolling) if rolling.rolls(turn) => {
                    rolled.push(stage);
                    continue;
                }
                Some(rolling) if self.is_half_done(rolling, turn) => self.take_over(rolling, &mut stage, steps),
                _ if roll::is_repair(turn) => {
                    self.repair(before, turns, &mut stage, steps);
                    if !goes_on || self.goal.renew.contains(&stage.slot) {
                        continue;
                    }
                }
                _ if turn.has_steps() => {
                    self.remove_extras(&mut stage);
                    self.emit_turn(&stage, steps);
                }
                _ => {}
            }
            if rolling.is_some() {
                at_once.push(stage);
            }
        }
        if let Some(rolling) = rolling {
            // Those that do not run are the first: the service loses nothing by their update.
            rolled.sort_by_key(|stage| stage.turn.filler.is_some_and(|filler| filler.container.state.is_up()));
            let is_update = rolled.iter().any(|stage| roll::is_update(stage.turn));
            let first = self.await_those_before(&rolling, &at_once, is_update, steps);
            self.roll(&rolling, wanted.name, rolled, first, steps);
        }
        for filler in surplus.iter() {
            let Some(slot) = Slot::new(wanted.name.clone(), filler.number) else { continue };
            let leaving = self.leaving(wanted, slot, filler, Cause::ScaledDown);
            let (stopped, removed) = leaving.leave(&mut self.draft, Vec::new());
            self.frees((filler.host, filler.container), stopped, Some(removed));
        }
    }

    pub(super) fn emit_turn(&mut self, stage: &Stage<'_, 'a>, steps: &mut RiseSteps) {
        match (&stage.turn.action, stage.turn.filler) {
            (Action::Keep(wake), Some(filler)) => self.keep(stage, filler, wake, steps),
            (Action::Replace(cause), Some(filler)) => self.replace(stage, filler, cause, steps),
            (Action::Remake(cause), Some(filler)) => self.remake(stage, filler, cause, steps),
            (Action::Move, Some(filler)) => self.move_over(stage, filler, steps),
            (Action::Create, _) | (_, None) => {
                let created = self.create(stage, stage.name.clone(), &Cause::Missing, &[], None);
                steps.named.insert(stage.turn.number, created.made);
                self.start(stage, &Cause::Missing, created.ends, ContainerRef::Name(stage.name.clone()), steps);
            }
        }
    }

    fn keep(&mut self, stage: &Stage<'_, 'a>, filler: Filler<'a>, wake: &Wake, steps: &mut RiseSteps) {
        let container = ContainerRef::Id(filler.container.id.clone());
        let subject = || Subject::Slot(stage.slot.clone());
        let mut before = self.connect_missing(stage, &container);
        if matches!(wake, Wake::Start(_)) {
            // Its network or volume may be gone.
            before.extend(self.resources.before(self.compose, stage.wanted.service, &stage.wanted.image, filler.host));
        }
        if stage.turn.misnamed {
            let renamed = self.rename(stage, filler);
            steps.named.extend(renamed.map(|step| (stage.turn.number, step)));
            before.extend(renamed);
        }
        match wake {
            Wake::Nothing => {}
            _ if !self.goal.start => {}
            Wake::Start(cause) => {
                self.start(stage, cause, before, container, steps);
            }
            Wake::Unpause(cause) => {
                let op = Op::Unpause { container };
                let step = self.draft.step(filler.host, subject(), op, cause.clone(), before);
                steps.started.insert(stage.turn.number, Started { start: step, end: step });
            }
            Wake::Halt(cause) => {
                let leaving = self.leaving(stage.wanted, stage.slot.clone(), &filler, cause.clone());
                leaving.stop(&mut self.draft, before);
            }
            Wake::Bounce(cause) => {
                let leaving = self.leaving(stage.wanted, stage.slot.clone(), &filler, cause.clone());
                let stopped = leaving.stop(&mut self.draft, Vec::new());
                if let Some(stopped) = stopped {
                    steps.stops.push(stopped.stop);
                    steps.leaves.push(stopped.first);
                    before.push(stopped.stop);
                }
                self.start(stage, cause, before, container, steps);
            }
        }
    }

    fn replace(&mut self, stage: &Stage<'_, 'a>, old: Filler<'a>, cause: &Cause, steps: &mut RiseSteps) {
        let temporary: Arc<str> = temporary_name(old.container.id.short(), &stage.name).into();
        let inherited = self.inherited(stage, &old);
        let created = self.create(stage, temporary.clone(), cause, &inherited, None);
        let leaving = self.leaving(stage.wanted, stage.slot.clone(), &old, cause.clone());
        let after = self.leave_after(stage, &old, &created);
        let stopped = leaving.stop(&mut self.draft, after);
        let mut before_removal = created.ends.clone();
        before_removal.extend(stopped.map(|stopped| stopped.stop));
        let removed = leaving.remove(&mut self.draft, before_removal);
        self.gone(&old, stopped, removed, steps);
        let mut before_rename = vec![removed];
        before_rename.extend(&stage.extras_removed);
        let rename = Op::Rename { container: ContainerRef::Name(temporary), to: stage.name.clone() };
        let renamed = self.draft.step(stage.turn.host, Subject::Slot(stage.slot.clone()), rename, cause.clone(), before_rename);
        steps.named.insert(stage.turn.number, renamed);
        self.start(stage, cause, vec![renamed], ContainerRef::Name(stage.name.clone()), steps);
    }

    /// The old one goes before the new one is made.
    fn remake(&mut self, stage: &Stage<'_, 'a>, old: Filler<'a>, cause: &Cause, steps: &mut RiseSteps) {
        let leaving = self.leaving(stage.wanted, stage.slot.clone(), &old, cause.clone());
        let (stopped, removed) = leaving.leave(&mut self.draft, Vec::new());
        self.gone(&old, stopped, removed, steps);
        let inherited = if old.host == stage.turn.host { self.inherited(stage, &old) } else { Vec::new() };
        let created = self.create(stage, stage.name.clone(), cause, &inherited, Some(removed));
        steps.named.insert(stage.turn.number, created.made);
        self.start(stage, cause, created.ends, ContainerRef::Name(stage.name.clone()), steps);
    }

    fn move_over(&mut self, stage: &Stage<'_, 'a>, old: Filler<'a>, steps: &mut RiseSteps) {
        let cause = Cause::Moved { to: stage.turn.host.clone() };
        let created = self.create(stage, stage.name.clone(), &cause, &[], None);
        steps.named.insert(stage.turn.number, created.made);
        let leaving = self.leaving(stage.wanted, stage.slot.clone(), &old, cause.clone());
        let after = self.leave_after(stage, &old, &created);
        let stopped = leaving.stop(&mut self.draft, after);
        let mut before_start = created.ends.clone();
        before_start.extend(stopped.map(|stopped| stopped.stop));
        let removed = leaving.remove(&mut self.draft, before_start.clone());
        self.gone(&old, stopped, removed, steps);
        self.start(stage, &cause, before_start, ContainerRef::Name(stage.name.clone()), steps);
    }

    fn on_host(&self, wanted: &Wanted<'a>, turn: &Turn<'a>) -> OnHost {
        let (compose, image) = (self.compose, wanted.image.as_str());
        let image_id = images::id_on(compose, image, turn.host);
        let before = self.resources.before(compose, wanted.service, image, turn.host);
        OnHost { before, image_id: image_id.map(Into::into) }
    }

    /// What the old container's stop waits for: that the new one is made and could start, so that the gap is short. Where
    /// another replica waits for the old one's place, it goes at once.
    fn leave_after(&self, stage: &Stage<'_, 'a>, old: &Filler<'a>, created: &Created) -> Vec<StepId> {
        if !stage.neighbours.is_empty() || (stage.restarts && self.resources.makes_room()) {
            return Vec::new();
        }
        let mut after = created.ends.clone();
        if !stage.restarts && !self.is_in_the_way(stage.wanted.name, old) {
            after.extend(stage.ready);
        }
        after
    }

    pub(super) fn create(
        &mut self,
        stage: &Stage<'_, 'a>,
        name: Arc<str>,
        cause: &Cause,
        inherited: &[MountSeen],
        removed: Option<StepId>,
    ) -> Created {
        let host = stage.turn.host;
        let subject = || Subject::Slot(stage.slot.clone());
        let common = stage.common.get_or_init(|| self.on_host(stage.wanted, stage.turn));
        let mut after = common.before.clone();
        after.extend(removed);
        after.extend(&stage.neighbours);
        after.extend(&stage.extras_removed);
        after.extend(&stage.gate);
        let (spec, further) = match stage.template {
            Some(template) => template.fill(Fill {
                number: stage.turn.number,
                host,
                image_id: common.image_id.clone(),
                name: stage.name.clone(),
                inherited,
                is_replacement: stage.turn.is_replaced(),
            }),
            None => Default::default(),
        };
        let create = Op::Create { name: name.clone(), spec: Box::new(spec) };
        let made = self.draft.step(host, subject(), create, cause.clone(), after);
        // With room for what the start waits for beside them.
        let mut ends = Vec::with_capacity(1 + further.len() + stage.ready.len());
        for (network, endpoint) in further {
            let op = Op::Connect { container: ContainerRef::Name(name.clone()), network, endpoint: Box::new(endpoint) };
            ends.push(self.draft.step(host, subject(), op, cause.clone(), vec![made]));
        }
        if ends.is_empty() {
            ends.push(made);
        }
        Created { made, ends }
    }

    /// Start and post_start hooks.
    pub(super) fn start(
        &mut self,
        stage: &Stage<'_, 'a>,
        cause: &Cause,
        before: Vec<StepId>,
        container: ContainerRef,
        steps: &mut RiseSteps,
    ) {
        if !self.goal.start {
            return;
        }
        let host = stage.turn.host;
        let mut after = before;
        after.extend(stage.ready);
        after.extend(&stage.neighbours);
        after.extend(&stage.extras_stopped);
        if !stage.wanted.service.pre_start.is_empty() {
            after = self.pre_start(stage, &container, &after, steps);
        }
        let subject = Subject::Slot(stage.slot.clone());
        let start = self.draft.step(host, subject.clone(), Op::Start { container: container.clone() }, cause.clone(), after);
        let mut end = start;
        for hook in &stage.wanted.service.post_start {
            let op = Op::Exec { container: container.clone(), hook: Box::new(hook.clone()) };
            let cause = Cause::Hook { hook: "post_start".to_owned() };
            end = self.draft.step(host, subject.clone(), op, cause, vec![end]);
        }
        steps.started.insert(stage.turn.number, Started { start, end });
    }

    pub(super) fn rename(&mut self, stage: &Stage<'_, 'a>, filler: Filler<'a>) -> Option<StepId> {
        let leaving =
            |name: &str| stage.turn.extras.iter().any(|extra| extra.container.name == name && extra.host == filler.host);
        let is_taken = self.is_taken(filler.host, &stage.name) && !leaving(&stage.name);
        if is_taken {
            let name = &filler.container.name;
            let text = format!("{} on {} keeps the name `{name}`: `{}` is taken", stage.slot, filler.host, stage.name);
            self.draft.note(Note::Remark { text });
            return None;
        }
        let cause = Cause::Misnamed { name: filler.container.name.clone() };
        let op = Op::Rename { container: ContainerRef::Id(filler.container.id.clone()), to: stage.name.clone() };
        Some(self.draft.step(filler.host, Subject::Slot(stage.slot.clone()), op, cause, stage.extras_removed.clone()))
    }

    pub(super) fn is_taken(&self, host: &HostName, name: &str) -> bool {
        let containers = self.compose.seen(host).map(|seen| seen.containers.as_slice()).unwrap_or_default();
        containers.iter().any(|other| other.name == name)
    }

    pub(super) fn connect_missing(&mut self, stage: &Stage<'_, 'a>, container: &ContainerRef) -> Vec<StepId> {
        let (Some(template), false) = (stage.template, stage.turn.unconnected.is_empty()) else { return Vec::new() };
        let host = stage.turn.host;
        let before = self.resources.before(self.compose, stage.wanted.service, &stage.wanted.image, host);
        let networks: Vec<&str> = stage.turn.unconnected.iter().map(|index| stage.wanted.networks[*index].as_str()).collect();
        let endpoints = template.endpoints_of(stage.turn.number).into_iter();
        let connects = endpoints.filter(|(network, _)| networks.contains(&network.as_str())).map(|(network, endpoint)| {
            let op = Op::Connect { container: container.clone(), network, endpoint: Box::new(endpoint) };
            self.draft.step(host, Subject::Slot(stage.slot.clone()), op, Cause::Missing, before.clone())
        });
        connects.collect()
    }

    pub(super) fn remove_extras(&mut self, stage: &mut Stage<'_, 'a>) {
        for extra in stage.turn.extras.iter().filter(|extra| !self.compose.is_newer(extra.container)) {
            let kept = stage.turn.filler.map(|filler| filler.container.name.clone()).unwrap_or_default();
            let leaving = self.leaving(stage.wanted, stage.slot.clone(), extra, Cause::Duplicate { kept });
            let leaving = Leaving { quiet_ms: stage.quiet_ms, ..leaving };
            let (stopped, removed) = leaving.leave(&mut self.draft, stage.gate.clone());
            stage.extras_stopped.extend(stopped.map(|stopped| stopped.stop));
            if extra.host == stage.turn.host {
                stage.extras_removed.push(removed);
            }
            self.frees((extra.host, extra.container), stopped, Some(removed));
        }
    }

    pub(super) fn leaving(&self, wanted: &Wanted<'a>, slot: Slot, filler: &Filler<'a>, cause: Cause) -> Leaving<'a> {
        Leaving {
            host: filler.host,
            subject: Subject::Slot(slot),
            container: filler.container,
            cause,
            timeout_secs: self.goal.timeout_secs,
            quiet_ms: None,
            service: Some(wanted.service),
            volumes: false,
        }
    }

    pub(super) fn gone(&mut self, old: &Filler<'a>, stopped: Option<Stopped>, removed: StepId, steps: &mut RiseSteps) {
        if let Some(stopped) = stopped {
            steps.stops.push(stopped.stop);
            steps.leaves.push(stopped.first);
        }
        self.frees((old.host, old.container), stopped, Some(removed));
    }

    /// Steps after which the neighbours that it shares something with are the new ones; none for those that stay.
    fn new_neighbours(&self, before: &[Rise<'a>], wanted: &Wanted<'a>, turn: &Turn<'a>) -> Vec<StepId> {
        let shared = order::shares(wanted.service).into_iter();
        let named = shared.filter_map(|service| {
            let (name, number) = self.compose.neighbour(service, turn.number, turn.host)?;
            before.iter().find(|rise| rise.wanted.name == name)?.steps.named.get(&number).copied()
        });
        named.collect()
    }

    /// Anonymous volumes that the next container takes over, unless they are to be made anew.
    pub(super) fn inherited(&self, stage: &Stage<'_, 'a>, old: &Filler<'a>) -> Vec<MountSeen> {
        if self.goal.renew_anonymous_volumes {
            return Vec::new();
        }
        let service = stage.wanted.service;
        let declared = |target: &str| service.volumes.iter().any(|mount| mount.target == target);
        let anonymous = old.container.mounts.iter().filter(|mount| mounts::is_anonymous(mount));
        // With volumes_from, one that the service does not declare may be another container's, which hands it on itself.
        anonymous.filter(|mount| service.volumes_from.is_empty() || declared(&mount.target)).cloned().collect()
    }
}

/// A service that is replaced in this plan, and with which this one is to restart.
pub(super) fn restarts_with<'r, 'a>(before: &'r [Rise<'a>], wanted: &Wanted<'a>) -> Option<&'r Rise<'a>> {
    let needs = &wanted.service.depends_on;
    let is_needed = |rise: &&Rise<'a>| needs.get(rise.wanted.name).is_some_and(|needed| needed.restart);
    let mut needed = before.iter().filter(is_needed);
    if needs.values().any(|needed| needed.restart) { needed.find(|rise| rise.turns.iter().any(Turn::is_replaced)) } else { None }
}

/// The steps of a creation: the one that makes the container, and those after which it may start.
pub(super) struct Created {
    made: StepId,
    pub(super) ends: Vec<StepId>,
}

/// The name of a new container while the one that it replaces still has the slot's name.
pub(super) fn temporary_name(old_id: &str, name: &str) -> String {
    format!("{old_id}_{name}")
}

/// Where a container is that a later step of the plan, or an earlier one, speaks of.
impl<'a> Upping<'a, '_> {
    pub(super) fn container_of(&self, wanted: &Wanted<'a>, turn: &Turn<'a>) -> ContainerRef {
        match turn.filler.filter(|_| !turn.is_new()) {
            Some(filler) => ContainerRef::Id(filler.container.id.clone()),
            None => ContainerRef::Name(self.compose.container_name(wanted.name, wanted.service, turn.number).into()),
        }
    }

    /// Remembers what a leaving container sets free, for those that wait for it.
    pub(super) fn frees(
        &mut self,
        (host, container): (&'a HostName, &'a Container),
        stopped: Option<Stopped>,
        removed: Option<StepId>,
    ) {
        if let Some(stopped) = stopped {
            for port in container.ports.iter().filter_map(|port| port.host_port) {
                self.freed_ports.entry((host, port)).or_default().push(stopped.stop);
            }
        }
        if let Some(removed) = removed {
            self.freed_names.insert((host, container.name.as_str()), removed);
        }
    }
}
