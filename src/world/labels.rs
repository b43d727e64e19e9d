//! The only codec of container labels: docker compose's own, so that its tools show the project, and mcompose's.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::project::{ServiceName, Slot, SpecHash};

/// The labels' names.
pub mod keys {
    pub const PROJECT: &str = "com.docker.compose.project";
    pub const SERVICE: &str = "com.docker.compose.service";
    pub const NUMBER: &str = "com.docker.compose.container-number";
    pub const ONEOFF: &str = "com.docker.compose.oneoff";
    /// Of a container that is no replica: the hook that it runs.
    pub const HOOK: &str = "io.mcompose.hook";
    pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
    pub const IMAGE: &str = "com.docker.compose.image";
    pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
    pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
    pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
    pub const ENVIRONMENT_FILE: &str = "com.docker.compose.project.environment_file";
    pub const VERSION: &str = "com.docker.compose.version";
    pub const NETWORK: &str = "com.docker.compose.network";
    pub const VOLUME: &str = "com.docker.compose.volume";
    pub const REPLACE: &str = "com.docker.compose.replace";
    /// `io.mcompose.*` are mcompose's own.
    pub const SPEC: &str = "io.mcompose.spec";
    pub const REVISION: &str = "io.mcompose.revision";
    pub const RESERVATION: &str = "io.mcompose.reservation";
    /// On a volume of delivered content and its carriers: the content's digest.
    pub const CONTENT: &str = "io.mcompose.content";
    /// On such a volume of something encrypted: the id of its key.
    pub const SEALED: &str = "io.mcompose.content.sealed";
    /// On the mark that such a volume is not whole: its name.
    pub const CONTENT_OF: &str = "io.mcompose.content.of";
    /// On such a volume: the project that it was made for.
    pub const CONTENT_PROJECT: &str = "io.mcompose.content.project";
    /// On a volume that stands for a folder of the project: the digest of what it was filled with.
    pub const FOLDER: &str = "io.mcompose.folder";
    /// On marks of volumes that move: their names, separated by commas.
    pub const INCOMING: &str = "io.mcompose.incoming";
    pub const OUTGOING: &str = "io.mcompose.outgoing";
    pub const MOVED_FROM: &str = "io.mcompose.moved-from";
    pub const MOVED_TO: &str = "io.mcompose.moved-to";
}

/// What mcompose reads from a container's labels. `rest` keeps every label that is none of these.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Labels {
    pub project: Option<String>,
    pub service: Option<String>,
    pub number: Option<u32>,
    pub oneoff: bool,
    pub config_hash: Option<String>,
    /// Id of the image it was created from.
    pub image: Option<String>,
    /// `service:condition:restart,…`
    pub depends_on: Option<String>,
    pub working_dir: Option<String>,
    pub config_files: Option<String>,
    pub environment_file: Option<String>,
    pub version: Option<String>,
    pub spec: Option<SpecHash>,
    /// The record that it was created for.
    pub revision: Option<u64>,
    pub reservation: Option<Reservation>,
    pub rest: BTreeMap<String, String>,
}

/// What a replica was promised of its host (`deploy.resources.reservations`). Text form: `nano_cpus=500000000,memory=1024,kind.gpu=1`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reservation {
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    pub memory_bytes: i64,
    /// Generic resources by kind; GPUs under `gpu`.
    pub kinds: BTreeMap<String, i64>,
}

impl Labels {
    /// The slot that project, service and number name.
    pub fn slot(&self) -> Option<Slot> {
        let service = ServiceName::new(self.service.clone()?).ok()?;
        Some(Slot { service, number: NonZeroU32::new(self.number?)? })
    }

    /// Reads a container's labels. Damaged values count as absent.
    pub fn decode(labels: BTreeMap<String, String>) -> Self {
        let mut rest = labels;
        let mut take = |key: &str| rest.remove(key);
        Self {
            project: take(keys::PROJECT),
            service: take(keys::SERVICE),
            number: take(keys::NUMBER).and_then(|text| text.parse().ok()),
            oneoff: take(keys::ONEOFF).is_some_and(|text| text.eq_ignore_ascii_case("true")),
            config_hash: take(keys::CONFIG_HASH),
            image: take(keys::IMAGE),
            depends_on: take(keys::DEPENDS_ON),
            working_dir: take(keys::WORKING_DIR),
            config_files: take(keys::CONFIG_FILES),
            environment_file: take(keys::ENVIRONMENT_FILE),
            version: take(keys::VERSION),
            spec: take(keys::SPEC).map(SpecHash::from),
            revision: take(keys::REVISION).and_then(|text| text.parse().ok()),
            reservation: take(keys::RESERVATION).map(|text| Reservation::parse(&text)),
            // Made anew: what was taken out has left its room behind.
            rest: rest.into_iter().collect(),
        }
    }

    /// The labels as a container carries them; `decode` of the result is the same value.
    pub fn encode(&self) -> BTreeMap<String, String> {
        let mut labels = self.rest.clone();
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                labels.insert(key.to_owned(), value);
            }
        };
        put(keys::PROJECT, self.project.clone());
        put(keys::SERVICE, self.service.clone());
        put(keys::NUMBER, self.number.map(|number| number.to_string()));
        put(keys::ONEOFF, self.project.is_some().then(|| if self.oneoff { "True" } else { "False" }.to_owned()));
        put(keys::CONFIG_HASH, self.config_hash.clone());
        put(keys::IMAGE, self.image.clone());
        put(keys::DEPENDS_ON, self.depends_on.clone());
        put(keys::WORKING_DIR, self.working_dir.clone());
        put(keys::CONFIG_FILES, self.config_files.clone());
        put(keys::ENVIRONMENT_FILE, self.environment_file.clone());
        put(keys::VERSION, self.version.clone());
        put(keys::SPEC, self.spec.as_ref().map(SpecHash::to_string));
        put(keys::REVISION, self.revision.map(|revision| revision.to_string()));
        put(keys::RESERVATION, self.reservation.as_ref().map(Reservation::to_string));
        labels
    }
}

impl Reservation {
    fn parse(text: &str) -> Self {
        let mut reservation = Self::default();
        for (key, value) in text.split(',').filter_map(|part| part.split_once('=')) {
            match (key, value.parse::<i64>()) {
                ("nano_cpus", Ok(nanos)) => reservation.nano_cpus = nanos,
                ("memory", Ok(bytes)) => reservation.memory_bytes = bytes,
                (kind, Ok(count)) => {
                    reservation.kinds.insert(kind.trim_start_matches("kind.").to_owned(), count);
                }
                (_, Err(_)) => {}
            }
        }
        reservation
    }
}

impl std::fmt::Display for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nano_cpus={},memory={}", self.nano_cpus, self.memory_bytes)?;
        self.kinds.iter().try_for_each(|(kind, count)| write!(f, ",kind.{kind}={count}"))
    }
}
