//! The walk: a step runs when all that it waits for has ended well, as many at once as the limits let.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::call::{Means, carry_out};
use super::{Event, HostTurns, Outcome, StepEnd};
use crate::delivery::Cargo;
use crate::engine::{EngineError, Engines, ErrorKind};
use crate::image::Harbour;
use crate::plan::{Op, Plan, Step, StepId, Tolerance};
use crate::project::HostName;

/// How many steps run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub per_host: usize,
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_host: 12, total: 256 }
    }
}

/// Carries out a plan. Returns how every step ended; a failed one ends only what waits for it. `cargo`: what this machine can
/// deliver.
///
/// Once `interrupt` is true nothing new begins; what runs is waited for.
pub async fn apply(
    engines: &Engines,
    plan: &Plan,
    limits: &Limits,
    cargo: &Cargo,
    events: mpsc::UnboundedSender<Event>,
    interrupt: watch::Receiver<bool>,
) -> Outcome {
    apply_in_turns(engines, plan, limits, &HostTurns::new(limits.per_host), cargo, events, interrupt).await
}

/// The same beside other plans, with which it shares the hosts' turns.
pub async fn apply_in_turns(
    engines: &Engines,
    plan: &Plan,
    limits: &Limits,
    turns: &HostTurns,
    cargo: &Cargo,
    events: mpsc::UnboundedSender<Event>,
    mut interrupt: watch::Receiver<bool>,
) -> Outcome {
    let mut walk = Walk::new(plan, limits, &events);
    let harbour = Harbour::expecting(plan.steps.iter().filter_map(|step| match &step.op {
        Op::Ship { image, from, .. } => Some((image.as_str(), from)),
        _ => None,
    }));
    let mut running = FuturesUnordered::new();
    loop {
        let interrupted = *interrupt.borrow_and_update();
        while !interrupted && let Some(id) = walk.begin() {
            let _ = events.send(Event::Started { step: id });
            let (step, events, interrupt) = (&plan.steps[id.0], &events, interrupt.clone());
            let means = Means { engines, cargo, harbour: &harbour, turns };
            running.push(async move {
                let begun = Instant::now();
                let end = carry_out(means, step, id, events, interrupt).await;
                (id, end, begun.elapsed())
            });
        }
        if running.is_empty() {
            return walk.finish(interrupted);
        }
        tokio::select! {
            biased;
            Some((id, end, took)) = running.next() => walk.ended(id, end, took),
            Ok(()) = interrupt.changed(), if !interrupted => {}
        }
    }
}

