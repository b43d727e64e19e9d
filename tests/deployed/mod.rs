//! What tests of verbs begin with: a project that is recorded and planned as `mcompose up -d` does it, on hosts in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mcompose::cluster::fabric;
use mcompose::engine::fake::Fake;
use mcompose::inventory::Inventory;
use mcompose::placement::{Request, place};
use mcompose::plan::{Goal, Inputs, Plan, Up, plan};
use mcompose::project::{Mount, Project, ProjectName, Service, ServiceName, Volume, VolumeName};
use mcompose::store::{Draft, Store, open};
use mcompose::world::Fabric;

/// `shop`: services by their names, and host-local volumes by their keys.
pub fn shop(services: &[(&str, Service)], volumes: &[&str]) -> Project {
    let service = |(name, service): &(&str, Service)| (ServiceName::new(*name).expect("a good name"), service.clone());
    let volume = |key: &&str| {
        let volume = Volume { name: format!("shop_{key}"), ..Volume::default() };
        (VolumeName::new(*key).expect("a good name"), volume)
    };
    Project {
        name: ProjectName::new("shop").expect("a good name"),
        working_dir: "/srv".to_owned(),
        config_files: vec!["/srv/compose.yaml".to_owned()],
        environment_files: Vec::new(),
        services: services.iter().map(service).collect(),
        disabled_services: BTreeSet::new(),
        bases: Default::default(),
        networks: BTreeMap::new(),
        volumes: volumes.iter().map(volume).collect(),
        configs: BTreeMap::new(),
        secrets: BTreeMap::new(),
        contents: BTreeMap::new(),
        data_folders: BTreeSet::new(),
        config_hashes: BTreeMap::new(),
    }
}

/// A volume of the project in its service.
pub fn mount(key: &str) -> Mount {
    Mount { kind: "volume".to_owned(), source: Some(key.to_owned()), target: format!("/{key}"), ..Mount::default() }
}

pub fn store(fake: &Fake, inventory: &Inventory) -> (Fabric, Arc<dyn Store>) {
    let world = fake.snapshot();
    let fabric = fabric(&inventory.hosts, &inventory.network, &world).expect("they are one swarm");
    let store = open(&fabric, &fake.engines(), &world, Path::new("/nowhere"), "").expect("there is a store");
    (fabric, store)
}

/// Writes the record, and returns the plan of it.
pub async fn planned(fake: &Fake, inventory: &Inventory, project: &Project) -> Plan {
    let (fabric, store) = store(fake, inventory);
    let world = fake.snapshot();
    let known = store.latest(&project.name).await.expect("it is read").map(|record| record.seats).unwrap_or_default();
    let request = Request { fabric: fabric.clone(), known, ..Request::default() };
    let placement = place(project, &inventory.hosts, &world, &request);
    let seats = placement.seats.iter().map(|(slot, seat)| (slot.clone(), seat.host.clone())).collect();
    let draft = Draft {
        project: project.clone(),
        scales: BTreeMap::new(),
        seats,
        halted: BTreeSet::new(),
        newest_seen: 0,
        created: 0,
        by: "me@here".to_owned(),
        command: "up".to_owned(),
    };
    let revision = store.put(draft).await.expect("it is kept").head.revision;
    let inputs = Inputs {
        project,
        placement: &placement,
        hosts: &inventory.hosts,
        world: &world,
        fabric: &fabric,
        revision,
        here: &BTreeSet::new(),
        kept: None,
    };
    plan(&Goal::Up(Up::default()), &inputs)
}
