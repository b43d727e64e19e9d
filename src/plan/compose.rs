//! What every part of a plan looks up: names, neighbours, hashes, hosts.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::images::{self, Meant};
use super::view::View;
use super::{Inputs, spec};
use crate::placement::Placement;
use crate::project::{Availability, Condition, Host, HostName, Project, Service, ServiceName, Slot, SpecHash};
use crate::world::{Container, Fabric, SeenHost, World, keys};

/// The inputs with what is looked up in them often.
pub(super) struct Compose<'a> {
    pub(super) project: &'a Project,
    pub(super) placement: &'a Placement,
    pub(super) world: &'a World,
    pub(super) fabric: &'a Fabric,
    pub(super) revision: u64,
    pub(super) here: &'a BTreeSet<String>,
    pub(super) kept: Option<&'a BTreeSet<String>>,
    pub(super) view: View<'a>,
    pub(super) inventory: &'a [Host],
    hosts: BTreeMap<&'a str, &'a Host>,
    /// Images that come from a host, once one is asked about.
    meant: OnceCell<BTreeMap<String, Meant<'a>>>,
    /// Hosts that answered, in order of name.
    answering: Vec<(&'a HostName, &'a SeenHost)>,
    /// The place of each among them. Only looked up in, never walked, so its order does not matter.
    places: HashMap<&'a str, usize>,
    /// Per service: the lowest number that has its seat on a host.
    first_on_host: OnceCell<BTreeMap<(&'a ServiceName, &'a HostName), u32>>,
    /// Services that another waits for to complete: a replica that exited with 0 is done and is not started again.
    awaited_to_complete: BTreeSet<&'a str>,
    /// The ids of all networks that were seen, once a stopped container asks.
    network_ids: OnceCell<HashSet<&'a str>>,
    /// Whether something of the project is sealed on a host, once a secret asks.
    has_sealed: OnceCell<bool>,
    /// Aliases that links of other services ask for, per service.
    link_aliases: OnceCell<BTreeMap<&'a str, BTreeSet<&'a str>>>,
}

impl<'a> Compose<'a> {
    pub(super) fn new(inputs: &Inputs<'a>) -> Self {
        let answering: Vec<(&'a HostName, &'a SeenHost)> = inputs.world.seen_hosts().collect();
        Self {
            project: inputs.project,
            placement: inputs.placement,
            world: inputs.world,
            fabric: inputs.fabric,
            revision: inputs.revision,
            here: inputs.here,
            kept: inputs.kept,
            view: View::new(&answering, &inputs.project.name),
            inventory: inputs.hosts,
            meant: OnceCell::new(),
            hosts: inputs.hosts.iter().map(|host| (host.name.as_str(), host)).collect(),
            places: answering.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect(),
            answering,
            first_on_host: OnceCell::new(),
            awaited_to_complete: awaited_to_complete(inputs.project),
            network_ids: OnceCell::new(),
            has_sealed: OnceCell::new(),
            link_aliases: OnceCell::new(),
        }
    }

    /// `container_name`, else `PROJECT-SERVICE-N`.
    pub(super) fn container_name(&self, name: &ServiceName, service: &Service, number: u32) -> String {
        service.container_name.clone().unwrap_or_else(|| self.project.replica_name(name, number))
    }

    /// Whether a container's name is that of the slot, without making the name.
    pub(super) fn has_name(&self, name: &ServiceName, service: &Service, number: u32, container: &str) -> bool {
        if let Some(own) = &service.container_name {
            return own == container;
        }
        let separator = self.project.separator();
        let rest = container.strip_prefix(self.project.name.as_str()).and_then(|rest| rest.strip_prefix(separator));
        let rest = rest.and_then(|rest| rest.strip_prefix(name.as_str())).and_then(|rest| rest.strip_prefix(separator));
        rest.is_some_and(|rest| !rest.starts_with(['0', '+']) && rest.parse() == Ok(number))
    }

    /// The engine refuses to rename a container that runs on a network that crosses hosts (seen with 20.10: "cannot create entry
    /// in table endpoint_table"). `networks`: those that it is on.
    pub(super) fn renames_while_running(&self, networks: &[String]) -> bool {
        networks.is_empty() || *self.fabric == Fabric::Bridge
    }

    /// The seats of a service in order of number.
    pub(super) fn seats(&self, name: &ServiceName) -> impl Iterator<Item = (u32, &'a HostName)> + use<'a> {
        let first = Slot::new(name.clone(), 1);
        let last = Slot::new(name.clone(), u32::MAX);
        let range = first.zip(last).map(|(first, last)| self.placement.seats.range(first..=last));
        range.into_iter().flatten().map(|(slot, seat)| (slot.number.get(), &seat.host))
    }

    /// The replica of another service that slot `number` on `host` is beside: the same number where that is on the host, else
    /// the lowest there. Returns its number.
    pub(super) fn neighbour(&self, service: &str, number: u32, host: &HostName) -> Option<(&'a ServiceName, u32)> {
        let (name, _) = self.project.services.get_key_value(service)?;
        let same = Slot::new(name.clone(), number)?;
        if self.placement.host_of(&same) == Some(host) {
            return Some((name, number));
        }
        self.first_on_host().get(&(name, host)).map(|number| (name, *number))
    }

    pub(super) fn neighbour_name(&self, service: &str, number: u32, host: &HostName) -> Option<String> {
        let (name, number) = self.neighbour(service, number, host)?;
        self.project.services.get(name).map(|service| self.container_name(name, service, number))
    }

    fn first_on_host(&self) -> &BTreeMap<(&'a ServiceName, &'a HostName), u32> {
        self.first_on_host.get_or_init(|| {
            let mut first = BTreeMap::new();
            for (slot, seat) in &self.placement.seats {
                first.entry((&slot.service, &seat.host)).or_insert(slot.number.get());
            }
            first
        })
    }

    /// What other services call this one by their `links`, on networks that both are on.
    pub(super) fn link_aliases(&self, service: &str) -> impl Iterator<Item = &'a str> {
        let aliases = self.link_aliases.get_or_init(|| {
            let mut aliases: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for link in self.project.services.values().flat_map(|service| &service.links) {
                if let Some((target, alias)) = link.split_once(':').filter(|(target, alias)| target != alias) {
                    aliases.entry(target).or_default().insert(alias);
                }
            }
            aliases
        });
        aliases.get(service).into_iter().flatten().copied()
    }

