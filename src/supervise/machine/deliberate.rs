//! What is to be done about one project: placed and planned as `up` would, but for what supervision holds back.

use std::collections::{BTreeMap, BTreeSet};

use super::care::EVENING_ROUNDS;
use super::jitter::Jitter;
use super::misfortune::{elsewhere, shunned};
use super::newcomers::newcomers;
use super::watches::Watches;
use super::{Care, Deployment};
use super::{Command, Machine, Notice, Phase, RETRY_MS, RETRY_MS_MAX, ROUNDS_AT_ONCE, Settings, State};
use crate::placement::{Placement, Request, place, rebalance, seats_to_remember};
use crate::plan::{self, Goal, Inputs, Note, Plan, Recreate, Selection, Step, Subject, Up};
use crate::project::{Availability, Host, HostName, ProjectName, Rebalancing, RecordState, ServiceName, Slot};
use crate::world::Sight;

/// Replicas of a project that move in one plan so that loads are more even.
const MOVES_AT_ONCE: usize = 4;
/// After so many plans that failed, the loads stay uneven until a host turns again.
const FAILED_EVENINGS_MAX: u32 = 5;

/// A plan for one project as it is seen now.
#[derive(Debug, Clone, PartialEq)]
pub struct Deliberation {
    pub plan: Plan,
    pub seats: BTreeMap<Slot, HostName>,
    /// When something that rests now is due.
    pub wake_ms: Option<u64>,
    /// Nothing is left to do, and all that was asked for runs.
    pub is_well: bool,
    /// The plan only moves replicas, so that the hosts' loads are more even.
    pub is_evening: bool,
    /// Crash loops, and who is given up: in sentences.
    pub troubles: BTreeSet<String>,
}

/// A host that came back a moment ago keeps what it has and gets nothing new.
pub(super) fn trusted(host: &Host, is_trusted: bool) -> Host {
    let availability = match host.availability {
        Availability::Active if !is_trusted => Availability::Pause,
        availability => availability,
    };
    Host { availability, ..host.clone() }
}

