//! From what should be and what is to what is to be done. The plan is complete: carrying it out needs no further choice.

mod build;
mod check;
mod compose;
mod config_hash;
mod container;
mod contents;
mod diff;
mod down;
mod draft;
mod failing;
mod follow;
mod goal;
mod halted;
mod images;
mod lifecycle;
mod limits;
mod mounts;
mod networks;
mod order;
mod outdated;
mod ports;
mod pre_start;
mod pull;
mod push;
mod redact;
mod refusals;
mod relocate;
mod replace;
mod resources;
mod roll;
mod run;
mod sealed;
mod slot_spec;
mod spec;
mod step;
mod teardown;
mod text;
mod up;
mod view;
mod volumes;
mod waits;

pub use check::{Fault, check};
pub use container::COMPOSE_VERSION;
pub use failing::{Failing, Fault as StepFault};
pub use goal::{Building, Goal, Recreate, Rmi, Run, Selection, Up};
pub use images::takes_parts;
pub use redact::redacted;
pub use relocate::{Course, Relocation, Unmovable, course};
pub use slot_spec::SlotSpec;
pub use step::{Cause, ContainerRef, FailureAction, Note, Op, Plan, Step, StepId, Subject, Tolerance};
pub use text::{lines_about, step_text, text};
pub use volumes::volume_spec;

use std::collections::BTreeSet;

use crate::placement::Placement;
use crate::project::{Host, Project};
use crate::world::{Fabric, World};

/// What a plan is made from, beside its goal.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub project: &'a Project,
    pub placement: &'a Placement,
    pub hosts: &'a [Host],
    pub world: &'a World,
    pub fabric: &'a Fabric,
    /// The record that new containers are made for.
    pub revision: u64,
    /// What this machine has: digests of the contents that it can deliver, and ids of the keys of what is encrypted.
    pub here: &'a BTreeSet<String>,
    /// Digests of contents that records of the project go back to. Nothing: not known, so that no content is collected.
    pub kept: Option<&'a BTreeSet<String>>,
}

/// What is to be done for the goal, complete and in order. Same inputs, same bytes. What is not done is said in its notes.
pub fn plan(goal: &Goal, inputs: &Inputs<'_>) -> Plan {
    match goal {
        Goal::Up(goal) => up::plan(goal, inputs),
        Goal::Down { services, volumes, rmi, remove_orphans, timeout_secs } => {
            let goal = down::Downing {
                services,
                volumes: *volumes,
                rmi: *rmi,
                remove_orphans: *remove_orphans,
                timeout_secs: *timeout_secs,
            };
            down::plan(&goal, inputs)
        }
        Goal::Build { services, building } => build::plan(services, building, inputs),
        Goal::Pull { services, always, include_deps, ignore_buildable, tolerant, now_secs } => {
            let (always, include_deps, ignore_buildable, tolerant) = (*always, *include_deps, *ignore_buildable, *tolerant);
            pull::plan(&pull::Pulling { services, always, include_deps, ignore_buildable, tolerant, now_secs: *now_secs }, inputs)
        }
        Goal::Run(run) => run::plan(run, inputs),
        Goal::Push { services, include_deps, tolerant } => push::plan(services, *include_deps, *tolerant, inputs),
        Goal::Start { .. }
        | Goal::Stop { .. }
        | Goal::Restart { .. }
        | Goal::Kill { .. }
        | Goal::Pause { .. }
        | Goal::Unpause { .. }
        | Goal::Remove { .. } => lifecycle::plan(goal, inputs),
    }
}
