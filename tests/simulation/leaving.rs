//! Hosts that somebody takes out of the inventory's file, or that are not in the swarm yet, told to the machine alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcompose::supervise::machine::{Command, Deployment, Event, Machine, Notice};
use mcompose::world::{Fabric, SeenHost, Swarm, VolumeSeen};

use super::found::{answers, asked_for, bare, deployment, looked, machine, machine_on, pass};
use super::planning;
use super::town::{host, host_name, shop};

const STORE: &str = "services: {store: {image: 'store:1', scale: 0, volumes: [{type: volume, source: data, target: /data}]}}";

/// Three hosts that answer, with nothing on them.
fn three() -> Machine {
    let mut machine = machine(&["alpha", "beta", "gamma"], planning::project(STORE));
    for name in ["alpha", "beta", "gamma"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    machine
}

fn list(machine: &mut Machine, names: &[&str], now_ms: u64) -> Vec<Command> {
    machine.step(Event::Hosts(names.iter().map(|name| host(name)).collect()), now_ms)
}

fn shown(machine: &mut Machine, name: &str, seen: SeenHost, now_ms: u64) -> Vec<Command> {
    machine.step(Event::Looked { host: host_name(name), seen: Arc::new(seen) }, now_ms)
}

/// Lets time go by, with all hosts answering; whether the host was let go.
fn lets_go(machine: &mut Machine, name: &str, from_ms: u64, to_ms: u64) -> bool {
    let mut is_gone = false;
    for now_ms in (from_ms..=to_ms).step_by(500) {
        is_gone |= machine.step(Event::Tick, now_ms).contains(&Command::LetGo { host: host_name(name) });
    }
    is_gone
}

#[test]
fn a_host_that_is_taken_out_of_the_file_is_let_go_once_nothing_is_on_it() {
    let mut machine = three();
    let mut with_volume = bare("gamma");
    with_volume.volumes.push(VolumeSeen { name: "shop_data".to_owned(), driver: "local".to_owned(), ..VolumeSeen::default() });
    shown(&mut machine, "gamma", with_volume, 300);
    let commands = list(&mut machine, &["alpha", "beta"], 400);
    let because = BTreeSet::from(["volume `shop_data` of `shop`".to_owned()]);
    for notice in [
        Notice::HostUnlisted { host: host_name("gamma") },
        Notice::HostKept { host: host_name("gamma"), because: because.clone() },
    ] {
        assert!(commands.contains(&Command::Tell(notice)), "{commands:?}");
    }
    assert!(!lets_go(&mut machine, "gamma", 500, 200_000), "its volume is there");
    assert!(machine.watch("gamma").is_some());
    looked(&mut machine, "gamma", 200_100);
    assert!(!lets_go(&mut machine, "gamma", 200_100, 255_000), "somebody may be at work there yet");
    assert!(lets_go(&mut machine, "gamma", 255_500, 262_000));
    assert!(machine.watch("gamma").is_none());
}

#[test]
fn a_host_that_gets_another_name_is_not_seen_twice() {
    let mut machine = three();
    let mut same = bare("gamma");
    same.engine.id = "ENGINE".to_owned();
    shown(&mut machine, "gamma", same.clone(), 300);
    list(&mut machine, &["alpha", "beta", "delta"], 400);
    answers(&mut machine, "delta", 500);
    let commands = shown(&mut machine, "delta", same, 600);
    assert!(commands.contains(&Command::LetGo { host: host_name("gamma") }), "{commands:?}");
}

#[test]
fn hosts_that_leave_say_nothing_of_this_sides_network() {
    let mut machine = three();
    list(&mut machine, &["alpha"], 400);
    for name in ["beta", "gamma"] {
        machine.step(Event::Silent { host: host_name(name), refused: false, why: "no route".to_owned() }, 500);
    }
    pass(&mut machine, 600, 10_000);
    assert!(!machine.holds(), "the one host that is listed answers");
}

#[test]
fn a_record_that_names_a_host_which_nobody_lists_is_told() {
    let mut machine = three();
    let store = "store.1".to_owned();
    let slot = mcompose::project::Slot::try_from(store.clone()).expect("it is one");
    let seats = BTreeMap::from([(slot, host_name("delta"))]);
    let other = mcompose::project::ProjectName::new("other").expect("a name");
    let records = BTreeMap::from([
        (shop(), deployment(planning::project(STORE))),
        (other.clone(), Deployment { seats, ..deployment(planning::project(STORE)) }),
    ]);
    let commands = machine.step(Event::Records(records), 300);
    let notice = Notice::Unlisted { project: other, host: host_name("delta"), slots: BTreeSet::from([store]) };
    assert!(commands.contains(&Command::Tell(notice)), "{commands:?}");
}

#[test]
fn a_host_in_no_swarm_gets_nothing_new_before_it_has_joined() {
    let agent =
        "services: {agent: {image: 'agent:1', deploy: {mode: global, placement: {constraints: [node.hostname == beta]}}}}";
    let fabric = Fabric::Overlay { managers: vec![host_name("alpha")] };
    let mut machine = machine_on(fabric, &["alpha", "beta"], planning::project(agent));
    answers(&mut machine, "alpha", 100);
    looked(&mut machine, "alpha", 200);
    answers(&mut machine, "beta", 200);
    let commands = shown(&mut machine, "beta", SeenHost { swarm: Swarm::Inactive, ..bare("beta") }, 300);
    assert!(commands.contains(&Command::Tell(Notice::HostOutside { host: host_name("beta") })), "{commands:?}");
    assert_eq!(asked_for(&commands), None, "no container of it would get onto a network there");
    assert_eq!(asked_for(&machine.step(Event::Tick, 800)), None);
    let commands = looked(&mut machine, "beta", 1_000);
    assert!(asked_for(&commands).is_some_and(|look| look.contains("beta")), "{commands:?}");
}
