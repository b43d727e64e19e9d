//! `mcompose logs`, and what an attached `up` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::engine::{LogLine, LogQuery};
use crate::project::{HostName, Project};
use crate::ui::{LogPainter, Ui};
use crate::world::Container;

/// Lines of different hosts are held this long, so that they come out in the order of their times.
const REORDER: Duration = Duration::from_millis(100);
const LINES_QUEUED_MAX: usize = 4096;

/// View output from containers
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs for each container
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    services: Vec<String>,
}

/// How lines are shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub color: bool,
    pub prefix: bool,
    pub timestamps: bool,
}

/// Why following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every container has ended.
    ByItself,
    Interrupted,
    /// With `--abort-on-container-exit`: one of them has.
    OneExited,
}

pub async fn run(args: &LogsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "logs").await?;
    load::selection(&args.services, &project)?;
    let tail = match args.tail.as_str() {
        "all" => None,
        text => Some(text.parse().map_err(|_| Failure::said(format!("`--tail {text}` is not a number"), None, exit::USAGE))?),
    };
    let query =
        LogQuery { follow: args.follow, tail, since: moment(args.since.as_deref()), until: moment(args.until.as_deref()) };
    let style = Style { color: ui.color && !args.no_color, prefix: !args.no_log_prefix, timestamps: args.timestamps };
    let world = session.look_and_warn().await?;
    let wanted = |container: &Container| {
        let service = container.labels.service.as_deref().unwrap_or_default();
        (args.services.is_empty() || args.services.iter().any(|name| name == service))
            && (args.index == 0 || container.labels.number == Some(args.index))
    };
    let containers: Vec<_> = world
        .containers_of(&project.name)
        .filter(|(_, container)| wanted(container))
        .map(|(host, container)| (host.clone(), container.clone()))
        .collect();
    let ended = show(&session, &project, &containers, &query, style, false).await?;
    Ok(if ended == Ended::Interrupted && !args.follow { exit::INTERRUPTED } else { exit::OK })
}

/// Follows the replicas of the wanted services until all have ended, or Ctrl-C.
pub async fn follow(
    session: &Session,
    project: &Project,
    wanted: &dyn Fn(&str) -> bool,
    style: Style,
    until_one_exits: bool,
) -> Result<Ended, Failure> {
    let world = session.look(None).await;
    let containers: Vec<_> = world
        .containers_of(&project.name)
        .filter(|(_, container)| container.slot().is_some_and(|slot| wanted(slot.service.as_str())))
        .map(|(host, container)| (host.clone(), container.clone()))
        .collect();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    show(session, project, &containers, &query, style, until_one_exits).await
}

/// What a reader tells: a line of the container with this index, or that it has no more.
enum Told {
    Line(usize, LogLine),
    Broken(usize, String),
    End,
}

/// Prints the lines of all containers in the order of their times.
async fn show(
    session: &Session,
    project: &Project,
    containers: &[(HostName, Container)],
    query: &LogQuery,
    style: Style,
    until_one_exits: bool,
) -> Result<Ended, Failure> {
    let names: Vec<String> = containers.iter().map(|(_, container)| short_name(project, container)).collect();
    let painter = LogPainter::new(&names, style.color, style.prefix, style.timestamps);
    let (sender, mut lines) = mpsc::channel(LINES_QUEUED_MAX);
    for (index, (host, container)) in containers.iter().enumerate() {
        let Some(engine) = session.engines.get(host).cloned() else { continue };
        let (sender, query, id) = (sender.clone(), query.clone(), container.id.clone());
        tokio::spawn(async move {
            match engine.logs(id.as_str(), &query).await {
                Err(error) => drop(sender.send(Told::Broken(index, error.message)).await),
                Ok(mut lines) => {
                    while let Some(line) = lines.next().await {
                        let told = line.map_or_else(|error| Told::Broken(index, error.message), |line| Told::Line(index, line));
                        if sender.send(told).await.is_err() {
                            return;
                        }
                    }
                }
            }
            let _ = sender.send(Told::End).await;
        });
    }
    drop(sender);
    // By time, then by the order of coming.
    let mut held: BTreeMap<(String, u64), (usize, LogLine)> = BTreeMap::new();
    let mut count = 0;
    let mut flush_at = Instant::now() + REORDER;
    let ended = loop {
        tokio::select! {
            told = lines.recv() => match told {
                None => break Ended::ByItself,
                Some(Told::Line(index, line)) => {
                    count += 1;
                    held.insert((line.time.clone(), count), (index, line));
                }
                Some(Told::Broken(index, why)) => {
                    session.ui.warning(&format!("the log of `{}` ends: {why}", names[index]));
                }
                Some(Told::End) if until_one_exits => break Ended::OneExited,
                Some(Told::End) => {}
            },
            () = sleep_until(flush_at), if query.follow => {
                for (index, line) in std::mem::take(&mut held).into_values() {
                    session.ui.data(&painter.paint(index, &line));
                }
                flush_at = Instant::now() + REORDER;
            }
            () = session.interrupt.asked(1) => break Ended::Interrupted,
        }
    };
    for (index, line) in held.into_values() {
        session.ui.data(&painter.paint(index, &line));
    }
    Ok(ended)
}

/// `web-1`, as docker compose names a container in its logs.
fn short_name(project: &Project, container: &Container) -> String {
    let prefix = format!("{}-", project.name);
    container.name.strip_prefix(&prefix).unwrap_or(&container.name).to_owned()
}

/// `42m` back from now, or the moment as given, as the API takes it; nothing is empty.
#[expect(clippy::disallowed_methods, reason = "relative times start from now")]
fn moment(text: Option<&str>) -> String {
    let Some(text) = text else { return String::new() };
    let Some(back) = crate::project::GoDuration::parse(text) else { return text.to_owned() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let at = now.saturating_sub(back.to_std());
    format!("{}.{:09}", at.as_secs(), at.subsec_nanos())
}
