//! Which updates of a plan failed, and what follows.

use std::collections::{BTreeMap, BTreeSet};

use super::{FailureAction, Op, Plan, StepId, Subject};
use crate::project::ServiceName;

/// How a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its host, or the swarm, could not be had: the same may succeed a moment later, and says nothing of what was asked for.
    Passing,
    /// What was asked for does not work.
    Real,
}

/// Services whose update failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failing {
    /// They stay as they are until somebody says so.
    pub paused: BTreeSet<ServiceName>,
    /// They go back to the last good record.
    pub back: BTreeSet<ServiceName>,
}

impl Failing {
    pub fn is_empty(&self) -> bool {
        self.paused.is_empty() && self.back.is_empty()
    }
}

impl Plan {
    /// Services whose update failed, given how steps did. One that failed only since hosts did not answer is as it was before it.
    pub fn failing(&self, fault: impl Fn(StepId) -> Option<Fault>) -> Failing {
        let tallies = self.steps.iter().enumerate().filter(|(index, _)| fault(StepId(*index)).is_some());
        let actions = tallies.filter_map(|(index, step)| match (&step.op, &step.subject) {
            (Op::Tally { then, .. }, Subject::Service(service)) => Some((StepId(index), service, *then)),
            _ => None,
        });
        let mut failed: BTreeMap<ServiceName, FailureAction> = BTreeMap::new();
        for (tally, service, then) in actions {
            if self.before(tally).into_iter().any(|id| fault(id) == Some(Fault::Real)) {
                failed.insert(service.clone(), then);
            }
        }
        let of =
            |action: FailureAction| failed.iter().filter(|(_, then)| **then == action).map(|(name, _)| name.clone()).collect();
        Failing { paused: of(FailureAction::Pause), back: of(FailureAction::Rollback) }
    }

    /// Every step that a tally waits for, directly or not, but other tallies.
    fn before(&self, tally: StepId) -> BTreeSet<StepId> {
        let mut found = BTreeSet::new();
        let mut open = vec![tally];
        while let Some(id) = open.pop() {
            let after = self.steps.get(id.0).map(|step| step.after.as_slice()).unwrap_or_default();
            open.extend(after.iter().filter(|id| found.insert(**id)));
        }
        found.retain(|id| self.steps.get(id.0).is_some_and(|step| !matches!(step.op, Op::Tally { .. })));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Cause, ContainerRef, Step, Tolerance};
    use crate::project::{HostName, ProjectName, Slot};

    /// One batch of `web`: start, tally; then a second one behind it. `faults` by step.
    fn check(then: FailureAction, faults: &[(usize, Fault)], expect: [&[&str]; 2]) {
        let web = ServiceName::new("web").expect("a name");
        let step = |subject: Subject, op: Op, after: &[usize]| Step {
            host: HostName::new("h1").expect("a host name"),
            subject,
            op,
            cause: Cause::Update,
            after: after.iter().map(|id| StepId(*id)).collect(),
            tolerance: Tolerance::Strict,
        };
        let start = |number: u32, after: &[usize]| {
            let slot = Slot::new(web.clone(), number).expect("not 0");
            step(Subject::Slot(slot), Op::Start { container: ContainerRef::Name(format!("shop-web-{number}").into()) }, after)
        };
        let tally = |after: &[usize]| step(Subject::Service(web.clone()), Op::Tally { may_fail: 0, then }, after);
        let steps = vec![start(1, &[]), tally(&[0]), start(2, &[1]), tally(&[1, 2])];
        let plan = Plan { project: ProjectName::new("shop").expect("a name"), steps, notes: Vec::new() };
        let faults: BTreeMap<usize, Fault> = faults.iter().copied().collect();
        let failing = plan.failing(|id| faults.get(&id.0).copied());
        let names = |services: &BTreeSet<ServiceName>| services.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!([names(&failing.paused), names(&failing.back)], expect.map(|names| names.to_vec()), "{faults:?}");
    }

    #[test]
    fn an_update_whose_tally_failed_is_paused_or_goes_back_as_its_service_says() {
        use Fault::Real;
        check(FailureAction::Pause, &[], [&[], &[]]);
        check(FailureAction::Pause, &[(0, Real), (1, Real)], [&["web"], &[]]);
        check(FailureAction::Rollback, &[(2, Real), (3, Real)], [&[], &["web"]]);
        // More may fail than did.
        check(FailureAction::Rollback, &[(0, Real)], [&[], &[]]);
    }

    #[test]
    fn a_host_that_did_not_answer_fails_no_update() {
        use Fault::{Passing, Real};
        check(FailureAction::Pause, &[(0, Passing), (1, Real)], [&[], &[]]);
        check(FailureAction::Rollback, &[(0, Real), (2, Passing), (3, Real)], [&[], &["web"]]);
    }
}
