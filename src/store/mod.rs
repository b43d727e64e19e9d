//! What was deployed, and who may deploy now: records and the deploy lock, in the swarm's Raft or in a local folder.
#![expect(clippy::disallowed_methods, reason = "the store reads the disk, the environment and the clock")]

mod error;
mod folder;
mod lock;
mod open;
mod raft;
mod record;

pub use crate::project::RecordState;
pub use error::StoreError;
pub use folder::FolderStore;
pub use lock::{Holder, LEASE_RENEWED_EVERY, LEASE_TTL, LOCK_RENEWED_EVERY, LOCK_TTL, Lock};
pub use open::{now_secs, open, state_folder, whoami};
pub use raft::RaftStore;
pub use record::{Draft, RECORD_BYTES_MAX, Record, RecordHead};

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::project::{ProjectName, ServiceName, moment};

/// Records of a project that are kept, and the last good one; older ones go when a new one comes.
pub const RECORDS_KEPT: usize = 10;

/// Who holds the supervisor's lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    pub holder: Holder,
    /// When the lease was renewed last: RFC 3339, by the clock of the swarm's leader. Nothing where it cannot outlive its holder.
    pub renewed_at: Option<String>,
}

/// Clocks of different machines may differ by this much before a lease is taken for one that ended without a word.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(20);

impl Supervisor {
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
    /// cannot be told now.
    async fn lease(&self, holder: &Holder) -> Result<Lock, StoreError>;

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
