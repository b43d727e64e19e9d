//! Secrets that lie encrypted on hosts, and are open in their memory only.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files, and reads the disks of hosts")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::{Fleet, FleetHost, wait_until};
use crate::program::{Project, own};

const COMPOSE: &str = "services:
  web:
    image: mcompose-demo:1
    stop_grace_period: 0s
    restart: always
    secrets: [{source: key, uid: \"1000\", mode: 0440}, token]
    deploy: {mode: global}
  one:
    image: mcompose-demo:1
    stop_grace_period: 0s
    restart: always
    secrets: [key]
secrets:
  key: {file: ./key.txt}
  token: {environment: TOKEN}
";
const SECRET: &str = "correct horse battery staple";
const ROTATED: &str = "a horse of another colour";
const TOKEN: &str = "token of the environment";

fn project<'a>(fleet: &'a Fleet, name: &str) -> Project<'a> {
    let project = Project::new(fleet, name, COMPOSE);
    write(&project, "key.txt", SECRET);
    write(&project, ".env", &format!("TOKEN={TOKEN}\n"));
    project
}

fn write(project: &Project<'_>, name: &str, text: &str) {
    fs::write(project.file.with_file_name(name), text).expect("the folder is writable");
}

fn key_file(project: &Project<'_>) -> PathBuf {
    project.inventory.with_file_name("mcompose.key")
}

/// Files below a folder, links left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Files of an engine, on its host's disk, that have a text in them.
fn on_disk(host: &FleetHost, text: &str) -> Vec<PathBuf> {
    let has = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    files(&host.folder.join("data")).into_iter().filter(has).collect()
}

/// What is in the folder of secrets in a host's memory.
fn in_memory(host: &FleetHost) -> Vec<String> {
    let pid = fs::read_to_string(host.folder.join("pid")).expect("the host is up");
    let folder = format!("/proc/{}/root/run/mcompose/secrets", pid.trim());
    files(Path::new(&folder)).into_iter().map(|path| fs::read_to_string(path).expect("tests run as root")).collect()
}

const SHOW: &str = "cat /run/secrets/key; echo; stat -c '%u %a' /run/secrets/key; stat -f -c %T /run/secrets/key; \
                    cat /run/secrets/token; touch /run/secrets/key 2>&1";

fn expected(secret: &str) -> String {
    format!("{secret}\n1000 440\ntmpfs\n{TOKEN}touch: /run/secrets/key: Read-only file system\n")
}

