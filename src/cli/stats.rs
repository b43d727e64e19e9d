//! `mcompose stats`

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::engine::{EngineError, Usage};
use crate::project::HostName;
use crate::ui::{Template, Ui};
use crate::world::Container;

/// Display a live stream of container(s) resource usage statistics, with their hosts
#[derive(Debug, clap::Args)]
pub struct StatsArgs {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// `table`, `json`, or a template as of docker: `table {{.Name}}\t{{.CPUPerc}}`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    service: Option<String>,
}

const HEADINGS: [&str; 9] =
    ["CONTAINER ID", "NAME", "HOST", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
/// The keys of `document`, in the order of the headings.
const FIELDS: [&str; 10] = ["ID", "Name", "Host", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "Container"];
/// Engines take a sample a second.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
const ID_DIGITS: usize = 12;
/// Clears the terminal, and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub async fn run(args: &StatsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let template = match args.format.as_str() {
        "table" | "json" => None,
        text => Some(Template::parse(text, &FIELDS)?),
    };
    let (session, project) = load::known_project(globals, ui, "stats").await?;
    load::selection(&args.service.iter().cloned().collect::<Vec<_>>(), &project)?;
    let world = session.look_and_warn().await?;
    let rows = chosen(args, world.containers_of(&project.name));
    let show = |usages: &[Option<Usage>]| {
        let documents: Vec<Value> =
            rows.iter().zip(usages).map(|((host, container), usage)| document(host, container, *usage, args.no_trunc)).collect();
        match (&template, args.format.as_str()) {
            (Some(template), _) => ui.listed(template, &documents),
            (None, "json") => documents.iter().for_each(|document| ui.data(&document.to_string())),
            (None, _) => ui.table(&HEADINGS, &documents.iter().map(cells).collect::<Vec<_>>()),
        }
    };
    if args.no_stream {
        let asked = join_all(rows.iter().map(|(host, container)| once(&session, host, container))).await;
        let mut code = exit::OK;
        let usages = asked.into_iter().map(|usage| {
            usage.unwrap_or_else(|error| {
                code = Failure::Engine(error).tell(&ui);
                None
            })
        });
        show(&usages.collect::<Vec<_>>());
        return Ok(code);
    }
    // Until interrupted, or until nothing is left that could be told of.
    let mut followed: Vec<watch::Receiver<Option<Usage>>> =
        rows.iter().map(|(host, container)| follow(&session, host, container)).collect();
    let mut ticks = tokio::time::interval(SHOWN_EVERY);
    while followed.iter_mut().any(|usage| usage.has_changed().is_ok()) {
        ticks.tick().await;
        if std::io::stdout().is_terminal() {
            ui.data(CLEAR);
        }
        show(&followed.iter().map(|usage| *usage.borrow()).collect::<Vec<_>>());
    }
    Ok(exit::OK)
}

fn chosen<'a>(
    args: &StatsArgs,
    containers: impl Iterator<Item = (&'a HostName, &'a Container)>,
) -> Vec<(&'a HostName, &'a Container)> {
    let is_meant = |container: &Container| {
        let service = container.labels.service.as_deref();
        let is_chosen = args.service.as_deref().is_none_or(|only| service == Some(only));
        is_chosen && (args.all || container.state.is_up())
    };
    let mut rows: Vec<_> = containers.filter(|(_, container)| is_meant(container)).collect();
    rows.sort_by_key(|(_, container)| &container.name);
    rows
}

async fn once(session: &Session, host: &HostName, container: &Container) -> Result<Option<Usage>, EngineError> {
    match session.engines.get(host).filter(|_| container.state.is_up()) {
        Some(engine) => engine.usage(container.id.as_str(), false).await?.next().await.transpose(),
        None => Ok(None),
    }
}

/// The newest of what a container uses; without a sender once it is gone.
fn follow(session: &Session, host: &HostName, container: &Container) -> watch::Receiver<Option<Usage>> {
    let (sender, newest) = watch::channel(None);
    if let Some(engine) = session.engines.get(host).cloned() {
        let id = container.id.as_str().to_owned();
        tokio::spawn(async move {
            let Ok(mut usages) = engine.usage(&id, true).await else { return };
            while let Some(Ok(usage)) = usages.next().await {
                sender.send_replace(Some(usage));
            }
        });
    }
    newest
}

/// In docker's own words and units; what does not run has dashes.
fn document(host: &HostName, container: &Container, usage: Option<Usage>, whole: bool) -> Value {
    let id = container.id.as_str();
    let id = if whole { id } else { id.get(..ID_DIGITS).unwrap_or(id) };
    let texts: BTreeMap<&str, String> = match usage {
        None => ["CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"].map(|key| (key, "--".to_owned())).into(),
        Some(usage) => {
            let share = usage.memory_bytes as f64 / usage.memory_limit_bytes.max(1) as f64 * 100.0;
            [
                ("CPUPerc", format!("{:.2}%", usage.cpu_percent)),
                ("MemUsage", format!("{} / {}", binary(usage.memory_bytes), binary(usage.memory_limit_bytes))),
                ("MemPerc", format!("{share:.2}%")),
                ("NetIO", format!("{} / {}", decimal(usage.received_bytes), decimal(usage.sent_bytes))),
                ("BlockIO", format!("{} / {}", decimal(usage.read_bytes), decimal(usage.written_bytes))),
                ("PIDs", usage.processes.to_string()),
            ]
            .into()
        }
    };
    let mut document = json!({ "ID": id, "Container": id, "Name": container.name, "Host": host.as_str() });
    texts.into_iter().for_each(|(key, text)| document[key] = text.into());
    document
}

fn cells(document: &Value) -> Vec<String> {
    FIELDS[..HEADINGS.len()].iter().map(|field| document[*field].as_str().unwrap_or_default().to_owned()).collect()
}

/// `1.5MiB`, four digits.
fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// `1.23kB`, three digits.
fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// As Go's `%.Ng` has it: so many digits that tell something, without zeros at the end.
fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= base && unit + 1 < units.len() {
        amount /= base;
        unit += 1;
    }
    let before = format!("{}", amount.trunc()).len();
    let text = format!("{amount:.*}", digits.saturating_sub(before));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_docker_writes_them() {
        assert_eq!([binary(0), binary(1536), binary(3 << 30), binary(1_234_567)], ["0B", "1.5KiB", "3GiB", "1.177MiB"]);
        assert_eq!([decimal(0), decimal(1230), decimal(999), decimal(45_600_000)], ["0B", "1.23kB", "999B", "45.6MB"]);
    }
}
