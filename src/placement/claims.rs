//! Which slots are where already: by their containers, and by the last record for hosts that do not answer.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::place::Stuck;
use super::scene::Scene;
use super::site::Site;
use super::{Orphans, Request};
use crate::project::Project;
use crate::world::{Container, Health, Sight, State, World};

/// A container that fills a slot of the project.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holding<'a> {
    pub(super) service: usize,
    pub(super) number: u32,
    pub(super) site: usize,
    pub(super) container: &'a Container,
}

impl Holding<'_> {
    /// A job's container that has done its work.
    pub(super) fn is_done(&self, scene: &Scene) -> bool {
        scene.asks[self.service].mode.is_job() && self.container.state == (State::Exited { code: Some(0) })
    }
}

#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    /// In order of service and number; of several containers for one slot, the best first.
    holdings: Vec<Holding<'a>>,
    /// Where each service's holdings begin; one more entry than services.
    starts: Vec<usize>,
    /// Service, number and host of every slot of the last record whose host is in the inventory.
    pub(super) known: Vec<(usize, u32, usize)>,
}

impl<'a> Claims<'a> {
    /// Reads all containers: those of slots become claims, all others are counted on their hosts.
    pub(super) fn read(project: &'a Project, sites: &mut [Site<'a>], world: &'a World, request: &Request, stuck: &Stuck) -> Self {
        let services: BTreeMap<&str, usize> =
            project.services.keys().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
        let names: BTreeMap<&str, usize> =
            sites.iter().enumerate().map(|(index, site)| (site.host.name.as_str(), index)).collect();
        let mut holdings: Vec<Holding> = Vec::new();
        let mut last: Option<(&str, usize)> = None;
        for (name, sight) in &world.hosts {
            let (Sight::Seen(seen), Some(site)) = (sight, names.get(name.as_str()).copied()) else { continue };
            for container in &seen.containers {
                let labels = &container.labels;
                let service = labels.service.as_deref().unwrap_or_default();
                let is_ours = !labels.oneoff && labels.project.as_deref() == Some(project.name.as_str());
                // Replicas of one service stand together, so the last answer is mostly the next one.
                let mut index_of = |service: &'a str| match last {
                    Some((name, index)) if name == service => Some(index),
                    _ => {
                        let index = services.get(service).copied()?;
                        last = Some((service, index));
                        Some(index)
                    }
                };
                let slot = labels.service.as_deref().filter(|_| is_ours).and_then(&mut index_of);
                match slot.zip(labels.number.filter(|number| *number > 0)) {
                    Some((service, number)) => {
                        holdings.push(Holding { service, number, site, container });
                        if stuck.contains_key(&(service, number)) {
                            sites[site].occupy(container);
                        }
                    }
                    None if is_ours && request.orphans == Orphans::Leave && !project.disabled_services.contains(service) => {}
                    None => sites[site].add_stranger(container, project.name.as_str()),
                }
            }
        }
        holdings.sort_by_cached_key(|holding| (holding.service, holding.number, rank(holding), holding.site));
        let starts = (0..=services.len()).map(|service| holdings.partition_point(|holding| holding.service < service)).collect();
        let known = request.known.iter().filter_map(|(slot, host)| {
            Some((*services.get(slot.service.as_str())?, slot.number.get(), *names.get(host.as_str())?))
        });
        Self { holdings, starts, known: known.collect() }
    }

    /// Whether a container for the slot is there.
    pub(super) fn is_at(&self, service: usize, number: u32, site: usize) -> bool {
        let holdings = self.of(service);
        let first = holdings.partition_point(|holding| holding.number < number);
        holdings[first..].iter().take_while(|holding| holding.number == number).any(|holding| holding.site == site)
    }

    pub(super) fn of(&self, service: usize) -> &[Holding<'a>] {
        &self.holdings[self.starts[service]..self.starts[service + 1]]
    }
}

/// Which of several containers is the slot's: of the newest revision, up, healthy, the youngest; the smallest is the best.
fn rank<'a>(holding: &Holding<'a>) -> (Reverse<u64>, bool, u8, Reverse<i64>, &'a str) {
    let container = holding.container;
    let health = match container.health {
        Health::Healthy => 0,
        Health::None => 1,
        Health::Starting => 2,
        Health::Unhealthy => 3,
    };
    let revision = container.labels.revision.unwrap_or_default();
    (Reverse(revision), !container.state.is_up(), health, Reverse(container.created), &container.name)
}
