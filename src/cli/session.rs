//! The way of every verb that changes something: look, form the swarm, lock, look again, place, plan, record, apply.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::carry::left_running;
use super::exit;
use super::failure::Failure;
use super::hosts::{InventoryFile, look_again, steps_to_form};
use super::signals::Interrupt;
use crate::apply::Limits;
use crate::cluster::{fabric, raced_to_swarm};
use crate::delivery::Cargo;
use crate::engine::Engines;
use crate::inventory::Inventory;
use crate::placement::{Orphans, Placement, Request, place, seats_to_remember};
use crate::plan::{Goal, Inputs, Plan, plan};
use crate::project::{HostName, Project, ServiceName};
use crate::store::{Draft, Holder, Record, RecordState, Store, now_secs, open, state_folder, whoami};
use crate::supervise::machine::on_unlisted;
use crate::ui::Ui;
use crate::world::{Fabric, Question, VolumeSeen, World, keys};

/// Another's command on the project is waited for this long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);
/// A swarm that another command forms at the same time is waited for this long: before it there is no lock to wait at.
const FORMED_BY_ANOTHER_MAX: Duration = Duration::from_secs(30);
/// One who asked twice to end waits no longer for the lock to be given back; it is free half a minute later by itself.
const RELEASE_HURRIED_MAX: Duration = Duration::from_secs(1);
/// More replicas than these are a slip of the keyboard.
const REPLICAS_MAX: u64 = 100_000;
const FORMED_POLL: Duration = Duration::from_millis(500);
/// For this long, an engine and its swarm count as they were seen.
const FRESH: Duration = Duration::from_secs(1);

/// The hosts and how to speak; what every verb works with.
pub struct Session {
    pub ui: Ui,
    pub inventory: Inventory,
    pub file: Option<InventoryFile>,
    pub engines: Engines,
    pub limits: Limits,
    pub dry_run: bool,
    /// What of this machine's files the project's services need.
    pub cargo: Cargo,
    /// The command line's verb and arguments, for records and locks.
    pub command: String,
    pub interrupt: Interrupt,
    /// How often it must be asked to end until even what runs is let go.
    pub patience: u8,
}

/// What is held while a project is changed.
pub(super) struct Held<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) store: &'a dyn Store,
    /// Becomes true when the lock is no longer ours.
    pub(super) lost: watch::Receiver<bool>,
}

/// What records say, for a plan.
#[derive(Default)]
pub(super) struct Past<'a> {
    pub(super) known: Option<&'a Record>,
    /// Digests of the contents that records go back to.
    pub(super) kept: Option<BTreeSet<String>>,
}

/// What a plan was made from, and the plan.
pub struct Planned {
    pub plan: Plan,
    /// The record that it is for.
    pub revision: u64,
    pub placement: Placement,
    pub world: World,
}

impl Session {
    /// Looks at every host at once.
    pub async fn look(&self, project: Option<&Project>) -> World {
        self.look_again(project, &World::default()).await
    }

    /// As `look`, a moment after another: engines and swarm are as they were `before`, where they were seen.
    async fn look_again(&self, project: Option<&Project>, before: &World) -> World {
        let images = project.map(Project::images).unwrap_or_default();
        look_again(&self.engines, &Question::about(images), before).await
    }

    /// Looks at every host, warns of those that do not answer, and fails where none does.
    pub async fn look_and_warn(&self) -> Result<World, Failure> {
        let world = self.look(None).await;
        self.someone_answers(&world)?;
        for (host, why) in world.unreachable_hosts() {
            self.ui.warning(&format!("host `{host}` does not answer, what it has is not shown: {why}"));
        }
        Ok(world)
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
        small_enough(project)?;
        let world = self.look(Some(project)).await;
        self.someone_answers(&world)?;
        let fabric = self.fabric(&world)?;
        let forming = steps_to_form(&self.inventory, &world).await?;
        // A swarm that is not there yet has no records.
        let (record, kept) = match forming.is_empty() {
            true => {
                let store = self.store(&fabric, &world)?;
                (store.latest(&project.name).await?, kept(store.as_ref(), project, &world).await?)
            }
            false => (None, None),
        };
        let mut planned = self.plan(goal, project, world, &fabric, &Past { known: record.as_ref(), kept }, None);
        if !forming.is_empty() {
            prepend(&mut planned.plan, forming);
        }
        Ok(planned)
    }

    pub(super) fn plan(
        &self,
        goal: &Goal,
        project: &Project,
        world: World,
        fabric: &Fabric,
        past: &Past<'_>,
        revision: Option<u64>,
    ) -> Planned {
        let Past { known, kept } = past;
        let known = *known;
        let request = Request {
            known: known.map(|record| record.seats.clone()).unwrap_or_default(),
            fabric: fabric.clone(),
            orphans: orphans(goal),
            ..Request::default()
        };
        let hosts = &self.inventory.hosts;
        let about = goal.about(project, &world);
        let project = about.as_ref();
        let placement = place(project, hosts, &world, &request);
        // What is shown is shown as the newest record would have it done.
        let revision =
            revision.unwrap_or_else(|| known.map_or(1, |record| record.head.revision).max(world.newest_revision(&project.name)));
        let here = self.cargo.has().map(str::to_owned).collect();
        let inputs =
            Inputs { project, placement: &placement, hosts, world: &world, fabric, revision, here: &here, kept: kept.as_ref() };
        let plan = plan(goal, &inputs);
        Planned { plan, revision, placement, world }
    }

