//! `mcompose supervise`
#![expect(clippy::disallowed_methods, reason = "the inventory is read again when it changes, and lines carry the time")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::session::Session;
use super::{Failure, Globals, exit, load, unit};
use crate::apply::Limits;
use crate::engine::Engines;
use crate::project::{Host, HostName};
use crate::store::{Clock, Draft, Holder, Store};
use crate::supervise::machine::{Notice, Settings};
use crate::supervise::{Changed, Scope, Supervision};
use crate::ui::Ui;
use crate::world::{Fabric, Swarm, World};

/// Keep every project of these hosts running: what dies is replaced, on another host when its host is lost
#[derive(Debug, clap::Args)]
pub struct SuperviseArgs {
    /// How what happens is told: plain, or json for one object per line
    #[arg(long, value_name = "FORMAT", default_value = "plain", value_parser = ["plain", "json"])]
    format: String,
    /// Write a systemd unit that supervises these hosts from this machine, and say how it is begun. With --dry-run it is printed
    #[arg(long)]
    install: bool,
}

/// Starts at once on one host. A returning rack must not be stampeded.
const STARTS_PER_HOST: usize = 6;
/// Between two looks at the inventory's file.
const INVENTORY_POLL: Duration = Duration::from_secs(2);
/// Where hosts could not be taken in, it is tried again after this long.
const INVENTORY_RETRY: Duration = Duration::from_secs(15);
const INVENTORY_RETRY_MAX: Duration = Duration::from_secs(240);
/// A project's lock in the place where its record goes is waited for this long.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);

pub async fn run(args: &SuperviseArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    if args.install {
        return unit::install(globals, ui);
    }
    let session = load::session(globals, ui, None, "supervise").await?;
    let supervision = supervision(&session, Scope::All).await?;
    let _attention = session.interrupt.attend();
    let stop = stop(&session);
    let (sender, changed) = mpsc::unbounded_channel();
    let outside = Arc::new(Notify::new());
    let (fabric, store) = (supervision.fabric.clone(), Arc::clone(&supervision.store));
    let known = Known { session: session.afresh(), fabric, store, missing: BTreeSet::new() };
    let watching = tokio::spawn(watch_inventory(globals.clone(), known, Arc::clone(&outside), sender));
    let is_json = args.format == "json";
    let tell = |notice: Notice| {
        if matches!(notice, Notice::HostOutside { .. }) {
            outside.notify_one();
        }
        tell(ui, &notice, is_json);
    };
    crate::supervise::run(supervision, changed, tell, stop).await;
    watching.abort();
    Ok(exit::OK)
}

/// Becomes true when the program is asked to end.
fn stop(session: &Session) -> watch::Receiver<bool> {
    let (sender, stop) = watch::channel(false);
    let interrupt = session.interrupt.clone();
    tokio::spawn(async move {
        interrupt.asked(1).await;
        sender.send_replace(true);
    });
    stop
}

/// What is needed to supervise the hosts of a session; the swarm is formed where it is missing.
pub async fn supervision(session: &Session, scope: Scope) -> Result<Supervision, Failure> {
    let world = session.ready().await?;
    let fabric = session.fabric(&world)?;
    let store = session.store(&fabric, &world)?;
    let limits = Limits { per_host: STARTS_PER_HOST, ..session.limits };
    Ok(Supervision {
        hosts: session.inventory.hosts.clone(),
        engines: session.engines.clone(),
        fabric,
        store,
        settings: settings(session, &scope),
        lost_after_ms_of: session.inventory.supervise.lost_after_ms_of.clone(),
        scope,
        limits,
        holder: Holder::this_process(&session.command),
        keys: session.cargo.keys().clone(),
        clock: Clock::OfMachine,
    })
}

/// Another for each run, so that two supervisors do not pause alike.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap_or_default() ^ u64::from(std::process::id())
}

fn settings(session: &Session, scope: &Scope) -> Settings {
    let settings = &session.inventory.supervise;
    Settings {
        heartbeat_ms: settings.heartbeat_ms,
        lost_after_ms: settings.lost_after_ms,
        look_every_ms: settings.look_every_ms,
        rebalance: settings.rebalance,
        keeps_deployed: *scope == Scope::All,
        seed: seed(),
    }
}

fn tell(ui: Ui, notice: &Notice, is_json: bool) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if is_json {
        let mut line = json!(notice);
        line["time_ms"] = json!(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        line["text"] = json!(notice.to_string());
        return ui.data(&line.to_string());
    }
    let secs = now.as_secs() % 86_400;
    ui.data(&format!("{:02}:{:02}:{:02} {}", secs / 3600, secs / 60 % 60, secs % 60, crate::ui::harmless(&notice.to_string())));
}

/// What is known of the inventory and its hosts.
struct Known {
    session: Session,
    fabric: Fabric,
    store: Arc<dyn Store>,
    /// Hosts that are to be in the swarm and are not yet: they were not there, or came with another disk.
    missing: BTreeSet<HostName>,
}

