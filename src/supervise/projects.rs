//! Records, locks and plans of the projects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::hosts::{Extent, Looker, look_at};
use super::machine::{Deployment, Event};
use super::run::{ByProject, Message, Scope, is_true};
use super::updates;
use crate::apply::{self, HostTurns, Limits, Outcome, StepEnd, apply_in_turns};
use crate::delivery::{Cargo, Keys};
use crate::engine::{EngineError, Engines, ErrorKind};
use crate::plan::{Op, Plan, StepId, Subject, step_text};
use crate::project::{HostName, ProjectName, RecordState, Slot};
use crate::store::{Holder, Lock, Record, RecordHead, Store, StoreError};

/// A command that works on the project is waited for this long before it is tried again.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two attempts to read the records.
const READ_PAUSE: Duration = Duration::from_secs(2);
/// Calls that are under way when a plan is interrupted are waited for this long: one to a lost host has no other end.
const INTERRUPTED_WAIT_MAX: Duration = Duration::from_secs(2);
/// At the end, what is under way is waited for this long.
const END_WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct Projects {
    store: Arc<dyn Store>,
    scope: Scope,
    limits: Limits,
    /// Those of each host, for the plans of all projects.
    turns: HostTurns,
    holder: Holder,
    /// Nothing but keys: the project's files are elsewhere.
    cargo: Cargo,
    sender: mpsc::UnboundedSender<Message>,
    held: ByProject<Locked>,
    interrupts: ByProject<watch::Sender<bool>>,
    tasks: JoinSet<()>,
    locks_asked: u64,
}

/// A project's lock, and its record as it was read under it.
pub(super) struct Locked {
    project: ProjectName,
    lock: Lock,
    record: Option<Record>,
}

impl Projects {
    pub(super) fn new(
        store: Arc<dyn Store>,
        scope: Scope,
        limits: Limits,
        holder: Holder,
        keys: Keys,
        sender: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let (held, interrupts) = (BTreeMap::new(), BTreeMap::new());
        let turns = HostTurns::new(limits.per_host);
        let cargo = Cargo::of_keys(keys);
        Self { store, scope, limits, turns, holder, cargo, sender, held, interrupts, tasks: JoinSet::new(), locks_asked: 0 }
    }

    /// Where records and locks are from now on; what is under way ends where it began.
    pub(super) fn keep_at(&mut self, store: Arc<dyn Store>) {
        self.store = store;
    }

    pub(super) fn read(&mut self) {
        let (store, scope, sender) = (Arc::clone(&self.store), self.scope.clone(), self.sender.clone());
        self.tasks.spawn(async move {
            let records = loop {
                match read(store.as_ref(), &scope).await {
                    Ok(records) => break records,
                    Err(_) => sleep(READ_PAUSE).await,
                }
            };
            let _ = sender.send(Message::Event(Event::Records(records)));
        });
    }

    pub(super) fn lock(&mut self, project: ProjectName, lookers: Vec<Looker>) {
        let (store, sender) = (Arc::clone(&self.store), self.sender.clone());
        // Each time another holder, so that a lock that is just given back is not taken for one that is held.
        self.locks_asked += 1;
        let token = format!("{}:{}", self.holder.token, self.locks_asked);
        let holder = Holder { token, ..self.holder.clone() };
        self.tasks.spawn(async move {
            let message = match locked(store.as_ref(), &holder, &project, lookers).await {
                Ok(message) => message,
                Err(error) => Message::Event(Event::NotLocked { project, why: chain(&error) }),
            };
            let _ = sender.send(message);
        });
    }

    pub(super) fn hold(&mut self, locked: Locked) {
        self.held.insert(locked.project.clone(), locked);
    }

    pub(super) fn unlock(&mut self, project: &ProjectName) {
        if let Some(locked) = self.held.remove(project) {
            self.tasks.spawn(locked.lock.release());
        }
    }

