//! Real engines become a swarm, keep records and locks in its Raft, lose their leader, and let a host go.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests measure, and tell what they measured")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mcompose::apply::{Limits, apply};
use mcompose::cluster::{Managers, fabric, form, leave, resolve};
use mcompose::engine::{Engines, docker};
use mcompose::inventory::{Context, Inventory, parse};
use mcompose::plan::{Plan, Step};
use mcompose::project::{HostName, ProjectName};
use mcompose::store::{LOCK_TTL, RaftStore, Store};
use mcompose::transport::LinkOptions;
use mcompose::world::{Fabric, Question, Sight, Swarm, World};
use tokio::sync::Notify;

use crate::harness::{BOUND, Fleet};
use crate::store_spec::{self, NO_WAIT, draft, holder, name, project};

/// A fleet with its inventory and engines, over TCP.
struct Hosts {
    fleet: Fleet,
    inventory: Inventory,
    engines: Engines,
}

impl Hosts {
    fn start(count: usize) -> Self {
        let fleet = Fleet::start(count);
        let text = std::fs::read_to_string(fleet.inventory_tcp()).expect("the fleet wrote it");
        let context = Context { folder: "/", home: None, exists: &|path| Path::new(path).is_file() };
        let inventory = parse("hosts.toml", &text, &context).unwrap_or_else(|failure| panic!("{failure}"));
        let options = LinkOptions { home: fleet.home(), user: "root".to_owned(), connect_timeout: Duration::from_secs(5) };
        let engines = inventory.hosts.iter().map(|host| (host.name.clone(), docker::open(host, &options))).collect();
        Self { fleet, inventory, engines }
    }

    async fn look(&self) -> World {
        let looks = self.engines.iter().map(|(name, engine)| async move {
            let sight = match engine.look(&Question::default()).await {
                Ok(seen) => Sight::Seen(Arc::new(seen)),
                Err(error) => Sight::Unreachable { why: error.to_string() },
            };
            (name.clone(), sight)
        });
        World { hosts: join_all(looks).await.into_iter().collect() }
    }

    async fn steps_to_form(&self) -> Vec<Step> {
        let world = self.look().await;
        let addresses = resolve(&self.inventory.hosts, &world).await;
        form(&self.inventory.hosts, &self.inventory.network, &world, &addresses).unwrap_or_else(|error| panic!("{error}"))
    }

    async fn carry_out(&self, steps: Vec<Step>) {
        let plan = Plan { project: ProjectName::new("hosts").expect("a good name"), steps, notes: Vec::new() };
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let (_stop, interrupt) = tokio::sync::watch::channel(false);
        let outcome = apply(&self.engines, &plan, &Limits::default(), &Default::default(), events, interrupt).await;
        assert!(outcome.is_success(), "{:?}", outcome.failures().collect::<Vec<_>>());
    }

    /// The store as a command finds it now, with every manager that answers.
    async fn store(&self) -> RaftStore {
        let world = self.look().await;
        let fabric = fabric(&self.inventory.hosts, &self.inventory.network, &world).unwrap_or_else(|error| panic!("{error}"));
        let Fabric::Overlay { managers } = fabric else { panic!("{fabric:?}") };
        let node_id = |host: &HostName| match world.seen(host.as_str()).map(|seen| &seen.swarm) {
            Some(Swarm::Active(member)) => Some(member.node_id.clone()),
            _ => None,
        };
        let first = managers[0].clone();
        RaftStore::new(self.managers(managers.iter().map(HostName::as_str)).known_as(node_id), first)
    }

    fn store_over(&self, managers: &[&str]) -> RaftStore {
        let first = self.inventory.host(managers[0]).expect("it is in the inventory").name.clone();
        RaftStore::new(self.managers(managers.iter().copied()), first)
    }

    fn managers<'n>(&self, names: impl Iterator<Item = &'n str>) -> Managers {
        Managers::new(names.map(|name| self.engines[name].clone()).collect()).expect("there are managers")
    }

    async fn leader(&self) -> String {
        for engine in self.engines.values() {
            let Ok(nodes) = engine.nodes().await else { continue };
            if let Some(leader) = nodes.into_iter().find(|node| node.is_leader) {
                let at = self.fleet.hosts.iter().find(|host| host.address == leader.addr || host.name == leader.hostname);
                return at.unwrap_or_else(|| panic!("{leader:?}")).name.clone();
            }
        }
        panic!("the swarm has no leader");
    }
}

fn told(what: &str, since: Instant) {
    eprintln!("measured: {what}: {:.2} s", since.elapsed().as_secs_f64());
}

#[tokio::test]
async fn hosts_become_a_swarm_that_keeps_records_and_lose_one_another() {
    let hosts = Hosts::start(4);
    let begun = Instant::now();
    hosts.carry_out(hosts.steps_to_form().await).await;
    told("forming a swarm of four, three of them managers", begun);
    assert_eq!(hosts.steps_to_form().await, []);
    let managers = hosts.engines["h1"].nodes().await.expect("it answers").iter().filter(|node| node.is_manager).count();
    assert_eq!(managers, 3);

    every_specification(&hosts).await;
    a_lock_changes_hands(&hosts).await;
    the_leader_leaves_without_a_word(&hosts).await;
    a_manager_is_taken_out(&hosts).await;
}

