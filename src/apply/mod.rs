//! Walks a plan, one engine call per step, and tells what happens. It decides nothing.

mod call;
mod event;
mod turns;
mod walk;

pub use call::SWARM_SETTLES_MAX;
pub use event::{Event, Outcome, StepEnd};
pub use turns::HostTurns;
pub use walk::{Limits, apply, apply_in_turns};
