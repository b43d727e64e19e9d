//! What has to be on a host before a container can be made there: networks, volumes, images.

use std::collections::BTreeMap;

use super::compose::Compose;
use super::contents::{self, Deliveries};
use super::diff::Turn;
use super::draft::Draft;
use super::images::{self, Shipments};
use super::outdated::Outdated;
use super::up::Rise;
use super::volumes::{self, OutdatedVolumes};
use super::{Cause, Note, Op, StepId, Subject, networks};
use crate::project::{HostName, Network, NetworkName, Service};
use crate::world::{Fabric, SeenHost};

/// The steps that bring resources to hosts. What is there already has none.
#[derive(Debug, Default)]
pub(super) struct Resources<'a> {
    /// Networks that are to be made again.
    pub(super) outdated: Outdated<'a>,
    /// Volumes that are to be made anew.
    pub(super) outdated_volumes: OutdatedVolumes<'a>,
    /// Networks that cross hosts, by engine name.
    shared_networks: BTreeMap<&'a str, StepId>,
    networks: BTreeMap<(&'a str, &'a HostName), StepId>,
    volumes: BTreeMap<(&'a str, &'a HostName), StepId>,
    deliveries: Deliveries<'a>,
    shipments: Shipments<'a>,
    pulls: BTreeMap<(String, Option<&'a str>, &'a HostName), StepId>,
}

impl<'a> Resources<'a> {
    /// Makes the steps for every resource that the turns of a service need and that is not there.
    pub(super) fn require(&mut self, compose: &Compose<'a>, draft: &mut Draft, rise: &Rise<'a>) {
        let service = rise.wanted.service;
        if service.networks.is_empty() && service.volumes.is_empty() && !rise.turns.iter().any(Turn::is_new) {
            return;
        }
        let hosts = each_once(compose, rise.turns.iter());
        if service.network_mode.is_none() && !hosts.is_empty() {
            for key in service.networks.keys() {
                if let Some((key, network)) = compose.project.networks.get_key_value(key).filter(|(_, network)| !network.external)
                {
                    self.require_network(compose, draft, key, network, &hosts);
                }
            }
        }
        for (key, volume) in volumes::of_service(compose.project, service) {
            for (host, seen) in &hosts {
                if volume.folder.is_some() && compose.is_local(host) {
                    continue;
                }
                let is_there = match volume.folder {
                    Some(_) => seen.has_whole(&volume.name),
                    None => seen.volumes.iter().any(|other| other.name == volume.name),
                };
                let removal = self.outdated_volumes.removal(&volume.name, host);
                if (is_there && removal.is_none()) || volume.external || self.volumes.contains_key(&(volume.name.as_str(), *host))
                {
                    continue;
                }
                let (subject, op) = match volume.folder {
                    Some(_) => match contents::fill(compose, key, volume, seen) {
                        Some(filled) => filled,
                        None => continue,
                    },
                    None => {
                        let op = Op::CreateVolume(Box::new(volumes::volume_spec(&compose.project.name, key, volume)));
                        (Subject::Volume(volume.name.clone()), op)
                    }
                };
                let step = draft.step(host, subject, op, Cause::Missing, removal.into_iter().collect());
                self.volumes.insert((volume.name.as_str(), *host), step);
            }
        }
        let platform = service.platform.as_deref();
        let new_on = each_once(compose, rise.turns.iter().filter(|turn| turn.is_new()));
        self.deliveries.require(compose, draft, service, &new_on.iter().map(|(host, _)| *host).collect::<Vec<_>>());
        for (host, seen) in new_on {
            self.bring_image(compose, draft, &rise.wanted.image, platform, (host, seen));
        }
    }

    /// The step that brings an image to a host; nothing where it is there.
    pub(super) fn bring(
        &mut self,
        compose: &Compose<'a>,
        draft: &mut Draft,
        image: &str,
        platform: Option<&'a str>,
        host: &'a HostName,
    ) -> Option<StepId> {
        self.bring_image(compose, draft, image, platform, (host, compose.seen(host)?))
    }

    fn bring_image(
        &mut self,
        compose: &Compose<'a>,
        draft: &mut Draft,
        image: &str,
        platform: Option<&'a str>,
        (host, seen): (&'a HostName, &'a SeenHost),
    ) -> Option<StepId> {
        if images::is_there(compose, seen, image) {
            return None;
        }
        if let Some(shipment) = self.shipments.require(compose, draft, image, host) {
            return Some(shipment);
        }
        let pull = self.pulls.entry((image.to_owned(), platform, host)).or_insert_with(|| {
            let op = Op::Pull { image: image.to_owned(), platform: platform.map(str::to_owned) };
            draft.step(host, Subject::Image(image.to_owned()), op, Cause::Missing, Vec::new())
        });
        Some(*pull)
    }

