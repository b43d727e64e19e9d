//! What goes wrong says so, within its bound, and changes nothing.

use std::time::Duration;

use crate::program::{Project, shared};

const ONE: &str = "services:\n  web:\n    image: mcompose-demo:1\n";
/// Connecting gives up after this at the latest, and a little for the rest.
const UNREACHABLE_MAX: Duration = Duration::from_secs(35);

#[test]
fn an_unknown_host_key_is_refused_with_the_command_that_adds_it() {
    let mut project = Project::new(shared(), "stranger", ONE);
    project.home = project.fleet.folder.join("empty-home");
    let ended = project.run(&["up", "-d"]);
    let address = &project.fleet.hosts[0].address;
    ended.assert_refused(&["h1", "ssh-keyscan", address]);
    project.assert_gone();
}

#[test]
fn an_unreachable_host_is_named_within_its_bound() {
    let fleet = shared();
    let network = fleet.hosts[0].address.rsplit_once('.').expect("it is an IPv4 address").0;
    let text = format!("[hosts.nobody]\naddress = \"ssh://root@{network}.200\"\n");
    let project = Project::new(fleet, "nowhere", ONE).with_inventory(&text);
    let ended = project.run(&["up", "-d"]);
    ended.assert_refused(&["nobody"]);
    assert!(ended.took < UNREACHABLE_MAX, "it took {:?}", ended.took);
    project.assert_gone();
}

#[test]
fn a_service_that_fits_nowhere_says_why() {
    let compose = "services:\n  web:\n    image: mcompose-demo:1\n  big:\n    image: mcompose-demo:1\n    deploy:\n      resources:\n        reservations: {memory: 9000G}\n";
    let project = Project::new(shared(), "big", compose);
    let ended = project.run(&["plan"]);
    ended.assert_says(&["big", "3 hosts lack memory"]);
    project.assert_gone();
}

#[test]
fn a_missing_image_names_service_and_host() {
    let project = Project::new(shared(), "noimage", "services:\n  web:\n    image: 127.0.0.1:1/nothing:1\n");
    project.run(&["up", "-d"]).assert_refused(&["127.0.0.1:1/nothing:1"]);
    project.ok(&["down", "-v"]);
    project.assert_gone();
}
