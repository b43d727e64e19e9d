//! A plan in the making. Steps may come to wait for later ones; `finish` puts each behind all that it waits for.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::{Cause, Note, Op, Plan, Step, StepId, Subject, Tolerance};
use crate::project::{HostName, ProjectName, ServiceName};

/// From this many ends on, those that wait for all of them do so through a gate.
const GATE_FROM: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Draft {
    steps: Vec<Step>,
    notes: BTreeSet<Note>,
    /// A step was told to wait for a later one, so `finish` has to put them in order.
    has_later_edges: bool,
}

impl Draft {
    pub(super) fn step(&mut self, host: &HostName, subject: Subject, op: Op, cause: Cause, after: Vec<StepId>) -> StepId {
        self.push(Step { host: host.clone(), subject, op, cause, after, tolerance: Tolerance::Strict })
    }

    /// Room for this many steps more, so that those that are there are not moved again and again.
    pub(super) fn reserve(&mut self, steps: usize) {
        self.steps.reserve(steps);
    }

    pub(super) fn push(&mut self, step: Step) -> StepId {
        let id = StepId(self.steps.len());
        self.steps.push(step);
        id
    }

    /// `step` waits for `others` too, earlier and later ones alike.
    pub(super) fn wait_for(&mut self, step: StepId, others: &[StepId]) {
        let others = others.iter().filter(|other| **other != step);
        self.has_later_edges |= others.clone().any(|other| *other > step);
        if let Some(step) = self.steps.get_mut(step.0) {
            step.after.extend(others);
        }
    }

    /// What is to be waited for by those that wait for every one of `ends`: the ends themselves while they are few, else a gate.
    pub(super) fn gate(&mut self, service: &ServiceName, ends: Vec<StepId>) -> Vec<StepId> {
        if ends.len() < GATE_FROM {
            return ends;
        }
        let Some(host) = ends.first().and_then(|end| self.steps.get(end.0)).map(|step| step.host.clone()) else { return ends };
        let cause = Cause::DependsOn { service: service.clone() };
        vec![self.step(&host, Subject::Service(service.clone()), Op::Gate, cause, ends)]
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn host_of(&self, step: StepId) -> Option<HostName> {
        self.steps.get(step.0).map(|step| step.host.clone())
    }

    /// The failure of this step is a warning.
    pub(super) fn tolerate(&mut self, step: StepId) {
        if let Some(step) = self.steps.get_mut(step.0) {
            step.tolerance = Tolerance::Warn;
        }
    }

    /// Creations under a name that a step of this plan sets free on the same host wait for that step.
    pub(super) fn create_after_removal(&mut self, freed: &BTreeMap<(&HostName, &str), StepId>) {
        if freed.is_empty() {
            return;
        }
        let creations = self.steps.iter().enumerate().filter_map(|(index, step)| match &step.op {
            Op::Create { name, .. } => Some((StepId(index), *freed.get(&(&step.host, &**name))?)),
            _ => None,
        });
        for (creation, removal) in creations.collect::<Vec<_>>() {
            self.wait_for(creation, &[removal]);
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.insert(note);
    }

    /// Every step stands behind those that it waits for; otherwise the order of making is kept. Edges of a circle are dropped,
    /// which a valid project never has.
    pub(super) fn finish(self, project: &ProjectName) -> Plan {
        let Self { mut steps, notes, has_later_edges } = self;
        for step in &mut steps {
            step.after.sort_unstable();
            step.after.dedup();
        }
        if has_later_edges {
            steps = sorted(steps);
        }
        Plan { project: project.clone(), steps, notes: notes.into_iter().collect() }
    }
}

/// Kahn's algorithm; among the steps that are free, the one made first comes first.
fn sorted(steps: Vec<Step>) -> Vec<Step> {
    let count = steps.len();
    let mut waiting: Vec<usize> = steps.iter().map(|step| step.after.len()).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, step) in steps.iter().enumerate() {
        for after in &step.after {
            followers[after.0].push(index);
        }
    }
    let mut free: BinaryHeap<std::cmp::Reverse<usize>> =
        (0..count).filter(|index| waiting[*index] == 0).map(std::cmp::Reverse).collect();
    let mut place = vec![usize::MAX; count];
    let mut order = Vec::with_capacity(count);
    let mut next_in_circle = 0;
    while order.len() < count {
        let index = match free.pop() {
            Some(std::cmp::Reverse(index)) => index,
            None => {
                while place[next_in_circle] != usize::MAX {
                    next_in_circle += 1;
                }
                next_in_circle
            }
        };
        if place[index] != usize::MAX {
            continue;
        }
        place[index] = order.len();
        order.push(index);
        for follower in &followers[index] {
            waiting[*follower] = waiting[*follower].saturating_sub(1);
            if waiting[*follower] == 0 {
                free.push(std::cmp::Reverse(*follower));
            }
        }
    }
    let mut slots: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let mut result = Vec::with_capacity(count);
    for index in order {
        let Some(mut step) = slots[index].take() else { continue };
        step.after = step.after.iter().map(|after| StepId(place[after.0])).filter(|after| after.0 < place[index]).collect();
        step.after.sort_unstable();
        result.push(step);
    }
    result
}