impl Machine {
    /// What would be done now; nothing for a project without a record.
    pub fn deliberate(&mut self, project: &ProjectName, now_ms: u64) -> Option<Deliberation> {
        let (hosts, world, lost) = self.surroundings(now_ms);
        let cooling = self.watches.values().map(|watch| watch.cooling_until_ms).filter(|until_ms| *until_ms > now_ms).min();
        // What evens the loads waits until nobody is in doubt, nor too new to be given something, nor missed by the others.
        let unnoticed_until_ms = self.unnoticed_until_ms(now_ms);
        let is_calm = cooling.is_none() && unnoticed_until_ms.is_none() && self.watches.is_calm();
        let Settings { keeps_deployed, rebalance: rebalancing, seed, .. } = self.settings;
        let care = self.cares.get_mut(project)?;
        let mut judgement = care.judge(&world, keeps_deployed, seed, now_ms);
        let deployment = &care.deployment;
        let request = Request { lost, known: deployment.seats.clone(), fabric: self.fabric.clone(), ..Request::default() };
        let mut placement = place(&deployment.project, &hosts, &world, &request);
        let shunned = shunned(&care.misfortunes, now_ms);
        if let Some(other) = elsewhere(&deployment.project, &hosts, &world, &request, &placement, &shunned) {
            placement = other;
        }
        care.newcomers_due_ms = None;
        if unnoticed_until_ms.is_some() {
            let newcomers = newcomers(&deployment.project, &placement, &world);
            care.newcomers_due_ms = unnoticed_until_ms.filter(|_| !newcomers.is_empty());
            newcomers.iter().for_each(|slot| judgement.rest(slot, unnoticed_until_ms));
        }
        let up = Up {
            services: Selection::Only(running(deployment)),
            deps: false,
            recreate: Recreate::Specified,
            recreate_deps: Recreate::Specified,
            rest: judgement.rest,
            renew: judgement.renew,
            halt: judgement.halt,
            keep: deployment.stuck.clone(),
            rollback: deployment.is_rollback,
            // Whoever drains a host may find that the supervisor was faster.
            gently: true,
            ..Up::default()
        };
        let inputs = Inputs {
            project: &deployment.project,
            placement: &placement,
            hosts: &hosts,
            world: &world,
            fabric: &self.fabric,
            revision: deployment.revision,
            // The project's files are elsewhere, but for what the hosts have.
            here: &self.keys,
            kept: None,
        };
        let plan = plan::plan(&Goal::Up(up.clone()), &inputs);
        // What fits nowhere may fit on a host that is trusted again, and a global service has no slot for it before.
        let wake_ms = [judgement.wake_ms, cooling].into_iter().flatten().min();
        let seats = |placement: &Placement| seats_to_remember(&deployment.project, placement, &deployment.seats);
        let is_whole = plan.is_empty() && !plan.is_partial() && deployment.halted.is_empty();
        let is_well = is_whole && care.is_well(&world, placement.seats.keys());
        let mut deliberation =
            Deliberation { plan, seats: seats(&placement), wake_ms, is_well, is_evening: false, troubles: judgement.troubles };
        if !deliberation.plan.is_empty() || !is_calm || care.evening_rounds == 0 || rebalancing == Rebalancing::Off {
            return Some(deliberation);
        }
        let stay = up.rest.iter().chain(placement.seats.keys().filter(|slot| deployment.halted.contains(&slot.service)));
        let better = rebalance(&deployment.project, &hosts, &world, &request, &stay.cloned().collect(), MOVES_AT_ONCE);
        let only_moves = Up { recreate: Recreate::Never, recreate_deps: Recreate::Never, ..up };
        let moving = plan::plan(&Goal::Up(only_moves), &Inputs { placement: &better.placement, ..inputs });
        match rebalancing {
            _ if moving.is_empty() => care.evening_rounds = 0,
            Rebalancing::Auto => {
                (deliberation.plan, deliberation.seats, deliberation.is_evening) = (moving, seats(&better.placement), true);
            }
            Rebalancing::Plan | Rebalancing::Off => {
                care.evening_rounds = 0;
                let moves = better.moves.iter().map(|one| format!("{} from {} to {}", one.slot, one.from, one.to)).collect();
                self.tell(Notice::Uneven { project: project.clone(), moves });
            }
        }
        Some(deliberation)
    }

    /// Thinks about every project that something was seen of, and asks for the lock of those that need something.
    pub(super) fn mend(&mut self, now_ms: u64) {
        if !self.leads || self.holds || now_ms < self.watches.eyes_open_ms() {
            return;
        }
        self.interrupt_for_newcomers(now_ms);
        let due = |care: &Care| {
            let is_due = care.dirty || care.wake_ms.is_some_and(|wake_ms| wake_ms <= now_ms);
            care.phase == Phase::Idle && is_due && care.retry_at_ms <= now_ms
        };
        let projects: Vec<ProjectName> =
            self.cares.iter().filter(|(_, care)| due(care)).map(|(project, _)| project.clone()).collect();
        for project in projects {
            let Some(deliberation) = self.deliberate(&project, now_ms) else { continue };
            self.unmet(&project, &deliberation);
            let mut look = hosts_of(&deliberation.plan);
            let Some(care) = self.cares.get_mut(&project) else { continue };
            look.extend(seats_of(&deliberation.plan, care, &self.watches));
            look.extend(care.to_see.clone().into_iter().flatten());
            care.dirty = false;
            let settles_at_ms = care.settles_at_ms(deliberation.is_well, now_ms);
            let settles = settles_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
            care.wake_ms = [deliberation.wake_ms, settles_at_ms].into_iter().flatten().min();
            // Who reads a failed record under the lock goes back to the last good one.
            let goes_back = care.deployment.state == RecordState::Failing;
            if deliberation.plan.is_empty() && !settles && !goes_back {
                care.rounds = 0;
                continue;
            }
            care.phase = Phase::Asked;
            self.commands.push(Command::Lock { project, look });
        }
    }

