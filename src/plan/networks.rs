//! Networks: what each one is made as, and how a service's containers join them.

use std::collections::BTreeMap;

use super::compose::Compose;
use super::container::COMPOSE_VERSION;
use super::draft::Draft;
use super::{Cause, Note, Op, StepId, Subject};
use crate::project::{Attachment, Endpoint, EndpointIpam, HostName, Network, NetworkName, NetworkSpec, Service, ServiceName};
use crate::world::{Fabric, NetworkSeen, keys};

/// Options of this kind mean something to the bridge driver only.
const BRIDGE_OPTIONS: &str = "com.docker.network.bridge.";
/// The endpoint option that names the interface inside the container.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// Whether a declared network crosses hosts here: one overlay instead of a bridge on each host. Other drivers than `bridge` stay
/// what they are, on each host that needs them, but a declared overlay.
pub(super) fn crosses_hosts(fabric: &Fabric, network: &Network) -> bool {
    let is_plain = matches!(network.driver.as_deref(), None | Some("" | "bridge" | "default" | "overlay"));
    matches!(fabric, Fabric::Overlay { .. }) && is_plain && !network.external
}

/// The driver that the project's network with this engine name is made with; empty for the engine's default.
pub(super) fn driver_of<'a>(compose: &Compose<'a>, engine_name: &str) -> &'a str {
    let network = compose.project.networks.values().find(|network| network.name == engine_name);
    match network {
        Some(network) if crosses_hosts(compose.fabric, network) => "overlay",
        Some(network) => network.driver.as_deref().filter(|driver| *driver != "bridge").unwrap_or_default(),
        None => "",
    }
}

/// The request that makes a network, with docker compose's labels.
pub(super) fn spec(compose: &Compose<'_>, key: &NetworkName, network: &Network) -> NetworkSpec {
    let crosses = crosses_hosts(compose.fabric, network);
    let mut labels = network.labels.clone();
    labels.insert(keys::NETWORK.to_owned(), key.to_string());
    labels.insert(keys::PROJECT.to_owned(), compose.project.name.to_string());
    labels.insert(keys::VERSION.to_owned(), COMPOSE_VERSION.to_owned());
    let driver_opts = network.driver_opts.iter().filter(|(option, _)| !crosses || !option.starts_with(BRIDGE_OPTIONS));
    let mut spec = NetworkSpec {
        name: network.name.clone(),
        driver: if crosses { Some("overlay".to_owned()) } else { network.driver.clone() },
        driver_opts: driver_opts.map(|(option, value)| (option.clone(), value.clone())).collect(),
        ipam: network.ipam.clone(),
        internal: network.internal,
        attachable: crosses || network.attachable,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        labels,
    };
    // Before docker compose's hash is among them, as in all networks that were made before it was.
    let definition = definition_hash(&spec);
    spec.labels.insert(keys::SPEC.to_owned(), definition);
    if let Some(hash) = network.config_hash.as_ref().filter(|_| !crosses) {
        spec.labels.insert(keys::CONFIG_HASH.to_owned(), hash.clone());
    }
    spec
}

/// The fingerprint that a network carries, to tell later whether it is still what the file says.
fn definition_hash(spec: &NetworkSpec) -> String {
    let attributes = serde_json::to_value(spec).ok();
    let attributes = attributes.and_then(|value| value.as_object().cloned()).unwrap_or_default();
    crate::project::SpecHash::of(&attributes.into_iter().collect()).to_string()
}

/// Networks may do without IPv4 from this API version on (Engine API 1.48).
const ENABLE_IPV4_API: (u32, u32) = (1, 48);

/// Attributes that a network loses when it crosses hosts, or on an older engine.
pub(super) fn notes(compose: &Compose<'_>, key: &NetworkName, network: &Network) -> Vec<Note> {
    if !crosses_hosts(compose.fabric, network) {
        let mut hosts = compose.world.seen_hosts();
        let old = network.enable_ipv4.and_then(|_| hosts.find(|(_, seen)| !seen.engine.speaks(ENABLE_IPV4_API)));
        let inert = |host: &HostName| Note::Inert {
            service: format!("networks.{key}"),
            attribute: "enable_ipv4".to_owned(),
            why: format!("the engine on {host} is older than API 1.48: its networks have IPv4"),
        };
        return old.into_iter().map(|(host, _)| inert(host)).collect();
    }
    let options = network.driver_opts.keys().filter(|option| option.starts_with(BRIDGE_OPTIONS));
    let inert = |option: &String| Note::Inert {
        service: format!("networks.{key}"),
        attribute: format!("driver_opts.{option}"),
        why: "the network crosses hosts, so it is an overlay, which has no bridge of its own".to_owned(),
    };
    options.map(inert).collect()
}

/// A service's keys of networks, the main one first: the highest `priority`, then by name.
pub(super) fn by_priority(service: &Service) -> Vec<(&NetworkName, Option<&Attachment>)> {
    let mut networks: Vec<_> = service.networks.iter().map(|(key, attachment)| (key, attachment.as_ref())).collect();
    networks.sort_by_key(|(_, attachment)| std::cmp::Reverse(attachment.map_or(0, |attachment| attachment.priority)));
    networks
}

