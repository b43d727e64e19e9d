//! Whether the world is what the project asks for, asked without any of the planner's logic.
//!
//! After a plan was applied well, and nothing was left out of it, this finds nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::placement::Placement;
use crate::project::{Condition, HostName, Project, Service, ServiceName, Slot};
use crate::world::{Container, Fabric, MountSeen, NetworkSeen, State, World};

/// One way in which the world is not what the project asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// No container fills the slot on its host.
    NoReplica {
        slot: Slot,
        host: HostName,
    },
    /// A container claims a slot that another one fills, or that nobody asked for.
    Extra {
        host: HostName,
        container: String,
    },
    /// It fills its slot on a host that is not the slot's.
    WrongHost {
        slot: Slot,
        host: HostName,
        is_on: HostName,
    },
    WrongName {
        slot: Slot,
        host: HostName,
        name: String,
    },
    WrongImage {
        slot: Slot,
        host: HostName,
        image: String,
    },
    /// A label that tools go by says something else than the project.
    WrongLabel {
        slot: Slot,
        host: HostName,
        label: String,
    },
    /// It neither runs nor is done.
    NotRunning {
        slot: Slot,
        host: HostName,
        state: String,
    },
    /// It is not on a network that the service names.
    NotOnNetwork {
        slot: Slot,
        host: HostName,
        network: String,
    },
    /// It does not mount a volume that the service names.
    NotMounted {
        slot: Slot,
        host: HostName,
        volume: String,
    },
    /// It runs without a port that the service publishes.
    NotPublished {
        slot: Slot,
        host: HostName,
        port: u16,
    },
    NoNetwork {
        host: HostName,
        network: String,
    },
    NoVolume {
        host: HostName,
        volume: String,
    },
}

/// Everything that is wrong on the hosts that were seen, in order. Slots without a seat and hosts that did not answer are not
/// judged.
pub fn check(project: &Project, placement: &Placement, world: &World, fabric: &Fabric) -> Vec<Fault> {
    let mut faults = Vec::new();
    let claims = claims(project, world);
    for (slot, seat) in &placement.seats {
        let Some(service) = project.services.get(&slot.service) else { continue };
        if world.seen(seat.host.as_str()).is_none() {
            continue;
        }
        let key = (slot.service.as_str(), slot.number.get());
        let mut here = 0;
        for (host, container) in claims.get(&key).into_iter().flatten() {
            if **host != seat.host {
                let fault = Fault::WrongHost { slot: slot.clone(), host: seat.host.clone(), is_on: (*host).clone() };
                faults.push(fault);
                continue;
            }
            here += 1;
            if here > 1 {
                faults.push(Fault::Extra { host: (*host).clone(), container: container.name.clone() });
            } else {
                faults.extend(judge(project, slot, service, &seat.host, container));
                faults.extend(judge_surroundings(project, slot, service, &seat.host, container, world, fabric));
            }
        }
        if here == 0 {
            faults.push(Fault::NoReplica { slot: slot.clone(), host: seat.host.clone() });
        }
    }
    faults.extend(unasked(project, placement, &claims));
    faults.sort();
    faults.dedup();
    faults
}

type Claims<'a> = BTreeMap<(&'a str, u32), Vec<(&'a HostName, &'a Container)>>;

/// The project's containers by the service and number that they claim.
fn claims<'a>(project: &Project, world: &'a World) -> Claims<'a> {
    let mut claims = Claims::new();
    for (host, seen) in world.seen_hosts() {
        for container in &seen.containers {
            let labels = &container.labels;
            if labels.project.as_deref() != Some(project.name.as_str()) || labels.oneoff {
                continue;
            }
            if let (Some(service), Some(number)) = (&labels.service, labels.number) {
                claims.entry((service, number)).or_default().push((host, container));
            }
        }
    }
    claims
}

/// Containers of the project's services in slots that have neither a seat nor a refusal.
fn unasked(project: &Project, placement: &Placement, claims: &Claims<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for ((service, number), containers) in claims {
        let Some((name, _)) = project.services.get_key_value(*service) else { continue };
        let slot = Slot::new(name.clone(), *number);
        let is_asked = slot.is_some_and(|slot| placement.seats.contains_key(&slot) || placement.refused.contains_key(&slot));
        if !is_asked {
            let extra = containers
                .iter()
                .map(|(host, container)| Fault::Extra { host: (*host).clone(), container: container.name.clone() });
            faults.extend(extra);
        }
    }
    faults
}

