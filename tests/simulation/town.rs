//! Where a history takes place: hosts in one swarm, a project, containers of others, and a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mcompose::cluster::Managers;
use mcompose::engine::Engines;
use mcompose::engine::fake::{Behaviour, Fake};
use mcompose::project::{Address, ContainerSpec, Host, HostName, Project, ProjectName, Rebalancing, Role, ServiceName, Slot};
use mcompose::store::{Clock, RaftStore, RecordState, Store};
use mcompose::world::{Container, Fabric, Health, State, Swarm};
use serde_json::json;

use super::chaos::{self, GUEST};
use super::dice::Dice;
use super::planning;

pub struct Town {
    pub fake: Fake,
    /// As the inventory has them now.
    pub hosts: Vec<Host>,
    /// Those that it listed before.
    pub unlisted: Vec<Host>,
    /// Those of them of which a supervisor that began later does not know.
    pub unknown: BTreeSet<HostName>,
    pub managers: Vec<HostName>,
    /// When the history begins, by the cluster's clock.
    pub began_ms: u64,
    pub foreign: BTreeSet<String>,
    /// Supervisors move replicas so that the hosts' loads are even.
    pub rebalancing: Rebalancing,
}

/// The volume that only `store` has.
pub const VOLUME: &str = "shop_data";
/// Images to which an update of `web` fails, until all is healed: one ends after a while, one turns unhealthy where it is checked.
pub const FAILS: [&str; 2] = ["web:ends", "web:sick"];
/// The service that ends a second after each start until all is healed.
pub const CRASHES: &str = "crashes";

impl Town {
    pub fn new(seed: u64, dice: &mut Dice) -> Self {
        let names = ["h1", "h2", "h3", "h4", "h5"];
        let count = if dice.one_in(6) { 5 } else { 3 + dice.below(2) as usize };
        let names = &names[..count];
        let managers = if dice.one_in(6) { 1 } else { 3 };
        let guest: &[&str] = if chaos::has_guest(seed) { &[GUEST] } else { &[] };
        let everybody = [names, guest].concat();
        let fake = Fake::new(&everybody).paced(seed);
        let hosts = names.iter().map(|name| host(name)).collect();
        let mut town = Self {
            fake,
            hosts,
            unlisted: Vec::new(),
            unknown: BTreeSet::new(),
            managers: names[..managers].iter().map(|name| host_name(name)).collect(),
            began_ms: 0,
            foreign: BTreeSet::new(),
            // By dice of its own, so that it changes no other throw.
            rebalancing: if Dice::new(seed, 5).one_in(3) { Rebalancing::Auto } else { Rebalancing::Off },
        };
        for name in &everybody {
            for image in ["web:1", "store:1", "agent:1", "crashes:1"].into_iter().chain(FAILS) {
                town.fake.host(name).add_image(image);
            }
        }
        let late = Behaviour { exits: Some((Duration::from_millis(700), 1)), ..Behaviour::default() };
        town.fake.behave(FAILS[0], late);
        town.fake.behave(FAILS[1], Behaviour { health: Health::Unhealthy, ..Behaviour::default() });
        let ends = Behaviour { exits: Some((Duration::from_secs(1), 1)), ..Behaviour::default() };
        town.fake.behave(&format!("{CRASHES}:1"), ends);
        planning::run(town.form_swarm(&everybody));
        town.settle_others(dice);
        town.began_ms = town.fake.now_ms();
        town
    }

    async fn form_swarm(&self, names: &[&str]) {
        let engines = self.fake.engines();
        let first = &engines[&self.hosts[0].name];
        first.swarm_init("10.0.0.1").await.expect("the first host begins");
        for (number, name) in names.iter().enumerate().skip(1) {
            let name = host_name(name);
            let role = if self.managers.contains(&name) { Role::Manager } else { Role::Worker };
            let token = first.join_token(role).await.expect("a token");
            let addr = format!("10.0.0.{}", number + 1);
            engines[&name].swarm_join(&addr, "10.0.0.1:2377", &token).await.expect("the others join");
        }
    }

    /// A host that is in no swarm joins the others as a worker, if a manager answers.
    pub fn join(&self, host: &str) -> bool {
        let engines = self.fake.engines();
        let number = self.managers.len() + self.hosts.iter().position(|other| other.name.as_str() == host).unwrap_or_default();
        planning::run(async {
            for (number_of_manager, manager) in self.managers.iter().enumerate() {
                let Ok(token) = engines[manager].join_token(Role::Worker).await else { continue };
                let (addr, remote) = (format!("10.0.1.{number}"), format!("10.0.0.{}:2377", number_of_manager + 1));
                if engines[&host_name(host)].swarm_join(&addr, &remote, &token).await.is_ok() {
                    return true;
                }
            }
            false
        })
    }

