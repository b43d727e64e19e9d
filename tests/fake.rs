//! The fake engines refuse and allow what real ones were seen to refuse and allow.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mcompose::engine::fake::{Behaviour, Fake, Fault, FaultRule};
use mcompose::engine::{Ending, Engine, EngineError, ErrorKind, LogQuery};
use mcompose::project::{
    ContainerSpec, Endpoint, EngineRestartPolicy, HostConfig, MountSpec, NetworkSpec, NetworkingConfig, PortBinding, Role, Until,
};
use mcompose::world::{Health, Question, State, Swarm};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime of one thread can be made").block_on(future)
}

fn engine(fake: &Fake, host: &str) -> Arc<dyn Engine> {
    fake.engines().get(host).cloned().expect("the host was named when the fake was made")
}

fn spec() -> ContainerSpec {
    ContainerSpec { image: "demo:1".to_owned(), ..ContainerSpec::default() }
}

fn with_port(published: &str) -> ContainerSpec {
    let binding = PortBinding { host_ip: String::new(), host_port: published.to_owned() };
    let host_config =
        HostConfig { port_bindings: BTreeMap::from([("80/tcp".to_owned(), vec![binding])]), ..HostConfig::default() };
    ContainerSpec { host_config, ..spec() }
}

fn on_network(name: &str) -> ContainerSpec {
    let endpoints_config = BTreeMap::from([(name.to_owned(), Endpoint::default())]);
    let host_config = HostConfig { network_mode: Some(name.to_owned()), ..HostConfig::default() };
    ContainerSpec { networking_config: NetworkingConfig { endpoints_config }, host_config, ..spec() }
}

/// What a result's error is and says, `ok` for none.
fn told<T>(result: Result<T, EngineError>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{:?}: {}", error.kind, error.message),
    }
}

fn state(fake: &Fake, host: &str, name: &str) -> Option<State> {
    fake.host(host).containers().into_iter().find(|container| container.name == name).map(|container| container.state)
}

async fn up(engine: &Arc<dyn Engine>, name: &str, spec: &ContainerSpec) -> Result<(), EngineError> {
    engine.create(name, spec).await?;
    engine.start(name).await
}

#[test]
fn a_name_is_taken_once_and_an_image_must_be_there() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        let alpha = engine(&fake, "alpha");
        assert_eq!(told(alpha.create("web-1", &spec()).await), "NotFound: No such image: demo:1");
        alpha.pull("demo:1", None, None, &|_| ()).await.expect("the registry has every image");
        let id = alpha.create("web-1", &spec()).await.expect("name and image are fine");
        assert!(told(alpha.create("web-1", &spec()).await).starts_with("Conflict: Conflict. The container name \"/web-1\""));
        assert_eq!(told(alpha.start(&id).await), "ok");
        assert_eq!(told(alpha.start("web-1").await), "ok");
        assert!(told(alpha.remove("web-1", false, false).await).starts_with("Conflict: You cannot remove a running container"));
        assert_eq!(told(alpha.remove("web-1", false, true).await), "ok");
        assert_eq!(told(alpha.start("web-1").await), "NotFound: No such container: web-1");
    });
}

#[test]
fn a_host_port_is_bound_at_the_start_and_only_once() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        let alpha = engine(&fake, "alpha");
        up(&alpha, "web-1", &with_port("8080")).await.expect("the port is free");
        let second = told(up(&alpha, "web-2", &with_port("8080")).await);
        assert!(second.starts_with("Failed: driver failed programming external connectivity on endpoint web-2"), "{second}");
        assert!(second.ends_with("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{second}");
        assert_eq!(state(&fake, "alpha", "web-2"), Some(State::Created));
        up(&alpha, "web-3", &with_port("8080-8081")).await.expect("one port of the range is free");
        let ports: Vec<_> =
            fake.host("alpha").containers()[2].ports.iter().map(|port| (port.host_ip.clone(), port.host_port)).collect();
        assert_eq!(ports, [("0.0.0.0".to_owned(), Some(8081)), ("::".to_owned(), Some(8081))]);
        alpha.stop("web-1", None).await.expect("it runs");
        assert_eq!(told(alpha.start("web-2").await), "ok");
    });
}