    pub(super) fn spec_hash(&self, name: &ServiceName, service: &Service) -> SpecHash {
        spec::of(self, name, service)
    }

    pub(super) fn is_awaited_to_complete(&self, service: &ServiceName) -> bool {
        self.awaited_to_complete.contains(service.as_str())
    }

    /// A container of the project of which the file has no service, not even a disabled one.
    pub(super) fn is_orphan(&self, container: &Container) -> bool {
        let labels = &container.labels;
        let is_ours = labels.project.as_deref() == Some(self.project.name.as_str()) && !labels.oneoff;
        let service = labels.service.as_deref().unwrap_or_default();
        is_ours && !self.knows_service(service)
    }

    pub(super) fn knows_service(&self, service: &str) -> bool {
        self.project.services.contains_key(service) || self.project.disabled_services.contains(service)
    }

    pub(super) fn seen(&self, host: &HostName) -> Option<&'a SeenHost> {
        self.place_of(host).map(|place| self.at(place).1)
    }

    /// A host's place among those that answered, by which what is known of each is found faster than by name.
    pub(super) fn place_of(&self, host: &HostName) -> Option<usize> {
        self.places.get(host.as_str()).copied()
    }

    pub(super) fn at(&self, place: usize) -> (&'a HostName, &'a SeenHost) {
        self.answering[place]
    }

    /// A value for every host that answered.
    pub(super) fn for_each_place<T: Clone>(&self, value: T) -> Vec<T> {
        vec![value; self.answering.len()]
    }

    /// Whether a container was made for a newer record than the one this plan is for (promise 7).
    pub(super) fn is_newer(&self, container: &Container) -> bool {
        container.labels.revision.is_some_and(|revision| revision > self.revision)
    }

    /// Whether a network that a stopped container was on is gone, so that the engine will not start it again, not even on
    /// another of the same name. Not known while no manager answers who could show the networks that cross hosts.
    pub(super) fn has_lost_a_network(&self, container: &Container) -> bool {
        if container.network_ids.is_empty() {
            return false;
        }
        if let Fabric::Overlay { managers } = self.fabric
            && !managers.iter().any(|manager| self.seen(manager).is_some())
        {
            return false;
        }
        let ids = self.network_ids.get_or_init(|| {
            let networks = self.world.seen_hosts().flat_map(|(_, seen)| &seen.networks);
            networks.map(|network| network.id.as_str()).collect()
        });
        // The engine's own networks it finds by name.
        let own = container.network_ids.iter().filter(|(name, _)| !matches!(name.as_str(), "bridge" | "host" | "none"));
        own.map(|(_, id)| id.as_str()).any(|id| !ids.contains(id))
    }

    /// Whether secrets of the project lie encrypted on hosts.
    pub(super) fn has_sealed(&self) -> bool {
        *self.has_sealed.get_or_init(|| {
            let mut volumes = self.world.seen_hosts().flat_map(|(_, seen)| &seen.volumes);
            volumes.any(|volume| {
                let project = volume.labels.get(keys::CONTENT_PROJECT).map(String::as_str);
                project == Some(self.project.name.as_str()) && volume.labels.contains_key(keys::SEALED)
            })
        })
    }

    /// The copy of an image that every host is to have; nothing where a registry gives it, or nobody has it.
    pub(super) fn meant(&self, image: &str) -> Option<Meant<'a>> {
        self.meant.get_or_init(|| images::meant(self)).get(image).copied()
    }

    pub(super) fn is_local(&self, host: &HostName) -> bool {
        self.hosts.get(host.as_str()).is_some_and(|host| host.is_local())
    }

    /// Whether a host takes new replicas.
    pub(super) fn is_active(&self, host: &HostName) -> bool {
        self.hosts.get(host.as_str()).is_some_and(|host| host.availability == Availability::Active)
    }

    pub(super) fn is_drained(&self, host: &HostName) -> bool {
        self.hosts.get(host.as_str()).is_some_and(|host| host.availability == Availability::Drain)
    }

    /// Whether the API spoken with a host is older than this version. A host that was not seen counts as new.
    pub(super) fn api_is_before(&self, host: &HostName, version: (u32, u32)) -> bool {
        self.seen(host).is_some_and(|seen| !seen.engine.speaks(version))
    }
}

fn awaited_to_complete(project: &Project) -> BTreeSet<&str> {
    let needs = project.services.values().flat_map(|service| &service.depends_on);
    let awaited = needs.filter(|(_, needed)| needed.condition == Condition::ServiceCompletedSuccessfully);
    awaited.map(|(name, _)| name.as_str()).collect()
}
