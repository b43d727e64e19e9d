//! What follows when a deployment has ended: its record says how far it came, and an update that failed is paused or taken back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::session::{Held, Keep, Past, Planned, Session};
use super::{Failure, Globals, exit, load};
use crate::apply::Outcome;
use crate::plan::{Goal, Op, Selection, Up};
use crate::project::{Project, ProjectName, ServiceName};
use crate::store::{Record, RecordHead, RecordState, Store, whoami};
use crate::supervise::updates::{self, Back};
use crate::ui::Ui;
use crate::world::World;

/// While an update is carried out, it is asked this often whether somebody paused it.
const PAUSED_POLL: Duration = Duration::from_secs(2);

/// `pause --update`: whoever is at the update begins nothing further of it. Not under the lock, which they have.
pub(super) async fn pause(services: &[String], globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project, world, store) = opened(globals, ui, "pause").await?;
    let record = newest(store.as_ref(), &project.name).await?;
    let good = updates::last_good(store.as_ref(), &project.name, record.head.revision).await?;
    let stuck = match load::selection(services, &project)? {
        Selection::All => unfinished(&record, good.as_ref(), &world),
        Selection::Only(services) => services,
    };
    let head = record.head;
    let stuck: BTreeSet<ServiceName> = match head.state {
        RecordState::Begun if !stuck.is_empty() => stuck,
        RecordState::Paused => head.stuck.union(&stuck).cloned().collect(),
        _ => return Err(no_update(&head)),
    };
    if !session.dry_run {
        store.set_state(&project.name, head.revision, RecordState::Paused, &stuck).await?;
    }
    let revision = head.revision;
    ui.note(&format!(
        "the update to revision {revision} is paused: its replicas stay as they are. `mcompose unpause --update` goes on, \
         `mcompose rollback` goes back"
    ));
    Ok(exit::OK)
}

/// `unpause --update`: a supervisor goes on with it, where there is one.
pub(super) async fn unpause(globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project, _, store) = opened(globals, ui, "unpause").await?;
    let head = newest(store.as_ref(), &project.name).await?.head;
    if head.state != RecordState::Paused {
        return Err(no_update(&head));
    }
    if !session.dry_run {
        store.set_state(&project.name, head.revision, RecordState::Begun, &BTreeSet::new()).await?;
    }
    match store.supervisor().await? {
        Some(supervisor) => ui.note(&format!("{} goes on with the update to revision {}", supervisor.holder, head.revision)),
        None => ui.note("nobody supervises these hosts: `mcompose up` goes on with it"),
    }
    Ok(exit::OK)
}

/// Services that the record changed, and that have replicas of an earlier one yet.
fn unfinished(record: &Record, good: Option<&Record>, world: &World) -> BTreeSet<ServiceName> {
    let changed =
        |name: &ServiceName| good.is_none_or(|good| good.project.services.get(name) != record.project.services.get(name));
    let earlier: BTreeSet<ServiceName> = world
        .containers_of(&record.head.project)
        .filter(|(_, container)| container.labels.revision < Some(record.head.revision))
        .filter_map(|(_, container)| Some(container.slot()?.service))
        .collect();
    record.project.services.keys().filter(|name| changed(name) && earlier.contains(*name)).cloned().collect()
}

async fn opened(globals: &Globals, ui: Ui, verb: &str) -> Result<(Session, Project, World, Arc<dyn Store>), Failure> {
    let (session, project) = load::known_project(globals, ui, verb).await?;
    let world = session.look_and_warn().await?;
    let store = session.store(&session.fabric(&world)?, &world)?;
    Ok((session, project, world, store))
}

async fn newest(store: &dyn Store, project: &ProjectName) -> Result<Record, Failure> {
    let hint = "`mcompose ls` shows which projects there are".to_owned();
    let missing = || Failure::said(format!("no revision of `{project}` is kept in {}", store.place()), hint, exit::FAILURE);
    store.latest(project).await?.ok_or_else(missing)
}

fn no_update(head: &RecordHead) -> Failure {
    let RecordHead { project, revision, state, .. } = head;
    let error = format!("no update of `{project}` is to be paused or gone on with: revision {revision} is {}", state.as_str());
    Failure::said(error, "`mcompose history` lists the revisions and how far each came".to_owned(), exit::FAILURE)
}

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
        let is_whole = up.services == Selection::All && up.start && !planned.plan.is_partial();
        if outcome.is_success() {
            if is_whole {
                held.store.set_state(&project.name, planned.revision, RecordState::Good, &BTreeSet::new()).await?;
            }
            return Ok(());
        }
        // Also one that was good before: its images may stand for others now.
        let failing = updates::judge(held.store, planned.revision, &planned.plan, outcome).await?;
        match failing.back.is_empty() {
            true => failing.paused.iter().for_each(|service| self.is_paused(service)),
            false => self.take_back(project, planned.revision, held).await?,
        }
        Ok(())
    }

    /// Ends once somebody else pauses the update that the plan is; never for any other plan.
    pub(super) async fn paused_elsewhere(&self, project: &ProjectName, planned: &Planned, keep: Keep, held: &Held<'_>) {
        let is_update = planned.plan.steps.iter().any(|step| matches!(step.op, Op::Tally { .. }));
        if keep != Keep::Record || !is_update {
            return std::future::pending().await;
        }
        let is_it = |head: &RecordHead| head.revision == planned.revision && head.state == RecordState::Paused;
        loop {
            tokio::time::sleep(PAUSED_POLL).await;
            if held.store.records(project).await.is_ok_and(|heads| heads.iter().any(is_it)) {
                return;
            }
        }
    }

    fn is_paused(&self, service: &ServiceName) {
        self.ui.warning(&format!("the update of `{service}` is paused: `mcompose up` goes on, `mcompose rollback` goes back"));
    }

    /// Brings what failed back to the last good record, in a record of its own.
    async fn take_back(&self, project: &Project, revision: u64, held: &Held<'_>) -> Result<(), Failure> {
        let Some(failed) = held.store.record(&project.name, revision).await? else { return Ok(()) };
        let services = failed.stuck();
        let names = services.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let Some(Back { project: earlier, scales, good, .. }) =
            updates::take_back(held.store, &failed, project, &whoami()).await?
        else {
            self.ui.warning(&format!("the update of {names} failed, and no good record is there to go back to: it is paused"));
            return Ok(());
        };
        self.ui.warning(&format!("the update of {names} failed: going back to revision {good}"));
        let goal = Goal::Up(Up { services: Selection::Only(services), deps: false, rollback: true, ..Up::default() });
        let planned = self.planned_for_good(&goal, &earlier, &scales, Keep::Record, held, &World::default()).await?;
        self.notes(&planned.plan);
        let outcome = self.apply(&planned.plan, held.lost.clone()).await;
        if self.told(&planned.plan, &outcome) == exit::OK && self.is_done(&earlier, held).await? {
            held.store.set_state(&project.name, planned.revision, RecordState::Good, &BTreeSet::new()).await?;
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
