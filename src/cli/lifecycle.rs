//! `start`, `stop`, `restart`, `kill`, `rm`, `pause`, `unpause`, `pull`: one goal each.

use std::collections::BTreeMap;

use super::session::Keep;
use super::settings::Settings;
use super::up::WAIT_SECS_MAX;
use super::{Failure, Globals, exit, load, updates};
use crate::plan::{Goal, Selection};
use crate::ui::Ui;

/// Start services
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Wait for services to be running|healthy
    #[arg(long)]
    wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    wait_timeout: Option<u64>,
    services: Vec<String>,
}

/// Stop services
#[derive(Debug, clap::Args)]
pub struct StopArgs {
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    services: Vec<String>,
}

/// Restart service containers
#[derive(Debug, clap::Args)]
pub struct RestartArgs {
    /// Don't restart dependent services
    #[arg(long)]
    no_deps: bool,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    services: Vec<String>,
}

/// Force stop service containers
#[derive(Debug, clap::Args)]
pub struct KillArgs {
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Signal to send to the container
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    signal: String,
    services: Vec<String>,
}

/// Removes stopped service containers
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Don't ask to confirm removal
    #[arg(short, long)]
    force: bool,
    /// Stop the containers, if required, before removing
    #[arg(short, long)]
    stop: bool,
    /// Remove any anonymous volumes attached to containers
    #[arg(short, long)]
    volumes: bool,
    services: Vec<String>,
}

/// Pause services
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// Pause the update of services that is under way instead: no further replica is replaced
    #[arg(long)]
    update: bool,
    services: Vec<String>,
}

/// Unpause services
#[derive(Debug, clap::Args)]
pub struct UnpauseArgs {
    /// Go on with the update that is paused instead
    #[arg(long, conflicts_with = "services")]
    update: bool,
    services: Vec<String>,
}

/// Pull service images on the hosts that run them
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// Ignore images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Pull what it can and ignores images with pull failures
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Also pull services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Apply pull policy
    #[arg(long, value_name = "POLICY", default_value = "always", value_parser = ["missing", "always"])]
    policy: String,
    /// Pull without printing progress information
    #[arg(short, long)]
    quiet: bool,
    services: Vec<String>,
}

pub async fn start(args: &StartArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let wait_secs = args.wait.then(|| args.wait_timeout.unwrap_or(WAIT_SECS_MAX));
    run(globals, ui, "start", &args.services, |services| Goal::Start { services, wait_secs }).await
}

pub async fn stop(args: &StopArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    run(globals, ui, "stop", &args.services, |services| Goal::Stop { services, timeout_secs: args.timeout }).await
}

pub async fn restart(args: &RestartArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let goal = |services| Goal::Restart { services, timeout_secs: args.timeout, no_deps: args.no_deps };
    run(globals, ui, "restart", &args.services, goal).await
}

pub async fn kill(args: &KillArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let remove_orphans = Settings::of(globals).removes_orphans(args.remove_orphans);
    let goal = |services| Goal::Kill { services, signal: args.signal.clone(), remove_orphans };
    run(globals, ui, "kill", &args.services, goal).await
}

/// Without a terminal to ask at, `--force` is the consent.
pub async fn rm(args: &RmArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    if !args.force && !globals.dry_run && !ui.confirm("Going to remove the stopped containers of this project. Are you sure?") {
        return Err(Failure::said("nothing was removed", "--force removes without asking".to_owned(), exit::FAILURE));
    }
    let goal = |services| Goal::Remove { services, stop: args.stop, volumes: args.volumes };
    run(globals, ui, "rm", &args.services, goal).await
}

pub async fn pause(args: &PauseArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    if args.update {
        return updates::pause(&args.services, globals, ui).await;
    }
    run(globals, ui, "pause", &args.services, |services| Goal::Pause { services }).await
}

pub async fn unpause(args: &UnpauseArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    if args.update {
        return updates::unpause(globals, ui).await;
    }
    run(globals, ui, "unpause", &args.services, |services| Goal::Unpause { services }).await
}

pub async fn pull(args: &PullArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let ui = if args.quiet { ui.quiet() } else { ui };
    let goal = |services| Goal::Pull {
        services,
        always: args.policy == "always",
        include_deps: args.include_deps,
        ignore_buildable: args.ignore_buildable,
        tolerant: args.ignore_pull_failures,
        now_secs: None,
    };
    run(globals, ui, "pull", &args.services, goal).await
}

async fn run(
    globals: &Globals,
    ui: Ui,
    verb: &str,
    services: &[String],
    goal: impl FnOnce(Selection) -> Goal,
) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, verb).await?;
    let goal = goal(load::selection(services, &project)?);
    session.change(&[goal], &project, &BTreeMap::new(), Keep::Same).await
}
