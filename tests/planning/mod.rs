//! What tests of plans share: a project from text, hosts in memory, look, place, plan, apply.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::collections::{BTreeMap, BTreeSet};

use mcompose::apply::{Limits, Outcome};
use mcompose::engine::fake::Fake;
use mcompose::placement::{Placement, Request};
use mcompose::plan::{Goal, Inputs, Plan, Up};
use mcompose::project::{
    Address, Host, HostName, Network, NetworkName, Project, ProjectName, Service, ServiceName, Volume, VolumeName,
};
use mcompose::world::{Fabric, Question, Swarm, World};
use serde_json::Value;

/// A project named `shop` from canonical YAML: every attribute in its long form. Networks and volumes may be left undeclared.
pub fn project(text: &str) -> Project {
    let document: Value = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let part = |key: &str| document.get(key).cloned().unwrap_or(Value::Object(serde_json::Map::new()));
    let entries = |key: &str| match part(key) {
        Value::Object(map) => map.into_iter().collect::<Vec<(String, Value)>>(),
        other => panic!("{key}: {other}"),
    };
    let parse = |key: &str, value: Value| if value.is_null() { serde_json::json!({}) } else { with_key(key, value) };
    let mut services: BTreeMap<ServiceName, Service> = BTreeMap::new();
    for (name, value) in entries("services") {
        let mut service: Service = serde_json::from_value(parse(&name, value)).unwrap_or_else(|error| panic!("{name}: {error}"));
        if service.networks.is_empty() && service.network_mode.is_none() {
            service.networks.insert(NetworkName::new("default").expect("it is a word"), None);
        }
        services.insert(ServiceName::new(name).expect("a service name"), service);
    }
    let mut networks: BTreeMap<NetworkName, Network> = BTreeMap::new();
    for (key, value) in entries("networks") {
        let network = serde_json::from_value(parse(&key, value)).unwrap_or_else(|error| panic!("{key}: {error}"));
        networks.insert(NetworkName::new(key).expect("a network name"), network);
    }
    let mut volumes: BTreeMap<VolumeName, Volume> = BTreeMap::new();
    for (key, value) in entries("volumes") {
        let volume = serde_json::from_value(parse(&key, value)).unwrap_or_else(|error| panic!("{key}: {error}"));
        volumes.insert(VolumeName::new(key).expect("a volume name"), volume);
    }
    for service in services.values() {
        for key in service.networks.keys() {
            networks.entry(key.clone()).or_default();
        }
        for mount in service.volumes.iter().filter(|mount| mount.kind == "volume") {
            if let Some(source) = &mount.source {
                volumes.entry(VolumeName::new(source.clone()).expect("a volume name")).or_default();
            }
        }
    }
    let full = |key: &str, name: &str, external: bool| match (name.is_empty(), external) {
        (false, _) => name.to_owned(),
        (true, true) => key.to_owned(),
        (true, false) => format!("shop_{key}"),
    };
    for (key, network) in &mut networks {
        network.name = full(key.as_str(), &network.name, network.external);
    }
    for (key, volume) in &mut volumes {
        volume.name = full(key.as_str(), &volume.name, volume.external);
    }
    Project {
        config_files: vec!["/srv/shop/compose.yaml".to_owned()],
        services,
        networks,
        volumes,
        configs: serde_json::from_value(part("configs")).expect("configs"),
        secrets: serde_json::from_value(part("secrets")).expect("secrets"),
        ..Project::bare(ProjectName::new("shop").expect("it is a word"), "/srv/shop".to_owned())
    }
}

fn with_key(_key: &str, value: Value) -> Value {
    value
}

/// Hosts in memory with the project that they run.
pub struct Bed {
    pub fake: Fake,
    pub hosts: Vec<Host>,
    pub project: Project,
    pub revision: u64,
    /// What records go back to.
    pub kept: Option<BTreeSet<String>>,
    /// What can be delivered.
    pub cargo: mcompose::delivery::Cargo,
    /// Where each slot was placed last.
    pub known: BTreeMap<mcompose::project::Slot, HostName>,
}

