//! One rule per file; each says whether a host can take a replica, and if not, why.
//!
//! Rules that only the host and the service decide are interned and answered once per host, as bits (`rule.rs`). The rest
//! depends on what is placed already.

pub(super) mod availability;
pub(super) mod beside;
pub(super) mod constraint;
pub(super) mod container_name;
pub(super) mod max_replicas;
pub(super) mod network;
pub(super) mod platform;
pub(super) mod plugin;
pub(super) mod ports;
pub(super) mod resources;
pub(super) mod volume;

use super::Misfit;
use super::scene::Scene;

/// Whether a replica is new to the host or there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    New,
    /// A paused host keeps it, and its own container is in nobody's way.
    Keep,
}

/// May this slot be on this host?
#[derive(Debug, Clone, Copy)]
pub(super) struct Query {
    /// Index of the service.
    pub(super) service: usize,
    pub(super) number: u32,
    /// Index of the host.
    pub(super) site: usize,
    pub(super) stance: Stance,
}

type Filter = fn(&Scene, Query) -> Option<Misfit>;

/// In the order in which they are asked: what the host is, then what the slot needs beside it, then what is left there.
const FILTERS: &[Filter] = &[
    availability::misfit,
    super::rule::misfit,
    volume::misfit,
    network::misfit,
    beside::misfit,
    container_name::misfit,
    max_replicas::misfit,
    ports::misfit,
    resources::misfit,
];

/// The first reason against it, by asking every filter.
pub(super) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    FILTERS.iter().find_map(|filter| filter(scene, query))
}

/// The same, knowing that the host is available and meets the service's rules.
pub(super) fn misfit_of_the_moment(scene: &Scene, query: Query) -> Option<Misfit> {
    FILTERS[2..].iter().find_map(|filter| filter(scene, query))
}

/// Only what is left on the host: names, limits, ports and reservations.
pub(super) fn misfit_of_capacity(scene: &Scene, query: Query) -> Option<Misfit> {
    FILTERS[5..].iter().find_map(|filter| filter(scene, query))
}

/// Reasons that pass with what else is placed, as opposed to those of the host itself and of where things must be.
pub(super) fn is_of_capacity(misfit: &Misfit) -> bool {
    matches!(
        misfit,
        Misfit::Port { .. }
            | Misfit::MaxReplicas { .. }
            | Misfit::Cpus { .. }
            | Misfit::Memory { .. }
            | Misfit::Generic { .. }
            | Misfit::ContainerName { .. }
    )
}
