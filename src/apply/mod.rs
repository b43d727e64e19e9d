//! Walks a plan, one engine call per step, and tells what happens. It decides nothing.

mod event;

pub use event::{Event, Outcome, StepEnd};
