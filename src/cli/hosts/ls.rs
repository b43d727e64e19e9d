//! `mcompose hosts ls`

use super::fleet::{look, nodes};
use super::rows::{HEADINGS, HostRow, rows};
use super::{Fleet, HostsError, Stage};

/// List the hosts with what their engines show
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

pub async fn run(args: &LsArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    if args.quiet {
        fleet.inventory.hosts.iter().for_each(|host| stage.data(host.name.as_str()));
        return Ok(true);
    }
    let engines = fleet.engines();
    let world = look(&engines).await;
    let rows = rows(&fleet.inventory, &world, &nodes(&engines, &world).await);
    if args.format == "json" {
        stage.data(&serde_json::to_string_pretty(&rows).expect("rows have text keys, so they are JSON"));
    } else {
        stage.table(&HEADINGS, &rows.iter().map(HostRow::cells).collect::<Vec<_>>());
        let troubled = rows.iter().filter(|row| !row.why.is_empty());
        troubled.for_each(|row| stage.note(&format!("{}: {}", row.name, row.why)));
    }
    Ok(true)
}
