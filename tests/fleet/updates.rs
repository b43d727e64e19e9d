//! Rolling updates on real engines: what fails is paused or taken back, and records say how far each came.
#![expect(clippy::disallowed_methods, reason = "times of engines and of a container are compared")]

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use serde_json::Value;

use crate::harness::wait_until;
use crate::program::{Project, own, shared};

/// Two replicas with a healthcheck; with a command, that instead of the server.
fn compose(level: &str, command: &str, order: &str, action: &str) -> String {
    format!(
        "services:\n  web:\n    image: mcompose-demo:1\n    environment: {{LEVEL: {level}}}\n    {command}\n    healthcheck: \
         {{test: [CMD, demo, get, \"http://127.0.0.1/health\"], interval: 200ms, retries: 3}}\n    stop_grace_period: 0s\n    \
         deploy: {{replicas: 2, update_config: {{order: {order}, monitor: 1s, failure_action: {action}}}}}\n"
    )
}

fn levels(project: &Project) -> Vec<String> {
    let mut levels = BTreeMap::new();
    for host in &project.fleet.hosts {
        // One that was started beside its predecessor may have kept the name that it was made under.
        for (id, name) in host.running().into_iter().filter(|(_, name)| name.contains(&format!("{}-web-", project.name))) {
            let number = name.rsplit('-').next().map(str::to_owned);
            levels.insert(number, host.exec(&id, &["sh", "-c", "echo $LEVEL"]).1.trim().to_owned());
        }
    }
    levels.into_values().collect()
}

fn history(project: &Project) -> Vec<String> {
    let text = project.ok(&["history", "--format", "json"]).stdout;
    let rows: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
    rows.iter().map(|row| format!("{} {}", row["Revision"], row["State"].as_str().unwrap_or_default())).collect()
}

