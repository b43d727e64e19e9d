//! The folders of compose-examples on three real engines over SSH, sshd's limits as they come.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{FleetHost, wait_until};
use crate::program::{Project, shared};

#[test]
fn the_shop_is_twelve_replicas_that_know_each_other_on_every_host_and_leaves_nothing() {
    let shop = Project::example(shared(), "shop");
    shop.ok(&["up", "-d"]);

    let running = shop.running();
    assert_eq!(running.len(), 12, "{running:?}");
    for host in &shop.fleet.hosts {
        let here = running.values().filter(|name| **name == host.name).count();
        assert_eq!(here, 4, "twelve over three hosts: {running:?}");
    }
    every_service_answers_on_every_host(&shop, &["web", "api", "queue", "worker"]);
    let (code, answer) = shop.ask("web-1", "http://web/");
    assert_eq!(code, 0, "{answer}");
    let chain: Vec<&str> = answer.lines().map(|line| line.split(" on ").next().unwrap_or_default()).collect();
    assert_eq!(chain, ["web", "  api", "    queue"], "one asks the next by name: {answer}");

    let ids = shop.ids();
    assert_eq!(shop.run(&["plan"]).code, Some(0), "plan says that nothing would change");
    shop.ok(&["up", "-d"]);
    assert_eq!(shop.ids(), ids, "a second up touches nothing");

    let ps = shop.ok(&["ps"]).stdout;
    for (name, host) in &running {
        let line = ps.lines().find(|line| line.split_whitespace().next() == Some(name.as_str()));
        let line = line.unwrap_or_else(|| panic!("{name} is not in ps:\n{ps}"));
        assert!(line.split_whitespace().any(|word| word == host), "{name} is on {host}, ps says: {line}");
    }

    scale(&shop, 7, 14);
    scale(&shop, 5, 12);
    let kept = shop.ids();
    assert!(ids.iter().all(|(name, id)| kept.get(name) == Some(id)), "scaling up and down kept the first twelve");

    let logs = shop.start(&["logs", "-f", "--no-color", "worker"]);
    wait_until("logs -f shows all three workers", || (1..=3).all(|number| logs.stdout().contains(&format!("worker-{number}"))));
    let (code, answer) = shop.exec("web-1", &["wget", "-q", "-O-", "--post-data=parcel", "http://queue/jobs"]);
    assert_eq!(code, 0, "{answer}");
    wait_until("a job that a worker did is followed", || logs.stdout().contains("did parcel"));
    logs.interrupt();
    logs.wait();

    shop.ok(&["down", "-v"]);
    shop.assert_gone();
}

fn every_service_answers_on_every_host(project: &Project<'_>, services: &[&str]) {
    let running = project.running();
    for host in &project.fleet.hosts {
        let from = running.iter().find(|(_, on)| **on == host.name).map(|(name, _)| name).expect("something runs on every host");
        for service in services {
            let (code, answer) = host.exec(from, &["demo", "get", &format!("http://{service}/")]);
            assert_eq!(code, 0, "{from} on {} asks for {service}: {answer}", host.name);
            assert!(answer.starts_with(&format!("{service} on ")), "{service} answers: {answer}");
        }
    }
}

fn scale(shop: &Project<'_>, web: usize, all: usize) {
    shop.ok(&["scale", &format!("web={web}")]);
    assert_eq!(shop.running().len(), all, "after scale web={web}");
}

#[test]
fn six_replicas_are_spread_evenly() {
    let project = Project::example(shared(), "replicas");
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("hello"), "h1:2 h2:2 h3:2");
    project.ok(&["scale", "hello=9"]);
    assert_eq!(project.spread("hello"), "h1:3 h2:3 h3:3");
    project.ok(&["down"]);
    project.assert_gone();
}

#[test]
fn a_counter_stays_with_its_volume() {
    let project = Project::example(shared(), "counter");
    let count = || project.ask("reader-1", "http://counter/count");
    project.ok(&["up", "-d"]);
    let home = project.spread("counter");
    assert_eq!(count(), (0, "42\n".to_owned()));
    project.ok(&["up", "-d", "--force-recreate"]);
    assert_eq!(project.spread("counter"), home);
    assert_eq!(count(), (0, "43\n".to_owned()));
    project.ok(&["down"]);
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("counter"), home, "the counter returns to its data");
    assert_eq!(count(), (0, "44\n".to_owned()));
    project.ok(&["down", "-v"]);
    project.assert_gone();
}

#[test]
fn labels_decide_and_an_agent_is_everywhere() {
    let project = Project::example(shared(), "zones");
    project.ok(&["up", "-d"]);
    assert_eq!(project.spread("agent"), "h1:1 h2:1 h3:1");
    assert_eq!(project.spread("cache"), "h1:1 h3:1", "zone a, once per host");
    assert_eq!(project.spread("api"), "h1:1 h2:2 h3:1", "two in each zone");
    for host in &project.fleet.hosts {
        let answer = published(host, 9100);
        assert!(answer.contains("agent on "), "port 9100 of {} answers: {answer}", host.name);
    }
    project.ok(&["down"]);
    project.assert_gone();
}

fn published(host: &FleetHost, port: u16) -> String {
    let mut stream = TcpStream::connect((host.address.as_str(), port)).expect("the port is published");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
