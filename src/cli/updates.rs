//! What follows when a deployment has ended: its record says how far it came, and an update that failed is paused or taken
//! back, as the plan's tallies say.

use std::collections::BTreeSet;

use super::exit;
use super::failure::Failure;
use super::session::{Held, Keep, Past, Planned, Session};
use crate::apply::{Outcome, StepEnd};
use crate::plan::{FailureAction, Goal, Selection, StepId, Up};
use crate::project::{Project, ProjectName, ServiceName};
use crate::store::{Record, RecordState, Store};
use crate::world::World;

impl Session {
    /// Writes down how the deployment of the newest record ended, and takes back what is to be taken back.
    pub(super) async fn judge(
        &self,
        goal: &Goal,
        project: &Project,
        planned: &Planned,
        outcome: &Outcome,
        held: &Held<'_>,
    ) -> Result<(), Failure> {
        let Goal::Up(up) = goal else { return Ok(()) };
        let has_failed = |id: StepId| matches!(outcome.ends.get(&id), Some(StepEnd::Failed { .. }));
        let failed = planned.plan.failed_updates(has_failed);
        let of = |action: FailureAction| -> BTreeSet<ServiceName> {
            failed.iter().filter(|(_, then)| **then == action).map(|(name, _)| name.clone()).collect()
        };
        let (paused, back) = (of(FailureAction::Pause), of(FailureAction::Rollback));
        let is_whole = up.services == Selection::All && up.start && !planned.plan.is_partial();
        let state = match (outcome.is_success(), paused.is_empty() && back.is_empty()) {
            (true, _) if is_whole => RecordState::Good,
            (true, _) | (false, true) => return Ok(()),
            (false, false) => RecordState::Paused,
        };
        held.store.set_state(&project.name, planned.revision, state).await?;
        for service in &paused {
            let text = format!("the update of `{service}` is paused: `mcompose up` goes on, `mcompose rollback` goes back");
            self.ui.warning(&text);
        }
        match back.is_empty() {
            true => Ok(()),
            false => self.take_back(project, &back, planned.revision, held).await,
        }
    }

    /// Brings the services back to the last good record, in a record of its own.
    async fn take_back(
        &self,
        project: &Project,
        services: &BTreeSet<ServiceName>,
        revision: u64,
        held: &Held<'_>,
    ) -> Result<(), Failure> {
        let names = services.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (Some(good), Some(failed)) =
            (last_good(held.store, &project.name, revision).await?, held.store.record(&project.name, revision).await?)
        else {
            self.ui.warning(&format!("the update of {names} failed, and no good record is there to go back to: it is paused"));
            return Ok(());
        };
        self.ui.warning(&format!("the update of {names} failed: going back to revision {}", good.head.revision));
        let (earlier, scales) = failed.going_back(&good, services, project);
        let goal = Goal::Up(Up { services: Selection::Only(services.clone()), deps: false, rollback: true, ..Up::default() });
        let planned = self.planned_for_good(&goal, &earlier, &scales, Keep::Record, held, &World::default()).await?;
        held.store.set_state(&project.name, revision, RecordState::RolledBack).await?;
        self.notes(&planned.plan);
        let outcome = self.apply(&planned.plan, held.lost.clone()).await;
        if self.told(&planned.plan, &outcome) == exit::OK && self.is_done(&earlier, held).await? {
            held.store.set_state(&project.name, planned.revision, RecordState::Good).await?;
        }
        Ok(())
    }

    /// Whether nothing is left to do for a project.
    async fn is_done(&self, project: &Project, held: &Held<'_>) -> Result<bool, Failure> {
        let world = self.look(Some(project)).await;
        let known = held.store.latest(&project.name).await?;
        let past = Past { known: known.as_ref(), kept: None };
        let planned = self.plan(&Goal::Up(Up::default()), project, world, held.fabric, &past, None);
        Ok(planned.plan.is_empty() && !planned.plan.is_partial())
    }
}

/// The newest good record before this revision.
pub(super) async fn last_good(store: &dyn Store, project: &ProjectName, before: u64) -> Result<Option<Record>, Failure> {
    let heads = store.records(project).await?;
    let good = heads.iter().find(|head| head.revision < before && head.state == RecordState::Good);
    match good {
        Some(head) => Ok(store.record(project, head.revision).await?),
        None => Ok(None),
    }
}
