//! The way from project, hosts and world to a placement.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Misfit, Placement, Refusal, Request, Seat, Why};
use crate::project::{Availability, Host, HostName, Project, Slot};
use crate::world::{Sight, World};

/// Gives every slot of the project a host, or the reason why none. Same input, same bytes.
pub fn place(project: &Project, hosts: &[Host], world: &World, request: &Request) -> Placement {
    let mut placement = Placement::default();
    let mut load: BTreeMap<&HostName, u32> = BTreeMap::new();
    let mut held: BTreeMap<Slot, &HostName> = BTreeMap::new();
    for (host, container) in world.containers_of(&project.name) {
        if let Some(slot) = container.slot() {
            held.entry(slot).or_insert(host);
        }
    }
    let mut slots: Vec<Slot> = project.replicated_slots().collect();
    for (name, _) in project.services.iter().filter(|(_, service)| service.mode().is_global()) {
        slots.extend((1..=hosts.len()).filter_map(|number| Slot::new(name.clone(), u32::try_from(number).ok()?)));
    }
    let misfit = |host: &Host| match (world.hosts.get(&host.name), host.availability) {
        (Some(Sight::Seen(_)), Availability::Active) => None,
        (Some(Sight::Seen(_)), Availability::Pause) => Some(Misfit::Paused),
        (Some(Sight::Seen(_)), Availability::Drain) => Some(Misfit::Drained),
        (Some(Sight::Unreachable { .. }) | None, _) => Some(Misfit::Unreachable),
    };
    let mut open = Vec::new();
    for slot in slots {
        let stays = held
            .get(&slot)
            .copied()
            .filter(|name| hosts.iter().any(|host| host.name == **name && host.availability != Availability::Drain));
        match stays {
            Some(host) => {
                *load.entry(host).or_default() += 1;
                placement.seats.insert(slot, Seat { host: host.clone(), why: Why::Stays });
            }
            None => match request.known.get(&slot).filter(|host| world.seen(host.as_str()).is_none()) {
                Some(host) => {
                    let because = format!("host `{host}` is unreachable");
                    placement.seats.insert(slot, Seat { host: host.clone(), why: Why::Held { because } });
                }
                None => open.push(slot),
            },
        }
    }
    for slot in open {
        let is_global = project.services.get(&slot.service).is_some_and(|service| service.mode().is_global());
        let fitting: Vec<&Host> = hosts.iter().filter(|host| misfit(host).is_none()).collect();
        let free = |host: &&&Host| {
            !is_global || !placement.seats.iter().any(|(other, seat)| other.service == slot.service && seat.host == host.name)
        };
        match fitting.iter().filter(free).min_by_key(|host| load.get(&host.name).copied().unwrap_or_default()) {
            Some(host) => {
                *load.entry(&host.name).or_default() += 1;
                let why = Why::Best { fitting: fitting.len() as u32, hosts: hosts.len() as u32 };
                placement.seats.insert(slot, Seat { host: host.name.clone(), why });
            }
            None if is_global => {}
            None => {
                let misfits = hosts.iter().filter_map(|host| Some((host.name.clone(), misfit(host)?))).collect();
                placement.refused.insert(slot, Refusal { misfits: Arc::new(misfits) });
            }
        }
    }
    placement
}