    pub(super) fn locked(
        &mut self,
        project: ProjectName,
        deployment: Option<Box<Deployment>>,
        looks: BTreeMap<HostName, Sight>,
        now_ms: u64,
    ) {
        let looked: BTreeSet<HostName> = looks.keys().cloned().collect();
        looks.into_iter().for_each(|(host, sight)| self.sight(&host, sight, now_ms));
        let Some(care) = self.cares.get_mut(&project) else {
            return self.commands.push(Command::Unlock { project });
        };
        care.phase = Phase::Idle;
        care.dirty = false;
        match deployment {
            Some(deployment) => care.redeployed(*deployment),
            None => {
                self.cares.remove(&project);
                return self.commands.push(Command::Unlock { project });
            }
        }
        self.doubt_oneself();
        let deliberation = if self.leads && !self.holds { self.deliberate(&project, now_ms) } else { None };
        let Some(care) = self.cares.get_mut(&project) else { return };
        let unseen = |plan: &Plan| -> BTreeSet<HostName> {
            seats_of(plan, care, &self.watches).into_iter().filter(|host| !looked.contains(host)).collect()
        };
        let unseen = deliberation.as_ref().map(|deliberation| unseen(&deliberation.plan)).filter(|unseen| !unseen.is_empty());
        // Once: a host that does not answer after all is no reason to wait.
        let is_second = care.to_see.take().is_some();
        match deliberation {
            Some(_) if unseen.is_some() && !is_second => {
                care.to_see = unseen;
                care.dirty = true;
                self.commands.push(Command::Unlock { project });
            }
            Some(deliberation) if !deliberation.plan.is_empty() => {
                care.dirty = false;
                care.wake_ms = deliberation.wake_ms;
                let Deliberation { plan, seats, is_evening, .. } = deliberation;
                care.evening_rounds = care.evening_rounds.saturating_sub(u32::from(is_evening));
                care.phase = Phase::Applying { slots: slots_of(&plan), interrupted: false, is_evening };
                let lost = |host: &HostName| self.watches.get(host.as_str()).filter(|watch| watch.state == State::Lost);
                care.moves(&seats, |host| Some(lost(host)?.why.clone()));
                let causes = causes_of(&plan);
                self.tell(Notice::Repairs { project: project.clone(), causes });
                let look = hosts_of(&plan);
                self.commands.push(Command::Apply { project, plan: Box::new(plan), seats, look });
            }
            other => {
                care.dirty = other.is_none();
                let settles_at_ms = care.settles_at_ms(other.as_ref().is_some_and(|other| other.is_well), now_ms);
                care.wake_ms = [other.and_then(|other| other.wake_ms), settles_at_ms].into_iter().flatten().min();
                if settles_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                    care.deployment.state = RecordState::Good;
                    care.rounds = 0;
                    return self.commands.push(Command::Settle { project });
                }
                self.commands.push(Command::Unlock { project });
            }
        }
    }

    pub(super) fn applied(
        &mut self,
        project: &ProjectName,
        tried: &BTreeSet<Slot>,
        errors: BTreeSet<String>,
        took_ms: u64,
        now_ms: u64,
    ) {
        let jitter = Jitter::of(self.settings.seed, project.as_str());
        let Some(care) = self.cares.get_mut(project) else { return };
        care.tried(tried, now_ms);
        let was_interrupted = matches!(care.phase, Phase::Applying { interrupted: true, .. });
        if !errors.is_empty() && !was_interrupted {
            // It may say by now that an update failed.
            self.records_due_ms = now_ms;
            return self.failed(project, errors, now_ms);
        }
        care.phase = Phase::Idle;
        care.dirty = true;
        care.rounds += 1;
        if care.rounds > ROUNDS_AT_ONCE {
            care.retry_at_ms = now_ms + retry_ms(care.rounds - ROUNDS_AT_ONCE, jitter);
        }
        if !was_interrupted {
            self.tell(Notice::Repaired { project: project.clone(), took_ms });
        }
    }

    pub(super) fn failed(&mut self, project: &ProjectName, errors: BTreeSet<String>, now_ms: u64) {
        let jitter = Jitter::of(self.settings.seed, project.as_str());
        let Some(care) = self.cares.get_mut(project) else { return };
        // Whatever else fails says nothing of moves.
        if matches!(care.phase, Phase::Applying { is_evening: true, .. }) {
            care.evening_rounds = care.evening_rounds.saturating_sub(EVENING_ROUNDS / FAILED_EVENINGS_MAX);
        }
        care.phase = Phase::Idle;
        care.dirty = true;
        care.rounds += 1;
        let retry_in_ms = retry_ms(care.rounds, jitter);
        care.retry_at_ms = now_ms + retry_in_ms;
        self.tell(Notice::Failed { project: project.clone(), errors, retry_in_ms });
    }

    /// Tells what is held, fits nowhere, or is backed off, once. What waits for a host that is only in doubt is not worth a word.
    fn unmet(&mut self, project: &ProjectName, deliberation: &Deliberation) {
        let is_doubtful = |host: &HostName| self.watches.get(host.as_str()).is_some_and(|watch| watch.state == State::Doubtful);
        let is_unmet = |note: &&Note| match note {
            Note::Held { host, .. } => !is_doubtful(host),
            note => matches!(note, Note::Unplaced { .. } | Note::Refused { .. }),
        };
        let of_plan = deliberation.plan.notes.iter().filter(is_unmet).map(ToString::to_string);
        let mut now: BTreeSet<String> = of_plan.chain(deliberation.troubles.iter().cloned()).collect();
        let Some(care) = self.cares.get_mut(project) else { return };
        now.extend(care.deployment.stuck.iter().map(|service| stuck_text(service, care.deployment.state)));
        let new: Vec<String> = now.difference(&care.told).cloned().collect();
        care.told = now;
        for text in new {
            self.tell(Notice::Unmet { project: project.clone(), text });
        }
    }
}

