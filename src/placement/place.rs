//! The way from project, hosts and world to a placement.
//!
//! First what is somewhere already stays where it may (`keep.rs`); then services choose in turn, those with the least choice
//! first (`fill.rs`, `global.rs`). Nothing that was decided is taken back, except that a replica that waited for the service it
//! must be beside moves after it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::anchor;
use super::claims::Claims;
use super::filters::{self, Query, Stance};
use super::scene::Scene;
use super::site::{Site, roles};
use super::unlisted::unlisted;
use super::{Misfit, Placement, Refusal, Request, Seat, Why};
use crate::project::{Host, HostName, Project, Role, ServiceName, Slot};
use crate::world::World;

/// A placement in the making. Services and hosts are indexes, in the order of the project and of the inventory.
pub(super) struct Draft<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) claims: Claims<'a>,
    pub(super) request: &'a Request,
    /// By service.
    pub(super) seats: Vec<Vec<SeatDraft>>,
    /// By service: numbers that have no host yet, in order.
    pub(super) open: Vec<Vec<u32>>,
    pub(super) refused: Vec<(usize, u32, Refusal)>,
    pub(super) is_filled: Vec<bool>,
    /// By service: those that must be beside it.
    pub(super) followers: Vec<Vec<usize>>,
}

pub(super) struct SeatDraft {
    pub(super) number: u32,
    pub(super) site: usize,
    pub(super) why: WhyDraft,
}

#[derive(Clone)]
pub(super) enum WhyDraft {
    Stays,
    /// A job's replica that has done its work: it stays, and takes nothing.
    Done,
    Held(String),
    Best {
        fitting: u32,
    },
    Volume(String),
    Folder(String),
    /// Index of the other service.
    With(usize),
    Global,
}

/// Slots that are refused while a container of theirs is there, by service and number. Their containers are left alone, so what
/// they hold is not for others.
pub(super) type Stuck = BTreeMap<(usize, u32), Refusal>;

/// How often a placement is begun anew because a refused slot's container turned out to stay. Each time there are more such
/// slots, and mostly there are none.
const ROUNDS_MAX: usize = 8;

/// Gives every slot of the project a host, or the reason why none. Same input, same bytes.
///
/// Hosts that the world does not show count as unreachable; hosts that only the world shows are left out. Containers of refused
/// slots are taken to go on as they are.
pub fn place(project: &Project, hosts: &[Host], world: &World, request: &Request) -> Placement {
    let unlisted = unlisted(project, hosts, world, &request.known);
    let draft = |stuck: &Stuck| draft(project, (hosts, &unlisted), world, request, stuck);
    let mut stuck = Stuck::new();
    for _ in 1..ROUNDS_MAX {
        let draft = draft(&stuck);
        let before = stuck.len();
        for (service, number, refusal) in &draft.refused {
            if draft.claims.of(*service).iter().any(|holding| holding.number == *number) {
                stuck.entry((*service, *number)).or_insert_with(|| refusal.clone());
            }
        }
        if stuck.len() == before {
            return draft.finish();
        }
    }
    draft(&stuck).finish()
}

/// Why each host would not take this replica as one more, with everything placed as `place` does; a host that would is not among
/// them. For those who ask why it is where it is.
pub fn misfits(
    project: &Project,
    hosts: &[Host],
    world: &World,
    request: &Request,
    slot: &Slot,
) -> Arc<BTreeMap<HostName, Misfit>> {
    let unlisted = unlisted(project, hosts, world, &request.known);
    let draft = draft(project, (hosts, &unlisted), world, request, &Stuck::new());
    let service = draft.scene.asks.iter().position(|ask| *ask.name == slot.service);
    service.map(|service| draft.refusal(service, slot.number.get()).misfits).unwrap_or_default()
}

/// Where each slot is, for the next record: the seats of this placement, and of slots that have none now, since they fit nowhere,
/// nobody asks for them or their host is lost, where `known` says they are: of those that own a host-local volume, so that their data
/// is found again, and of global services, so that nobody else gets the number that goes on over there.
pub fn seats_to_remember(project: &Project, placement: &Placement, known: &BTreeMap<Slot, HostName>) -> BTreeMap<Slot, HostName> {
    let mut seats: BTreeMap<Slot, HostName> =
        placement.seats.iter().map(|(slot, seat)| (slot.clone(), seat.host.clone())).collect();
    let is_global = |slot: &Slot| project.services.get(&slot.service).is_some_and(|service| service.mode().is_global());
    let seated = placement.seats.iter().filter(|(slot, _)| is_global(slot));
    let seated: BTreeSet<(&ServiceName, &HostName)> = seated.map(|(slot, seat)| (&slot.service, &seat.host)).collect();
    let without_seat = known.iter().filter(|(slot, _)| !placement.seats.contains_key(*slot));
    let remembered = without_seat.filter(|(slot, host)| match is_global(slot) {
        true => !seated.contains(&(&slot.service, *host)),
        false => owns_data(project, slot),
    });
    seats.extend(remembered.map(|(slot, host)| (slot.clone(), host.clone())));
    seats
}

fn owns_data(project: &Project, slot: &Slot) -> bool {
    let mounts = project.services.get(&slot.service).map(|service| service.volumes.as_slice()).unwrap_or_default();
    let sources = mounts.iter().filter(|mount| mount.kind == "volume").filter_map(|mount| mount.source.as_deref());
    let mut volumes = sources.filter_map(|key| project.volumes.get(key));
    volumes.any(|volume| !volume.external && volume.is_host_local())
}

