//! The harness keeps what it says: hosts answer, faults do what they are named after, nothing is left behind.
#![expect(clippy::disallowed_methods, reason = "tests look at the machine")]

use std::path::Path;

use serde_json::json;

use crate::harness::{DEMO_IMAGE, Fleet, FleetHost, wait_until};

#[test]
fn two_fleets_stand_side_by_side_and_leave_nothing() {
    let (first, second) = (Fleet::start(1), Fleet::start(1));
    assert_ne!(first.hosts[0].address, second.hosts[0].address);
    for fleet in [first, second] {
        let prefix = fleet.prefix.clone();
        let folder = fleet.folder.clone();
        drop(fleet);
        assert!(!folder.exists());
        assert!(!Path::new("/sys/class/net").join(&prefix).exists());
        assert!(!Path::new("/run/netns").join(format!("{prefix}-h1")).exists());
        assert!(!std::fs::read_to_string("/proc/mounts").expect("it is readable").contains(&prefix));
    }
}

#[test]
fn a_fleet_is_gone_after_a_panic_too() {
    let folder = std::sync::Mutex::new(None);
    let outcome = std::panic::catch_unwind(|| {
        let fleet = Fleet::start(1);
        *folder.lock().expect("nobody else has it") = Some(fleet.folder.clone());
        panic!("on purpose");
    });
    assert!(outcome.is_err());
    let folder = folder.into_inner().expect("it was let go before the panic").expect("the fleet started");
    assert!(!folder.exists());
}

#[test]
fn faults_do_what_they_are_named_after() {
    let fleet = Fleet::start(2);
    fleet.load_demo_image();
    let host = fleet.host("h2");
    run_container(host, "always");
    let is_up = |host: &FleetHost| host.exec("probe", &["demo", "get", "http://127.0.0.1/health"]) == (0, "ok\n".to_owned());
    wait_until("the container answers", || is_up(host));

    host.lose_daemon();
    host.boot_daemon();
    wait_until("the container is back after its engine was lost", || is_up(host));

    assert!(processes_in_containers(host) > 0);
    host.crash();
    assert_eq!(processes_in_containers(host), 0, "a container survived the crash of its host");
    assert!(!host.is_running());
    host.boot();
    wait_until("the container is back after a boot", || is_up(host));

    host.cut();
    host.heal();
    host.freeze();
    host.thaw();
    assert!(host.answers());
    assert!(host.ssh_connections() >= 1);
}

fn run_container(host: &FleetHost, restart: &str) {
    let body = json!({ "Image": DEMO_IMAGE, "HostConfig": { "RestartPolicy": { "Name": restart } } });
    let created = host.api("POST", "/containers/create?name=probe", Some(&body));
    assert!(created.is_success(), "{}", created.text());
    let started = host.api("POST", "/containers/probe/start", None);
    assert!(started.is_success(), "{}", started.text());
}

/// Counted by cgroup, in either version's hierarchy.
fn processes_in_containers(host: &FleetHost) -> usize {
    let folders = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].map(|root| Path::new(root).join(host.cgroup()));
    let containers = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let processes = containers.map(|entry| std::fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default());
    processes.map(|list| list.lines().count()).sum()
}
