//! The steps that take one host out of the swarm.

use super::error::ClusterError;
use super::fabric::{managers_of, the_swarm};
use super::form::{self, last, managers_wanted};
use super::swarms::SwarmSeen;
use crate::engine::Node;
use crate::plan::{Cause, Op, Step, StepId};
use crate::project::{Host, HostName, Role};
use crate::world::World;

/// What is to be done for a host to leave the swarm and its list of nodes; nothing where it is in none.
///
/// `nodes` is a manager's list, for a host that does not answer any more. A manager is demoted first, so that the others
/// keep their quorum; another host is promoted before, or demoted after, where the rule for managers asks for it.
pub fn leave(leaving: &Host, hosts: &[Host], world: &World, nodes: &[Node]) -> Result<Vec<Step>, ClusterError> {
    let Some(swarm) = the_swarm(hosts, world)? else { return Ok(Vec::new()) };
    let Some(node) = node_of(leaving, &swarm, nodes) else { return Ok(Vec::new()) };
    let answers = world.seen(leaving.name.as_str()).is_some();
    if nodes.len() <= 1 && answers {
        return Ok(vec![step(&leaving.name, Op::SwarmLeave { force: true }, Vec::new())]);
    }
    let via = managers_of(&swarm)?.into_iter().find(|manager| **manager != leaving.name);
    let via = via.ok_or_else(|| ClusterError::LastManager { host: leaving.name.clone() })?;
    let staying: Vec<Host> = hosts.iter().filter(|host| host.name != leaving.name).cloned().collect();
    let mut steps = Vec::new();
    let (promoted, demoted) = role_changes(&staying, &swarm, node.was_manager);
    for node_id in promoted {
        steps.push(step(via, Op::NodeRole { node_id, role: Role::Manager }, last(&steps)));
    }
    if node.was_manager {
        let op = Op::NodeRole { node_id: node.id.clone(), role: Role::Worker };
        steps.push(step(via, op, last(&steps)));
    }
    if answers {
        steps.push(step(&leaving.name, Op::SwarmLeave { force: node.was_manager }, last(&steps)));
    }
    steps.push(step(via, Op::NodeRemove { node_id: node.id, force: true }, last(&steps)));
    for node_id in demoted {
        steps.push(step(via, Op::NodeRole { node_id, role: Role::Worker }, last(&steps)));
    }
    Ok(steps)
}

fn step(host: &HostName, op: Op, after: Vec<StepId>) -> Step {
    Step { cause: Cause::Requested, ..form::step(host, op, after) }
}

struct Leaver {
    id: String,
    was_manager: bool,
}

/// The host's node: as it says itself, else as the managers list it, by address or host name.
fn node_of(host: &Host, swarm: &SwarmSeen<'_>, nodes: &[Node]) -> Option<Leaver> {
    if let Some((_, member)) = swarm.members.iter().find(|(name, _)| **name == host.name) {
        return Some(Leaver { id: member.node_id.clone(), was_manager: member.is_manager });
    }
    let taken = |node: &&Node| swarm.members.iter().all(|(_, member)| member.node_id != node.id);
    let matches = |node: &&Node| form::texts_of(host).iter().any(|text| *text == node.addr || *text == node.hostname);
    let mut found = nodes.iter().filter(taken).filter(matches);
    let node = found.next().filter(|_| found.next().is_none())?;
    Some(Leaver { id: node.id.clone(), was_manager: node.is_manager })
}

/// Node ids to promote before, and to demote after, so that the hosts that stay have the managers that the rule asks for.
/// Nothing changes where roles are written down, or where a worker leaves.
fn role_changes(staying: &[Host], swarm: &SwarmSeen<'_>, manager_leaves: bool) -> (Vec<String>, Vec<String>) {
    let by_role = staying.iter().any(|host| host.role.is_some());
    let wanted: Vec<&HostName> = match managers_wanted(staying) {
        Ok(wanted) if manager_leaves && !by_role => wanted.into_iter().map(|host| &host.name).collect(),
        _ => return (Vec::new(), Vec::new()),
    };
    let stays = |name: &HostName| staying.iter().any(|host| host.name == *name);
    let managers = swarm.members.iter().filter(|(name, member)| member.is_manager && stays(name)).count();
    let ids = |is_manager: bool, count: usize| -> Vec<String> {
        let members = swarm.members.iter().filter(|(name, member)| stays(name) && member.is_manager == is_manager);
        let members = members.filter(|(name, _)| wanted.contains(name) != is_manager);
        members.take(count).map(|(_, member)| member.node_id.clone()).collect()
    };
    (ids(false, wanted.len().saturating_sub(managers)), ids(true, managers.saturating_sub(wanted.len())))
}
