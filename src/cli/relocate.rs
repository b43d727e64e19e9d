//! Volumes to another host, with the replicas that use them: the plans of it, one after the other, under the project's lock.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;

use super::hosts::{HostsError, Moving as Replicas, Stage};
use crate::engine::Engines;
use crate::inventory::Inventory;
use crate::placement::{Request, place};
use crate::plan::{Course, Note, Plan, Relocation, Unmovable, course, text};
use crate::project::{HostName, Project, ProjectName};
use crate::store::{Holder, Record, Store, StoreError};
use crate::world::{Fabric, Moving, World};

/// Another's command on the project is waited for this long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);
/// The replicas on the new host are ready within this, or all goes back.
const READY_SECS_MAX: u64 = 120;

/// What relocating works with.
pub struct Relocating<'a> {
    pub inventory: &'a Inventory,
    pub engines: &'a Engines,
    pub fabric: &'a Fabric,
    pub store: &'a dyn Store,
    pub stage: &'a dyn Stage,
    pub project: &'a ProjectName,
    /// By the engines' names.
    pub volumes: &'a BTreeSet<String>,
    pub to: &'a HostName,
}

/// Why nothing was begun, or what is the matter now.
#[derive(Debug, thiserror::Error)]
pub enum RelocateError {
    #[error(transparent)]
    Unmovable(#[from] Unmovable),
    #[error(transparent)]
    Hosts(#[from] HostsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("project `{project}` has no record on these hosts")]
    NoRecord { project: ProjectName },
}

impl RelocateError {
    /// What helps, where something is known to.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unmovable(error) => error.hint(),
            Self::Hosts(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NoRecord { .. } => Some("`mcompose up` makes one; then its volumes can be moved".to_owned()),
        }
    }
}

/// Whether the volumes are to go on or back.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Done,
    Failed,
    /// Somebody wants it to stop, or the lock is another's: nothing more is done.
    Left,
}

