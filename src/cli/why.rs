//! `mcompose why`

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::attached::now;
use super::happened::{Happening, remembered};
use super::moment::api_text;
use super::session::{Planned, Session};
use super::{Failure, Globals, exit, guard, load};
use crate::engine::Inspected;
use crate::placement::{Placement, Request, misfits};
use crate::plan::{Goal, Note, Plan, Up, lines_about};
use crate::project::{HostName, Project, Slot, moment};
use crate::store::Record;
use crate::ui::Ui;
use crate::world::{Container, Health, Labels, State, World};

/// Say where a replica is, since when, what happened to it, and why no other host has it
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// How many of the last things that happened to it are shown
    #[arg(long, value_name = "N", default_value_t = 12)]
    last: usize,
    /// A replica (`web.2`, `web-2`), or a service for all of its replicas
    #[arg(value_name = "SERVICE[.N]", required = true)]
    what: Vec<String>,
}

/// What is known of one slot.
struct Story<'a> {
    slot: Slot,
    /// The containers that claim it, with what their engines say of them.
    containers: Vec<(&'a HostName, &'a Container, Option<Inspected>)>,
    /// In sentences.
    seat: String,
    rejected: BTreeMap<HostName, String>,
    notes: Vec<String>,
    past: Vec<&'a Happening>,
}

pub async fn run(args: &WhyArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "why").await?;
    let world = session.look_and_warn().await?;
    let fabric = session.fabric(&world)?;
    let record = session.store(&fabric, &world)?.latest(&project.name).await?;
    let meant = record.as_ref().map_or_else(|| project.clone(), Record::scaled);
    let planned = session.planned(&Goal::Up(Up::default()), &meant).await?;
    let slots = slots(&args.what, &project, &planned.placement, &world)?;
    let wanted = |labels: &Labels| {
        labels.project.as_deref() == Some(project.name.as_str())
            && !labels.oneoff
            && labels.slot().is_some_and(|slot| slots.contains(&slot))
    };
    let told = guard::ask(&session, &world, Some(&project.name)).await;
    let happened = remembered(&session, &world, ("1", &api_text(now())), &wanted).await;
    let mut documents = Vec::new();
    let known = record.as_ref().map(|record| record.seats.clone()).unwrap_or_default();
    let request = Request { known, fabric: fabric.clone(), ..Request::default() };
    for slot in &slots {
        let past: Vec<&Happening> =
            happened.iter().filter(|one| one.labels.slot().as_ref() == Some(slot) && is_of_its_life(&one.event.action)).collect();
        let said = told.iter().flat_map(|told| told.of_slots.get(slot)).flatten();
        let moved = told.iter().filter_map(|told| told.moved.get(slot));
        let said = moved.chain(said).map(|text| format!("{slot} {text}"));
        let notes = notes(slot, &planned.plan).into_iter().chain(said);
        let story = Story {
            notes: notes.collect(),
            containers: inspected(&session, &world, &project, slot).await,
            seat: seat_text(slot, &planned.placement),
            rejected: rejected(slot, &session, &meant, &planned, &request),
            past: past.into_iter().rev().take(args.last).rev().collect(),
            slot: slot.clone(),
        };
        match args.format.as_str() {
            "json" => documents.push(story.document()),
            _ => ui.data(&crate::ui::harmless(&story.text(record.as_ref())).to_string()),
        }
    }
    if args.format == "json" {
        ui.data(&Value::from(documents).to_string());
    }
    Ok(exit::OK)
}

/// Whether it is more than somebody's look into the container.
fn is_of_its_life(action: &str) -> bool {
    !action.starts_with("exec_")
        && !matches!(action, "top" | "attach" | "detach" | "resize" | "archive-path" | "extract-to-dir" | "export")
}

