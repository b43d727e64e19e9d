//! mcompose on several real engines.

mod harness;
#[path = "../store_spec/mod.rs"]
mod store_spec;

mod attached;
mod bad_input;
mod changes;
mod copies;
mod delivery;
mod engine;
mod examples_for_real;
mod exec;
mod fake_agrees;
mod harness_itself;
mod hosts;
mod hosts_verbs;
mod images;
mod many;
mod one_off;
mod program;
mod push;
mod reference;
mod refusals;
mod registry;
mod supervise;
mod swarm;
mod updates;
