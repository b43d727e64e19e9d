//! The create request of one slot: what all slots of its service have in common, once, and what the slot adds.
//!
//! A plan for tens of thousands of replicas holds one request for each; most of their bytes are the same for all replicas of a
//! service.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config_hash;
use crate::project::{ContainerSpec, HashPart};
use crate::world::keys;

/// Serialises as the whole request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "ContainerSpec", into = "ContainerSpec")]
pub struct SlotSpec {
    pub(super) common: Arc<ContainerSpec>,
    pub(super) own: Own,
}

/// What one slot adds to the common request.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    /// `com.docker.compose.container-number`
    pub(super) number: Option<u32>,
    /// `com.docker.compose.image`
    pub(super) image_id: Option<Arc<str>>,
    /// `com.docker.compose.replace`
    pub(super) replaces: Option<String>,
    /// The slot's name for its container, by which it is found on its main network.
    pub(super) alias: Option<Arc<str>>,
    /// Of a container that shares something with others, whose ids docker compose's hash has.
    pub(super) beside: Option<Beside>,
}

/// What the hash is made of.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    pub(super) parts: Vec<HashPart>,
    /// Names of containers by service.
    pub(super) containers: BTreeMap<String, String>,
}

impl SlotSpec {
    /// The request as the engine takes it.
    pub fn whole(&self) -> ContainerSpec {
        let mut spec = ContainerSpec::clone(&self.common);
        let mut label = |key: &str, value: Option<String>| value.and_then(|value| spec.labels.insert(key.to_owned(), value));
        label(keys::NUMBER, self.own.number.map(|number| number.to_string()));
        label(keys::IMAGE, self.own.image_id.as_deref().map(str::to_owned));
        label(keys::REPLACE, self.own.replaces.clone());
        if let Some(alias) = &self.own.alias {
            for endpoint in spec.networking_config.endpoints_config.values_mut() {
                endpoint.aliases.insert(0, alias.to_string());
            }
        }
        spec
    }

    /// Names of the containers whose ids `whole_beside` asks for.
    pub fn neighbours(&self) -> impl Iterator<Item = &str> {
        self.own.beside.iter().flat_map(|beside| beside.containers.values()).map(String::as_str)
    }

    /// The request with docker compose's hash of a container that shares something with others: `ids` by their names.
    pub fn whole_beside(&self, ids: &BTreeMap<String, String>) -> ContainerSpec {
        let mut spec = self.whole();
        if let Some(beside) = &self.own.beside {
            let id = |service: &str| ids.get(beside.containers.get(service)?).map(String::as_str);
            let hash = config_hash::of_parts(&beside.parts, &id);
            spec.labels.extend(hash.map(|hash| (keys::CONFIG_HASH.to_owned(), hash)));
        }
        spec
    }
}

impl PartialEq for SlotSpec {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

impl From<ContainerSpec> for SlotSpec {
    fn from(spec: ContainerSpec) -> Self {
        Self { common: Arc::new(spec), own: Own::default() }
    }
}

impl From<SlotSpec> for ContainerSpec {
    fn from(spec: SlotSpec) -> Self {
        spec.whole()
    }
}
