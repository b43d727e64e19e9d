//! `mcompose exec`

use std::io::IsTerminal;
use std::sync::Arc;

use super::session::Session;
use super::terminal::{Raw, Screen, carry};
use super::{Failure, Globals, exit, load};
use crate::engine::{Engine, ExecCommand};
use crate::project::Project;
use crate::ui::Ui;
use crate::world::{Labels, State};

/// Execute a command in a running container, on whichever host it is
#[derive(Debug, clap::Args)]
pub struct ExecArgs {
    /// Detached mode: Run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// The hosts file: here without its short form, since `exec -it` is written everywhere
    #[arg(long, id = "inventory", value_name = "FILE")]
    inventory: Option<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long, hide = true, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Allocate a pseudo-TTY, which is done where there is one at both ends
    #[arg(short, long, hide = true, conflicts_with = "no_tty")]
    tty: bool,
    /// Give extended privileges to the process
    #[arg(long)]
    privileged: bool,
    /// Disable pseudo-TTY allocation
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// Run the command as this user
    #[arg(short, long)]
    user: Option<String>,
    /// Path to workdir directory for this command
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    service: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

impl ExecArgs {
    pub(super) fn inventory(&self, globals: &Globals) -> Option<String> {
        self.inventory.clone().or_else(|| globals.inventory.clone())
    }
}

/// The exit code is the command's.
pub async fn run(args: &ExecArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let globals = &Globals { inventory: args.inventory(globals), ..globals.clone() };
    let (session, project) = load::known_project(globals, ui, "exec").await?;
    load::selection(std::slice::from_ref(&args.service), &project)?;
    let found = replicas(&session, &project, &args.service, args.index).await?;
    let Some((engine, container)) = found.first() else { return Ok(exit::FAILURE) };
    let tty = !args.no_tty && !args.detach && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let command = ExecCommand {
        command: args.command.clone(),
        environment: args.env.clone(),
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        privileged: args.privileged,
        tty,
        stdin: args.interactive,
    };
    if args.detach {
        engine.exec_detached(container, &command).await?;
        return Ok(exit::OK);
    }
    let attached = engine.exec_attached(container, &command).await?;
    let id = attached.id.clone();
    // What is typed goes to the command as it is, Ctrl-C included.
    let raw = if tty { Raw::begin() } else { None };
    let screen = if tty { Screen::OfCommand } else { Screen::None };
    let carried = carry(engine.as_ref(), attached, screen, args.interactive).await;
    drop(raw);
    carried?;
    let code = engine.exec_code(&id).await?;
    Ok(u8::try_from(code).unwrap_or(exit::FAILURE))
}

/// Engine and container name of a service's replicas that run, by number: of this one, or for 0 all. At least one.
pub(super) async fn replicas(
    session: &Session,
    project: &Project,
    service: &str,
    index: u32,
) -> Result<Vec<(Arc<dyn Engine>, String)>, Failure> {
    running(session, project, service, index, false).await
}

/// As `replicas`; `one_offs`: with what `run` made.
pub(super) async fn running(
    session: &Session,
    project: &Project,
    service: &str,
    index: u32,
    one_offs: bool,
) -> Result<Vec<(Arc<dyn Engine>, String)>, Failure> {
    let world = session.look_and_warn().await?;
    let is_meant = |labels: &Labels| {
        let is_service = labels.service.as_deref() == Some(service) && (one_offs || !labels.oneoff);
        is_service && (index == 0 || labels.number == Some(index))
    };
    let running = world.containers_of(&project.name).filter(|(_, container)| container.state == State::Running);
    let mut found: Vec<_> = running.filter(|(_, container)| is_meant(&container.labels)).collect();
    found.sort_by_key(|(_, container)| container.labels.number);
    let found: Vec<_> = found
        .into_iter()
        .filter_map(|(host, container)| Some((session.engines.get(host).cloned()?, container.name.clone())))
        .collect();
    if found.is_empty() {
        let number = if index == 0 { String::new() } else { format!(" replica {index} of") };
        let error = format!("no{number} service `{service}` runs");
        return Err(Failure::said(error, "`mcompose ps` shows what runs, and where".to_owned(), exit::FAILURE));
    }
    Ok(found)
}
