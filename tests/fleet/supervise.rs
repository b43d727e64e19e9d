//! Supervision on engines that die, vanish and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::harness::{Fleet, wait_until, wait_within};
use crate::program::{Project, Running, own};

/// `web` is kept running as Swarm would, `plain` has no policy, `store` owns a volume.
const COMPOSE: &str = "services:
  web:
    image: mcompose-demo:1
    deploy: {replicas: 9}
  plain:
    image: mcompose-demo:1
  store:
    image: mcompose-demo:1
    restart: always
    volumes: [data:/data]
    deploy:
      placement: {constraints: [node.hostname != h1]}
volumes: {data: }
";

/// As docs/supervise.md promises.
const TAKES_OVER_MAX: Duration = Duration::from_secs(15);

/// Brings the project up and supervises it.
fn supervised(project: &Project<'_>) -> Running {
    project.ok(&["up", "-d"]);
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    supervisor
}

fn replicas(project: &Project<'_>, service: &str) -> BTreeMap<String, String> {
    let prefix = format!("{}-{service}-", project.name);
    project.running().into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect()
}

fn names(count: usize, project: &str, service: &str) -> Vec<String> {
    let mut names: Vec<String> = (1..=count).map(|number| format!("{project}-{service}-{number}")).collect();
    names.sort();
    names
}

/// All nine slots of `web` are filled, each once, on hosts that answer.
fn is_whole(project: &Project<'_>) -> bool {
    let running = |host: &crate::harness::FleetHost| {
        let prefix = format!("{}-web-", project.name);
        let names = host.running().into_iter().map(|(_, name)| name);
        names.filter(|name| name.starts_with(&prefix)).collect::<Vec<_>>()
    };
    let mut found: Vec<String> = project.fleet.hosts.iter().filter(|host| host.answers()).flat_map(running).collect();
    found.sort();
    found == names(9, &project.name, "web")
}

#[test]
fn a_swarm_that_lost_most_of_its_managers_is_recovered() {
    let fleet = own(5);
    let project = Project::new(&fleet, "recovered", "services: {web: {image: 'mcompose-demo:1', deploy: {replicas: 5}}}");
    project.ok(&["up", "-d"]);
    let (lost, left) = fleet.hosts.split_at(2);
    let is_manager = |host: &crate::harness::FleetHost| host.get("/info")["Swarm"]["ControlAvailable"] == true;
    assert_eq!(fleet.hosts.iter().filter(|host| is_manager(host)).count(), 3, "the first three manage");
    lost.iter().for_each(|host| host.crash());
    let leaderless = || left[0].get("/info")["Swarm"]["Error"].as_str().is_some_and(|error| error.contains("leader"));
    wait_until("the manager that is left has no leader", leaderless);
    project.run(&["scale", "web=6"]).assert_refused(&["leader"]);

    project.ok(&["hosts", "recover"]).assert_says(&["the swarm goes on without h1, h2"]);
    project.ok(&["hosts", "recover"]).assert_says(&["nothing to recover"]);
    project.ok(&["history"]).assert_says(&["1"]);
}

#[test]
fn what_dies_is_replaced_and_what_was_stopped_stays_so() {
    let fleet = own(2);
    let project = Project::new(&fleet, "mended", COMPOSE);
    let supervisor = supervised(&project);
    let before = replicas(&project, "web");

    for name in ["web-1", "web-2"] {
        let (host, container) = project.replica(name);
        host.api("POST", &format!("/containers/{container}/kill"), None);
    }
    let (host, container) = project.replica("web-3");
    host.api("DELETE", &format!("/containers/{container}?force=true"), None);
    wait_until("all nine run again", || is_whole(&project));
    assert_eq!(replicas(&project, "web"), before, "each on its host");

    // Without `restart` and `deploy` a service is not started again, and one that was stopped stays so.
    let (host, container) = project.replica("plain-1");
    host.api("POST", &format!("/containers/{container}/kill"), None);
    project.ok(&["stop", "web"]);
    let (host, container) = project.replica("store-1");
    host.api("POST", &format!("/containers/{container}/kill"), None);
    wait_until("the store runs again", || replicas(&project, "store").len() == 1);
    assert_eq!((replicas(&project, "web").len(), replicas(&project, "plain").len()), (0, 0));

    project.ok(&["up", "-d"]);
    project.ok(&["scale", "web=9"]);
    assert!(is_whole(&project));
    project.ok(&["down", "-v"]);
    project.assert_gone();
    supervisor.interrupt();
    let ended = supervisor.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.everything());
    project.assert_gone();
}

