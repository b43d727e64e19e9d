//! One project under supervision: its record, what happened to its slots, and which of them are to be left alone now.

use std::collections::{BTreeMap, BTreeSet};

use super::jitter::Jitter;
use super::misfortune::Misfortunes;
use super::policy::{Down, History, Verdict, verdict};
use crate::project::{Condition, HostName, Project, RecordState, Service, ServiceName, Slot};
use crate::world::{Container, Health, State, World};

/// The newest record of a project, as values.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// With as many replicas as were asked for.
    pub project: Project,
    pub revision: u64,
    pub seats: BTreeMap<Slot, HostName>,
    pub halted: BTreeSet<ServiceName>,
    pub state: RecordState,
    /// Services whose update is paused or failed. The project has them as the last good record does.
    pub stuck: BTreeSet<ServiceName>,
    /// It goes back from a record whose update failed.
    pub is_rollback: bool,
}

/// Slots of services that run, by the hosts where a record has them, of those that are not listed.
pub fn on_unlisted(
    seats: &BTreeMap<Slot, HostName>,
    halted: &BTreeSet<ServiceName>,
    is_listed: &dyn Fn(&HostName) -> bool,
) -> BTreeMap<HostName, BTreeSet<String>> {
    let mut unlisted: BTreeMap<HostName, BTreeSet<String>> = BTreeMap::new();
    for (slot, host) in seats.iter().filter(|(slot, host)| !halted.contains(&slot.service) && !is_listed(host)) {
        unlisted.entry(host.clone()).or_default().insert(slot.to_string());
    }
    unlisted
}

/// Plans that even the loads of hosts after one of them turned: whatever goes on meanwhile, they come to an end.
pub(super) const EVENING_ROUNDS: u32 = 50;

/// What a deployment brought runs for this long before it counts as deployed well: as long as an update watches a replica.
const SETTLES_MS: u64 = 5_000;

/// What is told of whence a slot came begins so: it is no trouble.
pub const MOVED: &str = "moved: ";

/// What the supervisor is doing about a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Idle,
    /// Its lock is being taken.
    Asked,
    /// A plan about these slots is being carried out.
    Applying {
        slots: BTreeSet<Slot>,
        interrupted: bool,
        /// It only moves replicas, so that the hosts' loads are more even.
        is_evening: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Care {
    pub deployment: Deployment,
    pub phase: Phase,
    /// Something was seen that may call for a plan.
    pub dirty: bool,
    /// When to look at it again without anything happening.
    pub wake_ms: Option<u64>,
    /// When slots are due that the plan which is thought of leaves out, since their hosts have yet to come to a network.
    pub(super) newcomers_due_ms: Option<u64>,
    /// Until when nothing is tried, since the last tries failed.
    pub retry_at_ms: u64,
    /// Plans in a row after which there still was something to do.
    pub rounds: u32,
    pub histories: BTreeMap<Slot, History>,
    /// Hosts where slots had no luck.
    pub(super) misfortunes: Misfortunes,
    /// Slots whose replica ended and is to stay so.
    pub done: BTreeSet<Slot>,
    /// Hosts joined, came back or were lost, it was deployed, or its supervision began: how many plans may still even the loads.
    pub evening_rounds: u32,
    /// Since when all of it is seen to run as its record says.
    pub well_since_ms: Option<u64>,
    /// Hosts that are to be looked at under the lock beside those of the plan, since the record that was found there has seats on them.
    pub(super) to_see: Option<BTreeSet<HostName>>,
    /// What was told of it last, so that it is told once.
    pub told: BTreeSet<String>,
    /// Slots that came to another host, with where they came from and why, for who asks later.
    pub(super) moved: BTreeMap<Slot, String>,
}

/// What supervision holds back, and what it wants renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    pub rest: BTreeSet<Slot>,
    pub renew: BTreeSet<Slot>,
    /// Slots whose engine is kept from starting them again.
    pub halt: BTreeSet<Slot>,
    /// Who is in a crash loop, or given up, in sentences that stay the same for as long as it is so.
    pub troubles: BTreeSet<String>,
    /// When the first of those that rest is due.
    pub wake_ms: Option<u64>,
}

impl Judgement {
    pub(super) fn rest(&mut self, slot: &Slot, until_ms: Option<u64>) {
        self.rest.insert(slot.clone());
        self.wake_ms = [self.wake_ms, until_ms].into_iter().flatten().min();
    }

