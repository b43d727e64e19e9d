//! The top-level elements beside services: networks, volumes, configs, secrets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::content::Content;

/// A number of bytes. Compose prints sizes as text of bytes (`"1610612736"`); both text and number are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(into = "String")]
pub struct ByteSize {
    pub bytes: i64,
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> String {
        size.bytes.to_string()
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Number(i64),
            Text(String),
        }
        let bytes = match Shape::deserialize(deserializer)? {
            Shape::Number(bytes) => bytes,
            Shape::Text(text) => {
                text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is not a number of bytes")))?
            }
        };
        Ok(Self { bytes })
    }
}

/// An entry of `networks`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// What the engine calls it.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    pub ipam: IpamConfig,
    pub external: bool,
    pub internal: bool,
    pub attachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv4: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_ipv6: Option<bool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// docker compose's own hash of it, for `com.docker.compose.config-hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpamConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<IpamPool>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpamPool {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, String>,
}

/// An entry of `volumes`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Volume {
    /// What the engine calls it.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    pub external: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// docker compose's own hash of it, for `com.docker.compose.config-hash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// It stands for a folder of the project that services write to, on hosts that are other machines than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
}

/// A folder of the project with something in it, which its services mount to write to. Each host gets a copy once; from then on what
/// is written there is data.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Folder {
    /// Its absolute path, which is mounted on a host that is this machine.
    pub path: String,
    /// What a new volume begins with; nothing where it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

impl Volume {
    /// Whether its content lives on one host only: Docker's `local` driver, unless its options mount something remote.
    pub fn is_host_local(&self) -> bool {
        let remote = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs"];
        let local_driver = self.driver.as_deref().is_none_or(|driver| driver == "local");
        local_driver && !self.driver_opts.get("type").is_some_and(|kind| remote.contains(&kind.as_str()))
    }
}

/// An entry of `configs` or `secrets`. The value of a secret is never part of it, only where the value comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileObject {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    pub external: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_driver: Option<String>,
}
