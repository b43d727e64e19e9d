//! The deploy lock as its holder sees it.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A supervisor's lease is free a little sooner: a stand-in is to act within 15 s.
pub const LEASE_TTL: Duration = Duration::from_secs(10);
pub const LEASE_RENEWED_EVERY: Duration = Duration::from_secs(2);
/// A lock in the swarm that was not renewed for this long is free. The loss of the swarm's leader stops renewals for up
/// to 30 s, where its election takes a second round, which must not cost the lock.
pub const LOCK_TTL: Duration = Duration::from_secs(35);
/// How often a holder renews its lock.
pub const LOCK_RENEWED_EVERY: Duration = Duration::from_secs(3);
/// Giving a lock back takes at most this long; it becomes free by itself later.
const RELEASE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Who holds a lock, or wants to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// `user@host`
    pub who: String,
    /// The command.
    pub what: String,
    /// Seconds since 1970 when it asked, by its own clock.
    pub since: i64,
    /// What makes it unlike every other holder, itself at another time too.
    pub token: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.who.is_empty(), self.what.is_empty()) {
            (true, _) => f.write_str("another mcompose"),
            (false, true) => f.write_str(&self.who),
            (false, false) => write!(f, "{} (`{}`)", self.who, self.what),
        }
    }
}

/// A deploy lock that is held. Released at the end; one that is dropped instead becomes free soon by itself.
#[derive(Debug)]
pub struct Lock {
    lost: watch::Receiver<bool>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The operating system lets it go with the process.
    File { file: File, path: PathBuf, _never_lost: watch::Sender<bool> },
    /// A task renews it until it is told to give it back.
    Raft { release: oneshot::Sender<()>, renewal: JoinHandle<()> },
}

impl Lock {
    pub(super) fn of_file(file: File, path: PathBuf) -> Self {
        let (_never_lost, lost) = watch::channel(false);
        Self { lost, kind: Kind::File { file, path, _never_lost } }
    }

    pub(super) fn of_task(lost: watch::Receiver<bool>, release: oneshot::Sender<()>, renewal: JoinHandle<()>) -> Self {
        Self { lost, kind: Kind::Raft { release, renewal } }
    }

    /// Becomes true when the lock is lost: what it protects has to stop, since another may hold it now.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    /// Gives the lock back, so that whoever waits can go on at once.
    pub async fn release(self) {
        match self.kind {
            Kind::File { file, path, .. } => {
                // Removed while it is held: whoever opened it meanwhile sees that it is not the file of that name any more.
                let _ = std::fs::remove_file(path);
                let _ = file.unlock();
            }
            Kind::Raft { release, renewal } => {
                let _ = release.send(());
                let _ = tokio::time::timeout(RELEASE_WAIT_MAX, renewal).await;
            }
        }
    }
}