impl Bed {
    pub fn new(names: &[&str], project: Project) -> Self {
        let address = |name: &str| Address::Ssh { user: None, host: name.to_owned(), port: None };
        let host = |name: &&str| Host::new(HostName::new(*name).expect("a host name"), address(name));
        Self {
            fake: Fake::new(names),
            hosts: names.iter().map(host).collect(),
            project,
            revision: 1,
            cargo: Default::default(),
            kept: None,
            known: BTreeMap::new(),
        }
    }

    /// Joins all hosts into one swarm, the first being its manager.
    pub fn form_swarm(&self) {
        let engines = self.fake.engines();
        let world = self.look();
        run(async {
            let mut via = None;
            for (number, host) in self.hosts.iter().enumerate() {
                let engine = &engines[&host.name];
                let addr = format!("10.0.0.{}", number + 1);
                if !matches!(world.seen(host.name.as_str()).map(|seen| &seen.swarm), Some(Swarm::Inactive)) {
                    continue;
                }
                match &via {
                    None => {
                        engine.swarm_init(&addr).await.expect("the first host begins");
                        via = Some((host.name.clone(), format!("{addr}:2377")));
                    }
                    Some((manager, remote)) => {
                        let token = engines[manager].join_token(mcompose::project::Role::Worker).await.expect("a token");
                        engine.swarm_join(&addr, remote, &token).await.expect("the others join");
                    }
                }
            }
        });
    }

    /// An image that no registry has.
    pub fn fake_build(&self, host: &str, build: &mcompose::project::ImageBuild) {
        let engines = self.fake.engines();
        let engine = engines.iter().find(|(name, _)| name.as_str() == host).expect("a host").1;
        run(engine.build(build, "Dockerfile", None, &mcompose::engine::Lent::default(), &|_| {})).expect("it is built");
    }

    pub fn look(&self) -> World {
        self.fake.snapshot_of(&Question::about(self.project.images()))
    }

    /// Overlay once the first host is in a swarm.
    pub fn fabric(&self, world: &World) -> Fabric {
        let mut managers = Vec::new();
        let mut any = false;
        for (host, seen) in world.seen_hosts() {
            if let Swarm::Active(member) = &seen.swarm {
                any = true;
                if member.is_manager {
                    managers.push(host.clone());
                }
            }
        }
        if any { Fabric::Overlay { managers } } else { Fabric::Bridge }
    }

    pub fn place(&self, world: &World) -> Placement {
        self.place_as(&self.project, world)
    }

    fn place_as(&self, project: &Project, world: &World) -> Placement {
        let fabric = self.fabric(world);
        let request = Request { known: self.known.clone(), fabric, ..Request::default() };
        mcompose::placement::place(project, &self.hosts, world, &request)
    }

    pub fn plan_in(&self, goal: &Goal, world: &World) -> Plan {
        let project = goal.about(&self.project, world);
        let placement = self.place_as(&project, world);
        let fabric = self.fabric(world);
        let inputs = Inputs {
            project: &project,
            placement: &placement,
            hosts: &self.hosts,
            world,
            fabric: &fabric,
            revision: self.revision,
            here: &self.cargo.has().map(str::to_owned).collect(),
            kept: self.kept.as_ref(),
        };
        mcompose::plan::plan(goal, &inputs)
    }

    pub fn plan(&self, goal: &Goal) -> Plan {
        self.plan_in(goal, &self.look())
    }

    pub fn up(&self) -> Plan {
        self.plan(&Goal::Up(Up::default()))
    }

    pub fn apply(&mut self, plan: &Plan) -> Outcome {
        let placement = self.place(&self.look());
        self.known.extend(placement.seats.iter().map(|(slot, seat)| (slot.clone(), seat.host.clone())));
        apply_with(&self.fake, plan, &self.cargo)
    }
}

/// Carries a plan out on hosts in memory.
pub fn apply(fake: &Fake, plan: &Plan) -> Outcome {
    apply_with(fake, plan, &Default::default())
}

fn apply_with(fake: &Fake, plan: &Plan, cargo: &mcompose::delivery::Cargo) -> Outcome {
    let (events, _unread) = tokio::sync::mpsc::unbounded_channel();
    let (_keep, interrupt) = tokio::sync::watch::channel(false);
    run(mcompose::apply::apply(&fake.engines(), plan, &Limits::default(), cargo, events, interrupt))
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime can be built");
    runtime.block_on(future)
}
