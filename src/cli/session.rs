//! The way of every verb that changes something: look, form the swarm, lock, look again, place, plan, record, apply.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::failure::Failure;
use super::hosts::{InventoryFile, look_for, steps_to_form};
use super::{exit, hints};
use crate::apply::{Limits, Outcome, apply};
use crate::cluster::{fabric, raced_to_swarm};
use crate::engine::Engines;
use crate::inventory::Inventory;
use crate::placement::{Placement, Request, place, seats_to_remember};
use crate::plan::{Goal, Inputs, Note, Plan, plan, redacted, step_text, text};
use crate::project::{Project, ServiceName};
use crate::store::{Draft, Holder, Record, Store, open, state_folder, whoami};
use crate::ui::{Progress, Report, Ui};
use crate::world::{Fabric, Question, World};

/// Another's command on the project is waited for this long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);
/// A swarm that another command forms at the same time is waited for this long: before it there is no lock to wait at.
const FORMED_BY_ANOTHER_MAX: Duration = Duration::from_secs(30);
const FORMED_POLL: Duration = Duration::from_millis(500);

/// The hosts and how to speak; what every verb works with.
pub struct Session {
    pub ui: Ui,
    pub inventory: Inventory,
    pub file: Option<InventoryFile>,
    pub engines: Engines,
    pub limits: Limits,
    pub dry_run: bool,
    /// The command line's verb and arguments, for records and locks.
    pub command: String,
    /// Becomes true with the first Ctrl-C.
    pub interrupt: watch::Receiver<bool>,
}

/// What a plan was made from, and the plan.
pub struct Planned {
    pub plan: Plan,
    pub placement: Placement,
    pub world: World,
}

impl Session {
    /// Looks at every host at once.
    pub async fn look(&self, project: Option<&Project>) -> World {
        let images = project.map(images_of).unwrap_or_default();
        look_for(&self.engines, &Question { images }).await
    }

    pub fn fabric(&self, world: &World) -> Result<Fabric, Failure> {
        Ok(fabric(&self.inventory.hosts, &self.inventory.network, world)?)
    }

    pub fn store(&self, fabric: &Fabric, world: &World) -> Result<std::sync::Arc<dyn Store>, Failure> {
        let path = self.file.as_ref().map(|file| absolute(&file.path)).unwrap_or_default();
        Ok(open(fabric, &self.engines, world, &state_folder()?, &path)?)
    }

    /// Plans without touching anything, as `plan` and `--dry-run` show it.
    pub async fn planned(&self, goal: &Goal, project: &Project) -> Result<Planned, Failure> {
        let world = self.look(Some(project)).await;
        self.someone_answers(&world)?;
        let fabric = self.fabric(&world)?;
        let forming = steps_to_form(&self.inventory, &world).await?;
        // A swarm that is not there yet has no records.
        let record = match forming.is_empty() {
            true => self.store(&fabric, &world)?.latest(&project.name).await?,
            false => None,
        };
        let mut planned = self.plan(goal, project, world, &fabric, record.as_ref(), None);
        if !forming.is_empty() {
            prepend(&mut planned.plan, forming);
        }
        Ok(planned)
    }

    fn plan(
        &self,
        goal: &Goal,
        project: &Project,
        world: World,
        fabric: &Fabric,
        known: Option<&Record>,
        revision: Option<u64>,
    ) -> Planned {
        let request = Request {
            known: known.map(|record| record.seats.clone()).unwrap_or_default(),
            fabric: fabric.clone(),
            ..Request::default()
        };
        let hosts = &self.inventory.hosts;
        let placement = place(project, hosts, &world, &request);
        // What is shown is shown as the newest record would have it done.
        let revision =
            revision.unwrap_or_else(|| known.map_or(1, |record| record.head.revision).max(world.newest_revision(&project.name)));
        let inputs = Inputs { project, placement: &placement, hosts, world: &world, fabric, revision };
        let plan = plan(goal, &inputs);
        Planned { plan, placement, world }
    }

