//! `mcompose hosts drain`

use std::collections::BTreeSet;
use std::time::Duration;

use super::availability::set;
use super::fleet::{look, look_for};
use super::rows::replicas_on;
use super::{Fleet, HostsError, Stage};
use crate::cluster::fabric;
use crate::engine::Engines;
use crate::inventory::Inventory;
use crate::placement::{Request, place, seats_to_remember};
use crate::plan::{Goal, Inputs, Note, Plan, Recreate, Up, plan};
use crate::project::{Availability, HostName, Project, ProjectName};
use crate::store::{Holder, Lock, Record, Store, open, state_folder};
use crate::world::{Fabric, Question, World};

/// Move the replicas of a host to others, and give it no new ones
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// Only note it; the next `up` of each project moves its replicas
    #[arg(long)]
    no_move: bool,
}

/// Another's command on a project is waited for this long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);

pub async fn run(args: &DrainArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let inventory = set(std::slice::from_ref(&args.name), Availability::Drain, fleet, stage)?;
    if args.no_move {
        return Ok(true);
    }
    let engines = (fleet.open)(&inventory.hosts);
    let world = look(&engines).await;
    let projects = projects_on(&args.name, &world);
    if projects.is_empty() {
        return Ok(true);
    }
    let fabric = fabric(&inventory.hosts, &inventory.network, &world)?;
    let path = fleet.file()?.path.display().to_string();
    let store = open(&fabric, &engines, &world, &state_folder()?, &path)?;
    let moving = Moving { inventory: &inventory, engines: &engines, fabric: &fabric, store: store.as_ref(), stage };
    let mut all_moved = true;
    for project in projects {
        all_moved &= moving.project(&project, &args.name).await?;
    }
    let left = look(&engines).await.seen(&args.name).map(replicas_on).unwrap_or_default();
    if left > 0 {
        stage.note(&format!("{left} replicas are still on `{}`", args.name));
    }
    Ok(all_moved && left == 0)
}

/// Projects that have replicas on a host.
fn projects_on(host: &str, world: &World) -> BTreeSet<ProjectName> {
    let containers = world.seen(host).map(|seen| seen.containers.as_slice()).unwrap_or_default();
    let replicas = containers.iter().filter(|container| container.slot().is_some());
    replicas.filter_map(|container| ProjectName::new(container.labels.project.clone()?).ok()).collect()
}

/// What moving works with.
struct Moving<'a> {
    inventory: &'a Inventory,
    engines: &'a Engines,
    fabric: &'a Fabric,
    store: &'a dyn Store,
    stage: &'a dyn Stage,
}

impl Moving<'_> {
    /// Places and plans a project's newest record anew; the plan moves what may not stay. False where not all could be.
    async fn project(&self, project: &ProjectName, host: &str) -> Result<bool, HostsError> {
        let holder = Holder::this_process(&format!("hosts drain {host}"));
        let waiting = |other: Holder| self.stage.note(&format!("`{project}` is being changed by {other}: waiting for it to end"));
        let lock = self.store.lock(project, &holder, LOCK_WAIT_MAX, &waiting).await?;
        let end = self.locked(project, host, &lock).await;
        lock.release().await;
        end
    }

    async fn locked(&self, project: &ProjectName, host: &str, lock: &Lock) -> Result<bool, HostsError> {
        let Some(record) = self.store.latest(project).await? else {
            self.stage.note(&format!("`{project}` has no record here: its replicas on `{host}` stay until the next `up` of it"));
            return Ok(false);
        };
        let scaled = record.scaled();
        let plan = self.planned(&record, &scaled).await?;
        let unmet = plan.notes.iter().filter(|note| matches!(note, Note::Unplaced { .. } | Note::Held { .. }));
        unmet.clone().for_each(|note| self.stage.note(&note.to_string()));
        let met = unmet.count() == 0;
        Ok(self.stage.carry_out(self.engines, &plan, Some(lock.lost())).await.is_success() && met)
    }

    async fn planned(&self, record: &Record, project: &Project) -> Result<Plan, HostsError> {
        let images = project.services.iter().map(|(name, service)| service.image_name(project.name.as_str(), name.as_str()));
        let world = look_for(self.engines, &Question { images: images.collect() }).await;
        let hosts = &self.inventory.hosts;
        let request = Request { known: record.seats.clone(), fabric: self.fabric.clone(), ..Request::default() };
        let placement = place(project, hosts, &world, &request);
        self.keep_seats(record, seats_to_remember(project, &placement, &record.seats)).await?;
        // What need not move stays as it is, even where the image's tag stands for another image by now.
        let up = Up { recreate: Recreate::Never, recreate_deps: Recreate::Never, ..Up::default() };
        let revision = record.head.revision;
        let here = BTreeSet::new();
        let inputs = Inputs {
            project,
            placement: &placement,
            hosts,
            world: &world,
            fabric: self.fabric,
            revision,
            here: &here,
            kept: None,
        };
        Ok(plan(&Goal::Up(up), &inputs))
    }

    async fn keep_seats(
        &self,
        record: &Record,
        seats: std::collections::BTreeMap<crate::project::Slot, HostName>,
    ) -> Result<(), HostsError> {
        self.store.put(record.redraft(seats, record.halted.clone())).await?;
        Ok(())
    }
}
