//! `mcompose hosts pause` and `activate`

use super::{Fleet, HostsError, Stage};
use crate::inventory::Inventory;
use crate::inventory::edit::set_availability;
use crate::project::Availability;

/// Give a host no new replicas; those that it has stay
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Let a host take replicas again
#[derive(Debug, clap::Args)]
pub struct ActivateArgs {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

pub fn pause(args: &PauseArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    set(&args.names, Availability::Pause, fleet, stage).map(|_| true)
}

pub fn activate(args: &ActivateArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    set(&args.names, Availability::Active, fleet, stage).map(|_| true)
}

/// Writes the availability of hosts into the inventory and returns what it says then.
pub fn set(names: &[String], availability: Availability, fleet: &Fleet, stage: &dyn Stage) -> Result<Inventory, HostsError> {
    let file = fleet.file()?;
    let mut text = file.text.clone();
    for name in names {
        fleet.host(name)?;
        text = set_availability(&text, name, availability)?;
    }
    let inventory = file.meaning_of(&text)?;
    file.replace(&text)?;
    names.iter().for_each(|name| stage.note(&format!("host `{name}`: {availability}")));
    Ok(inventory)
}
