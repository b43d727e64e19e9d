//! The plan in words: one line for what happens to one thing on one host for one reason, in the order of the steps.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{Cause, Note, Op, Plan, Step, Subject};
use crate::project::{HostName, Slot, Until};

/// The whole plan: `replace web.2 on alpha: image changed`, then the notes. Ends with a line break unless empty.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for group in groups(plan.steps.iter()) {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{}", group_text(&group));
    }
    for note in &plan.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// The lines of what happens to one slot.
pub fn lines_about(plan: &Plan, slot: &Slot) -> Vec<String> {
    let is_about = |step: &&Step| matches!(&step.subject, Subject::Slot(other) if other == slot);
    groups(plan.steps.iter().filter(is_about)).iter().map(|group| group_text(group)).collect()
}

/// Steps that are told in one line.
fn groups<'p>(steps: impl Iterator<Item = &'p Step>) -> Vec<Vec<&'p Step>> {
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    let mut index: BTreeMap<(&HostName, &Subject, &Cause, u8), usize> = BTreeMap::new();
    for step in steps.filter(|step| !step.op.is_gate()) {
        let key = (&step.host, &step.subject, &step.cause, kind(&step.op));
        let group = *index.entry(key).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(steps) => steps.push(step),
            None => groups.push(vec![step]),
        }
    }
    groups
}

/// One step by itself: `stop web.2 on alpha: image changed`.
pub fn step_text(step: &Step) -> String {
    group_text(&[step])
}

/// Waits and hooks stand on lines of their own.
fn kind(op: &Op) -> u8 {
    match op {
        Op::Await { until: Until::Lasting, .. } => 4,
        Op::Await { .. } | Op::AwaitGone { .. } => 1,
        Op::Exec { .. } => 2,
        Op::Delay { .. } => 3,
        Op::CopyVolume { in_use: true, .. } => 5,
        Op::CopyVolume { in_use: false, .. } => 6,
        Op::Unseal { .. } => 7,
        Op::Wipe { .. } => 8,
        _ => 0,
    }
}

fn group_text(steps: &[&Step]) -> String {
    let Some(first) = steps.first() else { return String::new() };
    let what = match &first.subject {
        Subject::Slot(slot) => slot.to_string(),
        Subject::Container(name) => format!("container {name}"),
        Subject::Network(name) => format!("network {name}"),
        Subject::Volume(name) => format!("volume {name}"),
        Subject::Image(name) => format!("image {name}"),
        Subject::Content(name) => name.clone(),
        Subject::Service(name) => name.to_string(),
        Subject::Host => String::new(),
    };
    let host = &first.host;
    match &first.op {
        Op::Delay { millis } if matches!(first.subject, Subject::Slot(_)) => {
            format!("wait {} until all hosts know the names of {what}: {}", seconds(*millis), first.cause)
        }
        Op::Delay { millis } => format!("wait {} before the next of {what}: {}", seconds(*millis), first.cause),
        Op::Deliver { content, volume, from, .. } => {
            let from = from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            let into = if volume.name == content.volume() { String::new() } else { format!("volume {} on ", volume.name) };
            format!("deliver {what} ({}) to {into}{host}{from}: {}", size(content.bytes), cause_on(&first.cause, host))
        }
        Op::Ship { from, bytes, .. } => {
            let bytes = u64::try_from(*bytes).unwrap_or_default();
            format!("ship {what} ({}) to {host} from {from}: {}", size(bytes), cause_on(&first.cause, host))
        }
        Op::CopyVolume { from, in_use: true, .. } => {
            format!("copy {what} to {host} from {from} while it is in use: {}", cause_on(&first.cause, host))
        }
        Op::CopyVolume { from, .. } => {
            format!("copy what changed of {what} to {host} from {from}, and check it: {}", cause_on(&first.cause, host))
        }
        Op::Tally { .. } => format!("tally of {what}: {}", first.cause),
        Op::Await { until: Until::Lasting, at_most_secs, .. } => {
            format!("watch {what} on {host} for {at_most_secs} s: {}", cause_on(&first.cause, host))
        }
        Op::Await { until, .. } => format!("await {what} on {host}, {}: {}", until_text(*until), cause_on(&first.cause, host)),
        Op::AwaitGone { .. } => format!("await {what} on {host}, until it is gone: {}", cause_on(&first.cause, host)),
        Op::Exec { .. } => format!("exec {} hook in {what} on {host}", cause_on(&first.cause, host)),
        _ if what.is_empty() => format!("{} on {host}: {}", verbs(steps), cause_on(&first.cause, host)),
        _ => format!("{} {what} on {host}: {}", verbs(steps), cause_on(&first.cause, host)),
    }
}

/// In the largest unit that leaves a whole part: `512 B`, `1.5 KiB`.
fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if amount < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{amount:.digits$} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} GiB")
}

fn seconds(millis: u64) -> String {
    match millis % 1000 {
        0 => format!("{} s", millis / 1000),
        _ => format!("{millis} ms"),
    }
}

fn until_text(until: Until) -> &'static str {
    match until {
        Until::Ready => "until it is ready",
        Until::Running => "until it runs",
        Until::Healthy => "until it is healthy",
        Until::Completed => "until it has completed",
        Until::Lasting => "while it goes on",
    }
}

