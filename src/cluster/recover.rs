//! A swarm that lost most of its managers has no leader and finds none: one that is left begins it anew with all that it knows.
//!
//! Seen with engine 20.10: `--force-new-cluster` keeps networks, records, nodes and join tokens; workers find the manager that is left
//! within ten seconds; managers that come back later, also together, become plain members first, and managers again after half a
//! minute. A worker that is made a manager just then does not become one for minutes, since it looks for those that are gone; so the
//! others are left as they are.

use std::collections::BTreeSet;

use super::error::ClusterError;
use super::fabric::{no_manager, the_swarm};
use super::form;
use crate::plan::{Cause, Op, Step};
use crate::project::{Host, HostName};
use crate::world::World;

/// The step that gives the swarm a leader again; nothing where it has one, or where the hosts are in none. While most of its managers
/// are there it is refused: they find a leader by themselves.
pub fn recover(hosts: &[Host], world: &World) -> Result<Vec<Step>, ClusterError> {
    let Some(swarm) = the_swarm(hosts, world)? else { return Ok(Vec::new()) };
    // Those with a leader come first.
    let managers = swarm.managers();
    let Some((name, member)) = managers.first() else { return Err(no_manager(&swarm)) };
    if member.control_available {
        return Ok(Vec::new());
    }
    let known = swarm.known_managers().len();
    if managers.len() * 2 > known {
        let answering = managers.iter().map(|(name, _)| (*name).clone()).collect();
        return Err(ClusterError::EnoughManagers { answering, known });
    }
    let op = Op::SwarmRecover { advertise: member.node_addr.clone() };
    Ok(vec![Step { cause: Cause::Requested, ..form::step(name, op, Vec::new()) }])
}

/// Managers of the swarm, by their addresses, that do not answer.
pub fn lost_managers(hosts: &[Host], world: &World) -> BTreeSet<String> {
    let Ok(Some(swarm)) = the_swarm(hosts, world) else { return BTreeSet::new() };
    let answering: BTreeSet<&str> = swarm.members.iter().map(|(_, member)| member.node_id.as_str()).collect();
    let known = swarm.known_managers().into_iter().filter(|(id, _)| !answering.contains(id));
    known.map(|(_, address)| name_of(hosts, address)).collect()
}

/// The host at a manager's `address:port`, or the address.
fn name_of(hosts: &[Host], address: &str) -> String {
    let ip = form::ip_of(address);
    let found: Option<&HostName> = hosts.iter().find(|host| form::texts_of(host).contains(&ip)).map(|host| &host.name);
    found.map_or_else(|| ip.to_owned(), ToString::to_string)
}
