//! Keeps projects at their records: look, place, plan, apply, again, whenever an event, a timer or a doubt says so.
//!
//! `machine` decides: (state, event, now) → commands, without any IO, so that thousands of fault histories are played in a
//! second. `run` does what it says.

mod hosts;
pub mod machine;
mod projects;
mod run;
pub mod updates;

pub use run::{Changed, Scope, Supervision, run};
