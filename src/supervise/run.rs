//! The loop: tells the machine what happens, and does what it says. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::hosts::Hosts;
use super::machine::{Command, Event, Machine, Notice, Settings};
use super::projects::{Locked, Projects};
use crate::apply::Limits;
use crate::delivery::Keys;
use crate::engine::Engines;
use crate::project::{Host, HostName, ProjectName};
use crate::store::{Clock, Holder, Says, Store};
use crate::world::Fabric;

/// Between two tries for the lease where the store does not answer.
const LEASE_RETRY: Duration = Duration::from_secs(1);
/// A thousand hosts answer at about the same time. What came is thought about once, but not for ever put off.
const MESSAGES_AT_ONCE: usize = 256;
/// The lease is given back within this time at the end.
const END_WAIT_MAX: Duration = Duration::from_secs(5);

/// The machine asks for less.
const WAKE_MS_MAX: u64 = 3_600_000;

/// What is supervised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every project with a record, by the one supervisor that holds the lease.
    All,
    /// One project, for as long as somebody is attached to it; beside a supervisor, which the project's lock keeps apart.
    Project(ProjectName),
}

/// What a supervisor works with.
pub struct Supervision {
    pub hosts: Vec<Host>,
    pub engines: Engines,
    pub fabric: Fabric,
    pub store: Arc<dyn Store>,
    pub settings: Settings,
    /// Hosts that count as lost after another time, in milliseconds.
    pub lost_after_ms_of: BTreeMap<HostName, u64>,
    pub scope: Scope,
    pub limits: Limits,
    pub holder: Holder,
    /// Of what lies encrypted on hosts.
    pub keys: Keys,
    pub clock: Clock,
}

/// The hosts as the inventory lists them now, and what follows from that.
pub struct Changed {
    pub hosts: Vec<Host>,
    pub engines: Engines,
    pub fabric: Fabric,
    /// Taken where the fabric is another one.
    pub store: Arc<dyn Store>,
    pub settings: Settings,
    pub lost_after_ms_of: BTreeMap<HostName, u64>,
}

/// What comes back to the loop.
pub(super) enum Message {
    Event(Event),
    /// A project's lock is held; the event says what was read under it.
    Locked(Box<Locked>, Event),
}

