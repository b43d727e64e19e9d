//! Placing and planning 30,000 replicas on 1,000 hosts: everything anew, and with nothing to do.
//!
//! `cargo bench --bench plan` prints the median of each, in milliseconds; `-- WORD` runs those whose names have the word.

#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench reads the clock and prints")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mcompose::placement::{Placement, Request, place};
use mcompose::plan::{Goal, Inputs, Op, Plan, Up, plan};
use mcompose::project::{
    Address, Availability, Condition, ContainerId, Dependency, Host, HostName, Network, NetworkName, Project, Service,
    ServiceName,
};
use mcompose::world::{
    Container, EngineInfo, Fabric, Health, ImageSeen, Labels, NetworkSeen, SeenHost, Sight, State, Swarm, SwarmMember, World,
};

const HOSTS: usize = 1_000;
const SERVICES: usize = 10;
const REPLICAS: u32 = 3_000;
const RUNS: usize = 21;

fn main() {
    let hosts: Vec<Host> = (0..HOSTS).map(host).collect();
    let project = project();
    let fabric = Fabric::Overlay { managers: hosts.iter().take(3).map(|host| host.name.clone()).collect() };
    let request = Request { fabric: fabric.clone(), ..Request::default() };
    let empty = World { hosts: hosts.iter().enumerate().map(|(number, host)| (host.name.clone(), empty(number))).collect() };

    let placement = place(&project, &hosts, &empty, &request);
    let make = |world: &World, placement: &Placement| {
        let inputs = Inputs {
            project: &project,
            placement,
            hosts: &hosts,
            world,
            fabric: &fabric,
            revision: 1,
            here: &std::collections::BTreeSet::new(),
            kept: None,
        };
        plan(&Goal::Up(Up::default()), &inputs)
    };
    let first = make(&empty, &placement);
    let edges: usize = first.steps.iter().map(|step| step.after.len()).sum();
    let creates = first.steps.iter().filter(|step| matches!(step.op, Op::Create { .. })).count();
    println!("{HOSTS} hosts, {creates} replicas of {SERVICES} services: {} steps, {edges} edges", first.steps.len());
    let full = filled(&empty, &first);

    report("place, nothing there", || place(&project, &hosts, &empty, &request));
    report("plan, nothing there", || make(&empty, &placement));
    let settled = place(&project, &hosts, &full, &request);
    let again = make(&full, &settled);
    assert!(again.is_empty(), "nothing is left to do: {:?}", again.steps.first());
    report("place, all there", || place(&project, &hosts, &full, &request));
    report("plan, all there", || make(&full, &settled));
    report("place and plan, nothing there", || make(&empty, &place(&project, &hosts, &empty, &request)));
    report("place and plan, all there", || make(&full, &place(&project, &hosts, &full, &request)));
}

fn report<T>(name: &str, run: impl Fn() -> T) {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    if !words.into_iter().all(|word| name.contains(&word)) {
        return;
    }
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            let result = run();
            let took = begun.elapsed();
            drop(result);
            took.as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name}: {:.1} ms (fastest {:.1}, slowest {:.1})", times[RUNS / 2], times[0], times[RUNS - 1]);
}

fn host(number: usize) -> Host {
    Host {
        name: HostName::new(format!("host-{number:04}")).expect("it is a word"),
        address: Address::Ssh { user: None, host: format!("host-{number}"), port: None },
        role: None,
        availability: Availability::Active,
        labels: BTreeMap::from([("zone".to_owned(), format!("z{}", number % 3))]),
        advertise: None,
        identity: None,
        jump: Vec::new(),
    }
}

/// Ten services, each but the first needing the one before.
fn project() -> Project {
    let mut project: Project = serde_json::from_value(serde_json::json!({
        "name": "shop", "working_dir": "/srv/shop", "config_files": ["/srv/shop/compose.yaml"], "services": {},
    }))
    .expect("it is a project");
    let network = NetworkName::new("default").expect("it is a word");
    project.networks.insert(network.clone(), Network { name: "shop_default".to_owned(), ..Network::default() });
    let name = |number: usize| ServiceName::new(format!("service-{number}")).expect("it is a word");
    for number in 0..SERVICES {
        let needed = number
            .checked_sub(1)
            .map(|needed| (name(needed), Dependency { condition: Condition::ServiceStarted, restart: false, required: true }));
        let service = Service {
            image: Some(format!("app-{number}:1")),
            scale: Some(REPLICAS),
            environment: (0..5).map(|key| (format!("KEY_{key}"), Some("value".to_owned()))).collect(),
            command: Some(vec!["serve".to_owned()]),
            networks: BTreeMap::from([(network.clone(), None)]),
            depends_on: needed.into_iter().collect(),
            ..Service::default()
        };
        project.services.insert(name(number), service);
    }
    project
}

fn empty(number: usize) -> Sight {
    let images = (0..SERVICES).map(|service| (format!("app-{service}:1"), image(service)));
    Sight::Seen(Arc::new(SeenHost {
        engine: EngineInfo {
            id: format!("E{number}"),
            hostname: format!("host-{number:04}"),
            version: "28.5.0".to_owned(),
            api_version: "1.51".to_owned(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            cpus: 64,
            memory_bytes: 256 << 30,
            ..EngineInfo::default()
        },
        swarm: Swarm::Active(SwarmMember { is_manager: number < 3, control_available: true, ..SwarmMember::default() }),
        images: images.collect(),
        ..SeenHost::default()
    }))
}

fn image(service: usize) -> ImageSeen {
    ImageSeen { id: format!("sha256:{service:064x}"), ..ImageSeen::default() }
}

/// The world after the plan went well.
fn filled(empty: &World, plan: &Plan) -> World {
    let mut world = empty.clone();
    for (number, step) in plan.steps.iter().enumerate() {
        let Some(Sight::Seen(seen)) = world.hosts.get_mut(&step.host) else { continue };
        let seen = Arc::make_mut(seen);
        match &step.op {
            Op::CreateNetwork(spec) => seen.networks.push(NetworkSeen {
                id: spec.name.clone(),
                name: spec.name.clone(),
                driver: "overlay".to_owned(),
                scope: "swarm".to_owned(),
                attachable: true,
                labels: spec.labels.clone(),
                ..NetworkSeen::default()
            }),
            Op::Create { name, spec } => {
                let spec = spec.whole();
                seen.containers.push(Container {
                    id: ContainerId::new(format!("{number:064x}")).expect("it is a word"),
                    name: name.to_string(),
                    image: spec.image.clone(),
                    image_id: seen.images[&spec.image].id.clone(),
                    state: State::Running,
                    health: Health::None,
                    created: 0,
                    labels: Labels::decode(spec.labels.clone()),
                    ports: Vec::new(),
                    mounts: Vec::new(),
                    networks: spec.networking_config.endpoints_config.keys().map(|name| (name.clone(), String::new())).collect(),
                    network_ids: Default::default(),
                    network_mode: spec.host_config.network_mode.clone().unwrap_or_default(),
                    command: String::new(),
                    status: String::new(),
                    restarts: None,
                });
            }
            _ => {}
        }
    }
    world
}
