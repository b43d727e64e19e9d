//! Projects whose replicas change hosts without anybody changing the projects: `drain` and `rebalance`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fleet::look_for;
use super::{HostsError, Stage};
use crate::engine::Engines;
use crate::inventory::Inventory;
use crate::placement::{Placement, Request, seats_to_remember};
use crate::plan::{Goal, Inputs, Note, Plan, Recreate, Selection, Up, plan};
use crate::project::{Host, Project, ProjectName, Slot};
use crate::store::{Holder, Lock, Record, Store};
use crate::world::{Fabric, Question, World};

/// Another's command on a project is waited for this long.
pub(super) const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);

/// What moving works with.
pub(in crate::cli) struct Moving<'a> {
    pub(in crate::cli) inventory: &'a Inventory,
    pub(in crate::cli) engines: &'a Engines,
    pub(in crate::cli) fabric: &'a Fabric,
    pub(in crate::cli) store: &'a dyn Store,
    pub(in crate::cli) stage: &'a dyn Stage,
}

/// What a project is placed in.
pub(in crate::cli) struct Scene<'a> {
    pub(in crate::cli) project: &'a Project,
    pub(in crate::cli) hosts: &'a [Host],
    pub(in crate::cli) world: &'a World,
    pub(in crate::cli) request: Request,
    /// Slots of services that a verb has stopped.
    pub(in crate::cli) stopped: BTreeSet<Slot>,
}

/// Who says where the replicas are to be.
pub(in crate::cli) type Choose<'a> = &'a (dyn Fn(&Scene<'_>) -> Placement + Sync);

impl Moving<'_> {
    /// Moves the replicas of a project's newest record to where `choose` has them, under its lock. False where not all could be;
    /// nothing where there is no record.
    pub(in crate::cli) async fn project(
        &self,
        project: &ProjectName,
        command: &str,
        choose: Choose<'_>,
    ) -> Result<Option<bool>, HostsError> {
        let waiting = |other: Holder| self.stage.note(&format!("`{project}` is being changed by {other}: waiting for it to end"));
        let lock = self.store.lock(project, &Holder::this_process(command), LOCK_WAIT_MAX, &waiting).await?;
        let end = self.locked(project, &lock, choose).await;
        lock.release().await;
        end
    }

    async fn locked(&self, project: &ProjectName, lock: &Lock, choose: Choose<'_>) -> Result<Option<bool>, HostsError> {
        let Some(record) = self.store.latest(project).await? else { return Ok(None) };
        let plan = self.planned(&record, &record.scaled(), choose, None).await?;
        let unmet = plan.notes.iter().filter(|note| matches!(note, Note::Unplaced { .. } | Note::Held { .. }));
        unmet.clone().for_each(|note| self.stage.note(&note.to_string()));
        let met = unmet.count() == 0;
        Ok(Some(self.stage.carry_out(self.engines, &plan, Some(lock.lost())).await.is_success() && met))
    }

    /// The plan that brings the replicas of a record to where `choose` has them, which is written down. `wait_secs`: it ends with
    /// waits until all of them are ready.
    pub(in crate::cli) async fn planned(
        &self,
        record: &Record,
        project: &Project,
        choose: Choose<'_>,
        wait_secs: Option<u64>,
    ) -> Result<Plan, HostsError> {
        let world = self.look(project).await;
        let placement = choose(&self.scene(record, project, &world));
        let seats = seats_to_remember(project, &placement, &record.seats);
        self.store.put(record.redraft(seats, record.halted.clone())).await?;
        // What need not move stays as it is, even where the image's tag stands for another image by now, and what was stopped too.
        let going = project.services.keys().filter(|name| !record.halted.contains(*name)).cloned();
        let up = Up {
            services: Selection::Only(going.collect()),
            deps: false,
            recreate: Recreate::Never,
            recreate_deps: Recreate::Never,
            gently: true,
            wait_secs,
            ..Up::default()
        };
        let inputs = Inputs {
            project,
            placement: &placement,
            hosts: &self.inventory.hosts,
            world: &world,
            fabric: self.fabric,
            revision: record.head.revision,
            here: &self.stage.keys(),
            kept: None,
        };
        Ok(plan(&Goal::Up(up), &inputs))
    }

    /// The hosts with what they have of the project's images.
    pub(in crate::cli) async fn look(&self, project: &Project) -> World {
        look_for(self.engines, &Question::about(project.images())).await
    }

    pub(in crate::cli) fn scene<'x>(&'x self, record: &Record, project: &'x Project, world: &'x World) -> Scene<'x> {
        let request = Request { known: record.seats.clone(), fabric: self.fabric.clone(), ..Request::default() };
        let stopped = record.seats.keys().filter(|slot| record.halted.contains(&slot.service)).cloned().collect();
        Scene { project, hosts: &self.inventory.hosts, world, request, stopped }
    }
}
