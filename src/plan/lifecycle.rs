//! The goals that act on the containers that are there: start, stop, restart, kill, pause, unpause, remove.

use std::collections::BTreeMap;

use super::compose::Compose;
use super::draft::Draft;
use super::order::{self, Chosen};
use super::pre_start;
use super::teardown::Leaving;
use super::view::Filler;
use super::waits::{self, longest};
use super::{Cause, ContainerRef, Goal, Inputs, Note, Op, Plan, Selection, StepId, Subject, sealed};
use crate::project::{Condition, Service, ServiceName, Slot, Until};
use crate::world::{Container, State};

/// The plan for a goal other than up, down and pull; those give nothing here.
pub(super) fn plan(goal: &Goal, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let mut life = Life { compose: &compose, draft: Draft::default() };
    for (host, why) in compose.world.unreachable_hosts() {
        life.draft.note(Note::HostUnreachable { host: host.clone(), why: why.to_owned() });
    }
    match goal {
        Goal::Start { services, wait_secs } => life.start(services, *wait_secs),
        Goal::Stop { services, timeout_secs } => life.stop(services, *timeout_secs, None),
        Goal::Remove { services, stop, volumes } => life.remove(services, *stop, *volumes),
        Goal::Restart { services, timeout_secs, no_deps } => life.restart(services, *timeout_secs, !no_deps),
        Goal::Kill { services, signal, remove_orphans } => life.kill(services, signal, *remove_orphans),
        Goal::Pause { services } => life.each(services, |filler| match filler.container.state {
            State::Running => Some(Op::Pause { container: reference(filler) }),
            _ => None,
        }),
        Goal::Unpause { services } => life.each(services, |filler| match filler.container.state {
            State::Paused => Some(Op::Unpause { container: reference(filler) }),
            _ => None,
        }),
        Goal::Up(_) | Goal::Down { .. } | Goal::Pull { .. } | Goal::Build { .. } | Goal::Run(_) | Goal::Push { .. } => {}
    }
    sealed::arrange(&compose, &mut life.draft);
    life.draft.finish(&compose.project.name)
}

struct Life<'c, 'a> {
    compose: &'c Compose<'a>,
    draft: Draft,
}

fn reference(filler: &Filler<'_>) -> ContainerRef {
    ContainerRef::Id(filler.container.id.clone())
}

fn subject(name: &ServiceName, filler: &Filler<'_>) -> Subject {
    match Slot::new(name.clone(), filler.number) {
        Some(slot) => Subject::Slot(slot),
        None => Subject::Container(filler.container.name.clone()),
    }
}

