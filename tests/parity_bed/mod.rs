//! What tests/parity.rs runs its cases with.

pub mod chance;
pub mod containers;
pub mod differences;
pub mod json;
pub mod page;
pub mod run;
pub mod script;
