//! One history: the town, its people and what befalls them, in slices of time.

use std::fmt::Write;
use std::sync::PoisonError;
use std::time::Duration;

use mcompose::engine::ContainerEvent;
use mcompose::engine::fake::{Behaviour, Link, Reach, Sent};
use mcompose::project::{Availability, HostName, Project, Rebalancing};
use mcompose::world::{Container, Health, State};

use super::chaos::{self, Act, Disk, GUEST, Hurt};
use super::dice::Dice;
use super::laws::Laws;
use super::people::{Diary, Process, Said};
use super::town::{self, CRASHES, FAILS, Town};

/// Each process lives for this long before the next one has its turn.
const SLICE: Duration = Duration::from_millis(200);
/// Once all is healed, everything is put right within this time …
const PUT_RIGHT_MS_MAX: u64 = 150_000;
/// … and then nothing is done any more: for this long in most histories, and longer than between two looks in some.
const QUIET_MS: u64 = 6_000;
const LONG_QUIET_MS: u64 = 40_000;
/// A host that comes back with an empty disk is seen to be in no swarm, and joins.
const JOINS_AFTER_MS: u64 = 3_000;

struct History {
    town: Town,
    dice: Dice,
    project: Project,
    processes: Vec<Process>,
    users: u64,
    tokens: u64,
    /// Hosts that came back with an empty disk, and from when on they may be made a part of the swarm again.
    outside: Vec<(String, u64)>,
    /// A manager was among them: with two the swarm would have no leader for good.
    lost_manager: bool,
    /// When all is healed.
    healed_ms: u64,
    diary: Diary,
    laws: Laws,
    events_seen: usize,
    sent_seen: usize,
    /// Nothing: it is not told.
    story: Option<String>,
}

/// What happened, in order of time.
enum Item {
    Event(HostName, ContainerEvent),
    Sent(Sent),
    Said(String, Said),
}

/// Plays the history of a seed; returns the law that was broken.
pub fn play(seed: u64) -> Option<String> {
    History::begin(seed, false).run(seed).1
}

/// The same with its story.
pub fn tell(seed: u64) -> (String, Option<String>) {
    History::begin(seed, true).run(seed)
}

impl History {
    fn begin(seed: u64, is_told: bool) -> Self {
        let mut dice = Dice::new(seed, 1);
        let town = Town::new(seed, &mut dice);
        // By dice of its own, so that it changes no other throw.
        let action = *Dice::new(seed, 10).pick(&["pause", "rollback"]);
        let project = town::project(&mut dice, action);
        let mut laws = Laws::new(town.hosts.len());
        let update = |project: &Project| project.services.get("web")?.deploy.as_ref()?.update_config.as_ref()?.order.clone();
        laws.start_first = update(&project).as_deref() == Some("start-first");
        laws.moves_first = update(&project).as_deref() != Some("stop-first");
        laws.rebalances = town.rebalancing == Rebalancing::Auto;
        Self {
            town,
            dice,
            project,
            processes: Vec::new(),
            users: 0,
            tokens: 0,
            outside: Vec::new(),
            lost_manager: false,
            healed_ms: 0,
            diary: Diary::default(),
            laws,
            events_seen: 0,
            sent_seen: 0,
            story: is_told.then(String::new),
        }
    }

    fn run(mut self, seed: u64) -> (String, Option<String>) {
        let hosts: Vec<String> = self.town.hosts.iter().map(|host| host.name.to_string()).collect();
        let supervisors = if self.dice.one_in(2) { vec!["s1"] } else { vec!["s1", "s2"] };
        let supervisors: Vec<String> = supervisors.into_iter().map(str::to_owned).collect();
        let acts = chaos::draw(&hosts, &supervisors, seed);
        self.healed_ms = acts.last().map(|(at_ms, _)| *at_ms).unwrap_or_default();
        let text = format!("{} hosts, {} managers, {} supervisors", hosts.len(), self.town.managers.len(), supervisors.len());
        self.tell(0, &text);
        // Events of before are the setting's.
        self.events_seen = self.town.fake.events_from(0).len();
        self.deploy("up");
        for supervisor in &supervisors {
            self.start(supervisor);
        }
        for (at_ms, act) in acts {
            self.live_until(at_ms);
            if self.laws.broken.is_some() {
                break;
            }
            self.act(&act, &supervisors);
        }
        self.end(if seed.is_multiple_of(16) { LONG_QUIET_MS } else { QUIET_MS });
        (self.story.unwrap_or_default(), self.laws.broken)
    }

