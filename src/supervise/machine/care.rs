//! One project under supervision: its record, what happened to its slots, and which of them are to be left alone now.

use std::collections::{BTreeMap, BTreeSet};

use super::misfortune::Misfortunes;
use super::policy::{History, Verdict, verdict};
use crate::project::{Condition, HostName, Project, Service, ServiceName, Slot};
use crate::world::{Container, Health, State, World};

/// The newest record of a project, as values.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// With as many replicas as were asked for.
    pub project: Project,
    pub revision: u64,
    pub seats: BTreeMap<Slot, HostName>,
    pub halted: BTreeSet<ServiceName>,
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
    /// What was told of it last, so that it is told once.
    pub told: BTreeSet<String>,
}

/// What supervision holds back, and what it wants renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    pub rest: BTreeSet<Slot>,
    pub renew: BTreeSet<Slot>,
    /// When the first of those that rest is due.
    pub wake_ms: Option<u64>,
}

impl Judgement {
    pub(super) fn rest(&mut self, slot: &Slot, until_ms: Option<u64>) {
        self.rest.insert(slot.clone());
        self.wake_ms = [self.wake_ms, until_ms].into_iter().flatten().min();
    }
}

impl Care {
    pub fn new(deployment: Deployment) -> Self {
        Self {
            deployment,
            phase: Phase::Idle,
            dirty: true,
            wake_ms: None,
            retry_at_ms: 0,
            rounds: 0,
            histories: BTreeMap::new(),
            misfortunes: BTreeMap::new(),
            done: BTreeSet::new(),
            evening_rounds: EVENING_ROUNDS,
            told: BTreeSet::new(),
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
        }
        self.deployment = deployment;
        self.dirty = true;
    }

    /// Goes through the replicas on the hosts that answer: who ended, who is unhealthy, who is to be left alone for now.
    pub fn judge(&mut self, world: &World, keeps_deployed: bool, now_ms: u64) -> Judgement {
        let mut judgement = Judgement::default();
        let project = &self.deployment.project;
        let awaited = awaited_to_complete(project);
        let fillers = world.fillers(&project.name);
        for (slot, container) in &fillers {
            let Some(service) = project.services.get(&slot.service) else { continue };
            let is_awaited = awaited.contains(&slot.service);
            let terms = Terms { service, is_awaited, keeps_deployed };
            judge_slot(&mut self.histories, &mut self.done, &mut judgement, slot, terms, container, now_ms);
        }
        // Who is gone altogether waits for its turn too, and who was done stays done.
        for (slot, history) in self.histories.iter_mut().filter(|(slot, _)| !fillers.contains_key(slot)) {
            let Some(service) = project.services.get(&slot.service) else { continue };
            history.down(service, now_ms);
            match history.start_at_ms(service) {
                Some(at_ms) if at_ms <= now_ms => {}
                until_ms => judgement.rest(slot, until_ms),
            }
        }
        self.done.iter().filter(|slot| !fillers.contains_key(slot)).for_each(|slot| judgement.rest(slot, None));
        judgement
    }

    /// A plan about these slots was carried out, well or not.
    pub fn tried(&mut self, slots: &BTreeSet<Slot>, now_ms: u64) {
        for slot in slots {
            self.histories.entry(slot.clone()).or_default().started(now_ms);
        }
    }
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
}

/// What becomes of one replica that was seen.
fn judge_slot(
    histories: &mut BTreeMap<Slot, History>,
    done: &mut BTreeSet<Slot>,
    judgement: &mut Judgement,
    slot: &Slot,
    Terms { service, is_awaited, keeps_deployed }: Terms<'_>,
    container: &Container,
    now_ms: u64,
) {
    let ended = match &container.state {
        State::Running if container.health != Health::Unhealthy => {
            done.remove(slot);
            if let Some(history) = histories.get_mut(slot) {
                history.up();
            }
            return;
        }
        State::Running => None,
        State::Restarting => return,
        State::Paused => return judgement.rest(slot, None),
        State::Exited { code } => Some(*code),
        State::Created | State::Removing | State::Dead | State::Other(_) => Some(None),
    };
    let is_exited = matches!(container.state, State::Exited { .. });
    if is_exited && verdict(service, is_awaited, ended.flatten(), keeps_deployed) == Verdict::Stays {
        done.insert(slot.clone());
        return judgement.rest(slot, None);
    }
    let history = histories.entry(slot.clone()).or_default();
    history.down(service, now_ms);
    match history.start_at_ms(service) {
        Some(at_ms) if at_ms <= now_ms => {
            if ended.is_none() {
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
