//! `mcompose hosts drain`, `pause` and `activate`

use super::{Fleet, HostsError, Stage};
use crate::inventory::edit::set_availability;
use crate::project::Availability;

/// Move the replicas of a host to others, and give it no new ones
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// Only note it; the next `up` of each project moves its replicas
    #[arg(long)]
    no_move: bool,
}

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

pub async fn drain(args: &DrainArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    set(std::slice::from_ref(&args.name), Availability::Drain, fleet, stage)
}

pub fn pause(args: &PauseArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    set(&args.names, Availability::Pause, fleet, stage)
}

pub fn activate(args: &ActivateArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    set(&args.names, Availability::Active, fleet, stage)
}

fn set(names: &[String], availability: Availability, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let file = fleet.file()?;
    let mut text = file.text.clone();
    for name in names {
        fleet.host(name)?;
        text = set_availability(&text, name, availability)?;
    }
    file.replace(&text)?;
    names.iter().for_each(|name| stage.note(&format!("host `{name}`: {availability}")));
    Ok(true)
}
