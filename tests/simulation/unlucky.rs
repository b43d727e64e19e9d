//! A host that answers and makes no container, told to the machine alone.

use std::collections::{BTreeMap, BTreeSet};

use mcompose::project::{HostName, Slot};
use mcompose::supervise::machine::{Event, Notice};

use super::found::{answers, asked_for, deployment, looked, machine};
use super::planning;
use super::town::shop;

#[test]
fn a_slot_that_a_host_cannot_make_three_times_is_tried_on_another() {
    let project = planning::project("services: {web: {image: 'web:1', deploy: {}}}");
    let slot = Slot::try_from("web.1".to_owned()).expect("it is one");
    let mut machine = machine(&["alpha", "beta"], project.clone());
    answers(&mut machine, "alpha", 100);
    looked(&mut machine, "alpha", 200);
    answers(&mut machine, "beta", 200);
    let mut commands = looked(&mut machine, "beta", 300);
    let (mut asked, mut told) = (Vec::<HostName>::new(), Vec::new());
    for now_ms in (500..60_000).step_by(500) {
        told.extend(commands.iter().filter_map(|command| match command {
            mcompose::supervise::machine::Command::Tell(Notice::Shunned { host, .. }) => Some((asked.len(), host.clone())),
            _ => None,
        }));
        if let Some(host) = asked_for(&commands).and_then(|look| look.first().cloned()) {
            asked.push(host.clone());
            let deployment = Some(Box::new(deployment(project.clone())));
            machine.step(Event::Locked { project: shop(), deployment, looks: BTreeMap::new() }, now_ms);
            let slots = BTreeMap::from([(slot.clone(), (host, "no space left on device".to_owned()))]);
            commands = machine.step(Event::Unlucky { project: shop(), slots }, now_ms + 100);
            let (tried, errors) = (BTreeSet::from([slot.clone()]), BTreeSet::from(["cannot create web.1".to_owned()]));
            let looks = BTreeMap::new();
            commands.extend(machine.step(Event::Applied { project: shop(), tried, errors, looks, took_ms: 100 }, now_ms + 200));
        } else {
            commands = machine.step(Event::Tick, now_ms);
        }
        if asked.len() == 4 {
            break;
        }
    }
    let first = asked[0].clone();
    assert_eq!(asked[..3], [first.clone(), first.clone(), first.clone()]);
    assert_ne!(asked[3], first);
    assert_eq!(told, [(3, first)], "it is said once");
}
