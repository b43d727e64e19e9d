//! `hosts check`: what is found, and what is advised.

use std::collections::BTreeMap;
use std::sync::Arc;

use insta::assert_snapshot;
use mcompose::cluster::{Addresses, Finding, Grade, PortSign, Probe, Probes, check};
use mcompose::engine::Node;
use mcompose::inventory::{Context, Inventory, parse};
use mcompose::world::{EngineInfo, SeenHost, Sight, Swarm, SwarmMember, World};

fn inventory(text: &str) -> Inventory {
    parse("hosts.toml", text, &Context { folder: "/", home: None, exists: &|_| true }).expect("a good inventory")
}

fn seen(swarm: Swarm) -> SeenHost {
    let engine = EngineInfo {
        version: "28.5.1".to_owned(),
        api_version: "1.51".to_owned(),
        min_api_version: "1.24".to_owned(),
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        root_dir: "/var/lib/docker".to_owned(),
        clock_skew_ms: -120,
        ..EngineInfo::default()
    };
    SeenHost { engine, swarm, ..SeenHost::default() }
}

fn member(number: u32, is_manager: bool) -> Swarm {
    Swarm::Active(SwarmMember {
        cluster_id: if is_manager { "A".to_owned() } else { String::new() },
        node_id: format!("n{number}"),
        node_addr: format!("10.0.0.{number}"),
        is_manager,
        managers: BTreeMap::from([("n1".to_owned(), "10.0.0.1:2377".to_owned())]),
        control_available: is_manager,
        error: String::new(),
    })
}

fn world(hosts: &Inventory, sights: Vec<Sight>) -> World {
    World { hosts: hosts.hosts.iter().map(|host| host.name.clone()).zip(sights).collect() }
}

fn told(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let mark = match finding.grade {
            Grade::Good => "+",
            Grade::Warning => "?",
            Grade::Bad => "!",
        };
        let host = finding.host.as_ref().map_or("all", |host| host.as_str());
        let remedy = finding.remedy.as_ref().map(|remedy| format!(" → {remedy}")).unwrap_or_default();
        format!("{mark} {host} {}: {}{remedy}", finding.subject, finding.text)
    };
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

const THREE: &str = r#"
hosts.a.address = "ssh://me@10.0.0.1:2222"
hosts.b.address = "ssh://10.0.0.2"
hosts.c.address = "ssh://10.0.0.3"
"#;