/// The slots that are meant: of the placement, and those that containers claim.
fn slots(what: &[String], project: &Project, placement: &Placement, world: &World) -> Result<Vec<Slot>, Failure> {
    let claimed = world.containers_of(&project.name).filter_map(|(_, container)| container.slot());
    let mut known: Vec<Slot> = placement.seats.keys().chain(placement.refused.keys()).cloned().chain(claimed).collect();
    known.sort_unstable();
    known.dedup();
    let mut chosen = Vec::new();
    for word in what {
        let is_meant = |slot: &&Slot| {
            let (service, number) = (slot.service.as_str(), slot.number);
            word == service || *word == format!("{service}.{number}") || *word == format!("{service}-{number}")
        };
        let found: Vec<Slot> = known.iter().filter(is_meant).cloned().collect();
        if found.is_empty() {
            let names: Vec<String> = known.iter().map(Slot::to_string).collect();
            let hint =
                if names.is_empty() { "`mcompose up` makes some".to_owned() } else { format!("there are {}", names.join(", ")) };
            return Err(Failure::said(format!("no such replica: {word}"), hint, exit::FAILURE));
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

async fn inspected<'a>(
    session: &Session,
    world: &'a World,
    project: &'a Project,
    slot: &'a Slot,
) -> Vec<(&'a HostName, &'a Container, Option<Inspected>)> {
    let mut found = Vec::new();
    for (host, container) in world.containers_of(&project.name).filter(|(_, container)| container.slot().as_ref() == Some(slot)) {
        let seen = match session.engines.get(host) {
            Some(engine) => engine.inspect(container.id.as_str()).await.ok(),
            None => None,
        };
        found.push((host, container, seen));
    }
    found
}

fn seat_text(slot: &Slot, placement: &Placement) -> String {
    if let Some(refusal) = placement.refused.get(slot) {
        return format!("it fits nowhere: {refusal}");
    }
    let Some(seat) = placement.seats.get(slot) else { return "it is not wanted any more".to_owned() };
    format!("its host is {}: {}", seat.host, seat.why)
}

/// Why other hosts would not take it.
fn rejected(
    slot: &Slot,
    session: &Session,
    project: &Project,
    planned: &Planned,
    request: &Request,
) -> BTreeMap<HostName, String> {
    let own = planned.placement.host_of(slot);
    let misfits = misfits(project, &session.inventory.hosts, &planned.world, request, slot);
    let others = misfits.iter().filter(|(host, _)| Some(*host) != own);
    others.map(|(host, misfit)| (host.clone(), misfit.to_string())).collect()
}

/// What the next plan has to say of the slot: why it is left as it is, or what is to be done.
fn notes(slot: &Slot, plan: &Plan) -> Vec<String> {
    let is_of_slot = |note: &&Note| match note {
        Note::Held { slot: held, .. } => held == slot,
        Note::Refused { subject, .. } => subject == slot.service.as_str(),
        _ => false,
    };
    let to_do = lines_about(plan, slot).into_iter().map(|line| format!("to do: {line}"));
    to_do.chain(plan.notes.iter().filter(is_of_slot).map(Note::to_string)).collect()
}

impl Story<'_> {
    fn text(&self, record: Option<&Record>) -> String {
        let mut lines = vec![format!("{}: {}", self.slot, self.seat)];
        if self.containers.is_empty() {
            lines.push("  no container on the hosts that answer".to_owned());
        }
        for (host, container, seen) in &self.containers {
            lines.push(format!(
                "  {} on {host} ({}): {}",
                container.name,
                container.id.short(),
                state_text(container, seen.as_ref())
            ));
            let newest = record.map(|record| record.head.revision);
            if let Some(revision) = container.labels.revision {
                let is_newest = newest.is_none_or(|newest| newest == revision);
                let made = if is_newest { String::new() } else { format!(" (the newest is {})", newest.unwrap_or_default()) };
                lines.push(format!("    made for revision {revision}{made} from {}", container.image));
            }
        }
        self.notes.iter().for_each(|note| lines.push(format!("  {note}")));
        self.rejected.iter().for_each(|(host, why)| lines.push(format!("  not on {host}: it {why}")));
        if !self.past.is_empty() {
            lines.push("  what happened, as the engines remember it (UTC):".to_owned());
        }
        lines.extend(self.past.iter().map(|one| {
            let code = one.event.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
            format!("    {} {} {}{code}", moment::utc_text(one.time_ns), one.host, one.event.action)
        }));
        lines.join("\n")
    }

    fn document(&self) -> Value {
        let containers = self.containers.iter().map(|(host, container, seen)| {
            json!({
                "Host": host.as_str(), "Name": container.name, "ID": container.id.as_str(), "Image": container.image,
                "State": container.state.to_string(), "Text": state_text(container, seen.as_ref()),
                "Revision": container.labels.revision,
                "StartedAt": seen.as_ref().map(|seen| seen.started_at.clone()),
                "FinishedAt": seen.as_ref().map(|seen| seen.finished_at.clone()),
                "RestartCount": seen.as_ref().map(|seen| seen.restart_count),
                "OOMKilled": seen.as_ref().map(|seen| seen.oom_killed),
            })
        });
        json!({
            "Slot": self.slot.to_string(),
            "Seat": self.seat,
            "Containers": containers.collect::<Vec<_>>(),
            "Notes": self.notes,
            "Rejected": self.rejected.iter().map(|(host, why)| (host.to_string(), why.clone())).collect::<BTreeMap<_, _>>(),
            "Events": self.past.iter().map(|one| one.document()).collect::<Vec<_>>(),
        })
    }
}

/// The state in a sentence, with what the engine knows of its cause.
fn state_text(container: &Container, seen: Option<&Inspected>) -> String {
    let Some(seen) = seen else { return container.state.to_string() };
    let when = |time: &str| time.split('.').next().unwrap_or(time).trim_end_matches('Z').replacen('T', " ", 1);
    let mut text = match &seen.state {
        State::Running | State::Paused | State::Restarting => format!("{} since {} UTC", seen.state, when(&seen.started_at)),
        State::Exited { .. } => format!("exited with code {} at {} UTC", seen.exit_code, when(&seen.finished_at)),
        other => other.to_string(),
    };
    match seen.health {
        Health::None => {}
        Health::Starting => text.push_str(", its healthcheck has not passed yet"),
        Health::Healthy => text.push_str(", healthy"),
        Health::Unhealthy => text.push_str(", unhealthy"),
    }
    if seen.oom_killed {
        text.push_str(", killed for want of memory");
    }
    if seen.restart_count > 0 {
        text.push_str(&format!(", restarted {} times by its engine", seen.restart_count));
    }
    if !seen.error.is_empty() {
        text.push_str(&format!(", {}", seen.error));
    }
    if let Some(probe) = seen.health_log.last().filter(|_| seen.health == Health::Unhealthy) {
        text.push_str(&format!(" (last probe: {})", probe.trim()));
    }
    text
}