/// Those that the inventory lists, and those that it does not list any more.
type Hosts<'a> = (&'a [Host], &'a [Host]);

fn draft<'a>(
    project: &'a Project,
    (hosts, unlisted): Hosts<'a>,
    world: &'a World,
    request: &'a Request,
    stuck: &Stuck,
) -> Draft<'a> {
    let roles = roles(hosts, |host| world.seen(host.name.as_str()));
    let mut sites: Vec<Site> = Vec::with_capacity(hosts.len());
    for (host, role) in hosts.iter().zip(roles) {
        let mut site = Site::new(host, world.seen(host.name.as_str()), role);
        site.is_only_host = hosts.len() == 1;
        site.is_lost = site.seen.is_none() && request.lost.contains(&host.name);
        sites.push(site);
    }
    for host in unlisted {
        let mut site = Site::new(host, None, Role::Worker);
        (site.is_lost, site.is_listed) = (true, false);
        sites.push(site);
    }
    let claims = Claims::read(project, &mut sites, world, request, stuck);
    let mut scene = Scene::new(project, sites);
    anchor::settle(&mut scene, request, &claims);
    let count = scene.asks.len();
    let mut followers = vec![Vec::new(); count];
    for (index, ask) in scene.asks.iter().enumerate() {
        ask.beside.iter().for_each(|leader| followers[*leader].push(index));
    }
    let mut draft = Draft {
        scene,
        claims,
        request,
        seats: (0..count).map(|_| Vec::new()).collect(),
        open: vec![Vec::new(); count],
        refused: Vec::new(),
        is_filled: vec![false; count],
        followers,
    };
    draft.keep_all(stuck);
    for service in draft.order() {
        draft.fill(service);
    }
    draft
}

impl<'a> Draft<'a> {
    /// Services in the order in which they choose: those that others must be beside first, then those whose hosts are given,
    /// then those with fewer hosts to choose from, then those that need more; last by name.
    fn order(&self) -> Vec<usize> {
        let key = |index: &usize| {
            let ask = &self.scene.asks[*index];
            let mut fitting = ask.meets.clone();
            fitting.keep(&self.scene.active);
            let size = (Reverse(ask.needs.memory_bytes), Reverse(ask.needs.nano_cpus));
            (ask.level, !ask.mode.is_global(), fitting.count(), size, *index)
        };
        let mut order: Vec<usize> = (0..self.scene.asks.len()).collect();
        order.sort_by_cached_key(key);
        order
    }

    pub(super) fn seat(&mut self, query: Query, why: WhyDraft) {
        self.scene.seat(query);
        self.seats[query.service].push(SeatDraft { number: query.number, site: query.site, why });
    }

    pub(super) fn set_open(&mut self, service: usize, mut numbers: Vec<u32>) {
        numbers.sort_unstable();
        self.scene.undecided[service] = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        self.open[service] = numbers;
    }

    /// Every host's reason against one more replica.
    pub(super) fn refusal(&self, service: usize, number: u32) -> Refusal {
        let listed = (0..self.scene.sites.len()).filter(|site| self.scene.sites[*site].is_listed);
        let misfits = listed.filter_map(|site| {
            let misfit = filters::misfit(&self.scene, Query { service, number, site, stance: Stance::New })?;
            Some((self.scene.sites[site].host.name.clone(), misfit))
        });
        Refusal { misfits: Arc::new(misfits.collect()) }
    }

    pub(super) fn refuse_at(&mut self, service: usize, number: u32, site: usize, misfit: Misfit) {
        let misfits = BTreeMap::from([(self.scene.sites[site].host.name.clone(), misfit)]);
        self.refused.push((service, number, Refusal { misfits: Arc::new(misfits) }));
    }

    fn finish(mut self) -> Placement {
        let (asks, sites) = (&self.scene.asks, &self.scene.sites);
        let hosts = u32::try_from(sites.iter().filter(|site| site.is_listed).count()).unwrap_or(u32::MAX);
        let name = |site: usize| -> HostName { sites[site].host.name.clone() };
        let slot = |service: usize, number: u32| Slot::new(asks[service].name.clone(), number);
        let mut seats = Vec::with_capacity(self.seats.iter().map(Vec::len).sum());
        for (service, drafts) in self.seats.iter_mut().enumerate() {
            drafts.sort_unstable_by_key(|draft| draft.number);
            for draft in drafts.drain(..) {
                // One that came back to the host of its container after all has stayed.
                let is_new = matches!(
                    draft.why,
                    WhyDraft::Best { .. } | WhyDraft::Volume(_) | WhyDraft::Folder(_) | WhyDraft::With(_) | WhyDraft::Global
                );
                let has_stayed = is_new && self.claims.is_at(service, draft.number, draft.site);
                let why = match draft.why {
                    _ if has_stayed => Why::Stays,
                    WhyDraft::Stays | WhyDraft::Done => Why::Stays,
                    WhyDraft::Held(because) => Why::Held { because },
                    WhyDraft::Best { fitting } => Why::Best { fitting, hosts },
                    WhyDraft::Volume(volume) => Why::Volume { volume },
                    WhyDraft::Folder(folder) => Why::Folder { folder },
                    WhyDraft::With(other) => Why::With { service: asks[other].name.clone() },
                    WhyDraft::Global => Why::Global,
                };
                seats.extend(slot(service, draft.number).map(|slot| (slot, Seat { host: name(draft.site), why })));
            }
        }
        let refused = self.refused.into_iter().filter_map(|(service, number, refusal)| Some((slot(service, number)?, refusal)));
        Placement { seats: seats.into_iter().collect(), refused: refused.collect() }
    }
}
