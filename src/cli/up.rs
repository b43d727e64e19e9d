//! `mcompose up` and `create`

use std::collections::BTreeSet;

use super::attached::{AttachArgs, Upped, attached, brought_up, now};
use super::develop::{Rebuild, Watching};
use super::session::{Keep, Session};
use super::settings::Settings;
use super::{Failure, Globals, exit, guard, load, scale};
use crate::plan::{Building, Goal, Recreate, Selection, Up};
use crate::project::{Project, ServiceName, image_age_max};
use crate::ui::{Mode, Ui};
use crate::world::World;

/// `--wait` without `--wait-timeout` ends after this long.
pub const WAIT_SECS_MAX: u64 = 3600;

/// Create and start containers
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    attaching: AttachArgs,
    /// Recreate dependent containers. Incompatible with --no-recreate
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    detach: bool,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Don't start the services after creating them
    #[arg(long)]
    no_start: bool,
    /// Enable interactive shortcuts when running attached: there are none here
    #[arg(long, hide = true)]
    menu: bool,
    /// Recreate anonymous volumes instead of retrieving data from the previous containers
    #[arg(short = 'V', long, conflicts_with = "no_recreate")]
    renew_anon_volumes: bool,
    /// Use this timeout in seconds for container shutdown when attached or when containers are already running
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// Watch source code and rebuild/refresh containers when files are updated
    #[arg(short, long, conflicts_with_all = ["detach", "no_start", "wait"])]
    watch: bool,
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
#[derive(Debug, Default, clap::Args)]
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
    /// Suppress the build output
    #[arg(long)]
    quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Scale SERVICE to NUM instances. Overrides the `scale` setting in the Compose file if present
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Assume "yes" as answer to all prompts and run non-interactively: volumes whose definition changed are made anew, empty
    #[arg(short = 'y', long)]
    yes: bool,
}

pub async fn up(args: &UpArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let since = now();
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
    let check = |project: &Project| {
        args.attaching.check(project)?;
        if args.watch { args.watching(project).map(drop) } else { Ok(()) }
    };
    let (Made { session, project, seen }, code) = make(&args.making, &args.services, globals, ui, "up", &check, goal).await?;
    let detached = args.detach || args.wait || args.no_start || globals.dry_run;
    if let Some(seen) = seen.filter(|_| detached && code == exit::OK && !args.no_start) {
        guard::tell(&session, &seen, None).await;
    }
    if detached || code != exit::OK {
        return Ok(code);
    }
    let services = load::selection(&args.services, &project)?;
    let (deps, timeout_secs) = (!args.no_deps, args.timeout);
    let upped = Upped { session: &session, project: &project, services: &services, deps, timeout_secs, since };
    let shown = attached(&args.attaching, &upped);
    if !args.watch {
        return shown.await;
    }
    // What changes in place would be in the way of the lines.
    let progress = if ui.progress == Mode::Tty { Mode::Plain } else { ui.progress };
    let rebuild = Rebuild { globals, ui: Ui { progress, ..ui } };
    let watching = args.watching(&project)?;
    tokio::pin!(shown);
    tokio::select! {
        code = &mut shown => code,
        () = watching.run(&session, &project, &rebuild) => shown.await,
    }
}

impl UpArgs {
    fn watching(&self, project: &Project) -> Result<Watching, Failure> {
        let watching = Watching::of(project, &load::selection(&self.services, project)?)?;
        if let Some(service) = watching.rebuilds().next().filter(|_| self.making.no_build) {
            let error = format!("--no-build is incompatible with watch action rebuild in service {service}");
            return Err(Failure::said(error, None, exit::USAGE));
        }
        Ok(watching)
    }
}

/// For `watch`: builds what services need, and brings them up, without waiting for their lines. `deps`: with what they depend on.
pub async fn built(services: &[String], globals: &Globals, ui: Ui, deps: bool) -> Result<u8, Failure> {
    let making = Making { build: true, ..Making::default() };
    let goal = |services| Up { services, deps, ..Up::default() };
    make(&making, services, globals, ui, "watch", &|_| Ok(()), goal).await.map(|(_, code)| code)
}

pub async fn create(args: &CreateArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let goal = |services| Up { services, start: false, ..Up::default() };
    make(&args.making, &args.services, globals, ui, "create", &|_| Ok(()), goal).await.map(|(_, code)| code)
}

/// What was brought about.
struct Made {
    session: Session,
    project: Project,
    /// The hosts as they were before; nothing in a rehearsal.
    seen: Option<World>,
}

async fn make(
    making: &Making,
    services: &[String],
    globals: &Globals,
    ui: Ui,
    verb: &str,
    check: &dyn Fn(&Project) -> Result<(), Failure>,
    goal: impl FnOnce(Selection) -> Up,
) -> Result<(Made, u8), Failure> {
    let mut loaded = load::project_file(globals, services, ui)?;
    let orphans = Settings::of(globals).orphans(making.remove_orphans)?;
    let scales = scale::scale(&mut loaded.project, &making.scale)?;
    let selection = load::selection(services, &loaded.project)?;
    check(&loaded.project)?;
    if let Some(policy) = &making.pull {
        loaded.project.services.values_mut().for_each(|service| service.pull_policy = Some(policy.clone()));
    }
    let session = load::provisioned(globals, ui, &mut loaded, verb).await?;
    let recreate = match (making.force_recreate, making.no_recreate) {
        (true, _) => Recreate::Always,
        (_, true) => Recreate::Never,
        _ => Recreate::Changed,
    };
    let up = Up {
        recreate,
        remove_orphans: orphans.remove,
        ignore_orphans: orphans.ignore,
        pull: making.pull.clone(),
        renew_volumes: making.yes,
        ..goal(selection.clone())
    };
    let mut goals = Vec::new();
    if !making.no_build && has_builds(&loaded.project) {
        let building = Building { missing_only: !making.build, deps: up.deps, ..Building::default() };
        goals.push(Goal::Build { services: selection.clone(), building });
    }
    let pull = |services: BTreeSet<ServiceName>, always| Goal::Pull {
        services: Selection::Only(services),
        always,
        include_deps: false,
        ignore_buildable: false,
        tolerant: false,
        now_secs: Some(now().as_secs()),
    };
    let always = with_policy(&loaded.project, &up, |policy| policy == "always");
    let aged = with_policy(&loaded.project, &up, |policy| image_age_max(policy).is_some());
    goals.extend((!always.is_empty()).then(|| pull(always, true)));
    goals.extend((!aged.is_empty()).then(|| pull(aged, false)));
    goals.push(Goal::Up(up));
    let (code, seen) = session.change_what_was_seen(&goals, &loaded.project, &scales, Keep::Record).await?;
    Ok((Made { session, project: loaded.project, seen }, code))
}

fn has_builds(project: &Project) -> bool {
    project.services.values().any(|service| service.build.is_some())
}

/// The services of an `up` with such a `pull_policy`: their images may be pulled though they are there.
fn with_policy(project: &Project, up: &Up, is_meant: impl Fn(&str) -> bool) -> BTreeSet<ServiceName> {
    let services = brought_up(project, &up.services, up.deps).into_iter();
    services.filter(|name| project.services[name].pull_policy.as_deref().is_some_and(&is_meant)).collect()
}