#[test]
fn an_overlay_needs_a_manager_to_be_made_and_shows_on_a_worker_while_in_use() {
    run(async {
        let fake = Fake::new(&["alpha", "beta"]);
        for host in ["alpha", "beta"] {
            fake.host(host).add_image("demo:1");
        }
        let (alpha, beta) = (engine(&fake, "alpha"), engine(&fake, "beta"));
        let overlay = NetworkSpec {
            name: "shop".to_owned(),
            driver: Some("overlay".to_owned()),
            attachable: true,
            ..NetworkSpec::default()
        };
        assert!(told(alpha.create_network(&overlay).await).starts_with("Failed: This node is not a swarm manager. Use"));
        alpha.swarm_init("10.0.0.2").await.expect("it is in no swarm");
        let token = alpha.join_token(Role::Worker).await.expect("it is a manager");
        assert!(told(beta.swarm_join("10.0.0.3", "10.0.0.2:2377", "wrong").await).starts_with("Failed"));
        beta.swarm_join("10.0.0.3", "10.0.0.2:2377", &token).await.expect("the token is right");
        assert!(
            told(beta.create_network(&overlay).await)
                .starts_with("Refused: Cannot create a multi-host network from a worker node")
        );
        alpha.create_network(&overlay).await.expect("it is a manager");
        let shows = |host: &str| {
            let world = fake.snapshot();
            world.seen(host).is_some_and(|seen| seen.networks.iter().any(|network| network.name == "shop"))
        };
        assert_eq!((shows("alpha"), shows("beta")), (true, false));
        up(&beta, "web-1", &on_network("shop")).await.expect("a worker joins an attachable overlay");
        assert_eq!((shows("alpha"), shows("beta")), (true, true));
        assert!(told(alpha.remove_network("shop").await).contains("is in use by task"));
        fake.host("alpha").crash();
        let lonely = told(up(&beta, "web-2", &on_network("shop")).await);
        assert!(lonely.starts_with("NoLeader: attaching to network shop failed"), "{lonely}");
        assert_eq!(state(&fake, "beta", "web-1"), Some(State::Running));
    });
}

#[test]
fn a_missing_network_is_found_out_at_the_start() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        assert_eq!(told(up(&engine(&fake, "alpha"), "web-1", &on_network("shop")).await), "NotFound: network shop not found");
    });
}

#[test]
fn configs_are_claimed_once_and_relabelled_by_version() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        let alpha = engine(&fake, "alpha");
        alpha.swarm_init("").await.expect("it is in no swarm");
        let none = BTreeMap::new();
        let id = alpha.config_create("mcompose.lock", &none, b"x").await.expect("the name is free");
        assert!(told(alpha.config_create("mcompose.lock", &none, b"y").await).starts_with("Conflict"));
        let version = alpha.configs("mcompose.").await.expect("it is a manager")[0].version;
        let holder = BTreeMap::from([("holder".to_owned(), "one".to_owned())]);
        assert_eq!(told(alpha.config_relabel(&id, version, &holder).await), "ok");
        assert!(told(alpha.config_relabel(&id, version, &none).await).starts_with("Conflict"));
        assert_eq!(alpha.configs("mcompose.").await.expect("it is a manager")[0].labels, holder);
    });
}