    /// All is healed: it must be put right, and then nothing be done.
    fn end(&mut self, quiet_ms: u64) {
        loop {
            self.live_until(self.town.now_ms() + 1_000);
            // Whoever finds an update paused, and what it failed by mended, goes on with it.
            let is_at_it = self.processes.iter().any(|process| process.name.starts_with(chaos::USER));
            if self.laws.is_paused() && !is_at_it && self.laws.broken.is_none() {
                self.deploy("up goes on");
            }
            let now_ms = self.town.now_ms();
            if self.laws.broken.is_some() {
                return;
            }
            let is_late = now_ms > self.healed_ms + PUT_RIGHT_MS_MAX;
            let is_quiet = now_ms > self.laws.last_change_ms.max(self.healed_ms) + quiet_ms;
            if !is_quiet && !is_late {
                continue;
            }
            let wrong = self.town.wrong();
            if wrong.is_empty() && is_quiet {
                return;
            }
            if is_late {
                let wrong = if wrong.is_empty() { "all is right, and it goes on acting".to_owned() } else { wrong.join("; ") };
                self.laws.broken = Some(format!("{} s after all was healed: {wrong}", PUT_RIGHT_MS_MAX / 1_000));
                return;
            }
        }
    }

    fn live_until(&mut self, at_ms: u64) {
        let slice_ms = u64::try_from(SLICE.as_millis()).expect("it is short");
        while self.town.now_ms() < at_ms && self.laws.broken.is_none() {
            let until_ms = (self.town.now_ms() + slice_ms).min(at_ms.max(self.town.now_ms() + 1));
            let time = Duration::from_millis(until_ms - self.town.now_ms());
            self.processes.iter_mut().for_each(|process| process.live(time));
            self.processes.retain(|process| !process.is_done());
            self.town.fake.advance_to(self.town.began_ms + until_ms);
            self.take_note();
            self.take_in();
        }
    }

    /// Writes down what happened since the last time, and holds it against the laws.
    fn take_note(&mut self) {
        let fake = &self.town.fake;
        let mut items: Vec<(u64, Item)> = Vec::new();
        let began_ms = self.town.began_ms;
        let events = fake.events_from(self.events_seen);
        self.events_seen += events.len();
        for (host, event) in events {
            let at_ms = u64::try_from(event.time_ns / 1_000_000).unwrap_or_default().saturating_sub(began_ms);
            items.push((at_ms, Item::Event(host, event)));
        }
        let sent = fake.sent_from(self.sent_seen);
        self.sent_seen += sent.len();
        items.extend(sent.into_iter().map(|sent| (sent.at_ms.saturating_sub(began_ms), Item::Sent(sent))));
        let said = std::mem::take(&mut *self.diary.lock().unwrap_or_else(PoisonError::into_inner));
        items.extend(said.into_iter().map(|(at_ms, who, said)| (at_ms, Item::Said(who, said))));
        items.sort_by_key(|(at_ms, _)| *at_ms);
        let records = self.town.records();
        if let Some(text) = self.laws.records(&records, self.town.now_ms()) {
            self.tell(self.town.now_ms(), &text);
        }
        for (at_ms, item) in items {
            match item {
                Item::Event(host, event) => {
                    self.tell(at_ms, &format_args!("    {host}: {} {}", event.action, event.name));
                    self.laws.happened(&self.town, &host, &event, at_ms);
                }
                Item::Sent(sent) => {
                    if !sent.call.contains("config") {
                        self.tell(at_ms, &format_args!("  {} to {}: {}", sent.by, sent.host, sent.call));
                    }
                    self.laws.sent(&sent, at_ms);
                }
                Item::Said(who, Said::Notice(notice)) => {
                    let leads = if notice == mcompose::supervise::machine::Notice::Leads { "leads, " } else { "" };
                    self.tell(at_ms, &format_args!(" {who} {leads}{notice}"));
                    self.laws.said(&who, &notice, at_ms);
                }
                Item::Said(who, Said::Kept(revision)) => {
                    self.tell(at_ms, &format_args!(" {who} kept revision {revision}"));
                    self.laws.kept(revision, at_ms);
                }
                Item::Said(who, Said::Text(text)) => self.tell(at_ms, &format_args!(" {who}: {text}")),
            }
        }
    }

    fn tell(&mut self, at_ms: u64, text: &dyn std::fmt::Display) {
        if let Some(story) = &mut self.story {
            writeln!(story, "{:>3}.{:03} {text}", at_ms / 1_000, at_ms % 1_000).expect("a text");
        }
    }

    fn deploy(&mut self, text: &str) {
        self.users += 1;
        let name = format!("user{}", self.users);
        self.tell(self.town.now_ms(), &format_args!("{name}: {text}"));
        let user = Process::user(&name, self.project.clone(), &self.town, &self.diary);
        self.processes.push(user);
    }

