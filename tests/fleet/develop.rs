//! Changes of files here that reach replicas on several hosts while they run.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::fs;
use std::path::Path;

use crate::harness::wait_until;
use crate::program::{Project, shared};

const COMPOSE: &str = "services:
  web:
    build: {context: ., dockerfile_inline: \"FROM mcompose-demo:1\\nCOPY version /version\\n\"}
    stop_grace_period: 1s
    deploy: {replicas: 2}
    develop:
      watch:
        - {path: ./src, action: sync, target: /app, initial_sync: true, ignore: [cache/]}
        - {path: ./app.conf, action: sync+restart, target: /etc/app.conf}
        - {path: ./hook, action: sync+exec, target: /hook, exec: {command: [sh, -c, \"cat /hook > /hooked\"]}}
        - {path: ./version, action: rebuild}
";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is writable");
    fs::write(path, text).expect("the folder is writable");
}

#[test]
fn a_change_reaches_every_replica_on_its_host_by_sync_restart_exec_and_rebuild() {
    let project = Project::new(shared(), "developed", COMPOSE);
    let folder = project.file.parent().expect("it is in a folder");
    for (name, text) in [("src/first", "one\n"), ("src/goes", "x\n"), ("app.conf", "a\n"), ("hook", "h\n"), ("version", "1\n")] {
        write(folder, name, text);
    }
    let watching = project.start(&["watch"]);
    wait_until("it watches", || watching.stderr().contains("Watch enabled"));
    assert_eq!(project.spread("web").split(' ').count(), 2, "on two hosts: {}", project.spread("web"));
    let replicas = ["web-1", "web-2"];
    let both_say = |command: &str, expected: &str| {
        let said = |replica: &&str| project.exec(replica, &["sh", "-c", command]).1 == expected;
        wait_until(&format!("`{command}` says {expected:?}: {}", watching.stderr()), || replicas.iter().all(said));
    };
    both_say("cat /app/first /app/goes", "one\nx\n");

    let before = project.ids();
    fs::remove_file(folder.join("src/goes")).expect("it is ours");
    write(folder, "src/cache/left-out", "no\n");
    write(folder, "src/inner/new", "new\n");
    write(folder, "src/first", "two\n");
    both_say("cat /app/first /app/inner/new; ls -A1 /app", "two\nnew\nfirst\ninner\n");

    let places = replicas.map(|replica| project.replica(replica));
    let states = || places.iter().map(|(host, name)| host.get(&format!("/containers/{name}/json"))["State"].clone());
    let since: Vec<_> = states().map(|state| state["StartedAt"].clone()).collect();
    write(folder, "app.conf", "b\n");
    wait_until("both are restarted", || {
        states().zip(&since).all(|(state, then)| state["Running"] == true && state["StartedAt"] != *then)
    });
    both_say("cat /etc/app.conf /app/first", "b\ntwo\n");

    write(folder, "hook", "again\n");
    both_say("cat /hooked", "again\n");
    assert_eq!(project.ids(), before, "they are the same containers");

    write(folder, "version", "2\n");
    let names = places.each_ref().map(|(_, name)| name.clone());
    let is_replaced = |name: &String| {
        let mut running = project.fleet.hosts.iter().flat_map(|host| host.running());
        running.any(|(id, other)| other == *name && !before.values().any(|known| known.contains(&id)))
    };
    let are_replaced = || names.iter().all(is_replaced) && project.running().len() == 2;
    wait_until("both are replaced, or it fails", || are_replaced() || watching.stderr().contains("error:"));
    assert!(are_replaced(), "{}", watching.stderr());
    both_say("cat /version", "2\n");

    watching.interrupt();
    let ended = watching.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.everything());
    assert_eq!(project.spread("web").split(' ').count(), 2, "what runs goes on");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_project_without_anything_to_watch_is_refused() {
    let project = Project::new(shared(), "unwatched", "services:\n  web: {image: \"mcompose-demo:1\"}\n");
    let words = ["none of the selected services is configured for watch"];
    project.run(&["watch"]).assert_refused(&words);
    project.run(&["up", "--watch"]).assert_refused(&words);
    project.assert_gone();
}
