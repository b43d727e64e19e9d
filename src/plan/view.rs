//! The world as a plan looks at it: the project's containers by service and number.

use std::collections::BTreeMap;

use crate::project::{HostName, ProjectName, ServiceName};
use crate::world::{Container, SeenHost};

/// A container that fills a slot, with its host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Filler<'a> {
    pub(super) number: u32,
    pub(super) host: &'a HostName,
    /// The host's place among those that answered.
    pub(super) place: usize,
    pub(super) container: &'a Container,
}

/// The containers of one project on every host that was seen.
#[derive(Debug, Default)]
pub(super) struct View<'a> {
    /// By service name, in order of number, then host and name. Services that the project does not have are among them.
    services: BTreeMap<&'a str, Vec<Filler<'a>>>,
    /// Containers with the project's label that no slot can be read from.
    pub(super) strays: Vec<(&'a HostName, &'a Container)>,
    /// One-off containers (`run`).
    pub(super) oneoffs: Vec<(&'a HostName, &'a Container)>,
}

impl<'a> View<'a> {
    /// `answering`: the hosts that answered, in order of name.
    pub(super) fn new(answering: &[(&'a HostName, &'a SeenHost)], project: &'a ProjectName) -> Self {
        let mut view = Self::default();
        let containers = answering.iter().enumerate().flat_map(|(place, (host, seen))| {
            let ours = seen.containers.iter().filter(|container| container.labels.project.as_deref() == Some(project.as_str()));
            ours.map(move |container| (place, *host, container))
        });
        for (place, host, container) in containers {
            let labels = &container.labels;
            match (labels.service.as_deref(), labels.number.filter(|number| *number > 0)) {
                _ if labels.oneoff => view.oneoffs.push((host, container)),
                (Some(service), Some(number)) => {
                    view.services.entry(service).or_default().push(Filler { number, host, place, container });
                }
                _ => view.strays.push((host, container)),
            }
        }
        for fillers in view.services.values_mut() {
            fillers.sort_by_key(|filler| filler.number);
        }
        view
    }

    /// A service's containers in order of number.
    pub(super) fn of(&self, service: &str) -> &[Filler<'a>] {
        self.services.get(service).map(Vec::as_slice).unwrap_or_default()
    }

    /// A container that fills this slot on this host, the last by name.
    pub(super) fn container(&self, service: &ServiceName, number: u32, host: &HostName) -> Option<&'a Container> {
        let fillers = self.of(service.as_str()).iter().rev();
        fillers.filter(|filler| filler.number == number).find(|filler| filler.host == host).map(|filler| filler.container)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = (&'a str, &[Filler<'a>])> {
        self.services.iter().map(|(name, fillers)| (*name, fillers.as_slice()))
    }
}
