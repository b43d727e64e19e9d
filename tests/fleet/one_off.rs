//! One-off containers: `run`, as docker compose 2.40.3 makes them, on a host of placement's choice.

use std::io::Write;

use serde_json::Value;

use crate::harness::wait_until;
use crate::program::{Project, own, shared};
use crate::reference::docker_compose;

const COMPOSE: &str = "services:
  db:
    image: mcompose-demo:1
    stop_grace_period: 0s
    volumes: ['data:/data']
    healthcheck: {test: [CMD, 'true'], interval: 200ms}
  web:
    image: mcompose-demo:1
    stop_grace_period: 0s
    restart: always
    ports: ['18123:80']
    depends_on: {db: {condition: service_healthy}}
    deploy: {replicas: 2}
  tool:
    image: mcompose-demo:1
    profiles: [tools]
    environment: {A: one, B: two}
    working_dir: /tmp
    volumes: ['data:/data']
volumes:
  data: {}
";

/// Ends when it is told to, with a code of its own.
const LOOP: &str = "trap 'exit 3' INT; echo ready; while :; do sleep 0.1; done";

#[test]
fn a_command_runs_beside_the_replicas_with_input_output_and_code() {
    let project = Project::new(shared(), "once", COMPOSE);
    // What it needs is brought up, and nothing else; its own ports are not taken.
    let ended = project.run(&["run", "--rm", "web", "sh", "-c", "echo out; echo bad >&2; exit 7"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(7), "out\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("bad"), "{}", ended.stderr);
    assert_eq!(project.running().into_keys().collect::<Vec<_>>(), ["once-db-1"]);
    let (home, db) = project.replica("db-1");
    home.exec(&db, &["sh", "-c", "echo kept > /data/file"]);

    // The volume's host is the container's. What is said goes before what the file says.
    let shown = ["sh", "-c", "cat /data/file; echo $A $B $C; pwd; id -u"];
    let flags = ["run", "--rm", "--no-deps", "-e", "B=three", "-e", "C=four", "-w", "/bin", "-u", "1000", "tool"];
    let ended = project.ok(&[&flags[..], &shown[..]].concat());
    assert_eq!(ended.stdout, "kept\none three four\n/bin\n1000\n");

    // Input is read to its end, and what is large arrives whole.
    let mut child = project.piped(&["run", "--rm", "--entrypoint", "sh -c", "tool", "wc -c; echo end"]);
    child.stdin.take().expect("it is piped").write_all(&vec![b'x'; 1 << 20]).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1048576\nend\n");

    // Without --rm it stays, and is seen by who asks for everything.
    project.ok(&["run", "--name", "once-kept", "tool", "true"]);
    assert!(!project.ok(&["ps"]).stdout.contains("once-kept"));
    project.ok(&["ps", "-a"]).assert_says(&["once-kept", "Exited (0)"]);

    let running = project.start(&["run", "--rm", "--entrypoint", "sh -c", "tool", LOOP]);
    wait_until("it runs", || running.stdout().contains("ready"));
    running.interrupt();
    assert_eq!(running.wait().code, Some(3), "a signal is the container's");

    project.run(&["run", "tool", "no-such-program"]).assert_refused(&["no-such-program"]);
    project.run(&["run", "nothing"]).assert_refused(&["no such service: nothing"]);
    project.run(&["run", "--on", "h9", "tool", "true"]).assert_refused(&["fits nowhere"]);
    project.ok(&["down", "-v", "--remove-orphans"]);
    project.assert_gone();
}

#[test]
fn one_that_is_left_alone_is_found_by_its_id_and_goes_with_the_orphans() {
    let project = Project::new(shared(), "onceback", COMPOSE);
    for host in ["h1", "h2", "h3"] {
        let id = project.ok(&["run", "-d", "--on", host, "--no-deps", "-p", "18124:80", "web"]).stdout;
        let found = project.fleet.host(host).get(&format!("/containers/{}/json", id.trim()));
        assert_eq!(
            (found["State"]["Running"].as_bool(), found["HostConfig"]["RestartPolicy"]["Name"].as_str()),
            (Some(true), Some(""))
        );
        assert_eq!(found["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], "18124");
    }
    assert_eq!(project.running().len(), 3);
    // Its name is not among the addresses of the service.
    project.ok(&["up", "-d", "db", "web"]);
    let (host, web) = project.replica("web-1");
    let (_, addresses) = host.exec(&web, &["nslookup", "web"]);
    assert_eq!(addresses.matches("Address").count().saturating_sub(1), 2, "{addresses}");
    project.ok(&["down"]).assert_says(&["is left: --remove-orphans"]);
    assert_eq!(project.running().len(), 3, "somebody may wait for what they do");
    project.ok(&["down", "-v", "--remove-orphans"]);
    project.assert_gone();
}

/// What two programs made of one file, where it has to be the same: with the project's name and what is random taken out.
fn comparable(inspected: &Value, project: &str) -> Value {
    let text = inspected.to_string().replace(project, "PROJECT");
    let mut found: Value = serde_json::from_str(&text).expect("it was JSON before");
    let labels = found["Config"]["Labels"].as_object_mut().expect("there are labels");
    for own in ["slug", "config-hash", "project.config_files", "project.working_dir"] {
        assert!(labels.remove(&format!("com.docker.compose.{own}")).is_some(), "{own} is missing of {labels:?}");
    }
    labels.remove("io.mcompose.reservation");
    found["Config"]["Hostname"] = Value::Null;
    // docker compose takes them from a map in Go, whose order is another each time.
    if let Some(variables) = found["Config"]["Env"].as_array_mut() {
        variables.sort_by_key(ToString::to_string);
    }
    let networks = found["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let id = inspected["Id"].as_str().unwrap_or_default();
    let aliases = |network: &Value| -> Vec<String> {
        let aliases = network["Aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
        aliases.filter(|alias| !id.starts_with(*alias)).map(str::to_owned).collect()
    };
    let networks: Vec<_> = networks.iter().map(|(name, network)| (name.clone(), aliases(network))).collect();
    let part = |key: &str| -> Value {
        // What is empty is not said by the one, and said to be empty by the other.
        let is_empty = |value: &Value| value.is_null() || *value == serde_json::json!([]) || *value == serde_json::json!({});
        let entries = found[key].as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value));
        entries.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    serde_json::json!({ "name": found["Name"], "config": part("Config"), "host": part("HostConfig"), "networks": networks })
}

#[test]
fn its_container_is_the_one_that_docker_compose_makes() {
    let fleet = own(1);
    let host = fleet.host("h1");
    let cases: &[&[&str]] = &[
        &["--name", "NAME", "tool", "sleep", "60"],
        &["--name", "NAME", "--rm", "-T", "--use-aliases", "-l", "x=y", "-e", "C=3", "-u", "7", "-w", "/", "tool"],
        &["--name", "NAME", "--service-ports", "--no-deps", "web"],
        &["--name", "NAME", "--no-deps", "-p", "127.0.0.1:18125:80", "-v", "/tmp:/host:ro", "--entrypoint", "sleep 60", "web"],
        &["--name", "NAME", "--no-deps", "--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "-i=false", "web", "sleep", "60"],
    ];
    let ours = Project::new(&fleet, "oncea", COMPOSE);
    let theirs = Project::new(&fleet, "onceb", COMPOSE);
    let file = theirs.file.display().to_string();
    for case in cases {
        let arguments = |project: &str| -> Vec<String> {
            ["run", "-d"].iter().chain(*case).map(|word| word.replace("NAME", &format!("{project}-x"))).collect()
        };
        let mine = arguments("oncea");
        let id = ours.ok(&mine.iter().map(String::as_str).collect::<Vec<_>>()).stdout;
        let made = comparable(&host.get(&format!("/containers/{}/json", id.trim())), "oncea");
        ours.ok(&["down", "--remove-orphans"]);
        let reference = arguments("onceb");
        let reference: Vec<&str> = ["-p", "onceb", "-f", &file].into_iter().chain(reference.iter().map(String::as_str)).collect();
        let id = docker_compose(host, &reference);
        let expected = comparable(&host.get(&format!("/containers/{}/json", id.trim())), "onceb");
        // Its `down` leaves one-off containers, and --remove-orphans those of services whose profile is not active.
        assert!(host.api("DELETE", "/containers/onceb-x?force=1", None).is_success());
        docker_compose(host, &["-p", "onceb", "-f", &file, "down"]);
        for part in ["name", "config", "host", "networks"] {
            assert_eq!(made[part], expected[part], "{part} of {case:?}");
        }
    }
    ours.ok(&["down", "-v"]);
    docker_compose(host, &["-p", "onceb", "-f", &file, "down", "-v"]);
    ours.assert_gone();
}

#[test]
fn what_runs_is_watched_attached_to_and_waited_for_with_its_host() {
    let compose = "services:
  web:
    image: mcompose-demo:1
    entrypoint: ['sh', '-c', \"trap 'exit 3' TERM; while read line; do echo got $$line; done; sleep 100 & wait $$!\"]
    stdin_open: true
    stop_grace_period: 5s
    deploy: {replicas: 2, placement: {max_replicas_per_node: 1}}
";
    let project = Project::new(shared(), "watched", compose);
    project.ok(&["up", "-d"]);
    let (host, _) = project.replica("web-2");
    let lines =
        |text: &str| text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>();
    let top = lines(&project.ok(&["top"]).stdout);
    assert_eq!(top[0][..4], ["SERVICE", "#", "HOST", "UID"]);
    assert!(top.iter().any(|row| row[..3] == ["web", "2", &host.name] && row.contains(&"sh".to_owned())), "{top:?}");
    let stats = project.ok(&["stats", "--no-stream", "--format", "json", "web"]).stdout;
    let rows: Vec<Value> = stats.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let row = rows.iter().find(|row| row["Name"] == "watched-web-2").unwrap_or_else(|| panic!("{stats}"));
    assert_eq!((row["Host"].as_str(), row["PIDs"].as_str()), (Some(host.name.as_str()), Some("1")));

    let mut child = project.piped(&["attach", "--index", "2", "web"]);
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"one\ntwo\n").expect("it is read");
    wait_until("the lines are in its log", || project.ok(&["logs", "web"]).stdout.contains("got two"));
    let waiting = project.start(&["wait", "web"]);
    project.ok(&["stop", "web"]);
    let ended = waiting.wait();
    assert_eq!((ended.code, ended.stdout.matches("exited with status code 3").count()), (Some(3), 2), "{}", ended.everything());
    let output = child.wait_with_output().expect("it ends with its container");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()), (Some(3), "got one\ngot two\n"));
    project.ok(&["down"]);
    project.assert_gone();
}
