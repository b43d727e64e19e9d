//! Builds that ask for what this machine has, on hosts that have only an engine.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::harness::{FleetHost, wait_until};
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
fn a_build_has_contexts_beside_its_own() {
    let compose = "services:
  web:
    image: built-of-contexts:1
    stop_grace_period: 0s
    build:
      context: .
      dockerfile: deploy/Dockerfile
      additional_contexts: {more: ./more, base: \"docker-image://mcompose-demo:1\", made: \"service:tool\"}
  tool:
    image: built-as-context:1
    stop_grace_period: 0s
    build:
      context: ./tool
      dockerfile_inline: |
        FROM mcompose-demo:1
        COPY made /made
";
    let project = Project::new(shared(), "contexts", compose);
    let folder = project.file.parent().expect("it is in a folder");
    let dockerfile = "FROM base AS first
FROM first
COPY . /app
COPY --from=more . /more
COPY --from=made /made /made
RUN --mount=type=bind,from=more,source=/sub,target=/mnt cat /mnt/inner > /inner
";
    for (path, text) in [
        (".dockerignore", "*.log\ntool\n"),
        ("kept", "one"),
        ("left.log", ""),
        ("deploy/Dockerfile", dockerfile),
        ("more/.dockerignore", "secret*\n"),
        ("more/kept", "two"),
        ("more/secret", ""),
        ("more/sub/inner", "three"),
        ("tool/made", "four"),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is writable");
        fs::write(path, text).expect("the folder is writable");
    }
    project
        .ok(&["--dry-run", "build", "web"])
        .assert_says(&["build image built-as-context:1", "build image built-of-contexts:1"]);
    let read = |expected: &str| {
        project.ok(&["up", "-d", "--build"]);
        let script =
            "cat /app/kept /more/kept /inner /made; cd /; ls app/left.log app/tool more/secret more/.mcompose* 2>/dev/null";
        let (_, seen) = project.exec("web-1", &["sh", "-c", script]);
        assert_eq!(seen, expected);
    };
    read("onetwothreefour");
    // What changed since the last build is seen, though it is as long as it was.
    fs::write(folder.join("more/kept"), "TWO").expect("the folder is writable");
    fs::write(folder.join("tool/made"), "FOUR").expect("the folder is writable");
    read("oneTWOthreeFOUR");
    let images: Vec<String> = project.fleet.hosts.iter().map(|host| host.get("/images/json").to_string()).collect();
    assert!(!images.concat().contains("mcompose-context"), "{images:?}");
    project.ok(&["down", "--rmi", "all"]);
    project.assert_gone();
}

#[test]
fn a_stage_is_built_anew_where_that_is_asked_for_and_secrets_are_lent_as_ever() {
    let compose = |last: &str| {
        format!(
            "services:
  web:
    image: built-anew:1
    stop_grace_period: 0s
    build:
      context: .
      no_cache_filter: [anew]
      secrets: [token]
      dockerfile_inline: |
        FROM mcompose-demo:1 AS cached
        RUN cat /proc/sys/kernel/random/uuid > /cached
        FROM cached AS anew
        RUN --mount=type=secret,id=token sha256sum < /run/secrets/token > /sum; cat /proc/sys/kernel/random/uuid > /anew
        RUN {last}
secrets:
  token: {{file: ./token}}
"
        )
    };
    let project = Project::new(shared(), "anew", &compose("true"));
    let folder = project.file.parent().expect("it is in a folder");
    fs::write(folder.join("token"), SECRET).expect("the folder is writable");
    let build = || {
        let told = project.ok(&["up", "-d", "--build"]).everything();
        assert!(!told.contains(SECRET), "{told}");
        let (_, cached) = project.exec("web-1", &["cat", "/cached"]);
        let (_, anew) = project.exec("web-1", &["cat", "/anew"]);
        (cached, anew)
    };
    // An engine that builds other images at the same time may miss what it has in its cache.
    wait_until("the other stage comes out of the cache", || {
        let (first, second) = (build(), build());
        assert_ne!(first.1, second.1, "it is built anew");
        first.0 == second.0
    });
    let sum = crate::harness::run("sha256sum", &[&folder.join("token").display().to_string()]);
    let (_, seen) = project.exec("web-1", &["cut", "-d", " ", "-f", "1", "/sum"]);
    assert_eq!(Some(seen.trim_end()), sum.split(' ').next());

    // What fails says what it said.
    project.rewrite(&compose("echo these were; echo the last words >&2; exit 3"));
    project.run(&["build"]).assert_refused(&[
        "cannot build image built-anew:1 on h1",
        "exit code: 3",
        "these were",
        "the last words",
    ]);
    project.ok(&["down", "--rmi", "all"]);
    project.assert_gone();
}

#[test]
fn a_build_that_is_interrupted_ends_on_its_host() {
    const SECONDS: &str = "98764";
    let compose = format!(
        "services:
  web:
    image: built-never:1
    build:
      context: .
      no_cache_filter: [last]
      dockerfile_inline: |
        FROM mcompose-demo:1 AS last
        RUN sleep {SECONDS}
"
    );
    let project = Project::new(shared(), "cancelled", &compose);
    let sleeps = || {
        let found = Command::new("pgrep").args(["-x", "-f", &format!("sleep {SECONDS}")]).output();
        found.expect("pgrep is there").status.success()
    };
    let running = project.start(&["build"]);
    wait_until("the build is under way", sleeps);
    running.interrupt();
    wait_until("it says what a second time does", || running.stderr().contains("once more ends at once"));
    running.interrupt();
    assert_ne!(running.wait().code, Some(0));
    wait_until("the build has ended on its host", || !sleeps());
}

#[test]
fn what_an_engine_does_not_allow_a_build_is_told_with_what_would() {
    let compose = "services:
  web:
    build:
      context: .
      privileged: true
      dockerfile_inline: |
        FROM mcompose-demo:1
        RUN true
";
    let project = Project::new(shared(), "privileged", compose);
    project.run(&["build"]).assert_refused(&["security.insecure", "daemon.json"]);
}

#[test]
fn what_an_engine_cannot_build_with_is_refused_with_what_it_can() {
    for (attribute, says) in [
        ("cache_to: [\"type=local,dest=/tmp\"]", "use `type=inline`"),
        ("cache_from: [\"type=gha\"]", "name an image, or `type=registry,ref=IMAGE`"),
        ("additional_contexts: {more: \"oci-layout://more\"}", "docker-image://"),
        ("provenance: mode=max", "attestations"),
    ] {
        let compose = format!("services:\n  web:\n    build: {{context: ., {attribute}}}\n");
        let project = Project::new(shared(), "unbuildable", &compose);
        project.run(&["build"]).assert_refused(&["build.", says]);
    }
}
