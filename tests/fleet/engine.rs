//! The trait's real side: what the doc comments of `Engine` say, against engines as they are.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use mcompose::engine::{ContainerEvent, Engine, EngineError, ErrorKind, LogQuery, docker};
use mcompose::project::{
    Address, ContainerSpec, Endpoint, HealthConfig, Hook, Host, HostName, NetworkSpec, Role, Until, VolumeSpec,
};
use mcompose::transport::LinkOptions;
use mcompose::world::{Question, SeenHost, State, Swarm};

use crate::harness::{DEMO_IMAGE, Fleet, FleetHost};
use crate::program::own;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn open(fleet: &Fleet, host: &FleetHost, address: Address) -> Arc<dyn Engine> {
    let name = HostName::new(host.name.clone()).expect("h1 is a name");
    let identity = Some(fleet.folder.join("id_ed25519").display().to_string());
    let host = Host { identity, ..Host::new(name, address) };
    docker::open(&host, &LinkOptions { home: fleet.home(), user: "root".to_owned(), connect_timeout: PATIENCE })
}

fn unix(host: &FleetHost) -> Address {
    Address::Unix { path: host.socket().display().to_string() }
}

pub fn tcp(host: &FleetHost) -> Address {
    Address::Tcp { host: host.address.clone(), port: 2375, tls: None }
}

fn ssh(host: &FleetHost) -> Address {
    Address::Ssh { user: Some("root".to_owned()), host: host.address.clone(), port: None }
}

pub fn on_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts").block_on(test);
}

fn spec(command: &[&str]) -> ContainerSpec {
    let cmd = (!command.is_empty()).then(|| command.iter().map(ToString::to_string).collect());
    ContainerSpec { image: DEMO_IMAGE.to_owned(), cmd, ..ContainerSpec::default() }
}

async fn look(engine: &dyn Engine) -> SeenHost {
    let question = Question::about(BTreeSet::from([DEMO_IMAGE.to_owned(), "no/such:image".to_owned()]));
    engine.look(&question).await.expect("the engine answers")
}

async fn state(engine: &dyn Engine, name: &str) -> String {
    let seen = look(engine).await;
    seen.containers.iter().find(|container| container.name == name).map_or("absent".to_owned(), |c| c.state.to_string())
}

#[test]
fn a_container_lives_and_dies_over_a_unix_socket() {
    let fleet = own(1);
    let engine = open(&fleet, &fleet.hosts[0], unix(&fleet.hosts[0]));
    on_runtime(life(&*engine));
}

#[test]
fn a_container_lives_and_dies_over_tcp() {
    let fleet = own(1);
    let engine = open(&fleet, &fleet.hosts[0], tcp(&fleet.hosts[0]));
    on_runtime(life(&*engine));
}

#[test]
fn a_container_lives_and_dies_over_ssh() {
    let fleet = own(1);
    let engine = open(&fleet, &fleet.hosts[0], ssh(&fleet.hosts[0]));
    on_runtime(life(&*engine));
}

#[test]
fn a_hundred_calls_at_once_share_one_ssh_connection() {
    let fleet = own(1);
    let host = &fleet.hosts[0];
    let engine = open(&fleet, host, ssh(host));
    let before = host.ssh_connections();
    on_runtime(async {
        let calls = (0..100).map(|_| async { look(&*engine).await.engine.hostname });
        let names = futures_util::future::join_all(calls).await;
        assert!(names.iter().all(|name| name == "h1"), "{names:?}");
    });
    assert_eq!(host.ssh_connections() - before, 1);
}

