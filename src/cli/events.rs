//! `mcompose events`

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::attached::now;
use super::happened::{Happening, by_clock_of, remembered, skew_ms};
use super::moment::{api_text, moment};
use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::project::HostName;
use crate::ui::Ui;
use crate::world::{Labels, World};

/// Receive real time events from containers, of all hosts
#[derive(Debug, clap::Args)]
pub struct EventsArgs {
    /// Output events as a stream of json objects
    #[arg(long)]
    json: bool,
    /// Show all events created since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Events of different hosts are held this long, so that they come out in the order of their times.
const REORDER: Duration = Duration::from_millis(100);
/// Between two attempts to hear a host that does not answer.
const AGAIN_EVERY: Duration = Duration::from_secs(2);
const TOLD_QUEUED_MAX: usize = 4096;

enum Told {
    Happened(Box<Happening>),
    Silent(HostName, String),
    Back(HostName),
}

pub async fn run(args: &EventsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "events").await?;
    load::selection(&args.services, &project)?;
    let now = now();
    let (since, until) = (moment(args.since.as_deref(), now)?, moment(args.until.as_deref(), now)?);
    let wanted = |labels: &Labels| {
        let service = labels.service.as_deref().unwrap_or_default();
        labels.project.as_deref() == Some(project.name.as_str())
            && !labels.oneoff
            && (args.services.is_empty() || args.services.iter().any(|name| name == service))
    };
    let world = session.look_and_warn().await?;
    let show = |one: &Happening| {
        let line = if args.json { one.document().to_string() } else { crate::ui::harmless(&one.line()).to_string() };
        ui.data(&line);
    };
    let is_over = until.parse::<f64>().is_ok_and(|until| until <= now.as_secs_f64());
    if is_over {
        remembered(&session, &world, (&since, &until), &wanted).await.iter().for_each(show);
        return Ok(exit::OK);
    }
    follow(&session, &world, (&since, &until), &wanted, &show).await;
    Ok(exit::OK)
}

/// Shows what happens, in order of time, until Ctrl-C or until every stream has come to its end.
async fn follow(
    session: &Session,
    world: &World,
    (since, until): (&str, &str),
    wanted: &dyn Fn(&Labels) -> bool,
    show: &dyn Fn(&Happening),
) {
    let (sender, mut told) = mpsc::channel(TOLD_QUEUED_MAX);
    for host in session.engines.keys() {
        let times = (by_clock_of(world, host, since), by_clock_of(world, host, until));
        listen(session, host, times, skew_ms(world, host), sender.clone());
    }
    drop(sender);
    let mut held: BTreeMap<(i64, u64), Box<Happening>> = BTreeMap::new();
    let (mut count, mut flush_at) = (0, Instant::now() + REORDER);
    loop {
        tokio::select! {
            next = told.recv() => match next {
                Some(Told::Happened(one)) if wanted(&one.labels) => {
                    count += 1;
                    held.insert((one.time_ns, count), one);
                }
                Some(Told::Happened(_)) => {}
                Some(Told::Silent(host, why)) => session.ui.warning(&format!("host `{host}` tells nothing now: {why}")),
                Some(Told::Back(host)) => session.ui.note(&format!("host `{host}` tells again")),
                None => break,
            },
            () = sleep_until(flush_at) => {
                std::mem::take(&mut held).values().for_each(|one| show(one));
                flush_at = Instant::now() + REORDER;
            }
            () = session.interrupt.asked(1) => break,
        }
    }
    held.values().for_each(|one| show(one));
}

/// Hears a host for as long as anybody wants to know, again after each silence; what happened meanwhile its engine remembers.
fn listen(session: &Session, host: &HostName, (since, until): (String, String), skew_ms: i64, sender: mpsc::Sender<Told>) {
    let (Some(engine), host) = (session.engines.get(host).cloned(), host.clone()) else { return };
    tokio::spawn(async move {
        let mut since = if since.is_empty() { api_text(now()) } else { since };
        let mut is_silent = false;
        loop {
            let why = match engine.events(&since, &until).await {
                Err(error) => error.message,
                Ok(mut events) => {
                    if std::mem::take(&mut is_silent) && sender.send(Told::Back(host.clone())).await.is_err() {
                        return;
                    }
                    loop {
                        match events.next().await {
                            Some(Ok(event)) => {
                                // One nanosecond later: each is told once.
                                let next = u64::try_from(event.time_ns + 1).unwrap_or_default();
                                since = api_text(Duration::from_nanos(next));
                                if sender.send(Told::Happened(Box::new(Happening::new(&host, event, skew_ms)))).await.is_err() {
                                    return;
                                }
                            }
                            Some(Err(error)) => break error.message,
                            None if !until.is_empty() => return,
                            None => break "its engine ended".to_owned(),
                        }
                    }
                }
            };
            if sender.is_closed() {
                return;
            }
            if !std::mem::replace(&mut is_silent, true) {
                let _ = sender.send(Told::Silent(host.clone(), why)).await;
            }
            sleep(AGAIN_EVERY).await;
        }
    });
}
