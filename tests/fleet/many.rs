//! What breaks docker compose over SSH: many replicas. One connection per host carries them.

use crate::program::{Project, own};

#[test]
fn a_hundred_replicas_come_up_over_one_ssh_connection_per_host() {
    let fleet = own(3);
    let compose = "services:\n  many:\n    image: mcompose-demo:1\n    command: [sleep, '100000']\n    deploy: {replicas: 100}\n";
    let project = Project::new(&fleet, "hundred", compose);
    let connections = || fleet.hosts.iter().map(|host| host.ssh_connections()).collect::<Vec<_>>();
    let before = connections();
    project.ok(&["up", "-d"]);
    let used: Vec<usize> = connections().iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(used, [1, 1, 1], "SSH connections that the servers counted");
    let spread = project.spread("many");
    let mut counts: Vec<&str> = spread.split_whitespace().filter_map(|host| Some(host.split_once(':')?.1)).collect();
    counts.sort_unstable();
    assert_eq!(counts, ["33", "33", "34"]);
    project.ok(&["down"]);
    project.assert_gone();
}
