//! What is told while a plan is carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{Mode, Ui, harmless};
use crate::apply::{Event, StepEnd};
use crate::plan::{Op, Plan, Step, StepId, Subject};

const TICK: Duration = Duration::from_millis(120);
/// More lines than these scroll a terminal; further ones wait for a place.
const LINES_MAX: usize = 40;

/// Shows a plan's events, one line per subject and host.
pub struct Progress<'a> {
    ui: Ui,
    plan: &'a Plan,
    bars: MultiProgress,
    running: BTreeMap<StepId, ProgressBar>,
}

impl<'a> Progress<'a> {
    pub fn new(ui: Ui, plan: &'a Plan) -> Self {
        let target = if ui.status_on_stdout { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::stderr() };
        Self { ui, plan, bars: MultiProgress::with_draw_target(target), running: BTreeMap::new() }
    }

    pub fn show(&mut self, event: &Event) {
        match self.ui.progress {
            Mode::Quiet => {}
            Mode::Json => self.json(event),
            Mode::Plain => self.plain(event),
            Mode::Tty => self.tty(event),
        }
    }

    fn step(&self, id: StepId) -> &'a Step {
        &self.plan.steps[id.0]
    }

    fn json(&self, event: &Event) {
        let (id, status, text) = match event {
            Event::Started { step } => (step, "started", String::new()),
            Event::Progress { step, text } => (step, "working", text.clone()),
            Event::Ended { step, end, .. } => match end {
                StepEnd::Done => (step, "done", String::new()),
                StepEnd::Failed { error, .. } => (step, "error", error.to_string()),
                StepEnd::Skipped { .. } => (step, "skipped", String::new()),
            },
        };
        let step = self.step(*id);
        if step.op.is_gate() && status != "error" {
            return;
        }
        let (name, words) = (subject(step), words(&step.op));
        let line = json!({ "id": name, "host": step.host, "action": words.1, "status": status, "text": text });
        self.ui.status(&line.to_string());
    }

    fn plain(&self, event: &Event) {
        let Event::Ended { step: id, end, took } = event else { return };
        let step = self.step(*id);
        // What was left out is counted at the end.
        let is_quiet_gate = step.op.is_gate() && !matches!(end, StepEnd::Failed { .. });
        if is_quiet_gate || matches!(end, StepEnd::Skipped { .. }) {
            return;
        }
        self.ui.status(&format!(" {}", ended_line(step, end, *took)));
    }

    fn tty(&mut self, event: &Event) {
        match event {
            Event::Started { step: id } => {
                let step = self.step(*id);
                if step.op.is_gate() || self.running.len() >= LINES_MAX {
                    return;
                }
                let style = ProgressStyle::with_template(" {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
                let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
                bar.set_message(format!("{} on {}  {}", subject(step), step.host, words(&step.op).0));
                bar.enable_steady_tick(TICK);
                self.running.insert(*id, bar);
            }
            Event::Progress { step: id, text } => {
                let step = self.step(*id);
                if let Some(bar) = self.running.get(id) {
                    bar.set_message(format!("{} on {}  {}", subject(step), step.host, harmless(text)));
                }
            }
            Event::Ended { step: id, end, took } => {
                let step = self.step(*id);
                if let Some(bar) = self.running.remove(id) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
                let is_shown = !step.op.is_gate() || matches!(end, StepEnd::Failed { .. });
                if is_shown && !matches!(end, StepEnd::Skipped { .. }) {
                    let mark = if *end == StepEnd::Done { "✔" } else { "✘" };
                    let _ = self.bars.println(format!(" {mark} {}", ended_line(step, end, *took)));
                }
            }
        }
    }
}

fn ended_line(step: &Step, end: &StepEnd, took: Duration) -> String {
    let end = match end {
        StepEnd::Done => format!("{}  {:.1}s", words(&step.op).1, took.as_secs_f64()),
        StepEnd::Failed { error, .. } => format!("Error: {}", harmless(&error.message)),
        StepEnd::Skipped { .. } => "Skipped".to_owned(),
    };
    format!("{} on {}  {end}", subject(step), step.host)
}

fn subject(step: &Step) -> String {
    match &step.subject {
        Subject::Slot(slot) => format!("Replica {slot}"),
        Subject::Container(name) => format!("Container {name}"),
        Subject::Network(name) => format!("Network {name}"),
        Subject::Volume(name) => format!("Volume {name}"),
        Subject::Image(name) => format!("Image {name}"),
        Subject::Content(name) => format!("Files {name}"),
        Subject::Service(name) => format!("Service {name}"),
        Subject::Host => "Host".to_owned(),
    }
}

/// What is being done, and what then has been done, in docker compose's words where it has one.
fn words(op: &Op) -> (&'static str, &'static str) {
    match op {
        Op::SwarmInit { .. } => ("Beginning a swarm", "Began a swarm"),
        Op::SwarmRecover { .. } => ("Beginning the swarm anew", "Began the swarm anew"),
        Op::SwarmJoin { .. } => ("Joining the swarm", "Joined the swarm"),
        Op::SwarmLeave { .. } => ("Leaving the swarm", "Left the swarm"),
        Op::NodeRemove { .. } => ("Removing from the swarm", "Removed from the swarm"),
        Op::NodeRole { .. } => ("Changing its role", "Changed its role"),
        Op::CreateNetwork(_) | Op::CreateVolume(_) | Op::Create { .. } => ("Creating", "Created"),
        Op::RemoveNetwork { .. } | Op::RemoveVolume { .. } | Op::RemoveImage { .. } | Op::Remove { .. } => {
            ("Removing", "Removed")
        }
        Op::Pull { .. } => ("Pulling", "Pulled"),
        Op::Push { .. } => ("Pushing", "Pushed"),
        Op::Ship { .. } => ("Shipping", "Shipped"),
        Op::Build(_) => ("Building", "Built"),
        Op::Deliver { .. } => ("Delivering", "Delivered"),
        Op::Unseal { .. } => ("Unsealing", "Unsealed"),
        Op::Wipe { .. } => ("Wiping", "Wiped"),
        Op::CopyVolume { .. } => ("Copying", "Copied"),
        Op::Connect { .. } => ("Connecting", "Connected"),
        Op::Start { .. } => ("Starting", "Started"),
        Op::Stop { .. } => ("Stopping", "Stopped"),
        Op::Restart { .. } => ("Restarting", "Restarted"),
        Op::Kill { .. } => ("Killing", "Killed"),
        Op::Pause { .. } => ("Pausing", "Paused"),
        Op::Unpause { .. } => ("Unpausing", "Unpaused"),
        Op::Rename { .. } => ("Renaming", "Renamed"),
        Op::Await { until, .. } => match until {
            crate::project::Until::Healthy => ("Waiting", "Healthy"),
            crate::project::Until::Completed => ("Waiting", "Exited"),
            crate::project::Until::Running | crate::project::Until::Ready => ("Waiting", "Ready"),
            crate::project::Until::Lasting => ("Watching", "Goes on"),
        },
        Op::AwaitGone { .. } => ("Waiting", "Gone"),
        Op::Exec { .. } => ("Running a hook", "Ran a hook"),
        Op::Delay { .. } => ("Waiting", "Waited"),
        Op::Gate | Op::Tally { .. } => ("Updating", "Updated"),
    }
}
