//! This program's own terminal, lent to something that runs in a container.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::{Attached, Engine, EngineError};

/// Whose terminal is told the size of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen {
    None,
    OfCommand,
    OfContainer,
}

/// Until the command ends: input to it if it `reads`, output from it, and the terminal's size whenever that changes.
pub(super) async fn carry(engine: &dyn Engine, attached: Attached, screen: Screen, reads: bool) -> Result<(), EngineError> {
    let Attached { id, mut input, mut output } = attached;
    let feeding = tokio::spawn(async move {
        if reads {
            let mut stdin = tokio::io::stdin();
            let _ = tokio::io::copy(&mut stdin, &mut input).await;
            let _ = input.shutdown().await;
        }
    });
    let mut resized = signal(SignalKind::window_change()).ok().filter(|_| screen != Screen::None);
    resize(engine, &id, screen).await;
    let ended = loop {
        let piece = tokio::select! {
            piece = output.next() => piece,
            Some(Some(())) = async { Some(resized.as_mut()?.recv().await) }, if resized.is_some() => {
                resize(engine, &id, screen).await;
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
pub(super) async fn resize(engine: &dyn Engine, id: &str, screen: Screen) {
    let Ok(size) = tcgetwinsize(std::io::stdout()) else { return };
    let _ = match screen {
        Screen::None => Ok(()),
        Screen::OfCommand => engine.exec_resize(id, size.ws_col, size.ws_row).await,
        Screen::OfContainer => engine.resize(id, size.ws_col, size.ws_row).await,
    };
}

/// The terminal as it was, while it is another's.
static LENT: Mutex<Option<Termios>> = Mutex::new(None);

/// Gives the terminal back as it was, if it was lent. A program that ends at once must do that itself: nothing is dropped then.
pub(super) fn put_back() {
    if let Some(before) = LENT.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// The terminal is another's until the value ends.
pub(super) struct Raw(());

impl Raw {
    pub(super) fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        *LENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        Some(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        put_back();
    }
}
