//! What must hold of a placement, said a second time and as simply as possible: it shares nothing with the code it judges.

use std::collections::BTreeMap;

use mcompose::placement::{Placement, Request, Why};
use mcompose::project::{Availability, Host, HostName, Project, Service, Slot};
use mcompose::world::{Container, Fabric, State, World};

/// Everything that is wrong with a placement.
pub fn faults(project: &Project, hosts: &[Host], world: &World, request: &Request, placement: &Placement) -> Vec<String> {
    let court = Court { project, hosts, world, request, placement };
    let mut faults = court.every_slot_is_decided();
    for (slot, seat) in &placement.seats {
        let Some(host) = hosts.iter().find(|host| host.name == seat.host) else {
            faults.push(format!("{slot} is on {}, which is no host", seat.host));
            continue;
        };
        let against = court.against(slot, host, Some(slot));
        let has_container = court.containers(slot).iter().any(|(name, _)| **name == host.name);
        let is_done = court.service(slot).mode().is_job()
            && court
                .containers(slot)
                .iter()
                .any(|(name, container)| **name == host.name && container.state == State::Exited { code: Some(0) });
        let (is_fine, stance) = match &seat.why {
            Why::Stays if is_done => (true, "done"),
            Why::Stays => (has_container && against.iter().all(|fault| fault == "paused"), "stays"),
            Why::Held { .. } => (
                court.is_known_there(slot, host)
                    || (has_container
                        && (!against.is_empty() && court.has_volume(slot)
                            || court.volume_is_twofold(slot)
                            || court.has_volume(slot) && request.fabric == Fabric::Bridge)),
                "is held",
            ),
            _ => (!has_container && against.is_empty(), "is new"),
        };
        if !is_fine {
            faults.push(format!("{slot} {stance} on {}: {against:?}", host.name));
        }
    }
    faults.extend(court.no_refusal_is_for_nothing());
    faults.extend(court.what_is_known_of_silent_hosts_is_held());
    faults
}

struct Court<'a> {
    project: &'a Project,
    hosts: &'a [Host],
    world: &'a World,
    request: &'a Request,
    placement: &'a Placement,
}

