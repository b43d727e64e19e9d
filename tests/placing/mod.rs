//! Projects, hosts and worlds in a few words, for the tests of placement.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use mcompose::placement::{Placement, Request, Why, place};
use mcompose::project::{Address, Availability, ContainerId, Host, HostName, Project, ProjectName, Protocol, Role, Slot};
use mcompose::world::{
    Container, EngineInfo, Fabric, Health, Labels, MountSeen, PortSeen, Reservation, Restarts, SeenHost, Sight, State,
    VolumeSeen, World,
};

/// A project `p` from services (and volumes and networks) in canonical YAML.
pub fn project(yaml: &str) -> Project {
    let document: serde_json::Value = serde_yaml::from_str(yaml).expect("the test's YAML is YAML");
    let part = |key: &str| document.get(key).cloned().unwrap_or_else(|| serde_json::json!({}));
    let mut networks = part("networks");
    let mut volumes = part("volumes");
    for objects in [&mut networks, &mut volumes] {
        for (key, value) in objects.as_object_mut().expect("a map") {
            if value.is_null() {
                *value = serde_json::json!({});
            }
            let name = serde_json::json!(format!("p_{key}"));
            value.as_object_mut().expect("a map").entry("name").or_insert(name);
        }
    }
    let mut services = part("services");
    for value in services.as_object_mut().expect("a map").values_mut().filter(|value| value.is_null()) {
        *value = serde_json::json!({});
    }
    let project = serde_json::json!({
        "name": "p", "working_dir": "/", "config_files": [], "services": services, "volumes": volumes, "networks": networks,
    });
    serde_json::from_value(project).expect("the test's project is canonical")
}

/// Hosts from lines such as `alpha drain manager zone=a`.
pub fn hosts(lines: &[&str]) -> Vec<Host> {
    lines.iter().map(|line| host(line)).collect()
}

fn host(line: &str) -> Host {
    let mut words = line.split_whitespace();
    let name = name(words.next().expect("a host has a name"));
    let address = Address::Ssh { user: None, host: format!("{name}.example"), port: None };
    let mut host = Host::new(name, address);
    for word in words {
        match (word, word.split_once('=')) {
            ("drain", _) => host.availability = Availability::Drain,
            ("pause", _) => host.availability = Availability::Pause,
            ("manager", _) => host.role = Some(Role::Manager),
            ("worker", _) => host.role = Some(Role::Worker),
            (_, Some(("advertise", address))) => host.advertise = Some(address.to_owned()),
            (_, Some((key, value))) => drop(host.labels.insert(key.to_owned(), value.to_owned())),
            (other, None) => panic!("`{other}` says nothing of a host"),
        }
    }
    host
}

pub fn name(text: &str) -> HostName {
    HostName::new(text).expect("the test's host name is one")
}

pub fn slot(text: &str) -> Slot {
    Slot::try_from(text.to_owned()).expect("the test's slot is one")
}

/// A world in which every host answers and has nothing, with 8 CPUs and 16 GiB.
pub fn empty(hosts: &[Host]) -> World {
    World { hosts: hosts.iter().map(|host| (host.name.clone(), Sight::Seen(Arc::new(seen(host))))).collect() }
}

fn seen(host: &Host) -> SeenHost {
    let engine = EngineInfo {
        id: format!("engine-of-{}", host.name),
        hostname: format!("{}.local", host.name),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        cpus: 8,
        memory_bytes: 16 << 30,
        volume_plugins: ["local".to_owned()].into(),
        network_plugins: ["bridge".to_owned(), "overlay".to_owned()].into(),
        runtimes: ["runc".to_owned()].into(),
        ..EngineInfo::default()
    };
    SeenHost { engine, ..SeenHost::default() }
}

pub fn at<'a>(world: &'a mut World, host: &str) -> &'a mut SeenHost {
    match world.hosts.get_mut(host) {
        Some(Sight::Seen(seen)) => Arc::make_mut(seen),
        _ => panic!("{host} is not seen"),
    }
}

pub fn cut(world: &mut World, host: &str) {
    world.hosts.insert(name(host), Sight::Unreachable { why: "no route to host".to_owned() });
}

/// Puts a container on a host; words say the rest: `created exited=1 restarting=2 healthy unhealthy revision=2 created_at=5 mount=NAME bind=PATH
/// port=80 port=10.0.0.1:80 memory=BYTES gpu=1`.
pub fn put(world: &mut World, host: &str, container_name: &str, words: &str) {
    let container = container(container_name, words);
    let seen = at(world, host);
    for mount in container.mounts.iter().filter(|mount| mount.kind == "volume") {
        if !seen.volumes.iter().any(|volume| volume.name == mount.name) {
            seen.volumes.push(VolumeSeen { name: mount.name.clone(), driver: "local".to_owned(), ..VolumeSeen::default() });
        }
    }
    seen.containers.push(container);
    seen.containers.sort_by(|a, b| a.name.cmp(&b.name));
}