/// What is told of a service whose update is stuck.
fn stuck_text(service: &ServiceName, state: RecordState) -> String {
    match state {
        RecordState::Failing => format!("the update of {service} failed: going back to the last good revision"),
        _ => format!(
            "the update of {service} is paused, and its replicas stay as they are: `mcompose up` goes on, `mcompose rollback` goes \
             back"
        ),
    }
}

fn retry_ms(times: u32, jitter: Jitter) -> u64 {
    jitter.shortened(RETRY_MS.saturating_mul(1 << times.saturating_sub(1).min(16)).min(RETRY_MS_MAX), times)
}

/// Services that nobody stopped.
fn running(deployment: &Deployment) -> BTreeSet<ServiceName> {
    deployment.project.services.keys().filter(|name| !deployment.halted.contains(*name)).cloned().collect()
}

fn hosts_of(plan: &Plan) -> BTreeSet<HostName> {
    plan.steps.iter().map(|step| step.host.clone()).collect()
}

/// Where the record has the plan's slots, of hosts that answer. Somebody may have put them there a moment ago, and what is not seen of
/// that yet would be made again elsewhere.
fn seats_of(plan: &Plan, care: &Care, watches: &Watches) -> BTreeSet<HostName> {
    let seats = slots_of(plan).into_iter().filter_map(|slot| care.deployment.seats.get(&slot));
    seats.filter(|host| watches.get(host.as_str()).is_some_and(|watch| !watch.is_silent())).cloned().collect()
}

fn slots_of(plan: &Plan) -> BTreeSet<Slot> {
    let slot = |step: &Step| match &step.subject {
        Subject::Slot(slot) => Some(slot.clone()),
        _ => None,
    };
    plan.steps.iter().filter_map(slot).collect()
}

/// One line per slot, with its cause: that of its first step.
fn causes_of(plan: &Plan) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    let mut causes = BTreeSet::new();
    for step in plan.steps.iter().filter(|step| !(step.op.is_gate() || step.op.is_wait())) {
        if told.insert(&step.subject) {
            causes.insert(format!("{} on {} ({})", subject_text(&step.subject), step.host, step.cause));
        }
    }
    causes
}

fn subject_text(subject: &Subject) -> String {
    match subject {
        Subject::Slot(slot) => slot.to_string(),
        Subject::Container(name) => format!("container {name}"),
        Subject::Network(name) => format!("network {name}"),
        Subject::Volume(name) => format!("volume {name}"),
        Subject::Image(name) => format!("image {name}"),
        Subject::Content(name) => format!("files {name}"),
        Subject::Host => "host".to_owned(),
        Subject::Service(name) => name.to_string(),
    }
}