/// Supervises until `stop` is true. `tell` hears what is seen and done; `changed` brings hosts that come and go.
pub async fn run(
    supervision: Supervision,
    mut changed: mpsc::UnboundedReceiver<Changed>,
    tell: impl Fn(Notice),
    mut stop: watch::Receiver<bool>,
) {
    let (sender, mut messages) = mpsc::unbounded_channel();
    let Supervision { hosts: inventory, engines, fabric, store, settings, lost_after_ms_of, scope, limits, holder, keys, clock } =
        supervision;
    let began = clock.now();
    let now_ms = || u64::try_from(clock.since(began).as_millis()).unwrap_or(u64::MAX);
    let mut fabric_now = fabric.clone();
    let (stores, store_now) = watch::channel(Arc::clone(&store));
    let mut machine = Machine::new(settings, fabric, inventory, now_ms()).with_lost_after(lost_after_ms_of);
    machine = machine.with_keys(keys.ids().map(str::to_owned).collect());
    let mut hosts = Hosts::new(engines, sender.clone());
    let mut projects = Projects::new(store, scope.clone(), limits, holder.clone(), keys, sender.clone());
    let again = sender.clone();
    let mut lease = JoinSet::new();
    let (say, said) = watch::channel(String::new());
    match scope {
        Scope::All => drop(lease.spawn(hold_lease(store_now, holder, said, sender, stop.clone()))),
        Scope::Project(_) => drop(sender.send(Message::Event(Event::Lease(true)))),
    }
    loop {
        let wake = Instant::now() + Duration::from_millis(machine.wake_ms().saturating_sub(now_ms()).min(WAKE_MS_MAX));
        let first = tokio::select! {
            biased;
            () = is_true(&mut stop) => break,
            Some(message) = messages.recv() => message,
            Some(Changed { hosts: inventory, engines, fabric, store, settings, lost_after_ms_of }) = changed.recv() => {
                hosts.change(engines);
                if fabric != fabric_now {
                    fabric_now.clone_from(&fabric);
                    projects.keep_at(Arc::clone(&store));
                    stores.send_replace(store);
                }
                machine.hear(Event::Terms { settings, fabric, lost_after_ms_of }, now_ms());
                Message::Event(Event::Hosts(inventory))
            }
            () = sleep_until(wake) => Message::Event(Event::Tick),
        };
        let mut are_of_records = false;
        let others = std::iter::from_fn(|| messages.try_recv().ok());
        for message in std::iter::once(first).chain(others).take(MESSAGES_AT_ONCE) {
            let event = match message {
                Message::Event(event) => event,
                Message::Locked(locked, event) => {
                    projects.hold(*locked);
                    event
                }
            };
            are_of_records |= matches!(event, Event::Records(_) | Event::Locked { .. });
            machine.hear(event, now_ms());
        }
        let commands = machine.decide(now_ms());
        say.send_if_modified(|said| {
            let now = says(&machine);
            let is_new = *said != now;
            *said = now;
            is_new
        });
        if are_of_records && hosts.ask(machine.images()) {
            // What was seen before does not tell whether a host has them.
            for host in hosts.engines().into_keys() {
                let _ = again.send(Message::Event(Event::Doubted { host }));
            }
        }
        for command in commands {
            match command {
                Command::Ping { host } => hosts.ping(&host),
                Command::Look { host } => hosts.look(host),
                Command::ReadRecords => projects.read(),
                Command::Lock { project, look } => projects.lock(project, hosts.lookers(&look)),
                Command::Apply { project, plan, seats, look } => {
                    projects.apply(project, *plan, seats, hosts.engines(), hosts.lookers(&look));
                }
                Command::Unlock { project } => projects.unlock(&project),
                Command::Settle { project } => projects.settle(&project),
                Command::Interrupt { project } => projects.interrupt(&project),
                Command::LetGo { host } => hosts.let_go(&host),
                Command::Tell(notice) => {
                    hosts.hear(&notice);
                    tell(notice);
                }
            }
        }
    }
    projects.end().await;
    let _ = tokio::time::timeout(END_WAIT_MAX, async { while lease.join_next().await.is_some() {} }).await;
}

/// What `ps` and `why` show of it, who run elsewhere.
fn says(machine: &Machine) -> String {
    let lines: Vec<String> = machine.told().map(|(project, text)| format!("{project} {}", text.replace('\n', " "))).collect();
    lines.join("\n")
}

/// Takes the lease, again whenever it was lost or is kept elsewhere, and says so; gives it back at the end.
async fn hold_lease(
    mut stores: watch::Receiver<Arc<dyn Store>>,
    holder: Holder,
    says: Says,
    sender: mpsc::UnboundedSender<Message>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let store = Arc::clone(&stores.borrow_and_update());
        let taken = tokio::select! {
            biased;
            taken = store.lease(&holder, says.clone()) => taken,
            () = is_another(&mut stores) => continue,
            () = is_true(&mut stop) => return,
        };
        let Ok(lease) = taken else {
            sleep(LEASE_RETRY).await;
            continue;
        };
        let _ = sender.send(Message::Event(Event::Lease(true)));
        let mut lost = lease.lost();
        tokio::select! {
            biased;
            () = is_true(&mut lost) => {}
            () = is_true(&mut stop) => return lease.release().await,
            () = is_another(&mut stores) => lease.release().await,
        }
        let _ = sender.send(Message::Event(Event::Lease(false)));
    }
}

/// Ends once there is another value; never where nobody can give one any more.
async fn is_another<T>(value: &mut watch::Receiver<T>) {
    if value.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Ends once the value is true; never where nobody can make it so any more.
pub(super) async fn is_true(value: &mut watch::Receiver<bool>) {
    let became = value.wait_for(|on| *on).await.is_ok();
    if !became {
        std::future::pending().await
    }
}

/// The hosts of a set as a set of names; for those who look at them.
pub(super) type Names = BTreeSet<HostName>;
pub(super) type ByProject<T> = BTreeMap<ProjectName, T>;
