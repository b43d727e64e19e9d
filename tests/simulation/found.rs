//! What histories found, told by itself: the machine alone, event by event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcompose::project::{HostName, Project, RecordState, ServiceName, Slot};
use mcompose::supervise::machine::{Care, Command, Deployment, Event, Machine, Notice, Settings, State};
use mcompose::world::{Fabric, SeenHost, Swarm, SwarmMember};

use super::planning;
use super::town::{host, host_name, shop};

pub fn machine(hosts: &[&str], project: Project) -> Machine {
    machine_on(Fabric::Bridge, hosts, project)
}

pub fn machine_on(fabric: Fabric, hosts: &[&str], project: Project) -> Machine {
    let hosts = hosts.iter().map(|name| host(name)).collect();
    let mut machine = Machine::new(Settings::default(), fabric, hosts, 0);
    machine.step(Event::Lease(true), 0);
    machine.step(Event::Records(BTreeMap::from([(shop(), deployment(project))])), 0);
    machine
}

pub fn deployment(project: Project) -> Deployment {
    Deployment {
        project,
        revision: 1,
        seats: BTreeMap::new(),
        halted: BTreeSet::new(),
        state: RecordState::Good,
        stuck: BTreeSet::new(),
        is_rollback: false,
    }
}

pub fn answers(machine: &mut Machine, name: &str, now_ms: u64) -> Vec<Command> {
    machine.step(Event::Answered { host: host_name(name) }, now_ms)
}

pub fn looked(machine: &mut Machine, name: &str, now_ms: u64) -> Vec<Command> {
    machine.step(Event::Looked { host: host_name(name), seen: Arc::new(bare(name)) }, now_ms)
}

/// A host with nothing on it.
pub fn bare(name: &str) -> SeenHost {
    let mut seen = SeenHost::default();
    seen.engine.hostname = name.to_owned();
    (seen.engine.os, seen.engine.arch) = ("linux".to_owned(), "amd64".to_owned());
    (seen.engine.cpus, seen.engine.memory_bytes) = (4, 8 << 30);
    seen.swarm = Swarm::Active(SwarmMember::default());
    seen.engine.network_plugins.extend(["bridge".to_owned(), "overlay".to_owned()]);
    seen
}

/// Time goes by, and the supervisor is awake.
pub fn pass(machine: &mut Machine, from_ms: u64, to_ms: u64) {
    for now_ms in (from_ms..=to_ms).step_by(500) {
        machine.step(Event::Tick, now_ms);
    }
}

/// The hosts that a lock is asked for.
pub fn asked_for(commands: &[Command]) -> Option<BTreeSet<HostName>> {
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

/// Told by engines: a host that joins a network waits 10 s for one that is gone, unless the others know that by then.
#[test]
fn what_needs_a_network_that_no_container_of_its_host_is_on_waits_until_a_lost_host_is_missed() {
    let project = planning::project("services: {web: {image: 'web:1', deploy: {}}}");
    let asked_at = |fabric: Fabric| {
        let mut machine = machine_on(fabric, &["alpha", "beta", "gamma"], project.clone());
        for name in ["alpha", "beta", "gamma"] {
            answers(&mut machine, name, 100);
        }
        machine.step(Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() }, 200);
        for name in ["alpha", "beta"] {
            looked(&mut machine, name, 300);
        }
        (500..20_000).step_by(500).find(|now_ms| asked_for(&machine.step(Event::Tick, *now_ms)).is_some())
    };
    assert_eq!(asked_at(Fabric::Bridge), Some(5_500), "a bridge is each host's own");
    assert_eq!(asked_at(Fabric::Overlay { managers: vec![host_name("alpha")] }), Some(9_500));
}