impl Relocating<'_> {
    /// Says what would be done.
    pub async fn rehearse(&self) -> Result<(), RelocateError> {
        let record = self.record().await?;
        let project = record.scaled();
        let world = self.replicas().look(&project).await;
        let asked = self.asked(&project, &world);
        let (plan, then) = match course(&asked, &self.request(&record))? {
            Course::Nothing => {
                self.stage.note(&self.there_already());
                return Ok(());
            }
            Course::Begin(moving) => {
                (asked.begin(&moving), format!("its replicas start on {}, and what is on {} goes", moving.to, moving.from))
            }
            Course::Finish(moving) => (asked.clear(&moving), format!("once its replicas run on {}", moving.to)),
            Course::Withdraw(moving) => (asked.clear(&moving), format!("once its replicas run on {}", moving.from)),
        };
        self.stage.data(&text(&plan));
        self.stage.note(&format!("then: {then}"));
        Ok(())
    }

    /// Moves the volumes, goes on with a move that was interrupted, or takes it back. False where they are not there afterwards; then
    /// all is as it was, or it was said what is not.
    pub async fn run(&self, command: &str) -> Result<bool, RelocateError> {
        let project = self.project;
        let waiting = |other: Holder| self.stage.note(&format!("`{project}` is being changed by {other}: waiting for it to end"));
        let lock = self.store.lock(project, &Holder::this_process(command), LOCK_WAIT_MAX, &waiting).await?;
        let end = self.locked(&lock.lost()).await;
        lock.release().await;
        end
    }

    async fn locked(&self, lost: &watch::Receiver<bool>) -> Result<bool, RelocateError> {
        let record = self.record().await?;
        let project = record.scaled();
        let world = self.replicas().look(&project).await;
        let asked = self.asked(&project, &world);
        match course(&asked, &self.request(&record))? {
            Course::Nothing => {
                self.stage.note(&self.there_already());
                Ok(true)
            }
            Course::Begin(moving) => {
                let plan = asked.begin(&moving);
                let end = match self.carry_out(&plan, lost).await {
                    End::Done => self.switch(&record, &project, lost).await?,
                    // Nothing runs on the new host yet, so going back loses nothing.
                    End::Left if !*lost.borrow() => End::Failed,
                    end => end,
                };
                match end {
                    End::Done => self.clear(&project, lost).await,
                    End::Failed => self.go_back(&record, &project, &moving, lost).await.map(|()| false),
                    End::Left => Ok(self.leave_as_it_is(&moving)),
                }
            }
            // The replicas may have run on the new host for long, and what they wrote there is to stay.
            Course::Finish(moving) => match self.switch(&record, &project, lost).await? {
                End::Done => self.clear(&project, lost).await,
                End::Failed | End::Left => Ok(self.leave_as_it_is(&moving)),
            },
            Course::Withdraw(moving) => {
                self.go_back(&record, &project, &moving, lost).await?;
                Ok(self.replicas().look(&project).await.moving().keys().all(|volume| !self.volumes.contains(volume)))
            }
        }
    }

    /// The replicas are brought to where the volumes live, and ready.
    async fn switch(&self, record: &Record, project: &Project, lost: &watch::Receiver<bool>) -> Result<End, RelocateError> {
        let plan = self.plan_for_replicas(record, project, Some(READY_SECS_MAX)).await?;
        let unmet =
            plan.notes.iter().filter(|note| matches!(note, Note::Unplaced { .. } | Note::Held { .. } | Note::Refused { .. }));
        unmet.clone().for_each(|note| self.stage.note(&note.to_string()));
        let is_met = unmet.count() == 0;
        let end = self.carry_out(&plan, lost).await;
        Ok(if end == End::Done && !is_met { End::Failed } else { end })
    }

    /// Once the replicas are where the volumes live, what is left elsewhere goes. False where it did not.
    async fn clear(&self, project: &Project, lost: &watch::Receiver<bool>) -> Result<bool, RelocateError> {
        let world = self.replicas().look(project).await;
        let marks = world.moving();
        let Some(moving) = self.volumes.iter().find_map(|volume| marks.get(volume)) else { return Ok(true) };
        let plan = self.asked(project, &world).clear(moving);
        if !plan.is_empty() && self.carry_out(&plan, lost).await == End::Done {
            let from_to = format!("{} to {}", moving.stale(), moving.home());
            self.stage.note(&format!("{} moved from {from_to}", self.names()));
            return Ok(true);
        }
        Ok(self.leave_as_it_is(moving))
    }

    /// The replicas start where they were, and the new copies go.
    async fn go_back(
        &self,
        record: &Record,
        project: &Project,
        moving: &Moving,
        lost: &watch::Receiver<bool>,
    ) -> Result<(), RelocateError> {
        if *lost.borrow() {
            self.leave_as_it_is(moving);
            return Ok(());
        }
        self.stage.note(&format!("going back: {} stays on {}", self.names(), moving.from));
        let world = self.replicas().look(project).await;
        // One that does not answer may have the mark that they have moved.
        if world.seen(moving.from.as_str()).is_none() || world.seen(moving.to.as_str()).is_none() {
            self.leave_as_it_is(moving);
            return Ok(());
        }
        let marks = world.moving();
        if let Some(moved) = self.volumes.iter().find_map(|volume| marks.get(volume)).filter(|seen| seen.has_moved) {
            let plan = self.asked(project, &world).take_back(moved);
            if self.carry_out(&plan, lost).await != End::Done {
                self.leave_as_it_is(moved);
                return Ok(());
            }
        }
        let plan = self.plan_for_replicas(record, project, None).await?;
        self.carry_out(&plan, lost).await;
        let world = self.replicas().look(project).await;
        let marks = world.moving();
        if let Some(half) = self.volumes.iter().find_map(|volume| marks.get(volume)).filter(|seen| !seen.has_moved) {
            let plan = self.asked(project, &world).clear(half);
            if plan.is_empty() || self.carry_out(&plan, lost).await != End::Done {
                self.leave_as_it_is(half);
            }
        }
        Ok(())
    }

    async fn plan_for_replicas(&self, record: &Record, project: &Project, wait_secs: Option<u64>) -> Result<Plan, RelocateError> {
        let choose = |scene: &super::hosts::Scene<'_>| place(scene.project, scene.hosts, scene.world, &scene.request);
        Ok(self.replicas().planned(record, project, &choose, wait_secs).await?)
    }

    async fn carry_out(&self, plan: &Plan, lost: &watch::Receiver<bool>) -> End {
        let outcome = self.stage.carry_out(self.engines, plan, Some(lost.clone())).await;
        match outcome.interrupted || *lost.borrow() {
            true => End::Left,
            false if outcome.is_success() => End::Done,
            false => End::Failed,
        }
    }

    /// False: it is not done.
    fn leave_as_it_is(&self, moving: &Moving) -> bool {
        let under_way = Unmovable::UnderWay { moving: moving.clone() };
        self.stage.note(&format!("{} is left as it is: {}", self.names(), under_way.hint().unwrap_or_default()));
        false
    }

    fn names(&self) -> String {
        self.volumes.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    fn there_already(&self) -> String {
        format!("{} is on {} already", self.names(), self.to)
    }

    async fn record(&self) -> Result<Record, RelocateError> {
        let record = self.store.latest(self.project).await?;
        record.ok_or_else(|| RelocateError::NoRecord { project: self.project.clone() })
    }

    fn request(&self, record: &Record) -> Request {
        Request { known: record.seats.clone(), fabric: self.fabric.clone(), ..Request::default() }
    }

    fn replicas(&self) -> Replicas<'_> {
        Replicas { inventory: self.inventory, engines: self.engines, fabric: self.fabric, store: self.store, stage: self.stage }
    }

    fn asked<'x>(&'x self, project: &'x Project, world: &'x World) -> Relocation<'x> {
        Relocation { project, hosts: &self.inventory.hosts, world, volumes: self.volumes, to: self.to }
    }
}
