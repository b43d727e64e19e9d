//! A machine with a Docker engine, as the inventory lists it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::HostName;

/// One entry of `[hosts]` in the inventory, with `[defaults]` applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: HostName,
    pub address: Address,
    /// Nothing where the inventory leaves the choice of managers to mcompose.
    pub role: Option<Role>,
    pub availability: Availability,
    /// `node.labels.*` of placement constraints.
    pub labels: BTreeMap<String, String>,
    /// The address that other hosts reach this one at (swarm's advertise address); else the one in `address`.
    pub advertise: Option<String>,
    /// SSH private key file.
    pub identity: Option<String>,
    /// SSH jump hosts, outermost first, each `[user@]host[:port]`.
    pub jump: Vec<String>,
}

impl Host {
    /// One of which no more is said than where it is.
    pub fn new(name: HostName, address: Address) -> Self {
        Self {
            name,
            address,
            role: None,
            availability: Availability::Active,
            labels: BTreeMap::new(),
            advertise: None,
            identity: None,
            jump: Vec::new(),
        }
    }

    /// Whether this machine's own engine is meant, so that paths of this machine are paths of the host.
    pub fn is_local(&self) -> bool {
        matches!(self.address, Address::Unix { .. })
    }

    pub fn takes_new(&self) -> bool {
        self.availability == Availability::Active
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Address {
    /// `unix:///path`
    Unix { path: String },
    /// `tcp://host:port`, with TLS where client certificates are named.
    Tcp { host: String, port: u16, tls: Option<Tls> },
    /// `ssh://[user@]host[:port]`
    Ssh { user: Option<String>, host: String, port: Option<u16> },
}

/// Paths of PEM files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tls {
    pub ca: String,
    pub cert: Option<String>,
    pub key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Manager,
    Worker,
}

/// Whether a host takes replicas: all, only those it has, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    #[default]
    Active,
    Pause,
    Drain,
}

/// What a supervisor does where hosts that joined or came back leave the loads uneven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rebalancing {
    #[default]
    Off,
    /// It says which replicas would move.
    Plan,
    /// It moves them, a few at a time.
    Auto,
}

impl std::fmt::Display for Address {
    /// The URL as it stands in the inventory.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{path}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{}:{port}", bracketed(host)),
            Self::Ssh { user, host, port } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&bracketed(host))?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        })
    }
}

impl std::fmt::Display for Availability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        })
    }
}
