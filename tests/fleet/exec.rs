//! Commands inside of replicas, wherever they are.

use std::io::Write;

use crate::program::{Project, shared};

const COMPOSE: &str = "services:
  web:
    image: mcompose-demo:1
    stop_grace_period: 0s
    deploy: {replicas: 3}
";

#[test]
fn a_command_runs_in_the_replica_that_is_meant_with_input_output_and_code() {
    let project = Project::new(shared(), "execs", COMPOSE);
    project.run(&["exec", "web", "true"]).assert_refused(&["no service `web` runs"]);
    project.ok(&["up", "-d"]);
    let hosts: Vec<String> = (1..=3)
        .map(|index| {
            let index = index.to_string();
            project.ok(&["exec", "--index", &index, "web", "hostname"]).stdout.trim().to_owned()
        })
        .collect();
    let ids: Vec<String> = (1..=3).map(|number| project.inspect(&format!("web-{number}"))["Id"].to_string()).collect();
    for (host, id) in hosts.iter().zip(&ids) {
        assert!(id.contains(host.as_str()), "{host} is the short form of {id}");
    }

    let ended = project.run(&["exec", "-e", "WORD=it", "-w", "/bin", "web", "sh", "-c", "echo $WORD; pwd; echo bad >&2; exit 7"]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(7), "it\n/bin\n", "bad\n"));
    project.run(&["exec", "web", "no-such-program"]).assert_refused(&["no-such-program"]);
    project.run(&["exec", "--index", "9", "web", "true"]).assert_refused(&["no replica 9 of service `web` runs"]);

    let big = "x".repeat(1 << 20);
    let mut child = project.piped(&["exec", "web", "sh", "-c", "wc -c; echo end"]);
    child.stdin.take().expect("it is piped").write_all(big.as_bytes()).expect("it is read");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1048576\nend\n");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_published_port_is_told_with_its_hosts_address_and_images_with_their_hosts() {
    let fleet = shared();
    let compose = "services:\n  web:\n    image: mcompose-demo:1\n    ports: ['18099:80']\n    deploy: {replicas: 2}\n";
    let project = Project::new(fleet, "published", compose);
    project.ok(&["up", "-d"]);
    for number in ["1", "2"] {
        let (host, _) = project.replica(&format!("web-{number}"));
        let told = project.ok(&["port", "--index", number, "web", "80"]).stdout;
        assert_eq!(told, format!("{}:18099\n", host.address));
    }
    project.run(&["port", "web", "81"]).assert_says(&["port 81/tcp", "is not published"]);
    project.run(&["port", "--index", "3", "web", "80"]).assert_says(&["no replica of web.3 runs"]);
    let images = project.ok(&["images"]).stdout;
    for (name, host) in project.running() {
        assert!(
            images.lines().any(|line| line.starts_with(&name) && line.contains(&host) && line.contains("mcompose-demo")),
            "{images}"
        );
    }
    project.ok(&["down"]);
    project.assert_gone();
}
