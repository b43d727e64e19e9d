//! Ctrl-C and SIGTERM as values.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Becomes true with the first signal. The third ends the program at once.
pub fn interrupt() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
        for _ in 0..2 {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            sender.send_replace(true);
        }
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        std::process::exit(i32::from(super::exit::INTERRUPTED));
    });
    receiver
}
