//! Slot by slot: what is there, what should be, and what becomes of it.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::compose::Compose;
use super::config_hash;
use super::view::Filler;
use super::{Cause, Recreate, networks};
use crate::project::{HostName, Service, ServiceName, SpecHash};
use crate::world::{Container, Health, ImageSeen, State};

/// What one service asks of all its slots.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a ServiceName,
    pub(super) service: &'a Service,
    pub(super) hash: SpecHash,
    pub(super) image: String,
    /// The copy of the image that its containers are to be of, by the host's place; nothing where the host has none.
    copies: Vec<OnceCell<Option<&'a ImageSeen>>>,
    /// Engine names of its networks, the main one first.
    pub(super) networks: Vec<String>,
    /// A replica that exited with 0 is done.
    pub(super) completes: bool,
    pub(super) recreate: Recreate,
}

/// What becomes of a slot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Nothing, or at most an unpausing or a start.
    Keep(Wake),
    Create,
    /// The container that is there makes way for another on the same host.
    Replace(Cause),
    /// The same where the old one has to be gone before the new one can be made: it is dead, or holds an outdated network.
    Remake(Cause),
    /// The container that is there is on another host than the slot now.
    Move,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wake {
    Nothing,
    Start(Cause),
    Unpause(Cause),
    /// Stopped, and not started again.
    Halt(Cause),
    /// Stopped and started again, since a service that it depends on with `restart: true` is replaced.
    Bounce(Cause),
}

/// One slot, its seat, its containers and what becomes of them.
#[derive(Debug, Clone)]
pub(super) struct Turn<'a> {
    pub(super) number: u32,
    pub(super) host: &'a HostName,
    /// The host's place among those that answered.
    pub(super) place: usize,
    /// The container that fills it now, the best if there are several.
    pub(super) filler: Option<Filler<'a>>,
    /// Others that claim the same slot.
    pub(super) extras: Vec<Filler<'a>>,
    pub(super) action: Action,
    /// The filler keeps its place under a name that is not the slot's.
    pub(super) misnamed: bool,
    /// Networks that a kept filler is not on, though it should be: an earlier run ended between create and connect.
    pub(super) unconnected: Vec<usize>,
    /// The filler is of a newer record than this plan, which must not undo it.
    pub(super) is_newer: bool,
}

impl Turn<'_> {
    /// The slot gets another container.
    pub(super) fn is_new(&self) -> bool {
        !matches!(self.action, Action::Keep(_))
    }

    /// Something is to be done about it.
    pub(super) fn has_steps(&self) -> bool {
        self.action != Action::Keep(Wake::Nothing) || self.misnamed || !self.extras.is_empty() || !self.unconnected.is_empty()
    }

    /// A container that was there makes way.
    pub(super) fn is_replaced(&self) -> bool {
        matches!(self.action, Action::Replace(_) | Action::Remake(_) | Action::Move)
    }
}

fn container_runs(filler: Filler<'_>) -> bool {
    filler.container.state.is_up()
}

/// Whether it is a name under which a replacement for the slot is made: `<12 hex>_NAME`.
fn is_temporary(name: &str, own: &str) -> bool {
    let prefix = name.strip_suffix(own).and_then(|rest| rest.strip_suffix('_'));
    prefix.is_some_and(|prefix| prefix.len() == 12 && prefix.chars().all(|digit| digit.is_ascii_hexdigit()))
}

impl<'a> Wanted<'a> {
    pub(super) fn new(compose: &Compose<'a>, name: &'a ServiceName, service: &'a Service, recreate: Recreate) -> Self {
        let networks = match service.network_mode {
            Some(_) => Vec::new(),
            None => networks::by_priority(service).into_iter().map(|(key, _)| networks::engine_name(compose, key)).collect(),
        };
        Self {
            name,
            service,
            hash: compose.spec_hash(name, service),
            image: service.image_name(compose.project, name.as_str()),
            networks,
            copies: compose.for_each_place(OnceCell::new()),
            completes: service.mode().is_job() || compose.is_awaited_to_complete(name),
            recreate,
        }
    }

