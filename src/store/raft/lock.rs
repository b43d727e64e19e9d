//! The deploy lock, and the supervisor's lease, as config objects of the swarm.
//!
//! Its name is unique, so that creating it is an atomic claim. Its holder changes a label every few seconds, each time only
//! if nobody else did (compare-and-set on the object's version). Who waits takes it over, by the same compare-and-set, once
//! it has not changed for its time to live by the clock of who waits: clocks of several machines are never compared. Time in which
//! the swarm did not answer does not count, since nobody can renew then.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

use super::{PREFIX, failed, labels, prefix};
use crate::cluster::{Managers, with_leader};
use crate::engine::{ConfigObject, EngineError, ErrorKind};
use crate::project::ProjectName;
use crate::store::{
    Clock, Holder, LEASE_RENEWED_EVERY, LEASE_TTL, LOCK_RENEWED_EVERY, LOCK_TTL, Lock, Moment, Says, StoreError, Supervisor,
    shortened,
};

/// Of a project's lock, behind the project's.
pub(super) const NAME: &str = "lock";
/// Between two looks at a lock that another holds.
const LOCK_POLL: Duration = Duration::from_millis(250);
/// Between two looks at a lease that another holds.
const LEASE_POLL: Duration = Duration::from_millis(500);
/// A gap between two looks counts for at most this much of the time that the lock was seen unchanged.
const POLL_COUNTS_MAX: Duration = Duration::from_secs(1);

/// How often a lock is tried to be given back.
const GIVE_BACK_TRIES: u32 = 5;

/// Without renewal, a holder goes on for this much shorter than others wait.
const HELD_SHORTER: Duration = Duration::from_secs(2);

/// How long a claim lives.
#[derive(Debug, Clone, Copy)]
struct Terms {
    ttl: Duration,
    renewed_every: Duration,
}

const LOCK_TERMS: Terms = Terms { ttl: LOCK_TTL, renewed_every: LOCK_RENEWED_EVERY };
const LEASE_TERMS: Terms = Terms { ttl: LEASE_TTL, renewed_every: LEASE_RENEWED_EVERY };

pub async fn acquire(
    managers: &Managers,
    clock: &Clock,
    project: &ProjectName,
    holder: &Holder,
    wait_max: Duration,
    waiting: &(dyn Fn(Holder) + Send + Sync),
) -> Result<Lock, StoreError> {
    let claim = Claim {
        managers: managers.clone(),
        name: format!("{}{NAME}", prefix(project)),
        project: Some(project.clone()),
        holder: holder.clone(),
        says: None,
        terms: LOCK_TERMS,
        clock: clock.clone(),
    };
    let began = Instant::now();
    let mut watched = Watched::default();
    let mut told = false;
    loop {
        let asked = clock.now();
        let attempt = claim.attempt(&mut watched).await.map_err(failed(format!("take the deploy lock of `{project}`")))?;
        let other = match attempt {
            Attempt::Held(object) => return Ok(claim.keep(object, asked)),
            Attempt::Vanished => continue,
            Attempt::Other(other) => other,
        };
        if !std::mem::replace(&mut told, true) {
            waiting(other.clone());
        }
        if began.elapsed() >= wait_max {
            let waited_secs = began.elapsed().as_secs();
            return Err(StoreError::Held { project: project.clone(), holder: other.to_string(), waited_secs });
        }
        sleep(LOCK_POLL).await;
    }
}

/// Waits for the supervisor's lease for as long as another holds it.
pub async fn lease(managers: &Managers, clock: &Clock, holder: &Holder, says: Says) -> Result<Lock, StoreError> {
    let claim = Claim {
        managers: managers.clone(),
        name: lease_name(),
        project: None,
        holder: holder.clone(),
        says: Some(says),
        terms: LEASE_TERMS,
        clock: clock.clone(),
    };
    let mut watched = Watched::default();
    loop {
        let asked = clock.now();
        let attempt = claim.attempt(&mut watched).await.map_err(failed("take the supervisor's lease".to_owned()))?;
        match attempt {
            // One that this process lost for want of an answer may be its own still; it counts from when it was renewed.
            Attempt::Held(object) if clock.since(asked) > LEASE_RENEWED_EVERY || watched.version.is_none() => {
                let asked = clock.now();
                let renewed = claim.renew(&object, 0).await.map_err(failed("take the supervisor's lease".to_owned()))?;
                if let Some(object) = renewed {
                    return Ok(claim.keep(object, asked));
                }
            }
            Attempt::Held(object) => return Ok(claim.keep(object, asked)),
            Attempt::Vanished => {}
            Attempt::Other(_) => sleep(LEASE_POLL).await,
        }
    }
}

