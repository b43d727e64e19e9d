//! A project over time: it changes, fails in part, is interrupted, and is brought up twice at once.

use crate::harness::wait_until;
use crate::program::{Project, shared};

#[test]
fn a_changed_service_is_recreated_with_its_anonymous_volume_and_the_rest_is_left_alone() {
    let compose = |level: &str| {
        format!(
            "services:\n  store:\n    image: mcompose-demo:1\n    environment: {{LEVEL: {level}}}\n    volumes: [/data]\n  \
             other:\n    image: mcompose-demo:1\n    deploy: {{replicas: 3}}\n"
        )
    };
    let project = Project::new(shared(), "changed", &compose("one"));
    project.ok(&["up", "-d"]);
    assert_eq!(project.exec("store-1", &["sh", "-c", "echo precious > /data/kept"]).0, 0);
    let before = project.ids();
    let home = project.spread("store");

    project.rewrite(&compose("two"));
    assert_eq!(project.run(&["plan"]).code, Some(2), "plan says that something would change");
    assert_eq!(project.ids(), before, "and changes nothing");
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("store"), home);
    assert_eq!(project.exec("store-1", &["cat", "/data/kept"]), (0, "precious\n".to_owned()));
    assert_eq!(project.exec("store-1", &["sh", "-c", "echo $LEVEL"]), (0, "two\n".to_owned()));
    let changed = |name: &str| name.ends_with("store-1");
    for (name, id) in project.ids() {
        assert_eq!(before.get(&name) != Some(&id), changed(&name), "{name}");
    }
    project.ok(&["down", "-v"]);
    project.assert_gone();
}

#[test]
fn a_failing_step_stops_what_depends_on_it_and_the_next_up_continues() {
    let compose = |entrypoint: &str| {
        format!(
            "services:\n  free:\n    image: mcompose-demo:1\n    deploy: {{replicas: 3}}\n  broken:\n    image: mcompose-demo:1\n    \
             {entrypoint}\n  behind:\n    image: mcompose-demo:1\n    depends_on: [broken]\n"
        )
    };
    let project = Project::new(shared(), "failing", &compose("entrypoint: [/no/such/program]"));
    let ended = project.run(&["up", "-d"]);
    ended.assert_refused(&["broken.1", "/no/such/program"]);
    assert_eq!(project.running().keys().filter(|name| name.contains("free")).count(), 3, "the rest goes on");
    assert_eq!(project.spread("behind"), "", "what depends on it does not start");

    project.rewrite(&compose(""));
    project.ok(&["up", "-d"]);
    assert_eq!(project.running().len(), 5);
    assert_eq!(project.run(&["plan"]).code, Some(0));
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_replica_that_does_not_become_healthy_shows_its_last_words() {
    let compose = "services:\n  sick:\n    image: mcompose-demo:1\n    command: [sh, -c, 'echo the cupboard is bare; sleep 1000']\n    \
                   healthcheck: {test: [CMD, 'false'], interval: 200ms, retries: 2}\n  behind:\n    image: mcompose-demo:1\n    \
                   depends_on: {sick: {condition: service_healthy}}\n";
    let project = Project::new(shared(), "sick", compose);
    project.run(&["up", "-d"]).assert_refused(&["sick.1", "unhealthy", "the cupboard is bare"]);
    assert_eq!(project.spread("behind"), "");
    project.ok(&["down"]);
    project.assert_gone();
}

const SLOW: &str = "services:\n  slow:\n    image: mcompose-demo:1\n    healthcheck:\n      test: [CMD, test, -e, /tmp/ready]\n      \
                    interval: 300ms\n      retries: 1000\n  behind:\n    image: mcompose-demo:1\n    depends_on: {slow: {condition: service_healthy}}\n";

#[test]
fn ctrl_c_leaves_what_runs_and_the_next_up_finishes() {
    let project = Project::new(shared(), "interrupted", SLOW);
    let up = project.start(&["up", "-d"]);
    wait_until("the first service runs", || !project.spread("slow").is_empty());
    up.interrupt();
    let ended = up.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.everything());
    assert_ne!(project.spread("slow"), "", "what runs is left as it is");
    assert_eq!(project.spread("behind"), "");

    assert_eq!(project.exec("slow-1", &["touch", "/tmp/ready"]).0, 0);
    let ids = project.ids();
    project.ok(&["up", "-d"]);
    assert_ne!(project.spread("behind"), "");
    assert!(ids.iter().filter(|(name, _)| name.contains("slow")).all(|(name, id)| project.ids().get(name) == Some(id)));
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn of_two_ups_at_once_one_waits_or_is_told_who_holds_the_lock() {
    let project = Project::new(shared(), "twice", "services:\n  web:\n    image: mcompose-demo:1\n    deploy: {replicas: 6}\n");
    let (first, second) = (project.start(&["up", "-d"]), project.start(&["up", "-d"]));
    for ended in [first.wait(), second.wait()] {
        if ended.code != Some(0) {
            ended.assert_says(&["lock"]);
        }
    }
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:2 h2:2 h3:2");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn attached_up_shows_merged_logs_and_ctrl_c_stops_the_replicas() {
    let compose = "services:\n  talk:\n    image: mcompose-demo:1\n    command: [sh, -c, 'while :; do echo tick; sleep 0.2; done']\n    deploy: {replicas: 3}\n";
    let project = Project::new(shared(), "attachedlogs", compose);
    let up = project.start(&["up"]);
    wait_until("all three talk", || (1..=3).all(|number| up.stdout().contains(&format!("talk-{number}"))));
    up.interrupt();
    let ended = up.wait();
    assert!(matches!(ended.code, Some(0 | 130)), "{:?} {}", ended.code, ended.everything());
    assert_eq!(project.running().len(), 0, "they are stopped");
    assert_eq!(project.ids().len(), 3, "and still there");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn stop_start_restart_kill_pause_and_rm_do_on_every_host_what_they_say() {
    let project = Project::new(shared(), "verbs", "services:\n  web:\n    image: mcompose-demo:1\n    deploy: {replicas: 3}\n");
    let states = || {
        let hosts = project.fleet.hosts.iter();
        let all = hosts.flat_map(|host| {
            host.containers_of("verbs").into_iter().map(move |name| host.get(&format!("/containers/{name}/json")))
        });
        all.map(|container| container["State"]["Status"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
    };
    project.ok(&["create"]);
    assert_eq!(states(), "created created created");
    project.ok(&["start"]);
    assert_eq!(states(), "running running running");
    project.ok(&["pause"]);
    assert_eq!(states(), "paused paused paused");
    project.ok(&["unpause"]);
    let before: Vec<_> =
        (1..=3).map(|number| project.inspect(&format!("web-{number}"))["State"]["StartedAt"].to_string()).collect();
    project.ok(&["restart"]);
    let after: Vec<_> =
        (1..=3).map(|number| project.inspect(&format!("web-{number}"))["State"]["StartedAt"].to_string()).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    project.ok(&["kill"]);
    assert_eq!(states(), "exited exited exited");
    project.ok(&["start"]);
    project.ok(&["stop"]);
    assert_eq!(states(), "exited exited exited");
    project.ok(&["rm", "-f"]);
    assert_eq!(states(), "");
    project.ok(&["down"]);
    project.assert_gone();
}
