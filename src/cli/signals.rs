//! Ctrl-C and SIGTERM as values, and as the end where nobody listens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{exit, terminal};

/// Signals that one who listens is told of; the next one ends the program.
const TOLD_MAX: u8 = 2;

/// How often the program was asked to end. Where nobody attends to it, the first time ends the program.
#[derive(Debug, Clone)]
pub struct Interrupt {
    count: watch::Receiver<u8>,
    /// Times that were acted on already.
    before: u8,
    attending: Arc<AtomicUsize>,
}

/// Ends with its value.
pub struct Attention(Arc<AtomicUsize>);

impl Interrupt {
    /// Listens from now on. Signals are the program's: whoever listens is told of the same ones.
    pub fn listen() -> Self {
        static LISTENING: OnceLock<Interrupt> = OnceLock::new();
        LISTENING.get_or_init(Self::begin).afresh()
    }

    fn begin() -> Self {
        let (sender, count) = watch::channel(0);
        let attending = Arc::new(AtomicUsize::new(0));
        let attended = Arc::clone(&attending);
        tokio::spawn(async move {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
            loop {
                either(&mut int, &mut term).await;
                if attended.load(Ordering::SeqCst) == 0 || *sender.borrow() >= TOLD_MAX {
                    terminal::put_back();
                    std::process::exit(i32::from(exit::INTERRUPTED));
                }
                sender.send_modify(|count| *count += 1);
            }
        });
        Self { count, before: 0, attending }
    }

    /// From now on, as long as the value lives, somebody ends the program well when asked to.
    pub fn attend(&self) -> Attention {
        self.attending.fetch_add(1, Ordering::SeqCst);
        Attention(Arc::clone(&self.attending))
    }

    pub fn count(&self) -> u8 {
        *self.count.borrow() - self.before
    }

    /// The same, counted anew from here.
    pub fn afresh(&self) -> Self {
        Self { before: *self.count.borrow(), ..self.clone() }
    }

    /// Returns when the program has been asked this often, at once if it was already.
    pub async fn asked(&self, times: u8) {
        let mut count = self.count.clone();
        if count.wait_for(|count| *count - self.before >= times).await.is_err() {
            // The runtime is about to end, and nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Attention {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn either(int: &mut Signal, term: &mut Signal) {
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
