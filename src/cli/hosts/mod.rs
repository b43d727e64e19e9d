//! `mcompose hosts`: the inventory and the hosts in it. A file per verb.

mod add;
mod availability;
mod check;
mod drain;
mod error;
mod fleet;
mod init;
mod label;
mod ls;
mod moving;
mod rebalance;
mod recover;
mod remove;
mod rows;

pub use error::HostsError;
pub(super) use moving::{Moving, Scene};

pub use fleet::{Fleet, InventoryFile, look_again, look_for, steps_to_form};

use std::collections::BTreeSet;

use clap::Subcommand;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::apply::Outcome;
use crate::engine::Engines;
use crate::plan::Plan;

/// The verbs of `mcompose hosts`.
#[derive(Debug, Subcommand)]
pub enum HostsVerb {
    Ls(ls::LsArgs),
    Check(check::CheckArgs),
    Init(init::InitArgs),
    Add(add::AddArgs),
    Rm(remove::RmArgs),
    Drain(drain::DrainArgs),
    Pause(availability::PauseArgs),
    Activate(availability::ActivateArgs),
    Label(label::LabelArgs),
    Rebalance(rebalance::RebalanceArgs),
    Recover(recover::RecoverArgs),
}

/// How a verb speaks and has plans carried out.
pub trait Stage: Send + Sync {
    /// The answer, to standard output.
    fn data(&self, text: &str);
    fn table(&self, headings: &[&str], rows: &[Vec<String>]);
    /// What else is to be said.
    fn note(&self, text: &str);
    /// Ids of the keys of what lies encrypted on hosts.
    fn keys(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
    /// Carries out a plan and shows how it goes. Nothing new begins once `stop` is true: the lock was lost.
    fn carry_out<'a>(
        &'a self,
        engines: &'a Engines,
        plan: &'a Plan,
        stop: Option<watch::Receiver<bool>>,
    ) -> BoxFuture<'a, Outcome>;
}

/// Runs a verb; false where what was checked is not as it should be.
pub async fn run(verb: &HostsVerb, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    match verb {
        HostsVerb::Ls(args) => ls::run(args, fleet, stage).await,
        HostsVerb::Check(args) => check::run(args, fleet, stage).await,
        HostsVerb::Init(args) => init::run(args, fleet, stage).await,
        HostsVerb::Add(args) => add::run(args, fleet, stage).await,
        HostsVerb::Rm(args) => remove::run(args, fleet, stage).await,
        HostsVerb::Drain(args) => drain::run(args, fleet, stage).await,
        HostsVerb::Pause(args) => availability::pause(args, fleet, stage),
        HostsVerb::Activate(args) => availability::activate(args, fleet, stage),
        HostsVerb::Label(args) => label::run(args, fleet, stage),
        HostsVerb::Rebalance(args) => rebalance::run(args, fleet, stage).await,
        HostsVerb::Recover(args) => recover::run(args, fleet, stage).await,
    }
}
