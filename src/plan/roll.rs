//! Rolling updates: `deploy.update_config` and `rollback_config` as steps.
//!
//! The replicas that get another container do so batch by batch. After each batch a tally of its replicas decides whether the
//! next may begin; where it ends badly, the rest of the service stays as it is, and the tally says what follows. A replica of the
//! new kind that is not ready yet, since an earlier plan was interrupted, is awaited before the first batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diff::{Action, Turn, Wake, Wanted};
use super::order;
use super::replace::{Stage, restarts_with, temporary_name};
use super::teardown::Leaving;
use super::up::{Rise, RiseSteps, Started, Upping};
use super::view::Filler;
use super::waits::longest;
use super::{Cause, ContainerRef, FailureAction, Note, Op, StepId, Subject};
use crate::project::{HostName, Service, ServiceName, Until, UpdateConfig, Volume, VolumeName};
use crate::world::{Health, State};

/// A new replica is watched this long where nothing is said, as in Swarm.
const MONITOR_MS: u64 = 5000;
/// Other hosts know a name on an overlay 100 to 300 ms after the start of who has it, and that it is gone 50 to 250 ms after that.
const NAMES_SPREAD_MS: u64 = 500;
/// Replicas of a service that move at a time.
const GENTLE_AT_ONCE: usize = 4;

/// How the replicas of one service come to their new containers.
#[derive(Debug, Clone)]
pub(super) struct Rolling {
    /// Replicas at a time.
    parallelism: usize,
    delay_ms: u64,
    monitor_ms: u64,
    then: FailureAction,
    max_failure_ratio: f64,
    is_gentle: bool,
    /// The new replica is ready before the old one stops.
    is_start_first: bool,
    /// The same where it only changes hosts: a move is no update, so this is so unless the file says `stop-first`.
    moves_start_first: bool,
    /// Nothing is said of updates, so that only moves go batch by batch.
    only_moves: bool,
    has_healthcheck: bool,
}

impl Rolling {
    /// Nothing where the file says nothing: then all are replaced at once, as docker compose does it. A rollback for which
    /// nothing is said goes as the update did, but does not roll back itself.
    pub(super) fn of(service: &Service, is_rollback: bool) -> Option<Self> {
        let deploy = service.deploy.as_ref()?;
        let own = if is_rollback { deploy.rollback_config.as_ref() } else { None };
        let config = own.or(deploy.update_config.as_ref())?;
        let then = match config.failure_action.as_deref() {
            Some("continue") => FailureAction::Continue,
            Some("rollback") if !is_rollback => FailureAction::Rollback,
            _ => FailureAction::Pause,
        };
        Some(Self {
            parallelism: parallelism(config),
            delay_ms: config.delay.map_or(0, |delay| millis(delay.to_std())),
            monitor_ms: config.monitor.map_or(MONITOR_MS, |monitor| millis(monitor.to_std())),
            then,
            is_gentle: false,
            max_failure_ratio: config.max_failure_ratio.unwrap_or_default(),
            is_start_first: config.order.as_deref() == Some("start-first"),
            moves_start_first: config.order.as_deref() != Some("stop-first"),
            only_moves: false,
            has_healthcheck: has_healthcheck(service),
        })
    }

    /// For moves that nobody said anything of.
    fn gentle(service: &Service) -> Self {
        Self {
            parallelism: GENTLE_AT_ONCE,
            delay_ms: 0,
            monitor_ms: MONITOR_MS,
            // A move that fails says nothing of the record, and is not gone on with all the same.
            then: FailureAction::Continue,
            is_gentle: true,
            max_failure_ratio: 0.0,
            is_start_first: false,
            moves_start_first: true,
            only_moves: true,
            has_healthcheck: has_healthcheck(service),
        }
    }

    /// For one that is unhealthy: as soon as the new one is ready.
    fn repair() -> Self {
        Self {
            parallelism: 1,
            delay_ms: 0,
            monitor_ms: 0,
            then: FailureAction::Continue,
            is_gentle: false,
            max_failure_ratio: 0.0,
            is_start_first: true,
            moves_start_first: true,
            only_moves: false,
            has_healthcheck: true,
        }
    }

    /// Whether the replica's container makes way in a batch. What has to leave for a network or a volume, or is dead, does so at once.
    pub(super) fn rolls(&self, turn: &Turn<'_>) -> bool {
        turn.action == Action::Move || (!self.only_moves && matches!(turn.action, Action::Replace(_)) && !is_repair(turn))
    }