/// How a service's containers join their networks, by engine name, the main network first. The alias that is the container's
/// own name is put before these later.
pub(super) fn endpoints(compose: &Compose<'_>, name: &ServiceName, service: &Service) -> Vec<(String, Endpoint)> {
    let none = Attachment::default();
    let endpoint = |(key, attachment): (&NetworkName, Option<&Attachment>)| {
        let attachment = attachment.unwrap_or(&none);
        let mut aliases = vec![name.to_string()];
        let linked = compose.link_aliases(name.as_str()).map(str::to_owned);
        for alias in attachment.aliases.iter().cloned().chain(linked) {
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        let mut driver_opts = attachment.driver_opts.clone();
        if let Some(interface) = &attachment.interface_name {
            driver_opts.insert(INTERFACE_NAME.to_owned(), interface.clone());
        }
        let endpoint = Endpoint {
            aliases,
            links: external_links(service),
            ipam_config: addresses(attachment),
            mac_address: attachment.mac_address.clone(),
            driver_opts,
            gw_priority: (attachment.gw_priority != 0).then_some(attachment.gw_priority),
        };
        (engine_name(compose, key), endpoint)
    };
    by_priority(service).into_iter().map(endpoint).collect()
}

fn addresses(attachment: &Attachment) -> Option<EndpointIpam> {
    let ipam = EndpointIpam {
        ipv4_address: attachment.ipv4_address.clone(),
        ipv6_address: attachment.ipv6_address.clone(),
        link_local_ips: attachment.link_local_ips.clone(),
    };
    (ipam != EndpointIpam::default()).then_some(ipam)
}

/// `CONTAINER` or `CONTAINER:ALIAS` as `CONTAINER:ALIAS`.
fn external_links(service: &Service) -> Vec<String> {
    let link = |link: &String| if link.contains(':') { link.clone() } else { format!("{link}:{link}") };
    service.external_links.iter().map(link).collect()
}

/// `HostConfig.Links` for services on the engine's own bridge, the only network that has them. Elsewhere a link is an alias.
pub(super) fn legacy_links(compose: &Compose<'_>, service: &Service, host: &HostName) -> Vec<String> {
    if service.network_mode.as_deref() != Some("bridge") {
        return Vec::new();
    }
    let mut links = Vec::new();
    for link in &service.links {
        let (target, alias) = link.split_once(':').unwrap_or((link, link));
        let Some((name, linked)) = compose.project.services.get_key_value(target) else { continue };
        for (number, _) in compose.seats(name).filter(|(_, seat)| *seat == host) {
            links.push(format!("{}:{alias}", compose.container_name(name, linked, number)));
        }
    }
    links.extend(external_links(service));
    links
}

/// Hosts show an overlay network that was removed for a fraction of a second; one that does so for longer has lost its swarm.
const GONE_WAIT_SECS_MAX: u64 = 10;

/// A network's removal.
#[derive(Debug)]
pub(super) struct Removal {
    /// What waits for those who use it.
    pub(super) step: StepId,
    /// What whoever makes it anew waits for.
    pub(super) ends: Vec<StepId>,
}

/// Removes a network; one that crosses hosts is also waited for, on each host that shows it.
pub(super) fn remove(
    compose: &Compose<'_>,
    draft: &mut Draft,
    host: &HostName,
    network: &NetworkSeen,
    cause: &Cause,
    after: Vec<StepId>,
) -> Removal {
    let subject = || Subject::Network(network.name.clone());
    let op = Op::RemoveNetwork { name: network.name.clone() };
    let step = draft.step(host, subject(), op, cause.clone(), after);
    if network.scope != "swarm" {
        return Removal { step, ends: vec![step] };
    }
    let showing = sightings(compose, &network.name).into_iter().filter(|(_, seen)| seen.scope == "swarm");
    let wait = |(host, _): (&HostName, _)| {
        let op = Op::AwaitGone { network: network.name.clone(), at_most_secs: GONE_WAIT_SECS_MAX };
        let wait = draft.step(host, subject(), op, cause.clone(), vec![step]);
        draft.tolerate(wait);
        wait
    };
    Removal { step, ends: showing.map(wait).collect() }
}

/// Where a network of this engine name was seen: per host that shows it.
pub(super) fn sightings<'a>(compose: &Compose<'a>, engine_name: &str) -> BTreeMap<&'a HostName, &'a NetworkSeen> {
    let seen = compose.world.seen_hosts();
    seen.filter_map(|(host, seen)| Some((host, seen.networks.iter().find(|network| network.name == engine_name)?))).collect()
}

/// What the engine calls the project's network.
pub(super) fn engine_name(compose: &Compose<'_>, key: &NetworkName) -> String {
    compose.project.networks.get(key).map_or_else(|| key.to_string(), |network| network.name.clone())
}
