//! Folders of the project that services write to, on hosts that do not have them; and volumes that were filled by half.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::fs;

use serde_json::Value;

use crate::harness::{FleetHost, wait_until};
use crate::program::{Project, own, shared};

const COMPOSE: &str = "services:
  app:
    image: mcompose-demo:1
    stop_grace_period: 0s
    volumes: [\"./site:/site\"]
    deploy: {replicas: 2}
  reader:
    image: mcompose-demo:1
    stop_grace_period: 0s
    volumes: [\"./site:/read:ro\"]
  other:
    image: mcompose-demo:1
    stop_grace_period: 0s
    deploy: {replicas: 3}
";

#[test]
fn a_folder_that_is_written_to_is_given_once_and_keeps_what_is_written_and_its_service() {
    let project = Project::new(shared(), "folders", COMPOSE);
    let folder = project.file.parent().expect("it is in a folder");
    fs::create_dir_all(folder.join("site/empty")).expect("the folder is writable");
    fs::write(folder.join("site/index"), "first\n").expect("the folder is writable");
    std::os::unix::fs::chown(folder.join("site/index"), Some(1234), Some(567)).expect("tests run as root");
    std::os::unix::fs::chown(folder.join("site"), Some(432), Some(765)).expect("tests run as root");
    let said = project.ok(&["up", "-d"]).everything();
    assert!(said.contains("app: ./site may be written to") && !said.contains("reader: ./site"), "{said}");

    let host = project.replica("app-1").0.name.clone();
    assert_eq!(
        [project.replica("app-2").0, project.replica("reader-1").0].map(|other| other.name.clone()),
        [host.clone(), host.clone()]
    );
    let show = "stat -c '%u:%g' /site /site/index; ls -A1 /site; cat /site/index";
    assert_eq!(project.exec("app-1", &["sh", "-c", show]).1, "432:765\n1234:567\nempty\nindex\nfirst\n");
    assert_eq!(project.exec("app-1", &["sh", "-c", "echo written > /site/index; echo new > /site/new"]).0, 0);
    assert_eq!(project.exec("app-2", &["cat", "/site/index", "/site/new"]).1, "written\nnew\n");
    assert_eq!(
        project.exec("reader-1", &["sh", "-c", "cat /read/new; touch /read/x 2>&1"]).1,
        "new\ntouch: /read/x: Read-only file system\n"
    );
    assert_eq!(project.run(&["plan"]).code, Some(0), "nothing is left to do");

    // A change here stays here.
    let before = project.ids();
    fs::write(folder.join("site/index"), "second\n").expect("the folder is writable");
    project.ok(&["up", "-d"]).assert_says(&["./site has changed here since", "mcompose cp"]);
    assert_eq!(project.ids(), before);
    assert_eq!(project.exec("app-1", &["cat", "/site/index"]).1, "written\n");

    // The slots are held with it, and it is known as what it is.
    let ended = project.run(&["-p", "folders", "simulate", "--fail", &host]);
    ended.assert_says(&["app.1", "held", "folders_files-site"]);
    assert_eq!(project.ok(&["volumes", "-q", "app"]).stdout, "folders_files-site\n");
    project.ok(&["down"]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.replica("app-1").0.name, host);
    assert_eq!(project.exec("app-1", &["cat", "/site/index"]).1, "written\n");

    // It moves as other volumes do.
    let to = if host == "h1" { "h2" } else { "h1" };
    project.ok(&["volume", "mv", "files-site", "--to", to]);
    assert_eq!(project.replica("app-1").0.name, to);
    assert_eq!(project.exec("app-1", &["cat", "/site/index"]).1, "written\n");
    project.ok(&["down", "-v"]);
    project.assert_gone();
    for host in &project.fleet.hosts {
        assert!(!host.get("/volumes")["Volumes"].to_string().contains("folders_files-site"), "{}", host.name);
    }
}

fn names(host: &FleetHost, path: &str, field: &str) -> Vec<String> {
    let all = host.get(path);
    let list = all.get("Volumes").unwrap_or(&all).as_array().cloned().unwrap_or_default();
    let name = |each: &Value| each[field].as_str().or_else(|| each[field][0].as_str()).unwrap_or_default().to_owned();
    list.iter().map(name).filter(|name| name.contains("_carrier_")).collect()
}

#[test]
fn a_restore_that_was_killed_counts_for_nothing_and_the_next_one_begins_anew() {
    let fleet = own(2);
    let compose = "services:\n  store:\n    image: mcompose-demo:1\n    stop_grace_period: 0s\n    volumes: [\"data:/data\"]\n\
                   volumes:\n  data:\n";
    let project = Project::new(&fleet, "halved", compose);
    let folder = project.file.parent().expect("it is in a folder");
    let file = folder.join("data.tar").display().to_string();
    project.ok(&["up", "-d"]);
    let written = "head -c 100000000 /dev/urandom > /data/large; echo end > /data/zlast; sha256sum /data/large";
    let (code, sum) = project.exec("store-1", &["sh", "-c", written]);
    assert_eq!(code, 0, "{sum}");
    project.ok(&["stop"]);
    project.ok(&["volume", "backup", "data", &file]);
    project.ok(&["down", "-v"]);

    let target = fleet.host("h2");
    let running = project.start(&["volume", "restore", "--host", "h2", "data", &file]);
    wait_until("the restore is under way", || !names(target, "/containers/json?all=true", "Names").is_empty());
    drop(running);
    assert_eq!(names(target, "/volumes", "Name").len(), 1, "its mark is left");
    assert_eq!(
        project.ok(&["volume", "ls", "--format", "{{.Name}} {{.UsedBy}}"]).stdout,
        "halved_data not whole: was not filled to the end\n"
    );
    project.run(&["up", "-d"]).assert_says(&["what is in volume `halved_data` on h2 is not whole"]);
    assert_eq!(target.containers_of("halved"), Vec::<String>::new());
    project.run(&["volume", "backup", "data", &file]).assert_refused(&["no host that answers has a volume `halved_data`"]);
    project.run(&["volume", "restore", "--host", "h1", "data", &file]).assert_refused(&["there is a volume `halved_data` on h2"]);

    project.ok(&["volume", "restore", "--host", "h2", "data", &file]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.replica("store-1").0.name, "h2");
    assert_eq!(project.exec("store-1", &["sh", "-c", "sha256sum /data/large; cat /data/zlast"]).1, format!("{sum}end\n"));
    for (path, field) in [("/volumes", "Name"), ("/containers/json?all=true", "Names")] {
        assert_eq!(names(target, path, field), Vec::<String>::new());
    }
    project.ok(&["down", "-v"]);
    project.assert_gone();
}