async fn life(engine: &dyn Engine) {
    let seen = look(engine).await;
    assert_eq!(seen.engine.hostname, "h1");
    assert_eq!(seen.engine.labels.get("zone").map(String::as_str), Some("a"));
    assert!(seen.engine.clock_skew_ms.abs() < 2000, "{}", seen.engine.clock_skew_ms);
    assert_eq!(seen.swarm, Swarm::Inactive);
    assert_eq!(seen.images.keys().collect::<Vec<_>>(), [DEMO_IMAGE]);

    engine.create_network(&NetworkSpec { name: "net".to_owned(), ..NetworkSpec::default() }).await.expect("a network is made");
    engine.create_volume(&VolumeSpec { name: "vol".to_owned(), ..VolumeSpec::default() }).await.expect("a volume is made");
    engine.create_volume(&VolumeSpec { name: "vol".to_owned(), ..VolumeSpec::default() }).await.expect("it is there already");

    engine.ping().await.expect("the engine answers");
    let events = engine.events("", "").await.expect("the engine tells");
    let mut web = spec(&["sh", "-c", "echo out; echo err >&2; touch /tmp/ready; sleep 1000"]);
    web.host_config.binds = vec!["vol:/data".to_owned()];
    web.healthcheck = Some(HealthConfig {
        test: ["CMD", "test", "-e", "/tmp/ready"].map(str::to_owned).to_vec(),
        interval: Some(200_000_000),
        retries: Some(3),
        ..HealthConfig::default()
    });
    let id = engine.create("web", &web).await.expect("a container is made");
    let taken = engine.create("web", &web).await.expect_err("the name is taken");
    assert_eq!(taken.kind, ErrorKind::Conflict, "{taken}");
    assert_eq!(state(engine, "web").await, "created");
    let endpoint = Endpoint { aliases: vec!["www".to_owned()], ..Endpoint::default() };
    engine.connect("net", "web", &endpoint).await.expect("it is connected");
    engine.connect("net", "web", &endpoint).await.expect("it is connected already");
    engine.start(&id).await.expect("it starts");
    engine.start("web").await.expect("it runs already");
    engine.wait("web", Until::Running, PATIENCE).await.expect("it runs");
    engine.wait("web", Until::Healthy, PATIENCE).await.expect("it becomes healthy");
    let late = engine.wait("web", Until::Completed, Duration::from_millis(300)).await.expect_err("it does not end");
    assert_eq!(late.kind, ErrorKind::Overdue, "{late}");

    let inspected = engine.inspect("web").await.expect("it is there");
    assert_eq!((inspected.name.as_str(), inspected.id == id, inspected.has_healthcheck), ("web", true, true));
    let seen = look(engine).await;
    let row = seen.containers.iter().find(|container| container.name == "web").expect("it is listed");
    assert_eq!(row.state, State::Running);
    assert!(row.networks.contains_key("net") && row.mounts.iter().any(|mount| mount.name == "vol" && mount.target == "/data"));

    let hook = Hook {
        command: Some(vec!["sh", "-c", "echo one; echo two >&2; exit 3"].into_iter().map(str::to_owned).collect()),
        ..Hook::default()
    };
    let outcome = engine.exec("web", &hook).await.expect("it runs a command");
    assert_eq!(
        (outcome.exit_code, outcome.output.contains("one"), outcome.output.contains("two")),
        (3, true, true),
        "{outcome:?}"
    );
    logs(engine).await;

    engine.pause("web").await.expect("it is paused");
    engine.pause("web").await.expect("it is paused already");
    assert_eq!(state(engine, "web").await, "paused");
    engine.unpause("web").await.expect("it goes on");
    engine.unpause("web").await.expect("it goes on already");
    engine.restart("web", Some(2)).await.expect("it is restarted");
    engine.kill("web", "SIGKILL").await.expect("it is killed");
    engine.wait("web", Until::Running, Duration::from_secs(5)).await.expect_err("it cannot run any more");
    assert_eq!(state(engine, "web").await, "exited");
    engine.stop("web", Some(1)).await.expect("it is stopped already");
    engine.rename("web", "old").await.expect("it is renamed");
    assert_eq!((state(engine, "web").await, state(engine, "old").await), ("absent".to_owned(), "exited".to_owned()));
    engine.remove("old", true, true).await.expect("it is removed");
    engine.remove("old", true, true).await.expect("it is removed already");
    assert_eq!(engine.inspect("old").await.expect_err("it is gone").kind, ErrorKind::NotFound);
    told(events, &id).await;

    one_shots(engine).await;
    engine.remove_network("net").await.expect("the network is removed");
    engine.remove_network("net").await.expect("it is removed already");
    engine.remove_volume("vol").await.expect("the volume is removed");
    engine.remove_volume("vol").await.expect("it is removed already");
    let said = Mutex::new(Vec::new());
    let pulled = engine.pull("127.0.0.1:1/nothing:1", None, None, &|line| said.lock().expect("nobody panics").push(line)).await;
    pulled.expect_err("nobody listens there");
}

/// What was done to the container came as events, to its end.
async fn told(mut events: BoxStream<'static, Result<ContainerEvent, EngineError>>, id: &str) {
    let mut actions = Vec::new();
    while actions.last().is_none_or(|last| last != "destroy") {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("events come at once");
        let event = event.expect("the stream goes on").expect("it is read");
        assert_eq!(event.id, id);
        let shown = event.exit_code.map_or(event.action.clone(), |code| format!("{} {code}", event.action));
        if ["create", "start", "health_status", "die", "rename", "destroy"].iter().any(|word| shown.starts_with(word)) {
            actions.push(shown);
        }
    }
    let expect = "create, start, health_status: healthy, die 143, start, die 137, rename, destroy";
    assert_eq!(actions.join(", "), expect);
}

async fn logs(engine: &dyn Engine) {
    let query = LogQuery { follow: false, ..LogQuery::default() };
    let lines: Vec<_> = engine.logs("web", &query).await.expect("there is a log").collect().await;
    let lines: Vec<(bool, String)> =
        lines.into_iter().map(|line| line.expect("it is read")).map(|l| (l.is_stderr, l.text)).collect();
    assert!(lines.contains(&(false, "out".to_owned())) && lines.contains(&(true, "err".to_owned())), "{lines:?}");
    let last = LogQuery { tail: Some(1), ..LogQuery::default() };
    assert_eq!(engine.logs("web", &last).await.expect("there is a log").count().await, 1);
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = engine.logs("web", &follow).await.expect("there is a log");
    let first = tokio::time::timeout(PATIENCE, stream.next()).await.expect("a line comes at once").expect("it goes on");
    assert!(!first.expect("it is read").time.is_empty());
}