#[test]
fn an_update_that_fails_is_taken_back_and_the_old_replicas_never_left() {
    let project = Project::new(shared(), "rolledback", &compose("one", "", "start-first", "rollback"));
    project.ok(&["up", "-d"]);
    let before = project.ids();
    project.rewrite(&compose("two", "command: [sleep, \"1000\"]", "start-first", "rollback"));
    let ended = project.run(&["up", "-d"]);
    ended.assert_refused(&["1 of its replicas failed, and 0 may", "going back to revision 1"]);
    assert_eq!(project.ids(), before, "nothing of the new ones is left, and the old ones were never touched");
    assert_eq!(history(&project), ["3 good", "2 rolled-back", "1 good"]);

    // One that works is rolled out whole, and taken back by hand.
    project.rewrite(&compose("three", "", "start-first", "rollback"));
    project.ok(&["up", "-d"]);
    assert_eq!(levels(&project), ["three", "three"]);
    assert_eq!(project.run(&["plan"]).code, Some(0));
    project.ok(&["rollback"]);
    assert_eq!(levels(&project), ["one", "one"]);
    project.ok(&["rollback", "--to", "4"]);
    assert_eq!(levels(&project), ["three", "three"]);
    project.run(&["rollback", "--to", "77"]).assert_refused(&["revision 77 of `rolledback` is not kept", "1 (good)"]);
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn an_update_that_fails_is_paused_and_goes_on_when_it_is_asked_again() {
    let project = Project::new(shared(), "paused", &compose("one", "", "stop-first", "pause"));
    project.ok(&["up", "-d"]);
    project.rewrite(&compose("two", "command: [\"false\"]", "stop-first", "pause"));
    project.run(&["up", "-d"]).assert_refused(&["the update of `web` is paused", "mcompose rollback"]);
    assert_eq!(project.spread("web").split(':').count(), 2, "one replica was not touched: {}", project.spread("web"));
    assert_eq!(history(&project), ["2 paused", "1 good"]);
    project.ok(&["rollback"]);
    assert_eq!(levels(&project), ["one", "one"]);
    project.rewrite(&compose("three", "", "stop-first", "pause"));
    project.ok(&["up", "-d"]);
    assert_eq!(levels(&project), ["three", "three"]);
    assert_eq!(history(&project), ["4 good", "3 good", "2 paused", "1 good"]);
    project.ok(&["down"]);
    project.assert_gone();
}

/// Two replicas without a healthcheck.
fn unchecked(level: &str, command: &str, action: &str) -> String {
    format!(
        "services:\n  web:\n    image: mcompose-demo:1\n    environment: {{LEVEL: {level}}}\n    {command}\n    \
         stop_grace_period: 0s\n    deploy: {{replicas: 2, update_config: {{monitor: 5s, failure_action: {action}}}}}\n"
    )
}

/// Runs for two seconds, so that it is running when somebody looks.
const CRASHES: &str = "command: [sh, -c, \"sleep 2; exit 1\"]";

/// Begins an update and leaves the rest of it to whoever supervises.
fn begun(project: &Project, compose: &str) {
    let revisions = history(project).len();
    project.rewrite(compose);
    let up = project.start(&["up", "-d"]);
    wait_until("the update is under way", || up.stderr().contains("watch") || history(project).len() > revisions);
    up.interrupt();
    up.wait();
}

#[test]
fn an_update_that_a_supervisor_goes_on_with_is_paused_or_taken_back_by_it() {
    let fleet = own(2);
    let paused = Project::new(&fleet, "stuck", &unchecked("one", "", "pause"));
    let back = Project::new(&fleet, "takenback", &unchecked("one", "", "rollback"));
    paused.ok(&["up", "-d"]);
    back.ok(&["up", "-d"]);
    let supervisor = paused.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));

    begun(&back, &unchecked("two", CRASHES, "rollback"));
    begun(&paused, &unchecked("two", CRASHES, "pause"));
    wait_until("the update is paused", || history(&paused) == ["2 paused", "1 good"]);
    wait_until("the other one is taken back", || history(&back) == ["3 good", "2 rolled-back", "1 good"]);
    assert_eq!(levels(&back), ["one", "one"]);

    // The one that was not updated goes on, and comes back as it was when it dies.
    let old = || {
        let all = fleet.hosts.iter().flat_map(|host| host.containers_of(&paused.name).into_iter().map(move |name| (host, name)));
        let seen = all.map(|(host, name)| (host, host.get(&format!("/containers/{name}/json")), name));
        let is_old = |seen: &Value| seen["Config"]["Env"].to_string().contains("LEVEL=one") && seen["State"]["Running"] == true;
        seen.filter(|(_, seen, _)| is_old(seen)).map(|(host, _, name)| (host, name)).next()
    };
    let (host, name) = old().expect("one replica was not touched");
    host.api("POST", &format!("/containers/{name}/kill"), None);
    wait_until("the old one runs again", || old().is_some_and(|(_, again)| again == name));
    assert_eq!(history(&paused), ["2 paused", "1 good"]);
    assert!(supervisor.stdout().contains("the update of web is paused"), "{}", supervisor.stdout());

    // What a supervisor finishes is good.
    begun(&paused, &unchecked("three", "", "pause"));
    wait_until("the update is done", || history(&paused) == ["3 good", "2 paused", "1 good"]);
    assert_eq!(levels(&paused), ["three", "three"]);
}

/// `asker` asks `web` by name all the while, one request after the other, from a host that has none of its replicas; and notes with the
/// machine's uptime whom the name stands for.
fn asked(level: &str) -> String {
    format!(
        "services:\n  web:\n    image: mcompose-demo:1\n    environment: {{LEVEL: {level}}}\n    healthcheck: \
         {{test: [CMD, demo, get, \"http://127.0.0.1/health\"], interval: 300ms, retries: 3}}\n    deploy:\n      replicas: 3\n      \
         update_config: {{order: start-first, monitor: 1s}}\n      placement: {{constraints: [node.hostname != h3]}}\n  asker:\n    \
         image: mcompose-demo:1\n    depends_on: {{web: {{condition: service_healthy}}}}\n    command: [sh, -c, \"while :; do read -r \
         up rest </proc/uptime; echo $$up $$(nslookup web) >>/tmp/known; done & while :; do demo any http://web/ >/dev/null \
         2>>/tmp/failed || true; echo >>/tmp/asked; done\"]\n    stop_grace_period: 0s\n    deploy: {{placement: \
         {{constraints: [node.hostname == h3]}}}}\n"
    )
}

/// Id and address of each replica of `web`.
fn addresses(project: &Project) -> Vec<(String, String)> {
    let replica = |number| {
        let seen = project.inspect(&format!("web-{number}"));
        let networks = seen["NetworkSettings"]["Networks"].as_object().and_then(|networks| networks.values().next().cloned());
        let address = networks.unwrap_or_default()["IPAddress"].as_str().expect("it has an address").to_owned();
        (seen["Id"].as_str().expect("it has an id").to_owned(), address)
    };
    (1..=3).map(replica).collect()
}

