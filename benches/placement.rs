//! Placing 30,000 replicas on 1,000 hosts: anew, again over the result, and after hosts were drained or went silent.
//!
//! `cargo bench --bench placement`. Prints the median of the runs of each case.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench measures with the clock and prints")]

#[path = "../tests/placing/mod.rs"]
mod placing;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use mcompose::placement::{Placement, Request, place};
use mcompose::project::{Availability, ContainerId, Host, Project};
use mcompose::world::{Container, Health, Labels, State, World};

const HOSTS: usize = 1000;
const RUNS: usize = 15;

fn main() {
    println!("{HOSTS} hosts, 30,000 replicas, median of {RUNS} runs");
    println!("{:<28} {:>9} {:>9} {:>9} {:>9}", "services x replicas", "anew ms", "again ms", "drain ms", "cut ms");
    for (services, replicas) in [(1, 30_000), (30, 1000), (300, 100), (1000, 30), (3000, 10)] {
        report(&format!("{services} x {replicas}, no rules"), &project(services, replicas, false));
        report(&format!("{services} x {replicas}, rules"), &project(services, replicas, true));
    }
}

fn report(title: &str, project: &Project) {
    let mut hosts = hosts();
    let world = placing::empty(&hosts);
    let request = Request::default();
    let placement = place(project, &hosts, &world, &request);
    assert!(placement.refused.is_empty(), "{title}: {} are refused", placement.refused.len());
    let anew_ms = median_ms(|| place(project, &hosts, &world, &request));
    let mut world = converged(project, world, &placement);
    let again_ms = median_ms(|| place(project, &hosts, &world, &request));
    for host in hosts.iter_mut().step_by(20) {
        host.availability = Availability::Drain;
    }
    let drain_ms = median_ms(|| place(project, &hosts, &world, &request));
    for host in hosts.iter_mut().step_by(20) {
        host.availability = Availability::Active;
        placing::cut(&mut world, host.name.as_str());
    }
    let known = placement.seats.iter().map(|(slot, seat)| (slot.clone(), seat.host.clone())).collect();
    let request = Request { known, ..Request::default() };
    let cut_ms = median_ms(|| place(project, &hosts, &world, &request));
    println!("{title:<28} {anew_ms:>9.1} {again_ms:>9.1} {drain_ms:>9.1} {cut_ms:>9.1}");
}

fn median_ms(run: impl Fn() -> Placement) -> f64 {
    let time = || {
        let start = Instant::now();
        let placement = black_box(run());
        let took_ms = start.elapsed().as_secs_f64() * 1000.0;
        drop(placement);
        took_ms
    };
    let mut times: Vec<f64> = (0..RUNS).map(|_| time()).collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

fn hosts() -> Vec<Host> {
    let lines: Vec<String> =
        (0..HOSTS).map(|index| format!("host{index:04} zone=z{} rack=r{}", index % 10, index % 50)).collect();
    placing::hosts(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// With rules: a constraint, two preferences and reservations for every second service, a port range for every tenth.
fn project(services: usize, replicas: usize, rules: bool) -> Project {
    let mut yaml = "services:\n".to_owned();
    for index in 0..services {
        let mut service = format!("  s{index:05}: {{scale: {replicas}");
        if rules && index % 10 == 3 {
            let _ = write!(service, ", ports: [{{target: 80, published: \"{}-{}\"}}]", 20_000 + index, 20_040 + index);
        }
        if rules && index % 2 == 0 {
            let _ = write!(
                service,
                ", deploy: {{placement: {{constraints: [\"node.labels.zone!=z{}\"], preferences: [{{spread: node.labels.zone}}, \
                 {{spread: node.labels.rack}}]}}, resources: {{reservations: {{cpus: 0.01, memory: \"10000000\"}}}}}}",
                index % 10
            );
        }
        let _ = writeln!(yaml, "{service}}}");
    }
    placing::project(&yaml)
}

/// The world after the placement was carried out.
fn converged(project: &Project, mut world: World, placement: &Placement) -> World {
    for (slot, seat) in &placement.seats {
        let name = format!("{}-{}-{}", project.name, slot.service, slot.number);
        let container = Container {
            id: ContainerId::new(name.clone()).expect("it is a word"),
            name,
            image: "demo".to_owned(),
            image_id: "sha256:1".to_owned(),
            state: State::Running,
            health: Health::None,
            created: 1,
            labels: Labels {
                project: Some(project.name.to_string()),
                service: Some(slot.service.to_string()),
                number: Some(slot.number.get()),
                revision: Some(1),
                ..Labels::default()
            },
            ports: Vec::new(),
            mounts: Vec::new(),
            networks: std::collections::BTreeMap::new(),
            network_ids: Default::default(),
            network_mode: String::new(),
            command: String::new(),
            status: String::new(),
            restarts: None,
        };
        placing::at(&mut world, seat.host.as_str()).containers.push(container);
    }
    world
}
