//! `mcompose exec`

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use futures_util::StreamExt;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};

use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::engine::{Attached, Engine, EngineError, ExecCommand};
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
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
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

/// The exit code is the command's.
pub async fn run(args: &ExecArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
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
        stdin: true,
    };
    if args.detach {
        engine.exec_detached(container, &command).await?;
        return Ok(exit::OK);
    }
    let attached = engine.exec_attached(container, &command).await?;
    let id = attached.id.clone();
    // What is typed goes to the command as it is, Ctrl-C included.
    let raw = if tty { Raw::begin() } else { None };
    let carried = carry(engine.as_ref(), attached, tty).await;
    drop(raw);
    carried?;
    let code = engine.exec_code(&id).await?;
    Ok(u8::try_from(code).unwrap_or(exit::FAILURE))
}

/// Engine and container id of a service's replicas that run, by number: of this one, or for 0 all. At least one.
pub(super) async fn replicas(
    session: &Session,
    project: &Project,
    service: &str,
    index: u32,
) -> Result<Vec<(Arc<dyn Engine>, String)>, Failure> {
    let world = session.look_and_warn().await?;
    let is_meant = |labels: &Labels| {
        let is_service = labels.service.as_deref() == Some(service) && !labels.oneoff;
        is_service && (index == 0 || labels.number == Some(index))
    };
    let running = world.containers_of(&project.name).filter(|(_, container)| container.state == State::Running);
    let mut found: Vec<_> = running.filter(|(_, container)| is_meant(&container.labels)).collect();
    found.sort_by_key(|(_, container)| container.labels.number);
    let found: Vec<_> = found
        .into_iter()
        .filter_map(|(host, container)| Some((session.engines.get(host).cloned()?, container.id.as_str().to_owned())))
        .collect();
    if found.is_empty() {
        let number = if index == 0 { String::new() } else { format!(" replica {index} of") };
        let error = format!("no{number} service `{service}` runs");
        return Err(Failure::said(error, "`mcompose ps` shows what runs, and where".to_owned(), exit::FAILURE));
    }
    Ok(found)
}

/// Until the command ends: input to it, output from it, and the terminal's size whenever that changes.
async fn carry(engine: &dyn Engine, attached: Attached, tty: bool) -> Result<(), EngineError> {
    let Attached { id, mut input, mut output } = attached;
    let feeding = tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let _ = tokio::io::copy(&mut stdin, &mut input).await;
        let _ = input.shutdown().await;
    });
    let mut resized = signal(SignalKind::window_change()).ok().filter(|_| tty);
    if tty {
        resize(engine, &id).await;
    }
    let ended = loop {
        let piece = tokio::select! {
            piece = output.next() => piece,
            Some(Some(())) = async { Some(resized.as_mut()?.recv().await) }, if resized.is_some() => {
                resize(engine, &id).await;
                continue;
            }
        };
        match piece {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(piece)) => {
                let mut stdout = std::io::stdout().lock();
                let written = match piece.is_stderr {
                    true => std::io::stderr().lock().write_all(&piece.bytes),
                    false => stdout.write_all(&piece.bytes).and_then(|()| stdout.flush()),
                };
                // Nobody reads any more.
                if written.is_err() {
                    break Ok(());
                }
            }
        }
    };
    feeding.abort();
    ended
}

/// A size that cannot be told is no failure: the command began with one of its own.
async fn resize(engine: &dyn Engine, id: &str) {
    if let Ok(size) = tcgetwinsize(std::io::stdout()) {
        let _ = engine.exec_resize(id, size.ws_col, size.ws_row).await;
    }
}

/// The terminal as it was, put back at the end.
struct Raw(Termios);

impl Raw {
    fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