    fn start(&mut self, supervisor: &str) {
        if self.processes.iter().any(|process| process.name == supervisor) {
            return;
        }
        self.tokens += 1;
        // It begins with the file as it is now, and never hears of who was in it.
        for left in &self.town.unlisted {
            self.town.unknown.insert(left.name.clone());
            self.laws.host_unknown(left.name.as_str());
        }
        self.laws.process_awake(supervisor, self.town.now_ms());
        self.processes.push(Process::supervisor(supervisor, self.tokens, &self.town, &self.diary));
    }

    fn act(&mut self, act: &Act, supervisors: &[String]) {
        let now_ms = self.town.now_ms();
        self.tell(now_ms, &format_args!("{act:?}"));
        let fake = self.town.fake.clone();
        match act {
            Act::Crash(host) => {
                fake.host(host).crash();
                self.laws.host_away(host, now_ms);
                self.laws.host_crashed(host);
            }
            Act::SaveDisk(host) => {
                fake.host(host).save_disk();
                self.laws.disk_saved(host);
            }
            Act::Boot(host, disk) => self.boot(host, *disk),
            Act::Freeze(host) => {
                fake.host(host).freeze();
                self.laws.host_away(host, now_ms);
            }
            Act::Thaw(host) => {
                fake.host(host).thaw();
                self.settle(host);
            }
            Act::Cut(host) => {
                fake.host(host).cut();
                self.laws.host_away(host, now_ms);
            }
            Act::Refuse(host) => {
                // One that is away for another reason stays so.
                fake.host(host).refuse();
                if fake.host(host).reach() == Reach::Refusing {
                    self.laws.host_refuses(host, now_ms);
                }
            }
            Act::Allow(host, availability) => self.allow(host, *availability),
            Act::Join => {
                self.town.hosts.push(town::host(GUEST));
                self.laws.host_joined();
                self.inventory_changed();
            }
            Act::Leave => self.unlist(GUEST),
            Act::Unlist(host) => self.unlist(host),
            Act::List(host) => self.list(host),
            Act::Heal(host) => {
                fake.host(host).heal();
                self.settle(host);
            }
            Act::Link(supervisor, host, link) => self.link(supervisor, host, *link),
            Act::Hurt(hurt, number) => self.hurt(*hurt, *number),
            Act::Trouble(per_mille) => fake.trouble(*per_mille),
            Act::TroubleEvents(per_mille) => fake.trouble_events(*per_mille),
            Act::Deploy(number) => {
                let text = town::edit(&mut self.project, &mut Dice::new(*number, 3));
                let image = town::choose_image(&mut self.project, &mut Dice::new(*number, 11));
                self.deploy(&format!("{text}, {image}"));
            }
            Act::KillUser => {
                let name = format!("user{}", self.users);
                self.processes.retain(|process| process.name != name);
            }
            Act::FreezeProcess(name) => self.freeze(name, true),
            Act::ThawProcess(name) => self.freeze(name, false),
            Act::KillProcess(name) => {
                self.processes.retain(|process| process.name != *name);
                self.laws.process_away(name, true, now_ms);
            }
            Act::StartProcess(name) => self.start(name),
            Act::HealAll => self.heal_all(supervisors),
        }
        self.take_note();
    }

    fn allow(&mut self, host: &str, availability: Availability) {
        let listed = self.town.hosts.iter_mut().find(|listed| listed.name.as_str() == host);
        let Some(listed) = listed.filter(|listed| listed.availability != availability) else { return };
        listed.availability = availability;
        if availability == Availability::Drain {
            self.laws.host_drained(host);
        }
        self.inventory_changed();
    }

    fn unlist(&mut self, host: &str) {
        let Some(place) = self.town.hosts.iter().position(|listed| listed.name.as_str() == host) else { return };
        let left = self.town.hosts.remove(place);
        self.town.unlisted.push(left);
        self.laws.host_unlisted(host);
        self.inventory_changed();
    }

    fn list(&mut self, host: &str) {
        let Some(place) = self.town.unlisted.iter().position(|left| left.name.as_str() == host) else { return };
        let listed = self.town.unlisted.remove(place);
        self.town.unknown.remove(&listed.name);
        self.town.hosts.push(listed);
        self.town.hosts.sort_by(|one, other| one.name.cmp(&other.name));
        self.laws.host_listed(host);
        self.inventory_changed();
    }

    fn inventory_changed(&self) {
        self.processes.iter().for_each(|process| process.read_inventory(&self.town));
    }

