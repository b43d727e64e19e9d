//! Rolling updates on real engines: what fails is paused or taken back, and records say how far each came.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::program::{Project, shared};

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
