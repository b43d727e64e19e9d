//! From what should be and what is to what is to be done. The plan is complete: carrying it out needs no further choice.

mod goal;
mod step;

pub use goal::{Goal, Recreate, Rmi, Selection, Up};
pub use step::{Cause, ContainerRef, Note, Op, Plan, Step, StepId, Subject, Tolerance};
