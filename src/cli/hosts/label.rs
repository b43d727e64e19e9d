//! `mcompose hosts label`

use super::{Fleet, HostsError, Stage};
use crate::inventory::edit::{LabelChange, label};

/// Set and unset labels of a host, for placement constraints
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// KEY=VALUE sets, KEY- unsets
    #[arg(value_name = "LABEL", required = true)]
    labels: Vec<String>,
}

pub fn run(args: &LabelArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let file = fleet.file()?;
    let changes = args.labels.iter().map(|text| LabelChange::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let text = label(&file.text, &args.name, &changes)?;
    let inventory = file.meaning_of(&text)?;
    file.replace(&text)?;
    let labels = inventory.host(&args.name).map(|host| host.labels.clone()).unwrap_or_default();
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    stage.note(&format!("labels of `{}`: {}", args.name, if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }));
    Ok(true)
}