/// Which steps may begin, run and have ended.
struct Walk<'a> {
    plan: &'a Plan,
    limits: &'a Limits,
    events: &'a mpsc::UnboundedSender<Event>,
    /// For each step, those that wait for it.
    waiters: Vec<Vec<StepId>>,
    /// For each step, how many it still waits for.
    open: Vec<usize>,
    /// For each step that cannot run any more, the step that is to blame; none for the interruption.
    blamed: Vec<Option<Option<StepId>>>,
    /// Steps that may begin, by host, in the plan's order.
    ready: BTreeMap<&'a HostName, VecDeque<StepId>>,
    busy: BTreeMap<&'a HostName, usize>,
    busy_total: usize,
    /// For each tally, how many of those that it waits for have failed.
    failed: BTreeMap<StepId, u32>,
    outcome: Outcome,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, limits: &'a Limits, events: &'a mpsc::UnboundedSender<Event>) -> Self {
        let mut waiters = vec![Vec::new(); plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for before in &step.after {
                waiters[before.0].push(StepId(index));
            }
        }
        let open: Vec<usize> = plan.steps.iter().map(|step| step.after.len()).collect();
        let mut walk = Self {
            plan,
            limits,
            events,
            waiters,
            blamed: vec![None; open.len()],
            open,
            ready: BTreeMap::new(),
            busy: BTreeMap::new(),
            busy_total: 0,
            failed: BTreeMap::new(),
            outcome: Outcome::default(),
        };
        let free: Vec<StepId> = (0..plan.steps.len()).map(StepId).filter(|id| plan.steps[id.0].after.is_empty()).collect();
        free.into_iter().for_each(|id| walk.free(id).into_iter().for_each(|end| walk.settle(id, end, Duration::ZERO)));
        walk
    }

    /// The next step that may begin now: of the host with the fewest running ones.
    fn begin(&mut self) -> Option<StepId> {
        if self.busy_total >= self.limits.total {
            return None;
        }
        let busy = |host: &HostName| self.busy.get(host).copied().unwrap_or(0);
        let hosts = self.ready.iter().filter(|(host, queue)| !queue.is_empty() && busy(host) < self.limits.per_host);
        let host = hosts.map(|(host, _)| *host).min_by_key(|host| busy(host))?;
        let id = self.ready.get_mut(host)?.pop_front()?;
        *self.busy.entry(host).or_default() += 1;
        self.busy_total += 1;
        Some(id)
    }

    fn ended(&mut self, id: StepId, end: StepEnd, took: Duration) {
        let host = &self.plan.steps[id.0].host;
        if let Some(count) = self.busy.get_mut(host) {
            *count -= 1;
        }
        self.busy_total -= 1;
        self.settle(id, end, took);
    }

    /// All that a step waits for has ended: it may run now, unless it has ended with that: skipped, or a gate or tally.
    fn free(&mut self, id: StepId) -> Option<StepEnd> {
        let step = &self.plan.steps[id.0];
        match (self.blamed[id.0], &step.op) {
            (Some(because), _) => Some(StepEnd::Skipped { because }),
            (None, Op::Gate) => Some(StepEnd::Done),
            (None, Op::Tally { may_fail, .. }) => Some(tallied(step, self.failed.get(&id).copied().unwrap_or(0), *may_fail)),
            (None, _) => {
                self.ready.entry(&step.host).or_default().push_back(id);
                None
            }
        }
    }

    /// Writes down how steps ended and frees those that waited for them; without recursion, since chains may be long.
    fn settle(&mut self, id: StepId, end: StepEnd, took: Duration) {
        let mut settled = VecDeque::from([(id, end, took)]);
        while let Some((id, end, took)) = settled.pop_front() {
            let step = &self.plan.steps[id.0];
            let passes = end == StepEnd::Done || step.tolerance == Tolerance::Warn;
            let blamed = match &end {
                StepEnd::Skipped { because } => *because,
                StepEnd::Done | StepEnd::Failed { .. } => Some(id),
            };
            let _ = self.events.send(Event::Ended { step: id, end: end.clone(), took });
            if end != StepEnd::Done && step.tolerance == Tolerance::Warn {
                self.outcome.forgiven.insert(id);
            }
            self.outcome.ends.insert(id, end);
            for waiter in std::mem::take(&mut self.waiters[id.0]) {
                self.pass_on(id, waiter, passes, blamed);
                self.open[waiter.0] -= 1;
                if self.open[waiter.0] > 0 {
                    continue;
                }
                settled.extend(self.free(waiter).map(|end| (waiter, end, Duration::ZERO)));
            }
        }
    }

    /// What an end means for a step that waited for it. A tally counts failures, those that the one before it counted too;
    /// what was interrupted has not failed.
    fn pass_on(&mut self, id: StepId, waiter: StepId, passes: bool, blamed: Option<StepId>) {
        let is_tally = |id: StepId| matches!(self.plan.steps[id.0].op, Op::Tally { .. });
        if is_tally(waiter) && is_tally(id) {
            let so_far = self.failed.get(&id).copied().unwrap_or(0);
            *self.failed.entry(waiter).or_default() += so_far;
        } else if is_tally(waiter) && !passes && blamed.is_some() {
            *self.failed.entry(waiter).or_default() += 1;
            return;
        }
        if !passes {
            self.blamed[waiter.0].get_or_insert(blamed);
        }
    }

    /// What never began was skipped by the interruption.
    fn finish(mut self, interrupted: bool) -> Outcome {
        for id in (0..self.plan.steps.len()).map(StepId) {
            self.outcome.ends.entry(id).or_insert(StepEnd::Skipped { because: None });
        }
        self.outcome.interrupted =
            interrupted && self.outcome.ends.values().any(|end| *end == StepEnd::Skipped { because: None });
        self.outcome
    }
}

fn tallied(step: &Step, failed: u32, may_fail: u32) -> StepEnd {
    if failed <= may_fail {
        return StepEnd::Done;
    }
    let message = format!("{failed} of its replicas failed, and {may_fail} may");
    let error = EngineError { host: step.host.clone(), call: "update".to_owned(), kind: ErrorKind::Failed, message };
    StepEnd::Failed { error, log_tail: Vec::new() }
}