/// When a container was told to end, in seconds of the machine's uptime.
fn told_to_end(project: &Project, id: &str) -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_secs_f64();
    let uptime = fs::read_to_string("/proc/uptime").expect("the kernel tells");
    let uptime: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    let path = format!("/events?since=0&until={}", now.ceil());
    let told: Vec<String> = project.fleet.hosts.iter().map(|host| host.api("GET", &path, None).text()).collect();
    let events = told.iter().flat_map(|told| told.lines()).filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let kill = events.into_iter().find(|event| event["id"] == id && event["Action"] == "kill").expect("it was told to end");
    uptime - now + kill["timeNano"].as_f64().expect("a time") / 1e9
}

#[test]
fn who_asks_a_service_by_name_while_it_is_updated_start_first_sees_no_error() {
    let fleet = own(3);
    let project = Project::new(&fleet, "asked", &asked("one"));
    project.ok(&["up", "-d"]);
    let asked_so_far = || project.exec("asker-1", &["sh", "-c", "wc -l </tmp/asked"]).1.trim().parse::<u32>().unwrap_or_default();
    wait_until("it is asked", || asked_so_far() > 0);
    let old = addresses(&project);
    project.rewrite(&asked("two"));
    let before = asked_so_far();
    project.ok(&["up", "-d"]);
    assert_eq!(levels(&project), ["two", "two", "two"]);
    // Each old replica's name was gone before it was told to end: without that, chance alone would often see no error.
    let known = project.exec("asker-1", &["cat", "/tmp/known"]).1;
    for (id, address) in old {
        let is_known = |line: &&str| line.split(' ').any(|word| word == address);
        let last = known.lines().rfind(is_known).and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
        let (last, stopped) = (last.expect("it was known by its name"), told_to_end(&project, &id));
        assert!(last < stopped - 0.1, "{address} was known at {last}, and told to end at {stopped}");
    }

    let requests = asked_so_far() - before;
    let failed = project.exec("asker-1", &["sort", "/tmp/failed"]).1;
    assert!(requests > 50, "{requests} requests only");
    assert_eq!(failed, "", "of {requests} requests");
}

/// Four replicas, watched for long enough that somebody can say something meanwhile.
fn slow(level: &str) -> String {
    format!(
        "services:\n  web:\n    image: mcompose-demo:1\n    environment: {{LEVEL: {level}}}\n    stop_grace_period: 0s\n    deploy: \
         {{replicas: 4, update_config: {{monitor: 3s}}}}\n"
    )
}

#[test]
fn an_update_that_somebody_pauses_stands_still_until_somebody_goes_on_with_it() {
    let fleet = own(2);
    let project = Project::new(&fleet, "held", &slow("one"));
    project.ok(&["up", "-d"]);
    project.run(&["pause", "--update"]).assert_refused(&["revision 1 is good"]);
    project.rewrite(&slow("two"));
    let up = project.start(&["up", "-d"]);
    wait_until("the update is under way", || history(&project).len() == 2);
    project.ok(&["pause", "--update"]).assert_says(&["the update to revision 2 is paused", "unpause --update"]);
    up.wait().assert_says(&["the update is paused"]);
    assert_eq!(history(&project), ["2 paused", "1 good"]);
    let left = || levels(&project).iter().filter(|level| *level == "one").count();
    let before = left();
    assert!(before > 0, "it is paused in the middle");

    // A supervisor holds it too.
    let supervisor = project.start(&["supervise", "--format", "json"]);
    wait_until("the supervisor leads", || supervisor.stdout().contains(r#""what":"leads""#));
    wait_until("it says so", || supervisor.stdout().contains("the update of web is paused"));
    assert_eq!(left(), before, "nothing is replaced");

    project.ok(&["unpause", "--update"]).assert_says(&["goes on with the update to revision 2"]);
    wait_until("it is done", || history(&project) == ["2 good", "1 good"]);
    assert_eq!(levels(&project), ["two", "two", "two", "two"]);
    project.run(&["unpause", "--update"]).assert_refused(&["revision 2 is good"]);
}
