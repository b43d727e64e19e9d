//! What can be told of a host from outside of its engine.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::project::HostName;

/// Of a swarm: managers' API, and gossip. The third, 4789/udp, answers nobody.
pub const PORTS: [u16; 2] = [2377, 7946];
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);

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
