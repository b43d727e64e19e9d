//! mcompose on several real engines.

#[path = "../parity_bed/containers.rs"]
#[expect(dead_code, reason = "the reasons are for the page that tests/parity.rs writes")]
mod deliberate;
mod harness;
#[path = "../store_spec/mod.rs"]
mod store_spec;

mod attached;
mod bad_input;
mod builds;
mod changes;
mod copies;
mod delivery;
mod develop;
mod engine;
mod examples_for_real;
mod exec;
mod fake_agrees;
mod faults;
mod folders;
mod harness_itself;
mod hosts;
mod hosts_change;
mod hosts_verbs;
mod images;
mod local;
mod many;
mod moves;
mod one_off;
mod policies;
mod pre_start;
mod program;
mod push;
mod reference;
mod refusals;
mod registry;
mod same_container;
mod secrets;
mod settings;
mod supervise;
mod swarm;
mod take_over;
mod updates;
