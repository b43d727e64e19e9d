//! What a supervisor does about what happens: (state, event, now) → (state, commands). No IO and no clock in here.
//!
//! Hosts are watched by heartbeats and looked at after every sign of change, and now and then without one, since events get lost.
//! Whenever something was seen that concerns a project, it is placed and planned as `up` would; a plan that is not empty is carried
//! out under the project's lock, with the record and the hosts concerned read anew. Whatever went wrong in between, the next look
//! shows it, and the next plan goes on from there.

mod care;
mod deliberate;
mod event;
mod hear;
mod jitter;
mod leaving;
mod misfortune;
mod newcomers;
mod notice;
mod policy;
mod watch;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use care::EVENING_ROUNDS;
pub use care::{Care, Deployment, Judgement, MOVED, Phase, on_unlisted};
pub use deliberate::Deliberation;
pub use event::{Command, Event};
use leaving::Leaving;
pub use notice::Notice;
pub use policy::{History, Verdict, verdict};
pub use watch::{State, Turn, Watch};
use watches::Watches;

use crate::project::{Host, HostName, ProjectName, Rebalancing, RecordState, Slot};
use crate::world::{Fabric, SeenHost, Sight, World};

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub heartbeat_ms: u64,
    /// Silence after which a host is lost.
    pub lost_after_ms: u64,
    /// Between two looks at a host that gives no sign.
    pub look_every_ms: u64,
    /// What is done where hosts that joined or came back leave the loads uneven.
    pub rebalance: Rebalancing,
    /// A service with `deploy` and without any policy is kept running, as Swarm would. Not so while somebody is attached: what ends
    /// is shown, and stays ended, as with docker compose.
    pub keeps_deployed: bool,
    /// What pauses differ by, from one replica and project to another.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 1_000,
            lost_after_ms: 5_000,
            look_every_ms: 30_000,
            rebalance: Rebalancing::Off,
            keeps_deployed: true,
            seed: 0,
        }
    }
}

/// Records are read again after this long: who deploys tells nobody.
const RECORDS_EVERY_MS: u64 = 5_000;
/// After a failure a project is tried again after this long, twice as long each time.
const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 60_000;
/// A step that comes this much later than it was asked for: this supervisor did not run meanwhile, whatever the hosts did.
const OVERSLEPT_MS: u64 = 1_000;
/// It asks to run this often even when nothing is due, lest it takes the time for which it did not run for silence.
const TICK_MS: u64 = 500;
/// Plans in a row that left something to do, after which the next one counts as a retry.
const ROUNDS_AT_ONCE: u32 = 5;

pub struct Machine {
    settings: Settings,
    /// Ids of the keys of what lies encrypted on hosts.
    keys: BTreeSet<String>,
    fabric: Fabric,
    hosts: BTreeMap<HostName, Host>,
    /// Those of the hosts that answer and are not in the swarm that they are to be in.
    outside: BTreeSet<HostName>,
    /// Those of the hosts that are not listed any more.
    leaving: BTreeMap<HostName, Leaving>,
    watches: Watches,
    /// As each host was seen last, also where it does not answer any more.
    seen: BTreeMap<HostName, Arc<SeenHost>>,
    cares: BTreeMap<ProjectName, Care>,
    leads: bool,
    holds: bool,
    records_due_ms: u64,
    records_under_way: bool,
    records_read: bool,
    /// When the last step was taken.
    stepped_ms: u64,
    commands: Vec<Command>,
}

impl Machine {
    pub fn new(settings: Settings, fabric: Fabric, hosts: Vec<Host>, now_ms: u64) -> Self {
        let mut machine = Self {
            settings,
            keys: BTreeSet::new(),
            fabric,
            hosts: BTreeMap::new(),
            outside: BTreeSet::new(),
            leaving: BTreeMap::new(),
            watches: Watches::new(settings),
            seen: BTreeMap::new(),
            cares: BTreeMap::new(),
            leads: false,
            holds: false,
            records_due_ms: now_ms,
            records_under_way: false,
            records_read: false,
            stepped_ms: now_ms,
            commands: Vec::new(),
        };
        machine.take_hosts(hosts, now_ms);
        machine
    }