#[test]
fn a_lost_hosts_replicas_start_elsewhere_and_its_own_are_gone_when_it_is_back() {
    let fleet = own(5);
    let project = Project::new(&fleet, "lost", COMPOSE);
    let _supervisor = supervised(&project);
    let home = replicas(&project, "store").into_values().next().expect("the store runs");
    wait_until("a request is answered over the network", || project.ask("web-1", "http://store/").0 == 0);
    let worker = ["h4", "h5"].into_iter().find(|host| *host != home).expect("one of two");

    loses(&fleet, &project, worker);
    loses_the_store(&fleet, &project, &home);
}

fn loses(fleet: &Fleet, project: &Project<'_>, worker: &str) {
    let host = fleet.host(worker);
    let (moved, _) = replicas(project, "web").into_iter().find(|(_, home)| home == worker).expect("it has one of nine");
    host.crash();
    wait_until("its replicas run elsewhere", || is_whole(project));
    let moved = moved.replacen(&format!("{}-web-", project.name), "web.", 1);
    let says = format!("{moved} came from {worker}, which was lost: ");
    wait_until("it is remembered where it came from", || project.ok(&["why", &moved]).stdout.contains(&says));
    assert!(!project.ok(&["ps"]).stderr.contains("came from"), "that is no trouble");
    host.boot();
    wait_until("its old ones are gone", || host.containers_of(&project.name).is_empty());
    assert!(is_whole(project));
}

/// Its data is on that host: the slot waits for it, and is not started on another, empty volume.
fn loses_the_store(fleet: &Fleet, project: &Project<'_>, home: &str) {
    let host = fleet.host(home);
    let (_, container) = project.replica("store-1");
    assert_eq!(host.exec(&container, &["sh", "-c", "echo precious > /data/kept"]).0, 0);
    host.cut();
    let elsewhere = || {
        let others = fleet.hosts.iter().filter(|other| other.name != home);
        others.flat_map(|other| other.running()).map(|(_, name)| name).collect::<Vec<_>>()
    };
    wait_until("its web replicas run elsewhere", || elsewhere().iter().filter(|name| name.contains("-web-")).count() == 9);
    assert!(!elsewhere().iter().any(|name| name.contains("-store-")), "the store waits for its volume");
    host.heal();
    wait_until("each runs once", || is_whole(project));
    let (_, container) = project.replica("store-1");
    assert_eq!(host.exec(&container, &["cat", "/data/kept"]), (0, "precious\n".to_owned()));
}

