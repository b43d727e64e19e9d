//! What can be told of a host from outside of its engine.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::engine::{Engines, free_of_df};
use crate::project::{Address, Host, HostName};
use crate::world::World;

/// Of a swarm: managers' API, and gossip. The third, 4789/udp, answers nobody.
pub const PORTS: [u16; 2] = [2377, 7946];
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);
const STORAGE_WAIT_MAX: Duration = Duration::from_secs(5);

/// By host; hosts that nothing is known of may be missing.
pub type Probes = BTreeMap<HostName, Probe>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probe {
    /// As this machine sees them; other hosts may see more, or less.
    pub ports: BTreeMap<u16, PortSign>,
    /// On the file system of the engine's data folder, where that could be told.
    pub storage_free_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSign {
    Open,
    /// Nobody listens; the host itself said so.
    Refused,
    /// No answer.
    Silent,
}

/// Tries the swarm's TCP ports at each address, all at once.
pub async fn probe_ports(addresses: &BTreeMap<HostName, IpAddr>) -> Probes {
    let mut tries = JoinSet::new();
    for (host, address) in addresses {
        for port in PORTS {
            let (host, address) = (host.clone(), *address);
            tries.spawn(async move { (host, port, sign_of(address, port).await) });
        }
    }
    let mut probes = Probes::new();
    while let Some(end) = tries.join_next().await {
        if let Ok((host, port, sign)) = end {
            probes.entry(host).or_default().ports.insert(port, sign);
        }
    }
    probes
}

async fn sign_of(address: IpAddr, port: u16) -> PortSign {
    match timeout(CONNECT_WAIT_MAX, TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => PortSign::Open,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => PortSign::Refused,
        Ok(Err(_)) | Err(_) => PortSign::Silent,
    }
}

/// Bytes left where engines keep their data. The Engine API does not tell it: hosts over SSH are asked for it by a command, those of
/// this very machine here, and others are left out.
pub async fn probe_storage(engines: &Engines, world: &World) -> BTreeMap<HostName, u64> {
    let asked = world.seen_hosts().filter_map(|(host, seen)| {
        let engine = engines.get(host)?;
        Some(async move { Some((host.clone(), engine.storage_left(&seen.engine.root_dir).await?)) })
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The same of engines on this very machine.
pub async fn probe_own_storage(hosts: &[Host], world: &World, hostname: &str) -> BTreeMap<HostName, u64> {
    let mut free = BTreeMap::new();
    for host in hosts.iter().filter(|host| matches!(host.address, Address::Unix { .. })) {
        // A socket may be forwarded from another machine.
        let Some(seen) = world.seen(host.name.as_str()).filter(|seen| seen.engine.hostname == hostname) else { continue };
        if let Some(bytes) = free_bytes(&seen.engine.root_dir).await {
            free.insert(host.name.clone(), bytes);
        }
    }
    free
}

async fn free_bytes(path: &str) -> Option<u64> {
    let df = Command::new("df").args(["-Pk", "--", path]).env("LC_ALL", "C").kill_on_drop(true).output();
    let output = timeout(STORAGE_WAIT_MAX, df).await.ok()?.ok()?;
    free_of_df(&String::from_utf8_lossy(&output.stdout))
}
