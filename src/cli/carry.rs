//! A plan on its way: shown, carried out, interrupted, and what is then to be said of it.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

use super::session::{Planned, Session};
use super::{exit, hints};
use crate::apply::{Event, Outcome, StepEnd, apply};
use crate::engine::Engines;
use crate::plan::{Note, Op, Plan, Subject, redacted, step_text, text};
use crate::project::{HostName, ProjectName, Slot};
use crate::ui::{Progress, Report};

/// Services that are named one by one when a command was interrupted.
const NAMED_MAX: usize = 12;

impl Session {
    /// For `hosts` verbs: carries out a plan on these engines, and says what failed.
    pub async fn carry_out(&self, engines: &Engines, plan: &Plan, stop: Option<watch::Receiver<bool>>) -> Outcome {
        let (_never, quiet) = watch::channel(false);
        let outcome = self.apply_on(engines, plan, stop.unwrap_or(quiet), std::future::pending()).await;
        self.told(plan, &outcome);
        outcome
    }

    pub(super) async fn apply(&self, plan: &Plan, lost: watch::Receiver<bool>) -> Outcome {
        self.apply_on(&self.engines, plan, lost, std::future::pending()).await
    }

    /// The same until somebody pauses the update that the plan is: `paused` ends then.
    pub(super) async fn apply_unless_paused(
        &self,
        plan: &Plan,
        lost: watch::Receiver<bool>,
        paused: impl Future<Output = ()>,
    ) -> Outcome {
        self.apply_on(&self.engines, plan, lost, paused).await
    }

    /// Carries out a plan and shows how it goes, until done, interrupted, paused, or the lock is lost.
    async fn apply_on(
        &self,
        engines: &Engines,
        plan: &Plan,
        mut lost: watch::Receiver<bool>,
        paused: impl Future<Output = ()>,
    ) -> Outcome {
        let _attention = self.interrupt.attend();
        let (events, mut told) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let mut progress = Progress::new(self.ui, plan);
        let mut ends = BTreeMap::new();
        let walk = apply(engines, plan, &self.limits, &self.cargo, events, stopped);
        tokio::pin!(walk, paused);
        let mut is_stopping = false;
        loop {
            tokio::select! {
                outcome = &mut walk => {
                    while let Ok(event) = told.try_recv() {
                        progress.show(&event);
                    }
                    return outcome;
                }
                Some(event) = told.recv() => {
                    progress.show(&event);
                    if let Event::Ended { step, end, .. } = event {
                        ends.insert(step, end);
                    }
                }
                () = self.interrupt.asked(self.patience) => {
                    self.ui.note("interrupted: what runs now is let go; the engines may finish it");
                    return Outcome { ends, interrupted: true, ..Outcome::default() };
                }
                () = self.interrupt.asked(1), if !is_stopping => {
                    self.ui.note("interrupted: what runs now is finished, nothing new begins; once more ends at once");
                    let _ = stop.send(true);
                    is_stopping = true;
                }
                () = &mut paused, if !is_stopping => {
                    self.ui.note("the update is paused: what runs now is finished, nothing new begins");
                    let _ = stop.send(true);
                    is_stopping = true;
                }
                Ok(_) = lost.wait_for(|on| *on), if !is_stopping => {
                    self.ui.warning("the project's lock is lost: what runs now is finished, nothing new begins");
                    let _ = stop.send(true);
                    is_stopping = true;
                }
            }
        }
    }

    /// Says what failed, once each, and returns the exit code.
    pub(super) fn told(&self, plan: &Plan, outcome: &Outcome) -> u8 {
        for (id, error, log_tail) in outcome.failures() {
            let step = &plan.steps[id.0];
            if outcome.forgiven.contains(&id) {
                self.ui.warning(&format!("cannot {}: {}", step_text(step).trim_end(), error.message));
                continue;
            }
            let report = Report {
                error: format!("cannot {}", step_text(step).trim_end()),
                causes: vec![error.message.clone()],
                hint: hints::of(error),
                log_tail: log_tail.to_vec(),
            };
            self.ui.error(&report);
        }
        let left = outcome.ends.values().filter(|end| matches!(end, StepEnd::Skipped { .. })).count();
        if left > 0 {
            self.ui
                .note(&format!("{left} of {} steps were left out; the same command again goes on from here", plan.steps.len()));
        }
        match outcome {
            _ if outcome.interrupted => exit::INTERRUPTED,
            _ if !outcome.is_success() || plan.is_partial() => exit::FAILURE,
            _ => exit::OK,
        }
    }

    /// The same hosts for what comes after an interruption: the next one is counted anew, and ends it at once.
    pub fn afresh(&self) -> Self {
        Self {
            ui: self.ui,
            inventory: self.inventory.clone(),
            file: self.file.clone(),
            engines: self.engines.clone(),
            limits: self.limits,
            dry_run: self.dry_run,
            command: self.command.clone(),
            cargo: self.cargo.clone(),
            interrupt: self.interrupt.afresh(),
            patience: 1,
        }
    }

    pub(super) fn notes(&self, plan: &Plan) {
        for note in &plan.notes {
            match note {
                Note::Remark { .. } | Note::Inert { .. } => self.ui.note(&note.to_string()),
                _ => self.ui.warning(&note.to_string()),
            }
        }
    }

    /// The plan as it would be applied, secrets taken out.
    pub fn show(&self, plan: &Plan, json: bool) {
        if json {
            let document = serde_json::to_string_pretty(&redacted(plan)).expect("a plan has text keys, so it is JSON");
            self.ui.data(&document);
        } else if plan.is_empty() {
            self.ui.data("nothing to do\n");
            self.notes(plan);
        } else {
            self.ui.data(&text(plan));
        }
    }
}

/// What runs after an interruption, by what was seen before and what was done since: `left running: api.1 on h1, web.2 on h3`.
pub(super) fn left_running(planned: &Planned, outcome: &Outcome, project: &ProjectName) -> String {
    let mut running: BTreeMap<Slot, &HostName> = planned
        .world
        .containers_of(project)
        .filter(|(_, container)| container.state.is_up())
        .filter_map(|(host, container)| Some((container.slot()?, host)))
        .collect();
    for (id, step) in planned.plan.steps.iter().enumerate() {
        let is_done = outcome.ends.get(&crate::plan::StepId(id)) == Some(&StepEnd::Done);
        let Subject::Slot(slot) = &step.subject else { continue };
        match &step.op {
            Op::Start { .. } | Op::Restart { .. } if is_done => {
                running.insert(slot.clone(), &step.host);
            }
            Op::Stop { .. } | Op::Kill { .. } | Op::Remove { .. } if is_done => {
                running.remove(slot);
            }
            _ => {}
        }
    }
    if running.is_empty() {
        return "nothing of it runs".to_owned();
    }
    let named: Vec<String> = running.iter().take(NAMED_MAX).map(|(slot, host)| format!("{slot} on {host}")).collect();
    let more = if running.len() > NAMED_MAX { format!(" and {} more", running.len() - NAMED_MAX) } else { String::new() };
    format!("left running: {}{more}", named.join(", "))
}