#[test]
fn an_attached_up_puts_right_what_dies_and_events_and_why_tell_of_it() {
    let fleet = own(2);
    let project = Project::new(&fleet, "guarded", COMPOSE);
    let up = project.start(&["up"]);
    wait_until("all nine run", || is_whole(&project));
    let (host, container) = project.replica("web-1");
    let id = project.inspect("web-1")["Id"].as_str().expect("it has an id").to_owned();
    host.api("DELETE", &format!("/containers/{container}?force=true"), None);
    wait_until("it is made anew", || is_whole(&project));
    wait_until("which is said", || up.stderr().contains("web.1"));

    let events = project.ok(&["events", "--json", "--since", "10m", "--until", "0s", "web"]).stdout;
    let told: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let of_the_old = told.iter().filter(|event| event["id"] == id.as_str());
    let actions: Vec<&str> = of_the_old.filter_map(|event| event["action"].as_str()).collect();
    assert!(actions.ends_with(&["die", "destroy"]) || actions.ends_with(&["kill", "die", "destroy"]), "{actions:?}");
    assert!(told.iter().all(|event| event["service"] == "web" && event["attributes"]["image"] == "mcompose-demo:1"));
    let hosts: BTreeSet<&str> = told.iter().filter_map(|event| event["host"].as_str()).collect();
    assert_eq!(hosts, BTreeSet::from(["h1", "h2"]));

    let why = project.ok(&["why", "web.1"]).stdout;
    for words in [&format!("web.1: its host is {}", host.name), "running since", "made for revision 1", " destroy\n", " start"] {
        assert!(why.contains(words), "{words}: {why}");
    }
    let why = project.ok(&["why", "store", "--format", "json"]).stdout;
    let why: serde_json::Value = serde_json::from_str(&why).expect("it is JSON");
    assert_eq!(why[0]["Rejected"]["h1"], "does not meet `node.hostname != h1`", "{why}");
    project.run(&["why", "web.99"]).assert_refused(&["no such replica: web.99", "store.1"]);

    up.interrupt();
    up.wait();
    wait_until("nothing is started again", || project.running().is_empty());
}

#[test]
fn it_is_said_who_supervises_and_what_does_not_run() {
    let fleet = own(2);
    let project = Project::new(&fleet, "watched", COMPOSE);
    let up = project.ok(&["up", "-d"]);
    assert!(up.stderr.contains("nobody supervises these hosts"), "{}", up.stderr);
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    let (host, container) = project.replica("plain-1");
    host.api("POST", &format!("/containers/{container}/kill"), None);
    let ps = || project.ok(&["ps"]).stderr;
    wait_until("ps says so", || ps().contains(&format!("plain.1 is down on {}: exited with code 137", host.name)));
    assert!(ps().contains("supervised by "), "{}", ps());
}

#[test]
fn a_stand_in_takes_over_when_the_supervisor_is_killed() {
    let fleet = own(2);
    let project = Project::new(&fleet, "stoodin", COMPOSE);
    let first = supervised(&project);
    let second = project.start(&["supervise", "--format", "json"]);
    wait_until("the second watches", || second.stdout().contains("host_up"));
    assert!(!second.stdout().contains(r#""what":"leads""#), "one leads at a time");
    // Killed, so that it gives nothing back.
    drop(first);
    took("a stand-in for one that was killed", wait_within(TAKES_OVER_MAX, "the second leads", || leads(&second) == 1));
    let (host, container) = project.replica("web-1");
    host.api("POST", &format!("/containers/{container}/kill"), None);
    wait_until("all nine run again", || is_whole(&project));
    // One that stands still and wakes up finds that another acts now.
    let third = project.start(&["supervise", "--format", "json"]);
    wait_until("the third watches", || third.stdout().contains("host_up"));
    second.suspend();
    took("a stand-in for one that stands still", wait_within(TAKES_OVER_MAX, "the third leads", || leads(&third) == 1));
    second.resume();
    wait_until("the second stands by", || second.stdout().contains(r#""what":"stands_by""#));
    let (host, container) = project.replica("web-2");
    host.api("POST", &format!("/containers/{container}/kill"), None);
    wait_until("all nine run again", || is_whole(&project));
    assert_eq!((leads(&second), leads(&third)), (1, 1), "the lease stays where it is");
}

/// How often one became the one that acts.
fn leads(supervisor: &Running) -> usize {
    supervisor.stdout().matches(r#""what":"leads""#).count()
}

/// For docs/benchmarks.md.
#[expect(clippy::disallowed_macros, reason = "it speaks to whoever measures")]
fn took(what: &str, time: Duration) {
    eprintln!("{what} acts after {:.1} s", time.as_secs_f64());
}