impl<'a> Life<'_, 'a> {
    /// One step for each container that gives one, all at once.
    fn each(&mut self, services: &Selection, op: impl Fn(&Filler<'a>) -> Option<Op>) {
        for (name, _) in order::services(self.compose.project, services, false) {
            for filler in self.compose.view.of(name.as_str()) {
                if let Some(op) = op(filler) {
                    self.draft.step(filler.host, subject(name, filler), op, Cause::Requested, Vec::new());
                }
            }
        }
    }

    /// Needed services first; what depends on them waits as `depends_on` says. A replica that is done stays so.
    fn start(&mut self, services: &Selection, wait_secs: Option<u64>) {
        let mut ended: BTreeMap<&str, Vec<(Filler<'a>, Option<StepId>)>> = BTreeMap::new();
        let mut ready: BTreeMap<(&str, Condition, bool), Vec<StepId>> = BTreeMap::new();
        for (name, service) in order::services(self.compose.project, services, false) {
            let mut before = Vec::new();
            for (needed, dependency) in &service.depends_on {
                let Some(fillers) = ended.get(needed.as_str()) else { continue };
                let key = (needed.as_str(), dependency.condition, dependency.required);
                if let std::collections::btree_map::Entry::Vacant(entry) = ready.entry(key) {
                    let ends = self.await_each(needed, fillers, dependency, name);
                    entry.insert(self.draft.gate(needed, ends));
                }
                before.extend(ready.get(&key).into_iter().flatten());
            }
            let fillers = self.compose.view.of(name.as_str());
            if fillers.is_empty() && service.replicas() > 0 {
                self.draft.note(Note::Refused {
                    subject: name.to_string(),
                    attribute: "start".to_owned(),
                    why: "it has no container to start".to_owned(),
                    hint: "`mcompose up` makes one".to_owned(),
                });
            }
            let mut ends = Vec::new();
            for filler in fillers {
                if pre_start::is_pending(service, fillers, filler) {
                    self.draft.note(Note::Refused {
                        subject: name.to_string(),
                        attribute: "start".to_owned(),
                        why: "what runs before its start (`pre_start`) has not ended well".to_owned(),
                        hint: "`mcompose up` runs it".to_owned(),
                    });
                    continue;
                }
                let started = self.start_one((name, service), filler, &before);
                if let Some(secs) = wait_secs {
                    self.await_ready(name, service, filler, started, secs);
                }
                ends.push((*filler, started));
            }
            ended.insert(name.as_str(), ends);
        }
    }

    /// Whether its replicas are done once they have ended well.
    fn completes(&self, name: &ServiceName, service: &Service) -> bool {
        service.mode().is_job() || self.compose.is_awaited_to_complete(name)
    }

    fn await_ready(&mut self, name: &ServiceName, service: &Service, filler: &Filler<'a>, started: Option<StepId>, secs: u64) {
        let until = if self.completes(name, service) { Until::Completed } else { Until::Ready };
        let op = Op::Await { container: reference(filler), until, at_most_secs: secs };
        self.draft.step(filler.host, subject(name, filler), op, Cause::Requested, started.into_iter().collect());
    }

    fn start_one(&mut self, (name, service): Chosen<'a>, filler: &Filler<'a>, before: &[StepId]) -> Option<StepId> {
        let completes = self.completes(name, service);
        let is_startable = match filler.container.state {
            State::Exited { code: Some(0) } => !completes,
            State::Created | State::Exited { .. } | State::Other(_) => true,
            State::Running | State::Paused | State::Restarting | State::Removing | State::Dead => false,
        };
        if !is_startable {
            return None;
        }
        let op = Op::Start { container: reference(filler) };
        let start = self.draft.step(filler.host, subject(name, filler), op, Cause::Requested, before.to_vec());
        Some(self.post_start((name, service), filler, start))
    }

    fn post_start(&mut self, (name, service): Chosen<'a>, filler: &Filler<'a>, start: StepId) -> StepId {
        let mut end = start;
        for hook in &service.post_start {
            let op = Op::Exec { container: reference(filler), hook: Box::new(hook.clone()) };
            let cause = Cause::Hook { hook: "post_start".to_owned() };
            end = self.draft.step(filler.host, subject(name, filler), op, cause, vec![end]);
        }
        end
    }

    fn await_each(
        &mut self,
        needed: &ServiceName,
        fillers: &[(Filler<'a>, Option<StepId>)],
        dependency: &crate::project::Dependency,
        by: &ServiceName,
    ) -> Vec<StepId> {
        let mut ends = Vec::new();
        for (filler, started) in fillers {
            if started.is_none() && waits::meets(filler.container, dependency.condition) {
                continue;
            }
            let until = match dependency.condition {
                Condition::ServiceStarted if dependency.required => {
                    ends.extend(*started);
                    continue;
                }
                Condition::ServiceStarted => Until::Running,
                Condition::ServiceHealthy => Until::Healthy,
                Condition::ServiceCompletedSuccessfully => Until::Completed,
            };
            let op = Op::Await { container: reference(filler), until, at_most_secs: longest(until) };
            let cause = Cause::DependsOn { service: by.clone() };
            let step = self.draft.step(filler.host, subject(needed, filler), op, cause, started.iter().copied().collect());
            if !dependency.required {
                self.draft.tolerate(step);
            }
            ends.push(step);
        }
        ends
    }

    /// Dependents first. `then_remove` is given the container with the step that stopped it, if it ran.
    fn stop(&mut self, services: &Selection, timeout_secs: Option<u64>, then_remove: Option<bool>) {
        let services = order::services(self.compose.project, services, false);
        let needed_by = order::needed_by(&services);
        let mut gates: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
        for (name, service) in services.iter().rev() {
            let dependents = needed_by.get(name.as_str()).into_iter().flatten();
            let after: Vec<StepId> = dependents.filter_map(|name| gates.get(name.as_str())).flatten().copied().collect();
            let mut ends = Vec::new();
            for filler in self.compose.view.of(name.as_str()) {
                let leaving = Leaving {
                    host: filler.host,
                    subject: subject(name, filler),
                    container: filler.container,
                    cause: Cause::Requested,
                    timeout_secs,
                    quiet_ms: None,
                    service: Some(service),
                    volumes: then_remove.unwrap_or_default(),
                };
                let stopped = leaving.stop(&mut self.draft, after.clone()).map(|stopped| stopped.stop);
                ends.extend(stopped);
                if then_remove.is_some() {
                    leaving.remove(&mut self.draft, stopped.into_iter().collect());
                }
            }
            let ends = if ends.is_empty() { after } else { self.draft.gate(name, ends) };
            gates.insert(name.as_str(), ends);
        }
    }

    fn remove(&mut self, services: &Selection, stop: bool, volumes: bool) {
        if stop {
            return self.stop(services, None, Some(volumes));
        }
        for (name, service) in order::services(self.compose.project, services, false) {
            for filler in self.compose.view.of(name.as_str()) {
                if filler.container.state.is_up() || filler.container.state == State::Removing {
                    continue;
                }
                let leaving = Leaving {
                    host: filler.host,
                    subject: subject(name, filler),
                    container: filler.container,
                    cause: Cause::Requested,
                    timeout_secs: None,
                    quiet_ms: None,
                    service: Some(service),
                    volumes,
                };
                leaving.remove(&mut self.draft, Vec::new());
            }
        }
    }

    /// Services in order of need; with `dependents`, those that depend on one with `restart: true` are restarted after it.
    fn restart(&mut self, services: &Selection, timeout_secs: Option<u64>, dependents: bool) {
        let project = self.compose.project;
        let mut restarted: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
        for (name, service) in order::services(project, &Selection::All, false) {
            let needed = service.depends_on.iter().filter(|(_, dependency)| dependency.restart);
            let before: Vec<&Vec<StepId>> = needed.filter_map(|(needed, _)| restarted.get(needed.as_str())).collect();
            let follows = dependents && !before.is_empty();
            if !services.has(name.as_str()) && !follows {
                continue;
            }
            let before: Vec<StepId> = before.into_iter().flatten().copied().collect();
            let cause = match service.depends_on.iter().find(|(needed, _)| restarted.contains_key(needed.as_str())) {
                Some((needed, _)) if !services.has(name.as_str()) => Cause::DependencyReplaced { service: needed.clone() },
                _ => Cause::Requested,
            };
            let mut ends = Vec::new();
            for filler in self.compose.view.of(name.as_str()) {
                ends.push(self.restart_one((name, service), filler, timeout_secs, &cause, before.clone()));
            }
            let ends = self.draft.gate(name, ends);
            restarted.insert(name.as_str(), ends);
        }
    }

    fn restart_one(
        &mut self,
        (name, service): Chosen<'a>,
        filler: &Filler<'a>,
        timeout_secs: Option<u64>,
        cause: &Cause,
        before: Vec<StepId>,
    ) -> StepId {
        let mut after = before;
        let hooks = if filler.container.state == State::Running { service.pre_stop.as_slice() } else { &[] };
        for hook in hooks {
            let op = Op::Exec { container: reference(filler), hook: Box::new(hook.clone()) };
            let cause = Cause::Hook { hook: "pre_stop".to_owned() };
            let step = self.draft.step(filler.host, subject(name, filler), op, cause, after);
            self.draft.tolerate(step);
            after = vec![step];
        }
        let op = Op::Restart { container: reference(filler), timeout_secs };
        let restart = self.draft.step(filler.host, subject(name, filler), op, cause.clone(), after);
        self.post_start((name, service), filler, restart)
    }

    fn kill(&mut self, services: &Selection, signal: &str, orphans: bool) {
        let kill = |container: &Container| {
            let op = || Op::Kill { container: ContainerRef::Id(container.id.clone()), signal: signal.to_owned() };
            container.state.is_up().then(op)
        };
        self.each(services, |filler| kill(filler.container));
        for (host, container) in self.compose.view.oneoffs.iter().copied() {
            let service = container.labels.service.as_deref().unwrap_or_default();
            let is_meant = services.has(service) && self.compose.project.services.contains_key(service);
            if let Some(op) = kill(container).filter(|_| is_meant) {
                let subject = Subject::Container(container.name.clone());
                self.draft.step(host, subject, op, Cause::Requested, Vec::new());
            }
        }
        if !orphans {
            return;
        }
        let compose = self.compose;
        for (_, fillers) in self.compose.view.services().filter(|(service, _)| !compose.knows_service(service)) {
            for filler in fillers {
                if let Some(op) = kill(filler.container) {
                    let subject = Subject::Container(filler.container.name.clone());
                    self.draft.step(filler.host, subject, op, Cause::Orphan, Vec::new());
                }
            }
        }
    }
}
