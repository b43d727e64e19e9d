//! What goes wrong says so, within its bound, and changes nothing.

use crate::program::{Project, shared};

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