async fn every_specification(hosts: &Hosts) {
    let begun = Instant::now();
    let store: Arc<dyn Store> = Arc::new(hosts.store().await);
    macro_rules! hold {
        ($($specification:ident)*) => { $(
            store_spec::$specification(Arc::clone(&store)).await;
            for head in store.projects().await.expect("it answers") {
                store.remove(&head.project).await.expect("it is removed");
            }
        )* };
    }
    hold!(
        an_empty_store_has_nothing_and_says_so
        a_record_comes_back_as_it_was_put
        the_same_project_again_is_the_same_revision
        where_slots_are_is_kept_beside_the_record_and_makes_no_new_one
        what_is_halted_is_kept_beside_the_record_and_makes_no_new_one
        one_supervisor_holds_the_lease_and_the_next_has_it_when_it_is_given_back
        a_record_is_newer_than_what_runs_already
        how_far_a_deployment_came_is_written_down_and_the_last_good_one_stays
        the_last_records_are_kept_and_older_ones_go
        projects_are_listed_with_their_newest_record_and_removed_one_by_one
        a_long_name_and_a_large_project_are_kept_whole
        values_that_come_from_the_environment_are_not_kept
        a_lock_is_held_by_one_and_who_waits_is_told_by_whom
        who_waits_gets_the_lock_once_it_is_released
    );
    told("every specification of a store", begun);
    assert_eq!(hosts.fleet.host("h2").configs(), Vec::<String>::new(), "something was left in the swarm");
}

async fn a_lock_changes_hands(hosts: &Hosts) {
    let (one, other) = (hosts.store_over(&["h1"]), hosts.store_over(&["h3", "h2"]));
    let begun = Instant::now();
    let lock = one.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
    told("taking a free lock", begun);
    let (p, second) = (name("p"), holder("second"));
    let waits = Notify::new();
    let is_told = |_| waits.notify_one();
    let wait = other.lock(&p, &second, LOCK_TTL, &is_told);
    let released = async {
        let told_of_it = tokio::time::timeout(BOUND, waits.notified()).await;
        told_of_it.expect("who waits for a lock that another has is told so");
        let at = Instant::now();
        lock.release().await;
        at
    };
    let (taken, at) = tokio::join!(wait, released);
    told("a lock changes hands, release included", at);
    taken.expect("it is free").release().await;
    assert_eq!(hosts.fleet.host("h2").configs(), Vec::<String>::new(), "the lock was left in the swarm");
}

async fn the_leader_leaves_without_a_word(hosts: &Hosts) {
    let store = hosts.store().await;
    let lock = store.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
    store.put(draft(project("p", "one"))).await.expect("it is kept");
    let leader = hosts.leader().await;
    hosts.fleet.host(&leader).cut();
    let begun = Instant::now();
    assert_eq!(store.put(draft(project("p", "two"))).await.expect("it is kept").head.revision, 2);
    told("a record is written after the leader was cut off", begun);
    let world = hosts.look().await;
    let unreachable: Vec<&str> = world.unreachable_hosts().map(|(host, _)| host.as_str()).collect();
    assert_eq!(unreachable, [leader.as_str()]);
    let fabric = fabric(&hosts.inventory.hosts, &hosts.inventory.network, &world).expect("two managers are left");
    assert!(matches!(&fabric, Fabric::Overlay { managers } if managers.len() == 2), "{fabric:?}");
    assert!(!*lock.lost().borrow(), "the lock was lost with the leader");
    hosts.fleet.host(&leader).heal();
    lock.release().await;
    store.remove(&name("p")).await.expect("it is removed");
}

async fn a_manager_is_taken_out(hosts: &Hosts) {
    let world = settled(hosts).await;
    let leaving = hosts.inventory.host("h3").expect("it is in the inventory");
    let nodes = hosts.engines["h1"].nodes().await.expect("it answers");
    let steps = leave(leaving, &hosts.inventory.hosts, &world, &nodes).expect("it can leave");
    let begun = Instant::now();
    hosts.carry_out(steps).await;
    told("a manager leaves, the fourth host in its place", begun);
    let nodes = hosts.engines["h1"].nodes().await.expect("it answers");
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert_eq!(nodes.iter().filter(|node| node.is_manager).count(), 3, "{nodes:?}");
    assert_eq!(hosts.look().await.seen("h3").expect("it answers").swarm, Swarm::Inactive);
    let store = hosts.store_over(&["h1", "h2"]);
    store.put(draft(project("p", "three"))).await.expect("the swarm still has its quorum");
}

/// The world once every host is heard by the managers again.
async fn settled(hosts: &Hosts) -> World {
    let begun = Instant::now();
    loop {
        let ready = hosts.engines["h1"].nodes().await.is_ok_and(|nodes| nodes.iter().all(|node| node.state == "ready"));
        let world = hosts.look().await;
        if ready && world.unreachable_hosts().next().is_none() {
            return world;
        }
        assert!(begun.elapsed() < crate::harness::BOUND, "the swarm did not settle");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
