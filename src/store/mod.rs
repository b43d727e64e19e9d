//! What was deployed, and who may deploy now: records and the deploy lock, in the swarm's Raft or in a local folder.
#![expect(clippy::disallowed_methods, reason = "the store reads the disk, the environment and the clock")]

mod clock;
mod error;
mod folder;
mod lock;
mod open;
mod raft;
mod record;

pub use crate::project::RecordState;
pub use clock::{Clock, Moment};
pub use error::StoreError;
pub use folder::FolderStore;
pub use lock::{Holder, LEASE_RENEWED_EVERY, LEASE_TTL, LOCK_RENEWED_EVERY, LOCK_TTL, Lock};
pub use open::{now_secs, open, state_folder, whoami};
pub use raft::RaftStore;
pub use record::{Draft, RECORD_BYTES_MAX, Record, RecordHead};

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::project::{ProjectName, ServiceName, moment};

/// Records of a project that are kept, and the last good one; older ones go when a new one comes.
pub const RECORDS_KEPT: usize = 10;

/// Who holds the supervisor's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    pub holder: Holder,
    /// When the lease was renewed last: RFC 3339, by the clock of the swarm's leader. Nothing where it cannot outlive its holder.
    pub renewed_at: Option<String>,
    /// What it said last: see `Says`.
    pub says: String,
}

/// What a supervisor has to say of its projects to whoever asks: a line for each thing, with the project's name and a space before it.
pub type Says = watch::Receiver<String>;
/// So much of it is kept, in whole lines.
const SAYS_BYTES_MAX: usize = 8 << 10;

/// The first lines that fit.
fn shortened(says: &str) -> &str {
    match says.get(..SAYS_BYTES_MAX.min(says.len())) {
        Some(start) if start.len() < says.len() => start.rsplit_once('\n').map_or("", |(lines, _)| lines),
        Some(all) => all,
        // In the middle of a letter.
        None => says.lines().next().filter(|line| line.len() <= SAYS_BYTES_MAX).unwrap_or_default(),
    }
}

/// Clocks of different machines may differ by this much before a lease is taken for one that ended without a word.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(20);

impl Supervisor {
    /// What it says of one project.
    pub fn says_of(&self, project: &ProjectName) -> impl Iterator<Item = &str> {
        self.says.lines().filter_map(move |line| line.strip_prefix(project.as_str())?.strip_prefix(' '))
    }

    /// How long it has not renewed its lease, where that is too long for one that still runs. `now`: since 1970, by the clock that
    /// the lease is stamped with.
    pub fn silent_for(&self, now: Duration) -> Option<Duration> {
        let renewed = moment::parse(self.renewed_at.as_deref()?)?;
        Some(now.saturating_sub(renewed)).filter(|silent| *silent > LEASE_TTL + CLOCKS_DIFFER_MAX)
    }
}

/// Where records and locks are kept. Every call names project and place in its error.
#[async_trait]
pub trait Store: Send + Sync {
    /// Where it is, for those who read: "the swarm of `alpha`", a folder's path.
    fn place(&self) -> String;

    /// Takes the project's deploy lock, waiting for at most `wait_max`; `waiting` is told once who holds it.
    async fn lock(
        &self,
        project: &ProjectName,
        holder: &Holder,
        wait_max: Duration,
        waiting: &(dyn Fn(Holder) + Send + Sync),
    ) -> Result<Lock, StoreError>;

    /// Takes the lease of the one supervisor that acts. Returns when it is this one's, be it in hours; an error where that
    /// cannot be told now. What it `says` is kept beside the lease, as new as its last renewal.
    async fn lease(&self, holder: &Holder, says: Says) -> Result<Lock, StoreError>;

    /// Who holds that lease now, or held it until it ended without a word.
    async fn supervisor(&self) -> Result<Option<Supervisor>, StoreError>;

    /// The newest record.
    async fn latest(&self, project: &ProjectName) -> Result<Option<Record>, StoreError>;

    async fn record(&self, project: &ProjectName, revision: u64) -> Result<Option<Record>, StoreError>;

    /// The heads of all records of a project, the newest first.
    async fn records(&self, project: &ProjectName) -> Result<Vec<RecordHead>, StoreError>;

    /// The newest head of every project, by name.
    async fn projects(&self) -> Result<Vec<RecordHead>, StoreError>;

    /// Keeps what is to be deployed now, under the next revision; under the same one if it equals the newest record.
    /// To be called with the lock held.
    async fn put(&self, draft: Draft) -> Result<Record, StoreError>;

    /// Writes down how far the deployment of a record came, and which services are `stuck` in it; no error where there is no such
    /// record any more. To be called with the lock held, but by who pauses an update that another is at.
    async fn set_state(
        &self,
        project: &ProjectName,
        revision: u64,
        state: RecordState,
        stuck: &BTreeSet<ServiceName>,
    ) -> Result<(), StoreError>;

    /// Takes away every record of a project. To be called with the lock held.
    async fn remove(&self, project: &ProjectName) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::{SAYS_BYTES_MAX, shortened};

    #[test]
    fn what_is_said_is_kept_in_whole_lines() {
        assert_eq!(shortened("p one\np two"), "p one\np two");
        let line = format!("p {}\n", "é".repeat(1_500));
        let kept = shortened(&line.repeat(5)).to_owned();
        assert!(kept.len() <= SAYS_BYTES_MAX && kept.lines().all(|kept| format!("{kept}\n") == line), "{}", kept.len());
        assert_eq!(shortened(&"é".repeat(SAYS_BYTES_MAX)), "");
    }
}
