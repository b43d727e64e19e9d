//! Files of this machine on hosts that do not have them.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::harness::{Fleet, FleetHost, run, wait_until};
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
    std::os::unix::fs::chown(folder.join("conf"), Some(432), Some(765)).expect("tests run as root");
    fs::set_permissions(folder.join("conf"), fs::Permissions::from_mode(0o2751)).expect("it is ours");
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
                    stat -c '%u:%g %a' /conf /conf/one /conf/run.sh /etc/greeting; ls -A1 /conf; touch /conf/new 2>&1";

fn seen(project: &Project<'_>, replica: &str) -> String {
    project.exec(replica, &["sh", "-c", SHOW]).1
}

fn expected(first: &str) -> String {
    format!(
        "{first}\n{first}\nanswer = 42\nhello\ndebugran\n{SECRET}\n432:765 2751\n1234:567 644\n0:0 750\n1000:1001 440\nempty\nlink\none\nrun.sh\n\
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

/// A folder that takes its time on the way, and what a replica sees of it.
fn large_folder(project: &Project<'_>) -> String {
    let folder = project.file.parent().expect("it is in a folder");
    fs::create_dir_all(folder.join("large")).expect("the folder is writable");
    let bytes: Vec<u8> = (0..100_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(folder.join("large/first"), &bytes).expect("the folder is writable");
    fs::write(folder.join("large/last"), "end\n").expect("the folder is writable");
    let sum = run("sha256sum", &[&folder.join("large/first").display().to_string()]);
    format!("{}\nend\n", sum.split(' ').next().unwrap_or_default())
}

const LARGE: &str = "services:
  web:
    image: mcompose-demo:1
    stop_grace_period: 0s
    volumes: [\"./large:/large:ro\"]
    deploy: {placement: {constraints: [node.hostname == h2]}}
";

#[test]
fn a_delivery_that_is_cut_in_the_middle_is_not_used_and_the_next_up_completes_it() {
    let fleet = own(2);
    let project = Project::new(&fleet, "halves", LARGE);
    project.ok(&["hosts", "init"]);
    let whole = large_folder(&project);
    let target = fleet.host("h2");
    let carriers = || -> Vec<String> {
        let all = target.get("/containers/json?all=true");
        let is_carrier = |container: &&Value| container["Names"][0].as_str().is_some_and(|name| name.contains("_carrier_"));
        let carriers = all.as_array().into_iter().flatten().filter(is_carrier);
        carriers.map(|carrier| carrier["Id"].to_string()).collect()
    };
    let show = "sha256sum /large/first | cut -d ' ' -f 1; cat /large/last";
    let read = || project.exec("web-1", &["sh", "-c", show]).1;

    // Whoever delivers is killed.
    let running = project.start(&["up", "-d"]);
    wait_until("the delivery is under way", || !carriers().is_empty());
    drop(running);
    let left = carriers();
    assert_eq!(left.len(), 1, "it is not whole");
    assert_eq!(target.containers_of("halves"), Vec::<String>::new());
    project.run(&["plan"]).assert_says(&["deliver ./large"]);

    // The host is cut off. Its engine waits for the rest long after that.
    let running = project.start(&["up", "-d"]);
    wait_until("another is under way", || carriers().iter().any(|carrier| !left.contains(carrier)));
    target.cut();
    let ended = running.wait();
    target.heal();
    assert_ne!(ended.code, Some(0), "{}", ended.everything());
    wait_until("the host answers", || target.answers());
    assert_eq!(target.containers_of("halves"), Vec::<String>::new(), "{}", ended.everything());

    project.ok(&["up", "-d"]);
    assert_eq!(read(), whole);
    assert_eq!(project.run(&["plan"]).code, Some(0), "nothing is left to do");
    // Nothing of it is left once the engine has let go.
    target.lose_daemon();
    target.boot_daemon();
    wait_until("the host answers", || target.answers());
    project.ok(&["down"]);
    project.assert_gone();
    assert_eq!(carriers(), Vec::<String>::new());
    let volumes = target.get("/volumes")["Volumes"].to_string();
    assert!(!volumes.contains("io.mcompose.content"), "{volumes}");
}

/// Every command line on this machine that has the text, while `is_on`.
fn command_lines_with(text: &'static str, is_on: &AtomicBool) -> Vec<String> {
    let mut found = Vec::new();
    while is_on.load(Ordering::Relaxed) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(text) {
                found.push(String::from_utf8_lossy(&line).replace('\0', " "));
            }
        }
    }
    found
}

/// Everything that an engine tells: of containers, volumes, networks, images, events, itself, and what is in the swarm's Raft.
fn all_that_is_told(host: &FleetHost) -> String {
    let mut told = String::new();
    for path in ["/volumes", "/networks", "/images/json", "/info", "/containers/json?all=true"] {
        told += &host.get(path).to_string();
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    told += &host.api("GET", &format!("/events?since=0&until={now}"), None).text();
    for container in host.get("/containers/json?all=true").as_array().into_iter().flatten() {
        let id = container["Id"].as_str().unwrap_or_default();
        told += &host.get(&format!("/containers/{id}/json")).to_string();
        told += &host.api("GET", &format!("/containers/{id}/logs?stdout=1&stderr=1"), None).text();
    }
    let configs = host.api("GET", "/configs", None);
    for config in configs.is_success().then(|| configs.json()).iter().flat_map(|list| list.as_array()).flatten() {
        told += &config.to_string();
        let data = BASE64.decode(config["Spec"]["Data"].as_str().unwrap_or_default()).unwrap_or_default();
        let mut text = Vec::new();
        let _ = GzDecoder::new(data.as_slice()).read_to_end(&mut text);
        told += &String::from_utf8_lossy(&text);
    }
    told
}

#[test]
fn a_secrets_value_is_nowhere_but_where_it_is_read() {
    const WORD: &str = "tr0ub4dor-and-3";
    let fleet = own(2);
    let compose = "services:
  web:
    image: mcompose-demo:1
    stop_grace_period: 0s
    secrets: [filed, varied]
    healthcheck: {test: [\"CMD\", \"true\"], interval: 1s}
    deploy: {replicas: 2}
  broken: {image: \"mcompose-demo:1\", secrets: [varied], command: [\"/no/such/program\"], profiles: [bad]}
secrets:
  filed: {file: ./key.txt}
  varied: {environment: WORD}
";
    let project = Project::new(&fleet, "hidden", compose);
    let folder = project.file.parent().expect("it is in a folder");
    fs::write(folder.join("key.txt"), WORD).expect("the folder is writable");
    fs::write(folder.join(".env"), format!("WORD={WORD}\n")).expect("the folder is writable");
    let is_on = AtomicBool::new(true);
    let (told, lines) = std::thread::scope(|scope| {
        let lines = scope.spawn(|| command_lines_with(WORD, &is_on));
        let mut told = project.run(&["plan"]).everything() + &project.run(&["plan", "--format", "json"]).everything();
        told += &project.ok(&["--progress", "plain", "up", "-d", "--wait"]).everything();
        let supervisor = project.start(&["supervise", "--format", "json"]);
        wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
        let (host, name) = project.replica("web-1");
        host.api("DELETE", &format!("/containers/{name}?force=true"), None);
        wait_until("it is replaced", || project.running().contains_key("hidden-web-1"));
        told += &project.run(&["--profile", "bad", "up", "-d"]).everything();
        for words in
            [vec!["config"], vec!["history", "--format", "json"], vec!["ps", "-a", "--format", "json"], vec!["why", "web"]]
        {
            told += &project.run(&words).everything();
        }
        told += &project.run(&["volume", "ls", "-a", "--format", "json"]).everything();
        told += &project.run(&["logs"]).everything();
        told += &(supervisor.stdout() + &supervisor.stderr());
        is_on.store(false, Ordering::Relaxed);
        (told, lines.join().expect("it does not panic"))
    });
    assert_eq!(lines, Vec::<String>::new(), "command lines");
    assert!(told.contains("hidden") && !told.contains(WORD), "{told}");
    for host in &fleet.hosts {
        let told = all_that_is_told(host);
        assert!(told.contains("hidden"), "what the engine tells was read: {told}");
        assert!(!told.contains(WORD), "{}: {}", host.name, told.split(WORD).next().unwrap_or_default());
    }
    // And it was there all the while.
    for replica in ["web-1", "web-2"] {
        let read = project.exec(replica, &["cat", "/run/secrets/filed", "/run/secrets/varied"]);
        assert_eq!(read, (0, format!("{WORD}{WORD}")), "{replica}");
    }
    project.ok(&["down"]);
}

#[test]
fn a_folder_for_data_keeps_its_service_on_the_host_that_wrote_to_it_first() {
    let compose = "services:\n  store:\n    image: mcompose-demo:1\n    stop_grace_period: 0s\n    volumes: [\"./data:/data\"]\n";
    let project = Project::new(shared(), "written", compose);
    project.ok(&["up", "-d"]).assert_says(&["written/data` is empty or missing here", "which keeps the service from now on"]);
    let host = project.replica("store-1").0.name.clone();
    assert_eq!(project.exec("store-1", &["sh", "-c", "echo kept > /data/file"]).0, 0);
    let ended = project.run(&["-p", "written", "simulate", "--fail", &host]);
    ended.assert_says(&["store.1", "held", "written/data"]);
    assert_eq!(ended.code, Some(2), "{}", ended.everything());
    // Without its containers too: the record knows.
    project.ok(&["rm", "-s", "-f"]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.replica("store-1").0.name, host);
    assert_eq!(project.exec("store-1", &["cat", "/data/file"]).1, "kept\n");
    project.ok(&["down"]);
    project.assert_gone();
}
