//! How containers reach each other across the hosts, and what forbids it.

use std::collections::BTreeMap;

use super::error::ClusterError;
use super::form::managers_wanted;
use super::swarms::{SwarmSeen, swarms};
use crate::inventory::{NetworkDriver, NetworkSettings};
use crate::project::{Host, HostName};
use crate::world::{Fabric, Swarm, World};

/// Whether these hosts are to be in one swarm: two or more, unless the inventory wants each alone.
pub fn wants_swarm(hosts: &[Host], network: &NetworkSettings) -> bool {
    hosts.len() > 1 && network.driver != NetworkDriver::Bridge
}

/// The fabric of a project on these hosts. Before the swarm is formed, its managers are those that will be.
///
/// Hosts that do not answer are let pass while a manager does; what keeps hosts from being one swarm is an error.
pub fn fabric(hosts: &[Host], network: &NetworkSettings, world: &World) -> Result<Fabric, ClusterError> {
    refuse_one_machine_twice(hosts, world)?;
    if !wants_swarm(hosts, network) {
        return Ok(Fabric::Bridge);
    }
    let managers = match the_swarm(hosts, world)? {
        Some(swarm) => managers_of(&swarm)?.into_iter().cloned().collect(),
        None => managers_wanted(hosts)?.into_iter().map(|host| host.name.clone()).collect(),
    };
    Ok(Fabric::Overlay { managers })
}

/// The one swarm that hosts are in, or none; two are an error, and so is one that is not usable.
pub(super) fn the_swarm<'a>(hosts: &'a [Host], world: &'a World) -> Result<Option<SwarmSeen<'a>>, ClusterError> {
    if world.seen_hosts().next().is_none() {
        let why = world.unreachable_hosts().map(|(host, why)| (host.clone(), why.to_owned())).collect();
        return Err(ClusterError::NobodyReachable { why });
    }
    for (host, seen) in world.seen_hosts() {
        if let Swarm::Pending { state, error } = &seen.swarm {
            return Err(ClusterError::Pending { host: host.clone(), state: state.clone(), error: error.clone() });
        }
    }
    let mut found = swarms(hosts, world);
    if found.len() > 1 {
        let names = |swarm: &SwarmSeen<'_>| swarm.members.iter().map(|(host, _)| (*host).clone()).collect();
        return Err(ClusterError::SeveralSwarms { swarms: found.iter().map(|swarm| (swarm.id(), names(swarm))).collect() });
    }
    Ok(found.pop())
}

/// Managers that answer, the ones to ask first in front.
pub(super) fn managers_of<'a>(swarm: &SwarmSeen<'a>) -> Result<Vec<&'a HostName>, ClusterError> {
    let managers: Vec<&HostName> = swarm.managers().into_iter().map(|(host, _)| host).collect();
    if managers.is_empty() { Err(no_manager(swarm)) } else { Ok(managers) }
}

/// Members answer, and no manager does.
pub(super) fn no_manager(swarm: &SwarmSeen<'_>) -> ClusterError {
    let members = swarm.members.iter().map(|(host, _)| (*host).clone()).collect();
    let managers = swarm.known_managers().into_values().map(str::to_owned).collect();
    ClusterError::NoManager { members, managers }
}

/// One engine under two names would be asked for twice what it has.
fn refuse_one_machine_twice(hosts: &[Host], world: &World) -> Result<(), ClusterError> {
    let mut known: BTreeMap<_, &HostName> = BTreeMap::new();
    for host in hosts {
        let Some(seen) = world.seen(host.name.as_str()).filter(|seen| !seen.engine.id.is_empty()) else { continue };
        if let Some(first) = known.insert(seen.engine.machine(), &host.name) {
            let engine = seen.engine.id.clone();
            return Err(ClusterError::OneMachine { first: first.clone(), second: host.name.clone(), engine });
        }
    }
    Ok(())
}
