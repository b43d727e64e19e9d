//! Updates that are stuck, finished or paused, told by themselves: the machine alone, on containers of hosts in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcompose::plan::{Goal, Up, text};
use mcompose::project::{Project, RecordState, ServiceName};
use mcompose::supervise::machine::{Command, Deployment, Event, Machine, Settings};
use mcompose::world::Fabric;

use super::planning::{self, Bed};
use super::town::{host, host_name, shop};

fn of(image: &str) -> Project {
    planning::project(&format!(
        "services: {{web: {{image: '{image}', deploy: {{replicas: 2, update_config: {{monitor: 5s}}}}}}}}"
    ))
}

fn deployment(project: Project, revision: u64, state: RecordState) -> Deployment {
    let stuck = match state {
        RecordState::Paused | RecordState::Failing => BTreeSet::from([ServiceName::new("web").expect("a name")]),
        _ => BTreeSet::new(),
    };
    let (seats, halted) = (BTreeMap::new(), BTreeSet::new());
    Deployment { project, revision, seats, halted, state, stuck, is_rollback: false }
}

/// A host on which `web:1` runs, and of which one replica was updated to `web:2`, which ends at once.
fn half_updated() -> Bed {
    let mut bed = Bed::new(&["alpha"], of("web:1"));
    for image in ["web:1", "web:2"] {
        bed.fake.host("alpha").add_image(image);
    }
    let up = bed.up();
    bed.apply(&up);
    let ends = mcompose::engine::fake::Behaviour { exits: Some((std::time::Duration::ZERO, 1)), ..Default::default() };
    bed.fake.behave("web:2", ends);
    (bed.project, bed.revision) = (of("web:2"), 2);
    let up = bed.plan(&Goal::Up(Up::default()));
    assert!(!bed.apply(&up).is_success(), "it fails");
    bed
}

/// A supervisor that has seen the host.
fn watching(bed: &Bed, deployment: Deployment, now_ms: u64) -> (Machine, Vec<Command>) {
    let mut machine = Machine::new(Settings::default(), Fabric::Bridge, vec![host("alpha")], 0);
    machine.step(Event::Lease(true), 0);
    machine.step(Event::Records(BTreeMap::from([(shop(), deployment)])), 0);
    machine.step(Event::Answered { host: host_name("alpha") }, now_ms);
    let commands = see(&mut machine, bed, now_ms);
    (machine, commands)
}

fn see(machine: &mut Machine, bed: &Bed, now_ms: u64) -> Vec<Command> {
    let world = bed.look();
    let seen = Arc::new(world.seen("alpha").expect("it answers").clone());
    machine.step(Event::Looked { host: host_name("alpha"), seen }, now_ms)
}

fn locked(machine: &mut Machine, deployment: Deployment, now_ms: u64) -> Vec<Command> {
    let deployment = Some(Box::new(deployment));
    machine.step(Event::Locked { project: shop(), deployment, looks: BTreeMap::new() }, now_ms)
}

fn is_lock(command: &Command) -> bool {
    matches!(command, Command::Lock { .. })
}

#[test]
fn while_an_update_is_paused_what_died_is_started_as_it_was_and_nothing_is_replaced() {
    let bed = half_updated();
    bed.fake.host("alpha").kill_container("shop-web-2");
    let paused = deployment(of("web:1"), 2, RecordState::Paused);
    let (mut machine, _) = watching(&bed, paused.clone(), 100);
    let commands = locked(&mut machine, paused, 200);
    let plan = commands.iter().find_map(|command| match command {
        Command::Apply { plan, .. } => Some(text(plan)),
        _ => None,
    });
    let expect = "start web.1 on alpha: exited\nstart web.2 on alpha: exited\n";
    assert_eq!(plan.as_deref(), Some(expect), "{commands:?}");
}

#[test]
fn a_failed_update_is_read_under_the_lock_though_there_is_nothing_to_do() {
    let bed = half_updated();
    for name in ["shop-web-1", "shop-web-2"] {
        bed.fake.behave("web:2", Default::default());
        let engines = bed.fake.engines();
        planning::run(engines[&host_name("alpha")].start(name)).expect("it starts");
    }
    let asks = |state: RecordState| watching(&bed, deployment(of("web:1"), 2, state), 100).1.iter().any(is_lock);
    assert_eq!([RecordState::Paused, RecordState::Failing].map(asks), [false, true]);
}

#[test]
fn what_runs_whole_for_as_long_as_it_is_watched_is_good() {
    let mut bed = Bed::new(&["alpha"], of("web:1"));
    bed.fake.host("alpha").add_image("web:1");
    let up = bed.up();
    bed.apply(&up);
    let begun = deployment(of("web:1"), 1, RecordState::Begun);
    let settle = Command::Settle { project: shop() };
    let (mut machine, commands) = watching(&bed, begun.clone(), 100);
    assert!(!commands.iter().any(is_lock), "it may end in a moment");
    assert!(machine.wake_ms() <= 5_100, "it is thought about then");
    // It ends, and begins anew.
    bed.fake.host("alpha").kill_container("shop-web-2");
    assert!(see(&mut machine, &bed, 2_000).iter().any(is_lock));
    let commands = locked(&mut machine, begun.clone(), 2_100);
    assert!(commands.iter().any(|command| matches!(command, Command::Apply { .. })), "{commands:?}");
    planning::run(bed.fake.engines()[&host_name("alpha")].start("shop-web-2")).expect("it starts");
    see(&mut machine, &bed, 3_000);
    let (tried, errors, looks) = Default::default();
    machine.step(Event::Applied { project: shop(), tried, errors, looks, took_ms: 900 }, 3_000);
    let asked = (3_500..20_000).step_by(500).find(|now_ms| machine.step(Event::Tick, *now_ms).iter().any(is_lock));
    assert_eq!(asked, Some(8_000), "five seconds after it was whole");
    let commands = locked(&mut machine, begun, 8_100);
    assert_eq!(commands, [settle]);
    assert_eq!(machine.care("shop").map(|care| care.deployment.state), Some(RecordState::Good));
    let again = (8_500..12_000).step_by(500).any(|now_ms| machine.step(Event::Tick, now_ms).iter().any(is_lock));
    assert!(!again, "once is enough");
}

#[test]
fn an_update_that_somebody_pauses_is_interrupted() {
    let bed = half_updated();
    let begun = deployment(of("web:2"), 2, RecordState::Begun);
    let (mut machine, _) = watching(&bed, begun.clone(), 100);
    locked(&mut machine, begun.clone(), 200);
    let interrupt = Command::Interrupt { project: shop() };
    let mut read = |deployment: Deployment| machine.step(Event::Records(BTreeMap::from([(shop(), deployment)])), 300);
    assert!(!read(begun).contains(&interrupt));
    assert!(read(deployment(of("web:1"), 2, RecordState::Paused)).contains(&interrupt));
}