    /// Containers that are nobody's, or another project's.
    fn settle_others(&mut self, dice: &mut Dice) {
        for (number, host) in self.hosts.iter().enumerate() {
            let mut spec = ContainerSpec { image: "other:1".to_owned(), ..ContainerSpec::default() };
            if dice.one_in(2) {
                let labels = [("project", "others"), ("service", "web"), ("container-number", "1")];
                spec.labels.extend(labels.map(|(key, value)| (format!("com.docker.compose.{key}"), value.to_owned())));
            } else if dice.one_in(2) {
                // A label of the service's name alone makes nobody a replica.
                spec.labels.insert("com.docker.compose.service".to_owned(), "web".to_owned());
                spec.labels.insert("com.docker.compose.container-number".to_owned(), "1".to_owned());
            }
            let name = format!("other-{number}");
            self.fake.host(host.name.as_str()).run(&name, &spec).expect("it runs");
            self.foreign.insert(name);
        }
    }

    pub fn fabric(&self) -> Fabric {
        Fabric::Overlay { managers: self.managers.clone() }
    }

    pub fn store(&self, engines: &Engines) -> Arc<dyn Store> {
        let managers = self.managers.iter().map(|name| Arc::clone(&engines[name])).collect();
        let world = self.fake.snapshot();
        let node_id = |host: &HostName| match world.seen(host.as_str()).map(|seen| &seen.swarm) {
            Some(Swarm::Active(member)) => Some(member.node_id.clone()),
            _ => None,
        };
        let managers = Managers::new(managers).expect("there is a manager").known_as(node_id);
        let store = RaftStore::new(managers, self.managers[0].clone());
        Arc::new(store.with_clock(Clock::Simulated(Arc::default())))
    }

    /// Those of all engines that the inventory lists.
    pub fn listed(&self, engines: &Engines) -> Engines {
        let listed = self.hosts.iter().filter_map(|host| engines.get_key_value(&host.name));
        listed.map(|(name, engine)| (name.clone(), Arc::clone(engine))).collect()
    }

    /// Milliseconds since the history began.
    pub fn now_ms(&self) -> u64 {
        self.fake.now_ms() - self.began_ms
    }

    /// Every container of the project, whether or not its host answers.
    pub fn containers(&self) -> Vec<(HostName, Container)> {
        let on = |host: &Host| {
            let containers = self.fake.host(host.name.as_str()).containers().into_iter();
            containers.map(|container| (host.name.clone(), container)).collect::<Vec<_>>()
        };
        let all = self.hosts.iter().chain(&self.unlisted).flat_map(on);
        all.filter(|(_, container)| container.labels.project.as_deref() == Some("shop")).collect()
    }

    /// Revision and state of all records, the newest first.
    pub fn records(&self) -> Vec<(u64, RecordState)> {
        let labels = self.fake.config_labels();
        let record = |labels: &BTreeMap<String, String>| {
            let state = RecordState::parse(labels.get("io.mcompose.state")?);
            Some((labels.get("io.mcompose.revision")?.parse().ok()?, state))
        };
        let mut records: Vec<(u64, RecordState)> = labels.iter().filter_map(record).collect();
        records.sort_unstable_by_key(|(revision, _)| std::cmp::Reverse(*revision));
        records
    }

    /// What is not as the newest record says; empty once all is well.
    pub fn wrong(&self) -> Vec<String> {
        let store = self.store(&self.fake.engines());
        let Ok(Some(record)) = planning::run(store.latest(&shop())) else { return vec!["no record".to_owned()] };
        let project = record.scaled();
        let mut missing: BTreeSet<String> = BTreeSet::new();
        for (name, service) in &project.services {
            match service.mode().is_global() {
                true => missing.extend(self.hosts.iter().map(|host| format!("{name} of {}", host.name))),
                false => missing.extend((1..=service.replicas()).map(|number| format!("{name}.{number}"))),
            }
        }
        // Nobody knows what is on a host that left before those who supervise now began, but that the volume may be there. And a host
        // that leaves gets no new container, be it for the volume that it keeps.
        let world = self.fake.snapshot();
        let has_volume = |host: &Host| {
            let seen = world.seen(host.name.as_str());
            seen.is_some_and(|seen| seen.volumes.iter().any(|volume| volume.name == VOLUME))
        };
        let may_be_away = !self.unknown.is_empty() || self.unlisted.iter().any(has_volume);
        let is_known = |host: &HostName| !self.unknown.contains(host);
        let mut wrong = Vec::new();
        for (host, container) in self.containers().into_iter().filter(|(host, _)| is_known(host)) {
            let name = &container.name;
            let level = container.labels.service.as_deref().map(|service| level_of(&project, service)).unwrap_or_default();
            let spec = self.fake.host(host.as_str()).spec_of(container.id.as_str());
            let is_global = |slot: &Slot| project.services.get(&slot.service).is_some_and(|service| service.mode().is_global());
            let slot = container.slot().map(|slot| match is_global(&slot) {
                true => format!("{} of {host}", slot.service),
                false => slot.to_string(),
            });
            let slot = slot.unwrap_or_default();
            let left = self.unlisted.iter().any(|left| left.name == host) && slot != "store.1";
            // Its name may be a temporary one: what runs on a network that crosses hosts cannot be renamed.
            if left {
                wrong.push(format!("{name} is still on {host}, which left"));
            } else if !missing.remove(&slot) {
                wrong.push(format!("{name} on {host} is one too many"));
            } else if container.state != State::Running || matches!(container.health, Health::Unhealthy | Health::Starting) {
                wrong.push(format!("{name} on {host} is {}, {:?}", container.state, container.health));
            } else if !spec.is_some_and(|spec| spec.env.contains(&level)) {
                wrong.push(format!("{name} on {host} is of an older record"));
            }
        }
        if may_be_away && missing.remove("store.1") {
            // Who depends on it is left as it is, so only what is too much counts.
            wrong.retain(|text| !text.ends_with("older record"));
            missing.clear();
        }
        wrong.extend(missing.into_iter().map(|name| format!("{name} is missing")));
        if self.rebalancing == Rebalancing::Auto {
            let counts: Vec<usize> = self.hosts.iter().map(|host| self.webs_on(&host.name)).collect();
            if counts.iter().max() > counts.iter().min().map(|least| least + 1).as_ref() {
                wrong.push(format!("the replicas of web are spread {counts:?}"));
            }
        }
        wrong
    }
}