impl<'a> Court<'a> {
    fn service(&self, slot: &Slot) -> &'a Service {
        &self.project.services[&slot.service]
    }

    fn containers(&self, slot: &Slot) -> Vec<(&'a HostName, &'a Container)> {
        self.world.containers_of(&self.project.name).filter(|(_, container)| container.slot().as_ref() == Some(slot)).collect()
    }

    fn every_slot_is_decided(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for slot in self.project.replicated_slots() {
            if self.placement.seats.contains_key(&slot) == self.placement.refused.contains_key(&slot) {
                faults.push(format!("{slot} is placed and refused, or neither"));
            }
        }
        for slot in self.placement.seats.keys().chain(self.placement.refused.keys()) {
            let service = self.service(slot);
            if !service.mode().is_global() && slot.number.get() > service.replicas() {
                faults.push(format!("nobody asked for {slot}"));
            }
        }
        let mut globals: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for (slot, seat) in self.placement.seats.iter().filter(|(slot, _)| self.service(slot).mode().is_global()) {
            *globals.entry((slot.service.as_str(), seat.host.as_str())).or_default() += 1;
        }
        faults.extend(globals.iter().filter(|(_, count)| **count > 1).map(|(at, _)| format!("{at:?} has several replicas")));
        faults
    }

    /// Reasons against the slot on the host; `seated`: it is there in the placement and does not count against itself.
    fn against(&self, slot: &Slot, host: &Host, seated: Option<&Slot>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut fault = |is: bool, text: &str| faults.extend(is.then(|| text.to_owned()));
        let service = self.service(slot);
        let Some(seen) = self.world.seen(host.name.as_str()) else { return vec!["unreachable".to_owned()] };
        fault(host.availability == Availability::Drain, "drained");
        fault(host.availability == Availability::Pause, "paused");
        for constraint in &service.placement().constraints {
            fault(!self.is_met(constraint, host), constraint);
        }
        if let Some(platform) = &service.platform {
            fault(self.hosts.len() > 1 && *platform != format!("linux/{}", seen.engine.arch), "platform");
        }
        let strangers: Vec<&Container> = seen
            .containers
            .iter()
            .filter(|container| !self.is_replica(container) && !matches!(container.state, State::Exited { .. }))
            .collect();
        let neighbours: Vec<&Slot> = self
            .placement
            .seats
            .iter()
            .filter(|(other, seat)| seat.host == host.name && Some(*other) != seated)
            .map(|(other, _)| other)
            .collect();
        // What data holds on a host is there whatever else stays there; only who is new has to leave it its room.
        let is_held = |slot: &Slot| self.placement.seats.get(slot).is_some_and(|seat| matches!(seat.why, Why::Held { .. }));
        let stays = seated.and_then(|slot| self.placement.seats.get(slot)).is_some_and(|seat| seat.why == Why::Stays);
        let counts = |other: &&Slot| !(self.is_done(other) || stays && is_held(other));
        let neighbours: Vec<&Slot> = neighbours.into_iter().filter(counts).collect();
        let same = neighbours.iter().filter(|other| other.service == slot.service).count();
        if let Some(limit) = service.placement().max_replicas_per_node.filter(|limit| *limit > 0) {
            fault(same >= limit as usize, "max replicas");
        }
        let memory = |service: &Service| -> i64 {
            let reserved = service.deploy.as_ref().and_then(|deploy| deploy.resources.reservations.as_ref());
            reserved.and_then(|reserved| reserved.memory).map_or(0, |memory| memory.bytes)
        };
        let of_strangers: i64 = strangers
            .iter()
            .filter_map(|stranger| stranger.labels.reservation.as_ref())
            .map(|reserved| reserved.memory_bytes)
            .sum();
        let of_neighbours: i64 = neighbours.iter().map(|other| memory(self.service(other))).sum();
        let needed = memory(service);
        fault(needed > 0 && of_strangers + of_neighbours + needed > seen.engine.memory_bytes, "memory");
        let mut taken: Vec<u16> =
            strangers.iter().flat_map(|stranger| &stranger.ports).filter_map(|port| port.host_port).collect();
        let fixed = |service: &Service| -> Vec<u16> {
            service.ports.iter().filter_map(|port| port.published.as_ref()?.parse().ok()).collect()
        };
        taken.extend(neighbours.iter().flat_map(|other| fixed(self.service(other))));
        fault(fixed(service).iter().any(|port| taken.contains(port)), "port");
        if let Some(name) = &service.container_name {
            fault(same > 0 || strangers.iter().any(|stranger| stranger.name == *name), "container name");
        }
        if let Some(leader) = service.network_mode.as_ref().and_then(|mode| mode.strip_prefix("service:")) {
            let is_there =
                |(other, seat): (&Slot, &mcompose::placement::Seat)| other.service.as_str() == leader && seat.host == host.name;
            fault(!self.placement.seats.iter().any(is_there), "not beside");
        }
        for key in self.volumes(service).filter(|_| !service.mode().is_global()) {
            for (other, seat) in &self.placement.seats {
                let shares =
                    !self.service(other).mode().is_global() && self.volumes(self.service(other)).any(|other| other == key);
                let is_split_by_force = matches!(seat.why, Why::Held { .. });
                fault(shares && seat.host != host.name && !is_split_by_force, &format!("volume {key} is with {other}"));
            }
            let homes: Vec<&HostName> = self
                .world
                .seen_hosts()
                .filter(|(_, seen)| seen.volumes.iter().any(|volume| volume.name == self.project.volumes[key].name))
                .map(|(name, _)| name)
                .collect();
            fault(!homes.is_empty() && !homes.contains(&&host.name), &format!("volume {key} is on {homes:?}"));
        }
        if self.request.fabric == Fabric::Bridge && self.hosts.len() > 1 && !service.mode().is_global() {
            for (other, seat) in &self.placement.seats {
                let others = self.service(other);
                let shares = other.service != slot.service
                    && !others.mode().is_global()
                    && service.networks.keys().any(|network| others.networks.contains_key(network));
                let is_held = matches!(seat.why, Why::Held { .. }) || self.is_done(other);
                fault(shares && !is_held && seat.host != host.name, "network");
            }
        }
        faults
    }

    fn is_done(&self, slot: &Slot) -> bool {
        self.service(slot).mode().is_job()
            && self.placement.seats.get(slot).is_some_and(|seat| seat.why == Why::Stays)
            && self.containers(slot).iter().any(|(_, container)| container.state == State::Exited { code: Some(0) })
    }

    /// Of a service that the project has, whatever its number.
    fn is_replica(&self, container: &Container) -> bool {
        let is_ours = container.labels.project.as_deref() == Some(self.project.name.as_str());
        is_ours && container.slot().is_some_and(|slot| self.project.services.contains_key(&slot.service))
    }

    fn volumes(&self, service: &'a Service) -> impl Iterator<Item = &'a str> {
        service.volumes.iter().filter_map(|mount| mount.source.as_deref())
    }

    fn is_met(&self, constraint: &str, host: &Host) -> bool {
        let (key, is_equal, value) = match constraint.split_once("==") {
            Some((key, value)) => (key, true, value),
            None => constraint.split_once("!=").map(|(key, value)| (key, false, value)).expect("the generator writes operators"),
        };
        let has = match key {
            "node.hostname" => host.name.as_str(),
            _ => host.labels.get(key.trim_start_matches("node.labels.")).map_or("", String::as_str),
        };
        (has == value) == is_equal
    }

    fn is_known_there(&self, slot: &Slot, host: &Host) -> bool {
        self.world.seen(host.name.as_str()).is_none() && self.request.known.get(slot) == Some(&host.name)
    }

    /// Replicas of what was a global service once have their data on several hosts.
    fn volume_is_twofold(&self, slot: &Slot) -> bool {
        let copies = |key: &str| {
            let name = &self.project.volumes[key].name;
            self.world.seen_hosts().filter(|(_, seen)| seen.volumes.iter().any(|volume| volume.name == *name)).count()
        };
        self.volumes(self.service(slot)).any(|key| copies(key) > 1)
    }

    fn has_volume(&self, slot: &Slot) -> bool {
        self.volumes(self.service(slot)).next().is_some()
    }

    /// A slot is refused only where every host has something against it. Those beside others are left out: they were refused
    /// with the others in mind.
    fn no_refusal_is_for_nothing(&self) -> Vec<String> {
        // A refused slot whose container is left alone takes room that the others were not offered; and a replica that waits
        // for the one that it must be beside keeps its room until that has decided.
        let waits = |slot: &Slot| self.project.services.get(&slot.service).is_some_and(|service| service.network_mode.is_some());
        let mut containers = self.world.containers_of(&self.project.name);
        if self.placement.refused.keys().any(|slot| !self.containers(slot).is_empty())
            || containers.any(|(_, container)| container.slot().is_some_and(|slot| waits(&slot)))
        {
            return Vec::new();
        }
        let refused = self.placement.refused.iter().filter(|(slot, _)| {
            let service = self.service(slot);
            !service.mode().is_global() && service.network_mode.is_none() && self.request.fabric != Fabric::Bridge
        });
        let mut faults = Vec::new();
        for (slot, refusal) in refused {
            for host in self.hosts {
                let misfit = refusal.misfits.get(&host.name);
                let against = self.against(slot, host, None);
                if misfit.is_none() || (against.is_empty() && !self.volumes(self.service(slot)).any(|_| true)) {
                    faults.push(format!("{slot} is refused on {} for {misfit:?}, but {against:?}", host.name));
                }
            }
        }
        faults
    }

    fn what_is_known_of_silent_hosts_is_held(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (slot, name) in &self.request.known {
            let is_asked = self
                .project
                .services
                .get(&slot.service)
                .is_some_and(|service| service.mode().is_global() || slot.number.get() <= service.replicas());
            let is_silent = self.world.seen(name.as_str()).is_none() && !self.request.lost.contains(name);
            let is_host = self.hosts.iter().any(|host| host.name == *name);
            // Of a service that has become global, one replica on each host remains.
            let another =
                |(other, seat): (&Slot, &mcompose::placement::Seat)| other.service == slot.service && seat.host == *name;
            if self.project.services.get(&slot.service).is_some_and(|service| service.mode().is_global())
                && self.placement.seats.iter().any(another)
            {
                continue;
            }
            if is_asked && is_silent && is_host && self.containers(slot).is_empty() && self.placement.host_of(slot) != Some(name)
            {
                faults.push(format!("{slot} was on {name}, which is silent, and is on {:?}", self.placement.host_of(slot)));
            }
        }
        faults
    }
}