/// Hosts that are added to the file join the others, at once or when they answer; those that leave it are told. `outside` is told of
/// each that is in no swarm.
async fn watch_inventory(globals: Globals, mut known: Known, outside: Arc<Notify>, sender: mpsc::UnboundedSender<Changed>) {
    let Some(path) = known.session.file.as_ref().map(|file| file.path.clone()) else { return };
    let mut text = std::fs::read_to_string(&path).unwrap_or_default();
    // What failed, or is not whole yet, is tried again, more rarely each time; why is told once.
    let (mut due, mut pause, mut is_told) = (None, INVENTORY_RETRY, false);
    loop {
        let is_new = tokio::select! {
            () = sleep(INVENTORY_POLL) => false,
            () = outside.notified() => true,
        };
        let Ok(now) = std::fs::read_to_string(&path) else { continue };
        let is_new = is_new || text != now;
        if is_new {
            (text, due, pause, is_told) = (now, Some(Instant::now()), INVENTORY_RETRY, false);
        }
        if due.is_none_or(|due| due > Instant::now()) {
            continue;
        }
        let tried = changed(&globals, &known).await;
        let is_whole = tried.as_ref().is_ok_and(|newer| newer.missing.is_empty());
        due = (!is_whole).then(|| Instant::now() + pause);
        pause = (pause * 2).min(INVENTORY_RETRY_MAX);
        match tried {
            Ok(newer) => {
                let is_same = !is_new && newer.missing == known.missing;
                known = newer;
                if is_same {
                    continue;
                }
                let Known { session, fabric, store, .. } = &known;
                let changed = Changed {
                    hosts: session.inventory.hosts.clone(),
                    engines: session.engines.clone(),
                    fabric: fabric.clone(),
                    store: Arc::clone(store),
                    settings: settings(session, &Scope::All),
                    lost_after_ms_of: session.inventory.supervise.lost_after_ms_of.clone(),
                };
                if sender.send(changed).is_err() {
                    return;
                }
            }
            Err(failure) => {
                if !std::mem::replace(&mut is_told, true) {
                    failure.tell(&known.session.ui);
                }
            }
        }
    }
}

/// The inventory as it is now; engines of hosts that are the same as before are kept.
async fn changed(globals: &Globals, before: &Known) -> Result<Known, Failure> {
    let old = &before.session;
    let mut session = load::session(globals, old.ui, None, &old.command).await?;
    let same = |name: &str| {
        let (old, new) = (old.inventory.host(name), session.inventory.host(name));
        old.zip(new).is_some_and(|(old, new)| old.address == new.address && old.identity == new.identity && old.jump == new.jump)
    };
    let kept: Engines = old
        .engines
        .iter()
        .filter(|(name, _)| same(name.as_str()))
        .map(|(name, engine)| (name.clone(), Arc::clone(engine)))
        .collect();
    session.engines.extend(kept);
    let world = session.ready().await?;
    let fabric = with_silent(session.fabric(&world)?, &before.fabric, &session, &world);
    let missing = missing(&fabric, &session, &world);
    if fabric == before.fabric {
        return Ok(Known { session, fabric, store: Arc::clone(&before.store), missing });
    }
    let store = session.store(&fabric, &world)?;
    if before.fabric == Fabric::Bridge {
        carry_records(before.store.as_ref(), store.as_ref(), &session.command).await?;
    }
    Ok(Known { session, fabric, store, missing })
}

fn missing(fabric: &Fabric, session: &Session, world: &World) -> BTreeSet<HostName> {
    let is_member = |host: &Host| matches!(world.seen(host.name.as_str()).map(|seen| &seen.swarm), Some(Swarm::Active(_)));
    let outside = session.inventory.hosts.iter().filter(|host| *fabric != Fabric::Bridge && !is_member(host));
    outside.map(|host| host.name.clone()).collect()
}

/// Managers that do not answer at the moment are managers all the same.
fn with_silent(fabric: Fabric, before: &Fabric, session: &Session, world: &World) -> Fabric {
    let (Fabric::Overlay { managers: now }, Fabric::Overlay { managers: before }) = (&fabric, before) else { return fabric };
    let is_silent = |host: &&HostName| session.inventory.host(host.as_str()).is_some() && world.seen(host.as_str()).is_none();
    let silent = before.iter().filter(is_silent).filter(|host| !now.contains(host));
    let mut managers: Vec<HostName> = now.iter().chain(silent).cloned().collect();
    // In another order they are the same ones.
    if managers.len() == before.len() && before.iter().all(|host| managers.contains(host)) {
        managers.clone_from(before);
    }
    Fabric::Overlay { managers }
}

/// A second host makes a swarm of them, which keeps the records from then on: those of the first go there.
async fn carry_records(from: &dyn Store, to: &dyn Store, command: &str) -> Result<(), Failure> {
    for head in from.projects().await? {
        let (Some(record), None) = (from.latest(&head.project).await?, to.latest(&head.project).await?) else { continue };
        let lock = to.lock(&head.project, &Holder::this_process(command), LOCK_WAIT_MAX, &|_| {}).await?;
        let draft = Draft { newest_seen: record.head.revision, ..record.redraft(record.seats.clone(), record.halted.clone()) };
        let kept = async {
            let kept = to.put(draft).await?;
            to.set_state(&head.project, kept.head.revision, record.head.state, &record.head.stuck).await
        };
        let kept = kept.await;
        lock.release().await;
        kept?;
    }
    Ok(())
}
