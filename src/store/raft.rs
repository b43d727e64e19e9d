//! Records in the swarm's Raft, as config objects.
//!
//! `mcompose.PROJECT.REVISION` is a record: its labels are the head, its data the compressed content. What one object
//! cannot hold goes on in `mcompose.PROJECT.REVISION.PART`, written before it, so that a record is whole once its name is
//! there. `mcompose.PROJECT.seats.N` says where each slot is and which services
//! are halted: data does not change, so the next one takes its place.
//! `mcompose.PROJECT.lock` is the deploy lock, `mcompose.supervisor` the supervisor's lease.

mod lock;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::record::{Encoded, Standing, compress, decode, decompress, to_prune};
use super::{
    Clock, Draft, Holder, Lock, RECORD_BYTES_MAX, RECORDS_KEPT, Record, RecordHead, RecordState, Says, Store, StoreError,
    Supervisor,
};
use crate::cluster::{Managers, with_leader};
use crate::engine::{ConfigObject, EngineError, ErrorKind};
use crate::project::{HostName, ProjectName, ServiceName};

/// A config object holds less than 500 KiB (engine 20.10; newer ones twice that).
const PART_BYTES_MAX: usize = 500_000;
/// Names of config objects have at most 64 characters (swarmkit), this many of them for the project.
const PROJECT_CHARS_MAX: usize = 36;
const PREFIX: &str = "mcompose.";
const SEATS: &str = "seats";

mod labels {
    pub const PROJECT: &str = "io.mcompose.project";
    pub const REVISION: &str = "io.mcompose.revision";
    pub const CREATED: &str = "io.mcompose.created";
    pub const BY: &str = "io.mcompose.by";
    pub const COMMAND: &str = "io.mcompose.command";
    pub const HASH: &str = "io.mcompose.hash";
    pub const STATE: &str = "io.mcompose.state";
    pub const STUCK: &str = "io.mcompose.stuck";
    pub const PARTS: &str = "io.mcompose.parts";
    pub const TOKEN: &str = "io.mcompose.token";
    pub const SINCE: &str = "io.mcompose.since";
    pub const BEAT: &str = "io.mcompose.beat";
    pub const RELEASED: &str = "io.mcompose.released";
    pub const SAYS: &str = "io.mcompose.says";
}

pub struct RaftStore {
    managers: Managers,
    /// A manager's name, for those who read.
    host: HostName,
    /// Tokens of the locks that were taken here.
    taken: Mutex<BTreeMap<ProjectName, String>>,
    clock: Clock,
}

impl RaftStore {
    /// `host` is one of the managers.
    pub fn new(managers: Managers, host: HostName) -> Self {
        Self { managers, host, taken: Mutex::default(), clock: Clock::default() }
    }

