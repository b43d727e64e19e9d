//! What is told while a plan is carried out, and what remains to say at its end.

use std::collections::BTreeMap;
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
    pub interrupted: bool,
}

impl Outcome {
    /// Every step was done.
    pub fn is_success(&self) -> bool {
        !self.interrupted && self.ends.values().all(|end| matches!(end, StepEnd::Done))
    }

    pub fn failures(&self) -> impl Iterator<Item = (StepId, &EngineError, &[String])> {
        self.ends.iter().filter_map(|(step, end)| match end {
            StepEnd::Failed { error, log_tail } => Some((*step, error, log_tail.as_slice())),
            StepEnd::Done | StepEnd::Skipped { .. } => None,
        })
    }
}
