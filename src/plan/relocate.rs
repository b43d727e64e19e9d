//! Volumes that move to another host: what is to be done next, by what was seen, and the steps of it.
//!
//! The way: the new host is marked, so that what comes there counts for nothing yet; the volumes are copied while they are in use;
//! what uses them stops, and what changed since is copied and checked; the old host is marked, which is the moment of the move; the
//! slots start on the new host; what is left on the old one goes. The marks are on the hosts (`world::Moving`), so wherever it is
//! interrupted, every look tells where the data lives, and how to go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Draft;
use super::teardown::Leaving;
use super::volumes::{of_service, volume_spec};
use super::{Cause, ContainerRef, Op, Plan, StepId, Subject};
use crate::placement::{Request, place};
use crate::project::{Host, HostName, Project, Service, ServiceName, Volume, VolumeName};
use crate::world::{Container, Moving, SeenHost, Sight, VolumeSeen, Way, World, keys};

/// What is asked for, and what it is judged by.
#[derive(Clone, Copy)]
pub struct Relocation<'a> {
    pub project: &'a Project,
    pub hosts: &'a [Host],
    pub world: &'a World,
    /// By the engines' names.
    pub volumes: &'a BTreeSet<String>,
    pub to: &'a HostName,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// They are there, and nothing is left of a move.
    Nothing,
    /// From the beginning, or from where an earlier one broke off before they had moved.
    Begin(Moving),
    /// They have moved: the slots start there, and what is left goes.
    Finish(Moving),
    /// Back to before: the half copy goes.
    Withdraw(Moving),
}

/// Why volumes do not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmovable {
    #[error("volume `{volume}` is {why}")]
    Kind { volume: String, why: &'static str, hint: &'static str },
    #[error("no host that answers has a volume `{volume}`")]
    Nowhere { volume: String },
    #[error("volume `{volume}` has moved to {to}, where it is not any more")]
    Lost { volume: String, from: HostName, to: HostName },
    #[error("several hosts have a volume `{volume}`: {}", list(hosts))]
    Several { volume: String, hosts: Vec<HostName> },
    #[error("there is a volume `{volume}` on {host} already")]
    Taken { volume: String, host: HostName },
    #[error("host `{host}` does not answer, or is none of the inventory")]
    Away { host: HostName },
    #[error("what uses these volumes uses {} too", list(others))]
    Together { others: Vec<String>, all: Vec<String> },
    #[error("the volumes are not on one host: {}", list(hosts))]
    Apart { hosts: Vec<HostName> },
    #[error("service `{service}` has a replica and a volume of its own on each host (deploy.mode: global)")]
    Global { service: ServiceName },
    #[error("{container} on {host}, which is not the project's, uses volume `{volume}`")]
    Stranger { container: String, host: HostName, volume: String },
    #[error("{slot} cannot be on {host}: {why}")]
    Unfit { slot: String, host: HostName, why: String },
    #[error("a move of {} from {} to {} was interrupted", list(&moving.volumes), moving.from, moving.to)]
    UnderWay { moving: Moving },
}

impl Unmovable {
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Kind { hint, .. } => (*hint).to_owned(),
            Self::Nowhere { .. } => {
                "`mcompose volume ls` tells which hosts have which; `mcompose up` makes what is missing".to_owned()
            }
            Self::Lost { from, .. } => format!("`--to {from}` goes back to what is left there, from before the move"),
            Self::Several { .. } => "`mcompose volume rm --host HOST NAME` removes the one that is not meant".to_owned(),
            Self::Taken { host, .. } => format!("`mcompose volume rm --host {host} NAME` removes it, with all that is in it"),
            Self::Away { .. } => "`mcompose hosts check` tells more".to_owned(),
            Self::Together { all, .. } => format!("move them together: `mcompose volume mv {} --to HOST`", all.join(" ")),
            Self::Apart { .. } => "move them one after the other".to_owned(),
            Self::Stranger { .. } => "stop that container first".to_owned(),
            Self::UnderWay { moving } => {
                let names: Vec<&str> = moving.volumes.iter().map(String::as_str).collect();
                let (names, home) = (names.join(" "), moving.home());
                match moving.has_moved {
                    true => format!("`mcompose volume mv {names} --to {home}` finishes it"),
                    false => format!("`mcompose volume mv {names} --to {}` finishes it, `--to {home}` takes it back", moving.to),
                }
            }
            Self::Global { .. } | Self::Unfit { .. } => return None,
        })
    }
}