/// Who the lease names; nobody where it was given back.
pub async fn lease_holder(managers: &Managers) -> Result<Option<Supervisor>, StoreError> {
    let name = &lease_name();
    let list = with_leader(managers, |engine| async move { engine.configs(name).await }).await;
    let list = list.map_err(failed("read the supervisor's lease".to_owned()))?;
    let object = list.into_iter().find(|object| object.name == *name && !object.labels.contains_key(labels::RELEASED));
    Ok(object.map(|object| Supervisor {
        holder: holder_of(&object),
        says: object.labels.get(labels::SAYS).cloned().unwrap_or_default(),
        renewed_at: Some(object.updated_at),
    }))
}

/// Names of projects' objects have another dot.
fn lease_name() -> String {
    format!("{PREFIX}supervisor")
}

/// A wish to hold a lock.
struct Claim {
    managers: Managers,
    name: String,
    /// Nothing: the lease.
    project: Option<ProjectName>,
    holder: Holder,
    /// What goes along with each renewal.
    says: Option<Says>,
    terms: Terms,
    clock: Clock,
}

enum Attempt {
    Held(ConfigObject),
    Other(Holder),
    /// Given back just now.
    Vanished,
}

/// How long another's lock was seen unchanged.
#[derive(Default)]
struct Watched {
    version: Option<(String, u64)>,
    last: Option<Instant>,
    unchanged: Duration,
}

impl Watched {
    fn see(&mut self, object: &ConfigObject) -> Duration {
        let version = Some((object.id.clone(), object.version));
        let now = Instant::now();
        let gap = self.last.map(|last| now.duration_since(last).min(POLL_COUNTS_MAX)).unwrap_or_default();
        self.unchanged = if self.version == version { self.unchanged + gap } else { Duration::ZERO };
        self.version = version;
        self.last = Some(now);
        self.unchanged
    }
}

