//! mcompose on several real engines.

mod harness;
#[path = "../store_spec/mod.rs"]
mod store_spec;

mod engine;
mod fake_agrees;
mod harness_itself;
mod hosts_verbs;
mod swarm;