/// The container by itself.
fn judge(project: &Project, slot: &Slot, service: &Service, host: &HostName, container: &Container) -> Vec<Fault> {
    let mut faults = Vec::new();
    let (slot_, host_) = (|| slot.clone(), || host.clone());
    let separator = if project.compatibility { '_' } else { '-' };
    let generated = format!("{}{separator}{}{separator}{}", project.name, slot.service, slot.number);
    let own = service.container_name.as_ref().unwrap_or(&generated);
    // One that was started beside its predecessor may have kept the name that it was made under.
    let beside = container.name.split_once('_').filter(|(id, _)| id.len() == 12).map(|(_, name)| name);
    if container.name != *own && !(container.state == State::Running && beside == Some(own)) {
        faults.push(Fault::WrongName { slot: slot_(), host: host_(), name: container.name.clone() });
    }
    let built = format!("{}{separator}{}", project.name, slot.service);
    if container.image != *service.image.as_ref().unwrap_or(&built) {
        faults.push(Fault::WrongImage { slot: slot_(), host: host_(), image: container.image.clone() });
    }
    for (label, value) in &service.labels {
        if container.labels.rest.get(label) != Some(value) {
            faults.push(Fault::WrongLabel { slot: slot_(), host: host_(), label: label.clone() });
        }
    }
    let is_done = container.state == State::Exited { code: Some(0) } && may_be_done(project, &slot.service, service);
    if !is_done && !matches!(container.state, State::Running | State::Restarting) {
        faults.push(Fault::NotRunning { slot: slot_(), host: host_(), state: container.state.to_string() });
    }
    if container.state == State::Running && service.network_mode.is_none() {
        let fixed = service.ports.iter().filter_map(|port| port.published.as_deref()?.parse::<u16>().ok());
        for port in fixed.filter(|port| *port != 0) {
            if !container.ports.iter().any(|seen| seen.host_port == Some(port)) {
                faults.push(Fault::NotPublished { slot: slot_(), host: host_(), port });
            }
        }
    }
    faults
}

fn may_be_done(project: &Project, name: &ServiceName, service: &Service) -> bool {
    let waits_for_it = |other: &Service| {
        other.depends_on.iter().any(|(needed, how)| needed == name && how.condition == Condition::ServiceCompletedSuccessfully)
    };
    service.mode().is_job() || project.services.values().any(waits_for_it)
}

/// Its networks, volumes and image.
fn judge_surroundings(
    project: &Project,
    slot: &Slot,
    service: &Service,
    host: &HostName,
    container: &Container,
    world: &World,
    fabric: &Fabric,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(seen) = world.seen(host.as_str()) else { return faults };
    for network in service.networks.keys().filter_map(|key| project.networks.get(key)) {
        let is_on_host = seen.networks.iter().any(|other| other.name == network.name);
        let is_it = |other: &NetworkSeen| other.name == network.name && other.scope == "swarm";
        let crosses = matches!(fabric, Fabric::Overlay { .. });
        let is_somewhere = || crosses && world.seen_hosts().any(|(_, seen)| seen.networks.iter().any(is_it));
        if !is_on_host && !is_somewhere() {
            faults.push(Fault::NoNetwork { host: host.clone(), network: network.name.clone() });
        }
        if !container.networks.contains_key(&network.name) {
            let fault = Fault::NotOnNetwork { slot: slot.clone(), host: host.clone(), network: network.name.clone() };
            faults.push(fault);
        }
    }
    for mount in service.volumes.iter().filter(|mount| mount.kind == "volume") {
        let Some(volume) = mount.source.as_deref().and_then(|key| project.volumes.get(key)) else { continue };
        let is_folder = |path: &str| {
            let is_it = |other: &MountSeen| other.kind == "bind" && other.source.trim_end_matches('/') == path;
            container.mounts.iter().any(|other| is_it(other) && other.target == mount.target)
        };
        let has_volume = seen.volumes.iter().any(|other| other.name == volume.name);
        // On the host that is the project's own machine it is the folder itself.
        if !has_volume && volume.folder.as_ref().is_some_and(|folder| is_folder(&folder.path)) {
            continue;
        }
        if !has_volume {
            faults.push(Fault::NoVolume { host: host.clone(), volume: volume.name.clone() });
        }
        if !container.mounts.iter().any(|other| other.name == volume.name && other.target == mount.target) {
            let fault = Fault::NotMounted { slot: slot.clone(), host: host.clone(), volume: volume.name.clone() };
            faults.push(fault);
        }
    }
    if let Some(image) = seen.images.get(&container.image)
        && image.id != container.image_id
    {
        faults.push(Fault::WrongImage { slot: slot.clone(), host: host.clone(), image: container.image_id.clone() });
    }
    faults
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReplica { slot, host } => write!(f, "{slot} is not on {host}"),
            Self::Extra { host, container } => write!(f, "{container} on {host} fills no slot that was asked for"),
            Self::WrongHost { slot, host, is_on } => write!(f, "{slot} is on {is_on}, not on {host}"),
            Self::WrongName { slot, host, name } => write!(f, "{slot} on {host} is named {name}"),
            Self::WrongImage { slot, host, image } => write!(f, "{slot} on {host} runs image {image}"),
            Self::WrongLabel { slot, host, label } => write!(f, "{slot} on {host} has another label {label}"),
            Self::NotRunning { slot, host, state } => write!(f, "{slot} on {host} is {state}"),
            Self::NotOnNetwork { slot, host, network } => write!(f, "{slot} on {host} is not on network {network}"),
            Self::NotMounted { slot, host, volume } => write!(f, "{slot} on {host} does not mount volume {volume}"),
            Self::NotPublished { slot, host, port } => write!(f, "{slot} on {host} does not publish port {port}"),
            Self::NoNetwork { host, network } => write!(f, "network {network} is not on {host}"),
            Self::NoVolume { host, volume } => write!(f, "volume {volume} is not on {host}"),
        }
    }
}