    /// The same with hosts that count as lost after a time of their own, in milliseconds.
    pub fn with_lost_after(mut self, lost_after_ms_of: BTreeMap<HostName, u64>) -> Self {
        self.watches.set_lost_after(lost_after_ms_of);
        self
    }

    /// The same with the keys of these ids.
    pub fn with_keys(mut self, keys: BTreeSet<String>) -> Self {
        self.keys = keys;
        self
    }

    /// Takes in what happened and returns what is to be done now.
    pub fn step(&mut self, event: Event, now_ms: u64) -> Vec<Command> {
        self.hear(event, now_ms);
        self.decide(now_ms)
    }

    /// Takes in what happened. Several things that happened at once are thought about once, by the `decide` that has to follow.
    pub fn hear(&mut self, event: Event, now_ms: u64) {
        self.wake_up(now_ms);
        self.happen(event, now_ms);
    }

    /// What is to be done now about what was heard.
    pub fn decide(&mut self, now_ms: u64) -> Vec<Command> {
        self.watch_hosts(now_ms);
        self.doubt_oneself();
        self.let_go(now_ms);
        self.mend(now_ms);
        std::mem::take(&mut self.commands)
    }

    /// When `step` is to be called with `Tick` at the latest, if nothing happens before: soon, and sooner where something is due.
    pub fn wake_ms(&self) -> u64 {
        let idle = self.cares.values().filter(|care| care.phase == Phase::Idle && self.leads && !self.holds);
        // Before the eyes are open nothing is thought about, and waking up sooner would be waking up again and again.
        let eyes_open_ms = self.watches.eyes_open_ms();
        let cares = idle.filter_map(|care| match care.dirty {
            true => Some(care.retry_at_ms.max(eyes_open_ms)),
            false => care.wake_ms.map(|wake_ms| wake_ms.max(care.retry_at_ms).max(eyes_open_ms)),
        });
        let records = (!self.records_under_way).then_some(self.records_due_ms);
        let tick = [self.stepped_ms.saturating_add(TICK_MS)];
        self.watches.due_ms().into_iter().chain(cares).chain(records).chain(tick).min().unwrap_or(u64::MAX)
    }

    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Whether it does nothing since most hosts are silent.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Images that the projects use, to be asked about when a host is looked at.
    pub fn images(&self) -> BTreeSet<String> {
        self.cares.values().flat_map(|care| care.deployment.project.images()).collect()
    }

    pub fn watch(&self, host: &str) -> Option<&Watch> {
        self.watches.get(host)
    }

    pub fn care(&self, project: &str) -> Option<&Care> {
        self.cares.get(project)
    }

    /// What was told of each project and is so still: what is held, fits nowhere, or is backed off; then whence slots came.
    pub fn told(&self) -> impl Iterator<Item = (&ProjectName, &str)> {
        let troubles = self.cares.iter().flat_map(|(project, care)| care.told.iter().map(move |text| (project, text.as_str())));
        let moves = self.cares.iter().flat_map(|(project, care)| care.moved.values().map(move |text| (project, text.as_str())));
        troubles.chain(moves)
    }

    /// Nothing is under way and nothing is waiting to be put right, but what is backed off.
    pub fn is_quiet(&self) -> bool {
        self.cares.values().all(|care| care.phase == Phase::Idle && !care.dirty)
    }

    /// What this supervisor slept through (suspended, a paused virtual machine, a long step) is nobody's silence: an answer may have
    /// come and was not read. After so long that a host could have been lost and back, nothing that was known of any holds.
    fn wake_up(&mut self, now_ms: u64) {
        let overslept_ms = now_ms.saturating_sub(self.wake_ms().max(self.stepped_ms));
        let slept_ms = now_ms - self.stepped_ms.min(now_ms);
        self.stepped_ms = now_ms;
        if overslept_ms >= OVERSLEPT_MS {
            self.watches.change_all(|watch, settings| {
                watch.unheard(slept_ms);
                if overslept_ms >= settings.lost_after_ms {
                    watch.ask_anew(now_ms);
                }
            });
        }
    }