    /// The record was deployed whole and well.
    pub(super) fn settle(&mut self, project: &ProjectName) {
        let Some(Locked { lock, record: Some(record), .. }) = self.held.remove(project) else { return };
        let store = Arc::clone(&self.store);
        self.tasks.spawn(async move {
            // Where that cannot be written now, the record is read as it was, and this is tried again.
            let head = &record.head;
            let _ = store.set_state(&head.project, head.revision, RecordState::Good, &BTreeSet::new()).await;
            lock.release().await;
        });
    }

    pub(super) fn interrupt(&self, project: &ProjectName) {
        if let Some(interrupt) = self.interrupts.get(project) {
            let _ = interrupt.send(true);
        }
    }

    pub(super) fn apply(
        &mut self,
        project: ProjectName,
        plan: Plan,
        seats: BTreeMap<Slot, HostName>,
        engines: Engines,
        lookers: Vec<Looker>,
    ) {
        let Some(Locked { lock, record, .. }) = self.held.remove(&project) else { return };
        let (interrupt, interrupted) = watch::channel(false);
        self.interrupts.insert(project.clone(), interrupt);
        let (store, limits, sender) = (Arc::clone(&self.store), (self.limits, self.turns.clone()), self.sender.clone());
        let cargo = self.cargo.clone();
        self.tasks.spawn(async move {
            let began = Instant::now();
            let kept = match record.as_ref().filter(|record| record.seats != seats) {
                Some(record) => store.put(record.redraft(seats, record.halted.clone())).await.map(drop),
                None => Ok(()),
            };
            let (tried, mut errors, outcome) = match kept {
                Ok(()) => carry_out(&engines, &plan, &limits, &cargo, interrupted, lock.lost()).await,
                Err(error) => (BTreeSet::new(), BTreeSet::from([chain(&error)]), None),
            };
            let slots = outcome.as_ref().map(|outcome| unlucky(&plan, outcome)).unwrap_or_default();
            if !slots.is_empty() {
                let _ = sender.send(Message::Event(Event::Unlucky { project: project.clone(), slots }));
            }
            // What fails of a record that was carried out well before, or is stuck already, has another reason.
            let head = record.map(|record| record.head).filter(|head| head.state == RecordState::Begun);
            if let Some((head, outcome)) = head.zip(outcome)
                && let Err(error) = updates::judge(store.as_ref(), head.revision, &plan, &outcome).await
            {
                errors.insert(chain(&error));
            }
            let extent = match errors.is_empty() {
                _ if plan.brings_resources() => Extent::Changed,
                true => Extent::Containers,
                false => Extent::Doubtful,
            };
            let looks = look_at(lookers, extent).await;
            lock.release().await;
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let _ = sender.send(Message::Event(Event::Applied { project, tried, errors, looks, took_ms }));
        });
    }

    /// Interrupts what is under way and waits for its end.
    pub(super) async fn end(mut self) {
        self.interrupts.values().for_each(|interrupt| {
            interrupt.send_replace(true);
        });
        for locked in std::mem::take(&mut self.held).into_values() {
            self.tasks.spawn(locked.lock.release());
        }
        let _ = timeout(END_WAIT_MAX, async {
            // What only reads, or waits for a lock, has nothing to finish.
            loop {
                self.interrupts.retain(|_, interrupt| interrupt.receiver_count() > 0);
                if self.interrupts.is_empty() || self.tasks.join_next().await.is_none() {
                    return;
                }
            }
        })
        .await;
    }
}