#[test]
fn with_a_key_secrets_are_on_no_disk_and_leave_memory_with_their_last_replica() {
    let fleet = own(2);
    let project = project(&fleet, "sealed");
    let hosts = &fleet.hosts;
    // As they are without a key, which also shows that they would be found.
    project.ok(&["up", "-d"]).assert_says(&["secrets lie on the hosts as they are", "mcompose secret init"]);
    assert!(hosts.iter().all(|host| !on_disk(host, SECRET).is_empty()));
    project.ok(&["down"]);

    project.ok(&["secret", "init"]).assert_says(&["mcompose.key", "keep a copy"]);
    assert_eq!(fs::metadata(key_file(&project)).expect("it is there").permissions().mode() & 0o777, 0o600);
    project.run(&["secret", "init"]).assert_refused(&["there is a key"]);
    let key = fs::read_to_string(key_file(&project)).expect("it is ours");
    let ended = project.ok(&["up", "-d"]);
    assert!(!ended.everything().contains("as they are"), "{}", ended.everything());
    for replica in ["web-1", "web-2"] {
        assert_eq!(project.exec(replica, &["sh", "-c", SHOW]).1, expected(SECRET), "{replica}");
    }
    assert_eq!(project.run(&["plan"]).code, Some(0), "nothing is left to do");
    let told: Vec<String> = [&["config"][..], &["history", "--format", "json"], &["plan", "--format", "json"]]
        .iter()
        .map(|arguments| project.run(arguments).everything())
        .chain(["web-1", "web-2", "one-1"].iter().map(|replica| project.inspect(replica).to_string()))
        .chain(hosts.iter().map(|host| host.get("/volumes").to_string()))
        .collect();
    assert!(!told.iter().any(|text| [SECRET, TOKEN, key.trim()].iter().any(|secret| text.contains(secret))));
    for host in hosts {
        for text in [SECRET, TOKEN, key.trim()] {
            assert_eq!(on_disk(host, text), Vec::<PathBuf>::new(), "{text} on {}", host.name);
        }
        assert!(in_memory(host).contains(&SECRET.to_owned()), "{:?}", in_memory(host));
    }

    // Rotated by a change; the old one goes.
    write(&project, "key.txt", ROTATED);
    project.ok(&["up", "-d"]);
    for replica in ["web-1", "web-2"] {
        assert_eq!(project.exec(replica, &["sh", "-c", SHOW]).1, expected(ROTATED), "{replica}");
    }
    for host in hosts {
        assert!(!in_memory(host).contains(&SECRET.to_owned()), "{:?}", in_memory(host));
        assert_eq!(on_disk(host, ROTATED), Vec::<PathBuf>::new(), "on {}", host.name);
    }

    // Without the key nothing new is made, and what runs goes on.
    let before = project.ids();
    fs::rename(key_file(&project), project.inventory.with_file_name("elsewhere")).expect("it is ours");
    write(&project, "key.txt", "a third one");
    project.run(&["up", "-d"]).assert_refused(&["lie encrypted on its hosts", "MCOMPOSE_KEY"]);
    assert_eq!(project.ids(), before);
    fs::rename(project.inventory.with_file_name("elsewhere"), key_file(&project)).expect("it is ours");
    fs::set_permissions(key_file(&project), fs::Permissions::from_mode(0o644)).expect("it is ours");
    project.run(&["up", "-d"]).assert_refused(&["others than its owner may read the key", "chmod 600"]);
    fs::set_permissions(key_file(&project), fs::Permissions::from_mode(0o600)).expect("it is ours");

    // A stopped replica's secret is put there again when it starts; and with the last one it goes.
    project.ok(&["stop"]);
    project.ok(&["start"]);
    assert_eq!(project.exec("web-1", &["sh", "-c", SHOW]).1, expected(ROTATED));
    project.ok(&["down"]);
    project.assert_gone();
    for host in hosts {
        assert_eq!(in_memory(host), Vec::<String>::new(), "on {}", host.name);
        let volumes = host.get("/volumes")["Volumes"].to_string();
        assert!(!volumes.contains("io.mcompose.content"), "{}: {volumes}", host.name);
    }
}

#[test]
fn a_host_that_lost_power_gets_its_secrets_back_from_the_supervisor() {
    let fleet = own(3);
    let project = project(&fleet, "unsealed");
    project.ok(&["secret", "init"]);
    project.ok(&["up", "-d"]);
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    // It has the key, and needs none of the project's files.
    fs::remove_file(project.file.with_file_name("key.txt")).expect("it is ours");
    let (host, _) = project.replica("one-1");
    let (name, global) = (host.name.clone(), project.running().into_iter().find(|(_, on)| *on == host.name));
    let global = global.expect("it has a replica of web").0;
    host.crash();
    let elsewhere = || project.running().get("unsealed-one-1").filter(|on| **on != name).cloned();
    wait_until("the replica that may go elsewhere has its secret there", || {
        elsewhere()
            .is_some_and(|on| fleet.host(&on).exec("unsealed-one-1", &["cat", "/run/secrets/key"]) == (0, SECRET.to_owned()))
    });
    host.boot();
    let is_back = || project.running().into_iter().any(|(name, on)| on == host.name && name.contains("-web-"));
    wait_until(&format!("{global} is back, with its secrets"), is_back);
    let back = project.running().into_iter().find(|(name, on)| *on == host.name && name.contains("-web-")).expect("it is back").0;
    assert_eq!(host.exec(&back, &["sh", "-c", SHOW]).1, expected(SECRET), "{}", supervisor.stdout());
    drop(supervisor);
    project.ok(&["down"]);
    assert!(fleet.hosts.iter().all(|host| in_memory(host).is_empty()));
}
