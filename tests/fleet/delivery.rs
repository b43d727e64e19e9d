//! Files of this machine on hosts that do not have them.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::{Fleet, wait_until};
use crate::program::{Project, own, shared};

const COMPOSE: &str = "services:
  web:
    image: mcompose-demo:1
    stop_grace_period: 0s
    volumes: [\"./conf:/conf:ro\", \"./app.conf:/etc/app.conf:ro\"]
    configs:
      - {source: greeting, target: /etc/greeting, uid: \"1000\", gid: \"1001\", mode: 0440}
      - {source: level, target: /etc/level}
    secrets: [key]
    deploy: {replicas: 3}
  other:
    image: mcompose-demo:1
    stop_grace_period: 0s
configs:
  greeting: {content: \"hello\\n\"}
  level: {environment: LEVEL}
secrets:
  key: {file: ./key.txt}
";

const SECRET: &str = "correct horse battery staple";

fn write_files(folder: &Path) {
    fs::create_dir_all(folder.join("conf/empty")).expect("the folder is writable");
    fs::write(folder.join("conf/one"), "first\n").expect("the folder is writable");
    fs::write(folder.join("conf/run.sh"), "#!/bin/sh\necho ran\n").expect("the folder is writable");
    fs::set_permissions(folder.join("conf/run.sh"), fs::Permissions::from_mode(0o750)).expect("it is ours");
    std::os::unix::fs::chown(folder.join("conf/one"), Some(1234), Some(567)).expect("tests run as root");
    symlink("one", folder.join("conf/link")).expect("the folder is writable");
    fs::write(folder.join("app.conf"), "answer = 42\n").expect("the folder is writable");
    fs::write(folder.join("key.txt"), SECRET).expect("the folder is writable");
    fs::write(folder.join(".env"), "LEVEL=debug\n").expect("the folder is writable");
}

fn project<'a>(fleet: &'a Fleet, name: &str) -> Project<'a> {
    let project = Project::new(fleet, name, COMPOSE);
    write_files(project.file.parent().expect("it is in a folder"));
    project
}

/// What a replica sees of its files, in one text.
const SHOW: &str = "cat /conf/one /conf/link /etc/app.conf /etc/greeting /etc/level; /conf/run.sh; cat /run/secrets/key; echo; \
                    stat -c '%u:%g %a' /conf/one /conf/run.sh /etc/greeting; ls -A1 /conf; touch /conf/new 2>&1";

fn seen(project: &Project<'_>, replica: &str) -> String {
    project.exec(replica, &["sh", "-c", SHOW]).1
}

fn expected(first: &str) -> String {
    format!(
        "{first}\n{first}\nanswer = 42\nhello\ndebugran\n{SECRET}\n1234:567 644\n0:0 750\n1000:1001 440\nempty\nlink\none\nrun.sh\n\
         touch: /conf/new: Read-only file system\n"
    )
}

#[test]
fn files_configs_and_secrets_reach_every_host_and_a_change_rolls_what_uses_it() {
    let project = project(shared(), "delivered");
    let folder = project.file.parent().expect("it is in a folder");
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:1 h2:1 h3:1");
    for replica in ["web-1", "web-2", "web-3"] {
        assert_eq!(seen(&project, replica), expected("first"), "{replica}");
    }
    let mounts = project.inspect("web-1")["Mounts"].to_string();
    assert!(!mounts.contains(&folder.display().to_string()), "nothing is this machine's own: {mounts}");
    assert_eq!(project.run(&["plan"]).code, Some(0), "nothing is left to do");

    let before = project.ids();
    fs::write(folder.join("conf/one"), "second\n").expect("the folder is writable");
    project.run(&["plan"]).assert_says(&["deliver ./conf", "replace web.1", "volumes changed"]);
    project.ok(&["up", "-d"]);
    for replica in ["web-1", "web-2", "web-3"] {
        assert_eq!(seen(&project, replica), expected("second"), "{replica}");
    }
    let is_other = |name: &&String| name.contains("-other-");
    let after = project.ids();
    assert_eq!(before.iter().find(|(name, _)| is_other(name)), after.iter().find(|(name, _)| is_other(name)));

    // Nowhere but in the file and where it was delivered.
    let told = project.ok(&["config"]).everything() + &project.ok(&["history", "--format", "json"]).everything();
    let inspected: String = ["web-1", "web-2", "web-3"].iter().map(|replica| project.inspect(replica).to_string()).collect();
    let planned = project.run(&["plan", "--format", "json"]).everything();
    assert!(![told, inspected, planned].iter().any(|text| text.contains(SECRET)));

    project.ok(&["down"]);
    project.assert_gone();
    for host in &project.fleet.hosts {
        let volumes = host.get("/volumes")["Volumes"].to_string();
        assert!(!volumes.contains("io.mcompose.content.project\":\"delivered"), "{}: {volumes}", host.name);
    }
}

#[test]
fn a_lost_hosts_replicas_find_their_files_and_their_image_on_another() {
    let fleet = own(3);
    let project = project(&fleet, "survives");
    // Its image is no registry's either: the first host builds it.
    let compose = COMPOSE.replace("replicas: 3", "replicas: 1, placement: {constraints: [node.hostname != h1]}");
    let built = "build: {context: ., dockerfile_inline: \"FROM mcompose-demo:1\\nLABEL built=here\\n\"}";
    project.rewrite(&compose.replacen("image: mcompose-demo:1", built, 1));
    project.ok(&["up", "-d"]);
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    // Supervision does not need the project's folder.
    fs::remove_dir_all(project.file.parent().expect("it is in a folder").join("conf")).expect("it is ours");
    let (host, _) = project.replica("web-1");
    host.crash();
    wait_until("it runs elsewhere", || {
        let others = fleet.hosts.iter().filter(|other| other.name != host.name);
        others.flat_map(|other| other.running()).any(|(_, name)| name == "survives-web-1")
    });
    let other = fleet.hosts.iter().find(|other| other.name != host.name && other.name != "h1").expect("there are three");
    assert_eq!(other.exec("survives-web-1", &["sh", "-c", SHOW]).1, expected("first"));
}

#[test]
fn what_cannot_be_delivered_is_refused_before_anything_happens() {
    let compose = "services:\n  web:\n    image: mcompose-demo:1\n    volumes: [\"./conf:/conf\"]\n";
    let project = Project::new(shared(), "undelivered", compose);
    let folder = project.file.parent().expect("it is in a folder");
    fs::create_dir_all(folder.join("conf")).expect("the folder is writable");
    let pipe = folder.join("conf/pipe\nline");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it is part of coreutils").success());
    project.run(&["up", "-d"]).assert_refused(&["./conf cannot be brought to its hosts", "is a named pipe"]);
    fs::remove_file(&pipe).expect("it is ours");

    let large = fs::File::create(folder.join("conf/large")).expect("the folder is writable");
    large.set_len(10 << 30).expect("a file with holes takes no room");
    project.run(&["up", "-d"]).assert_refused(&["has more than 256 MiB", "--deliver-max"]);
    fs::remove_dir_all(folder.join("conf")).expect("it is ours");

    symlink("/etc", folder.join("conf")).expect("the folder is writable");
    project.run(&["up", "-d"]).assert_refused(&["leads out of the project"]);
    project.assert_gone();
}
