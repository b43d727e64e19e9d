//! Hosts that the inventory does not list any more though the last record says that data is there.
//!
//! Whoever takes a host out of the file by hand leaves its volumes behind, and nobody can look at them any more. Their slots are held
//! as those of a lost host are, lest they start on a second, empty volume.

use std::collections::{BTreeMap, BTreeSet};

use super::anchor::is_data_folder;
use crate::project::{Address, Availability, Host, HostName, Mount, Project, Service, Slot};
use crate::world::World;

/// The hosts that `known` names, `hosts` does not, and that have data of a slot which no host that answers has.
pub(super) fn unlisted(project: &Project, hosts: &[Host], world: &World, known: &BTreeMap<Slot, HostName>) -> Vec<Host> {
    let away = known.iter().filter(|(_, name)| !hosts.iter().any(|host| host.name == **name));
    let with_data = away.filter(|(slot, _)| {
        let service = project.services.get(&slot.service).filter(|service| !service.mode().is_global());
        service.is_some_and(|service| slot.number.get() <= service.replicas() && leaves_data(project, service, hosts, world))
    });
    let names: BTreeSet<&HostName> = with_data.map(|(_, name)| name).collect();
    let stand_in = |name: &HostName| {
        let host = Host::new(name.clone(), Address::Unix { path: String::new() });
        Host { availability: Availability::Drain, ..host }
    };
    names.into_iter().map(stand_in).collect()
}

/// Whether the service has data, and none of it is on a host that is listed and answers.
fn leaves_data(project: &Project, service: &Service, hosts: &[Host], world: &World) -> bool {
    let seen = || hosts.iter().filter_map(|host| world.seen(host.name.as_str()));
    let mut has_data = false;
    for mount in &service.volumes {
        let is_here = if let Some(volume) = volume_of(project, mount) {
            seen().any(|seen| seen.volumes.iter().any(|other| other.name == volume))
        } else if let Some(path) = mount.source.as_deref().filter(|source| is_data_folder(project, mount, source)) {
            let containers = || seen().flat_map(|seen| &seen.containers);
            let ours = || containers().filter(|other| other.labels.project.as_deref() == Some(project.name.as_str()));
            ours().flat_map(|container| &container.mounts).any(|other| other.kind == "bind" && other.source == path)
        } else {
            continue;
        };
        if is_here {
            return false;
        }
        has_data = true;
    }
    has_data
}

/// The engine's name of a host-local volume of the project.
fn volume_of<'a>(project: &'a Project, mount: &Mount) -> Option<&'a str> {
    let volume = project.volumes.get(mount.source.as_deref().filter(|_| mount.kind == "volume")?)?;
    (!volume.external && volume.is_host_local()).then_some(volume.name.as_str())
}
