//! A host as placement sees it: what is known of it, and what is taken there so far.

use std::collections::{BTreeMap, BTreeSet};

use super::filters::ports::{PortAsk, overlap};
use super::filters::resources::Stock;
use crate::project::{Host, Protocol, Role};
use crate::world::{Container, SeenHost, State, Swarm};

#[derive(Debug, Clone)]
pub(super) struct Site<'a> {
    pub(super) host: &'a Host,
    /// Nothing: the host is unreachable.
    pub(super) seen: Option<&'a SeenHost>,
    /// Unreachable, and to be counted as lost for good.
    pub(super) is_lost: bool,
    /// The inventory has it. Those that it has no more are lost too.
    pub(super) is_listed: bool,
    pub(super) role: Role,
    /// The inventory has no other.
    pub(super) is_only_host: bool,
    pub(super) stock: Stock,
    /// Who holds which host port, by protocol, port and then address.
    ports: BTreeMap<(Protocol, u16), Vec<(&'a str, Holder<'a>)>>,
    /// Names of containers that are no replicas of this project.
    pub(super) strangers: BTreeSet<&'a str>,
    /// One of them begins with the project's name.
    pub(super) has_similar_stranger: bool,
    /// Replicas of this project that are placed here.
    pub(super) replicas: u32,
    /// Containers of others that are up.
    pub(super) others: u32,
    pub(super) hash: u64,
}

/// Who has a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder<'a> {
    Stranger(&'a str),
    /// Index of the service, and number.
    Replica(usize, u32),
    /// Two ports of the same replica.
    Itself,
}

impl<'a> Site<'a> {
    pub(super) fn new(host: &'a Host, seen: Option<&'a SeenHost>, role: Role) -> Self {
        Self {
            host,
            seen,
            is_lost: false,
            is_listed: true,
            role,
            is_only_host: false,
            stock: seen.map(|seen| Stock::of(&seen.engine)).unwrap_or_default(),
            ports: BTreeMap::new(),
            strangers: BTreeSet::new(),
            has_similar_stranger: false,
            replicas: 0,
            others: 0,
            hash: hash_of(host.name.as_str()),
        }
    }

    pub(super) fn node_id(&self) -> &'a str {
        match self.seen.map(|seen| (&seen.swarm, &seen.engine.id)) {
            Some((Swarm::Active(member), _)) => &member.node_id,
            Some((Swarm::Inactive | Swarm::Pending { .. }, id)) => id,
            None => "",
        }
    }

    /// Counts a container that is no replica of this project: its name and what it holds.
    pub(super) fn add_stranger(&mut self, container: &'a Container, project: &str) {
        self.strangers.insert(&container.name);
        self.has_similar_stranger |= container.name.starts_with(project);
        self.occupy(container);
    }

    /// Counts what a container holds as long as it is there: ports and reservation, while it is not over.
    pub(super) fn occupy(&mut self, container: &'a Container) {
        if matches!(container.state, State::Exited { .. } | State::Dead | State::Removing) {
            return;
        }
        self.others += u32::from(container.state.is_up());
        if let Some(reservation) = &container.labels.reservation {
            self.stock.reserve(reservation);
        }
        for port in &container.ports {
            if let Some(number) = port.host_port {
                let holder = Holder::Stranger(&container.name);
                self.ports.entry((port.protocol, number)).or_default().push((&port.host_ip, holder));
            }
        }
    }

    pub(super) fn port_holder(&self, ask: &PortAsk, port: u16) -> Option<Holder<'a>> {
        let taken = self.ports.get(&(ask.protocol, port))?;
        taken.iter().find(|(ip, _)| overlap(ip, ask.ip)).map(|(_, holder)| *holder)
    }

    pub(super) fn bind(&mut self, asks: &[PortAsk<'a>], chosen: &[u16], holder: Holder<'a>) {
        for (ask, port) in asks.iter().zip(chosen) {
            self.ports.entry((ask.protocol, *port)).or_default().push((ask.ip, holder));
        }
    }

    pub(super) fn unbind(&mut self, holder: Holder<'a>) {
        self.ports.retain(|_, taken| {
            taken.retain(|(_, other)| *other != holder);
            !taken.is_empty()
        });
    }
}

/// FNV-1a, finished by splitmix64: names that differ little get hashes that differ much.
pub(super) fn hash_of(text: &str) -> u64 {
    mixed(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)))
}

pub(super) fn mixed(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Manager or worker, for each host: what its swarm says, else what the inventory says, else what forming the swarm will make
/// of it: the first of two hosts and the first three of more are managers.
pub(super) fn roles<'a>(hosts: &[Host], seen: impl Fn(&Host) -> Option<&'a SeenHost>) -> Vec<Role> {
    let is_told = hosts.iter().any(|host| host.role == Some(Role::Manager));
    let managers = if hosts.len() > 2 { 3 } else { 1 };
    let role = |(index, host): (usize, &Host)| match (seen(host).map(|seen| &seen.swarm), host.role) {
        (Some(Swarm::Active(member)), _) => {
            if member.is_manager {
                Role::Manager
            } else {
                Role::Worker
            }
        }
        (_, Some(role)) => role,
        (_, None) => {
            if !is_told && index < managers {
                Role::Manager
            } else {
                Role::Worker
            }
        }
    };
    hosts.iter().enumerate().map(role).collect()
}
