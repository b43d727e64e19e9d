//! `mcompose up` and `create`

use std::collections::BTreeMap;

use super::session::{Keep, Session};
use super::{Failure, Globals, exit, load, logs, scale};
use crate::plan::{Goal, Recreate, Selection, Up};
use crate::project::Project;
use crate::ui::Ui;

/// `--wait` without `--wait-timeout` ends after this long.
const WAIT_SECS_MAX: u64 = 3600;

/// Create and start containers
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    making: Making,
    /// Stops all containers if any container was stopped. Incompatible with -d
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Recreate dependent containers. Incompatible with --no-recreate
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
    /// Restrict attaching to the specified services
    #[arg(long, value_name = "SERVICE")]
    attach: Vec<String>,
    /// Do not attach (stream logs) to the specified services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    detach: bool,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Don't start the services after creating them
    #[arg(long)]
    no_start: bool,
    /// Recreate anonymous volumes instead of retrieving data from the previous containers
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Use this timeout in seconds for container shutdown when attached or when containers are already running
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Show timestamps
    #[arg(long)]
    timestamps: bool,
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    services: Vec<String>,
}

/// Creates containers for a service
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    making: Making,
    services: Vec<String>,
}

/// What `up` and `create` have in common.
#[derive(Debug, clap::Args)]
struct Making {
    /// Build images before starting containers
    #[arg(long, conflicts_with = "no_build")]
    build: bool,
    /// Don't build an image, even if it's policy
    #[arg(long)]
    no_build: bool,
    /// Recreate containers even if their configuration and image haven't changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// If containers already exist, don't recreate them. Incompatible with --force-recreate
    #[arg(long)]
    no_recreate: bool,
    /// Pull image before running
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never"])]
    pull: Option<String>,
    /// Pull without printing progress information
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS")]
    remove_orphans: bool,
    /// Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Assume "yes" as answer to all prompts and run non-interactively: volumes whose definition changed are made anew, empty
    #[arg(short = 'y', long)]
    yes: bool,
}

pub async fn up(args: &UpArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let detached = args.detach || args.wait || args.no_start || globals.dry_run;
    let goal = |services| Up {
        services,
        deps: !args.no_deps,
        recreate_deps: if args.always_recreate_deps { Recreate::Always } else { Recreate::Changed },
        renew_anonymous_volumes: args.renew_anon_volumes,
        start: !args.no_start,
        timeout_secs: args.timeout,
        wait_secs: args.wait.then(|| args.wait_timeout.unwrap_or(WAIT_SECS_MAX)),
        ..Up::default()
    };
    let (session, project, code) = make(&args.making, &args.services, globals, ui, "up", goal).await?;
    if detached || code != exit::OK {
        return Ok(code);
    }
    attached(args, &session, &project).await
}

pub async fn create(args: &CreateArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let goal = |services| Up { services, start: false, ..Up::default() };
    make(&args.making, &args.services, globals, ui, "create", goal).await.map(|(_, _, code)| code)
}

async fn make(
    making: &Making,
    services: &[String],
    globals: &Globals,
    ui: Ui,
    verb: &str,
    goal: impl FnOnce(Selection) -> Up,
) -> Result<(Session, Project, u8), Failure> {
    if making.build {
        let hint = "build the image with `docker build` and load it on the hosts that are to run it".to_owned();
        return Err(Failure::said("--build is not supported yet", hint, exit::USAGE));
    }
    let mut loaded = load::project_file(globals, services, ui)?;
    let scales = scale::scale(&mut loaded.project, &making.scale)?;
    let session = load::session(globals, ui, Some(&loaded.project), verb).await?;
    let selection = load::selection(services, &loaded.project)?;
    let recreate = match (making.force_recreate, making.no_recreate) {
        (true, _) => Recreate::Always,
        (_, true) => Recreate::Never,
        _ => Recreate::Changed,
    };
    let up = Up {
        recreate,
        remove_orphans: making.remove_orphans,
        pull: making.pull.clone(),
        renew_volumes: making.yes,
        ..goal(selection.clone())
    };
    let mut goals = Vec::new();
    if making.pull.as_deref() == Some("always") {
        goals.push(Goal::Pull { services: selection, always: true, include_deps: up.deps });
    }
    goals.push(Goal::Up(up));
    let code = session.change(&goals, &loaded.project, &scales, Keep::Record).await?;
    Ok((session, loaded.project, code))
}

/// Shows the logs of all replicas until Ctrl-C, then stops them, as docker compose does.
async fn attached(args: &UpArgs, session: &Session, project: &Project) -> Result<u8, Failure> {
    let wanted = |service: &str| {
        let attach = project.services.iter().find(|(name, _)| name.as_str() == service).and_then(|(_, service)| service.attach);
        (args.attach.is_empty() || args.attach.iter().any(|name| name == service))
            && !args.no_attach.iter().any(|name| name == service)
            && attach != Some(false)
    };
    let style =
        logs::Style { color: session.ui.color && !args.no_color, prefix: !args.no_log_prefix, timestamps: args.timestamps };
    let ended = logs::follow(session, project, &wanted, style, args.abort_on_container_exit).await?;
    let goal = Goal::Stop { services: Selection::All, timeout_secs: args.timeout };
    match ended {
        logs::Ended::ByItself => Ok(exit::OK),
        logs::Ended::Interrupted | logs::Ended::OneExited => {
            session.ui.note("stopping; once more kills");
            let session = session.afresh();
            session.change(&[goal], project, &BTreeMap::new(), Keep::Same).await
        }
    }
}
