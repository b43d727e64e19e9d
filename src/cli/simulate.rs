//! `mcompose simulate`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::placement::{Placement, Request, Why, place};
use crate::project::{HostName, Slot};
use crate::store::Record;
use crate::ui::Ui;
use crate::world::{Fabric, Question, Sight, Swarm, World};

/// Say what would become of the replicas if hosts were lost, without touching anything
#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// The hosts that are lost, all at once
    #[arg(long, value_name = "HOST", value_delimiter = ',', required = true)]
    fail: Vec<String>,
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// What becomes of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Moves(HostName),
    Held(String),
    /// One of a service that has one on each host: there is one host less.
    Gone,
    Refused(String),
}

/// The exit code is 2 where a replica would be missing.
pub async fn run(args: &SimulateArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let session = load::session(globals, ui, None, "simulate").await?;
    let failing = failing(args, &session)?;
    let world = session.look_and_warn().await?;
    let fabric = session.fabric(&world)?;
    let store = session.store(&fabric, &world)?;
    let names: Vec<_> = match &globals.project_name {
        None => store.projects().await?.into_iter().map(|head| head.project).collect(),
        Some(_) => vec![load::known_project(globals, ui, "simulate").await?.1.name],
    };
    let mut rows = Vec::new();
    for name in names {
        let Some(record) = store.latest(&name).await? else { continue };
        let seen = super::hosts::look_for(&session.engines, &Question::about(record.project.images())).await;
        let fates = fates(&record, &session, without(seen, &failing), &failing, &fabric);
        rows.extend(fates.into_iter().map(|(slot, fate)| (name.clone(), slot, fate)));
    }
    if args.format == "json" {
        let object = |(project, slot, fate): &(_, Slot, Fate)| {
            let (what, detail) = words(fate);
            json!({ "Project": project, "Slot": slot.to_string(), "Fate": what, "Detail": detail })
        };
        ui.data(&serde_json::Value::from(rows.iter().map(object).collect::<Vec<_>>()).to_string());
    } else {
        let cells: Vec<_> = rows
            .iter()
            .map(|(project, slot, fate)| {
                let (what, detail) = words(fate);
                vec![project.to_string(), slot.to_string(), what.to_owned(), detail]
            })
            .collect();
        ui.table(&["PROJECT", "REPLICA", "FATE", ""], &cells);
        quorum(&world, &failing, ui);
    }
    let is_missing = |(_, _, fate): &(_, Slot, Fate)| matches!(fate, Fate::Held(_) | Fate::Refused(_));
    Ok(if rows.iter().any(is_missing) { exit::WOULD_CHANGE } else { exit::OK })
}

fn failing(args: &SimulateArgs, session: &Session) -> Result<BTreeSet<HostName>, Failure> {
    let known = |name: &String| {
        let found = session.engines.keys().find(|host| host.as_str() == name).cloned();
        let names: Vec<&str> = session.engines.keys().map(HostName::as_str).collect();
        found.ok_or_else(|| {
            Failure::said(format!("no such host: {name}"), format!("the hosts are {}", names.join(", ")), exit::USAGE)
        })
    };
    args.fail.iter().map(known).collect()
}

/// The world in which these hosts do not answer.
fn without(mut world: World, failing: &BTreeSet<HostName>) -> World {
    for host in failing {
        world.hosts.insert(host.clone(), Sight::Unreachable { why: "it is lost".to_owned() });
    }
    world
}

/// What becomes of each slot that has its seat on a lost host, as supervision would place it.
fn fates(
    record: &Record,
    session: &Session,
    world: World,
    failing: &BTreeSet<HostName>,
    fabric: &Fabric,
) -> BTreeMap<Slot, Fate> {
    let request = Request { lost: failing.clone(), known: record.seats.clone(), fabric: fabric.clone(), ..Request::default() };
    let placement = place(&record.scaled(), &session.inventory.hosts, &world, &request);
    let concerned = record.seats.iter().filter(|(_, host)| failing.contains(*host));
    concerned.map(|(slot, _)| (slot.clone(), fate(slot, &placement, failing))).collect()
}

fn fate(slot: &Slot, placement: &Placement, failing: &BTreeSet<HostName>) -> Fate {
    match (placement.seats.get(slot), placement.refused.get(slot)) {
        (Some(seat), _) if failing.contains(&seat.host) => Fate::Held(match &seat.why {
            Why::Held { because } => because.clone(),
            Why::Volume { volume } => format!("its volume `{volume}` is there"),
            Why::Folder { folder } => format!("what it wrote to `{folder}` is there"),
            _ => "it must not be started elsewhere".to_owned(),
        }),
        (Some(seat), _) => Fate::Moves(seat.host.clone()),
        (None, Some(refusal)) => Fate::Refused(refusal.to_string()),
        (None, None) => Fate::Gone,
    }
}

fn words(fate: &Fate) -> (&'static str, String) {
    match fate {
        Fate::Moves(host) => ("starts", format!("on {host}")),
        Fate::Held(because) => ("held", because.clone()),
        Fate::Gone => ("gone", "with its host, on which one was wanted".to_owned()),
        Fate::Refused(why) => ("missing", format!("it fits nowhere: {why}")),
    }
}

/// With half of the managers gone, a swarm has no leader, and what is lost cannot be replaced.
fn quorum(world: &World, failing: &BTreeSet<HostName>, ui: Ui) {
    let is_manager = |swarm: &Swarm| matches!(swarm, Swarm::Active(member) if member.is_manager);
    let managers: Vec<&HostName> = world.seen_hosts().filter(|(_, seen)| is_manager(&seen.swarm)).map(|(host, _)| host).collect();
    let left = managers.iter().filter(|host| !failing.contains(**host)).count();
    if !managers.is_empty() && left * 2 <= managers.len() {
        ui.warning(&format!(
            "only {left} of {} managers would be left, and the swarm needs more than half: nothing could be started until others are \
             back. `mcompose hosts ls` shows the managers",
            managers.len()
        ));
    }
}
