//! Which hosts are in a swarm together, workers too, as far as they were seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::project::{Host, HostName};
use crate::world::{Swarm, SwarmMember, World};

/// One swarm, by the hosts that say they are in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SwarmSeen<'a> {
    /// Members in the order of the inventory.
    pub members: Vec<(&'a HostName, &'a SwarmMember)>,
}

impl<'a> SwarmSeen<'a> {
    /// Managers that answered, those with a leader first.
    pub fn managers(&self) -> Vec<(&'a HostName, &'a SwarmMember)> {
        let mut managers: Vec<_> = self.members.iter().filter(|(_, member)| member.is_manager).copied().collect();
        managers.sort_by_key(|(_, member)| !member.control_available);
        managers
    }

    /// Every manager's node id and address that a member knows, hosts outside of the inventory too.
    pub fn known_managers(&self) -> BTreeMap<&'a str, &'a str> {
        // Managers know best; what only workers remember counts where no manager was seen.
        let managers = self.managers();
        let asked = if managers.is_empty() { &self.members } else { &managers };
        asked.iter().flat_map(|(_, member)| &member.managers).map(|(id, address)| (id.as_str(), address.as_str())).collect()
    }

    /// The swarm's id, or words for one that only workers told of.
    pub fn id(&self) -> String {
        let id = self.members.iter().map(|(_, member)| member.cluster_id.as_str()).find(|id| !id.is_empty());
        id.map_or_else(
            || format!("the one managed by {}", self.known_managers().into_values().collect::<Vec<_>>().join(", ")),
            |id| format!("swarm {id}"),
        )
    }

    pub fn has(&self, host: &str) -> bool {
        self.members.iter().any(|(name, _)| name.as_str() == host)
    }
}

/// The swarms that hosts of the inventory are in. A worker belongs to where its managers are.
pub fn swarms<'a>(hosts: &'a [Host], world: &'a World) -> Vec<SwarmSeen<'a>> {
    let mut groups: Vec<(BTreeSet<&str>, SwarmSeen<'a>)> = Vec::new();
    for host in hosts {
        let Some(Swarm::Active(member)) = world.seen(host.name.as_str()).map(|seen| &seen.swarm) else { continue };
        let mut keys: BTreeSet<&str> = member.managers.keys().map(String::as_str).collect();
        keys.extend([member.node_id.as_str(), member.cluster_id.as_str()].iter().filter(|key| !key.is_empty()));
        let mut swarm = SwarmSeen { members: vec![(&host.name, member)] };
        let (same, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(known, _)| !known.is_disjoint(&keys));
        groups = others;
        for (known, group) in same.into_iter().rev() {
            keys.extend(known);
            swarm.members.splice(0..0, group.members);
        }
        groups.push((keys, swarm));
    }
    groups.into_iter().map(|(_, swarm)| swarm).collect()
}