    fn boot(&mut self, host: &str, disk: Disk) {
        let fake = self.town.fake.host(host);
        if fake.reach() != Reach::Crashed {
            return;
        }
        let manages = self.town.managers.iter().any(|manager| manager.as_str() == host);
        let disk = match disk {
            Disk::Empty if manages && (self.lost_manager || self.town.managers.len() < 3) => Disk::Same,
            disk => disk,
        };
        if disk == Disk::Empty {
            self.lost_manager |= manages;
            self.outside.push((host.to_owned(), self.town.now_ms() + JOINS_AFTER_MS));
        }
        match disk {
            Disk::Same => {}
            Disk::Old | Disk::Empty => self.laws.disk_replaced(host, disk == Disk::Old),
        }
        match disk {
            Disk::Same => fake.boot(),
            Disk::Old => fake.boot_old(),
            Disk::Empty => fake.boot_empty(),
        }
        self.settle(host);
    }

    /// What `mcompose supervise` does beside its loop: listed hosts that are in no swarm join the others.
    fn take_in(&mut self) {
        let now_ms = self.town.now_ms();
        let awake = self.processes.iter().any(|process| process.name.starts_with('s') && !process.is_frozen);
        let is_ready = |(host, from_ms): &(String, u64)| {
            let is_listed = self.town.hosts.iter().any(|listed| listed.name.as_str() == host);
            awake && is_listed && *from_ms <= now_ms && self.town.fake.host(host).reach() == Reach::Up
        };
        let ready: Vec<String> = self.outside.iter().filter(|host| is_ready(host)).map(|(host, _)| host.clone()).collect();
        for host in ready {
            if self.town.join(&host) {
                self.tell(now_ms, &format_args!("{host} joins the swarm again"));
                self.outside.retain(|(other, _)| *other != host);
                self.inventory_changed();
            }
        }
    }

    /// What truly is of a host after something ended for it.
    fn settle(&mut self, host: &str) {
        if self.town.fake.host(host).reach() == Reach::Up {
            self.laws.host_well(host, self.town.now_ms());
        }
    }

    fn link(&mut self, supervisor: &str, host: &str, link: Link) {
        self.town.fake.set_link(supervisor, host, link);
        self.laws.link(supervisor, host, link == Link::WHOLE, self.town.now_ms());
    }

    fn freeze(&mut self, name: &str, is_frozen: bool) {
        let now_ms = self.town.now_ms();
        let newest = format!("user{}", self.users);
        let is_meant = |process: &Process| match name {
            chaos::USER if is_frozen => process.name == newest,
            chaos::USER => process.name.starts_with(name),
            _ => process.name == name,
        };
        for process in self.processes.iter_mut().filter(|process| is_meant(process) && process.is_frozen != is_frozen) {
            process.is_frozen = is_frozen;
            match is_frozen {
                true => self.laws.process_away(&process.name, false, now_ms),
                false => self.laws.process_awake(&process.name, now_ms),
            }
        }
    }

    fn hurt(&mut self, hurt: Hurt, number: u64) {
        let all: Vec<(HostName, Container)> =
            self.town.containers().into_iter().filter(|(_, container)| container.state == State::Running).collect();
        if all.is_empty() {
            return;
        }
        let (host, container) = Dice::new(number, 4).pick(&all).clone();
        self.tell(self.town.now_ms(), &format_args!("{} on {host} {hurt:?}", container.name));
        let (fake, id) = (self.town.fake.host(host.as_str()), container.id.as_str());
        match hurt {
            Hurt::Fails => fake.exit_container(id, 1),
            Hurt::Ends => fake.exit_container(id, 0),
            Hurt::IsKilled => fake.kill_container(id),
            Hurt::IsRemoved => fake.remove_container(id),
            Hurt::TurnsUnhealthy if container.health == Health::None => {}
            Hurt::TurnsUnhealthy => fake.set_health(id, Health::Unhealthy),
        }
    }

    fn heal_all(&mut self, supervisors: &[String]) {
        let fake = self.town.fake.clone();
        fake.trouble(0);
        fake.trouble_events(0);
        fake.behave(&format!("{CRASHES}:1"), Behaviour::default());
        FAILS.iter().for_each(|image| fake.behave(image, Behaviour::default()));
        let hosts = self.town.hosts.iter().chain(&self.town.unlisted);
        let hosts: Vec<String> = hosts.map(|host| host.name.to_string()).collect();
        for host in &hosts {
            self.allow(host, Availability::Active);
            for supervisor in supervisors {
                self.link(supervisor, host, Link::WHOLE);
            }
            fake.host(host).thaw();
            fake.host(host).heal();
            self.boot(host, Disk::Same);
            self.settle(host);
        }
        self.freeze(chaos::USER, false);
        for supervisor in supervisors {
            self.freeze(supervisor, false);
            self.start(supervisor);
        }
    }
}
