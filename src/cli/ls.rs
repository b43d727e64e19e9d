//! `mcompose ls`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Failure, Globals, exit, load};
use crate::ui::Ui;

/// List the projects of all hosts
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// Show all stopped Compose projects
    #[arg(short, long)]
    all: bool,
    /// Filter output: name=TEXT
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Option<String>,
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only display project names
    #[arg(short, long)]
    quiet: bool,
}

/// What is told of one project.
#[derive(Default)]
struct Row {
    states: BTreeMap<String, u32>,
    files: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

pub async fn run(args: &LsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let session = load::session(globals, ui, None, "ls").await?;
    let name_part = match args.filter.as_deref().map(|filter| filter.strip_prefix("name=").ok_or(filter)) {
        None => "",
        Some(Ok(part)) => part,
        Some(Err(filter)) => {
            return Err(Failure::said(format!("unknown filter `{filter}`"), "name=TEXT".to_owned(), exit::USAGE));
        }
    };
    let world = session.look_and_warn().await?;
    let mut projects: BTreeMap<String, Row> = BTreeMap::new();
    for (host, seen) in world.seen_hosts() {
        for container in seen.containers.iter().filter(|container| args.all || container.state.is_up()) {
            let Some(project) = container.labels.project.clone().filter(|project| project.contains(name_part)) else { continue };
            let row = projects.entry(project).or_default();
            *row.states.entry(container.state.to_string()).or_default() += 1;
            row.files.extend(container.labels.config_files.clone());
            row.hosts.insert(host.to_string());
        }
    }
    let status = |row: &Row| row.states.iter().map(|(state, count)| format!("{state}({count})")).collect::<Vec<_>>().join(", ");
    let joined = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(",");
    if args.quiet {
        projects.keys().for_each(|name| ui.data(name));
    } else if args.format == "json" {
        let rows: Vec<_> = projects
            .iter()
            .map(|(name, row)| json!({ "Name": name, "Status": status(row), "ConfigFiles": joined(&row.files), "Hosts": row.hosts }))
            .collect();
        ui.data(&serde_json::Value::from(rows).to_string());
    } else {
        let rows: Vec<_> =
            projects.iter().map(|(name, row)| vec![name.clone(), status(row), joined(&row.hosts), joined(&row.files)]).collect();
        ui.table(&["NAME", "STATUS", "HOSTS", "CONFIG FILES"], &rows);
    }
    Ok(exit::OK)
}
