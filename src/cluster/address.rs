//! The address at which the other members of a swarm reach a host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::project::{Address, Host, HostName};
use crate::world::{Swarm, World};

/// A name is looked up for this long.
const LOOKUP_WAIT_MAX: Duration = Duration::from_secs(5);

/// Address or why there is none, of every host that was asked about.
pub type Addresses = BTreeMap<HostName, Result<IpAddr, NoAddress>>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address at which other hosts reach `{host}` is not known: {why}")]
pub struct NoAddress {
    pub host: HostName,
    pub why: String,
}

/// Looks up the address of every host that was seen outside of a swarm; members have theirs already.
pub async fn resolve(hosts: &[Host], world: &World) -> Addresses {
    let mut addresses = Addresses::new();
    for host in hosts {
        let outside = world.seen(host.name.as_str()).is_some_and(|seen| seen.swarm == Swarm::Inactive);
        if outside {
            addresses.insert(host.name.clone(), resolve_one(host).await);
        }
    }
    addresses
}

async fn resolve_one(host: &Host) -> Result<IpAddr, NoAddress> {
    let no_address = |why: String| NoAddress { host: host.name.clone(), why };
    let text = advertised(host).ok_or_else(|| no_address(format!("`{}` is an address of this machine only", host.address)))?;
    if let Ok(address) = text.parse() {
        return checked(address, text).map_err(no_address);
    }
    let lookup = tokio::time::timeout(LOOKUP_WAIT_MAX, tokio::net::lookup_host((text, 0)));
    let found = lookup.await.map_err(|_| no_address(format!("looking up `{text}` took over {} s", LOOKUP_WAIT_MAX.as_secs())))?;
    let all: Vec<IpAddr> = found.map_err(|error| no_address(format!("`{text}`: {error}")))?.map(|address| address.ip()).collect();
    // Swarm members talk over one family; IPv4 is the one that every network has.
    let best = all.iter().find(|address| address.is_ipv4()).or(all.first());
    best.ok_or_else(|| no_address(format!("`{text}` has no address")))
        .and_then(|address| checked(*address, text).map_err(no_address))
}

/// `advertise`, else the host of the URL.
fn advertised(host: &Host) -> Option<&str> {
    let of_url = match &host.address {
        Address::Unix { .. } => None,
        Address::Tcp { host, .. } | Address::Ssh { host, .. } => Some(host.as_str()),
    };
    host.advertise.as_deref().or(of_url)
}

fn checked(address: IpAddr, text: &str) -> Result<IpAddr, String> {
    if address.is_loopback() || address.is_unspecified() {
        return Err(format!("`{text}` is {address}, which other hosts cannot reach"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::resolve_one;
    use crate::inventory::{Inventory, parse_address};

    async fn check(url: &str, advertise: Option<&str>, expect: &str) {
        let address = parse_address(url, &Default::default()).expect("a good URL");
        let mut host = Inventory::of_one(address).hosts.remove(0);
        host.advertise = advertise.map(str::to_owned);
        let got = match resolve_one(&host).await {
            Ok(address) => address.to_string(),
            Err(error) => error.why,
        };
        assert_eq!(got, expect);
    }

    #[tokio::test]
    async fn a_host_is_advertised_at_what_it_says_or_at_its_url() {
        check("ssh://me@10.0.0.1:2222", None, "10.0.0.1").await;
        check("tcp://[fd00::1]:2375", None, "fd00::1").await;
        check("ssh://10.0.0.1", Some("192.168.0.1"), "192.168.0.1").await;
        check("unix:///run/docker.sock", Some("192.168.0.1"), "192.168.0.1").await;
    }

    #[tokio::test]
    async fn an_address_of_this_machine_only_is_none() {
        check("unix:///run/docker.sock", None, "`unix:///run/docker.sock` is an address of this machine only").await;
        check("ssh://127.0.0.2", None, "`127.0.0.2` is 127.0.0.2, which other hosts cannot reach").await;
        check("tcp://10.0.0.1", Some("0.0.0.0"), "`0.0.0.0` is 0.0.0.0, which other hosts cannot reach").await;
    }
}