    /// Once every service has what it needs: what only one host would have goes to a second one.
    pub(super) fn spare(&mut self, compose: &Compose<'a>, draft: &mut Draft, rises: &[Rise<'a>]) {
        let new = rises.iter().filter(|rise| rise.turns.iter().any(Turn::is_new));
        self.shipments.copy(compose, draft, &new.map(|rise| rise.wanted.image.as_str()).collect());
        self.deliveries.copy(compose, draft);
    }

    /// Networks or volumes are made again, so that creations wait for containers that leave.
    pub(super) fn makes_room(&self) -> bool {
        !(self.outdated.is_empty() && self.outdated_volumes.is_empty())
    }

    fn require_network(
        &mut self,
        compose: &Compose<'a>,
        draft: &mut Draft,
        key: &'a NetworkName,
        network: &'a Network,
        hosts: &[(&'a HostName, &'a SeenHost)],
    ) {
        let name = network.name.as_str();
        let op = || Op::CreateNetwork(Box::new(networks::spec(compose, key, network)));
        let subject = || Subject::Network(network.name.clone());
        for note in networks::notes(compose, key, network) {
            draft.note(note);
        }
        if self.outdated.blocks(name) {
            return;
        }
        if !networks::crosses_hosts(compose.fabric, network) {
            for (host, seen) in hosts {
                let is_there = seen.networks.iter().any(|other| other.name == name);
                let removals = self.outdated.removals(name, Some(host));
                if !is_there || !removals.is_empty() {
                    self.networks
                        .entry((name, *host))
                        .or_insert_with(|| draft.step(host, subject(), op(), Cause::Missing, removals));
                }
            }
            return;
        }
        let Fabric::Overlay { managers } = compose.fabric else { return };
        let is_there = networks::sightings(compose, name).values().any(|seen| seen.driver == "overlay");
        let removals = self.outdated.removals(name, None);
        if (is_there && removals.is_empty()) || self.shared_networks.contains_key(name) {
            return;
        }
        match managers.iter().find(|manager| compose.seen(manager).is_some()) {
            Some(manager) => {
                let step = draft.step(manager, subject(), op(), Cause::Missing, removals);
                self.shared_networks.insert(name, step);
            }
            None => draft.note(Note::Refused {
                subject: format!("networks.{key}"),
                attribute: "driver".to_owned(),
                why: "it crosses hosts, and no manager of the swarm answers to make it".to_owned(),
                hint: "bring a manager back, then run the same command again".to_owned(),
            }),
        }
    }

    /// The steps that a container of this service waits for on that host.
    pub(super) fn before(&self, compose: &Compose<'a>, service: &'a Service, image: &str, host: &'a HostName) -> Vec<StepId> {
        let mut steps = Vec::new();
        if !self.pulls.is_empty() {
            steps.extend(self.pulls.get(&(image.to_owned(), service.platform.as_deref(), host)));
        }
        if service.network_mode.is_none() && !(self.networks.is_empty() && self.shared_networks.is_empty()) {
            for network in service.networks.keys().filter_map(|key| compose.project.networks.get(key)) {
                steps.extend(self.shared_networks.get(network.name.as_str()));
                steps.extend(self.networks.get(&(network.name.as_str(), host)));
            }
        }
        steps.extend(self.shipments.before(image, host));
        steps.extend(self.deliveries.before(compose, service, host));
        if !self.volumes.is_empty() {
            let volumes = volumes::of_service(compose.project, service);
            steps.extend(volumes.filter_map(|(_, volume)| self.volumes.get(&(volume.name.as_str(), host))));
        }
        steps
    }
}

/// The hosts of these slots, in order of name.
fn each_once<'t, 'a: 't>(compose: &Compose<'a>, turns: impl Iterator<Item = &'t Turn<'a>>) -> Vec<(&'a HostName, &'a SeenHost)> {
    let mut is_used = compose.for_each_place(false);
    turns.for_each(|turn| is_used[turn.place] = true);
    is_used.iter().enumerate().filter(|(_, is_used)| **is_used).map(|(place, _)| compose.at(place)).collect()
}
