//! `pre_start` on real engines: what runs before a service's replicas start.

use crate::program::{Project, shared};

const COMPOSE: &str = r#"
services:
  web:
    image: mcompose-demo:1
    command: [demo, serve]
    scale: 2
    stop_grace_period: 0s
    environment: {WHO: web, KEPT: "yes"}
    networks: [front, back]
    volumes: ["files:/files"]
    configs: [word]
    pre_start:
      - command: [sh, -c, "echo $$WHO $$KEPT $$(cat /word) >> /files/log"]
        environment: {WHO: hook}
      - command: [sh, -c, "SECOND"]
        working_dir: /files
configs: {word: {content: seeded}}
volumes: {files: {}}
networks: {front: {}, back: {}}
"#;

#[test]
fn what_runs_before_the_start_has_the_replicas_files_and_keeps_them_from_starting_where_it_fails() {
    let project = Project::new(shared(), "prepared", &COMPOSE.replace("SECOND", "pwd >> log; echo it went wrong; exit 3"));
    let failed = project.run(&["up", "-d"]);
    assert_ne!(failed.code, Some(0), "{}", failed.everything());
    failed.assert_says(&["prepared-web-pre_start-2", "exited with code 3", "it went wrong"]);
    assert!(project.running().is_empty(), "{:?}", project.running());
    assert_eq!(all_of(&project), ["prepared-web-1", "prepared-web-2", "prepared-web-pre_start-2"]);

    project.rewrite(&COMPOSE.replace("SECOND", "pwd >> log"));
    project.ok(&["up", "-d"]);
    assert_eq!(all_of(&project), ["prepared-web-1", "prepared-web-2"]);
    assert_eq!(log_of(&project), "hook yes seeded\n/files\nhook yes seeded\n/files\n");
    // Who began once does not have it again, and another replica does not bring it about.
    project.ok(&["kill", "web"]);
    project.ok(&["up", "-d", "--scale", "web=3"]);
    assert_eq!(project.running().len(), 3);
    assert_eq!(log_of(&project), "hook yes seeded\n/files\nhook yes seeded\n/files\n");
    project.ok(&["down", "-v"]);
    assert!(all_of(&project).is_empty());
}

fn log_of(project: &Project<'_>) -> String {
    let (host, replica) = project.replica("web-1");
    host.exec(&replica, &["cat", "/files/log"]).1
}

/// Names of all containers of the project, on all hosts.
fn all_of(project: &Project<'_>) -> Vec<String> {
    let mut names: Vec<String> = project.fleet.hosts.iter().flat_map(|host| host.containers_of(&project.name)).collect();
    names.sort();
    names
}
