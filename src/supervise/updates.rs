//! What follows when a deployment has ended, whoever carried it out: its record says how far it came, and an update that failed is
//! paused or taken back, as the plan's tallies say.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::{Outcome, StepEnd};
use crate::plan::{Failing, Plan, StepFault, StepId};
use crate::project::{Project, ProjectName, RecordState, ServiceName};
use crate::store::{Draft, Record, RecordHead, Store, StoreError, now_secs};

/// A record that goes back from another.
#[derive(Debug, Clone, PartialEq)]
pub struct Back {
    pub record: Record,
    /// What to bring up, with the values that no record keeps.
    pub project: Project,
    pub scales: BTreeMap<ServiceName, u32>,
    /// The revision that its services are of.
    pub good: u64,
}

/// Writes down which updates of a plan failed, for the newest record, and returns them. What was interrupted has not failed.
pub async fn judge(store: &dyn Store, revision: u64, plan: &Plan, outcome: &Outcome) -> Result<Failing, StoreError> {
    let failing = plan.failing(|id| fault(outcome, id));
    if outcome.interrupted || failing.is_empty() {
        return Ok(Failing::default());
    }
    let (state, stuck) = match failing.back.is_empty() {
        true => (RecordState::Paused, failing.paused.clone()),
        false => (RecordState::Failing, failing.back.union(&failing.paused).cloned().collect()),
    };
    store.set_state(&plan.project, revision, state, &stuck).await?;
    Ok(failing)
}

fn fault(outcome: &Outcome, id: StepId) -> Option<StepFault> {
    match outcome.ends.get(&id)? {
        StepEnd::Failed { error, .. } if error.is_passing() => Some(StepFault::Passing),
        StepEnd::Failed { .. } => Some(StepFault::Real),
        StepEnd::Done | StepEnd::Skipped { .. } => None,
    }
}

/// With the lock held: a new record in which what is stuck in a failed one is as it was in the last good one. Without a good one the
/// update is paused instead, and nothing is returned. `current` has the values that no record keeps.
pub async fn take_back(store: &dyn Store, failed: &Record, current: &Project, by: &str) -> Result<Option<Back>, StoreError> {
    let RecordHead { project: name, revision, .. } = &failed.head;
    let stuck = failed.stuck();
    let Some(good) = last_good(store, name, *revision).await? else {
        store.set_state(name, *revision, RecordState::Paused, &stuck).await?;
        return Ok(None);
    };
    let (project, scales) = failed.going_back(&good, &stuck, current);
    let draft = Draft {
        project: project.clone(),
        scales: scales.clone(),
        seats: failed.seats.clone(),
        halted: failed.halted.clone(),
        newest_seen: *revision,
        created: now_secs(),
        by: by.to_owned(),
        command: format!("rollback to {}, since {revision} failed", good.head.revision),
    };
    let record = store.put(draft).await?;
    store.set_state(name, *revision, RecordState::RolledBack, &BTreeSet::new()).await?;
    Ok(Some(Back { record, project, scales, good: good.head.revision }))
}

/// The newest good record before this revision.
pub async fn last_good(store: &dyn Store, project: &ProjectName, before: u64) -> Result<Option<Record>, StoreError> {
    let heads = store.records(project).await?;
    match heads.iter().find(|head| head.revision < before && head.state == RecordState::Good) {
        Some(head) => store.record(project, head.revision).await,
        None => Ok(None),
    }
}

/// Whether a record goes back from the one before it, whose update failed.
pub async fn is_rollback(store: &dyn Store, project: &ProjectName, revision: u64) -> Result<bool, StoreError> {
    let heads = store.records(project).await?;
    let before = heads.iter().find(|head| head.revision < revision);
    Ok(before.is_some_and(|head| matches!(head.state, RecordState::RolledBack | RecordState::Failing)))
}
