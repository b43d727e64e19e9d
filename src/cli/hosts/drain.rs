//! `mcompose hosts drain`

use std::collections::BTreeSet;

use super::availability::set;
use super::fleet::look;
use super::moving::Moving;
use super::rows::replicas_on;
use super::{Fleet, HostsError, Stage};
use crate::cluster::fabric;
use crate::placement::{Why, place};
use crate::project::{Availability, ProjectName};
use crate::store::{open, state_folder};
use crate::world::World;

/// Move the replicas of a host to others, and give it no new ones
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// Only note it; the next `up` of each project moves its replicas
    #[arg(long)]
    no_move: bool,
}

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
    let command = format!("hosts drain {}", args.name);
    let mut all_moved = true;
    for project in &projects {
        let moved =
            moving.project(project, &command, &|scene| place(scene.project, scene.hosts, scene.world, &scene.request)).await?;
        if moved.is_none() {
            stage
                .note(&format!("`{project}` has no record here: its replicas on `{}` stay until the next `up` of it", args.name));
        }
        all_moved &= moved.unwrap_or(false);
    }
    let left = look(&engines).await.seen(&args.name).map(replicas_on).unwrap_or_default();
    if left > 0 {
        for project in &projects {
            tell_who_stays(&args.name, project, &moving).await?;
        }
        stage.note(&format!("{left} replicas are still on `{}`", args.name));
    }
    Ok(all_moved && left == 0)
}

/// Says why replicas have no other host than the drained one.
async fn tell_who_stays(host: &str, project: &ProjectName, moving: &Moving<'_>) -> Result<(), HostsError> {
    let Some(record) = moving.store.latest(project).await? else { return Ok(()) };
    let scaled = record.scaled();
    let world = moving.look(&scaled).await;
    let scene = moving.scene(&record, &scaled, &world);
    let placement = place(scene.project, scene.hosts, scene.world, &scene.request);
    for (slot, seat) in placement.seats.iter().filter(|(_, seat)| seat.host.as_str() == host) {
        let hint = match seat.why {
            Why::Held { .. } => "; `mcompose volume mv` takes a volume along",
            _ => "",
        };
        moving.stage.note(&format!("{slot} of `{project}`: {}{hint}", seat.why));
    }
    Ok(())
}

/// Projects that have replicas on a host.
fn projects_on(host: &str, world: &World) -> BTreeSet<ProjectName> {
    let containers = world.seen(host).map(|seen| seen.containers.as_slice()).unwrap_or_default();
    let replicas = containers.iter().filter(|container| container.slot().is_some());
    replicas.filter_map(|container| ProjectName::new(container.labels.project.clone()?).ok()).collect()
}