impl Town {
    fn webs_on(&self, host: &HostName) -> usize {
        let containers = self.containers().into_iter();
        containers.filter(|(on, container)| on == host && container.labels.service.as_deref() == Some("web")).count()
    }
}

fn level_of(project: &Project, service: &str) -> String {
    let level = project.services.get(service).and_then(|service| service.environment.get("LEVEL").cloned().flatten());
    format!("LEVEL={}", level.unwrap_or_default())
}

pub fn shop() -> ProjectName {
    ProjectName::new("shop").expect("it is a word")
}

pub fn host_name(name: &str) -> HostName {
    HostName::new(name).expect("a host name")
}

pub fn host(name: &str) -> Host {
    Host::new(host_name(name), Address::Ssh { user: None, host: name.to_owned(), port: None })
}

/// `web` has replicas and no data, `store` has a volume; some have an agent on every host, or what crashes all the time.
pub fn project(dice: &mut Dice, action: &str) -> Project {
    let level = json!({ "LEVEL": "0" });
    let replicas = 2 + dice.below(2);
    let mut web = json!({ "image": "web:1", "environment": level, "deploy": { "replicas": replicas } });
    let starts_first = dice.one_in(2);
    let mut update = json!({ "parallelism": 1 + dice.below(2), "monitor": "1s", "failure_action": action });
    // Some leave the order of updates to the default and say nothing of moves by that.
    if starts_first || replicas == 2 {
        update["order"] = json!(if starts_first { "start-first" } else { "stop-first" });
    }
    web["deploy"]["update_config"] = update;
    if dice.one_in(2) {
        web["healthcheck"] = json!({ "test": ["CMD", "check"] });
    }
    if dice.one_in(3) {
        web["depends_on"] = json!({ "store": { "condition": "service_started", "restart": dice.one_in(2), "required": true } });
    }
    let mut store = json!({ "image": "store:1", "environment": level });
    store["volumes"] = json!([{ "type": "volume", "source": "data", "target": "/data" }]);
    if dice.one_in(2) {
        store["restart"] = json!("always");
    } else {
        store["deploy"] = json!({ "replicas": 1 });
    }
    let mut services = json!({ "web": web, "store": store });
    if dice.one_in(4) {
        services["agent"] = json!({ "image": "agent:1", "environment": level, "deploy": { "mode": "global" } });
    }
    if dice.one_in(5) {
        services[CRASHES] = json!({ "image": format!("{CRASHES}:1"), "environment": level, "deploy": { "replicas": 1 } });
    }
    planning::project(&json!({ "services": services }).to_string())
}

/// The image that `web` is updated to by the next deployment: mostly one that works.
pub fn choose_image(project: &mut Project, dice: &mut Dice) -> &'static str {
    let image = if dice.one_in(3) { *dice.pick(&FAILS) } else { "web:1" };
    project.services.get_mut("web").expect("there is a web").image = Some(image.to_owned());
    image
}

/// What a user changes before the next deployment.
pub fn edit(project: &mut Project, dice: &mut Dice) -> String {
    let names: Vec<ServiceName> = project.services.keys().cloned().collect();
    if dice.one_in(3) {
        let count = 1 + u32::try_from(dice.below(4)).expect("it is below 4");
        let web = project.services.get_mut("web").expect("there is a web");
        web.scale = Some(count);
        return format!("scale web={count}");
    }
    let name = dice.pick(&names).clone();
    let level = dice.below(1_000).to_string();
    let service = project.services.get_mut(&name).expect("it is one of them");
    service.environment.insert("LEVEL".to_owned(), Some(level.clone()));
    format!("up, {name} with LEVEL={level}")
}