/// What the steps of one group do together. A creation with the removal of what was there is a replacement.
fn verbs(steps: &[&Step]) -> String {
    let creates = steps.iter().any(|step| matches!(step.op, Op::Create { .. }));
    let removes = steps.iter().any(|step| matches!(step.op, Op::Remove { .. }));
    if creates && removes {
        let runs = steps.iter().all(|step| matches!(step.cause, Cause::Hook { .. }));
        return if runs { "run" } else { "replace" }.to_owned();
    }
    let mut verbs: Vec<String> = Vec::new();
    for step in steps {
        let verb = verb(&step.op);
        // A container's networks beyond the first are part of its creation.
        let is_part = creates && matches!(step.op, Op::Connect { .. });
        if !is_part && !verbs.contains(&verb) {
            verbs.push(verb);
        }
    }
    match verbs.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn verb(op: &Op) -> String {
    let verb = match op {
        Op::SwarmInit { .. } => "begin a swarm",
        Op::SwarmRecover { .. } => "begin the swarm anew",
        Op::SwarmJoin { via, role, .. } => return format!("join the swarm of {via} as {role}"),
        Op::SwarmLeave { .. } => "leave the swarm",
        Op::NodeRemove { node_id, .. } => return format!("remove node {node_id} from the swarm"),
        Op::NodeRole { node_id, role } => return format!("make node {node_id} a {role}"),
        Op::CreateNetwork(_) | Op::CreateVolume(_) | Op::Create { .. } => "create",
        Op::RemoveNetwork { .. } | Op::RemoveVolume { .. } | Op::RemoveImage { .. } | Op::Remove { .. } => "remove",
        Op::Pull { .. } => "pull",
        Op::Push { .. } => "push",
        Op::Deliver { .. } => "deliver",
        Op::Unseal { .. } => "unseal",
        Op::Wipe { .. } => "wipe",
        Op::CopyVolume { .. } => "copy",
        Op::Ship { .. } => "ship",
        Op::Build(_) => "build",
        Op::Connect { network, .. } => return format!("connect to {network}"),
        Op::Start { .. } => "start",
        Op::Stop { .. } => "stop",
        Op::Restart { .. } => "restart",
        Op::Kill { .. } => "kill",
        Op::Pause { .. } => "pause",
        Op::Unpause { .. } => "unpause",
        Op::Rename { .. } => "rename",
        Op::Await { .. } | Op::AwaitGone { .. } => "await",
        Op::Exec { .. } => "exec",
        Op::Gate => "gate",
        Op::Delay { .. } => "wait",
        Op::Tally { .. } => "tally",
    };
    verb.to_owned()
}

/// A cause as it reads on the step's own host.
fn cause_on(cause: &Cause, host: &HostName) -> String {
    match cause {
        Cause::Moved { to } if to == host => "moved here".to_owned(),
        _ => cause.to_string(),
    }
}

impl fmt::Display for Cause {
    /// In few words, to stand behind what is done: "image changed".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Changed { keys } => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                write!(f, "{} changed", keys.join(", "))
            }
            Self::ImageChanged => f.write_str("newer image"),
            Self::Forced => f.write_str("made by another tool"),
            Self::NotRunning { state } => f.write_str(state),
            Self::Unhealthy => f.write_str("unhealthy"),
            Self::GivenUp => f.write_str("its engine starts it again and again"),
            Self::Requested => f.write_str("requested"),
            Self::ScaledDown => f.write_str("scaled down"),
            Self::Orphan => f.write_str("orphan"),
            Self::Duplicate { kept } => write!(f, "duplicate of {kept}"),
            Self::Moved { to } => write!(f, "moved to {to}"),
            Self::Misnamed { name } => write!(f, "named {name}"),
            Self::DependencyReplaced { service } => write!(f, "{service} is replaced"),
            Self::DependsOn { service } => write!(f, "{service} depends on it"),
            Self::Hook { hook } => f.write_str(hook),
            Self::Fabric => f.write_str("the hosts need a common network"),
            Self::Update => f.write_str("rolling update"),
            Self::Spare => f.write_str("for a second host"),
            Self::Unused => f.write_str("unused"),
        }
    }
}

impl fmt::Display for Note {
    /// One line, without an end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostUnreachable { host, why } => write!(f, "unreachable: {host}: {why}"),
            Self::Held { slot, host, because } => write!(f, "held: {slot} on {host}: {because}"),
            Self::Unplaced { slot, refusal, .. } => write!(f, "unplaced: {slot} fits nowhere: {refusal}"),
            Self::Orphan { host, container, .. } => {
                write!(f, "orphan: {container} on {host}: no service of the project; `--remove-orphans` removes it")
            }
            Self::Refused { subject, attribute, why, hint } => write!(f, "refused: {subject}: {attribute}: {why}; {hint}"),
            Self::Inert { service, attribute, why } => write!(f, "inert: {service}: {attribute}: {why}"),
            Self::Remark { text } => write!(f, "remark: {text}"),
        }
    }
}
