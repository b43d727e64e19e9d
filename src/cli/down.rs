//! `mcompose down`

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::session::{Keep, Session};
use super::{Failure, Globals, exit, load};
use crate::plan::{Goal, Rmi, Selection};
use crate::ui::Ui;

/// Overlay networks that were removed are waited for so long.
const NETWORKS_GO_MAX: Duration = Duration::from_secs(10);
const NETWORKS_POLL: Duration = Duration::from_millis(100);

/// Stop and remove containers, networks
#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// Remove containers for services not defined in the Compose file
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS")]
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
    let goal =
        Goal::Down { services, volumes: args.volumes, rmi, remove_orphans: args.remove_orphans, timeout_secs: args.timeout };
    let is_whole = keep == Keep::Nothing;
    let code = session.change(&[goal], &project, &BTreeMap::new(), keep).await?;
    if is_whole && code == exit::OK && !globals.dry_run {
        let networks: BTreeSet<&str> =
            project.networks.values().filter(|one| !one.external).map(|one| one.name.as_str()).collect();
        until_gone(&session, &networks).await;
    }
    Ok(code)
}

/// An engine goes on to show an overlay network for a moment after it was removed from the swarm, and whoever deploys then would start
/// replicas on one that is not there.
async fn until_gone(session: &Session, networks: &BTreeSet<&str>) {
    let begun = Instant::now();
    while begun.elapsed() < NETWORKS_GO_MAX {
        let world = session.look(None).await;
        let mut shown = world.seen_hosts().flat_map(|(_, seen)| &seen.networks);
        if !shown.any(|network| network.scope == "swarm" && networks.contains(network.name.as_str())) {
            return;
        }
        sleep(NETWORKS_POLL).await;
    }
}
