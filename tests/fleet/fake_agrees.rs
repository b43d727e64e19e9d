//! The fake against engines as they are: the same calls, told in the same words.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ::mcompose::engine::fake::{Behaviour, Fake};
use ::mcompose::engine::{Engine, EngineError};
use ::mcompose::project::{
    ContainerSpec, Endpoint, HealthConfig, Hook, HostConfig, MountSpec, NetworkSpec, NetworkingConfig, PortBinding, Role, Until,
    VolumeSpec,
};
use ::mcompose::world::{Question, Swarm};

use crate::engine::{on_runtime, open, tcp};
use crate::harness::DEMO_IMAGE;
use crate::program::own;

#[test]
fn the_fake_answers_as_engines_do() {
    let fleet = own(2);
    let real: Vec<Arc<dyn Engine>> = fleet.hosts.iter().map(|host| open(&fleet, host, tcp(host))).collect();
    let addresses: Vec<String> = fleet.hosts.iter().map(|host| host.address.clone()).collect();
    let fake = Fake::new(&["h1", "h2"]);
    for host in ["h1", "h2"] {
        fake.host(host).add_image(DEMO_IMAGE);
    }
    fake.behave(DEMO_IMAGE, Behaviour { on_term: Some(143), ..Behaviour::default() });
    let (mut on_real, mut on_fake) =
        (Story::new(real, &addresses), Story::new(fake.engines().into_values().collect(), &addresses));
    on_runtime(async {
        on_real.play().await;
        on_fake.play().await;
    });
    let differences: Vec<String> = on_real
        .lines
        .iter()
        .zip(&on_fake.lines)
        .filter(|(real, fake)| real != fake)
        .map(|(real, fake)| format!("engine: {real}\n  fake: {fake}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(on_real.lines.len(), on_fake.lines.len());
}

struct Story {
    engines: Vec<Arc<dyn Engine>>,
    addresses: Vec<String>,
    lines: Vec<String>,
}

fn spec() -> ContainerSpec {
    let cmd = Some(vec!["sleep".to_owned(), "300".to_owned()]);
    ContainerSpec { image: DEMO_IMAGE.to_owned(), cmd, ..ContainerSpec::default() }
}

fn with_host(change: impl FnOnce(&mut HostConfig)) -> ContainerSpec {
    let mut spec = spec();
    change(&mut spec.host_config);
    spec
}

fn published(port: &str) -> ContainerSpec {
    let binding = PortBinding { host_ip: String::new(), host_port: port.to_owned() };
    with_host(|host| drop(host.port_bindings.insert("80/tcp".to_owned(), vec![binding])))
}

fn on_network(name: &str) -> ContainerSpec {
    let endpoints_config = BTreeMap::from([(name.to_owned(), Endpoint::default())]);
    let networking_config = NetworkingConfig { endpoints_config };
    ContainerSpec { networking_config, ..with_host(|host| host.network_mode = Some(name.to_owned())) }
}

fn network(name: &str, driver: &str) -> NetworkSpec {
    NetworkSpec {
        name: name.to_owned(),
        driver: Some(driver.to_owned()),
        attachable: driver == "overlay",
        ..NetworkSpec::default()
    }
}

impl Story {
    fn new(engines: Vec<Arc<dyn Engine>>, addresses: &[String]) -> Self {
        Self { engines, addresses: addresses.to_vec(), lines: Vec::new() }
    }

    /// What came of a call, and what the host shows then.
    async fn tell<T: Debug>(&mut self, host: usize, what: &str, result: Result<T, EngineError>) {
        let outcome = match &result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.kind),
        };
        let shows = self.shows(host).await;
        self.lines.push(format!("{what}: {outcome} | {shows}"));
    }

    async fn shows(&self, host: usize) -> String {
        let seen = match self.engines[host].look(&Question::default()).await {
            Ok(seen) => seen,
            Err(error) => return error.to_string(),
        };
        let containers: Vec<String> = seen
            .containers
            .iter()
            .map(|container| {
                let mut ports: Vec<String> =
                    container.ports.iter().filter_map(|port| Some(format!("{}:{}", port.host_ip, port.host_port?))).collect();
                ports.sort();
                let networks: Vec<&str> = container.networks.keys().map(String::as_str).collect();
                let code = match &container.state {
                    ::mcompose::world::State::Exited { code } => format!("{code:?}"),
                    _ => String::new(),
                };
                let volumes = container.mounts.iter().filter(|mount| mount.kind == "volume").count();
                format!("{} {}{code} {:?} {ports:?} {networks:?} {volumes}v", container.name, container.state, container.health)
            })
            .collect();
        let builtin = ["bridge", "host", "none", "docker_gwbridge", "ingress"];
        let mut networks: Vec<String> = seen
            .networks
            .iter()
            .filter(|network| !builtin.contains(&network.name.as_str()))
            .map(|network| {
                // An engine tells a new overlay's driver a moment later.
                let driver = if network.driver.is_empty() && network.scope == "swarm" { "overlay" } else { &network.driver };
                format!("{}/{driver}/{}", network.name, network.scope)
            })
            .collect();
        networks.sort();
        let swarm = match &seen.swarm {
            Swarm::Inactive => "alone".to_owned(),
            Swarm::Pending { state, .. } => state.clone(),
            Swarm::Active(member) => format!("manager={} control={}", member.is_manager, member.control_available),
        };
        format!("{containers:?} {networks:?} {} volumes, {swarm}", seen.volumes.len())
    }

    async fn create(&mut self, host: usize, name: &str, spec: &ContainerSpec) {
        let result = self.engines[host].create(name, spec).await;
        self.tell(host, &format!("create {name}"), result).await;
    }

    async fn start(&mut self, host: usize, name: &str) {
        let result = self.engines[host].start(name).await;
        self.tell(host, &format!("start {name}"), result).await;
    }

    async fn remove(&mut self, host: usize, name: &str, volumes: bool, force: bool) {
        let result = self.engines[host].remove(name, volumes, force).await;
        self.tell(host, &format!("remove {name} {volumes} {force}"), result).await;
    }

    async fn play(&mut self) {
        self.lives().await;
        self.ports().await;
        self.namespaces().await;
        self.networks().await;
        self.volumes().await;
        self.waits().await;
        self.swarm().await;
    }

    async fn lives(&mut self) {
        let one = self.engines[0].clone();
        self.create(0, "a", &spec()).await;
        self.create(0, "web", &ContainerSpec { image: "no/such:image".to_owned(), ..spec() }).await;
        self.create(0, "web", &spec()).await;
        self.create(0, "web", &spec()).await;
        self.tell(0, "pause what does not run", one.pause("web").await).await;
        self.tell(0, "unpause what does not run", one.unpause("web").await).await;
        self.tell(0, "kill what does not run", one.kill("web", "SIGKILL").await).await;
        self.tell(0, "stop what does not run", one.stop("web", Some(1)).await).await;
        let hook = Hook { command: Some(vec!["true".to_owned()]), ..Hook::default() };
        self.tell(0, "exec in what does not run", one.exec("web", &hook).await).await;
        self.start(0, "web").await;
        self.start(0, "web").await;
        self.tell(0, "exec", one.exec("web", &hook).await).await;
        self.remove(0, "web", false, false).await;
        self.tell(0, "pause", one.pause("web").await).await;
        self.tell(0, "pause again", one.pause("web").await).await;
        self.start(0, "web").await;
        self.tell(0, "exec in what is paused", one.exec("web", &hook).await).await;
        self.tell(0, "unpause", one.unpause("web").await).await;
        self.tell(0, "unpause again", one.unpause("web").await).await;
        self.tell(0, "rename to itself", one.rename("web", "web").await).await;
        self.tell(0, "rename", one.rename("web", "renamed").await).await;
        self.create(0, "web", &spec()).await;
        self.tell(0, "rename to a taken name", one.rename("web", "renamed").await).await;
        self.tell(0, "stop", one.stop("renamed", Some(5)).await).await;
        self.tell(0, "restart what does not run", one.restart("renamed", Some(5)).await).await;
        self.tell(0, "kill", one.kill("renamed", "SIGKILL").await).await;
        self.remove(0, "renamed", true, false).await;
        self.remove(0, "renamed", true, false).await;
        self.remove(0, "web", true, true).await;
        self.start(0, "gone").await;
        self.tell(0, "stop what is gone", one.stop("gone", None).await).await;
        self.tell(0, "inspect what is gone", one.inspect("gone").await.map(|_| ())).await;
        let two_networks = NetworkingConfig {
            endpoints_config: BTreeMap::from([("x".to_owned(), Endpoint::default()), ("y".to_owned(), Endpoint::default())]),
        };
        self.create(0, "two", &ContainerSpec { networking_config: two_networks, ..spec() }).await;
        self.remove(0, "two", true, true).await;
    }

    async fn ports(&mut self) {
        self.create(0, "p1", &published("18080")).await;
        self.create(0, "p2", &published("18080")).await;
        self.create(0, "p3", &published("18080-18081")).await;
        self.create(0, "p4", &published("18080-18081")).await;
        for name in ["p1", "p2", "p3", "p4"] {
            self.start(0, name).await;
        }
        let result = self.engines[0].stop("p1", Some(5)).await;
        self.tell(0, "stop p1", result).await;
        self.start(0, "p2").await;
        for name in ["p1", "p2", "p3", "p4"] {
            self.remove(0, name, true, true).await;
        }
    }

    async fn namespaces(&mut self) {
        let beside = with_host(|host| host.network_mode = Some("container:lead".to_owned()));
        self.create(0, "follow", &beside).await;
        self.remove(0, "follow", true, true).await;
        self.create(0, "lead", &spec()).await;
        self.create(0, "follow", &beside).await;
        self.start(0, "follow").await;
        self.start(0, "lead").await;
        self.start(0, "follow").await;
        let result = self.engines[0].connect("bridge", "follow", &Endpoint::default()).await;
        self.tell(0, "connect a follower", result).await;
        self.remove(0, "lead", true, true).await;
        self.remove(0, "follow", true, true).await;
        let from = with_host(|host| drop(host.rest.insert("VolumesFrom".to_owned(), serde_json::json!(["nobody"]))));
        self.create(0, "heir", &from).await;
    }

    async fn networks(&mut self) {
        let one = self.engines[0].clone();
        self.tell(0, "create network", one.create_network(&network("near", "bridge")).await).await;
        self.tell(0, "create network again", one.create_network(&network("near", "bridge")).await).await;
        self.tell(0, "create overlay alone", one.create_network(&network("far", "overlay")).await).await;
        self.tell(0, "create network of no driver", one.create_network(&network("odd", "nodriver")).await).await;
        self.create(0, "n1", &on_network("near")).await;
        self.create(0, "n2", &on_network("missing")).await;
        self.start(0, "n2").await;
        self.start(0, "n1").await;
        self.tell(0, "remove network in use", one.remove_network("near").await).await;
        self.tell(0, "connect again", one.connect("near", "n1", &Endpoint::default()).await).await;
        self.tell(0, "connect to nothing", one.connect("missing", "n1", &Endpoint::default()).await).await;
        self.tell(0, "connect", one.connect("bridge", "n1", &Endpoint::default()).await).await;
        self.tell(0, "stop", one.stop("n1", Some(5)).await).await;
        self.tell(0, "remove network of what is stopped", one.remove_network("near").await).await;
        self.start(0, "n1").await;
        self.tell(0, "remove network that is gone", one.remove_network("near").await).await;
        self.tell(0, "remove a builtin network", one.remove_network("bridge").await).await;
        self.create(0, "n3", &on_network("near")).await;
        self.tell(0, "create network anew", one.create_network(&network("near", "bridge")).await).await;
        self.start(0, "n1").await;
        self.start(0, "n3").await;
        for name in ["n1", "n2", "n3"] {
            self.remove(0, name, true, true).await;
        }
        self.tell(0, "remove network", one.remove_network("near").await).await;
    }

    async fn volumes(&mut self) {
        let one = self.engines[0].clone();
        let mount = |source: Option<&str>, target: &str| MountSpec {
            kind: "volume".to_owned(),
            source: source.map(str::to_owned),
            target: target.to_owned(),
            ..MountSpec::default()
        };
        let both = with_host(|host| host.mounts = vec![mount(Some("named"), "/a"), mount(None, "/b")]);
        let bind = with_host(|host| host.binds = vec!["bound:/c".to_owned(), "/tmp:/d".to_owned()]);
        self.create(0, "v1", &both).await;
        self.create(0, "v2", &bind).await;
        self.tell(0, "remove volume in use", one.remove_volume("named").await).await;
        self.tell(
            0,
            "create volume that exists",
            one.create_volume(&VolumeSpec { name: "named".to_owned(), ..VolumeSpec::default() }).await,
        )
        .await;
        let odd = VolumeSpec { name: "odd".to_owned(), driver: Some("nodriver".to_owned()), ..VolumeSpec::default() };
        self.tell(0, "create volume of no driver", one.create_volume(&odd).await).await;
        self.remove(0, "v1", true, true).await;
        self.remove(0, "v2", true, true).await;
        for name in ["named", "bound", "gone"] {
            self.tell(0, &format!("remove volume {name}"), one.remove_volume(name).await).await;
        }
    }

    async fn waits(&mut self) {
        let one = self.engines[0].clone();
        let second = Duration::from_millis(1500);
        self.create(0, "w1", &spec()).await;
        self.tell(0, "wait for what was never started", one.wait("w1", Until::Ready, second).await).await;
        self.start(0, "w1").await;
        self.tell(0, "wait until ready", one.wait("w1", Until::Ready, second).await).await;
        self.tell(0, "wait for health without a check", one.wait("w1", Until::Healthy, second).await).await;
        self.tell(0, "wait for an end that does not come", one.wait("w1", Until::Completed, second).await).await;
        self.tell(0, "stop", one.stop("w1", Some(5)).await).await;
        self.tell(0, "wait until completed", one.wait("w1", Until::Completed, second).await).await;
        self.tell(0, "wait until running", one.wait("w1", Until::Running, second).await).await;
        self.remove(0, "w1", true, true).await;
        self.tell(0, "wait for what is gone", one.wait("w1", Until::Running, second).await).await;
        let check = HealthConfig {
            test: vec!["CMD".to_owned(), "true".to_owned()],
            interval: Some(200_000_000),
            timeout: Some(1_000_000_000),
            ..HealthConfig::default()
        };
        self.create(0, "w2", &ContainerSpec { healthcheck: Some(check), ..spec() }).await;
        let result = one.start("w2").await;
        self.lines.push(format!("start w2: {}", result.is_ok()));
        self.tell(0, "wait until healthy", one.wait("w2", Until::Healthy, Duration::from_secs(20)).await).await;
        self.remove(0, "w2", true, true).await;
    }

    async fn swarm(&mut self) {
        let (one, two) = (self.engines[0].clone(), self.engines[1].clone());
        let remote = format!("{}:2377", self.addresses[0]);
        let (first, second) = (self.addresses[0].clone(), self.addresses[1].clone());
        self.tell(0, "token alone", one.join_token(Role::Worker).await.map(|_| ())).await;
        self.tell(0, "configs alone", one.configs("x").await.map(|_| ())).await;
        self.tell(0, "leave alone", one.swarm_leave(true).await).await;
        self.tell(0, "init", one.swarm_init(&first).await).await;
        self.tell(0, "init again", one.swarm_init(&first).await).await;
        let token = one.join_token(Role::Worker).await.unwrap_or_default();
        self.tell(1, "join with a wrong token", two.swarm_join(&second, &remote, "SWMTKN-1-wrong").await).await;
        self.tell(1, "join", two.swarm_join(&second, &remote, &token).await).await;
        self.tell(1, "join again", two.swarm_join(&second, &remote, &token).await).await;
        self.tell(1, "nodes of a worker", two.nodes().await.map(|_| ())).await;
        self.tell(1, "configs of a worker", two.configs("x").await.map(|_| ())).await;
        self.tell(1, "overlay of a worker", two.create_network(&network("far", "overlay")).await).await;
        self.tell(0, "overlay of a manager", one.create_network(&network("far", "overlay")).await).await;
        self.tell(0, "the same overlay again", one.create_network(&network("far", "overlay")).await).await;
        let closed = NetworkSpec { attachable: false, ..network("closed", "overlay") };
        self.tell(0, "an overlay that is not attachable", one.create_network(&closed).await).await;
        self.create(1, "o1", &on_network("far")).await;
        self.start(1, "o1").await;
        self.create(1, "o2", &on_network("closed")).await;
        self.start(1, "o2").await;
        self.create(1, "o3", &spec()).await;
        self.tell(1, "connect to an overlay", two.connect("far", "o3", &Endpoint::default()).await).await;
        self.start(1, "o3").await;
        self.tell(0, "remove overlay in use", one.remove_network("far").await).await;
        // A worker forgets an overlay a moment after the last container left it.
        for name in ["o1", "o2", "o3"] {
            let is_removed = two.remove(name, true, true).await.is_ok();
            self.lines.push(format!("remove {name}: {is_removed}"));
        }
        let nodes = one.nodes().await.unwrap_or_default();
        let worker = nodes.iter().find(|node| !node.is_manager).map(|node| node.id.clone()).unwrap_or_default();
        let manager = nodes.iter().find(|node| node.is_manager).map(|node| node.id.clone()).unwrap_or_default();
        self.tell(0, "remove a node that is ready", one.node_remove(&worker, false).await).await;
        self.tell(0, "demote the last manager", one.node_role(&manager, Role::Worker).await).await;
        self.tell(0, "role of no node", one.node_role("nobody", Role::Worker).await).await;
        self.tell(0, "remove no node", one.node_remove("nobody", false).await).await;
        let none = BTreeMap::new();
        let id = one.config_create("c1", &none, b"x").await.unwrap_or_default();
        self.tell(0, "config taken", one.config_create("c1", &none, b"x").await.map(|_| ())).await;
        self.tell(0, "config empty", one.config_create("c2", &none, b"").await.map(|_| ())).await;
        self.tell(0, "config of a bad name", one.config_create("", &none, b"x").await.map(|_| ())).await;
        self.tell(0, "relabel a wrong version", one.config_relabel(&id, 1, &none).await).await;
        self.tell(0, "relabel nothing", one.config_relabel("nothing", 1, &none).await).await;
        self.tell(0, "remove config", one.config_remove(&id).await).await;
        self.tell(0, "remove config again", one.config_remove(&id).await).await;
        self.tell(1, "worker leaves", two.swarm_leave(false).await).await;
        self.tell(0, "manager leaves", one.swarm_leave(false).await).await;
        self.tell(0, "manager leaves by force", one.swarm_leave(true).await).await;
    }
}
