//! `mcompose ps`

use serde_json::{Value, json};

use super::guard::{self, Told};
use super::{Failure, Globals, exit, load};
use crate::project::{Project, Slot};
use crate::ui::{Template, Ui};
use crate::world::{Container, Health, PortSeen, State};

/// List containers with their hosts
#[derive(Debug, clap::Args)]
pub struct PsArgs {
    /// Show all stopped containers (including those created by the run command)
    #[arg(short, long)]
    all: bool,
    /// Filter services by a property (supported filters: status)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Option<String>,
    /// Format the output: table, json, or a template such as `table {{.Name}}\\t{{.Host}}`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Include orphaned services (not declared by project)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    orphans: bool,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display services
    #[arg(long)]
    services: bool,
    /// Filter services by status
    #[arg(long, value_name = "STATUS", value_parser = ["paused", "restarting", "removing", "running", "dead", "created", "exited"])]
    status: Vec<String>,
    /// Only replicas on this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

const HEADINGS: [&str; 8] = ["NAME", "HOST", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"];
/// The keys of `document`.
const FIELDS: [&str; 20] = [
    "ID",
    "Name",
    "Names",
    "Host",
    "Image",
    "Command",
    "Project",
    "Service",
    "Number",
    "State",
    "Health",
    "ExitCode",
    "Status",
    "CreatedAt",
    "RunningFor",
    "Publishers",
    "Ports",
    "Networks",
    "Mounts",
    "Note",
];
const COMMAND_CHARS: usize = 22;

pub async fn run(args: &PsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let template = match args.format.as_str() {
        "table" | "json" => None,
        text => Some(Template::parse(text, &FIELDS)?),
    };
    let (session, project) = load::known_project(globals, ui, "ps").await?;
    load::selection(&args.only, &project)?;
    let mut status = args.status.clone();
    if let Some(filter) = &args.filter {
        let value = filter.strip_prefix("status=");
        let value =
            value.ok_or_else(|| Failure::said(format!("unknown filter `{filter}`"), "status=STATE".to_owned(), exit::USAGE))?;
        status.push(value.to_owned());
    }
    let world = session.look_and_warn().await?;
    let shown = |host: &str, container: &Container| {
        let service = container.labels.service.as_deref().unwrap_or_default();
        let declared = project.services.keys().any(|name| name.as_str() == service);
        (args.all || !status.is_empty() || container.state.is_up())
            && (args.all || !container.labels.oneoff)
            && (status.is_empty() || status.contains(&container.state.to_string()))
            && (args.only.is_empty() || args.only.iter().any(|name| name == service))
            && (args.orphans || declared)
            && args.host.as_deref().is_none_or(|only| only == host)
    };
    let mut rows: Vec<_> =
        world.containers_of(&project.name).filter(|(host, container)| shown(host.as_str(), container)).collect();
    rows.sort_by(|(_, a), (_, b)| {
        (&a.labels.service, a.labels.number, &a.name).cmp(&(&b.labels.service, b.labels.number, &b.name))
    });
    if args.quiet {
        rows.iter().for_each(|(_, container)| ui.data(container.id.as_str()));
    } else if args.services {
        let mut services: Vec<_> = rows.iter().filter_map(|(_, container)| container.labels.service.clone()).collect();
        services.dedup();
        services.iter().for_each(|service| ui.data(service));
    } else if template.is_some() || args.format == "json" {
        let told = guard::ask(&session, &world, Some(&project.name)).await.unwrap_or_default();
        let mut objects: Vec<_> = rows.iter().map(|(host, container)| document(host.as_str(), container, &told)).collect();
        if args.all && status.is_empty() && args.host.is_none() {
            let has_container =
                |slot: &Slot| world.containers_of(&project.name).any(|(_, seen)| seen.slot().as_ref() == Some(slot));
            let is_meant = |slot: &Slot| args.only.is_empty() || args.only.iter().any(|name| name == slot.service.as_str());
            let without = told.of_slots.iter().filter(|(slot, _)| is_meant(slot) && !has_container(slot));
            objects.extend(without.map(|(slot, notes)| gap(&project, slot, notes)));
        }
        match template {
            Some(template) => ui.listed(&template, &objects),
            None => objects.iter().for_each(|object| ui.data(&object.to_string())),
        }
    } else {
        let rows: Vec<_> = rows.iter().map(|(host, container)| cells(host.as_str(), container, args.no_trunc)).collect();
        ui.table(&HEADINGS, &rows);
        guard::tell(&session, &world, Some(&project.name)).await;
    }
    Ok(exit::OK)
}

fn cells(host: &str, container: &Container, whole: bool) -> Vec<String> {
    let command = match container.command.chars().count() > COMMAND_CHARS && !whole {
        true => format!("\"{}…\"", container.command.chars().take(COMMAND_CHARS - 4).collect::<String>()),
        false => format!("\"{}\"", container.command),
    };
    vec![
        container.name.clone(),
        host.to_owned(),
        container.image.clone(),
        command,
        container.labels.service.clone().unwrap_or_default(),
        age(container.created),
        container.status.clone(),
        ports(&container.ports),
    ]
}

/// One object a line, with docker compose's keys, `Host`, and `Note`: why it does not run as it should.
fn document(host: &str, container: &Container, told: &Told) -> Value {
    let notes = container.slot().and_then(|slot| told.of_slots.get(&slot)).map(|notes| notes.join("; "));
    let publishers = container.ports.iter().map(|port| {
        json!({
            "URL": port.host_ip, "TargetPort": port.container_port, "PublishedPort": port.host_port.unwrap_or(0),
            "Protocol": port.protocol.to_string(),
        })
    });
    let health = match container.health {
        Health::None => "",
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    };
    let code = match container.state {
        State::Exited { code } => code.unwrap_or_default(),
        _ => 0,
    };
    json!({
        "ID": container.id.as_str(), "Name": container.name, "Host": host, "Image": container.image, "Command": container.command,
        "Project": container.labels.project, "Service": container.labels.service, "Number": container.labels.number,
        "State": container.state.to_string(), "Health": health, "ExitCode": code, "Status": container.status,
        "CreatedAt": container.created, "Publishers": publishers.collect::<Vec<_>>(), "Names": container.name,
        "RunningFor": age(container.created), "Ports": ports(&container.ports),
        "Networks": container.networks.keys().cloned().collect::<Vec<_>>().join(","),
        "Mounts": container.mounts.iter().map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name }).cloned()
            .collect::<Vec<_>>().join(","),
        "Note": notes.unwrap_or_default(),
    })
}

