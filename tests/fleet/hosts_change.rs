//! Hosts that are drained, taken out of the file and added, while a supervisor watches.
#![expect(clippy::disallowed_methods, reason = "tests edit the inventory")]

use std::collections::BTreeSet;
use std::fs;

use crate::harness::wait_until;
use crate::program::{Project, Running, own};

const COMPOSE: &str = "services:
  web:
    image: mcompose-demo:1
    deploy: {replicas: 6}
  store:
    image: mcompose-demo:1
    restart: always
    volumes: [data:/data]
    deploy:
      placement: {constraints: [node.hostname == h3]}
volumes: {data: }
";

/// Brings the project up and supervises it.
fn supervised(project: &Project<'_>) -> Running {
    project.ok(&["up", "-d"]);
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    supervisor
}

/// Slots of `web` of which a container runs on a host, or on any.
fn webs(project: &Project<'_>, host: Option<&str>) -> BTreeSet<String> {
    let prefix = format!("{}-web-", project.name);
    let hosts = project.fleet.hosts.iter().filter(|other| host.is_none_or(|host| other.name == host));
    hosts.flat_map(|host| host.running()).map(|(_, name)| name).filter(|name| name.starts_with(&prefix)).collect()
}

#[test]
fn a_drained_host_gives_up_nothing_before_it_is_ready_elsewhere_while_a_supervisor_watches() {
    let fleet = own(3);
    // A second project, which the verb comes to only after the first: the supervisor is faster.
    let [one, other] = ["drained", "emptied"].map(|name| Project::new(&fleet, name, COMPOSE));
    one.ok(&["up", "-d"]);
    let supervisor = supervised(&other);
    let projects = [&one, &other];
    assert!(projects.iter().all(|project| !webs(project, Some("h2")).is_empty()), "there is something to move");
    let drain = one.start(&["hosts", "drain", "h2"]);
    wait_until("nothing of `web` is on the drained host", || {
        for project in projects {
            assert_eq!(webs(project, None).len(), 6, "each replica of {} runs somewhere:\n{}", project.name, supervisor.stdout());
        }
        projects.iter().all(|project| webs(project, Some("h2")).is_empty())
    });
    let ended = drain.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.everything());
}

#[test]
fn a_host_that_is_taken_out_of_the_file_gives_up_its_replicas_and_keeps_its_volume() {
    let fleet = own(3);
    let project = Project::new(&fleet, "unlisted", COMPOSE).with_inventory(&fleet.inventory_of(3));
    let supervisor = supervised(&project);
    let whole = fs::read_to_string(&project.inventory).expect("it was written");
    fs::write(&project.inventory, fleet.inventory_of(2)).expect("the fleet's folder is writable");
    wait_until("its replicas run elsewhere", || {
        assert_eq!(webs(&project, None).len(), 6, "each runs somewhere: {}", supervisor.stdout());
        webs(&project, Some("h3")).is_empty()
    });
    assert_eq!(project.replica("store-1").0.name, "h3", "its data is there");
    wait_until("which is said", || supervisor.stdout().contains("host_kept"));

    // Who begins with the shortened file knows by the record where the data is.
    drop(supervisor);
    let up = project.ok(&["up", "-d"]);
    up.assert_says(&["store.1 of `unlisted` is on host `h3`"]);
    assert_eq!(fleet.host("h1").volumes_of("unlisted").len() + fleet.host("h2").volumes_of("unlisted").len(), 0);
    fs::write(&project.inventory, whole).expect("the fleet's folder is writable");
    project.ok(&["up", "-d"]);
    assert_eq!(project.replica("store-1").0.name, "h3");
}

#[test]
fn a_second_host_makes_a_swarm_of_them_and_gets_its_share_while_a_supervisor_watches() {
    let fleet = own(2);
    let compose = "services: {agent: {image: 'mcompose-demo:1', deploy: {mode: global}}}";
    let project = Project::new(&fleet, "grown", compose).with_inventory(&fleet.inventory_of(1));
    let supervisor = supervised(&project);
    fs::write(&project.inventory, fleet.inventory_of(2)).expect("the fleet's folder is writable");
    wait_until("the second host has its agent", || project.spread("agent") == "h1:1 h2:1");
    assert!(supervisor.stdout().matches(r#""what":"leads""#).count() == 2, "the lease is the swarm's: {}", supervisor.stdout());
    // Its record went to the swarm, as the next one there.
    project.ok(&["history"]).assert_says(&["2  ", "good"]);
}