    /// Notes whether it is in a crash loop, or not started any more. `ended`: its container, where that does not run.
    fn mark(&mut self, slot: &Slot, service: &Service, history: &History, ended: Option<&Container>) {
        let text = if ended.is_some_and(|container| history.has_given_up(service, container.restarts)) {
            "is not started again: its policy's attempts are used up; `mcompose up` or `start` begins anew"
        } else if history.is_overdone(service) {
            "is stopped: its engine starts it again and again, and its policy's attempts are used up"
        } else if history.is_loop() {
            "is in a crash loop: it ends or turns unhealthy soon after each start, and is started again after growing pauses"
        } else {
            return;
        };
        self.troubles.insert(format!("{slot} {text}"));
    }
}

impl Care {
    pub fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            phase: Phase::Idle,
            dirty: true,
            wake_ms: None,
            newcomers_due_ms: None,
            retry_at_ms: 0,
            rounds: 0,
            histories: BTreeMap::new(),
            misfortunes: BTreeMap::new(),
            done: BTreeSet::new(),
            evening_rounds: EVENING_ROUNDS,
            well_since_ms: None,
            to_see: None,
            told: BTreeSet::new(),
            moved: BTreeMap::new(),
        }
    }

    /// Takes a record that was read anew. With another revision, services that it changes, stops or starts begin with a clean slate;
    /// one that crashes all the time and is as it was stays backed off.
    pub fn redeployed(&mut self, deployment: Deployment) {
        if deployment == self.deployment {
            return;
        }
        if deployment.revision != self.deployment.revision || deployment.halted != self.deployment.halted {
            let is_same = |slot: &Slot| is_same(&self.deployment, &deployment, &slot.service);
            self.histories.retain(|slot, _| is_same(slot));
            self.done.retain(is_same);
            self.retry_at_ms = 0;
            self.rounds = 0;
            self.evening_rounds = EVENING_ROUNDS;
            self.well_since_ms = None;
        }
        if deployment.state != self.deployment.state || deployment.stuck != self.deployment.stuck {
            self.retry_at_ms = 0;
            self.rounds = 0;
        }
        self.deployment = deployment;
        self.dirty = true;
    }

    /// Goes through the replicas on the hosts that answer: who ended, who is unhealthy, who is to be left alone for now.
    pub fn judge(&mut self, world: &World, keeps_deployed: bool, seed: u64, now_ms: u64) -> Judgement {
        let mut judgement = Judgement::default();
        let project = &self.deployment.project;
        let jitter = |slot: &Slot| Jitter::of(seed, &format!("{}/{slot}", project.name));
        let awaited = awaited_to_complete(project);
        let fillers = world.fillers(&project.name);
        for (slot, container) in &fillers {
            let Some(service) = project.services.get(&slot.service) else { continue };
            let is_awaited = awaited.contains(&slot.service);
            let terms = Terms { service, is_awaited, keeps_deployed, jitter: jitter(slot) };
            judge_slot(&mut self.histories, &mut self.done, &mut judgement, slot, terms, container, now_ms);
        }
        // Who is gone altogether waits for its turn too, and who was done stays done.
        for (slot, history) in self.histories.iter_mut().filter(|(slot, _)| !fillers.contains_key(slot)) {
            let Some(service) = project.services.get(&slot.service) else { continue };
            history.down(service, Down::Ended, now_ms);
            judgement.mark(slot, service, history, None);
            match history.start_at_ms(service, None, true, jitter(slot)) {
                Some(at_ms) if at_ms <= now_ms => {}
                until_ms => judgement.rest(slot, until_ms),
            }
        }
        self.done.iter().filter(|slot| !fillers.contains_key(slot)).for_each(|slot| judgement.rest(slot, None));
        judgement
    }

    /// Whether each of these slots has a replica that runs, and is healthy where that is told, or has ended well and stays so.
    pub(super) fn is_well<'a>(&self, world: &World, mut slots: impl Iterator<Item = &'a Slot>) -> bool {
        let fillers = world.fillers(&self.deployment.project.name);
        slots.all(|slot| {
            fillers.get(slot).is_some_and(|container| match &container.state {
                State::Running => matches!(container.health, Health::None | Health::Healthy),
                State::Exited { code } => *code == Some(0) && self.done.contains(slot),
                _ => false,
            })
        })
    }

    /// From when on the record counts as deployed well, if all stays as it is; nothing where it does not run yet, or it is no
    /// question.
    pub(super) fn settles_at_ms(&mut self, is_well: bool, now_ms: u64) -> Option<u64> {
        if !is_well || self.deployment.state != RecordState::Begun {
            self.well_since_ms = None;
            return None;
        }
        let services = self.deployment.project.services.values();
        let watched_ms = services.filter_map(monitor_ms).max().unwrap_or_default().max(SETTLES_MS);
        Some(self.well_since_ms.get_or_insert(now_ms).saturating_add(watched_ms))
    }

    /// Slots are to be elsewhere than the record has them. `why_lost` tells of a host that is lost why it is.
    pub(super) fn moves(&mut self, seats: &BTreeMap<Slot, HostName>, why_lost: impl Fn(&HostName) -> Option<String>) {
        for (slot, to) in seats {
            let Some(from) = self.deployment.seats.get(slot).filter(|from| *from != to) else { continue };
            let why = why_lost(from).map(|why| format!(", which was lost: {why}")).unwrap_or_default();
            self.moved.insert(slot.clone(), format!("{MOVED}{slot} came from {from}{why}"));
        }
        self.moved.retain(|slot, _| seats.contains_key(slot));
    }

    /// A plan about these slots was carried out, well or not.
    pub fn tried(&mut self, slots: &BTreeSet<Slot>, now_ms: u64) {
        for slot in slots {
            self.histories.entry(slot.clone()).or_default().started(now_ms);
        }
    }
}