#[test]
fn a_sound_host_has_only_good_findings() {
    let hosts = inventory("hosts.a.address = \"unix:///run/docker.sock\"");
    let world = world(&hosts, vec![Sight::Seen(Arc::new(seen(Swarm::Inactive)))]);
    let probe = Probe { storage_free_bytes: Some(20 << 30), ..Probe::default() };
    let probes = Probes::from([(hosts.hosts[0].name.clone(), probe)]);
    assert_snapshot!(told(&check(&hosts.hosts, &hosts.network, &world, &[], &Addresses::new(), &probes)), @r"
    + a reach: unix:///run/docker.sock answers
    + a engine: 28.5.1 on linux/amd64
    + a api: 1.51 (the engine's least is 1.24)
    + a clock: -0.1 s from this machine's
    + a storage: 20480 MiB left in /var/lib/docker
    ");
}

#[test]
fn every_failure_has_its_remedy() {
    let hosts = inventory(THREE);
    let mut sick = seen(Swarm::Inactive);
    sick.engine.live_restore = true;
    sick.engine.clock_skew_ms = 90_000;
    let sights = vec![
        Sight::Unreachable { why: "connection refused".to_owned() },
        Sight::Seen(Arc::new(sick)),
        Sight::Seen(Arc::new(seen(Swarm::Pending { state: "locked".to_owned(), error: String::new() }))),
    ];
    let world = world(&hosts, sights);
    let ports = BTreeMap::from([(2377, PortSign::Refused), (7946, PortSign::Open)]);
    let probes = Probes::from([(hosts.hosts[1].name.clone(), Probe { ports, storage_free_bytes: Some(1 << 20) })]);
    assert_snapshot!(told(&check(&hosts.hosts, &hosts.network, &world, &[], &Addresses::new(), &probes)), @r#"
    ! a reach: connection refused → does `ssh -p 2222 me@10.0.0.1 docker version` answer?
    + b reach: ssh://10.0.0.2 answers
    + b engine: 28.5.1 on linux/amd64
    + b api: 1.51 (the engine's least is 1.24)
    ! b clock: +90.0 s from this machine's → let an NTP client (chrony, systemd-timesyncd) set the clock there
    ! b storage: 1 MiB left in /var/lib/docker → `docker system prune` there takes away what nothing uses
    ! b live-restore: on, which excludes a swarm → take `"live-restore": true` out of /etc/docker/daemon.json there and restart docker
    ? b swarm: in none yet → `mcompose hosts init`, or the next `mcompose up`
    + b port: 2377/tcp is free
    ! b port: 7946/tcp is taken by another program → find and move it: `ss -ltnp 'sport = :7946'` there
    + c reach: ssh://10.0.0.3 answers
    + c engine: 28.5.1 on linux/amd64
    + c api: 1.51 (the engine's least is 1.24)
    + c clock: -0.1 s from this machine's
    ! c swarm: locked → `docker swarm unlock` there
    ! all cluster: the swarm of host `c` is locked → unlock it on that host: `docker swarm unlock`
    "#);
}

#[test]
fn members_that_the_managers_do_not_hear_are_found() {
    let hosts = inventory(&format!("{THREE}\nhosts.b.role = \"manager\"\nhosts.c.availability = \"drain\""));
    let sights = vec![member(1, true), member(2, false), member(3, false)];
    let world = world(&hosts, sights.into_iter().map(|swarm| Sight::Seen(Arc::new(seen(swarm)))).collect());
    let node = |number: u32, state: &str| Node { id: format!("n{number}"), state: state.to_owned(), ..Node::default() };
    let nodes = [node(1, "ready"), node(2, "ready"), node(3, "down")];
    let ports = BTreeMap::from([(2377, PortSign::Open), (7946, PortSign::Silent)]);
    let probes = Probes::from([(hosts.hosts[0].name.clone(), Probe { ports, storage_free_bytes: None })]);
    assert_snapshot!(told(&check(&hosts.hosts, &hosts.network, &world, &nodes, &Addresses::new(), &probes)), @r#"
    + a reach: ssh://me@10.0.0.1:2222 answers
    + a engine: 28.5.1 on linux/amd64
    + a api: 1.51 (the engine's least is 1.24)
    + a clock: -0.1 s from this machine's
    + a swarm: manager at 10.0.0.1
    + a port: 2377/tcp answers
    ? a port: 7946/tcp cannot be reached from this machine; other hosts may reach it → let 2377/tcp, 7946/tcp, 7946/udp and 4789/udp through between the hosts
    + b reach: ssh://10.0.0.2 answers
    + b engine: 28.5.1 on linux/amd64
    + b api: 1.51 (the engine's least is 1.24)
    + b clock: -0.1 s from this machine's
    ? b swarm: worker; hosts.toml says manager → `mcompose hosts init`
    + c reach: ssh://10.0.0.3 answers
    + c engine: 28.5.1 on linux/amd64
    + c api: 1.51 (the engine's least is 1.24)
    + c clock: -0.1 s from this machine's
    ! c swarm: worker, and the managers do not hear from it (down) → let 2377/tcp, 7946/tcp, 7946/udp and 4789/udp through between the hosts
    ? c availability: drain: it takes no new replicas → `mcompose hosts activate c`
    ? all cluster: 3 of 3 hosts are in the swarm, managers: 1; without it no container starts → give three hosts `role = "manager"` and run `mcompose hosts init`
    "#);
}
