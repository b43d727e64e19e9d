//! One deployed revision of a project: its form in memory and as bytes.
//!
//! A record holds the project as it was resolved, environment values of services among it: whoever can read the swarm's
//! configs, or the folder, reads them. Values that secrets and configs take from the environment are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::project::{HostName, Mode, Project, ProjectName, RecordState, ServiceName, Slot};

/// Compressed; a project of a thousand services takes about a hundredth.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// Decompressed, against a record that was made to fill the memory.
const BODY_BYTES_MAX: u64 = 256 << 20;
/// Characters of the command that are kept.
const COMMAND_CHARS_MAX: usize = 200;
/// Of the body; a larger one was written by a newer mcompose.
const FORMAT: u32 = 1;

/// What is to be kept of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub project: Project,
    /// Replicas that were asked for beside the file (`scale`), by service.
    pub scales: BTreeMap<ServiceName, u32>,
    /// Where each slot is placed now. It makes no new revision: the project is the same wherever it runs.
    pub seats: BTreeMap<Slot, HostName>,
    /// Services that a verb stopped, or that were never brought up: nobody starts them unasked. No new revision either.
    pub halted: BTreeSet<ServiceName>,
    /// The newest revision that a container of the project shows. A record is never older than what runs already, also where
    /// earlier records were lost.
    pub newest_seen: u64,
    /// Seconds since 1970.
    pub created: i64,
    /// `user@host`
    pub by: String,
    /// The command, for those who read.
    pub command: String,
}

/// A record without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordHead {
    pub project: ProjectName,
    /// From 1.
    pub revision: u64,
    /// Seconds since 1970, by the clock of the machine that wrote it.
    pub created: i64,
    pub by: String,
    pub command: String,
    /// SHA-256 of the content, hexadecimal.
    pub hash: String,
    #[serde(default)]
    pub state: RecordState,
    /// Services whose update is paused, or failed and is to be taken back; without any, all of such a record.
    #[serde(default)]
    pub stuck: BTreeSet<ServiceName>,
}

/// A deployed revision of a project.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub head: RecordHead,
    pub project: Project,
    pub scales: BTreeMap<ServiceName, u32>,
    /// Where each slot of the project was placed last, whichever revision this is.
    pub seats: BTreeMap<Slot, HostName>,
    /// Services that are to stay stopped until a verb starts them, whichever revision this is.
    pub halted: BTreeSet<ServiceName>,
}

impl Record {
    /// The same deployment, to be kept again with other seats or other services halted: it makes no new revision.
    pub fn redraft(&self, seats: BTreeMap<Slot, HostName>, halted: BTreeSet<ServiceName>) -> Draft {
        Draft {
            project: self.project.clone(),
            scales: self.scales.clone(),
            seats,
            halted,
            newest_seen: 0,
            created: self.head.created,
            by: self.head.by.clone(),
            command: self.head.command.clone(),
        }
    }

    /// What to deploy so that these services are again what they were in an earlier record, and all else is as it is now:
    /// the project, of which `current` has the values that no record keeps, and the replicas that are asked for beside it.
    pub fn going_back(
        &self,
        good: &Self,
        services: &BTreeSet<ServiceName>,
        current: &Project,
    ) -> (Project, BTreeMap<ServiceName, u32>) {
        let (mut project, mut scales, earlier) = (current.clone(), self.scales.clone(), good.scaled());
        for (name, service) in earlier.services.iter().filter(|(name, _)| services.contains(*name)) {
            project.services.insert(name.clone(), service.clone());
            match good.scales.get(name) {
                Some(count) => scales.insert(name.clone(), *count),
                None => scales.remove(name),
            };
            match earlier.config_hashes.get(name) {
                Some(hash) => project.config_hashes.insert(name.clone(), hash.clone()),
                None => project.config_hashes.remove(name),
            };
        }
        add_missing(&mut project.networks, earlier.networks);
        add_missing(&mut project.volumes, earlier.volumes);
        add_missing(&mut project.configs, earlier.configs);
        add_missing(&mut project.secrets, earlier.secrets);
        (project, scales)
    }

    /// Services whose update is paused, or failed and is not taken back yet.
    pub fn stuck(&self) -> BTreeSet<ServiceName> {
        match self.head.state {
            RecordState::Paused | RecordState::Failing if self.head.stuck.is_empty() => {
                self.project.services.keys().cloned().collect()
            }
            RecordState::Paused | RecordState::Failing => self.head.stuck.clone(),
            RecordState::Begun | RecordState::Good | RecordState::RolledBack => BTreeSet::new(),
        }
    }

    /// The project while services are stuck: these as the last good record has them, since that is known to run, and as many
    /// replicas of each as this one asks for.
    pub fn held(&self, good: &Self) -> Project {
        let mut project = self.going_back(good, &self.stuck(), &self.project).0;
        for (name, wanted) in self.scaled().services {
            let Some(service) = project.services.get_mut(&name) else { continue };
            match (service.mode(), wanted.mode()) {
                (Mode::Replicated, Mode::Replicated) => service.scale = Some(wanted.replicas()),
                // One replica on each host and so many of them are not to be had at once.
                (before, now) if before != now => *service = wanted,
                _ => {}
            }
        }
        project
    }

