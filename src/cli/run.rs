//! `mcompose run`

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::attending::{Attending, attend};
use super::one_off::OneOffArgs;
use super::session::{Keep, Session};
use super::settings::{OrphanRule, Settings};
use super::{Failure, Globals, exit, load};
use crate::composefile::Loaded;
use crate::engine::{Ending, Engine};
use crate::plan::{Building, Goal, Run, Selection, Up};
use crate::project::{Project, ServiceName};
use crate::ui::Ui;

/// Run a one-off command on a service: in a container of its own, on a host that suits the service
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The hosts file: here without its short form, which is -i of docker compose
    #[arg(long, id = "inventory", value_name = "FILE")]
    inventory: Option<String>,
    #[command(flatten)]
    one_off: OneOffArgs,
    /// Build image before starting container
    #[arg(long)]
    build: bool,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Assign a name to the container
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Don't print anything to STDOUT
    #[arg(short, long)]
    quiet: bool,
    /// Suppress progress output from the build process
    #[arg(long)]
    quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    rm: bool,
    /// Use the service's network useAliases in the network(s) the container connects to
    #[arg(long)]
    use_aliases: bool,
    /// What follows the service is the command's, flags too
    #[arg(trailing_var_arg = true, required = true, value_names = ["SERVICE", "COMMAND"], num_args = 1..)]
    words: Vec<String>,
}

impl RunArgs {
    pub(super) fn inventory(&self, globals: &Globals) -> Option<String> {
        self.inventory.clone().or_else(|| globals.inventory.clone())
    }
}

/// The exit code is the container's.
pub async fn run(args: &RunArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let globals = &Globals { inventory: args.inventory(globals), ..globals.clone() };
    let ui = if args.quiet || args.quiet_pull || args.quiet_build { ui.quiet() } else { ui };
    let Some((named, command)) = args.words.split_first() else { return Ok(exit::USAGE) };
    let named = std::slice::from_ref(named);
    let mut loaded = load::project_file(globals, named, ui)?;
    load::selection(named, &loaded.project)?;
    let tty = args.one_off.wants_tty();
    let one_off = args.one_off.read(command, &loaded.environment, tty)?;
    let Some((service, declared)) = loaded.project.services.get_key_value(named[0].as_str()) else {
        return Err(load::no_such_service(&named[0], &loaded.project));
    };
    let (service, made_from) = (service.clone(), one_off.of(declared));
    let slug = slug();
    let mut goal = Run {
        name: args.name.clone().unwrap_or_else(|| Run::default_name(&loaded.project, &service, &slug)),
        service,
        made_from,
        slug,
        deps: !args.no_deps,
        start: args.detach || globals.dry_run,
        auto_remove: args.rm,
        use_aliases: args.use_aliases,
    };
    let mut session = load::provisioned(globals, ui, &mut loaded, "run").await?;
    let orphans = Settings::of(globals).orphans(args.remove_orphans)?;
    let code = with_what_it_needs(args, orphans, &session, &loaded.project, &goal).await?;
    if code != exit::OK {
        return Ok(code);
    }
    with_its_files(globals, &mut session, &mut loaded, &mut goal)?;
    let project = &loaded.project;
    let code = session.change(&[Goal::Run(Box::new(goal.clone()))], project, &BTreeMap::new(), Keep::Same).await?;
    if code != exit::OK || session.dry_run {
        return Ok(code);
    }
    let (engine, id) = made(&session, project, &goal).await?;
    if args.detach {
        if !args.quiet {
            ui.data(&id);
        }
        return Ok(exit::OK);
    }
    let when = if args.rm { Ending::Removed } else { Ending::Next };
    let attending =
        Attending { engine: engine.as_ref(), container: &id, tty, reads: one_off.interactive, detach_keys: None, proxies: true };
    let start = async || begin(&session, project, &goal).await;
    attend(&session.interrupt, &attending, when, start).await
}

/// What the service depends on, brought up, and its image where that is built.
async fn with_what_it_needs(
    args: &RunArgs,
    orphans: OrphanRule,
    session: &Session,
    project: &Project,
    goal: &Run,
) -> Result<u8, Failure> {
    let needed: BTreeSet<ServiceName> = match args.no_deps {
        true => BTreeSet::new(),
        false => goal.made_from.depends_on.keys().filter(|name| project.services.contains_key(*name)).cloned().collect(),
    };
    let mut goals = Vec::new();
    let mut builds = needed.clone();
    builds.insert(goal.service.clone());
    if project.services.values().any(|service| service.build.is_some()) {
        let building = Building { missing_only: !args.build, deps: !args.no_deps, ..Building::default() };
        goals.push(Goal::Build { services: Selection::Only(builds), building });
    }
    let keep = if needed.is_empty() { Keep::Same } else { Keep::Record };
    if !needed.is_empty() {
        let OrphanRule { remove: remove_orphans, ignore: ignore_orphans } = orphans;
        goals.push(Goal::Up(Up { services: Selection::Only(needed), remove_orphans, ignore_orphans, ..Up::default() }));
    }
    match goals.is_empty() {
        true => Ok(exit::OK),
        false => session.change(&goals, project, &BTreeMap::new(), keep).await,
    }
}

/// Files of this machine that only the container mounts, and folders that it writes to.
fn with_its_files(globals: &Globals, session: &mut Session, loaded: &mut Loaded, goal: &mut Run) -> Result<(), Failure> {
    let service = loaded.project.services.get(&goal.service);
    if service.is_some_and(|service| service.volumes == goal.made_from.volumes) {
        return Ok(());
    }
    let declared = loaded.project.services.insert(goal.service.clone(), goal.made_from.clone());
    let provided = load::provide(globals, session, loaded);
    goal.made_from = loaded.project.services.get(&goal.service).cloned().unwrap_or_default();
    loaded.project.services.extend(declared.map(|declared| (goal.service.clone(), declared)));
    provided
}

/// The container's engine and id.
async fn made(session: &Session, project: &Project, goal: &Run) -> Result<(Arc<dyn Engine>, String), Failure> {
    let world = session.look(None).await;
    let found = world.containers_of(&project.name).find(|(_, container)| container.name == goal.name);
    let found = found.and_then(|(host, container)| Some((session.engines.get(host)?.clone(), container.id.as_str().to_owned())));
    found.ok_or_else(|| {
        let error = format!("container `{}` was made and is not there any more", goal.name);
        Failure::said(error, "`mcompose events` tells what became of it".to_owned(), exit::FAILURE)
    })
}

/// Starts the container that was made.
async fn begin(session: &Session, project: &Project, goal: &Run) -> Result<u8, Failure> {
    let goal = Goal::Run(Box::new(Run { start: true, ..goal.clone() }));
    let quiet = Session { ui: session.ui.quiet(), ..session.afresh() };
    let planned = quiet.planned(&goal, project).await?;
    let (_never, lost) = tokio::sync::watch::channel(false);
    let outcome = quiet.apply(&planned.plan, lost).await;
    Ok(quiet.told(&planned.plan, &outcome))
}

/// 64 hexadecimal digits that no other container has.
fn slug() -> String {
    // Each state is keyed from the system's randomness.
    (0_u8..4).map(|part| format!("{:016x}", RandomState::new().hash_one(part))).collect()
}