    fn starts_first(&self, turn: &Turn<'_>) -> bool {
        if turn.action == Action::Move { self.moves_start_first } else { self.is_start_first }
    }

    /// How many of so many replicas may fail before the update does.
    fn may_fail(&self, replicas: usize) -> u32 {
        if self.then == FailureAction::Continue && !self.is_gentle {
            return u32::MAX;
        }
        // From 0 to `replicas`, so nothing is lost.
        (self.max_failure_ratio.clamp(0.0, 1.0) * replicas as f64).floor() as u32
    }
}

fn has_healthcheck(service: &Service) -> bool {
    service.healthcheck.as_ref().is_some_and(|check| !check.disable)
}

/// 0 is all of them, as in Swarm.
fn parallelism(config: &UpdateConfig) -> usize {
    match config.parallelism {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Why two containers of one slot cannot run at once; nothing where they can.
fn cannot_overlap(wanted: &Wanted<'_>, volumes: &BTreeMap<VolumeName, Volume>) -> Option<String> {
    let service = wanted.service;
    if service.container_name.is_some() {
        return Some("it has a `container_name`, which only one container can have".to_owned());
    }
    let is_fixed = |port: &str| !port.is_empty() && port != "0";
    if let Some(port) = service.ports.iter().filter_map(|port| port.published.as_deref()).find(|port| is_fixed(port)) {
        return Some(format!("it publishes host port {port}, which only one container of a host can hold"));
    }
    if service.network_mode.as_deref() == Some("host") {
        return Some("it uses its host's own network, where two would want the same ports".to_owned());
    }
    let sources = service.volumes.iter().filter(|mount| mount.kind == "volume").filter_map(|mount| mount.source.as_deref());
    if let Some(volume) = sources.filter_map(|key| volumes.get(key)).find(|volume| volume.is_host_local()) {
        return Some(format!("two containers would write to volume `{}` at once", volume.name));
    }
    let mut addresses = service.networks.values().flatten();
    let has_address = addresses.any(|network| network.ipv4_address.is_some() || network.ipv6_address.is_some());
    (has_address || service.mac_address.is_some())
        .then(|| "it has an address of its own, which only one container can have".to_owned())
}

impl<'a> Upping<'a, '_> {
    /// How the service is updated in this plan; nothing where all goes at once. Says why where that is not as asked for.
    pub(super) fn rolling(&mut self, before: &[Rise<'a>], wanted: &Wanted<'a>, turns: &[Turn<'a>]) -> Option<Rolling> {
        // What is put right while an update is stuck waits for nothing of it.
        let is_replica = !wanted.completes && self.goal.start && !self.goal.keep.contains(wanted.name);
        let said = Rolling::of(wanted.service, self.goal.rollback);
        let rolling = said.or_else(|| self.goal.gently.then(|| Rolling::gentle(wanted.service)));
        let mut rolling = rolling.filter(|_| is_replica)?;
        let is_half_done = |turn: &Turn<'a>| self.is_half_done(&rolling, turn) || (!rolling.only_moves && is_double(turn));
        if !turns.iter().any(|turn| rolling.rolls(turn) || is_half_done(turn)) {
            return None;
        }
        if let Some(reason) = self.must_go_at_once(before, wanted, turns) {
            self.remark(wanted.name, "all replicas are replaced at once", &reason);
            return None;
        }
        let starts_first = rolling.is_start_first || turns.iter().any(|turn| rolling.rolls(turn) && rolling.starts_first(turn));
        if starts_first && let Some(reason) = cannot_overlap(wanted, &self.compose.project.volumes) {
            self.remark(wanted.name, "the old replica stops before the new one starts", &reason);
            (rolling.is_start_first, rolling.moves_start_first) = (false, false);
        }
        Some(rolling)
    }

    fn remark(&mut self, service: &ServiceName, what: &str, why: &str) {
        self.draft.note(Note::Remark { text: format!("update of {service}: {what}: {why}") });
    }

    /// Replicas that others are tied to by more than the network go with them.
    fn must_go_at_once(&self, before: &[Rise<'a>], wanted: &Wanted<'a>, turns: &[Turn<'a>]) -> Option<String> {
        let service = wanted.service;
        if let Some(other) = order::shares(service).first() {
            return Some(format!("it shares namespaces or volumes with `{other}`"));
        }
        let shares = |(_, other): &(&ServiceName, &Service)| order::shares(other).contains(wanted.name.as_str());
        if let Some((other, _)) = self.compose.project.services.iter().find(shares) {
            return Some(format!("`{other}` shares namespaces or volumes with it"));
        }
        if let Some(needed) = restarts_with(before, wanted) {
            return Some(format!("`{}`, with which it is to restart, is replaced too", needed.wanted.name));
        }
        let moves = turns.iter().any(|turn| turn.action == Action::Move);
        if moves && !service.ports.is_empty() {
            return Some("its replicas change places, and each waits for the other's host port".to_owned());
        }
        let is_in_the_way = |turn: &Turn<'a>| turn.filler.is_some_and(|filler| self.is_in_the_way(wanted.name, &filler));
        turns.iter().any(is_in_the_way).then(|| "another service waits for its host port".to_owned())
    }

    /// One that is unhealthy makes way for another, which is ready before it stops where nothing forbids that. It is no update, so that no
    /// other replica waits for it, and it for none.
    pub(super) fn repair(&mut self, before: &[Rise<'a>], turns: &[Turn<'a>], stage: &mut Stage<'_, 'a>, steps: &mut RiseSteps) {
        self.remove_extras(stage);
        let wanted = stage.wanted;
        let overlaps = self.goal.start
            && !wanted.completes
            && cannot_overlap(wanted, &self.compose.project.volumes).is_none()
            && self.must_go_at_once(before, wanted, turns).is_none();
        if !(overlaps && self.start_first(&Rolling::repair(), stage, steps)) {
            self.emit_turn(stage, steps);
        }
    }

    /// The batches, each behind the tally of the one before.
    pub(super) fn roll(
        &mut self,
        rolling: &Rolling,
        service: &ServiceName,
        stages: Vec<Stage<'_, 'a>>,
        first: Vec<StepId>,
        steps: &mut RiseSteps,
    ) {
        let may_fail = rolling.may_fail(stages.len() + first.len());
        let mut gate = Vec::new();
        if !first.is_empty() {
            gate = self.tally(rolling, service, first, may_fail, &gate);
        }
        let mut stages = stages.into_iter().peekable();
        while let Some(host) = stages.peek().map(|stage| stage.turn.host) {
            let mut ends = Vec::new();
            let batch_gate = self.delayed(rolling, service, host, &gate);
            for mut stage in stages.by_ref().take(rolling.parallelism) {
                stage.gate.clone_from(&batch_gate);
                ends.extend(self.roll_one(rolling, &mut stage, steps));
            }
            gate = self.tally(rolling, service, ends, may_fail, &gate);
        }
        steps.rolled = gate.first().copied();
    }

    fn roll_one(&mut self, rolling: &Rolling, stage: &mut Stage<'_, 'a>, steps: &mut RiseSteps) -> Option<StepId> {
        self.remove_extras(stage);
        if rolling.starts_first(stage.turn) && self.start_first(rolling, stage, steps) {
            return steps.started.get(&stage.turn.number).map(|started| started.end);
        }
        self.emit_turn(stage, steps);
        let started = steps.started.get(&stage.turn.number)?.end;
        let container = self.container_of(stage.wanted, stage.turn);
        let ready = self.await_update(stage, container.clone(), Until::Ready, longest(Until::Ready), vec![started]);
        Some(self.watch(rolling, stage, container, ready))
    }

    /// Made and started beside the old one, which leaves once the new one is ready. Not so where the old one does not run, or
    /// hands on its anonymous volumes.
    fn start_first(&mut self, rolling: &Rolling, stage: &Stage<'_, 'a>, steps: &mut RiseSteps) -> bool {
        let Some(old) = stage.turn.filler.filter(|old| old.container.state.is_up()) else { return false };
        let cause = match &stage.turn.action {
            Action::Replace(cause) => cause.clone(),
            _ => Cause::Moved { to: stage.turn.host.clone() },
        };
        let is_here = old.host == stage.turn.host;
        let has_own_name = !is_here || !self.is_taken(stage.turn.host, &stage.name);
        let temporary = || temporary_name(old.container.id.short(), &stage.name).into();
        let name: Arc<str> = if has_own_name { stage.name.clone() } else { temporary() };
        if is_here && !self.inherited(stage, &old).is_empty() {
            let what = "the old replica stops before the new one starts";
            self.remark(stage.wanted.name, what, "it hands on an anonymous volume, which two would write to at once");
            return false;
        }
        let created = self.create(stage, name.clone(), &cause, &[], None);
        let container = ContainerRef::Name(name.clone());
        self.start(stage, &cause, created.ends, container.clone(), steps);
        let Some(started) = steps.started.get(&stage.turn.number).copied() else { return false };
        let (safe, watched) = self.ready_and_watched(rolling, stage, &container, vec![started.end]);
        let leaving = self.leaving(stage.wanted, stage.slot.clone(), &old, cause.clone());
        let leaving = Leaving { quiet_ms: self.quiet_ms(stage), ..leaving };
        let known = self.known(rolling, stage, safe);
        let (stopped, removed) = leaving.leave(&mut self.draft, vec![known]);
        self.gone(&old, stopped, removed, steps);
        let mut after = vec![removed, watched];
        after.extend(&stage.extras_removed);
        let op = match !has_own_name && self.compose.renames_while_running(&stage.wanted.networks) {
            true => Op::Rename { container, to: stage.name.clone() },
            false => Op::Gate,
        };
        if !has_own_name && op == Op::Gate {
            steps.names.insert(stage.turn.number, name);
        }
        let end = self.draft.step(stage.turn.host, Subject::Slot(stage.slot.clone()), op, cause, after);
        steps.named.insert(stage.turn.number, end);
        steps.started.insert(stage.turn.number, Started { start: started.start, end });
        true
    }

    /// The new container of an interrupted update or move, which is to be ready before the old one beside it leaves. What a host that
    /// was lost brings back is no old one in that sense: it is one too many.
    pub(super) fn is_half_done(&self, rolling: &Rolling, turn: &Turn<'a>) -> bool {
        let is_drained = |extra: &Filler<'a>| extra.container.state.is_up() && self.compose.is_drained(extra.host);
        let moves = rolling.moves_start_first && turn.extras.iter().any(is_drained);
        is_double(turn) && (rolling.is_start_first || moves)
    }

    /// The new container of an interrupted update goes on; the old one beside it leaves once the new one is ready.
    pub(super) fn take_over(&mut self, rolling: &Rolling, stage: &mut Stage<'_, 'a>, steps: &mut RiseSteps) {
        let Some(filler) = stage.turn.filler else { return };
        let container = ContainerRef::Id(filler.container.id.clone());
        let mut after = self.connect_missing(stage, &container);
        if let Action::Keep(Wake::Start(cause)) = &stage.turn.action {
            self.start(stage, cause, after, container.clone(), steps);
            after = steps.started.get(&stage.turn.number).map(|started| started.end).into_iter().collect();
        }
        let (safe, watched) = self.ready_and_watched(rolling, stage, &container, after);
        stage.quiet_ms = self.quiet_ms(stage);
        stage.gate = vec![self.known(rolling, stage, safe)];
        self.remove_extras(stage);
        stage.extras_removed.push(watched);
        let is_renamed = stage.turn.misnamed && self.compose.renames_while_running(&stage.wanted.networks);
        let renamed = if is_renamed { self.rename(stage, filler) } else { None };
        let start = steps.started.get(&stage.turn.number).map_or(safe, |started| started.start);
        steps.started.insert(stage.turn.number, Started { start, end: renamed.unwrap_or(watched) });
        steps.named.extend(renamed.map(|step| (stage.turn.number, step)));
    }

    /// How long the old replica has no name any more before it stops, so that nobody asks for it who finds it gone.
    fn quiet_ms(&self, stage: &Stage<'_, 'a>) -> Option<u64> {
        (!self.compose.renames_while_running(&stage.wanted.networks)).then_some(NAMES_SPREAD_MS)
    }

    /// The step after which all hosts know the names of the new replica. One that was watched for a while is known since long.
    fn known(&mut self, rolling: &Rolling, stage: &Stage<'_, 'a>, safe: StepId) -> StepId {
        if !rolling.has_healthcheck || self.compose.renames_while_running(&stage.wanted.networks) {
            return safe;
        }
        let op = Op::Delay { millis: NAMES_SPREAD_MS };
        self.draft.step(stage.turn.host, Subject::Slot(stage.slot.clone()), op, Cause::Update, vec![safe])
    }

    /// The step after which the old replica may stop, and the one after which the new one counts.
    fn ready_and_watched(
        &mut self,
        rolling: &Rolling,
        stage: &Stage<'_, 'a>,
        container: &ContainerRef,
        after: Vec<StepId>,
    ) -> (StepId, StepId) {
        let ready = self.await_update(stage, container.clone(), Until::Ready, longest(Until::Ready), after);
        let watched = self.watch(rolling, stage, container.clone(), ready);
        // A replica without a healthcheck shows only over time that it works, so the old one stays for as long.
        let safe = if rolling.has_healthcheck { ready } else { watched };
        (safe, watched)
    }

    fn tally(
        &mut self,
        rolling: &Rolling,
        service: &ServiceName,
        ends: Vec<StepId>,
        may_fail: u32,
        before: &[StepId],
    ) -> Vec<StepId> {
        let Some(host) = ends.first().and_then(|end| self.draft.host_of(*end)) else { return before.to_vec() };
        let mut after = ends;
        after.extend(before);
        let op = Op::Tally { may_fail, then: rolling.then };
        vec![self.draft.step(&host, Subject::Service(service.clone()), op, Cause::Update, after)]
    }

    fn delayed(&mut self, rolling: &Rolling, service: &ServiceName, host: &HostName, gate: &[StepId]) -> Vec<StepId> {
        if rolling.delay_ms == 0 || gate.is_empty() {
            return gate.to_vec();
        }
        let op = Op::Delay { millis: rolling.delay_ms };
        vec![self.draft.step(host, Subject::Service(service.clone()), op, Cause::Update, gate.to_vec())]
    }

    fn await_update(
        &mut self,
        stage: &Stage<'_, 'a>,
        container: ContainerRef,
        until: Until,
        at_most_secs: u64,
        after: Vec<StepId>,
    ) -> StepId {
        let op = Op::Await { container, until, at_most_secs };
        let cause = if is_repair(stage.turn) { Cause::Unhealthy } else { Cause::Update };
        self.draft.step(stage.turn.host, Subject::Slot(stage.slot.clone()), op, cause, after)
    }

    /// `monitor`: the new replica has to go on for that long.
    fn watch(&mut self, rolling: &Rolling, stage: &Stage<'_, 'a>, container: ContainerRef, ready: StepId) -> StepId {
        match rolling.monitor_ms.div_ceil(1000) {
            0 => ready,
            secs => self.await_update(stage, container, Until::Lasting, secs, vec![ready]),
        }
    }

    /// Replicas that have the new container already, or get their first, and are not known to be ready.
    /// In an update, those that this very record brought are watched anew: a plan before may have ended before it had done so.
    pub(super) fn await_those_before(
        &mut self,
        rolling: &Rolling,
        stages: &[Stage<'_, 'a>],
        is_update: bool,
        steps: &RiseSteps,
    ) -> Vec<StepId> {
        let mut ends = Vec::new();
        for stage in stages {
            let started = steps.started.get(&stage.turn.number).map(|started| started.end);
            let is_ready = stage.turn.filler.is_some_and(|filler| {
                let container = filler.container;
                let is_watched = !is_update || container.labels.revision != Some(self.compose.revision);
                is_watched && container.state == State::Running && matches!(container.health, Health::None | Health::Healthy)
            });
            if started.is_none() && is_ready {
                continue;
            }
            let container = self.container_of(stage.wanted, stage.turn);
            let named = steps.named.get(&stage.turn.number).copied();
            let after = started.into_iter().chain(named.filter(|_| is_repair(stage.turn))).collect();
            let ready = self.await_update(stage, container.clone(), Until::Ready, longest(Until::Ready), after);
            ends.push(self.watch(rolling, stage, container, ready));
        }
        ends
    }
}

/// It gets another container since the service changed.
pub(super) fn is_update(turn: &Turn<'_>) -> bool {
    matches!(turn.action, Action::Replace(Cause::Changed { .. } | Cause::ImageChanged))
}

/// Its container is as it should be, and unhealthy.
pub(super) fn is_repair(turn: &Turn<'_>) -> bool {
    turn.action == Action::Replace(Cause::Unhealthy)
}

/// Its container stays, and another of the slot runs beside it.
fn is_double(turn: &Turn<'_>) -> bool {
    matches!(turn.action, Action::Keep(Wake::Nothing | Wake::Start(_)))
        && turn.extras.iter().any(|extra| extra.container.state.is_up())
}