/// A container named `p-SERVICE-N` is a replica; any other is a stranger.
fn container(name: &str, words: &str) -> Container {
    let replica = name.strip_prefix("p-").and_then(|rest| rest.rsplit_once('-'));
    let labels = match replica {
        Some((service, number)) => Labels {
            project: Some("p".to_owned()),
            service: Some(service.to_owned()),
            number: number.parse().ok(),
            ..Labels::default()
        },
        None => Labels::default(),
    };
    let mut container = Container {
        id: ContainerId::new(format!("id-{name}")).expect("letters and hyphens are an id"),
        name: name.to_owned(),
        image: "demo".to_owned(),
        image_id: "sha256:1".to_owned(),
        state: State::Running,
        health: Health::None,
        created: 1,
        labels,
        ports: Vec::new(),
        mounts: Vec::new(),
        networks: BTreeMap::new(),
        network_ids: Default::default(),
        network_mode: String::new(),
        command: String::new(),
        status: String::new(),
        restarts: None,
    };
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<i64>().expect("a number");
        let mut reserve =
            |change: &dyn Fn(&mut Reservation)| change(container.labels.reservation.get_or_insert_with(Reservation::default));
        match key {
            "created" => container.state = State::Created,
            "exited" => container.state = State::Exited { code: Some(number()) },
            "restarting" => {
                let count = u32::try_from(number()).expect("it is small");
                (container.state, container.restarts) = (State::Restarting, Some(Restarts { count, lived_ms: 0 }));
            }
            "healthy" => container.health = Health::Healthy,
            "unhealthy" => container.health = Health::Unhealthy,
            "revision" => container.labels.revision = u64::try_from(number()).ok(),
            "created_at" => container.created = number(),
            "memory" => reserve(&|reservation| reservation.memory_bytes = number()),
            "gpu" => reserve(&|reservation| reservation.kinds.extend([("gpu".to_owned(), number())])),
            "mount" => {
                container.mounts.push(MountSeen { kind: "volume".to_owned(), name: value.to_owned(), ..MountSeen::default() })
            }
            "bind" => {
                container.mounts.push(MountSeen { kind: "bind".to_owned(), source: value.to_owned(), ..MountSeen::default() })
            }
            "port" => {
                let (ip, port) = value.rsplit_once(':').unwrap_or(("0.0.0.0", value));
                let host_port = port.parse().ok();
                let host_ip = ip.to_owned();
                container.ports.push(PortSeen { host_ip, host_port, container_port: 80, protocol: Protocol::Tcp });
            }
            other => panic!("`{other}` says nothing of a container"),
        }
    }
    container
}

pub fn volume(world: &mut World, host: &str, name: &str) {
    at(world, host).volumes.push(VolumeSeen { name: name.to_owned(), driver: "local".to_owned(), ..VolumeSeen::default() });
}

pub fn bridge() -> Request {
    Request { fabric: Fabric::Bridge, ..Request::default() }
}

pub fn known(slots: &[(&str, &str)]) -> Request {
    Request { known: slots.iter().map(|(text, host)| (slot(text), name(host))).collect(), ..Request::default() }
}

/// One line for each slot: `web.1 alpha (stays)`, or `web.1 nowhere: …`.
pub fn told(placement: &Placement) -> String {
    let mut lines: BTreeMap<Slot, String> = BTreeMap::new();
    for (slot, seat) in &placement.seats {
        let why = match &seat.why {
            Why::Stays => "stays".to_owned(),
            Why::Held { because } => format!("held: {because}"),
            Why::Best { fitting, hosts } => format!("best of {fitting}/{hosts}"),
            Why::Folder { folder } => format!("folder {folder}"),
            Why::Volume { volume } => format!("volume {volume}"),
            Why::With { service } => format!("with {service}"),
            Why::Global => "global".to_owned(),
        };
        lines.insert(slot.clone(), format!("{slot} {} ({why})", seat.host));
    }
    for (slot, refusal) in &placement.refused {
        let before = lines.insert(slot.clone(), format!("{slot} nowhere: {refusal}"));
        assert_eq!(before, None, "{slot} is placed and refused");
    }
    lines.into_values().map(|line| line + "\n").collect()
}

/// Places and compares; the lines of `expect` may be indented.
#[track_caller]
pub fn check(project: &Project, hosts: &[Host], world: &World, request: &Request, expect: &str) {
    let expect: String = expect.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    assert_eq!(told(&place(project, hosts, world, request)), expect);
}

/// How many slots of a service are on each host, as `alpha 2, beta 1`.
pub fn counts(placement: &Placement, service: &str) -> String {
    let mut counts: BTreeMap<&HostName, u32> = BTreeMap::new();
    for (_, seat) in placement.seats.iter().filter(|(slot, _)| slot.service.as_str() == service) {
        *counts.entry(&seat.host).or_default() += 1;
    }
    counts.into_iter().map(|(host, count)| format!("{host} {count}")).collect::<Vec<_>>().join(", ")
}

pub fn project_name() -> ProjectName {
    ProjectName::new("p").expect("p is a project name")
}