    /// Brings goals about, one after the other. `scales` are replicas asked for beside the file. Returns the exit code.
    pub async fn change(
        &self,
        goals: &[Goal],
        project: &Project,
        scales: &BTreeMap<ServiceName, u32>,
        keep: Keep,
    ) -> Result<u8, Failure> {
        self.change_what_was_seen(goals, project, scales, keep).await.map(|(code, _)| code)
    }

    /// As `change`; returns the world before it too, nothing in a rehearsal.
    pub async fn change_what_was_seen(
        &self,
        goals: &[Goal],
        project: &Project,
        scales: &BTreeMap<ServiceName, u32>,
        keep: Keep,
    ) -> Result<(u8, Option<World>), Failure> {
        small_enough(project)?;
        if self.dry_run {
            return Ok((self.rehearse(goals, project).await?, None));
        }
        let world = self.look(None).await;
        self.someone_answers(&world)?;
        // No swarm is formed for what would then change nothing.
        let is_idle = goals.iter().all(Goal::needs_what_is_there) && !world.has_any_of(&project.name);
        if is_idle && !steps_to_form(&self.inventory, &world).await?.is_empty() {
            self.ui.note(&format!("nothing of project `{}` is on the hosts that answer", project.name));
            return Ok((exit::OK, Some(world)));
        }
        let world = self.formed(world).await?;
        let looked = Instant::now();
        let fabric = self.fabric(&world)?;
        let store = self.store(&fabric, &world)?;
        let waiting =
            |other: Holder| self.ui.note(&format!("`{}` is being changed by {other}: waiting for it to end", project.name));
        let lock = store.lock(&project.name, &Holder::this_process(&self.command), LOCK_WAIT_MAX, &waiting).await?;
        // From here on an end must let the lock go.
        let _attention = self.interrupt.attend();
        let held = Held { fabric: &fabric, store: store.as_ref(), lost: lock.lost() };
        let (nothing, is_fresh) = (World::default(), looked.elapsed() < FRESH);
        let before = if is_fresh { &world } else { &nothing };
        let end = self.reach(goals, project, scales, keep, &held, before).await;
        let patience = if self.interrupt.count() > 1 { RELEASE_HURRIED_MAX } else { Duration::MAX };
        let _ = tokio::time::timeout(patience, lock.release()).await;
        Ok((end?, Some(world)))
    }

    /// Shows the plans of goals.
    async fn rehearse(&self, goals: &[Goal], project: &Project) -> Result<u8, Failure> {
        for (index, goal) in goals.iter().enumerate() {
            let planned = self.planned(goal, project).await?;
            if !planned.plan.is_empty() || index + 1 == goals.len() {
                self.show(&planned.plan, false);
            }
        }
        Ok(exit::OK)
    }

    /// With the lock held: up to the first goal that is not reached. `before`: the hosts a moment ago, nothing where that was longer ago.
    async fn reach(
        &self,
        goals: &[Goal],
        project: &Project,
        scales: &BTreeMap<ServiceName, u32>,
        keep: Keep,
        held: &Held<'_>,
        mut before: &World,
    ) -> Result<u8, Failure> {
        let nothing = World::default();
        for goal in goals {
            let planned = tokio::select! {
                planned = self.planned_for_good(goal, project, scales, keep, held, before) => planned?,
                () = self.interrupt.asked(1) => return Ok(exit::INTERRUPTED),
            };
            before = &nothing;
            self.notes(&planned.plan);
            let paused = self.paused_elsewhere(&project.name, &planned, keep, held);
            let outcome = self.apply_unless_paused(&planned.plan, held.lost.clone(), paused).await;
            let code = self.told(&planned.plan, &outcome);
            if outcome.interrupted {
                self.ui.note(&left_running(&planned, &outcome, &project.name));
            }
            if keep == Keep::Record {
                self.judge(goal, project, &planned, &outcome, held).await?;
            }
            if code != exit::OK {
                return Ok(code);
            }
            if keep == Keep::Nothing {
                held.store.remove(&project.name).await?;
            }
        }
        Ok(exit::OK)
    }

