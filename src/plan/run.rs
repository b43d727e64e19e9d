//! The goal `Run`: one container beside a service's replicas, on a host of placement's choice.
//!
//! While it is planned, it is the one slot of a service of its own (`Run::key`), so that placement and resources treat it as any
//! replica. Its labels and names say then whose it is. Planned again once it is there, only what is left of it is planned: the start.

use std::sync::Arc;

use super::compose::Compose;
use super::container::{Fill, Template};
use super::diff::{Action, Turn, Wanted};
use super::draft::Draft;
use super::images;
use super::refusals::Refusals;
use super::resources::Resources;
use super::up::{Rise, RiseSteps};
use super::waits::{longest, meets};
use super::{Cause, ContainerRef, Inputs, Note, Op, Plan, Recreate, Run, SlotSpec, StepId, Subject, sealed};
use crate::project::{Condition, Endpoint, HostName, Service, ServiceName, Slot, Until};
use crate::world::keys;

const SLUG: &str = "com.docker.compose.slug";

pub(super) fn plan(goal: &Run, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let mut draft = Draft::default();
    for (host, why) in compose.world.unreachable_hosts() {
        draft.note(Note::HostUnreachable { host: host.clone(), why: why.to_owned() });
    }
    let mut running = Running { compose: &compose, goal, draft };
    let there = compose.view.oneoffs.iter().find(|(_, container)| container.name == goal.name);
    match there {
        Some((host, container)) if goal.start && !container.state.is_up() => {
            running.start(host, ContainerRef::Id(container.id.clone()), Vec::new());
        }
        Some(_) => {}
        None => running.make(),
    }
    sealed::arrange(&compose, &mut running.draft);
    running.draft.finish(&compose.project.name)
}

struct Running<'c, 'a> {
    compose: &'c Compose<'a>,
    goal: &'c Run,
    draft: Draft,
}