async fn read(store: &dyn Store, scope: &Scope) -> Result<BTreeMap<ProjectName, Deployment>, StoreError> {
    let names: Vec<ProjectName> = match scope {
        Scope::All => store.projects().await?.into_iter().map(|head| head.project).collect(),
        Scope::Project(project) => vec![project.clone()],
    };
    let mut deployments = BTreeMap::new();
    for name in names {
        match store.latest(&name).await {
            Ok(Some(record)) => drop(deployments.insert(name, deployment(store, &record).await?)),
            Ok(None) => {}
            // One record that cannot be read must not cost the other projects their supervision.
            Err(StoreError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deployments)
}

async fn deployment(store: &dyn Store, record: &Record) -> Result<Deployment, StoreError> {
    let RecordHead { project, revision, state, .. } = &record.head;
    let good = match state {
        RecordState::Paused | RecordState::Failing => updates::last_good(store, project, *revision).await?,
        RecordState::Begun | RecordState::Good | RecordState::RolledBack => None,
    };
    Ok(Deployment {
        project: good.map_or_else(|| record.scaled(), |good| record.held(&good)),
        revision: *revision,
        seats: record.seats.clone(),
        halted: record.halted.clone(),
        state: *state,
        stuck: record.stuck(),
        is_rollback: *state == RecordState::Begun && updates::is_rollback(store, project, *revision).await?,
    })
}

async fn locked(store: &dyn Store, holder: &Holder, project: &ProjectName, lookers: Vec<Looker>) -> Result<Message, StoreError> {
    let lock = store.lock(project, holder, LOCK_WAIT_MAX, &|_| {}).await?;
    let (read, looks) = tokio::join!(newest(store, holder, project), look_at(lookers, Extent::Containers));
    let (record, deployment) = match read {
        Ok(Some((record, deployment))) => (Some(record), Some(Box::new(deployment))),
        Ok(None) => (None, None),
        Err(error) => {
            lock.release().await;
            return Err(error);
        }
    };
    let event = Event::Locked { project: project.clone(), deployment, looks };
    Ok(Message::Locked(Box::new(Locked { project: project.clone(), lock, record }), event))
}

/// The newest record, with the lock held: where an update failed that is to go back, the one that goes back.
async fn newest(store: &dyn Store, holder: &Holder, project: &ProjectName) -> Result<Option<(Record, Deployment)>, StoreError> {
    let Some(mut record) = store.latest(project).await? else { return Ok(None) };
    if record.head.state == RecordState::Failing {
        let back = updates::take_back(store, &record, &record.project, &holder.who).await?;
        record = match back {
            Some(back) => back.record,
            None => store.latest(project).await?.unwrap_or(record),
        };
    }
    let deployment = deployment(store, &record).await?;
    Ok(Some((record, deployment)))
}

/// Slots with the host that could not make or start them, and what it said.
type Unlucky = BTreeMap<Slot, (HostName, String)>;

/// Carries a plan out; returns the slots that a start was made for, or tried, what went wrong, and how its steps ended, unless it was
/// interrupted.
async fn carry_out(
    engines: &Engines,
    plan: &Plan,
    (limits, turns): &(Limits, HostTurns),
    cargo: &Cargo,
    mut interrupted: watch::Receiver<bool>,
    mut lost: watch::Receiver<bool>,
) -> (BTreeSet<Slot>, BTreeSet<String>, Option<Outcome>) {
    let (events, mut told) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let walk = apply_in_turns(engines, plan, limits, turns, cargo, events, stopped);
    let halt = async {
        tokio::select! {
            biased;
            () = is_true(&mut interrupted) => {}
            () = is_true(&mut lost) => {}
        }
        let _ = stop.send(true);
        sleep(INTERRUPTED_WAIT_MAX).await;
    };
    let outcome = tokio::select! {
        biased;
        // First, so that what was interrupted before it began, or lost its lock, begins nothing.
        () = halt => None,
        outcome = walk => Some(outcome),
    };
    let mut tried = BTreeSet::new();
    while let Ok(event) = told.try_recv() {
        match event {
            apply::Event::Started { step } => drop(tried.insert(step)),
            // It was interrupted before its turn came.
            apply::Event::Ended { step, end: StepEnd::Skipped { .. }, .. } => drop(tried.remove(&step)),
            _ => {}
        }
    }
    let tried = tried.into_iter().filter_map(|step| started_slot(plan, step)).collect();
    let errors = outcome.as_ref().map(|outcome| errors(plan, outcome)).unwrap_or_default();
    (tried, errors, outcome)
}

/// Slots that were not made or started since a step for them on their host failed there, and neither the image nor the way to the host
/// is to blame.
fn unlucky(plan: &Plan, outcome: &Outcome) -> Unlucky {
    let mut unlucky = Unlucky::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let Some(slot) = started_slot(plan, StepId(index)) else { continue };
        let mut root = StepId(index);
        // What was skipped names an earlier step, so this ends.
        for _ in 0..plan.steps.len() {
            match outcome.ends.get(&root) {
                Some(StepEnd::Skipped { because: Some(because) }) => root = *because,
                _ => break,
            }
        }
        if let (Some(StepEnd::Failed { error, .. }), Some(failed)) = (outcome.ends.get(&root), plan.steps.get(root.0))
            && failed.host == step.host
            && is_of_the_host(error)
        {
            unlucky.entry(slot).or_insert_with(|| (step.host.clone(), error.message.clone()));
        }
    }
    unlucky
}

/// What would go wrong with the same image anywhere is not.
fn is_of_the_host(error: &EngineError) -> bool {
    const OF_THE_IMAGE: &[&str] = &["exec", "manifest", "pull access", "no such image", "unauthorized", "entrypoint"];
    let said = error.message.to_lowercase();
    matches!(error.kind, ErrorKind::Failed | ErrorKind::Refused) && !OF_THE_IMAGE.iter().any(|word| said.contains(word))
}

fn started_slot(plan: &Plan, step: StepId) -> Option<Slot> {
    let step = plan.steps.get(step.0)?;
    match (&step.subject, &step.op) {
        (Subject::Slot(slot), Op::Start { .. } | Op::Restart { .. }) => Some(slot.clone()),
        _ => None,
    }
}

fn errors(plan: &Plan, outcome: &Outcome) -> BTreeSet<String> {
    let line = |id: StepId, message: &str| {
        let what = plan.steps.get(id.0).map(step_text).unwrap_or_default();
        format!("cannot {}: {message}", what.trim_end())
    };
    let failures = outcome.failures().filter(|(id, ..)| !outcome.forgiven.contains(id));
    failures.map(|(id, error, _)| line(id, &error.message)).collect()
}

/// An error with its causes, in one line.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::Fake;
    use crate::plan::{Cause, ContainerRef, Step, Tolerance};
    use crate::project::{ContainerSpec, ServiceName};

    /// Makes one container.
    fn plan(subject: Subject) -> Plan {
        let spec = ContainerSpec { image: "web:1".to_owned(), ..ContainerSpec::default() };
        let step = Step {
            host: HostName::new("h1").expect("a host name"),
            subject,
            op: Op::Create { name: "shop-web-1".into(), spec: Box::new(spec.into()) },
            cause: Cause::Missing,
            after: Vec::new(),
            tolerance: Tolerance::Strict,
        };
        Plan { project: ProjectName::new("shop").expect("a name"), steps: vec![step], notes: Vec::new() }
    }

    #[test]
    fn what_was_made_and_not_started_counts_as_no_start() {
        let slot = Slot::new(ServiceName::new("web").expect("a name"), 1).expect("not 0");
        let mut plan = plan(Subject::Slot(slot.clone()));
        assert_eq!(started_slot(&plan, StepId(0)), None);
        plan.steps[0].op = Op::Start { container: ContainerRef::Name("shop-web-1".into()) };
        assert_eq!(started_slot(&plan, StepId(0)), Some(slot));
    }

    /// Carries out a plan of one creation; returns how many containers there are then.
    async fn check(is_interrupted: bool, is_lost: bool, expect: usize) {
        let fake = Fake::new(&["h1"]);
        fake.host("h1").add_image("web:1");
        let plan = plan(Subject::Container("shop-web-1".to_owned()));
        let (_interrupt, interrupted) = watch::channel(is_interrupted);
        let (_lose, lost) = watch::channel(is_lost);
        let limits = (Limits::default(), HostTurns::new(6));
        carry_out(&fake.engines(), &plan, &limits, &Cargo::default(), interrupted, lost).await;
        assert_eq!(fake.host("h1").containers().len(), expect, "interrupted {is_interrupted}, lock lost {is_lost}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_interrupted_or_lost_the_lock_begins_nothing() {
        check(false, false, 1).await;
        check(true, false, 0).await;
        check(false, true, 0).await;
    }
}
