//! The steps that make one swarm of the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::SWARM_PORT;
use super::address::{Addresses, NoAddress};
use super::error::ClusterError;
use super::fabric::{managers_of, the_swarm, wants_swarm};
use super::swarms::SwarmSeen;
use crate::engine::EngineError;
use crate::inventory::NetworkSettings;
use crate::plan::{Cause, Op, Step, StepId, Subject, Tolerance};
use crate::project::{Address, Host, HostName, Role};
use crate::world::{Swarm, World};

/// What is to be done for all hosts that answer to be in one swarm; nothing where they are, or need not be.
///
/// The first manager begins the swarm, the other managers join one after the other, since each joining manager changes
/// the quorum; workers join beside them. Hosts that are in a swarm together are used as they are: roles change only for
/// an explicit `role = "manager"`, or when hosts join and the managers would be fewer than three. A manager whose host came back with
/// another disk leaves the quorum first.
pub fn form(hosts: &[Host], network: &NetworkSettings, world: &World, addresses: &Addresses) -> Result<Vec<Step>, ClusterError> {
    if !wants_swarm(hosts, network) {
        return Ok(Vec::new());
    }
    let swarm = the_swarm(hosts, world)?;
    let outside = outside(hosts, world)?;
    let managers = managers_wanted(hosts)?;
    match swarm {
        Some(swarm) => grow(hosts, &swarm, &outside, &managers, addresses),
        None => begin(&outside, &managers, world, addresses),
    }
}

/// Whether a step to form a swarm failed only because another command was faster: the engine is in one by now.
pub fn raced_to_swarm(error: &EngineError) -> bool {
    error.message.contains("already part of a swarm")
}

/// Those that `role` names; else the first of two hosts, the first three of more, workers by role left out.
pub(super) fn managers_wanted(hosts: &[Host]) -> Result<Vec<&Host>, ClusterError> {
    let named: Vec<&Host> = hosts.iter().filter(|host| host.role == Some(Role::Manager)).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let count = if hosts.len() < 3 { 1 } else { 3 };
    let free: Vec<&Host> = hosts.iter().filter(|host| host.role.is_none()).take(count).collect();
    match free.len() {
        0 => Err(ClusterError::AllWorkers),
        // Two managers are worse than one: the swarm halts when either is away.
        2 => Ok(free[..1].to_vec()),
        _ => Ok(free),
    }
}

/// Hosts that answered and are in no swarm, all of them fit to be in one.
fn outside<'a>(hosts: &'a [Host], world: &World) -> Result<Vec<&'a Host>, ClusterError> {
    let mut outside = Vec::new();
    for host in hosts {
        let Some(seen) = world.seen(host.name.as_str()).filter(|seen| seen.swarm == Swarm::Inactive) else { continue };
        if seen.engine.live_restore {
            return Err(ClusterError::LiveRestore { host: host.name.clone() });
        }
        if seen.engine.rootless {
            return Err(ClusterError::Rootless { host: host.name.clone() });
        }
        outside.push(host);
    }
    Ok(outside)
}

/// No host is in a swarm. All have to answer: one that does not may be in a swarm, and a second would stand beside it.
fn begin(outside: &[&Host], managers: &[&Host], world: &World, addresses: &Addresses) -> Result<Vec<Step>, ClusterError> {
    let unreachable: BTreeMap<_, _> = world.unreachable_hosts().map(|(host, why)| (host.clone(), why.to_owned())).collect();
    if !unreachable.is_empty() {
        return Err(ClusterError::HostsAway { unreachable });
    }
    refuse_one_address_twice(outside, addresses)?;
    let Some(first) = managers.first() else { return Ok(Vec::new()) };
    let address = address_of(&first.name, addresses)?;
    let mut steps = vec![step(&first.name, Op::SwarmInit { advertise: address.to_string() }, Vec::new())];
    let via = Via { host: first.name.clone(), remote: SocketAddr::new(address, SWARM_PORT).to_string() };
    let others: Vec<&Host> = outside.iter().filter(|host| host.name != first.name).copied().collect();
    join(&others, managers, &via, addresses, &mut steps)?;
    Ok(steps)
}

/// Hosts that are outside join the swarm that others are in.
fn grow(
    hosts: &[Host],
    swarm: &SwarmSeen<'_>,
    outside: &[&Host],
    managers: &[&Host],
    addresses: &Addresses,
) -> Result<Vec<Step>, ClusterError> {
    let by_role = hosts.iter().any(|host| host.role == Some(Role::Manager));
    let to_promote: Vec<(&HostName, String)> = swarm
        .members
        .iter()
        .filter(|(name, member)| !member.is_manager && managers.iter().any(|host| host.name == **name))
        .map(|(name, member)| (*name, member.node_id.clone()))
        .collect();
    let gone = replaced(swarm, outside, addresses);
    if outside.is_empty() && gone.is_empty() && (!by_role || to_promote.is_empty()) {
        return Ok(Vec::new());
    }
    let manager = managers_of(swarm)?[0];
    let via = Via { host: manager.clone(), remote: remote_of(swarm, manager) };
    // Beyond what the rule asks for, managers of the swarm's own count too, wherever they stand in the inventory.
    let known = swarm.known_managers().len().saturating_sub(gone.len());
    let mut missing = if by_role { usize::MAX } else { managers.len().saturating_sub(known) };
    let mut steps = Vec::new();
    for node_id in gone.into_iter().map(str::to_owned) {
        steps.push(step(&via.host, Op::NodeRole { node_id: node_id.clone(), role: Role::Worker }, last(&steps)));
        steps.push(step(&via.host, Op::NodeRemove { node_id, force: true }, last(&steps)));
    }
    for (_, node_id) in to_promote.into_iter().take(missing) {
        steps.push(step(&via.host, Op::NodeRole { node_id, role: Role::Manager }, last(&steps)));
        missing -= 1;
    }
    let joining = managers.iter().filter(|host| outside.iter().any(|outsider| outsider.name == host.name));
    let managers: Vec<&Host> = joining.take(missing).copied().collect();
    let managers = managers.as_slice();
    join(outside, managers, &via, addresses, &mut steps)?;
    Ok(steps)
}