    /// A plan that is about to be applied: the record of what is to run is written with it.
    pub(super) async fn planned_for_good(
        &self,
        goal: &Goal,
        project: &Project,
        scales: &BTreeMap<ServiceName, u32>,
        keep: Keep,
        held: &Held<'_>,
        before: &World,
    ) -> Result<Planned, Failure> {
        let (world, known) = tokio::join!(self.look_again(Some(project), before), held.store.latest(&project.name));
        let known = known?;
        known.iter().for_each(|known| self.warn_of_unlisted(known));
        let past = Past { known: known.as_ref(), kept: kept(held.store, project, &world).await? };
        let planned = self.plan(goal, project, world, held.fabric, &past, None);
        match (keep, &known) {
            (Keep::Record, _) => {
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
                let head = held.store.put(draft).await?.head;
                let revision = head.revision;
                if known.as_ref().map(|known| known.head.revision) != Some(revision) {
                    return Ok(self.plan(goal, project, planned.world, held.fabric, &past, Some(revision)));
                }
                // An update that was paused goes on.
                if ![RecordState::Good, RecordState::Begun].contains(&head.state) {
                    held.store.set_state(&project.name, revision, RecordState::Begun, &BTreeSet::new()).await?;
                }
            }
            (Keep::Same, Some(known)) => {
                let halted = goal.halts(&known.project, Some((&known.project, &known.halted)));
                if halted != known.halted {
                    held.store.put(known.redraft(known.seats.clone(), halted)).await?;
                }
            }
            (Keep::Same, None) | (Keep::Nothing, _) => {}
        }
        Ok(planned)
    }

    /// What was placed on a host that somebody took out of the inventory goes on there, beside what takes its place.
    fn warn_of_unlisted(&self, known: &Record) {
        let unlisted = on_unlisted(&known.seats, &known.halted, &|host| self.inventory.host(host.as_str()).is_some());
        for (host, slots) in unlisted {
            let slots = slots.into_iter().collect::<Vec<_>>().join(", ");
            self.ui.warning(&format!(
                "by the last record {slots} of `{}` is on host `{host}`, which is not in the inventory: what runs there goes on unseen; \
                 list the host again, and take it out with `mcompose hosts drain {host}` and `mcompose hosts rm {host}`",
                known.head.project
            ));
        }
    }

    /// The world once somebody answers and the swarm is formed.
    pub async fn ready(&self) -> Result<World, Failure> {
        let world = self.look(None).await;
        self.someone_answers(&world)?;
        self.formed(world).await
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
        let deadline = Instant::now() + FORMED_BY_ANOTHER_MAX;
        while Instant::now() < deadline {
            tokio::time::sleep(FORMED_POLL).await;
            let world = self.look(None).await;
            if matches!(steps_to_form(&self.inventory, &world).await, Ok(steps) if steps.is_empty()) {
                return Some(world);
            }
        }
        None
    }

    fn someone_answers(&self, world: &World) -> Result<(), Failure> {
        if world.seen_hosts().next().is_some() {
            return Ok(());
        }
        let address = |name: &HostName| self.inventory.host(name.as_str()).map(|host| host.address.to_string());
        let reasons = world.unreachable_hosts();
        Err(Failure::NoHost(
            reasons.map(|(host, why)| (host.clone(), address(host).unwrap_or_default(), why.to_owned())).collect(),
        ))
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

/// Digests of the contents that the project's records go back to; nothing where no host has a content of the project that it does
/// not ask for itself, so that there is nothing to collect.
async fn kept(store: &dyn Store, project: &Project, world: &World) -> Result<Option<BTreeSet<String>>, Failure> {
    let wanted: BTreeSet<&str> = project.contents.values().map(|content| content.digest.as_str()).collect();
    let is_ours =
        |volume: &&VolumeSeen| volume.labels.get(keys::CONTENT_PROJECT).map(String::as_str) == Some(project.name.as_str());
    let ours = world.seen_hosts().flat_map(|(_, seen)| &seen.volumes).filter(is_ours);
    let mut digests = ours.filter_map(|volume| volume.labels.get(keys::CONTENT));
    if digests.all(|digest| wanted.contains(digest.as_str())) {
        return Ok(None);
    }
    let mut kept = BTreeSet::new();
    for head in store.records(&project.name).await? {
        if let Some(record) = store.record(&project.name, head.revision).await? {
            kept.extend(record.project.contents.into_values().map(|content| content.digest));
        }
    }
    Ok(Some(kept))
}

fn orphans(goal: &Goal) -> Orphans {
    match goal {
        Goal::Up(up) if up.remove_orphans => Orphans::Leave,
        _ => Orphans::Stay,
    }
}

fn small_enough(project: &Project) -> Result<(), Failure> {
    let replicas: u64 = project.services.values().map(|service| u64::from(service.replicas())).sum();
    if replicas <= REPLICAS_MAX {
        return Ok(());
    }
    let most = project.services.iter().max_by_key(|(_, service)| service.replicas()).map(|(name, _)| name.as_str());
    let error = format!("the project asks for {replicas} replicas, {REPLICAS_MAX} are the most");
    let hint = format!("look at `deploy.replicas` and `scale` of `{}`", most.unwrap_or_default());
    Err(Failure::said(error, hint, exit::COMPOSE_FILE))
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