impl Claim {
    async fn attempt(&self, watched: &mut Watched) -> Result<Attempt, EngineError> {
        if watched.version.is_none() {
            match self.create().await {
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        let Some(object) = self.read().await? else {
            watched.version = None;
            return Ok(Attempt::Vanished);
        };
        if self.is_ours(&object) {
            return Ok(Attempt::Held(object));
        }
        if watched.see(&object) < self.terms.ttl {
            return Ok(Attempt::Other(holder_of(&object)));
        }
        match self.relabel(&object, self.labels(0)).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
        // The next look tells whose it is, also where the answer to the relabelling was lost.
        match self.read().await? {
            Some(object) if self.is_ours(&object) => Ok(Attempt::Held(object)),
            Some(object) => Ok(Attempt::Other(holder_of(&object))),
            None => Ok(Attempt::Vanished),
        }
    }

    fn is_ours(&self, object: &ConfigObject) -> bool {
        object.labels.get(labels::TOKEN) == Some(&self.holder.token) && !object.labels.contains_key(labels::RELEASED)
    }

    fn labels(&self, beat: u64) -> BTreeMap<String, String> {
        let project = self.project.as_ref().map(|project| (labels::PROJECT, project.to_string()));
        let pairs = [
            (labels::BY, self.holder.who.clone()),
            (labels::COMMAND, self.holder.what.clone()),
            (labels::SINCE, self.holder.since.to_string()),
            (labels::TOKEN, self.holder.token.clone()),
            (labels::BEAT, beat.to_string()),
        ];
        let says = self.says.as_ref().map(|says| shortened(&says.borrow()).to_owned());
        let says = says.filter(|says| !says.is_empty()).map(|says| (labels::SAYS, says));
        pairs.into_iter().chain(project).chain(says).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    async fn create(&self) -> Result<String, EngineError> {
        let labels = &self.labels(0);
        with_leader(&self.managers, |engine| async move { engine.config_create(&self.name, labels, b"lock").await }).await
    }

    async fn read(&self) -> Result<Option<ConfigObject>, EngineError> {
        let list = with_leader(&self.managers, |engine| async move { engine.configs(&self.name).await }).await?;
        Ok(list.into_iter().find(|object| object.name == self.name))
    }

    async fn relabel(&self, object: &ConfigObject, labels: BTreeMap<String, String>) -> Result<(), EngineError> {
        let labels = &labels;
        with_leader(&self.managers, |engine| async move { engine.config_relabel(&object.id, object.version, labels).await }).await
    }

    /// Starts the task that renews the lock until it is given back or lost.
    fn keep(self, object: ConfigObject, claimed: Moment) -> Lock {
        let (lost_sender, lost) = watch::channel(false);
        let (release, released) = oneshot::channel();
        let renewal = tokio::spawn(async move {
            match self.renew_until(object, claimed, released).await {
                Some(object) => self.give_back(object).await,
                None => drop(lost_sender.send(true)),
            }
        });
        Lock::of_task(lost, release, renewal)
    }

    /// Returns the lock's last state when it is to be given back, nothing when it was lost.
    ///
    /// A holder that could not renew for nearly its time to live counts it as lost itself: another may take it from then on. It
    /// counts from when the last renewal was sent, since who waits may have seen it from that moment.
    async fn renew_until(
        &self,
        mut object: ConfigObject,
        claimed: Moment,
        mut released: oneshot::Receiver<()>,
    ) -> Option<ConfigObject> {
        let mut renewed = claimed;
        let mut beat = 0;
        loop {
            tokio::select! {
                biased;
                _ = &mut released => return Some(object),
                () = self.clock.pause(self.terms.renewed_every) => {}
            }
            beat += 1;
            let sent = self.clock.now();
            let attempt = tokio::select! {
                biased;
                _ = &mut released => return Some(object),
                // It was not to be reached for too long, or this machine slept for as long.
                () = self.clock.pause(self.left(renewed)) => return None,
                attempt = self.renew(&object, beat) => attempt,
            };
            match attempt {
                Ok(Some(newer)) => {
                    object = newer;
                    renewed = sent;
                }
                // Another has it.
                Ok(None) => return None,
                Err(_) => {}
            }
            // The answer may be an old one.
            if self.left(renewed).is_zero() {
                return None;
            }
        }
    }

    /// For how long it is held without another renewal.
    fn left(&self, renewed: Moment) -> Duration {
        self.terms.ttl.saturating_sub(HELD_SHORTER).saturating_sub(self.clock.since(renewed))
    }

    /// The lock's new state; nothing where it is another's now.
    async fn renew(&self, object: &ConfigObject, beat: u64) -> Result<Option<ConfigObject>, EngineError> {
        match self.relabel(object, self.labels(beat)).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(self.read().await?.filter(|object| self.is_ours(object)))
    }

    /// First marked, then removed: the mark fails if another took the lock over, and nobody takes over what is marked until
    /// it has been so for its time to live. Thus what is removed is never another's.
    ///
    /// What fails is tried again: a renewal that was under way may make a new version at any moment, and an answer may be lost. Who
    /// comes later would wait for the lock's time to live, and without anybody it would stay in the swarm for ever.
    async fn give_back(&self, mut object: ConfigObject) {
        let mut labels = self.labels(0);
        labels.insert(labels::RELEASED.to_owned(), "true".to_owned());
        for _ in 0..GIVE_BACK_TRIES {
            let is_marked = self.relabel(&object, labels.clone()).await.is_ok();
            if is_marked && self.remove(&object.id).await {
                return;
            }
            match self.read().await {
                Ok(Some(newer)) if newer.labels.get(labels::TOKEN) == Some(&self.holder.token) => object = newer,
                Ok(_) => return,
                Err(_) => {}
            }
        }
    }

    /// Whether it is gone.
    async fn remove(&self, id: &str) -> bool {
        let removed = with_leader(&self.managers, |engine| async move { engine.config_remove(id).await }).await;
        removed.map_or_else(|error| error.kind == ErrorKind::NotFound, |()| true)
    }
}

pub(super) fn holder_of(object: &ConfigObject) -> Holder {
    let text = |key: &str| object.labels.get(key).cloned().unwrap_or_default();
    Holder {
        who: text(labels::BY),
        what: text(labels::COMMAND),
        since: text(labels::SINCE).parse().unwrap_or_default(),
        token: text(labels::TOKEN),
    }
}
