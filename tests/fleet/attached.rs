//! `up` without -d, and `logs`: what is shown, what ends it, and with which exit code.

use crate::harness::wait_until;
use crate::program::{Project, shared};

/// One ends by itself with code 3, the other when it is told to.
const TWO: &str = "services:
  one:
    image: mcompose-demo:1
    command: [sh, -c, 'echo hello one; sleep 1; exit 3']
  two:
    image: mcompose-demo:1
    command: [sh, -c, 'echo hello two; sleep 1000']
";
/// It does not end when it is told to.
const STUBBORN: &str = "services:
  web:
    image: mcompose-demo:1
    entrypoint: [sh, -c, 'trap \"\" TERM; echo ready; while true; do sleep 1; done']
    stop_grace_period: 10m
";

fn up(name: &str, flags: &[&str], code: i32, says: &[&str]) {
    let project = Project::new(shared(), name, TWO);
    let ended = project.run(&[&["up", "-t", "2"], flags].concat());
    assert_eq!(ended.code, Some(code), "{flags:?}\n{}", ended.everything());
    for words in says {
        assert!(ended.stdout.contains(words), "{flags:?}: `{words}` not shown in\n{}", ended.stdout);
    }
    assert_eq!(project.running().len(), 0, "{flags:?}");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn the_first_container_that_ends_ends_all_where_that_is_asked() {
    let lines = ["Attaching to one-1, two-1", "one-1  | hello one", "two-1  | hello two", "one-1 exited with code 3"];
    let last = ["two-1 exited with code 143"];
    up("cascade", &["--abort-on-container-exit"], 3, &[&lines[..], &last].concat());
    up("cascadefailed", &["--abort-on-container-failure"], 3, &[&lines[..], &last].concat());
    up("codefrom", &["--exit-code-from", "two"], 143, &last);
}

#[test]
fn ctrl_c_stops_what_runs() {
    let project = Project::new(shared(), "attached", TWO);
    let running = project.start(&["up"]);
    wait_until("both have spoken", || running.stdout().contains("hello two") && running.stdout().contains("one-1 exited"));
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.everything());
    assert_eq!(project.running().len(), 0);
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_second_ctrl_c_kills_what_does_not_stop() {
    let project = Project::new(shared(), "stubborn", STUBBORN);
    let running = project.start(&["up"]);
    wait_until("it is ready", || running.stdout().contains("ready"));
    running.interrupt();
    wait_until("it is being stopped", || running.stderr().contains("once more kills"));
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.everything());
    assert!(ended.stdout.contains("web-1 exited with code 137"), "{}", ended.everything());
    assert_eq!(project.running().len(), 0);
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn an_interrupted_up_says_what_runs_and_the_next_one_goes_on() {
    let compose = "services:
  base:
    image: mcompose-demo:1
    healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1000}
  web:
    image: mcompose-demo:1
    depends_on: {base: {condition: service_healthy}}
";
    let project = Project::new(shared(), "halfway", compose);
    let running = project.start(&["up", "-d"]);
    wait_until("base runs", || !project.running().is_empty());
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.everything());
    ended.assert_says(&["left running: base.1 on h"]);
    project.rewrite(&compose.replace("'false'", "'true'"));
    project.ok(&["up", "-d"]);
    assert_eq!(project.running().len(), 2);
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn logs_of_several_hosts_come_in_the_order_of_their_times() {
    let compose = "services:
  talk:
    image: mcompose-demo:1
    command: [sh, -c, 'for i in 1 2 3 4 5; do echo line $$i; sleep 0.2; done']
    deploy: {replicas: 6}
";
    let project = Project::new(shared(), "talk", compose);
    let attached = project.ok(&["up"]);
    assert_eq!(attached.stdout.lines().filter(|line| line.contains("| line ")).count(), 30, "{}", attached.stdout);
    let logs = project.ok(&["logs", "--timestamps", "--no-log-prefix"]).stdout;
    let lines: Vec<&str> = logs.lines().collect();
    assert_eq!(lines.len(), 30, "{logs}");
    assert!(lines.is_sorted(), "{logs}");
    assert_eq!(project.ok(&["logs", "--tail", "1"]).stdout.lines().count(), 6);
    assert_eq!(project.ok(&["logs", "--index", "2", "talk"]).stdout.lines().count(), 5);
    assert_eq!(project.ok(&["logs", "--since", "2100-01-01"]).stdout, "");
    project.ok(&["down"]);
    project.assert_gone();
}
