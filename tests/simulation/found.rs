//! What histories found, told by itself: the machine alone, event by event.

use std::collections::{BTreeMap, BTreeSet};

use mcompose::project::{HostName, Project};
use mcompose::supervise::machine::{Command, Deployment, Event, Machine, Settings, State};
use mcompose::world::{Fabric, SeenHost};

use super::planning;
use super::town::{host, host_name, shop};

fn machine(hosts: &[&str], project: Project) -> Machine {
    let hosts = hosts.iter().map(|name| host(name)).collect();
    let mut machine = Machine::new(Settings::default(), Fabric::Bridge, hosts, 0);
    machine.step(Event::Lease(true), 0);
    let deployment = Deployment { project, revision: 1, seats: BTreeMap::new(), halted: BTreeSet::new() };
    machine.step(Event::Records(BTreeMap::from([(shop(), deployment)])), 0);
    machine
}

fn answers(machine: &mut Machine, name: &str, now_ms: u64) -> Vec<Command> {
    machine.step(Event::Answered { host: host_name(name) }, now_ms)
}

fn looked(machine: &mut Machine, name: &str, now_ms: u64) -> Vec<Command> {
    let mut seen = SeenHost::default();
    seen.engine.hostname = name.to_owned();
    (seen.engine.os, seen.engine.arch) = ("linux".to_owned(), "amd64".to_owned());
    (seen.engine.cpus, seen.engine.memory_bytes) = (4, 8 << 30);
    seen.engine.network_plugins.insert("bridge".to_owned());
    machine.step(Event::Looked { host: host_name(name), seen: Box::new(seen) }, now_ms)
}

/// Time goes by, and the supervisor is awake.
fn pass(machine: &mut Machine, from_ms: u64, to_ms: u64) {
    for now_ms in (from_ms..=to_ms).step_by(500) {
        machine.step(Event::Tick, now_ms);
    }
}

/// The hosts that a lock is asked for.
fn asked_for(commands: &[Command]) -> Option<BTreeSet<HostName>> {
    commands.iter().find_map(|command| match command {
        Command::Lock { look, .. } => Some(look.clone()),
        _ => None,
    })
}

#[test]
fn a_supervisor_that_has_not_seen_every_host_yet_sleeps_until_it_has() {
    let mut machine = machine(&["alpha", "beta"], planning::project("services: {web: {image: 'web:1', deploy: {}}}"));
    assert!(machine.wake_ms() > 0, "nothing is heard yet");
    answers(&mut machine, "alpha", 100);
    looked(&mut machine, "alpha", 200);
    answers(&mut machine, "beta", 300);
    assert!(machine.wake_ms() > 300, "beta has not shown itself yet");
    machine.step(Event::Silent { host: host_name("beta"), refused: false, why: "no answer".to_owned() }, 400);
    assert!(machine.wake_ms() > 400, "beta is not lost yet");
    looked(&mut machine, "beta", 500);
    assert!(!machine.is_quiet(), "and now the project is thought about");
}

#[test]
fn a_host_that_comes_back_empty_gets_its_replica_of_a_global_service_once_it_is_trusted() {
    let agent =
        "services: {agent: {image: 'agent:1', deploy: {mode: global, placement: {constraints: [node.hostname == gamma]}}}}";
    let mut machine = machine(&["alpha", "beta", "gamma"], planning::project(agent));
    for name in ["alpha", "beta"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    machine.step(Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() }, 300);
    pass(&mut machine, 300, 6_000);
    let mut commands = answers(&mut machine, "gamma", 10_000);
    commands.extend(looked(&mut machine, "gamma", 10_100));
    assert_eq!(asked_for(&commands), None, "it gets nothing new yet");
    pass(&mut machine, 10_100, 15_000);
    let commands = machine.step(Event::Tick, 15_100);
    assert_eq!(asked_for(&commands), Some(BTreeSet::from([host_name("gamma")])), "{commands:?}");
}

/// Seeds 2045 and 5704.
#[test]
fn what_a_suspended_supervisor_slept_through_is_nobodys_silence() {
    let mut machine = machine(&["alpha", "beta", "gamma"], planning::project("services: {web: {image: 'web:1', deploy: {}}}"));
    for name in ["alpha", "beta", "gamma"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    let silence = || Event::Silent { host: host_name("gamma"), refused: false, why: "no answer in 2 s".to_owned() };
    let state = |machine: &Machine| machine.watch("gamma").map(|watch| watch.state);
    machine.step(Event::Tick, 1_100);
    // Suspended while the ping is out: its time limit is over when the supervisor wakes up, and says so first.
    machine.step(silence(), 61_100);
    assert_eq!(state(&machine), Some(State::Doubtful), "a missed answer is doubt");
    let lost_ms = machine.wake_ms().max(61_200);
    machine.step(Event::Tick, lost_ms - 1);
    assert_eq!(state(&machine), Some(State::Doubtful));
    pass(&mut machine, lost_ms, lost_ms + 500);
    assert_eq!(state(&machine), Some(State::Lost), "silence that was listened to is a loss");
}
