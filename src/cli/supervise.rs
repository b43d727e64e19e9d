//! `mcompose supervise`
#![expect(clippy::disallowed_methods, reason = "the inventory is read again when it changes, and lines carry the time")]

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::session::Session;
use super::{Failure, Globals, exit, load, unit};
use crate::apply::Limits;
use crate::engine::Engines;
use crate::store::{Clock, Holder};
use crate::supervise::machine::{Notice, Settings};
use crate::supervise::{Changed, Scope, Supervision};
use crate::ui::Ui;

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

pub async fn run(args: &SuperviseArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    if args.install {
        return unit::install(globals, ui);
    }
    let session = load::session(globals, ui, None, "supervise").await?;
    let supervision = supervision(&session, Scope::All).await?;
    let _attention = session.interrupt.attend();
    let stop = stop(&session);
    let (sender, changed) = mpsc::unbounded_channel();
    let watching = tokio::spawn(watch_inventory(globals.clone(), session.afresh(), sender));
    let is_json = args.format == "json";
    crate::supervise::run(supervision, changed, |notice| tell(ui, &notice, is_json), stop).await;
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
    let settings = &session.inventory.supervise;
    let limits = Limits { per_host: STARTS_PER_HOST, ..session.limits };
    Ok(Supervision {
        hosts: session.inventory.hosts.clone(),
        engines: session.engines.clone(),
        fabric,
        store,
        settings: Settings {
            heartbeat_ms: settings.heartbeat_ms,
            lost_after_ms: settings.lost_after_ms,
            look_every_ms: settings.look_every_ms,
            rebalance: settings.rebalance,
            keeps_deployed: scope == Scope::All,
            seed: seed(),
        },
        lost_after_ms_of: settings.lost_after_ms_of.clone(),
        scope,
        limits,
        holder: Holder::this_process(&session.command),
        clock: Clock::OfMachine,
    })
}

/// Another for each run, so that two supervisors do not pause alike.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap_or_default() ^ u64::from(std::process::id())
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

/// Hosts that are added to the file join the others; those that leave it are let go.
async fn watch_inventory(globals: Globals, mut session: Session, sender: mpsc::UnboundedSender<Changed>) {
    let Some(path) = session.file.as_ref().map(|file| file.path.clone()) else { return };
    let mut known = std::fs::read_to_string(&path).unwrap_or_default();
    loop {
        sleep(INVENTORY_POLL).await;
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text == known {
            continue;
        }
        known = text;
        match changed(&globals, &session).await {
            Ok(newer) => {
                session = newer;
                let (hosts, engines) = (session.inventory.hosts.clone(), session.engines.clone());
                if sender.send(Changed { hosts, engines }).is_err() {
                    return;
                }
            }
            Err(failure) => drop(failure.tell(&session.ui)),
        }
    }
}

/// The inventory as it is now; engines of hosts that are the same as before are kept.
async fn changed(globals: &Globals, before: &Session) -> Result<Session, Failure> {
    let mut session = load::session(globals, before.ui, None, &before.command).await?;
    let same = |name: &str| {
        let (old, new) = (before.inventory.host(name), session.inventory.host(name));
        old.zip(new).is_some_and(|(old, new)| old.address == new.address && old.identity == new.identity && old.jump == new.jump)
    };
    let kept: Engines = before
        .engines
        .iter()
        .filter(|(name, _)| same(name.as_str()))
        .map(|(name, engine)| (name.clone(), std::sync::Arc::clone(engine)))
        .collect();
    session.engines.extend(kept);
    session.ready().await?;
    Ok(session)
}