/// How long a new replica of the service is watched, where it says so.
fn monitor_ms(service: &Service) -> Option<u64> {
    let monitor = service.deploy.as_ref()?.update_config.as_ref()?.monitor?;
    Some(u64::try_from(monitor.to_std().as_millis()).unwrap_or(u64::MAX))
}

/// Whether two records want the same of a service.
fn is_same(before: &Deployment, now: &Deployment, service: &ServiceName) -> bool {
    let services = [before, now].map(|deployment| deployment.project.services.get(service));
    services[0] == services[1] && before.halted.contains(service) == now.halted.contains(service)
}

/// What a replica is judged by.
struct Terms<'a> {
    service: &'a Service,
    /// Another service waits for it to complete.
    is_awaited: bool,
    /// As in `Settings`.
    keeps_deployed: bool,
    jitter: Jitter,
}

/// What becomes of one replica that was seen.
fn judge_slot(
    histories: &mut BTreeMap<Slot, History>,
    done: &mut BTreeSet<Slot>,
    judgement: &mut Judgement,
    slot: &Slot,
    Terms { service, is_awaited, keeps_deployed, jitter }: Terms<'_>,
    container: &Container,
    now_ms: u64,
) {
    let (down, has_run) = match &container.state {
        State::Running if container.health != Health::Unhealthy => {
            done.remove(slot);
            if let Some(history) = histories.get_mut(slot) {
                history.up(service, container.health, now_ms);
                judgement.mark(slot, service, history, None);
            }
            return;
        }
        State::Running => (Down::Unhealthy, true),
        State::Restarting => {
            let Some(restarts) = container.restarts else { return };
            let history = histories.entry(slot.clone()).or_default();
            history.restarting(service, restarts, now_ms);
            if history.is_overdone(service) {
                judgement.halt.insert(slot.clone());
            }
            return judgement.mark(slot, service, history, None);
        }
        State::Paused => return judgement.rest(slot, None),
        // A plan that was interrupted made it, or its start failed: it did not end.
        State::Created => (Down::Ended, false),
        State::Exited { .. } | State::Removing | State::Dead | State::Other(_) => (Down::Ended, true),
    };
    if let State::Exited { code } = container.state
        && verdict(service, is_awaited, code, keeps_deployed) == Verdict::Stays
    {
        done.insert(slot.clone());
        return judgement.rest(slot, None);
    }
    let history = histories.entry(slot.clone()).or_default();
    history.down(service, down, now_ms);
    judgement.mark(slot, service, history, Some(container).filter(|_| down == Down::Ended));
    match history.start_at_ms(service, container.restarts, has_run, jitter) {
        Some(at_ms) if at_ms <= now_ms => {
            if down == Down::Unhealthy {
                judgement.renew.insert(slot.clone());
            }
        }
        until_ms => judgement.rest(slot, until_ms),
    }
}

/// Services that another waits for to complete.
fn awaited_to_complete(project: &Project) -> BTreeSet<ServiceName> {
    let needs = project.services.values().flat_map(|service| &service.depends_on);
    let awaited = needs.filter(|(_, needed)| needed.condition == Condition::ServiceCompletedSuccessfully);
    awaited.map(|(name, _)| name.clone()).collect()
}