#[test]
fn waits_move_the_clock_and_say_when_there_is_no_hope() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        fake.host("alpha").add_image("job:1");
        fake.behave("demo:1", Behaviour { has_healthcheck: true, ..Behaviour::default() });
        fake.behave("job:1", Behaviour { exits: Some((Duration::from_secs(5), 3)), ..Behaviour::default() });
        let alpha = engine(&fake, "alpha");
        let minute = Duration::from_secs(60);
        up(&alpha, "web-1", &spec()).await.expect("image and name are fine");
        let before_ms = fake.now_ms();
        assert_eq!(told(alpha.wait("web-1", Until::Healthy, minute).await), "ok");
        assert!((1_000..1_100).contains(&(fake.now_ms() - before_ms)));
        fake.host("alpha").set_health("web-1", Health::Unhealthy);
        assert_eq!(told(alpha.wait("web-1", Until::Ready, minute).await), "Hopeless: container web-1 is unhealthy");
        up(&alpha, "job-1", &ContainerSpec { image: "job:1".to_owned(), ..spec() }).await.expect("image and name are fine");
        assert_eq!(told(alpha.wait("job-1", Until::Completed, minute).await), "Hopeless: container job-1 exited (3)");
        assert_eq!(told(alpha.wait("web-1", Until::Completed, minute).await), "Overdue: not so within 60 s");
    });
}

#[test]
fn what_ends_is_restarted_by_its_policy_unless_a_user_ended_it() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        let alpha = engine(&fake, "alpha");
        let restart_policy = Some(EngineRestartPolicy { name: "unless-stopped".to_owned(), maximum_retry_count: 0 });
        let spec = ContainerSpec { host_config: HostConfig { restart_policy, ..HostConfig::default() }, ..spec() };
        up(&alpha, "web-1", &spec).await.expect("image and name are fine");
        up(&alpha, "web-2", &spec).await.expect("image and name are fine");
        fake.host("alpha").exit_container("web-1", 1);
        assert_eq!(state(&fake, "alpha", "web-1"), Some(State::Restarting));
        fake.advance(Duration::from_secs(1));
        assert_eq!(state(&fake, "alpha", "web-1"), Some(State::Running));
        fake.host("alpha").kill_container("web-1");
        fake.host("alpha").crash();
        assert_eq!(told(alpha.look(&Question::default()).await), "Unreachable: connection timed out");
        fake.host("alpha").boot();
        assert_eq!(state(&fake, "alpha", "web-1"), Some(State::Exited { code: Some(137) }));
        assert_eq!(state(&fake, "alpha", "web-2"), Some(State::Running));
    });
}

#[test]
fn volumes_come_with_their_containers_and_only_nameless_ones_go_with_them() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        fake.behave("demo:1", Behaviour { volumes: vec!["/var/lib/demo".to_owned()], ..Behaviour::default() });
        let alpha = engine(&fake, "alpha");
        let mount = MountSpec {
            kind: "volume".to_owned(),
            source: Some("data".to_owned()),
            target: "/data".to_owned(),
            ..MountSpec::default()
        };
        let spec = ContainerSpec { host_config: HostConfig { mounts: vec![mount], ..HostConfig::default() }, ..spec() };
        alpha.create("db-1", &spec).await.expect("image and name are fine");
        let volumes = || fake.snapshot().seen("alpha").map(|seen| seen.volumes.len());
        assert_eq!(volumes(), Some(2));
        assert_eq!(told(alpha.remove_volume("data").await), "Conflict: remove data: volume is in use");
        alpha.remove("db-1", true, false).await.expect("it does not run");
        assert_eq!(volumes(), Some(1));
    });
}

#[test]
fn faults_happen_by_rule() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        let alpha = engine(&fake, "alpha");
        fake.fault(FaultRule::once("create", Fault::Unanswered));
        assert_eq!(told(alpha.create("web-1", &spec()).await), "Timeout: no answer in time");
        assert_eq!(state(&fake, "alpha", "web-1"), Some(State::Created));
        fake.fault(FaultRule::once("start", Fault::Lost));
        assert_eq!(told(alpha.start("web-1").await), "Timeout: no answer in time");
        assert_eq!(state(&fake, "alpha", "web-1"), Some(State::Created));
        let message = "disk full".to_owned();
        fake.fault(FaultRule::once("start", Fault::Fail { kind: ErrorKind::Failed, message }));
        assert_eq!(told(alpha.start("web-1").await), "Failed: disk full");
        fake.fault(FaultRule::once("start", Fault::Cut));
        assert_eq!(told(alpha.start("web-1").await), "Unreachable: no route to host");
        fake.host("alpha").heal();
        assert_eq!(told(alpha.start("web-1").await), "ok");
    });
}