    /// Brings a goal about. `scales` are replicas asked for beside the file. Returns the exit code.
    pub async fn change(
        &self,
        goals: &[Goal],
        project: &Project,
        scales: &BTreeMap<ServiceName, u32>,
        keep: Keep,
    ) -> Result<u8, Failure> {
        if self.dry_run {
            for goal in goals {
                let planned = self.planned(goal, project).await?;
                self.show(&planned.plan, false);
            }
            return Ok(exit::OK);
        }
        let world = self.look(None).await;
        self.someone_answers(&world)?;
        let world = self.formed(world).await?;
        let fabric = self.fabric(&world)?;
        let store = self.store(&fabric, &world)?;
        let waiting =
            |other: Holder| self.ui.note(&format!("`{}` is being changed by {other}: waiting for it to end", project.name));
        let lock = store.lock(&project.name, &Holder::this_process(&self.command), LOCK_WAIT_MAX, &waiting).await?;
        let mut end = Ok(exit::OK);
        for goal in goals {
            end = self.locked(goal, project, scales, keep, &fabric, store.as_ref(), lock.lost()).await;
            if !matches!(&end, Ok(exit::OK)) {
                break;
            }
        }
        lock.release().await;
        end
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; the values have nothing in common but this moment")]
    async fn locked(
        &self,
        goal: &Goal,
        project: &Project,
        scales: &BTreeMap<ServiceName, u32>,
        keep: Keep,
        fabric: &Fabric,
        store: &dyn Store,
        lost: watch::Receiver<bool>,
    ) -> Result<u8, Failure> {
        let world = self.look(Some(project)).await;
        let known = store.latest(&project.name).await?;
        let mut planned = self.plan(goal, project, world, fabric, known.as_ref(), None);
        if keep == Keep::Record {
            let known_seats = known.as_ref().map(|known| known.seats.clone()).unwrap_or_default();
            let seats = seats_to_remember(project, &planned.placement, &known_seats);
            let draft = Draft {
                project: project.clone(),
                scales: scales.clone(),
                seats,
                halted: goal.halts(project, known.as_ref().map(|known| (&known.project, &known.halted))),
                newest_seen: planned.world.newest_revision(&project.name),
                created: now_secs(),
                by: whoami(),
                command: self.command.clone(),
            };
            let record = store.put(draft).await?;
            if known.as_ref().map(|known| known.head.revision) != Some(record.head.revision) {
                let world = planned.world;
                planned = self.plan(goal, project, world, fabric, known.as_ref(), Some(record.head.revision));
            }
        }
        if let (Keep::Same, Some(known)) = (keep, &known) {
            let halted = goal.halts(&known.project, Some((&known.project, &known.halted)));
            if halted != known.halted {
                store.put(known.redraft(known.seats.clone(), halted)).await?;
            }
        }
        self.notes(&planned.plan);
        let outcome = self.apply(&planned.plan, lost).await;
        let code = self.told(&planned.plan, &outcome);
        if keep == Keep::Nothing && code == exit::OK {
            store.remove(&project.name).await?;
        }
        Ok(code)
    }

    /// Makes the hosts one swarm where that is wanted and not so yet; returns the world after it.
    async fn formed(&self, world: World) -> Result<World, Failure> {
        let steps = steps_to_form(&self.inventory, &world).await?;
        if steps.is_empty() {
            return Ok(world);
        }
        let project = crate::project::ProjectName::new("hosts").expect("a plain word is a project name");
        let plan = Plan { project, steps, notes: Vec::new() };
        let (_never, lost) = watch::channel(false);
        let outcome = self.apply(&plan, lost).await;
        if outcome.failures().any(|(_, error, _)| raced_to_swarm(error))
            && let Some(world) = self.formed_by_another().await
        {
            return Ok(world);
        }
        match self.told(&plan, &outcome) {
            exit::OK => Ok(self.look(None).await),
            code => Err(Failure::Told(code)),
        }
    }

    /// The world once another command, which began a moment earlier, has made the hosts one swarm; nothing if it does not.
    async fn formed_by_another(&self) -> Option<World> {
        let deadline = tokio::time::Instant::now() + FORMED_BY_ANOTHER_MAX;
        while tokio::time::Instant::now() < deadline {
            tokio::time::sleep(FORMED_POLL).await;
            let world = self.look(None).await;
            if matches!(steps_to_form(&self.inventory, &world).await, Ok(steps) if steps.is_empty()) {
                return Some(world);
            }
        }
        None
    }

    /// For `hosts` verbs: carries out a plan on these engines, and says what failed.
    pub async fn carry_out(&self, engines: &Engines, plan: &Plan, stop: Option<watch::Receiver<bool>>) -> Outcome {
        let (_never, quiet) = watch::channel(false);
        let outcome = self.apply_on(engines, plan, stop.unwrap_or(quiet)).await;
        self.told(plan, &outcome);
        outcome
    }

    async fn apply(&self, plan: &Plan, lost: watch::Receiver<bool>) -> Outcome {
        self.apply_on(&self.engines, plan, lost).await
    }

    /// Carries out a plan and shows how it goes, until done, interrupted, or the lock is lost.
    async fn apply_on(&self, engines: &Engines, plan: &Plan, mut lost: watch::Receiver<bool>) -> Outcome {
        let (events, mut told) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let mut interrupt = self.interrupt.clone();
        let mut progress = Progress::new(self.ui, plan);
        let walk = apply(engines, plan, &self.limits, events, stopped);
        tokio::pin!(walk);
        let mut signalled = false;
        loop {
            tokio::select! {
                outcome = &mut walk => {
                    while let Ok(event) = told.try_recv() {
                        progress.show(&event);
                    }
                    return outcome;
                }
                Some(event) = told.recv() => progress.show(&event),
                Ok(_) = interrupt.wait_for(|on| *on), if !signalled => {
                    self.ui.note("interrupted: what runs now is finished, nothing new begins");
                    let _ = stop.send(true);
                    signalled = true;
                }
                Ok(_) = lost.wait_for(|on| *on), if !signalled => {
                    self.ui.warning("the project's lock is lost: what runs now is finished, nothing new begins");
                    let _ = stop.send(true);
                    signalled = true;
                }
            }
        }
    }

    /// Says what failed, once each, and returns the exit code.
    fn told(&self, plan: &Plan, outcome: &Outcome) -> u8 {
        for (id, error, log_tail) in outcome.failures() {
            let step = &plan.steps[id.0];
            let report = Report {
                error: format!("cannot {}", step_text(step).trim_end()),
                causes: vec![error.message.clone()],
                hint: hints::of(error),
                log_tail: log_tail.to_vec(),
            };
            self.ui.error(&report);
        }
        let left = outcome.ends.values().filter(|end| matches!(end, crate::apply::StepEnd::Skipped { .. })).count();
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

    /// The same hosts with a new ear for Ctrl-C, for what comes after the first.
    pub fn afresh(&self) -> Self {
        Self {
            ui: self.ui,
            inventory: self.inventory.clone(),
            file: self.file.clone(),
            engines: self.engines.clone(),
            limits: self.limits,
            dry_run: self.dry_run,
            command: self.command.clone(),
            interrupt: watch::channel(false).1,
        }
    }

    fn notes(&self, plan: &Plan) {
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

    fn someone_answers(&self, world: &World) -> Result<(), Failure> {
        if world.seen_hosts().next().is_some() {
            return Ok(());
        }
        let reasons: Vec<String> = world.unreachable_hosts().map(|(host, why)| format!("{host}: {why}")).collect();
        let hint = "`mcompose hosts check` tells what is wrong with each".to_owned();
        Err(Failure::said(format!("no host answers: {}", reasons.join("; ")), hint, exit::UNREACHABLE))
    }
}

/// What a change does to the project's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// A record of what is to run now.
    Record,
    /// The newest record as it is, but for which of its services are to stay stopped.
    Same,
    /// No record is left: the project is gone.
    Nothing,
}

fn images_of(project: &Project) -> BTreeSet<String> {
    let services = project.services.iter();
    services.map(|(name, service)| service.image_name(project.name.as_str(), name.as_str())).collect()
}

/// Puts steps in front of a plan, all others after the last of them.
fn prepend(plan: &mut Plan, forming: Vec<crate::plan::Step>) {
    let shift = forming.len();
    let rest = std::mem::replace(&mut plan.steps, forming);
    plan.steps.extend(rest.into_iter().map(|mut step| {
        step.after.iter_mut().for_each(|id| id.0 += shift);
        step.after.push(crate::plan::StepId(shift - 1));
        step
    }));
}

fn absolute(path: &std::path::Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)).display().to_string()
}

#[expect(clippy::disallowed_methods, reason = "records carry the time of their making")]
fn now_secs() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