fn list<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{}`", name.to_string())).collect::<Vec<_>>().join(", ")
}

/// What is to be done so that the volumes live on that host. `request`: as for the placement of the newest record.
pub fn course(asked: &Relocation<'_>, request: &Request) -> Result<Course, Unmovable> {
    let Relocation { world, volumes, to, .. } = *asked;
    asked.movable()?;
    let marks = world.moving();
    if let Some(moving) = volumes.iter().find_map(|volume| marks.get(volume)) {
        let is_lost =
            moving.has_moved && volumes.iter().any(|name| world.seen(moving.to.as_str()).is_some_and(|seen| !has(seen, name)));
        let may_go_back = *to == moving.from && (!moving.has_moved || is_lost);
        if moving.volumes != *volumes || (*to != moving.to && !may_go_back) {
            return Err(Unmovable::UnderWay { moving: moving.clone() });
        }
        for host in [&moving.from, &moving.to] {
            asked.seen(host)?;
        }
        let gone =
            |host: &HostName| volumes.iter().find(|volume| !world.seen(host.as_str()).is_some_and(|seen| has(seen, volume)));
        if let Some(volume) = gone(&moving.from).filter(|_| !moving.has_moved || gone(&moving.to).is_some()) {
            return Err(Unmovable::Nowhere { volume: volume.clone() });
        }
        if let Some(volume) = gone(&moving.to).filter(|_| moving.has_moved) {
            let (from, to) = (moving.from.clone(), moving.to.clone());
            return match *asked.to == from {
                true => Ok(Course::Withdraw(moving.clone())),
                false => Err(Unmovable::Lost { volume: volume.clone(), from, to }),
            };
        }
        return Ok(match moving.has_moved {
            true => Course::Finish(moving.clone()),
            false if *to == moving.from => Course::Withdraw(moving.clone()),
            false => {
                asked.fits(moving, request)?;
                Course::Begin(moving.clone())
            }
        });
    }
    let target = asked.seen(to)?;
    let from = asked.home()?;
    if from == *to {
        return Ok(Course::Nothing);
    }
    if let Some(volume) = volumes.iter().find(|volume| has(target, volume)) {
        return Err(Unmovable::Taken { volume: volume.clone(), host: to.clone() });
    }
    let moving = Moving { volumes: volumes.clone(), from, to: to.clone(), has_moved: false };
    asked.fits(&moving, request)?;
    Ok(Course::Begin(moving))
}

impl<'a> Relocation<'a> {
    fn seen(&self, host: &HostName) -> Result<&'a SeenHost, Unmovable> {
        let is_listed = self.hosts.iter().any(|listed| listed.name == *host);
        self.world.seen(host.as_str()).filter(|_| is_listed).ok_or_else(|| Unmovable::Away { host: host.clone() })
    }

    /// The declared volumes that are meant.
    fn declared(&self) -> impl Iterator<Item = (&'a VolumeName, &'a Volume)> {
        let (project, volumes) = (self.project, self.volumes);
        project.volumes.iter().filter(|(_, volume)| volumes.contains(&volume.name))
    }

    /// The services that mount one of them.
    fn users(&self) -> Vec<(&'a ServiceName, &'a Service)> {
        users(self.project, self.volumes)
    }

    /// Whether they are such as live on one host, and all that the services that use them have there.
    fn movable(&self) -> Result<(), Unmovable> {
        for (_, volume) in self.declared() {
            let kind = |why, hint| Err(Unmovable::Kind { volume: volume.name.clone(), why, hint });
            if volume.external {
                return kind("external: the project only uses it", "move it with the project that it belongs to");
            }
            if !volume.is_host_local() {
                return kind("of a driver that is shared by the hosts", "it need not move: the same data is on every host");
            }
            if !volume.driver_opts.is_empty() {
                let hint = "`mcompose volume backup`, `rm` and `restore` take it to another host";
                return kind("made with driver_opts, which say where its data is", hint);
            }
        }
        let mut all = self.volumes.clone();
        loop {
            let local = |volume: &Volume| !volume.external && volume.is_host_local();
            let used = users(self.project, &all).into_iter().flat_map(|(_, service)| of_service(self.project, service));
            let used: BTreeSet<String> =
                used.filter(|(_, volume)| local(volume)).map(|(_, volume)| volume.name.clone()).collect();
            if used.is_subset(&all) {
                break;
            }
            all.extend(used);
        }
        if all != *self.volumes {
            let others = all.difference(self.volumes).cloned().collect();
            return Err(Unmovable::Together { others, all: all.into_iter().collect() });
        }
        match self.users().into_iter().find(|(_, service)| service.mode().is_global()) {
            Some((service, _)) => Err(Unmovable::Global { service: service.clone() }),
            None => Ok(()),
        }
    }

    /// The one host where they are: of several that have a volume, the one where the project's containers mount it.
    fn home(&self) -> Result<HostName, Unmovable> {
        let mut homes: BTreeSet<HostName> = BTreeSet::new();
        for volume in self.volumes {
            let holders: Vec<_> = self.world.seen_hosts().filter(|(_, seen)| seen.has_whole(volume)).collect();
            let in_use = |(_, seen): &&(&HostName, &SeenHost)| {
                seen.containers.iter().any(|container| self.is_ours(container) && mounts(container, volume))
            };
            let used: Vec<_> = holders.iter().filter(in_use).collect();
            match (holders.as_slice(), used.as_slice()) {
                ([], _) => return Err(Unmovable::Nowhere { volume: volume.clone() }),
                ([(host, _)], _) | (_, [(host, _)]) => homes.insert((*host).clone()),
                _ => {
                    let hosts = holders.into_iter().map(|(host, _)| host.clone()).collect();
                    return Err(Unmovable::Several { volume: volume.clone(), hosts });
                }
            };
        }
        match homes.pop_first() {
            Some(home) if homes.is_empty() => Ok(home),
            first => Err(Unmovable::Apart { hosts: first.into_iter().chain(homes).collect() }),
        }
    }

    fn is_ours(&self, container: &Container) -> bool {
        container.labels.project.as_deref() == Some(self.project.name.as_str())
    }

    /// Whether nobody else is in the way, and every slot that uses them would be there then.
    fn fits(&self, moving: &Moving, request: &Request) -> Result<(), Unmovable> {
        for container in &self.seen(&moving.from)?.containers {
            let volume = self.volumes.iter().find(|volume| mounts(container, volume));
            if let Some(volume) = volume.filter(|_| container.state.is_up() && !self.is_ours(container)) {
                let (container, host) = (container.name.clone(), moving.from.clone());
                return Err(Unmovable::Stranger { container, host, volume: volume.clone() });
            }
        }
        let world = self.as_if_moved(moving);
        let users: BTreeSet<&ServiceName> = self.users().into_iter().map(|(name, _)| name).collect();
        let known = request.known.iter().filter(|(slot, _)| !users.contains(&slot.service));
        let known = known.map(|(slot, host)| (slot.clone(), host.clone())).collect();
        let placement = place(self.project, self.hosts, &world, &Request { known, ..request.clone() });
        let refused = placement.refused.iter().find(|(slot, _)| users.contains(&slot.service));
        if let Some((slot, refusal)) = refused {
            let why = refusal.misfits.get(&moving.to).map_or_else(|| refusal.to_string(), |misfit| format!("it {misfit}"));
            return Err(Unmovable::Unfit { slot: slot.to_string(), host: moving.to.clone(), why });
        }
        Ok(())
    }

    /// The hosts as they would be with the volumes there, and without the replicas that are to follow them.
    fn as_if_moved(&self, moving: &Moving) -> World {
        let users: BTreeSet<&str> = self.users().into_iter().map(|(name, _)| name.as_str()).collect();
        let mut world = self.world.clone();
        for (name, sight) in &mut world.hosts {
            let Sight::Seen(seen) = sight else { continue };
            let seen = Arc::make_mut(seen);
            let follows = |container: &Container| {
                self.is_ours(container) && container.labels.service.as_deref().is_some_and(|service| users.contains(service))
            };
            seen.containers.retain(|container| !follows(container));
            let is_mark =
                |volume: &VolumeSeen| [keys::INCOMING, keys::OUTGOING].iter().any(|key| volume.labels.contains_key(*key));
            seen.volumes.retain(|volume| !moving.volumes.contains(&volume.name) && !is_mark(volume));
            if *name == moving.to {
                seen.volumes
                    .extend(moving.volumes.iter().map(|volume| VolumeSeen { name: volume.clone(), ..VolumeSeen::default() }));
            }
        }
        world
    }

    /// Copies, stops, copies the rest, and marks: the last steps make it that they have moved.
    pub fn begin(&self, moving: &Moving) -> Plan {
        let mut draft = Draft::default();
        let Moving { from, to, volumes, .. } = moving;
        let cause = || Cause::Moved { to: to.clone() };
        let marked = mark(&mut draft, Way::Incoming, moving, to, Vec::new());
        let mut copied = Vec::new();
        for (key, volume) in self.declared() {
            let subject = || Subject::Volume(volume.name.clone());
            let op = Op::CreateVolume(Box::new(volume_spec(&self.project.name, key, volume)));
            let made = draft.step(to, subject(), op, cause(), vec![marked]);
            let op = Op::CopyVolume { name: volume.name.clone(), from: from.clone(), in_use: true };
            copied.push(draft.step(to, subject(), op, cause(), vec![made]));
        }
        let users =
            self.containers(from, |container| self.is_ours(container) && volumes.iter().any(|one| mounts(container, one)));
        let mut stopped = copied.clone();
        for container in users {
            let service = container.slot().and_then(|slot| self.project.services.get(&slot.service));
            let subject = container.slot().map_or_else(|| Subject::Container(container.name.clone()), Subject::Slot);
            let leaving = Leaving {
                host: from,
                subject,
                container,
                cause: cause(),
                timeout_secs: None,
                quiet_ms: None,
                service,
                volumes: false,
            };
            stopped.extend(leaving.stop(&mut draft, copied.clone()).map(|stopped| stopped.stop));
        }
        let mut checked = Vec::new();
        for (_, volume) in self.declared() {
            let op = Op::CopyVolume { name: volume.name.clone(), from: from.clone(), in_use: false };
            checked.push(draft.step(to, Subject::Volume(volume.name.clone()), op, cause(), stopped.clone()));
        }
        let moved = mark(&mut draft, Way::Outgoing, moving, from, checked);
        let op = Op::RemoveVolume { name: Way::Incoming.mark_name(volumes) };
        draft.step(to, Subject::Volume(Way::Incoming.mark_name(volumes)), op, cause(), vec![moved]);
        draft.finish(&self.project.name)
    }

    /// Takes back that they have moved: what is on the new host counts for nothing any more.
    pub fn take_back(&self, moving: &Moving) -> Plan {
        let mut draft = Draft::default();
        let marked = mark(&mut draft, Way::Incoming, moving, &moving.to, Vec::new());
        unmark(&mut draft, Way::Outgoing, moving, &moving.from, vec![marked]);
        draft.finish(&self.project.name)
    }

    /// What is called so where it does not live goes, with what still mounts it there and does not run, and both marks, that of
    /// that host last.
    ///
    /// Nothing, unless they are seen where they live.
    pub fn clear(&self, moving: &Moving) -> Plan {
        let mut draft = Draft::default();
        let stale = moving.stale();
        let home = self.world.seen(moving.home().as_str());
        if !home.is_some_and(|seen| moving.volumes.iter().all(|volume| has(seen, volume))) {
            return draft.finish(&self.project.name);
        }
        let cause = || Cause::Moved { to: moving.home().clone() };
        let other = self.carriers(moving.home(), &mut draft, &cause());
        let mut gone = self.carriers(stale, &mut draft, &cause());
        gone.extend(other);
        let is_left = |container: &&Container| {
            let is_idle = self.is_ours(container) && !container.state.is_up();
            is_idle && moving.volumes.iter().any(|volume| mounts(container, volume))
        };
        for container in self.containers(stale, |container| is_left(&container)) {
            let op = Op::Remove { container: ContainerRef::Id(container.id.clone()), volumes: false, force: false };
            let subject = container.slot().map_or_else(|| Subject::Container(container.name.clone()), Subject::Slot);
            gone.push(draft.step(stale, subject, op, cause(), Vec::new()));
        }
        let left = self.world.seen(stale.as_str()).into_iter().flat_map(|seen| &seen.volumes);
        for volume in left.filter(|volume| moving.volumes.contains(&volume.name)) {
            let op = Op::RemoveVolume { name: volume.name.clone() };
            gone.push(draft.step(stale, Subject::Volume(volume.name.clone()), op, cause(), gone.clone()));
        }
        let way = if moving.has_moved { Way::Outgoing } else { Way::Incoming };
        if moving.has_moved {
            gone.push(unmark(&mut draft, Way::Incoming, moving, &moving.to, Vec::new()));
        }
        unmark(&mut draft, way, moving, stale, gone);
        draft.finish(&self.project.name)
    }

    fn containers(&self, host: &HostName, are_meant: impl Fn(&'a Container) -> bool) -> Vec<&'a Container> {
        let containers = self.world.seen(host.as_str()).map(|seen| seen.containers.as_slice()).unwrap_or_default();
        containers.iter().filter(|container| are_meant(container)).collect()
    }

    /// Removes what copying left behind.
    fn carriers(&self, host: &HostName, draft: &mut Draft, cause: &Cause) -> Vec<StepId> {
        let is_carrier = |container: &Container| {
            let label = container.labels.rest.get(keys::CONTENT);
            label.is_some_and(|name| self.volumes.contains(name)) && !container.state.is_up()
        };
        let carriers = self.containers(host, is_carrier).into_iter().map(|container| {
            let op = Op::Remove { container: ContainerRef::Id(container.id.clone()), volumes: false, force: true };
            draft.step(host, Subject::Container(container.name.clone()), op, cause.clone(), Vec::new())
        });
        carriers.collect()
    }
}

fn users<'a>(project: &'a Project, volumes: &BTreeSet<String>) -> Vec<(&'a ServiceName, &'a Service)> {
    let uses = |service: &'a Service| of_service(project, service).any(|(_, volume)| volumes.contains(&volume.name));
    project.services.iter().filter(|(_, service)| uses(service)).collect()
}

fn has(seen: &SeenHost, volume: &str) -> bool {
    seen.volumes.iter().any(|other| other.name == volume)
}

fn mounts(container: &Container, volume: &str) -> bool {
    container.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == volume)
}

fn mark(draft: &mut Draft, way: Way, moving: &Moving, on: &HostName, after: Vec<StepId>) -> StepId {
    let spec = way.mark(&moving.volumes, &moving.from, &moving.to);
    let subject = Subject::Volume(spec.name.clone());
    draft.step(on, subject, Op::CreateVolume(Box::new(spec)), Cause::Moved { to: moving.to.clone() }, after)
}

fn unmark(draft: &mut Draft, way: Way, moving: &Moving, on: &HostName, after: Vec<StepId>) -> StepId {
    let name = way.mark_name(&moving.volumes);
    draft.step(on, Subject::Volume(name.clone()), Op::RemoveVolume { name }, Cause::Moved { to: moving.home().clone() }, after)
}

/// A sentence about each move of the project's volumes that was interrupted.
pub(super) fn unfinished(project: &Project, world: &World) -> BTreeSet<String> {
    let moving = world.moving();
    let ours = project.volumes.values().filter_map(|volume| moving.get(&volume.name));
    let told = ours.map(|moving| {
        let under_way = Unmovable::UnderWay { moving: moving.clone() };
        format!("{under_way}: {}", under_way.hint().unwrap_or_default())
    });
    told.collect()
}

/// What else of the engines' volumes goes where a volume goes: the marks of its last move.
pub(super) fn marks_of<'a>(world: &'a World, names: &BTreeSet<&str>) -> BTreeMap<&'a HostName, Vec<&'a str>> {
    let mut marks: BTreeMap<&HostName, Vec<&str>> = BTreeMap::new();
    for (host, seen) in world.seen_hosts() {
        for volume in &seen.volumes {
            let label = [keys::INCOMING, keys::OUTGOING].iter().find_map(|key| volume.labels.get(*key));
            if label.is_some_and(|named| named.split(',').all(|name| names.contains(name))) {
                marks.entry(host).or_default().push(&volume.name);
            }
        }
    }
    marks
}
