//! `mcompose down`

use std::collections::BTreeMap;

use super::session::Keep;
use super::settings::Settings;
use super::{Failure, Globals, load};
use crate::plan::{Goal, Rmi, Selection};
use crate::ui::Ui;

/// Stop and remove containers, networks
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Remove images used by services. "local" remove only images that don't have a custom tag
    #[arg(long, value_name = "WHICH", value_parser = ["local", "all"])]
    rmi: Option<String>,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Remove named volumes declared in the "volumes" section of the Compose file and anonymous volumes attached to containers
    #[arg(short, long)]
    volumes: bool,
    services: Vec<String>,
}

pub async fn run(args: &DownArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "down").await?;
    let services = load::selection(&args.services, &project)?;
    let keep = if services == Selection::All { Keep::Nothing } else { Keep::Same };
    let rmi = args.rmi.as_deref().map(|which| if which == "all" { Rmi::All } else { Rmi::Local });
    let remove_orphans = Settings::of(globals).removes_orphans(args.remove_orphans);
    let goal = Goal::Down { services, volumes: args.volumes, rmi, remove_orphans, timeout_secs: args.timeout };
    session.change(&[goal], &project, &BTreeMap::new(), keep).await
}
