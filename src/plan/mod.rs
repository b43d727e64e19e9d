//! From what should be and what is to what is to be done. The plan is complete: carrying it out needs no further choice.

mod goal;
mod step;

pub use goal::{Goal, Recreate, Rmi, Selection, Up};
pub use step::{Cause, ContainerRef, Note, Op, Plan, Step, StepId, Subject, Tolerance};

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
}