async fn one_shots(engine: &dyn Engine) {
    for (name, code) in [("good", 0), ("bad", 7)] {
        engine.create(name, &spec(&["sh", "-c", &format!("exit {code}")])).await.expect("a container is made");
        engine.start(name).await.expect("it starts");
        let waited = engine.wait(name, Until::Completed, PATIENCE).await;
        match code {
            0 => waited.expect("it completes"),
            _ => assert_eq!(waited.expect_err("it fails").kind, ErrorKind::Hopeless),
        }
        engine.remove(name, true, false).await.expect("it is removed");
    }
    let mut broken = spec(&[]);
    broken.entrypoint = Some(vec!["/no/such/program".to_owned()]);
    engine.create("broken", &broken).await.expect("a container is made");
    let error = engine.start("broken").await.expect_err("it cannot start");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    engine.remove("broken", true, true).await.expect("it is removed");
}

#[test]
fn three_engines_form_a_swarm_with_an_overlay_and_objects_in_its_raft() {
    let fleet = own(3);
    let engines: Vec<Arc<dyn Engine>> = fleet.hosts.iter().map(|host| open(&fleet, host, tcp(host))).collect();
    on_runtime(async {
        swarm(&fleet, &engines).await;
        objects(&*engines[0], &*engines[1]).await;
        overlay(&fleet, &engines).await;
    });
}

async fn swarm(fleet: &Fleet, engines: &[Arc<dyn Engine>]) {
    engines[0].swarm_init(&fleet.hosts[0].address).await.expect("a swarm begins");
    let remote = format!("{}:2377", fleet.hosts[0].address);
    for (number, role) in [(1, Role::Manager), (2, Role::Worker)] {
        let token = engines[0].join_token(role).await.expect("there is a token");
        engines[number].swarm_join(&fleet.hosts[number].address, &remote, &token).await.expect("it joins");
    }
    let nodes = engines[0].nodes().await.expect("a manager lists them");
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    assert_eq!(nodes.iter().filter(|node| node.is_manager).count(), 2);
    assert_eq!(nodes.iter().filter(|node| node.is_leader).count(), 1);
    let Swarm::Active(member) = look(&*engines[2]).await.swarm else { panic!("h3 is in the swarm") };
    assert!(!member.is_manager && !member.managers.is_empty(), "{member:?}");
    assert_eq!(member.node_addr, fleet.hosts[2].address);
}

async fn objects(one: &dyn Engine, other: &dyn Engine) {
    let labels = |value: &str| BTreeMap::from([("holder".to_owned(), value.to_owned())]);
    let id = one.config_create("mcompose.test.1", &labels("a"), b"data \xff\x00").await.expect("it is made");
    let taken = other.config_create("mcompose.test.1", &labels("b"), b"x").await.expect_err("the name is taken");
    assert_eq!(taken.kind, ErrorKind::Conflict, "{taken}");
    let found = other.configs("mcompose.test.").await.expect("they are listed");
    assert_eq!((found.len(), found[0].data.as_slice(), &found[0].labels), (1, &b"data \xff\x00"[..], &labels("a")));
    one.config_relabel(&id, found[0].version, &labels("c")).await.expect("the version is right");
    let stale = other.config_relabel(&id, found[0].version, &labels("d")).await.expect_err("the version is another now");
    assert_eq!(stale.kind, ErrorKind::Conflict, "{stale}");
    assert_eq!(other.configs("mcompose.test.").await.expect("they are listed")[0].labels, labels("c"));
    one.config_remove(&id).await.expect("it is removed");
    assert_eq!(other.configs("mcompose.").await.expect("they are listed"), Vec::new());
}

async fn overlay(fleet: &Fleet, engines: &[Arc<dyn Engine>]) {
    let network =
        NetworkSpec { name: "wide".to_owned(), driver: Some("overlay".to_owned()), attachable: true, ..NetworkSpec::default() };
    engines[0].create_network(&network).await.expect("a manager makes it");
    for (number, engine) in engines.iter().enumerate() {
        let mut spec = spec(&["demo", "serve"]);
        let endpoint = Endpoint { aliases: vec![format!("on{}", number + 1)], ..Endpoint::default() };
        spec.host_config.network_mode = Some("wide".to_owned());
        spec.networking_config.endpoints_config.insert("wide".to_owned(), endpoint);
        let name = format!("peer-{}", number + 1);
        engine.create(&name, &spec).await.unwrap_or_else(|error| panic!("{error}"));
        engine.start(&name).await.unwrap_or_else(|error| panic!("{error}"));
    }
    for (from, host) in fleet.hosts.iter().enumerate() {
        for to in 1..=3 {
            let url = format!("http://on{to}/");
            crate::harness::wait_until(&format!("{url} answers on {}", host.name), || {
                host.exec(&format!("peer-{}", from + 1), &["demo", "get", &url]).0 == 0
            });
        }
    }
}
