//! Files in and out of replicas, volumes in and out of files, and what would become of them.
#![expect(clippy::disallowed_methods, reason = "the test writes and reads files")]

use std::fs;

use crate::program::{Project, shared};

#[test]
fn files_go_to_every_replica_and_come_from_one() {
    let compose = "services:\n  web: {image: \"mcompose-demo:1\", stop_grace_period: 0s, deploy: {replicas: 2}}\n";
    let project = Project::new(shared(), "copies", compose);
    project.ok(&["up", "-d"]);
    let folder = project.file.parent().expect("it is in a folder");
    let path = |name: &str| folder.join(name).display().to_string();
    fs::create_dir_all(folder.join("tree/inner")).expect("the folder is writable");
    fs::write(folder.join("tree/inner/file"), "text\n").expect("the folder is writable");
    project.ok(&["cp", &path("tree"), "web:/tmp"]);
    project.ok(&["cp", "--index", "2", &path("tree/inner/file"), "web:/tmp/renamed"]);
    for replica in ["web-1", "web-2"] {
        assert_eq!(project.exec(replica, &["cat", "/tmp/tree/inner/file"]), (0, "text\n".to_owned()), "{replica}");
    }
    assert_eq!(project.exec("web-2", &["cat", "/tmp/renamed"]).1, "text\n");
    assert_ne!(project.exec("web-1", &["cat", "/tmp/renamed"]).0, 0);

    project.ok(&["cp", "web:/tmp/tree", &path("copied")]);
    project.ok(&["cp", "web:/tmp/tree/inner/file", folder.display().to_string().as_str()]);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    assert_eq!([read("copied/inner/file"), read("file")], ["text\n", "text\n"]);
    // A link as what it is, or as what it leads to, under its own name.
    assert_eq!(project.exec("web-1", &["ln", "-s", "tree/inner/file", "/tmp/link"]).0, 0);
    project.ok(&["cp", "web:/tmp/link", &path("link")]);
    assert!(fs::symlink_metadata(folder.join("link")).is_ok_and(|found| found.is_symlink()));
    fs::remove_file(folder.join("link")).expect("it is ours");
    project.ok(&["cp", "-L", "web:/tmp/link", folder.display().to_string().as_str()]);
    assert!(fs::symlink_metadata(folder.join("link")).is_ok_and(|found| found.is_file()));
    assert_eq!(read("link"), "text\n");

    // The whole of a replica, and an image of it.
    project.ok(&["export", "--index", "2", "-o", &path("whole.tar"), "web"]);
    let listed = crate::harness::run("tar", &["-tf", &path("whole.tar")]);
    assert!(listed.lines().any(|line| line == "tmp/renamed"), "{listed}");
    let made =
        project.ok(&["commit", "--index", "2", "-m", "kept", "-c", "LABEL made=here", "web", "copies-kept:1"]).everything();
    let (host, _) = project.replica("web-2");
    assert!(made.contains(&host.name) && made.contains("sha256:"), "{made}");
    let image = host.get("/images/copies-kept:1/json");
    assert_eq!([&image["Comment"], &image["Config"]["Labels"]["made"]], ["kept", "here"]);
    assert!(host.api("DELETE", "/images/copies-kept:1", None).is_success());

    // With what `run` made, too.
    project.ok(&["run", "-d", "--name", "copies-once", "web", "sleep", "600"]);
    project.ok(&["cp", "--all", &path("file"), "web:/tmp/for-all"]);
    let once = project.fleet.hosts.iter().find(|host| host.running().iter().any(|(_, name)| name == "copies-once"));
    let once = once.expect("it runs");
    assert_eq!(once.exec("copies-once", &["cat", "/tmp/for-all"]).1, "text\n");
    assert!(once.api("DELETE", "/containers/copies-once?force=true", None).is_success());
    project.run(&["cp", "web:/no/such/path", &path("nothing")]).assert_refused(&["/no/such/path"]);
    project.run(&["cp", &path("absent"), "web:/tmp"]).assert_refused(&["absent", "cannot be read"]);
    assert!(!folder.join("nothing").exists());
    let left: Vec<String> = fs::read_dir(folder)
        .expect("it is readable")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(".mcompose"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_volume_is_backed_up_and_restored_on_another_host_where_its_owner_then_starts() {
    let compose = "services:\n  store:\n    image: mcompose-demo:1\n    stop_grace_period: 0s\n    volumes: [\"data:/data\"]\n\
                   volumes: {data: }\n";
    let project = Project::new(shared(), "restored", compose);
    let file = project.file.with_file_name("data.tar").display().to_string();
    project.ok(&["up", "-d"]);
    let before = project.spread("store");
    let write = "mkdir /data/kept; echo precious > /data/kept/file; chown 12:34 /data/kept/file; chmod 600 /data/kept/file; \
                 chown 70:71 /data; chmod 2770 /data";
    assert_eq!(project.exec("store-1", &["sh", "-c", write]).0, 0);
    project.run(&["volume", "backup", "data", &file]).assert_says(&["uses the volume", "bytes of `restored_data`"]);
    project.run(&["volume", "rm", "-f", "data"]).assert_refused(&["is used by restored-store-1"]);
    project.run(&["volume", "restore", "--host", "h1", "data", &file]).assert_refused(&["there is a volume `restored_data`"]);
    project.run(&["volume", "backup", "nothing", &file]).assert_refused(&["no such volume: nothing", "data"]);

    let host = ["h1", "h2", "h3"].into_iter().find(|host| !before.starts_with(host)).expect("one of three");
    project.ok(&["down", "-v"]);
    let half = project.file.with_file_name("half.tar");
    let whole = fs::read(&file).expect("it was written");
    fs::write(&half, &whole[..whole.len() - 1024]).expect("the folder is writable");
    let half = half.display().to_string();
    project.run(&["volume", "restore", "--host", host, "data", &half]).assert_refused(&["the archive broke off before its end"]);
    assert_eq!(project.ok(&["volume", "ls", "--format", "{{.Name}}"]).stdout, "");
    project.ok(&["volume", "restore", "--host", host, "data", &file]);
    assert_eq!(project.ok(&["volume", "ls", "--format", "{{.Name}} {{.Host}}"]).stdout, format!("restored_data {host}\n"));
    assert_eq!(project.ok(&["volumes", "-q", "store"]).stdout, "restored_data\n");
    project.run(&["volumes", "stroe"]).assert_refused(&["no such service: stroe"]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("store"), format!("{host}:1"));
    let show = "cat /data/kept/file; stat -c '%u:%g %a' /data/kept/file /data";
    assert_eq!(project.exec("store-1", &["sh", "-c", show]), (0, "precious\n12:34 600\n70:71 2770\n".to_owned()));

    // What owns data would wait for its host.
    let ended = project.run(&["-p", "restored", "simulate", "--fail", host]);
    ended.assert_says(&["store.1", "held", "restored_data"]);
    assert_eq!(ended.code, Some(2));
    project.ok(&["down", "-v"]);
    project.assert_gone();
}

#[test]
fn what_a_lost_host_would_mean_is_told_and_nothing_is_touched() {
    let compose = "services:\n  web: {image: \"mcompose-demo:1\", stop_grace_period: 0s, deploy: {replicas: 3}}\n  agent: {image: \
                   \"mcompose-demo:1\", stop_grace_period: 0s, deploy: {mode: global}}\n";
    let project = Project::new(shared(), "simulated", compose);
    project.ok(&["up", "-d"]);
    let before = project.ids();
    let ended = project.ok(&["-p", "simulated", "simulate", "--fail", "h3", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).expect("it is JSON");
    let fates: Vec<String> = rows.iter().map(|row| row["Fate"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(fates, ["gone", "starts"], "{}", ended.stdout);
    project.run(&["simulate", "--fail", "h9"]).assert_refused(&["no such host: h9"]);
    assert_eq!(project.ids(), before);

    // Over SSH the storage left is asked for, too.
    let checked = project.run(&["hosts", "check", "--format", "json"]).stdout;
    let findings: Vec<serde_json::Value> = serde_json::from_str(&checked).expect("it is JSON");
    let told: Vec<&serde_json::Value> = findings.iter().filter(|finding| finding["subject"] == "storage").collect();
    assert_eq!(told.len(), 3, "{checked}");
    project.ok(&["down"]);
    project.assert_gone();
}
