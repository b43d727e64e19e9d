//! Restart policies, crash loops and what is said of them, on real engines.

use serde_json::Value;

use crate::harness::wait_until;
use crate::program::{Project, Running, own};

/// Each ends a moment after every start. They have no network: of containers that end within moments of each other on an overlay, engine
/// 20.10 now and then loses what attaches them, and then neither starts them nor lets the network go.
const COMPOSE: &str = r#"services:
  thrice: {image: "mcompose-demo:1", command: [sh, -c, "exit 3"], network_mode: none, restart: "on-failure:3"}
  bounded: {image: "mcompose-demo:1", command: [sh, -c, "exit 3"], network_mode: none, deploy: {restart_policy: {max_attempts: 2}}}
  looping: {image: "mcompose-demo:1", command: [sh, -c, "exit 3"], network_mode: none, deploy: {replicas: 1}}
"#;

fn supervised(project: &Project<'_>) -> Running {
    project.ok(&["up", "-d"]);
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    supervisor
}

/// The engine's answer for a replica, running or not.
fn inspected(project: &Project<'_>, name: &str) -> Value {
    let name = format!("{}-{name}", project.name);
    let host = project.fleet.hosts.iter().find(|host| host.containers_of(&project.name).contains(&name));
    host.map(|host| host.get(&format!("/containers/{name}/json"))).unwrap_or_default()
}

#[test]
fn attempts_are_counted_whoever_makes_them_and_a_crash_loop_is_said_to_be_one() {
    let fleet = own(2);
    let project = Project::new(&fleet, "attempts", COMPOSE);
    let supervisor = supervised(&project);
    let says = |text: &str| supervisor.stdout().contains(text);
    wait_until("the engine gives up", || says("thrice.1 is not started again"));
    let thrice = inspected(&project, "thrice-1");
    assert_eq!((&thrice["RestartCount"], &thrice["State"]["Status"]), (&3.into(), &"exited".into()), "{thrice}");
    wait_until("the supervisor stops what has no end", || says("bounded.1 is not started again"));
    let bounded = inspected(&project, "bounded-1");
    let count = bounded["RestartCount"].as_u64().expect("a number");
    assert!((3..=6).contains(&count) && bounded["State"]["Status"] == "exited", "{bounded}");
    wait_until("a loop is told", || says("looping.1 is in a crash loop"));

    // The supervisor is another process, and `ps` and `why` tell what it knows.
    let ps = || project.ok(&["ps", "-a"]).stderr;
    wait_until("ps tells of the loop", || ps().contains("looping.1 is in a crash loop"));
    assert!(ps().contains("thrice.1 is not started again"), "{}", ps());
    let json = project.ok(&["ps", "-a", "--format", "json", "looping"]).stdout;
    assert!(json.contains("is in a crash loop"), "{json}");
    project.ok(&["why", "looping.1"]).assert_says(&["is in a crash loop"]);

    // Nothing was tried any more meanwhile, and a user begins anew.
    assert_eq!(inspected(&project, "thrice-1")["State"], thrice["State"]);
    assert_eq!(inspected(&project, "bounded-1")["State"], bounded["State"]);
    project.ok(&["start", "thrice"]);
    wait_until("the engine tries three times more", || {
        let now = inspected(&project, "thrice-1");
        now["RestartCount"] == 3
            && now["State"]["Status"] == "exited"
            && now["State"]["StartedAt"] != thrice["State"]["StartedAt"]
    });
    project.ok(&["down"]);
    project.assert_gone();
}

/// A service that says how it is updated, and not that the new replica begins: a repair is no update.
const FRAIL: &str = r#"services:
  frail:
    image: "mcompose-demo:1"
    healthcheck: {test: [CMD, sh, -c, "test ! -e /bad"], interval: 1s, timeout: 5s, retries: 2}
    deploy: {replicas: 2, update_config: {parallelism: 1, delay: 10s}}
"#;

#[test]
fn who_turns_unhealthy_makes_way_when_the_next_one_is_ready() {
    let fleet = own(2);
    let project = Project::new(&fleet, "frail", FRAIL);
    let _supervisor = supervised(&project);
    wait_until("both are healthy", || {
        ["frail-1", "frail-2"].iter().all(|name| inspected(&project, name)["State"]["Health"]["Status"] == "healthy")
    });
    let old = inspected(&project, "frail-1")["Id"].as_str().expect("it has an id").to_owned();
    let other = inspected(&project, "frail-2")["Id"].clone();
    assert_eq!(project.exec("frail-1", &["sh", "-c", "echo > /bad"]).0, 0);
    let told = || -> Vec<Value> {
        let said = project.ok(&["events", "--json", "--since", "10m", "--until", "0s", "frail"]).stdout;
        said.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
    };
    let at = |events: &[Value], action: &str, is_meant: &dyn Fn(&str) -> bool| {
        events.iter().rposition(|event| event["action"] == action && event["id"].as_str().is_some_and(is_meant))
    };
    let is_old = |id: &str| id == old;
    wait_until("the old one is gone", || at(&told(), "destroy", &is_old).is_some());
    let events = told();
    let bad = at(&events, "health_status: unhealthy", &is_old).expect("its healthcheck fails");
    let ready = at(&events, "health_status: healthy", &|id| id != old).expect("the new one is healthy");
    let gone = at(&events, "die", &is_old).expect("the old one ends");
    assert!(bad < ready && ready < gone, "{bad} {ready} {gone}: {events:?}");
    assert_eq!(inspected(&project, "frail-2")["Id"], other, "no other replica is touched");
    // The new one may keep the name that it was made under.
    let running = project.fleet.hosts.iter().flat_map(|host| host.running()).filter(|(_, name)| name.contains("frail-frail-"));
    assert_eq!(running.count(), 2);
}
