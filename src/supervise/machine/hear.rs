//! What is heard and seen of hosts, or not, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Command, EVENING_ROUNDS, Machine, Notice, State, Turn};
use crate::project::HostName;
use crate::world::{Fabric, SeenHost, Sight, Swarm};

impl Machine {
    pub(super) fn heard(&mut self, host: &HostName, now_ms: u64) {
        let answered = self.watches.change(host, |watch, _| {
            let turn = watch.answered(now_ms);
            if matches!(turn, Turn::Back { .. }) {
                watch.look_due_ms = now_ms;
            }
            (turn, watch.cooling_until_ms.saturating_sub(now_ms))
        });
        let Some((turn, trusted_in_ms)) = answered else { return };
        match turn {
            Turn::Back { was_lost } => {
                let host = host.clone();
                self.tell(if was_lost { Notice::HostBack { host, trusted_in_ms } } else { Notice::HostUp { host } });
                self.host_turned();
            }
            Turn::Same | Turn::Doubted | Turn::Lost { .. } => {}
        }
    }

    pub(super) fn silence(&mut self, host: &HostName, refused: bool, why: String, now_ms: u64) {
        let turn = self.watches.change(host, |watch, settings| {
            watch.ping_under_way = false;
            watch.look_under_way = false;
            watch.ping_due_ms = now_ms + settings.heartbeat_ms / 2;
            watch.silent(refused, why, now_ms, settings)
        });
        turn.into_iter().for_each(|turn| self.turn(host, turn));
    }

    pub(super) fn turn(&mut self, host: &HostName, turn: Turn) {
        if turn == Turn::Same {
            return;
        }
        let Some(why) = self.watches.get(host.as_str()).map(|watch| watch.why.clone()) else { return };
        let host = host.clone();
        match turn {
            Turn::Doubted => self.tell(Notice::HostDoubtful { host, why }),
            Turn::Lost { silent_ms } => {
                self.tell(Notice::HostLost { host, silent_ms, why });
                self.host_turned();
            }
            Turn::Same | Turn::Back { .. } => {}
        }
    }

    pub(super) fn sight(&mut self, host: &HostName, sight: Sight, now_ms: u64) {
        match sight {
            Sight::Seen(seen) => self.see(host, seen, now_ms),
            Sight::Unreachable { why } => {
                let turn = self.watches.change(host, |watch, settings| watch.silent(false, why, now_ms, settings));
                turn.into_iter().for_each(|turn| self.turn(host, turn));
            }
        }
    }

    /// A host was looked at. Projects that have containers on it, or had, are to be thought about if something changed.
    pub(super) fn see(&mut self, host: &HostName, seen: Arc<SeenHost>, now_ms: u64) {
        let watched = self.watches.change(host, |watch, settings| {
            let is_doubted = std::mem::take(&mut watch.doubted);
            match is_doubted {
                true => watch.look_due_ms = now_ms,
                false => watch.look_again(now_ms, settings),
            }
            watch.is_seen = true;
        });
        if watched.is_none() {
            return;
        }
        let before = self.seen.insert(host.clone(), seen);
        self.forget_old_names(now_ms);
        let Some(seen) = self.seen.get(host) else { return };
        let mut changed = changed_projects(before.as_deref(), seen);
        let is_first = before.is_none();
        if self.is_outside(host, seen) != self.outside.contains(host) {
            self.judge_membership();
        }
        self.heard(host, now_ms);
        for (name, care) in &mut self.cares {
            if is_first || changed.remove(name.as_str()) {
                care.dirty = true;
            }
        }
        self.interrupt_where_more_happened(host);
    }

    fn is_outside(&self, name: &HostName, seen: &SeenHost) -> bool {
        let wants_swarm = matches!(self.fabric, Fabric::Overlay { .. });
        wants_swarm && !self.leaving.contains_key(name) && !matches!(seen.swarm, Swarm::Active(_))
    }

    /// Hosts that answer and are in no swarm, be it that they came later than the others or with another disk, get nothing new before
    /// they have joined.
    pub(super) fn judge_membership(&mut self) {
        let is_outside = |(name, seen): &(&HostName, &Arc<SeenHost>)| self.is_outside(name, seen);
        let outside: BTreeSet<HostName> = self.seen.iter().filter(is_outside).map(|(name, _)| name.clone()).collect();
        if outside == self.outside {
            return;
        }
        let before = std::mem::replace(&mut self.outside, outside);
        let new: Vec<HostName> = self.outside.difference(&before).cloned().collect();
        new.into_iter().for_each(|host| self.tell(Notice::HostOutside { host }));
        for care in self.cares.values_mut() {
            care.dirty = true;
            care.evening_rounds = EVENING_ROUNDS;
        }
    }

    pub(super) fn watch_hosts(&mut self, now_ms: u64) {
        for name in self.watches.due(now_ms) {
            let commands = &mut self.commands;
            let turn = self.watches.change(&name, |watch, settings| {
                let turn = watch.passed(now_ms, settings);
                if !watch.ping_under_way && watch.ping_due_ms <= now_ms {
                    watch.ping_under_way = true;
                    commands.push(Command::Ping { host: name.clone() });
                }
                if !watch.look_under_way && watch.look_due_ms <= now_ms && watch.state == State::Up {
                    watch.look_under_way = true;
                    watch.look_again(now_ms, settings);
                    commands.push(Command::Look { host: name.clone() });
                }
                turn
            });
            turn.into_iter().for_each(|turn| self.turn(&name, turn));
        }
        if !self.records_under_way && self.records_due_ms <= now_ms {
            self.records_under_way = true;
            self.commands.push(Command::ReadRecords);
        }
    }

    /// More than half of the hosts silent at once: the fault may be its own network, so nothing is moved.
    pub(super) fn doubt_oneself(&mut self) {
        let (silent, hosts) = self.listed_silent();
        let holds = silent * 2 > hosts;
        if holds == self.holds {
            return;
        }
        self.holds = holds;
        self.tell(if holds { Notice::Holds { silent, hosts } } else { Notice::GoesOn });
        if holds {
            self.interrupt_all();
        } else {
            self.cares.values_mut().for_each(|care| care.dirty = true);
        }
    }
}

/// Projects of which a look shows something else than the one before.
fn changed_projects(before: Option<&SeenHost>, now: &SeenHost) -> BTreeSet<String> {
    type Face<'a> = (&'a str, &'a crate::world::State, crate::world::Health, Option<u32>, &'a str, Vec<&'a String>);
    fn faces(seen: &SeenHost) -> BTreeMap<&str, Vec<Face<'_>>> {
        let mut faces: BTreeMap<&str, Vec<Face<'_>>> = BTreeMap::new();
        for container in &seen.containers {
            let Some(project) = container.labels.project.as_deref() else { continue };
            let networks = container.networks.keys().collect();
            let restarts = container.restarts.map(|restarts| restarts.count);
            let face = (container.id.as_str(), &container.state, container.health, restarts, container.name.as_str(), networks);
            faces.entry(project).or_default().push(face);
        }
        faces
    }
    // What shows nothing new is the very same value.
    let Some(before) = before.filter(|before| !std::ptr::eq(*before, now)) else { return BTreeSet::new() };
    let (before, now) = (faces(before), faces(now));
    let projects: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    projects.into_iter().filter(|project| before.get(project) != now.get(project)).map(str::to_owned).collect()
}