/// A replica without a container on a host that answers.
fn gap(project: &Project, slot: &Slot, notes: &[String]) -> Value {
    let named = project.services.get(&slot.service).and_then(|service| service.container_name.clone());
    let name = named.unwrap_or_else(|| project.replica_name(&slot.service, slot.number.get()));
    json!({
        "ID": "", "Name": name, "Names": name, "Project": project.name.as_str(), "Service": slot.service.as_str(),
        "Number": slot.number, "State": "missing", "Status": "", "Note": notes.join("; "),
    })
}

fn ports(ports: &[PortSeen]) -> String {
    let mut texts: Vec<String> = ports
        .iter()
        .map(|port| match port.host_port {
            Some(published) => format!("{}:{published}->{}/{}", port.host_ip, port.container_port, port.protocol),
            None => format!("{}/{}", port.container_port, port.protocol),
        })
        .collect();
    texts.sort();
    texts.dedup();
    texts.join(", ")
}

#[expect(clippy::disallowed_methods, reason = "ages are told from this machine's clock")]
fn age(created: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let secs = (i64::try_from(now).unwrap_or(i64::MAX) - created).max(0);
    let (count, unit) = match secs {
        0..60 => (secs, "second"),
        60..3_600 => (secs / 60, "minute"),
        3_600..172_800 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}
