//! Images without a registry: built on one host, and shipped to others.
#![expect(clippy::disallowed_methods, reason = "the test writes the project's files")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::harness::demo_image;
use crate::program::{Project, own, shared};

const COMPOSE: &str = "services:
  web:
    build:
      context: ./web
      args: {LEVEL: debug}
    stop_grace_period: 0s
    deploy: {replicas: 3}
";

const DOCKERFILE: &str = "FROM mcompose-demo:1\nARG LEVEL\nCOPY . /site\nRUN echo $LEVEL > /level\n";

fn write_context(folder: &Path, page: &str) {
    fs::create_dir_all(folder.join("web/kept")).expect("the folder is writable");
    fs::write(folder.join("web/Dockerfile"), DOCKERFILE).expect("the folder is writable");
    fs::write(folder.join("web/.dockerignore"), "*.log\nkept/*\n!kept/this\n").expect("the folder is writable");
    fs::write(folder.join("web/page"), page).expect("the folder is writable");
    for name in ["a.log", "kept/that", "kept/this"] {
        fs::write(folder.join("web").join(name), name).expect("the folder is writable");
    }
}

fn ids_of(project: &Project<'_>, image: &str) -> BTreeSet<String> {
    let hosts = project.fleet.hosts.iter();
    hosts.map(|host| host.get(&format!("/images/{image}/json"))["Id"].to_string()).collect()
}

#[test]
fn an_image_is_built_once_and_runs_on_every_host() {
    let project = Project::new(shared(), "imagebuilt", COMPOSE);
    let folder = project.file.parent().expect("it is in a folder");
    write_context(folder, "one");
    project.ok(&["up", "-d"]);
    let show = ["sh", "-c", "cat /site/page /level; cd /site; ls -A1 . kept"];
    let files = ".:\n.dockerignore\nDockerfile\nkept\npage\n\nkept:\nthis\n";
    for replica in ["web-1", "web-2", "web-3"] {
        assert_eq!(project.exec(replica, &show), (0, format!("onedebug\n{files}")), "{replica}");
    }
    assert_eq!(project.spread("web"), "h1:1 h2:1 h3:1");
    assert_eq!(ids_of(&project, "imagebuilt-web").len(), 1, "the same image everywhere");

    // Without being asked, nothing is built again.
    write_context(folder, "two");
    assert_eq!(project.run(&["plan"]).code, Some(0));
    project.ok(&["up", "-d", "--build"]);
    for replica in ["web-1", "web-2", "web-3"] {
        assert_eq!(project.exec(replica, &show), (0, format!("twodebug\n{files}")), "{replica}");
    }
    let before = project.ids();

    // One that fails leaves what runs.
    fs::write(folder.join("web/Dockerfile"), "FROM mcompose-demo:1\nRUN echo in vain && false\n").expect("it is writable");
    project.run(&["up", "-d", "--build"]).assert_refused(&["cannot build image imagebuilt-web", "exit code: 1", "in vain"]);
    assert_eq!(project.ids(), before);

    project.ok(&["down", "--rmi", "all"]);
    project.assert_gone();
}

#[test]
fn only_the_layers_that_are_missing_are_shipped() {
    let fleet = own(2);
    let project = Project::new(&fleet, "imagelayers", COMPOSE);
    write_context(project.file.parent().expect("it is in a folder"), "one");
    let before = fleet.host("h2").received_bytes();
    project.ok(&["up", "-d"]);
    let received = fleet.host("h2").received_bytes() - before;
    // The layer that both have is 3.4 MB of them.
    let saved = fleet.host("h1").api("GET", "/images/imagelayers-web/get", None).body.len() as u64;
    match fleet.host("h2").get("/info")["Driver"] == "overlay2" {
        true => assert!(saved > 3_000_000 && received < 1_000_000, "{received} of {saved} bytes"),
        // containerd's store, which compresses layers, takes only all of them.
        false => assert!(received > saved, "{received} of {saved} bytes"),
    }
}

#[test]
fn an_image_that_one_host_has_is_shipped_to_the_others() {
    let project = Project::new(
        shared(),
        "imageshipped",
        "services:\n  web: {image: \"shipped:1\", stop_grace_period: 0s, deploy: {replicas: 3}}\n",
    );
    project.run(&["image", "ship", "shipped:1"]).assert_refused(&["image `shipped:1` is on none of the hosts that answer"]);
    project.fleet.host("h2").import("shipped:1", &demo_image());
    project.ok(&["image", "ship", "shipped:1", "--to", "h3"]);
    let has = |host: &str| project.fleet.host(host).api("GET", "/images/shipped:1/json", None).is_success();
    assert_eq!([has("h1"), has("h3")], [false, true]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:1 h2:1 h3:1");
    assert_eq!(ids_of(&project, "shipped:1").len(), 1);
    project.run(&["image", "ship", "shipped:1"]).assert_says(&["nothing to do"]);
    project.ok(&["down", "--rmi", "all"]);
    project.assert_gone();
}