    /// The same with another clock for what is held.
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Fails where the lock that was taken here is another's by now: who was suspended does not know yet.
    fn check_lock(&self, project: &ProjectName, objects: &Objects) -> Result<(), StoreError> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(project).cloned();
        let Some(token) = taken else { return Ok(()) };
        match &objects.lock {
            Some(object) if object.labels.get(labels::TOKEN) == Some(&token) => Ok(()),
            lock => Err(StoreError::LockLost {
                project: project.clone(),
                holder: lock.as_ref().map(|object| lock::holder_of(object).to_string()),
            }),
        }
    }

    async fn list(&self, prefix: &str, what: String) -> Result<Vec<ConfigObject>, StoreError> {
        with_leader(&self.managers, |engine| async move { engine.configs(prefix).await }).await.map_err(failed(what))
    }

    async fn create(&self, name: &str, labels: &BTreeMap<String, String>, data: &[u8]) -> Result<String, EngineError> {
        with_leader(&self.managers, |engine| async move { engine.config_create(name, labels, data).await }).await
    }

    /// What is gone already is no error.
    async fn delete(&self, id: &str) -> Result<(), EngineError> {
        match with_leader(&self.managers, |engine| async move { engine.config_remove(id).await }).await {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            end => end,
        }
    }

    async fn objects(&self, project: &ProjectName) -> Result<Objects, StoreError> {
        let list = self.list(&prefix(project), format!("read the records of `{project}`")).await?;
        Ok(Objects::of(project, list))
    }

    /// Writes the parts, then the record itself. Parts of an interrupted attempt give way.
    async fn write(&self, head: &RecordHead, data: &[u8], old: &Objects) -> Result<(), StoreError> {
        let what = || format!("write revision {} of `{}`", head.revision, head.project);
        for stale in old.parts.iter().filter(|((revision, _), _)| *revision == head.revision).map(|(_, object)| object) {
            self.delete(&stale.id).await.map_err(failed(what()))?;
        }
        let chunks: Vec<&[u8]> = data.chunks(PART_BYTES_MAX).collect();
        for (part, chunk) in chunks.iter().enumerate().skip(1) {
            let name = format!("{}{}.{part}", prefix(&head.project), head.revision);
            let labels = BTreeMap::from([(labels::PROJECT.to_owned(), head.project.to_string())]);
            match self.create(&name, &labels, chunk).await {
                // A first attempt that timed out and was carried out after all wrote the same bytes.
                Err(error) if error.kind == ErrorKind::Conflict => {}
                end => drop(end.map_err(failed(what()))?),
            }
        }
        let name = format!("{}{}", prefix(&head.project), head.revision);
        let labels = labels_of(head, chunks.len());
        match self.create(&name, &labels, chunks.first().copied().unwrap_or_default()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::Conflict && self.wrote(head).await? => Ok(()),
            Err(error) if error.kind == ErrorKind::Conflict => {
                Err(StoreError::Raced { project: head.project.clone(), revision: head.revision })
            }
            Err(error) => Err(failed(what())(error)),
        }
    }

    /// Whether the record of this revision is this very one: an attempt that timed out may have succeeded.
    async fn wrote(&self, head: &RecordHead) -> Result<bool, StoreError> {
        let objects = self.objects(&head.project).await?;
        Ok(objects.records.get(&head.revision).is_some_and(|record| record.head == *head))
    }

    /// Writes what stands beside the records, then takes away what said so before.
    async fn write_standing(&self, project: &ProjectName, standing: &Standing, old: &Objects) -> Result<(), StoreError> {
        if old.standing().is_ok_and(|known| known == *standing) {
            return Ok(());
        }
        let what = || format!("write the seats of `{project}`");
        let data = compress(&standing.encode());
        if data.len() > PART_BYTES_MAX {
            return Err(StoreError::TooLarge { project: project.clone(), bytes: data.len(), max: PART_BYTES_MAX });
        }
        let number = old.seats.last_key_value().map_or(1, |(number, _)| number + 1);
        let name = format!("{}{SEATS}.{number}", prefix(project));
        let labels = BTreeMap::from([(labels::PROJECT.to_owned(), project.to_string())]);
        match self.create(&name, &labels, &data).await {
            // Under the lock nobody else writes: it is an attempt of this call that timed out and was carried out.
            Err(error) if error.kind == ErrorKind::Conflict => {}
            end => drop(end.map_err(failed(what()))?),
        }
        for object in old.seats.values() {
            self.delete(&object.id).await.map_err(failed(what()))?;
        }
        Ok(())
    }

    async fn prune(&self, project: &ProjectName, objects: &Objects) -> Result<(), StoreError> {
        let heads = objects.records.values().rev().map(|stored| stored.head.clone());
        for revision in to_prune(heads, RECORDS_KEPT - 1) {
            if let Some(stored) = objects.records.get(&revision) {
                self.delete_record(project, revision, stored, objects).await?;
            }
        }
        Ok(())
    }

    async fn delete_record(
        &self,
        project: &ProjectName,
        revision: u64,
        stored: &Stored,
        objects: &Objects,
    ) -> Result<(), StoreError> {
        let parts = objects.parts.iter().filter(|((of, _), _)| *of == revision).map(|(_, object)| &object.id);
        for id in std::iter::once(&stored.object.id).chain(parts) {
            self.delete(id).await.map_err(failed(format!("remove revision {revision} of `{project}`")))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Store for RaftStore {
    fn place(&self) -> String {
        format!("the swarm of `{}`", self.host)
    }

    async fn lock(
        &self,
        project: &ProjectName,
        holder: &Holder,
        wait_max: Duration,
        waiting: &(dyn Fn(Holder) + Send + Sync),
    ) -> Result<Lock, StoreError> {
        let lock = lock::acquire(&self.managers, &self.clock, project, holder, wait_max, waiting).await?;
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(project.clone(), holder.token.clone());
        Ok(lock)
    }

    async fn lease(&self, holder: &Holder, says: Says) -> Result<Lock, StoreError> {
        lock::lease(&self.managers, &self.clock, holder, says).await
    }

    async fn supervisor(&self) -> Result<Option<Supervisor>, StoreError> {
        lock::lease_holder(&self.managers).await
    }

    async fn latest(&self, project: &ProjectName) -> Result<Option<Record>, StoreError> {
        let objects = self.objects(project).await?;
        objects.records.keys().next_back().map(|revision| objects.decode(*revision)).transpose()
    }

    async fn record(&self, project: &ProjectName, revision: u64) -> Result<Option<Record>, StoreError> {
        let objects = self.objects(project).await?;
        objects.records.contains_key(&revision).then(|| objects.decode(revision)).transpose()
    }

    async fn records(&self, project: &ProjectName) -> Result<Vec<RecordHead>, StoreError> {
        let objects = self.objects(project).await?;
        Ok(objects.records.into_values().rev().map(|stored| stored.head).collect())
    }

    async fn projects(&self) -> Result<Vec<RecordHead>, StoreError> {
        let list = self.list(PREFIX, "list the projects".to_owned()).await?;
        let mut newest: BTreeMap<ProjectName, RecordHead> = BTreeMap::new();
        for head in list.iter().filter_map(head_of) {
            let known = newest.get(&head.project).map_or(0, |known| known.revision);
            if head.revision > known {
                newest.insert(head.project.clone(), head);
            }
        }
        Ok(newest.into_values().collect())
    }

    async fn put(&self, draft: Draft) -> Result<Record, StoreError> {
        let encoded = Encoded::of(draft);
        let project = encoded.head.project.clone();
        let objects = self.objects(&project).await?;
        self.check_lock(&project, &objects)?;
        let newest = objects.records.last_key_value();
        if let Some((_, stored)) = newest.filter(|(_, stored)| encoded.is_again(&stored.head)) {
            let head = stored.head.clone();
            self.write_standing(&project, &encoded.standing(), &objects).await?;
            return Ok(encoded.record(head));
        }
        let head = encoded.head_after(newest.map_or(0, |(revision, _)| *revision));
        let data = compress(&encoded.bytes);
        if data.len() > RECORD_BYTES_MAX {
            return Err(StoreError::TooLarge { project, bytes: data.len(), max: RECORD_BYTES_MAX });
        }
        self.write(&head, &data, &objects).await?;
        self.write_standing(&project, &encoded.standing(), &objects).await?;
        self.prune(&project, &objects).await?;
        Ok(encoded.record(head))
    }

    async fn set_state(
        &self,
        project: &ProjectName,
        revision: u64,
        state: RecordState,
        stuck: &BTreeSet<ServiceName>,
    ) -> Result<(), StoreError> {
        let objects = self.objects(project).await?;
        let is_so = |head: &RecordHead| head.state == state && head.stuck == *stuck;
        let Some(stored) = objects.records.get(&revision).filter(|stored| !is_so(&stored.head)) else { return Ok(()) };
        let mut labels = stored.object.labels.clone();
        labels.insert(labels::STATE.to_owned(), state.as_str().to_owned());
        labels.insert(labels::STUCK.to_owned(), joined(stuck));
        let (object, labels) = (&stored.object, &labels);
        let relabelled =
            with_leader(&self.managers, |engine| async move { engine.config_relabel(&object.id, object.version, labels).await });
        relabelled.await.map_err(failed(format!("write the state of revision {revision} of `{project}`")))
    }

    async fn remove(&self, project: &ProjectName) -> Result<(), StoreError> {
        let objects = self.objects(project).await?;
        for (revision, stored) in &objects.records {
            self.delete_record(project, *revision, stored, &objects).await?;
        }
        for part in objects.parts.values().chain(objects.seats.values()) {
            self.delete(&part.id).await.map_err(failed(format!("remove the records of `{project}`")))?;
        }
        Ok(())
    }
}

/// What the Raft has of one project.
struct Objects {
    records: BTreeMap<u64, Stored>,
    /// By revision and number, from 1.
    parts: BTreeMap<(u64, u64), ConfigObject>,
    /// By number; the last one counts.
    seats: BTreeMap<u64, ConfigObject>,
    lock: Option<ConfigObject>,
}

struct Stored {
    head: RecordHead,
    parts: u64,
    object: ConfigObject,
}

impl Objects {
    fn of(project: &ProjectName, list: Vec<ConfigObject>) -> Self {
        let prefix = prefix(project);
        let mut objects = Self { records: BTreeMap::new(), parts: BTreeMap::new(), seats: BTreeMap::new(), lock: None };
        for object in list {
            let Some(rest) = object.name.strip_prefix(&prefix) else { continue };
            if let Some((revision, part)) = rest.split_once('.') {
                match (revision.parse(), part.parse()) {
                    (Ok(revision), Ok(part)) => drop(objects.parts.insert((revision, part), object)),
                    (Err(_), Ok(number)) if revision == SEATS => drop(objects.seats.insert(number, object)),
                    _ => {}
                }
            } else if rest == lock::NAME {
                objects.lock = Some(object);
            } else if let Some(head) = head_of(&object).filter(|head| head.project == *project) {
                let parts = object.labels.get(labels::PARTS).and_then(|text| text.parse().ok()).unwrap_or(1);
                objects.records.insert(head.revision, Stored { head, parts, object });
            }
        }
        objects
    }

    /// Where the slots are, and what is halted; nowhere and nothing if that was never written.
    fn standing(&self) -> Result<Standing, String> {
        let Some((_, object)) = self.seats.last_key_value() else { return Ok(Standing::default()) };
        decompress(&object.data).and_then(|bytes| Standing::decode(&bytes))
    }

    fn decode(&self, revision: u64) -> Result<Record, StoreError> {
        let damaged = |why: String| StoreError::Damaged { name: format!("{revision} in the swarm"), why };
        let stored = self.records.get(&revision).ok_or_else(|| damaged("it is gone".to_owned()))?;
        let mut data = stored.object.data.clone();
        for part in 1..stored.parts {
            let object = self.parts.get(&(revision, part)).ok_or_else(|| damaged(format!("part {part} is missing")))?;
            data.extend(&object.data);
        }
        let bytes = decompress(&data).map_err(damaged)?;
        let standing = self.standing().map_err(damaged)?;
        decode(stored.head.clone(), &bytes, standing).map_err(damaged)
    }
}

/// The head in a record's labels; nothing for parts, locks and what is not mcompose's.
fn head_of(object: &ConfigObject) -> Option<RecordHead> {
    let text = |key: &str| object.labels.get(key).cloned();
    Some(RecordHead {
        project: ProjectName::new(text(labels::PROJECT)?).ok()?,
        revision: text(labels::REVISION)?.parse().ok()?,
        created: text(labels::CREATED)?.parse().ok()?,
        by: text(labels::BY)?,
        command: text(labels::COMMAND)?,
        hash: text(labels::HASH)?,
        state: text(labels::STATE).map(|text| RecordState::parse(&text)).unwrap_or_default(),
        stuck: text(labels::STUCK).map(|text| split(&text)).unwrap_or_default(),
    })
}

fn labels_of(head: &RecordHead, parts: usize) -> BTreeMap<String, String> {
    let pairs = [
        (labels::PROJECT, head.project.to_string()),
        (labels::REVISION, head.revision.to_string()),
        (labels::CREATED, head.created.to_string()),
        (labels::BY, head.by.clone()),
        (labels::COMMAND, head.command.clone()),
        (labels::HASH, head.hash.clone()),
        (labels::STATE, head.state.as_str().to_owned()),
        (labels::STUCK, joined(&head.stuck)),
        (labels::PARTS, parts.to_string()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Names of services have no comma.
fn joined(services: &BTreeSet<ServiceName>) -> String {
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(",")
}

fn split(text: &str) -> BTreeSet<ServiceName> {
    text.split(',').filter_map(|name| ServiceName::new(name).ok()).collect()
}

/// What the names of a project's objects begin with. A long name is cut, and told from its like by a hash.
fn prefix(project: &ProjectName) -> String {
    const HASH_BYTES: usize = 4;
    let name = project.as_str();
    if name.len() <= PROJECT_CHARS_MAX {
        return format!("{PREFIX}{name}.");
    }
    let hash: String = Sha256::digest(name.as_bytes()).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}-{hash}.", &name[..PROJECT_CHARS_MAX - HASH_BYTES * 2 - 1])
}

fn failed(what: String) -> impl FnOnce(EngineError) -> StoreError {
    move |source| StoreError::Engine { what, source }
}
