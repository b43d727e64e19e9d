//! `pre_start`: containers that run to their end before a service's replicas start, each once for the service, or once for each replica.
//!
//! One is made beside the replica that starts first, once that is made: it has the replica's volumes (`VolumesFrom`) and is on its networks.
//! It is removed when it ended well. Else it stays, so that its log can be read, the replicas do not start, and the next plan makes it anew.
//! A replica that began once, and is kept, says that all of that is done: neither scaling up nor a restart does it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::container::Fill;
use super::diff::Turn;
use super::images;
use super::replace::Stage;
use super::up::{RiseSteps, Upping};
use super::view::Filler;
use super::waits::longest;
use super::{Cause, ContainerRef, Op, StepId, Subject};
use crate::project::{ContainerSpec, Endpoint, HealthConfig, Hook, Project, Service, ServiceName, Until};
use crate::world::{Container, State, keys};

const PRE_START: &str = "pre_start";

/// Whether the hooks that run once for a service are to run in this plan: no replica that is kept has begun.
pub(super) fn is_due(hooks: &[Hook], turns: &[Turn<'_>]) -> bool {
    !hooks.is_empty() && turns.iter().all(is_fresh)
}

/// A replica that is made anew, or was made and never started.
fn is_fresh(turn: &Turn<'_>) -> bool {
    turn.is_new() || turn.filler.is_none_or(|filler| filler.container.state == State::Created)
}

/// The same for the replicas that are there, where nothing is made: whether this one may not start before its hooks have run.
pub(super) fn is_pending(service: &Service, fillers: &[Filler<'_>], filler: &Filler<'_>) -> bool {
    let has_begun = |filler: &Filler<'_>| filler.container.state != State::Created;
    let each = service.pre_start.iter().any(|hook| hook.per_replica == Some(true));
    let once = !service.pre_start.is_empty() && !fillers.iter().any(has_begun);
    (once || each) && !has_begun(filler)
}

/// Whether a container was made for a hook.
pub(super) fn is_hook(container: &Container) -> bool {
    container.labels.rest.contains_key(keys::HOOK)
}

/// `PROJECT-SERVICE-pre_start-N`, and behind it the replica's number for a hook that each replica has.
fn name_of(project: &Project, service: &ServiceName, number: usize, replica: Option<u32>) -> String {
    let separator = project.separator();
    let replica = replica.map(|replica| format!("{separator}{replica}")).unwrap_or_default();
    format!("{}{separator}{service}{separator}{PRE_START}{separator}{number}{replica}", project.name)
}

impl<'a> Upping<'a, '_> {
    /// The steps that a replica's start waits for beside `before`: the ends of the hooks.
    pub(super) fn pre_start(
        &mut self,
        stage: &Stage<'_, 'a>,
        container: &ContainerRef,
        before: &[StepId],
        steps: &mut RiseSteps,
    ) -> Vec<StepId> {
        let hooks = &stage.wanted.service.pre_start;
        let runs_once = stage.prepares && steps.prepared.is_none();
        let mut last = before.to_vec();
        last.extend(steps.prepared);
        for (index, hook) in hooks.iter().enumerate() {
            let each = hook.per_replica == Some(true);
            let runs = if each { is_fresh(stage.turn) } else { runs_once };
            if !runs {
                continue;
            }
            let replica = each.then_some(stage.turn.number);
            let name = name_of(self.compose.project, stage.wanted.name, index + 1, replica);
            let end = self.run_hook(stage, hook, container, &name, last);
            last = vec![end];
            if !each {
                steps.prepared = Some(end);
            }
        }
        last
    }

    /// Returns the step after which it has ended well and is gone.
    fn run_hook(
        &mut self,
        stage: &Stage<'_, 'a>,
        hook: &Hook,
        replica: &ContainerRef,
        name: &str,
        mut after: Vec<StepId>,
    ) -> StepId {
        let compose = self.compose;
        let host = stage.turn.host;
        let subject = || Subject::Container(name.to_owned());
        let cause = || Cause::Hook { hook: PRE_START.to_owned() };
        let container = || ContainerRef::Name(name.into());
        let left: Vec<_> = compose.view.oneoffs.iter().filter(|(_, container)| container.name == name).copied().collect();
        for (on, left) in left {
            let op = Op::Remove { container: ContainerRef::Id(left.id.clone()), volumes: true, force: true };
            after.push(self.draft.step(on, subject(), op, cause(), Vec::new()));
        }
        let image = hook.image.as_deref().unwrap_or(&stage.wanted.image);
        after.extend(self.resources.bring(compose, &mut self.draft, image, stage.wanted.service.platform.as_deref(), host));
        let image_id = images::id_on(compose, image, host).map(Into::into);
        let (filled, further) = match stage.template {
            Some(template) => {
                let (number, name) = (stage.turn.number, stage.name.clone());
                template.fill(Fill { number, host, image_id, name, inherited: &[], is_replacement: false })
            }
            None => Default::default(),
        };
        let mut spec = filled;
        spec.own.number = None;
        spec.own.alias = Some(name.into());
        let common = Arc::make_mut(&mut spec.common);
        become_hook(common, hook, (image != stage.wanted.image).then_some(image), replica);
        let op = Op::Create { name: name.into(), spec: Box::new(spec) };
        let mut ends = vec![self.draft.step(host, subject(), op, cause(), after)];
        for (network, mut endpoint) in further {
            take_names(&mut endpoint);
            endpoint.aliases.push(name.to_owned());
            let op = Op::Connect { container: container(), network, endpoint: Box::new(endpoint) };
            let made = ends[0];
            ends.push(self.draft.step(host, subject(), op, cause(), vec![made]));
        }
        let started = self.draft.step(host, subject(), Op::Start { container: container() }, cause(), ends);
        let until = Until::Completed;
        let op = Op::Await { container: container(), until, at_most_secs: longest(until) };
        let ended = self.draft.step(host, subject(), op, cause(), vec![started]);
        let op = Op::Remove { container: container(), volumes: false, force: false };
        self.draft.step(host, subject(), op, cause(), vec![ended])
    }
}

/// Turns a replica's request into that of its hook. `image`: where it is another than the service's; then command and entrypoint are those
/// of the image, too.
fn become_hook(spec: &mut ContainerSpec, hook: &Hook, image: Option<&str>, replica: &ContainerRef) {
    if let Some(image) = image {
        image.clone_into(&mut spec.image);
        (spec.cmd, spec.entrypoint) = (None, None);
    }
    if let Some(command) = &hook.command {
        spec.cmd = Some(command.to_vec());
    }
    spec.user = hook.user.clone().or(spec.user.take());
    spec.working_dir = hook.working_dir.clone().or(spec.working_dir.take());
    set_variables(&mut spec.env, &hook.environment);
    spec.healthcheck = Some(HealthConfig { test: vec!["NONE".to_owned()], ..HealthConfig::default() });
    spec.mac_address = None;
    spec.exposed_ports.clear();
    spec.volumes.clear();
    for compared in [keys::SPEC, keys::REVISION, keys::REPLACE] {
        spec.labels.remove(compared);
    }
    spec.labels.insert(keys::ONEOFF.to_owned(), "True".to_owned());
    spec.labels.insert(keys::HOOK.to_owned(), PRE_START.to_owned());
    let config = &mut spec.host_config;
    config.binds.clear();
    config.mounts.clear();
    config.port_bindings.clear();
    config.restart_policy = None;
    config.rest.remove("Links");
    config.rest.insert("VolumesFrom".to_owned(), vec![replica.as_str()].into());
    if hook.privileged {
        config.rest.insert("Privileged".to_owned(), true.into());
    }
    spec.networking_config.endpoints_config.values_mut().for_each(take_names);
}

/// Nobody is to take it for a replica, and the replica has its addresses.
fn take_names(endpoint: &mut Endpoint) {
    endpoint.aliases.clear();
    endpoint.ipam_config = None;
    endpoint.mac_address = None;
}

/// Puts variables in the place of others of the same name; one without a value is taken away.
fn set_variables(env: &mut Vec<String>, variables: &BTreeMap<String, Option<String>>) {
    env.retain(|entry| !variables.contains_key(entry.split_once('=').map_or(entry.as_str(), |(name, _)| name)));
    env.extend(variables.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))));
}