/// Two of five engines were lost at once, and starts on two others took 24 s: those that were put off for the fifth waited for them.
#[test]
fn a_plan_that_lasts_is_interrupted_when_those_are_due_that_waited_until_a_lost_host_is_missed() {
    let services = "services: {web: {image: 'web:1', deploy: {}}, alone: {image: 'alone:1', network_mode: none, deploy: {}}}";
    let project = planning::project(services);
    let fabric = Fabric::Overlay { managers: vec![host_name("alpha")] };
    let mut machine = machine_on(fabric, &["alpha", "beta", "gamma"], project.clone());
    for name in ["alpha", "beta", "gamma"] {
        answers(&mut machine, name, 100);
    }
    machine.step(Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() }, 200);
    for name in ["alpha", "beta"] {
        looked(&mut machine, name, 300);
    }
    pass(&mut machine, 500, 5_500);
    let deployment = Some(Box::new(deployment(project)));
    let commands = machine.step(Event::Locked { project: shop(), deployment, looks: BTreeMap::new() }, 5_600);
    let begun: Vec<&String> = commands
        .iter()
        .flat_map(|command| match command {
            Command::Tell(Notice::Repairs { causes, .. }) => causes.iter().collect(),
            _ => Vec::new(),
        })
        .collect();
    assert!(!begun.is_empty() && !begun.iter().any(|cause| cause.starts_with("web")), "{begun:?}");
    let interrupt = Command::Interrupt { project: shop() };
    let mut interrupted_at = |now_ms: &u64| machine.step(Event::Tick, *now_ms).contains(&interrupt);
    assert_eq!((6_000..20_000).step_by(500).filter(|now_ms| interrupted_at(now_ms)).collect::<Vec<_>>(), [9_500], "once");
}

#[test]
fn a_plan_under_way_is_interrupted_when_a_host_is_lost_or_back() {
    let project = planning::project("services: {web: {image: 'web:1', deploy: {replicas: 3}}}");
    let mut machine = machine(&["alpha", "beta", "gamma"], project.clone());
    for name in ["alpha", "beta", "gamma"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    let begin = |machine: &mut Machine, now_ms: u64| {
        let deployment = Some(Box::new(deployment(project.clone())));
        let commands = machine.step(Event::Locked { project: shop(), deployment, looks: BTreeMap::new() }, now_ms);
        assert!(commands.iter().any(|command| matches!(command, Command::Apply { .. })), "{commands:?}");
    };
    let silence = || Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() };
    let interrupt = Command::Interrupt { project: shop() };
    begin(&mut machine, 300);
    let commands = machine.step(silence(), 400);
    assert!(!commands.contains(&interrupt), "doubt alone changes nothing: {commands:?}");
    pass(&mut machine, 900, 4_900);
    let commands = machine.step(Event::Tick, 5_300);
    assert!(commands.contains(&interrupt), "it is lost now: {commands:?}");
    let (tried, errors, looks) = Default::default();
    machine.step(Event::Applied { project: shop(), tried, errors, looks, took_ms: 5_000 }, 5_400);
    begin(&mut machine, 5_500);
    let commands = answers(&mut machine, "gamma", 5_600);
    assert!(commands.contains(&interrupt), "it is back: {commands:?}");
}

