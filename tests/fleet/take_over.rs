//! docker compose 2.40.3 and mcompose take each other's containers over: what is as the file says is not made again.

use serde_json::Value;

use crate::local::Local;

/// Short and long forms, files, a build's leftovers and names: whatever is in the hash of a service.
const COMPOSE: &str = r#"
name: taken
services:
  web:
    image: mcompose-demo:1
    scale: 2
    env_file: web.env
    label_file: web.labels
    environment: {A: "a$$b <&>", UNSET: null}
    labels: {org.example.two: two words}
    volumes: ["data:/data", "./web.env:/etc/web.env:ro", "/loose", {type: tmpfs, target: /t, tmpfs: {size: 1m}}]
    networks: {front: {aliases: [www]}, back: null}
    ports: ["127.0.0.1:18070-18072:80"]
    depends_on: {db: {condition: service_healthy, restart: true}}
    secrets: [pass, token]
    configs: [{source: pass, target: /etc/pass}, {source: motd, target: /etc/motd, mode: 0440}]
    healthcheck: {test: "true", interval: 1s, timeout: 90s}
    deploy: {resources: {limits: {memory: 64m, cpus: "0.5"}}, restart_policy: {condition: on-failure, max_attempts: 3}}
    pull_policy: missing
  db:
    image: mcompose-demo:1
    command: demo serve
    container_name: taken-database
    networks: [back]
    stop_grace_period: 1m30s
    ulimits: {nofile: {soft: 100, hard: 200}}
    healthcheck: {test: [CMD, "true"], interval: 1s}
    logging: {driver: json-file, options: {max-size: 1m}}
    extra_hosts: ["one=10.0.0.1"]
  alone:
    image: mcompose-demo:1
    network_mode: none
    ipc: shareable
    volumes: ["/loose"]
  beside:
    image: mcompose-demo:1
    command: [sleep, "1000"]
    network_mode: service:db
    ipc: service:alone
    pid: service:db
    volumes_from: ["alone:ro"]
volumes: {data: {labels: {volume.label: v}}}
networks:
  front: {driver_opts: {com.docker.network.bridge.enable_icc: "true"}, labels: {network.label: n}}
  back: {internal: true, ipam: {config: [{subnet: 10.251.0.0/24}]}}
secrets: {pass: {file: web.env}, token: {environment: TOKEN}}
configs: {pass: {file: web.env}, motd: {content: "hello ${TOKEN}"}}
"#;
const FILES: &[(&str, &str)] =
    &[("compose.yaml", COMPOSE), ("web.env", "B=from a file\n"), ("web.labels", "c=d\n"), (".env", "TOKEN=of-the-env-file\n")];

#[test]
fn what_docker_compose_made_is_taken_over_as_it_is() {
    let local = Local::new(FILES);
    local.docker_compose(&["up", "-d"]);
    let before = identities(&local);
    assert_eq!(before.len(), 5, "{before:?}");
    let plan = local.mcompose(&["plan"]);
    assert!(plan.contains("nothing to do"), "{plan}");
    let up = local.mcompose(&["up", "-d"]);
    assert_eq!(identities(&local), before, "{up}");
    // Not all is taken for the same.
    local.mcompose(&["up", "-d", "--scale", "web=1"]);
    assert_eq!(identities(&local).len(), 4);
    let down = local.mcompose(&["down", "-v"]);
    assert!(identities(&local).is_empty(), "{down}");
    assert!(local.host().networks_of("taken").is_empty() && local.host().volumes_of("taken").is_empty(), "{down}");
}

#[test]
fn what_mcompose_made_is_taken_over_by_docker_compose_as_it_is() {
    let local = Local::new(FILES);
    local.mcompose(&["up", "-d"]);
    let before = identities(&local);
    assert_eq!(before.len(), 5, "{before:?}");
    let up = local.docker_compose(&["up", "-d"]);
    assert_eq!(identities(&local), before, "{up}");
    assert!(!up.contains("Recreate") && !up.contains("Creating") && !up.contains("exists but"), "{up}");
    // And back again, with a container of docker compose's own among them.
    local.docker_compose(&["up", "-d", "--scale", "web=3"]);
    let mixed = identities(&local);
    assert!(mixed.len() == 6 && before.iter().all(|one| mixed.contains(one)), "{before:?}\n{mixed:?}");
    let up = local.mcompose(&["up", "-d", "--scale", "web=3"]);
    assert_eq!(identities(&local), mixed, "{up}");
    local.docker_compose(&["down", "-v"]);
    assert!(identities(&local).is_empty());
    assert!(local.host().networks_of("taken").is_empty() && local.host().volumes_of("taken").is_empty());
}

/// Name, id and time of start of each container: one that was made again, or started again, is another.
fn identities(local: &Local) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = local.host().containers_of("taken");
    let seen = names.into_iter().map(|name| {
        let seen = local.host().get(&format!("/containers/{name}/json"));
        (name, text(&seen["Id"]), text(&seen["State"]["StartedAt"]))
    });
    seen.collect()
}
