//! How a container leaves: its pre_stop hooks, the stop, the removal.

use super::draft::Draft;
use super::{Cause, ContainerRef, Op, StepId, Subject, mounts};
use crate::project::{HostName, Service};
use crate::world::{Container, State, keys};

/// A container on its way out, and how.
pub(super) struct Leaving<'x> {
    pub(super) host: &'x HostName,
    pub(super) subject: Subject,
    pub(super) container: &'x Container,
    pub(super) cause: Cause,
    pub(super) timeout_secs: Option<u64>,
    /// As in `Op::Stop`.
    pub(super) quiet_ms: Option<u64>,
    /// Its service, where the project still has it: hooks.
    pub(super) service: Option<&'x Service>,
    /// Its anonymous volumes go with it.
    pub(super) volumes: bool,
}

/// The steps of a stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopped {
    /// The hook or the stop that comes first.
    pub(super) first: StepId,
    pub(super) stop: StepId,
}

impl Leaving<'_> {
    /// Hooks, then the stop. Nothing for a container that does not run.
    pub(super) fn stop(&self, draft: &mut Draft, after: Vec<StepId>) -> Option<Stopped> {
        if !self.container.state.is_up() {
            return None;
        }
        let mut first = None;
        let mut after = after;
        let hooks = self.service.map(|service| service.pre_stop.as_slice()).unwrap_or_default();
        // Nothing can be run inside a container that is paused or about to restart.
        let hooks = if self.container.state == State::Running { hooks } else { &[] };
        for hook in hooks {
            let op = Op::Exec { container: self.id(), hook: Box::new(hook.clone()) };
            let cause = Cause::Hook { hook: "pre_stop".to_owned() };
            let step = draft.step(self.host, self.subject.clone(), op, cause, after);
            // It may have ended by itself meanwhile, and a hook that fails must not keep a container for ever.
            draft.tolerate(step);
            first.get_or_insert(step);
            after = vec![step];
        }
        let op = Op::Stop { container: self.id(), timeout_secs: self.timeout_secs, quiet_ms: self.quiet_ms };
        let stop = draft.step(self.host, self.subject.clone(), op, self.cause.clone(), after);
        Some(Stopped { first: first.unwrap_or(stop), stop })
    }

    pub(super) fn remove(&self, draft: &mut Draft, after: Vec<StepId>) -> StepId {
        let op = Op::Remove { container: self.id(), volumes: self.volumes, force: self.container.state == State::Dead };
        let removed = draft.step(self.host, self.subject.clone(), op, self.cause.clone(), after);
        if self.volumes {
            self.remove_inherited_volumes(draft, removed);
        }
        removed
    }

    /// Anonymous volumes that it took over from its predecessor are no longer anonymous to the engine, which leaves them.
    fn remove_inherited_volumes(&self, draft: &mut Draft, removed: StepId) {
        if !self.container.labels.rest.contains_key(keys::REPLACE) {
            return;
        }
        for mount in self.container.mounts.iter().filter(|mount| mounts::is_anonymous(mount)) {
            let op = Op::RemoveVolume { name: mount.name.clone() };
            let volume = draft.step(self.host, Subject::Volume(mount.name.clone()), op, self.cause.clone(), vec![removed]);
            // Another container may have it by volumes_from.
            draft.tolerate(volume);
        }
    }

    /// Stop and removal; `after` is waited for by the first of them.
    pub(super) fn leave(&self, draft: &mut Draft, after: Vec<StepId>) -> (Option<Stopped>, StepId) {
        match self.stop(draft, after.clone()) {
            Some(stopped) => (Some(stopped), self.remove(draft, vec![stopped.stop])),
            None => (None, self.remove(draft, after)),
        }
    }

    fn id(&self) -> ContainerRef {
        ContainerRef::Id(self.container.id.clone())
    }
}