    fn happen(&mut self, event: Event, now_ms: u64) {
        match event {
            Event::Tick => {}
            Event::Hosts(hosts) => self.take_hosts(hosts, now_ms),
            Event::Terms { settings, fabric, lost_after_ms_of } => {
                (self.settings, self.fabric) = (settings, fabric);
                self.watches.set(settings);
                self.watches.set_lost_after(lost_after_ms_of);
                self.judge_membership();
            }
            Event::Answered { host } => {
                self.watches.change(&host, |watch, settings| {
                    watch.ping_under_way = false;
                    watch.ping_again(now_ms, settings);
                });
                self.heard(&host, now_ms);
            }
            Event::Silent { host, refused, why } => self.silence(&host, refused, why, now_ms),
            Event::Doubted { host } => {
                self.watches.change(&host, |watch, _| {
                    watch.look_due_ms = now_ms;
                    watch.doubted = watch.look_under_way;
                });
            }
            Event::Looked { host, seen } => {
                self.watches.change(&host, |watch, _| watch.look_under_way = false);
                self.see(&host, seen, now_ms);
            }
            Event::Records(records) => self.take_records(records, now_ms),
            Event::Lease(leads) => self.take_lease(leads),
            Event::Locked { project, deployment, looks } => self.locked(project, deployment, looks, now_ms),
            Event::NotLocked { project, why } => self.failed(&project, BTreeSet::from([why]), now_ms),
            Event::Unlucky { project, slots } => self.failed_on_hosts(&project, slots, now_ms),
            Event::Applied { project, tried, errors, looks, took_ms } => {
                looks.into_iter().for_each(|(host, sight)| self.sight(&host, sight, now_ms));
                self.applied(&project, &tried, errors, took_ms, now_ms);
            }
        }
    }

    fn take_hosts(&mut self, hosts: Vec<Host>, now_ms: u64) {
        self.hosts = self.with_leaving(hosts);
        self.watches.take(self.hosts.keys(), now_ms);
        self.cares.values_mut().for_each(|care| {
            care.dirty = true;
            care.evening_rounds = EVENING_ROUNDS;
        });
    }

    fn take_lease(&mut self, leads: bool) {
        if leads == self.leads {
            return;
        }
        self.leads = leads;
        self.tell(if leads { Notice::Leads } else { Notice::StandsBy });
        self.records_due_ms = 0;
        self.cares.values_mut().for_each(|care| care.dirty = true);
        if !leads {
            self.interrupt_all();
        }
    }

    fn take_records(&mut self, mut records: BTreeMap<ProjectName, Deployment>, now_ms: u64) {
        self.records_under_way = false;
        self.records_read = true;
        self.records_due_ms = now_ms + RECORDS_EVERY_MS;
        self.tell_of_unlisted(&records);
        let gone: Vec<ProjectName> = self.cares.keys().filter(|name| !records.contains_key(*name)).cloned().collect();
        for name in gone {
            self.forget(&name);
        }
        let mut paused = Vec::new();
        for (name, care) in &mut self.cares {
            // A record that is read while its project is worked on is read again under the lock.
            let Some(deployment) = records.remove(name) else { continue };
            let is_paused = [care.deployment.state, deployment.state] == [RecordState::Begun, RecordState::Paused];
            match care.phase {
                Phase::Idle => care.redeployed(deployment),
                Phase::Applying { .. } if is_paused => paused.push(name.clone()),
                Phase::Asked | Phase::Applying { .. } => {}
            }
        }
        // Somebody paused the update that is under way.
        paused.iter().for_each(|project| self.interrupt(project));
        self.cares.extend(records.into_iter().map(|(name, deployment)| (name, Care::new(deployment))));
    }