/// Node ids of managers that will not come back: at their address is a host that answers and is another node, or none yet. It lost its
/// disk. Each would count in the quorum for ever, so that two managers that work could not lose one.
fn replaced<'a>(swarm: &SwarmSeen<'a>, outside: &[&Host], addresses: &Addresses) -> Vec<&'a str> {
    let of_outside = outside.iter().filter_map(|host| addresses.get(&host.name)?.as_ref().ok().copied());
    let of_members = swarm.members.iter().filter_map(|(_, member)| member.node_addr.parse::<IpAddr>().ok());
    let taken: BTreeSet<IpAddr> = of_outside.chain(of_members).collect();
    let is_member = |node_id: &str| swarm.members.iter().any(|(_, member)| member.node_id == node_id);
    let is_taken = |address: &str| ip_of(address).parse::<IpAddr>().is_ok_and(|address| taken.contains(&address));
    let known = swarm.known_managers().into_iter();
    known.filter(|(node_id, address)| !is_member(node_id) && is_taken(address)).map(|(node_id, _)| node_id).collect()
}

/// The address of a manager's `address:port`.
pub(super) fn ip_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(ip, _)| ip.trim_matches(['[', ']']))
}

/// Whom joining hosts ask, and at which address.
struct Via {
    host: HostName,
    remote: String,
}

fn join(
    joining: &[&Host],
    managers: &[&Host],
    via: &Via,
    addresses: &Addresses,
    steps: &mut Vec<Step>,
) -> Result<(), ClusterError> {
    let mut before = last(steps);
    let first = before.clone();
    let (as_managers, as_workers): (Vec<&Host>, Vec<&Host>) =
        joining.iter().partition(|host| managers.iter().any(|manager| manager.name == host.name));
    for host in as_managers {
        steps.push(step(&host.name, join_op(host, Role::Manager, via, addresses)?, before));
        before = last(steps);
    }
    for host in as_workers {
        steps.push(step(&host.name, join_op(host, Role::Worker, via, addresses)?, first.clone()));
    }
    Ok(())
}

fn join_op(host: &Host, role: Role, via: &Via, addresses: &Addresses) -> Result<Op, ClusterError> {
    let advertise = address_of(&host.name, addresses)?.to_string();
    Ok(Op::SwarmJoin { via: via.host.clone(), role, advertise, remote: via.remote.clone() })
}

fn address_of(host: &HostName, addresses: &Addresses) -> Result<IpAddr, ClusterError> {
    let unknown = || NoAddress { host: host.clone(), why: "it was not looked up".to_owned() };
    addresses.get(host).cloned().unwrap_or_else(|| Err(unknown())).map_err(ClusterError::from)
}

/// Texts by which a node may be known.
pub(super) fn texts_of(host: &Host) -> Vec<&str> {
    let of_url = match &host.address {
        Address::Unix { .. } => None,
        Address::Tcp { host, .. } | Address::Ssh { host, .. } => Some(host.as_str()),
    };
    [Some(host.name.as_str()), host.advertise.as_deref(), of_url].into_iter().flatten().collect()
}

/// Where a manager answers those that join.
pub(super) fn remote_of(swarm: &SwarmSeen<'_>, manager: &HostName) -> String {
    let member = swarm.members.iter().find(|(name, _)| *name == manager).map(|(_, member)| *member);
    let listed = member.and_then(|member| member.managers.get(&member.node_id)).cloned();
    listed.unwrap_or_else(|| {
        let address = member.map(|member| member.node_addr.clone()).unwrap_or_default();
        if address.contains(':') { format!("[{address}]:{SWARM_PORT}") } else { format!("{address}:{SWARM_PORT}") }
    })
}

fn refuse_one_address_twice(hosts: &[&Host], addresses: &Addresses) -> Result<(), ClusterError> {
    let mut known: BTreeMap<IpAddr, &HostName> = BTreeMap::new();
    for host in hosts {
        let Some(Ok(address)) = addresses.get(&host.name) else { continue };
        if let Some(first) = known.insert(*address, &host.name) {
            let address = address.to_string();
            return Err(ClusterError::SameAddress { first: first.clone(), second: host.name.clone(), address });
        }
    }
    Ok(())
}

pub(super) fn step(host: &HostName, op: Op, after: Vec<StepId>) -> Step {
    Step { host: host.clone(), subject: Subject::Host, op, cause: Cause::Fabric, after, tolerance: Tolerance::Strict }
}

/// The step that was planned last, as what the next one waits for.
pub(super) fn last(steps: &[Step]) -> Vec<StepId> {
    steps.len().checked_sub(1).map(StepId).into_iter().collect()
}
