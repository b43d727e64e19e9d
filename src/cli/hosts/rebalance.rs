//! `mcompose hosts rebalance`

use serde_json::{Value, json};

use super::fleet::look;
use super::moving::{Moving, Scene};
use super::{Fleet, HostsError, Stage};
use crate::cluster::fabric;
use crate::placement::{Rebalance, rebalance};
use crate::project::ProjectName;
use crate::store::{open, state_folder};

/// Show which replicas would move so that the hosts carry more even loads; with --apply, move them
///
/// What owns a volume of its host, or is tied to another service's replica, never moves. A moved replica is ready on its new host
/// before the old one stops.
#[derive(Debug, clap::Args)]
pub struct RebalanceArgs {
    /// Move them. Without it nothing is touched
    #[arg(long)]
    apply: bool,
    /// At most so many replicas of each project
    #[arg(long, value_name = "N", default_value_t = 10)]
    max: usize,
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only these projects
    #[arg(value_name = "PROJECT")]
    projects: Vec<String>,
}

pub async fn run(args: &RebalanceArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let inventory = &fleet.inventory;
    let engines = fleet.engines();
    let world = look(&engines).await;
    let fabric = fabric(&inventory.hosts, &inventory.network, &world)?;
    let path = fleet.file()?.path.display().to_string();
    let store = open(&fabric, &engines, &world, &state_folder()?, &path)?;
    let moving = Moving { inventory, engines: &engines, fabric: &fabric, store: store.as_ref(), stage };
    let heads = store.projects().await?;
    if let Some(name) = args.projects.iter().find(|name| !heads.iter().any(|head| head.project.as_str() == *name)) {
        return Err(HostsError::NoSuchProject { name: name.clone() });
    }
    let is_meant = |name: &ProjectName| args.projects.is_empty() || args.projects.iter().any(|other| other == name.as_str());
    let mut found: Vec<(ProjectName, Rebalance)> = Vec::new();
    for head in heads.into_iter().filter(|head| is_meant(&head.project)) {
        let Some(record) = store.latest(&head.project).await? else { continue };
        let project = record.scaled();
        let world = moving.look(&project).await;
        let better = even(&moving.scene(&record, &project, &world), args.max);
        if !better.moves.is_empty() {
            found.push((head.project, better));
        }
    }
    show(args, &found, stage);
    if !args.apply {
        return Ok(true);
    }
    let mut is_done = true;
    for (project, _) in &found {
        // Under its lock, anew.
        let moved = moving.project(project, "hosts rebalance", &|scene| even(scene, args.max).placement).await?;
        is_done &= moved.unwrap_or(true);
    }
    Ok(is_done)
}

fn even(scene: &Scene<'_>, max: usize) -> Rebalance {
    rebalance(scene.project, scene.hosts, scene.world, &scene.request, &scene.stopped, max)
}

fn show(args: &RebalanceArgs, found: &[(ProjectName, Rebalance)], stage: &dyn Stage) {
    if args.format == "json" {
        let object = |(project, better): &(ProjectName, Rebalance)| {
            let moves = better
                .moves
                .iter()
                .map(|one| json!({ "Slot": one.slot.to_string(), "From": one.from.as_str(), "To": one.to.as_str() }));
            let range = |(most, least): (usize, usize)| json!({ "Most": most, "Least": least });
            json!({
                "Project": project.as_str(), "Moves": moves.collect::<Vec<_>>(),
                "Now": range(better.now), "Then": range(better.then),
            })
        };
        return stage.data(&Value::from(found.iter().map(object).collect::<Vec<_>>()).to_string());
    }
    if found.is_empty() {
        return stage.note("no move would make the hosts' loads more even");
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .flat_map(|(project, better)| {
            better
                .moves
                .iter()
                .map(|one| vec![project.to_string(), one.slot.to_string(), one.from.to_string(), one.to.to_string()])
        })
        .collect();
    stage.table(&["PROJECT", "REPLICA", "FROM", "TO"], &rows);
    for (project, better) in found {
        let (now, then) = (better.now, better.then);
        stage.note(&format!("{project}: hosts have {} to {} replicas, with these moves {} to {}", now.1, now.0, then.1, then.0));
    }
    if !args.apply {
        stage.note("nothing was moved; `--apply` does");
    }
}