#[test]
fn the_same_calls_give_the_same_world() {
    let history = || {
        let fake = Fake::new(&["alpha", "beta"]);
        fake.faults_by_seed(7, 300);
        run(async {
            for host in ["alpha", "beta"] {
                fake.host(host).add_image("demo:1");
                for number in 1..20 {
                    let name = format!("web-{number}");
                    let _ = up(&engine(&fake, host), &name, &with_port("8000-8010")).await;
                }
            }
        });
        format!("{:?} {:?}", fake.snapshot(), fake.calls())
    };
    assert_eq!(history(), history());
}

#[test]
fn logs_are_read_and_followed() {
    run(async {
        use futures_util::StreamExt;
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        let alpha = engine(&fake, "alpha");
        up(&alpha, "web-1", &spec()).await.expect("image and name are fine");
        fake.host("alpha").write_log("web-1", "one");
        fake.host("alpha").write_log("web-1", "two");
        let query = LogQuery { tail: Some(1), follow: true, ..LogQuery::default() };
        let mut lines = alpha.logs("web-1", &query).await.expect("it exists");
        let text = |line: Option<Result<mcompose::engine::LogLine, EngineError>>| line.and_then(Result::ok).map(|line| line.text);
        assert_eq!(text(lines.next().await).as_deref(), Some("two"));
        fake.host("alpha").write_log("web-1", "three");
        assert_eq!(text(lines.next().await).as_deref(), Some("three"));
        fake.host("alpha").remove_container("web-1");
        assert_eq!(text(lines.next().await), None);
    });
}

#[test]
fn a_host_that_left_its_swarm_is_in_none() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        let alpha = engine(&fake, "alpha");
        alpha.swarm_init("").await.expect("it is in no swarm");
        assert!(told(alpha.swarm_init("").await).starts_with("Failed: This node is already part of a swarm"));
        assert!(told(alpha.swarm_leave(false).await).starts_with("Failed: You are attempting to leave"));
        alpha.swarm_leave(true).await.expect("forced");
        assert_eq!(fake.snapshot().seen("alpha").map(|seen| seen.swarm.clone()), Some(Swarm::Inactive));
    });
}

#[test]
fn an_end_is_told_to_who_asked_before_it_and_what_removes_itself_is_gone_then() {
    run(async {
        let fake = Fake::new(&["alpha"]);
        fake.host("alpha").add_image("demo:1");
        let engine = engine(&fake, "alpha");
        let mut once = spec();
        once.host_config.rest.insert("AutoRemove".to_owned(), true.into());
        engine.create("once", &once).await.expect("it is created");
        let ending = engine.ending("once", Ending::Removed).await.expect("it is there");
        engine.start("once").await.expect("it starts");
        engine.kill("once", "SIGKILL").await.expect("it runs");
        assert_eq!(ending.await.expect("the engine tells"), 137);
        assert_eq!(state(&fake, "alpha", "once"), None);

        fake.behave("demo:1", Behaviour { exits: Some((Duration::from_secs(9), 3)), ..Behaviour::default() });
        up(&engine, "stays", &spec()).await.expect("it starts");
        let ending = engine.ending("stays", Ending::Stopped).await.expect("it is there");
        assert_eq!(ending.await.expect("the engine tells"), 3);
        assert_eq!(state(&fake, "alpha", "stays"), Some(State::Exited { code: Some(3) }));
        let again = engine.ending("stays", Ending::Stopped).await.expect("it is there");
        assert_eq!(again.await.expect("it has ended already"), 3);
        assert_eq!(told(engine.ending("none", Ending::Next).await.map(drop)), "NotFound: No such container: none");
    });
}