impl<'a> Running<'_, 'a> {
    fn make(&mut self) {
        let compose = self.compose;
        let key = self.goal.key();
        let Some((name, service)) = compose.project.services.get_key_value(key.as_str()) else { return };
        let Some((number, host)) = compose.seats(name).next() else {
            let refused = Slot::new(key, 1).and_then(|slot| Some((slot.clone(), compose.placement.refused.get(&slot)?)));
            refused.into_iter().for_each(|(slot, refusal)| self.draft.note(Note::unplaced(slot, refusal)));
            return;
        };
        let Some(place) = compose.place_of(host) else { return };
        let mut refusals = Refusals::new(compose, name, service);
        if refusals.refuses((host, place), number, &mut self.draft) {
            return;
        }
        let turn = Turn {
            number,
            host,
            place,
            filler: None,
            extras: Vec::new(),
            action: Action::Create,
            misnamed: false,
            unconnected: Vec::new(),
            is_newer: false,
        };
        let wanted = Wanted::new(compose, name, service, Recreate::Changed);
        let rise = Rise { wanted, turns: vec![turn], surplus: Vec::new(), steps: RiseSteps::default() };
        refusals.note_inert(&rise.turns, &mut self.draft);
        let mut resources = Resources::default();
        resources.require(compose, &mut self.draft, &rise);
        let mut after = resources.before(compose, service, &rise.wanted.image, host);
        after.extend(self.pull_again(service, &rise.wanted.image, host));
        after.extend(self.await_needed(service));
        let ends = self.create(&rise.wanted, number, host, after);
        if self.goal.start {
            self.start(host, ContainerRef::Name(self.goal.name.as_str().into()), ends);
        }
    }

    /// `--pull always`, or the service's own policy: an image of a registry that is there is pulled too.
    fn pull_again(&mut self, service: &Service, image: &str, host: &HostName) -> Option<StepId> {
        let is_there = self.compose.seen(host).is_some_and(|seen| seen.images.contains_key(image));
        let is_wanted = service.pull_policy.as_deref() == Some("always") && self.compose.meant(image).is_none();
        (is_there && is_wanted).then(|| {
            let op = Op::Pull { image: image.to_owned(), platform: service.platform.clone() };
            self.draft.step(host, Subject::Image(image.to_owned()), op, Cause::Requested, Vec::new())
        })
    }

    /// Waits until the conditions of `depends_on` hold; that what is needed runs is another goal, and reached before.
    fn await_needed(&mut self, service: &'a Service) -> Vec<StepId> {
        let mut waits = Vec::new();
        for (needed, dependency) in &service.depends_on {
            let until = match dependency.condition {
                Condition::ServiceStarted => continue,
                Condition::ServiceHealthy => Until::Healthy,
                Condition::ServiceCompletedSuccessfully => Until::Completed,
            };
            for (number, host) in self.compose.seats(needed) {
                let container = self.compose.view.container(needed, number, host);
                let Some((container, slot)) = container.zip(Slot::new(needed.clone(), number)) else { continue };
                if meets(container, dependency.condition) {
                    continue;
                }
                let container = ContainerRef::Id(container.id.clone());
                let op = Op::Await { container, until, at_most_secs: longest(until) };
                let cause = Cause::DependsOn { service: self.goal.service.clone() };
                let wait = self.draft.step(host, Subject::Slot(slot), op, cause, Vec::new());
                if !dependency.required {
                    self.draft.tolerate(wait);
                }
                waits.push(wait);
            }
        }
        waits
    }

    /// Returns the steps after which it may start.
    fn create(&mut self, wanted: &Wanted<'a>, number: u32, host: &'a HostName, after: Vec<StepId>) -> Vec<StepId> {
        let goal = self.goal;
        let image_id = images::id_on(self.compose, &wanted.image, host);
        let template = Template::new(self.compose, wanted.name, wanted.service, &wanted.hash);
        let name = self.compose.container_name(wanted.name, wanted.service, number).into();
        let image_id = image_id.map(Into::into);
        let (mut spec, further) = template.fill(Fill { number, host, image_id, name, inherited: &[], is_replacement: false });
        self.mark(&mut spec, wanted.name);
        let op = Op::Create { name: goal.name.as_str().into(), spec: Box::new(spec) };
        let made = self.draft.step(host, self.subject(), op, Cause::Requested, after);
        let connects = further.into_iter().map(|(network, mut endpoint)| {
            self.rename(&mut endpoint, wanted.name);
            let container = ContainerRef::Name(goal.name.as_str().into());
            let op = Op::Connect { container, network, endpoint: Box::new(endpoint) };
            self.draft.step(host, Subject::Container(goal.name.clone()), op, Cause::Requested, vec![made])
        });
        let connects: Vec<StepId> = connects.collect();
        if connects.is_empty() { vec![made] } else { connects }
    }

    /// It is the service's, and no replica of it: without number, and without what replicas are compared by.
    fn mark(&self, spec: &mut SlotSpec, key: &ServiceName) {
        let goal = self.goal;
        spec.own.number = None;
        let common = Arc::make_mut(&mut spec.common);
        for compared in [keys::SPEC, keys::REVISION] {
            common.labels.remove(compared);
        }
        let labels = [(keys::SERVICE, goal.service.as_str()), (keys::ONEOFF, "True"), (SLUG, &goal.slug)];
        common.labels.extend(labels.map(|(key, value)| (key.to_owned(), value.to_owned())));
        common.attach_stdin = common.open_stdin;
        common.stdin_once = common.open_stdin;
        if goal.auto_remove {
            common.host_config.rest.insert("AutoRemove".to_owned(), true.into());
        }
        common.networking_config.endpoints_config.values_mut().for_each(|endpoint| self.rename(endpoint, key));
    }

    /// Beside its own name, which comes first, it has the service's names only if that was asked for: else it would be among the
    /// addresses that clients of the service are given.
    fn rename(&self, endpoint: &mut Endpoint, key: &ServiceName) {
        let name = &self.goal.name;
        match self.goal.use_aliases {
            false => endpoint.aliases.retain(|alias| alias == name),
            true => endpoint.aliases.iter_mut().filter(|alias| alias.as_str() == key.as_str()).for_each(|alias| {
                self.goal.service.as_str().clone_into(alias);
            }),
        }
    }

    fn start(&mut self, host: &HostName, container: ContainerRef, after: Vec<StepId>) {
        self.draft.step(host, self.subject(), Op::Start { container }, Cause::Requested, after);
    }

    fn subject(&self) -> Subject {
        Subject::Container(self.goal.name.clone())
    }
}