    /// What becomes of a slot whose seat is on `host`, given every container that claims it.
    /// With `keeps_best` it keeps what runs best, be it what the service asks for now or not.
    pub(super) fn decide(
        &self,
        compose: &Compose<'a>,
        number: u32,
        (host, place): (&'a HostName, usize),
        claims: &[Filler<'a>],
        keeps_best: bool,
    ) -> Turn<'a> {
        let (filler, extras) = match claims {
            [] => (None, Vec::new()),
            [only] => (Some(*only), Vec::new()),
            _ => {
                let mut claims = claims.to_vec();
                claims.sort_by_key(|claim| std::cmp::Reverse(self.merit(compose, host, claim, keeps_best)));
                (claims.first().copied(), claims.split_off(1))
            }
        };
        let mut turn = Turn {
            number,
            host,
            place,
            filler,
            extras,
            action: Action::Create,
            misnamed: false,
            unconnected: Vec::new(),
            is_newer: false,
        };
        if let Some(filler) = filler {
            turn.is_newer = compose.is_newer(filler.container);
            turn.action = self.action(compose, host, &filler);
            if !turn.is_new() {
                let container = filler.container;
                let missing = |index: &usize| !container.networks.contains_key(&self.networks[*index]);
                turn.unconnected = (0..self.networks.len()).filter(missing).collect();
                turn.misnamed = !compose.has_name(self.name, self.service, number, &container.name);
            }
            if turn.misnamed && container_runs(filler) && !compose.renames_while_running(&self.networks) {
                self.settle_name(compose, &mut turn, filler);
            }
        }
        turn
    }

    /// One that runs cannot get its name here. A new one that was started beside its predecessor keeps the name that it was made
    /// under; any other is replaced.
    fn settle_name(&self, compose: &Compose<'a>, turn: &mut Turn<'a>, filler: Filler<'a>) {
        let name = &filler.container.name;
        turn.misnamed = false;
        let own = compose.container_name(self.name, self.service, turn.number);
        if !is_temporary(name, &own) && !turn.is_new() && self.recreate != Recreate::Never {
            turn.action = Action::Replace(Cause::Misnamed { name: name.clone() });
        }
    }

    fn action(&self, compose: &Compose<'a>, host: &HostName, filler: &Filler<'a>) -> Action {
        let container = filler.container;
        if filler.host != host {
            return Action::Move;
        }
        if let Some(cause) = self.difference(compose, filler) {
            return Action::Replace(cause);
        }
        let not_running = || Cause::NotRunning { state: container.state.to_string() };
        match &container.state {
            State::Running | State::Restarting => Action::Keep(Wake::Nothing),
            State::Paused => Action::Keep(Wake::Unpause(not_running())),
            State::Exited { code: Some(0) } if self.completes => Action::Keep(Wake::Nothing),
            State::Dead | State::Removing => Action::Remake(not_running()),
            _ if compose.has_lost_a_network(container) => {
                Action::Replace(Cause::Changed { keys: BTreeSet::from(["networks".to_owned()]) })
            }
            State::Created | State::Exited { .. } | State::Other(_) => Action::Keep(Wake::Start(not_running())),
        }
    }

    /// Why the container is not the one that the service asks for; nothing where it is.
    fn difference(&self, compose: &Compose<'a>, filler: &Filler<'a>) -> Option<Cause> {
        match self.recreate {
            Recreate::Never => return None,
            Recreate::Always => return Some(Cause::Requested),
            Recreate::Specified => return self.spec_difference(compose, filler),
            Recreate::Changed => {}
        }
        self.spec_difference(compose, filler).or_else(|| self.image_difference(compose, filler))
    }

    /// The container is the one that the project asks for, be it recreated otherwise or not.
    pub(super) fn is_of_project(&self, compose: &Compose<'a>, filler: &Filler<'a>) -> bool {
        self.spec_difference(compose, filler).is_none()
    }

    fn spec_difference(&self, compose: &Compose<'a>, filler: &Filler<'a>) -> Option<Cause> {
        let container = filler.container;
        match &container.labels.spec {
            Some(spec) if *spec == self.hash => None,
            Some(spec) => Some(Cause::Changed { keys: spec.changed(&self.hash) }),
            // docker compose made it: its own hash says as much, while the networks are the same ones.
            None => {
                let theirs = container.labels.config_hash.as_ref();
                let is_same = theirs.is_some_and(|theirs| {
                    config_hash::of_slot(compose, self.name, filler.number, filler.host).as_ref() == Some(theirs)
                });
                (!is_same).then_some(Cause::Forced)
            }
        }
    }

    fn image_difference(&self, compose: &Compose<'a>, filler: &Filler<'a>) -> Option<Cause> {
        let image = (*self.copies[filler.place].get_or_init(|| {
            let here = compose.at(filler.place).1.images.get(&self.image)?;
            // One that comes from a host and is older here is brought anew.
            let meant = compose.meant(&self.image).map(|meant| meant.image).filter(|meant| !here.is_same(meant));
            Some(meant.unwrap_or(here))
        }))?;
        let container = filler.container;
        let is_same = container.image_id == image.id || container.labels.image.as_ref() == Some(&image.id);
        (!is_same).then_some(Cause::ImageChanged)
    }

    /// A container keeps the namespaces and volumes of the neighbour it was made beside; any other is another neighbour, and so
    /// is one made later.
    pub(super) fn is_beside_another(&self, service: &str, container: &Container, neighbour: &Container) -> bool {
        let mode = container.network_mode.strip_prefix("container:");
        let shares_network = self.service.network_mode.as_deref().and_then(|mode| mode.strip_prefix("service:")) == Some(service);
        let is_other = |mode: &str| mode != neighbour.id.as_str() && mode != neighbour.name;
        (shares_network && mode.is_some_and(is_other)) || neighbour.created > container.created
    }

    /// Which of several containers for one slot is kept: one that this plan must not undo, then the one on the right host, one
    /// that is as it should be, that runs, of the newer record, the newer one; by id, so that there is always an answer.
    fn merit(&self, compose: &Compose<'a>, host: &HostName, claim: &Filler<'a>, keeps_best: bool) -> impl Ord + use<'a> {
        let container = claim.container;
        let is_fine = container.state == State::Running && matches!(container.health, Health::None | Health::Healthy);
        let is_current = self.spec_difference(compose, claim).is_none() && self.image_difference(compose, claim).is_none();
        let is_usable = !matches!(container.state, State::Dead | State::Removing);
        (
            compose.is_newer(container),
            claim.host == host,
            is_usable,
            keeps_best && is_fine,
            is_current,
            container.state.is_up(),
            container.labels.revision,
            container.created,
            &container.id,
        )
    }
}
