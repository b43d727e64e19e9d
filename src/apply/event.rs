//! What is told while a plan is carried out, and what remains to say at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::EngineError;
use crate::plan::StepId;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Started {
        step: StepId,
    },
    /// A line about a step that takes its time: layers of a pull, a wait.
    Progress {
        step: StepId,
        text: String,
    },
    Ended {
        step: StepId,
        end: StepEnd,
        took: Duration,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    Done,
    Failed {
        error: EngineError,
        log_tail: Vec<String>,
    },
    /// A step it waits for failed, was skipped, or the run was interrupted.
    Skipped {
        because: Option<StepId>,
    },
}

/// How each step ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    pub ends: BTreeMap<StepId, StepEnd>,
    /// Steps that were not done, which is a warning and no failure (`Tolerance::Warn`).
    pub forgiven: BTreeSet<StepId>,
    pub interrupted: bool,
}

impl Outcome {
    /// Every step was done that had to be.
    pub fn is_success(&self) -> bool {
        !self.interrupted && self.ends.iter().all(|(id, end)| *end == StepEnd::Done || self.forgiven.contains(id))
    }

    pub fn failures(&self) -> impl Iterator<Item = (StepId, &EngineError, &[String])> {
        self.ends.iter().filter_map(|(step, end)| match end {
            StepEnd::Failed { error, log_tail } => Some((*step, error, log_tail.as_slice())),
            StepEnd::Done | StepEnd::Skipped { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_fail_and_does_is_no_failure_of_the_whole() {
        let error = EngineError {
            host: crate::project::HostName::new("h1").expect("a good name"),
            call: "push".to_owned(),
            kind: crate::engine::ErrorKind::Failed,
            message: "out of luck".to_owned(),
        };
        let failed = StepEnd::Failed { error, log_tail: Vec::new() };
        let ends = BTreeMap::from([(StepId(0), StepEnd::Done), (StepId(1), failed)]);
        let strict = Outcome { ends, ..Outcome::default() };
        assert!(!strict.is_success());
        let forgiven = Outcome { forgiven: BTreeSet::from([StepId(1)]), ..strict };
        assert!(forgiven.is_success() && forgiven.failures().count() == 1, "it is still told");
        assert!(!Outcome { interrupted: true, ..forgiven }.is_success());
    }
}
