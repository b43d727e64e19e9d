//! Builds that ask for what this machine has, on hosts that have only an engine.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::fs;
use std::os::unix::net::UnixListener;

use crate::harness::FleetHost;
use crate::program::{Project, shared};

const SECRET: &str = "a value that nobody sees";

fn compose(agent: &str) -> String {
    format!(
        "services:
  web:
    image: built-with-secrets:1
    stop_grace_period: 0s
    build:
      context: .
      secrets: [token, {{source: level, target: verbosity}}]
      ssh: [\"default={agent}\"]
      cache_to: [\"type=inline\"]
      cache_from: [\"built-with-secrets:1\"]
      dockerfile_inline: |
        FROM mcompose-demo:1
        RUN --mount=type=secret,id=token --mount=type=secret,id=verbosity sha256sum < /run/secrets/token > /sum; cat /run/secrets/verbosity > /level
        RUN --mount=type=ssh test -S \"$$SSH_AUTH_SOCK\"
        RUN --mount=type=secret,id=other test ! -e /run/secrets/other
    deploy: {{replicas: 2}}
secrets:
  token: {{file: ./token}}
  level: {{environment: LEVEL}}
"
    )
}

#[test]
fn a_build_on_a_host_gets_secrets_and_an_agent_of_this_machine() {
    let project = Project::new(shared(), "builtwith", &compose("/nowhere"));
    let folder = project.file.parent().expect("it is in a folder");
    fs::write(folder.join(".env"), "LEVEL=debug\n").expect("the folder is writable");
    let socket = folder.join("agent");
    project.run(&["build"]).assert_refused(&["secret `token` cannot be given to the build", "No such file"]);

    fs::write(folder.join("token"), SECRET).expect("the folder is writable");
    project.run(&["build"]).assert_refused(&[
        "ssh `default` cannot be given to the build",
        "`/nowhere` is no agent's socket",
        "ssh-add",
    ]);

    let _agent = UnixListener::bind(&socket).expect("the folder is writable");
    project.rewrite(&compose(&socket.display().to_string()));
    let told = project.ok(&["--dry-run", "up", "--build", "-d"]).everything() + &project.ok(&["up", "-d"]).everything();
    assert!(!told.contains(SECRET), "{told}");
    let sum = crate::harness::run("sha256sum", &[&folder.join("token").display().to_string()]);
    for replica in ["web-1", "web-2"] {
        let (_, seen) = project.exec(replica, &["sh", "-c", "cut -d ' ' -f 1 /sum; cat /level"]);
        assert_eq!(seen, format!("{}\ndebug", sum.split(' ').next().unwrap_or_default()), "{replica}");
    }
    // The builder has it, and whoever runs a replica; the third host need not.
    let has_it = |host: &&FleetHost| host.api("GET", "/images/built-with-secrets:1/json", None).is_success();
    let holders: Vec<&FleetHost> = project.fleet.hosts.iter().filter(has_it).collect();
    assert!(holders.len() >= 2, "{} have the image", holders.len());
    for host in holders {
        let told = host.get("/images/built-with-secrets:1/json").to_string()
            + &host.get("/images/built-with-secrets:1/history").to_string();
        assert!(!told.contains(SECRET), "{}: {told}", host.name);
    }
    project.ok(&["down", "--rmi", "all"]);
    project.assert_gone();
}

#[test]
fn what_an_engine_cannot_build_with_is_refused_with_what_it_can() {
    for (attribute, says) in [
        ("cache_to: [\"type=local,dest=/tmp\"]", "use `type=inline`"),
        ("cache_from: [\"type=gha\"]", "name an image, or `type=registry,ref=IMAGE`"),
        ("additional_contexts: {more: ./more}", "docker buildx build"),
    ] {
        let compose = format!("services:\n  web:\n    build: {{context: ., {attribute}}}\n");
        let project = Project::new(shared(), "unbuildable", &compose);
        project.run(&["build"]).assert_refused(&["build.", says]);
    }
}