    /// The project with as many replicas as were asked for. Values that no record keeps are those of `current`.
    pub fn whole(&self, current: &Project) -> Project {
        let mut project = self.scaled();
        let pairs = [(&mut project.secrets, &current.secrets), (&mut project.configs, &current.configs)];
        for (kept, now) in pairs {
            for (key, object) in kept.iter_mut().filter(|(_, object)| object.environment.is_some() && object.content.is_none()) {
                object.content =
                    now.get(key).filter(|now| now.environment == object.environment).and_then(|now| now.content.clone());
            }
        }
        project
    }

    /// The project with as many replicas as were asked for.
    pub fn scaled(&self) -> Project {
        let mut project = self.project.clone();
        for (name, count) in &self.scales {
            if let Some(service) = project.services.get_mut(name) {
                service.scale = Some(*count);
            }
        }
        project
    }
}

fn add_missing<K: Ord, V>(to: &mut BTreeMap<K, V>, from: BTreeMap<K, V>) {
    for (key, value) in from {
        to.entry(key).or_insert(value);
    }
}

/// The content as it is written.
#[derive(Serialize, Deserialize)]
struct Body {
    format: u32,
    project: Project,
    #[serde(default)]
    scales: BTreeMap<ServiceName, u32>,
}

/// Which records go when a new one comes: all but the newest, and of these the last good one stays however old it is.
pub(super) fn to_prune(newest_first: impl Iterator<Item = RecordHead>, kept: usize) -> Vec<u64> {
    let mut last_good = None;
    let mut prune = Vec::new();
    for (index, head) in newest_first.enumerate() {
        if head.state == RecordState::Good {
            last_good.get_or_insert(head.revision);
        }
        if index >= kept && last_good != Some(head.revision) {
            prune.push(head.revision);
        }
    }
    prune
}

/// A draft on its way to a store: its bytes and all of its head but the revision.
pub(super) struct Encoded {
    pub head: RecordHead,
    /// See `Draft`.
    pub newest_seen: u64,
    /// JSON, not compressed.
    pub bytes: Vec<u8>,
    record: Record,
}

impl Encoded {
    pub fn of(draft: Draft) -> Self {
        let project = without_values(draft.project);
        let body = Body { format: FORMAT, project, scales: draft.scales };
        let bytes = serde_json::to_vec(&body).expect("a project's maps have text keys, so it is JSON");
        let digest = Sha256::digest(&bytes);
        let head = RecordHead {
            project: body.project.name.clone(),
            revision: 0,
            created: draft.created,
            by: draft.by,
            command: draft.command.chars().take(COMMAND_CHARS_MAX).collect(),
            hash: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            state: RecordState::Begun,
            stuck: BTreeSet::new(),
        };
        let record =
            Record { head: head.clone(), project: body.project, scales: body.scales, seats: draft.seats, halted: draft.halted };
        Self { head, newest_seen: draft.newest_seen, bytes, record }
    }

    /// Whether it is this record again, which may be kept as it is.
    pub fn is_again(&self, newest: &RecordHead) -> bool {
        newest.hash == self.head.hash && newest.revision >= self.newest_seen
    }

    /// Its head as the record after `newest`, 0 where there is none.
    pub fn head_after(&self, newest: u64) -> RecordHead {
        RecordHead { revision: newest.max(self.newest_seen) + 1, ..self.head.clone() }
    }

    /// What changes without a new revision.
    pub fn standing(&self) -> Standing {
        Standing { seats: self.record.seats.clone(), halted: self.record.halted.clone() }
    }

    /// The record that it becomes under this head.
    pub fn record(self, head: RecordHead) -> Record {
        Record { head, ..self.record }
    }
}

/// Reads a record's content; the reason if it cannot be.
pub(super) fn decode(head: RecordHead, bytes: &[u8], standing: Standing) -> Result<Record, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let format: Format = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if format.format > FORMAT {
        return Err("a newer mcompose wrote it".to_owned());
    }
    let body: Body = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Record { head, project: body.project, scales: body.scales, seats: standing.seats, halted: standing.halted })
}

/// What stands beside all records of a project: where its slots are, and which services are to stay stopped.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Standing {
    pub seats: BTreeMap<Slot, HostName>,
    pub halted: BTreeSet<ServiceName>,
}

impl Standing {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("slots are texts, so the maps are JSON")
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

/// Takes out what secrets and configs hold of their values where these come from the environment.
fn without_values(mut project: Project) -> Project {
    project.secrets.values_mut().for_each(|secret| secret.content = None);
    let from_environment = project.configs.values_mut().filter(|config| config.environment.is_some());
    from_environment.for_each(|config| config.content = None);
    project
}

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

pub(super) fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    GzDecoder::new(bytes).take(BODY_BYTES_MAX + 1).read_to_end(&mut whole).map_err(|error| error.to_string())?;
    if whole.len() as u64 > BODY_BYTES_MAX {
        return Err(format!("it is larger than {} MiB", BODY_BYTES_MAX >> 20));
    }
    Ok(whole)
}
