//! Hosts come, go and fail.
#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::fs;

use crate::harness::{Fleet, wait_until};
use crate::program::{Project, own};

const SIX: &str = "services:\n  web:\n    image: mcompose-demo:1\n    restart: always\n    deploy: {replicas: 6}\n";

#[test]
fn hosts_are_added_drained_and_removed() {
    let fleet = own(3);
    let project = Project::new(&fleet, "moving", SIX).with_inventory(&inventory(&fleet, 2));
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:3 h2:3");

    let address = format!("ssh://root@{}", fleet.hosts[2].address);
    project.ok(&["hosts", "add", "h3", &address]);
    let text = fs::read_to_string(&project.inventory).expect("it is there");
    assert!(text.contains("[hosts.h3]") && text.starts_with("# kept\n"), "{text}");
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:3 h2:3", "placement is sticky");
    project.ok(&["hosts", "rebalance"]).assert_says(&["nothing was moved"]);
    assert_eq!(project.spread("web"), "h1:3 h2:3");
    project.ok(&["hosts", "rebalance", "--apply"]);
    assert_eq!(project.spread("web"), "h1:2 h2:2 h3:2");
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:2 h2:2 h3:2", "they stay where they were moved to");
    project.ok(&["scale", "web=9"]);
    assert_eq!(project.spread("web"), "h1:3 h2:3 h3:3");
    let (code, answer) = project.ask("web-9", "http://web/");
    assert_eq!(code, 0, "the new host is in the network: {answer}");

    project.ok(&["hosts", "drain", "h2"]);
    project.ok(&["up", "-d", "--scale", "web=9"]);
    assert!(!project.spread("web").contains("h2"), "nothing is left on a drained host: {}", project.spread("web"));
    assert_eq!(project.running().len(), 9);

    project.ok(&["hosts", "rm", "h2"]);
    let text = fs::read_to_string(&project.inventory).expect("it is there");
    assert!(!text.contains("[hosts.h2]"), "{text}");
    assert_eq!(fleet.host("h2").get("/info")["Swarm"]["LocalNodeState"], "inactive", "it has left the swarm");
    project.ok(&["hosts", "ls"]).assert_says(&["h1", "h3"]);
    project.ok(&["hosts", "check"]);
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_crashed_host_is_not_emptied_and_comes_back_into_its_project() {
    let fleet = own(3);
    let project = Project::new(&fleet, "crashed", SIX);
    project.ok(&["up", "-d"]);
    let before = project.ids();

    fleet.host("h3").crash();
    let ended = project.run(&["up", "-d"]);
    ended.assert_says(&["h3"]);
    assert_eq!(project.running().values().filter(|host| *host != "h3").count(), 4, "nothing moved, nothing removed");
    project.ok(&["ps"]).assert_says(&["h3"]);

    fleet.host("h3").boot();
    wait_until("the host can be brought up again", || project.run(&["up", "-d"]).code == Some(0));
    assert_eq!(project.spread("web"), "h1:2 h2:2 h3:2");
    assert_eq!(project.ids(), before, "its containers are those it had");
    let (code, answer) = project.ask("web-1", "http://web/");
    assert_eq!(code, 0, "{answer}");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_host_that_is_cut_off_or_frozen_holds_nobody_up_for_long() {
    let fleet = own(3);
    let project = Project::new(&fleet, "silent", SIX);
    project.ok(&["up", "-d"]);
    let before = project.ids();
    for (hurt, heal) in [("cut", "heal"), ("freeze", "thaw")] {
        let host = fleet.host("h2");
        if hurt == "cut" {
            host.cut()
        } else {
            host.freeze()
        }
        let ended = project.run(&["up", "-d"]);
        ended.assert_says(&["h2"]);
        if heal == "heal" {
            host.heal()
        } else {
            host.thaw()
        }
        wait_until("all is well again", || project.run(&["up", "-d"]).code == Some(0));
        assert_eq!(project.ids(), before, "after {hurt}");
    }
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn two_projects_that_come_up_at_once_form_one_swarm() {
    let fleet = own(3);
    let (one, two) = (Project::new(&fleet, "one", SIX), Project::new(&fleet, "two", SIX));
    let (first, second) = (one.start(&["up", "-d"]), two.start(&["up", "-d"]));
    for (project, ended) in [(&one, first.wait()), (&two, second.wait())] {
        if ended.code != Some(0) {
            project.ok(&["up", "-d"]);
        }
        assert_eq!(project.spread("web"), "h1:2 h2:2 h3:2");
    }
    for project in [one, two] {
        project.ok(&["down"]);
        project.assert_gone();
    }
}

#[test]
fn over_tcp_it_is_the_same() {
    let fleet = own(2);
    let mut project = Project::new(&fleet, "tcp", SIX);
    project.inventory = fleet.inventory_tcp();
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("web"), "h1:3 h2:3");
    assert_eq!(project.run(&["plan"]).code, Some(0));
    project.ok(&["down"]);
    project.assert_gone();
}

/// The first hosts of the fleet, with a comment.
fn inventory(fleet: &Fleet, hosts: usize) -> String {
    let mut text = format!("# kept\n[defaults]\nidentity = \"{}\"\n", fleet.folder.join("id_ed25519").display());
    for host in &fleet.hosts[..hosts] {
        text.push_str(&format!("\n[hosts.{}]\naddress = \"ssh://root@{}\"\n", host.name, host.address));
    }
    text
}
