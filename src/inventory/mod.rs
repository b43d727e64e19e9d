//! `hosts.toml` to hosts. Reading takes the text and gives values; edits take text and give text, with the comments kept.

mod address;
mod discover;
pub mod edit;
mod failure;
mod read;

pub use address::{AddressDefaults, InvalidAddress, parse_address};
pub use discover::{Found, MissingInventory, Origin, Places, find};
pub use failure::{Fault, InventoryFailure};
pub use read::{Context, TEXT_BYTES_MAX, parse};

use std::collections::BTreeMap;

use crate::project::{Address, Host, HostName, Rebalancing};

/// What `hosts.toml` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Inventory {
    /// In the order of the file, `[defaults]` applied. At least one.
    pub hosts: Vec<Host>,
    pub network: NetworkSettings,
    pub supervise: SuperviseSettings,
}

/// `[supervise]`, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperviseSettings {
    pub heartbeat_ms: u64,
    /// Silence after which a host counts as lost.
    pub lost_after_ms: u64,
    pub look_every_ms: u64,
    pub rebalance: Rebalancing,
    /// Hosts that say another `lost_after` for themselves.
    pub lost_after_ms_of: BTreeMap<HostName, u64>,
}

impl Default for SuperviseSettings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 1_000,
            lost_after_ms: 5_000,
            look_every_ms: 30_000,
            rebalance: Rebalancing::Off,
            lost_after_ms_of: BTreeMap::new(),
        }
    }
}

/// `[network]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkSettings {
    pub driver: NetworkDriver,
}

/// How networks of a project are made when there are several hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkDriver {
    /// Nothing said: bridge on one host, overlay on more.
    #[default]
    Auto,
    /// Each host alone.
    Bridge,
    /// A swarm under all hosts.
    Overlay,
}

/// The name of the one host where no inventory is found.
pub const LOCAL_HOST: &str = "local";

impl Inventory {
    /// The inventory of those who have none: one engine, under the name `local`.
    pub fn of_one(address: Address) -> Self {
        let name = HostName::new(LOCAL_HOST).expect("a plain word is a host name");
        let host = Host::new(name, address);
        Self { hosts: vec![host], network: NetworkSettings::default(), supervise: SuperviseSettings::default() }
    }

    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name.as_str() == name)
    }

    /// The known name nearest to a mistyped one.
    pub fn suggest(&self, name: &str) -> Option<&str> {
        crate::project::nearest(name, self.hosts.iter().map(|host| host.name.as_str()))
    }
}