#[test]
fn what_fails_for_another_reason_than_moves_leaves_the_rounds_that_even_loads() {
    let project = planning::project("services: {web: {image: 'web:1', deploy: {replicas: 3}}}");
    let mut machine = machine(&["alpha", "beta"], project.clone());
    for name in ["alpha", "beta"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    let rounds = |machine: &Machine| machine.care("shop").map(|care| care.evening_rounds);
    let at_first = rounds(&machine);
    let errors = BTreeSet::from(["no such image".to_owned()]);
    for now_ms in [300, 10_000, 20_000] {
        let deployment = Some(Box::new(deployment(project.clone())));
        machine.step(Event::Locked { project: shop(), deployment, looks: BTreeMap::new() }, now_ms);
        let (tried, looks) = Default::default();
        machine.step(Event::Applied { project: shop(), tried, errors: errors.clone(), looks, took_ms: 100 }, now_ms + 100);
        machine.step(Event::NotLocked { project: shop(), why: "no leader".to_owned() }, now_ms + 200);
    }
    assert_eq!(rounds(&machine), at_first);
}

#[test]
fn a_deployment_gives_a_clean_slate_to_what_it_changes_alone() {
    let of =
        |web: &str| deployment(planning::project(&format!("services: {{web: {{image: '{web}'}}, crashes: {{image: 'it:1'}}}}")));
    let [web, crashes] = ["web", "crashes"].map(|name| Slot::new(ServiceName::new(name).expect("a name"), 1).expect("not 0"));
    let mut care = Care::new(of("web:1"));
    for now_ms in [1_000, 2_000, 4_000] {
        care.tried(&BTreeSet::from([web.clone(), crashes.clone()]), now_ms);
    }
    care.redeployed(Deployment { revision: 2, ..of("web:2") });
    let starts = |care: &Care| care.histories.iter().map(|(slot, history)| (slot.clone(), history.starts)).collect::<Vec<_>>();
    assert_eq!(starts(&care), [(crashes.clone(), 3)]);
    care.redeployed(Deployment { revision: 2, halted: BTreeSet::from([crashes.service]), ..of("web:2") });
    assert_eq!(starts(&care), [], "stopped by hand, it begins anew");
}

/// Seed 632.
#[test]
fn who_was_suspended_for_long_asks_anew_about_a_host_that_was_lost() {
    let mut machine = machine(&["alpha", "beta", "gamma"], planning::project("services: {web: {image: 'web:1', deploy: {}}}"));
    for name in ["alpha", "beta", "gamma"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    let silence = || Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() };
    let state = |machine: &Machine| machine.watch("gamma").map(|watch| watch.state);
    machine.step(silence(), 300);
    pass(&mut machine, 800, 5_300);
    assert_eq!(state(&machine), Some(State::Lost));
    machine.step(Event::Tick, 65_300);
    assert_eq!(state(&machine), Some(State::Doubtful), "it may be back since long");
    pass(&mut machine, 65_800, 70_800);
    assert_eq!(state(&machine), Some(State::Lost), "it is not");
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
    pass(&mut machine, 61_500, 65_000);
    assert_eq!(state(&machine), Some(State::Doubtful), "a second of silence before, and four after");
    pass(&mut machine, 65_200, 65_200);
    assert_eq!(state(&machine), Some(State::Lost), "silence that was listened to is a loss");
}

/// What is said of slots that are held, or fit nowhere.
fn unmet(commands: &[Command]) -> Vec<&str> {
    let text = |command| match command {
        &Command::Tell(Notice::Unmet { ref text, .. }) => Some(text.as_str()),
        _ => None,
    };
    commands.iter().filter_map(text).collect()
}

/// Faults that overlapped on five engines: a host that missed one answer was followed by a line for each of its ten replicas.
#[test]
fn nothing_is_said_of_who_is_held_on_a_host_that_is_in_doubt_and_the_volume_of_one_that_is_lost_is() {
    let store =
        planning::project("services: {store: {image: 'store:1', volumes: [{type: volume, source: data, target: /data}]}}");
    let slot = Slot::new(ServiceName::new("store").expect("a name"), 1).expect("not 0");
    let deployed = Deployment { seats: BTreeMap::from([(slot, host_name("gamma"))]), ..deployment(store) };
    let mut machine = machine(&["alpha", "beta", "gamma"], planning::project("services: {}"));
    for name in ["alpha", "beta", "gamma"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    let mut commands = Vec::new();
    let silence = || Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() };
    commands.extend(machine.step(silence(), 300));
    commands.extend(machine.step(Event::Records(BTreeMap::from([(shop(), deployed)])), 400));
    for now_ms in (500..=4_900).step_by(200) {
        commands.extend(machine.step(Event::Tick, now_ms));
    }
    assert_eq!(unmet(&commands), [""; 0], "it may answer any moment");
    for now_ms in (5_000..=6_000).step_by(200) {
        commands.extend(machine.step(Event::Tick, now_ms));
    }
    assert_eq!(unmet(&commands), ["held: store.1 on gamma: host `gamma` is lost, and volume `shop_data` with it"]);
}

#[test]
fn where_a_slot_came_from_is_told_for_as_long_as_the_supervisor_lives() {
    let web = planning::project("services: {web: {image: 'web:1', deploy: {}}}");
    let slot = Slot::new(ServiceName::new("web").expect("a name"), 1).expect("not 0");
    let deployed = Deployment { seats: BTreeMap::from([(slot, host_name("gamma"))]), ..deployment(web) };
    let mut machine = machine(&["alpha", "beta", "gamma"], deployed.project.clone());
    machine.step(Event::Silent { host: host_name("gamma"), refused: false, why: "no answer".to_owned() }, 50);
    for name in ["alpha", "beta"] {
        answers(&mut machine, name, 100);
        looked(&mut machine, name, 200);
    }
    machine.step(Event::Records(BTreeMap::from([(shop(), deployed.clone())])), 300);
    pass(&mut machine, 500, 6_000);
    machine.step(Event::Locked { project: shop(), deployment: Some(Box::new(deployed)), looks: BTreeMap::new() }, 6_100);
    let told: Vec<String> = machine.told().map(|(project, text)| format!("{project} {text}")).collect();
    assert_eq!(told, ["shop moved: web.1 came from gamma, which was lost: no answer"]);
}