    /// Of projects that are new to it: what a record says to be on hosts that the inventory had lost before this supervision began.
    fn tell_of_unlisted(&mut self, records: &BTreeMap<ProjectName, Deployment>) {
        for (project, deployment) in records.iter().filter(|(name, _)| !self.cares.contains_key(*name)) {
            let slots = on_unlisted(&deployment.seats, &deployment.halted, &|host| self.hosts.contains_key(host));
            for (host, slots) in slots {
                self.commands.push(Command::Tell(Notice::Unlisted { project: project.clone(), host, slots }));
            }
        }
    }

    /// The project was taken down. What is under way for it is not begun further.
    fn forget(&mut self, project: &ProjectName) {
        let Some(care) = self.cares.get(project) else { return };
        match care.phase {
            Phase::Idle => drop(self.cares.remove(project)),
            // Under the lock, the record that is missing will be seen.
            Phase::Asked => {}
            Phase::Applying { .. } => self.interrupt(project),
        }
    }

    /// A host was lost or is there again: what is under way was planned for another world.
    fn host_turned(&mut self) {
        self.interrupt_all();
        for care in self.cares.values_mut() {
            care.dirty = true;
            care.retry_at_ms = 0;
            care.rounds = 0;
            care.evening_rounds = EVENING_ROUNDS;
        }
    }

    fn interrupt_all(&mut self) {
        let projects: Vec<ProjectName> = self.cares.keys().cloned().collect();
        projects.iter().for_each(|project| self.interrupt(project));
    }

    fn interrupt(&mut self, project: &ProjectName) {
        let Some(care) = self.cares.get_mut(project) else { return };
        if let Phase::Applying { interrupted, .. } = &mut care.phase
            && !std::mem::replace(interrupted, true)
        {
            self.commands.push(Command::Interrupt { project: project.clone() });
        }
    }

    /// A plan that is carried out knows nothing of replicas that died after it was made, unless it is about them. Those of other hosts
    /// were gone through when they were looked at.
    fn interrupt_where_more_happened(&mut self, host: &HostName) {
        let down = |slots: &BTreeSet<Slot>, name: &ProjectName| {
            let containers = self.seen.get(host).into_iter().flat_map(|seen| seen.containers.iter());
            let ours = containers.filter(|container| container.labels.project.as_deref() == Some(name.as_str()));
            ours.filter(|container| !container.state.is_up()).filter_map(|container| container.slot()).any(|slot| {
                let care = self.cares.get(name);
                let known = care.is_some_and(|care| care.done.contains(&slot) || care.histories.contains_key(&slot));
                !known && !slots.contains(&slot)
            })
        };
        let hit: Vec<ProjectName> = self
            .cares
            .iter()
            .filter(|(name, care)| matches!(&care.phase, Phase::Applying { slots, interrupted: false, .. } if down(slots, name)))
            .map(|(name, _)| name.clone())
            .collect();
        hit.iter().for_each(|project| self.interrupt(project));
    }

    fn tell(&mut self, notice: Notice) {
        self.commands.push(Command::Tell(notice));
    }

    /// The hosts as they are to be placed on, and the world as far as it answers.
    fn surroundings(&self, now_ms: u64) -> (Vec<Host>, World, BTreeSet<HostName>) {
        let mut hosts = Vec::with_capacity(self.hosts.len());
        let mut world = World::default();
        let mut lost = BTreeSet::new();
        for (name, host) in &self.hosts {
            let Some(watch) = self.watches.get(name.as_str()) else { continue };
            let is_cooling = watch.cooling_until_ms > now_ms;
            // No container gets onto a network of the swarm there.
            hosts.push(deliberate::trusted(host, !is_cooling && !self.outside.contains(name)));
            let sight = match (watch.state, self.seen.get(name)) {
                (State::Up, Some(seen)) => Sight::Seen(Arc::clone(seen)),
                _ => Sight::Unreachable { why: watch.why.clone() },
            };
            if watch.state == State::Lost {
                lost.insert(name.clone());
            }
            world.hosts.insert(name.clone(), sight);
        }
        (hosts, world, lost)
    }
}
