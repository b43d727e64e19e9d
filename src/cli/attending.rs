//! Somebody sits at a container: its input, output and signals are this program's, until it ends or is left.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::signals::Interrupt;
use super::terminal::{Raw, Screen, carry};
use super::{Failure, exit};
use crate::engine::{Ending, Engine, EngineError};
use crate::world::State;

/// The container, and what of it is wanted.
pub(super) struct Attending<'a> {
    pub(super) engine: &'a dyn Engine,
    pub(super) container: &'a str,
    pub(super) tty: bool,
    /// What is typed goes to it.
    pub(super) reads: bool,
    pub(super) detach_keys: Option<&'a str>,
    /// Signals that this program is sent are the container's.
    pub(super) proxies: bool,
}

/// Attaches, then starts it, and stays until it ends. Returns its exit code; 0 for one that was left running, by typing the keys for
/// that.
pub(super) async fn attend(
    interrupt: &Interrupt,
    attending: &Attending<'_>,
    when: Ending,
    start: impl AsyncFnOnce() -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    let Attending { engine, container, tty, reads, detach_keys, proxies } = *attending;
    let _attention = proxies.then(|| interrupt.attend());
    let mut signals = if proxies { signals() } else { mpsc::unbounded_channel().1 };
    let attached = engine.attach(container, reads, detach_keys).await?;
    let ending = engine.ending(container, when).await?;
    let code = start().await?;
    if code != exit::OK {
        return Ok(code);
    }
    // What is typed goes to it as it is, Ctrl-C included.
    let raw = if tty && reads { Raw::begin() } else { None };
    let screen = if tty { Screen::OfContainer } else { Screen::None };
    let carrying = async {
        let carried = carry(engine, attached, screen, reads).await;
        drop(raw);
        carried?;
        if tty && is_up(engine, container).await? {
            return Ok(0);
        }
        ending.await
    };
    tokio::pin!(carrying);
    let code = loop {
        tokio::select! {
            code = &mut carrying => break code?,
            Some(name) = signals.recv() => drop(engine.kill(container, name).await),
        }
    };
    Ok(u8::try_from(code).unwrap_or(exit::FAILURE))
}

/// Whether it goes on without us.
async fn is_up(engine: &dyn Engine, container: &str) -> Result<bool, EngineError> {
    match engine.inspect(container).await {
        Ok(seen) => Ok(seen.state == State::Running),
        Err(error) if error.kind == crate::engine::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names of signals that this program is sent, to be handed on.
fn signals() -> mpsc::UnboundedReceiver<&'static str> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let kinds = [
        ("SIGINT", SignalKind::interrupt()),
        ("SIGTERM", SignalKind::terminate()),
        ("SIGHUP", SignalKind::hangup()),
        ("SIGQUIT", SignalKind::quit()),
        ("SIGUSR1", SignalKind::user_defined1()),
        ("SIGUSR2", SignalKind::user_defined2()),
    ];
    for (name, kind) in kinds {
        let Ok(mut signals) = signal(kind) else { continue };
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(name).is_ok() {} });
    }
    receiver
}
