//! Hosts that the inventory does not list any more: they are drained, and let go once nothing of any project is on them.
//!
//! Who edits the file moves nothing by it. To forget such a host at once would be to start its replicas a second time beside those
//! that run there, in the same network, and a volume's slot on a second, empty one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Care, Command, Machine, Notice, Phase, Watch};
use crate::project::{Availability, Host, HostName, ProjectName};
use crate::world::{Container, SeenHost, State};

/// It is let go when for so long nothing was on it: two looks, and longer than what was begun before takes.
const LET_GO_AFTER_MS: u64 = 60_000;

#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Since when nothing of any project is on it.
    bare_since_ms: Option<u64>,
    /// What was told to stay there, so that it is told once.
    told: BTreeSet<String>,
}

impl Machine {
    /// The hosts that are listed now, and those that were before and leave, which get nothing new.
    pub(super) fn with_leaving(&mut self, listed: Vec<Host>) -> BTreeMap<HostName, Host> {
        let mut hosts: BTreeMap<HostName, Host> = listed.into_iter().map(|host| (host.name.clone(), host)).collect();
        self.leaving.retain(|name, _| !hosts.contains_key(name));
        for (name, host) in &self.hosts {
            if hosts.contains_key(name) {
                continue;
            }
            if !self.leaving.contains_key(name) {
                self.leaving.insert(name.clone(), Leaving::default());
                self.commands.push(Command::Tell(Notice::HostUnlisted { host: name.clone() }));
            }
            hosts.insert(name.clone(), Host { availability: Availability::Drain, ..host.clone() });
        }
        hosts
    }

    /// Listed hosts that are silent, and all of them: those that leave say nothing of this supervisor's network.
    pub(super) fn listed_silent(&self) -> (usize, usize) {
        let is_silent = |name: &&HostName| self.watches.get(name.as_str()).is_some_and(Watch::is_silent);
        let silent = self.watches.silent() - self.leaving.keys().filter(is_silent).count();
        (silent, self.watches.len() - self.leaving.len())
    }

    /// Lets those go on which nothing is any more, and says what stays on the others.
    pub(super) fn let_go(&mut self, now_ms: u64) {
        if self.leaving.is_empty() || !self.records_read {
            return;
        }
        let is_idle = self.cares.values().all(|care| care.phase == Phase::Idle);
        let mut gone = Vec::new();
        let mut notices = Vec::new();
        for (name, leaving) in &mut self.leaving {
            let (moves, stays) = match self.seen.get(name) {
                Some(seen) => left_on(seen, &self.cares),
                None => {
                    (self.cares.values().any(|care| care.deployment.seats.values().any(|host| host == name)), BTreeSet::new())
                }
            };
            if !stays.is_subset(&leaving.told) {
                notices.push(Notice::HostKept { host: name.clone(), because: stays.clone() });
            }
            if moves || !stays.is_empty() || !is_idle {
                leaving.bare_since_ms = None;
            } else if now_ms.saturating_sub(*leaving.bare_since_ms.get_or_insert(now_ms)) >= LET_GO_AFTER_MS {
                gone.push(name.clone());
            }
            leaving.told = stays;
        }
        notices.into_iter().for_each(|notice| self.tell(notice));
        for host in gone {
            self.tell(Notice::HostLetGo { host: host.clone() });
            self.forget_host(host, now_ms);
        }
    }

    /// A machine that is listed under another name has left under its old one at once: what is on it is there once, not twice.
    pub(super) fn forget_old_names(&mut self, now_ms: u64) {
        if self.leaving.is_empty() {
            return;
        }
        let is_renamed = |old: &&HostName| {
            let Some(seen) = self.seen.get(*old) else { return false };
            let mut listed = self.seen.iter().filter(|(name, _)| !self.leaving.contains_key(*name));
            listed.any(|(_, other)| other.engine.is_same_machine(&seen.engine))
        };
        let renamed: Vec<HostName> = self.leaving.keys().filter(is_renamed).cloned().collect();
        renamed.into_iter().for_each(|host| self.forget_host(host, now_ms));
    }

    fn forget_host(&mut self, host: HostName, now_ms: u64) {
        self.leaving.remove(&host);
        self.hosts.remove(&host);
        self.seen.remove(&host);
        self.watches.take(self.hosts.keys(), now_ms);
        self.commands.push(Command::LetGo { host });
    }
}

/// Whether something is on the host that moves by itself, and in words what does not.
fn left_on(seen: &SeenHost, cares: &BTreeMap<ProjectName, Care>) -> (bool, BTreeSet<String>) {
    let (mut moves, mut stays) = (false, BTreeSet::new());
    for container in &seen.containers {
        let project = container.labels.project.as_deref().unwrap_or_default();
        let Some(care) = cares.get(project) else { continue };
        let slot = container
            .slot()
            .filter(|slot| !container.labels.oneoff && care.deployment.project.services.contains_key(&slot.service));
        match slot {
            Some(slot) => {
                moves |= container.state.is_up() || !care.deployment.halted.contains(&slot.service) && !is_over(care, container)
            }
            None if container.state.is_up() => drop(stays.insert(format!("container `{}`", container.name))),
            None => {}
        }
    }
    for care in cares.values() {
        let project = &care.deployment.project;
        let used = project.services.values().filter(|service| !service.mode().is_global()).flat_map(|service| &service.volumes);
        let volumes =
            used.filter(|mount| mount.kind == "volume").filter_map(|mount| project.volumes.get(mount.source.as_deref()?));
        let is_there = |name: &str| seen.volumes.iter().any(|volume| volume.name == name);
        for volume in volumes.filter(|volume| !volume.external && volume.is_host_local() && is_there(&volume.name)) {
            stays.insert(format!("volume `{}` of `{}`", volume.name, project.name));
        }
    }
    (moves, stays)
}

/// Whether nobody starts the replica again.
fn is_over(care: &Care, container: &Container) -> bool {
    let is_done = container.slot().is_some_and(|slot| care.done.contains(&slot));
    is_done || container.state == (State::Exited { code: Some(0) })
}
