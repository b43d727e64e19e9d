//! `mcompose hosts …` on real engines.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "tests measure, and tell what they measured")]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::future::BoxFuture;
use mcompose::apply::{Limits, Outcome, apply};
use mcompose::cli::hosts::{self, HostsVerb, InventoryFile, Stage};
use mcompose::engine::{Engines, docker};
use mcompose::plan::Plan;
use mcompose::project::Host;
use mcompose::transport::LinkOptions;
use serde_json::Value;
use tokio::sync::watch;

use crate::harness::Fleet;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    verb: HostsVerb,
}

#[derive(Default)]
struct Heard {
    data: Mutex<Vec<String>>,
}

impl Stage for Heard {
    fn data(&self, text: &str) {
        self.data.lock().expect("nobody panicked").push(text.to_owned());
    }

    fn table(&self, _: &[&str], rows: &[Vec<String>]) {
        rows.iter().for_each(|row| eprintln!("{}", row.join(" | ")));
    }

    fn note(&self, text: &str) {
        eprintln!("note: {text}");
    }

    fn carry_out<'a>(
        &'a self,
        engines: &'a Engines,
        plan: &'a Plan,
        _stop: Option<watch::Receiver<bool>>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let (events, _) = tokio::sync::mpsc::unbounded_channel();
            let (_stop, interrupt) = watch::channel(false);
            let outcome = apply(engines, plan, &Limits::default(), &Default::default(), events, interrupt).await;
            outcome.failures().for_each(|failure| eprintln!("{failure:?}"));
            outcome
        })
    }
}

/// Types a command line on the fleet's inventory; returns whether all was well, and the JSON that was printed.
async fn type_in(fleet: &Fleet, line: &str) -> (bool, Value) {
    let path = fleet.inventory_tcp();
    let text = std::fs::read_to_string(&path).expect("the fleet wrote it");
    let file = InventoryFile { path, text };
    let inventory = file.meaning_of(&file.text).unwrap_or_else(|error| panic!("{error}"));
    let options = LinkOptions { home: fleet.home(), user: "root".to_owned(), connect_timeout: Duration::from_secs(3) };
    let open =
        move |hosts: &[Host]| -> Engines { hosts.iter().map(|host| (host.name.clone(), docker::open(host, &options))).collect() };
    let world = hosts::Fleet::new(inventory, Some(file), Box::new(open));
    let heard = Heard::default();
    let verb = Line::try_parse_from(std::iter::once("hosts").chain(line.split(' '))).expect("a good command line").verb;
    let begun = Instant::now();
    let good = hosts::run(&verb, &world, &heard).await.unwrap_or_else(|error| panic!("{line}: {error}: {:?}", error.hint()));
    eprintln!("measured: hosts {line}: {:.2} s", begun.elapsed().as_secs_f64());
    let data = heard.data.into_inner().expect("nobody panicked").concat();
    (good, serde_json::from_str(&data).unwrap_or_default())
}

/// `name role state` of every host.
fn listed(rows: &Value) -> Vec<String> {
    let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = rows.as_array().expect("a list");
    rows.iter().map(|row| ["name", "role", "state"].map(|key| word(row, key)).join(" ").replace("leader", "manager")).collect()
}

/// What `check` finds bad.
fn bad(findings: &Value) -> Vec<String> {
    let findings = findings.as_array().expect("a list");
    let bad = findings.iter().filter(|finding| finding["grade"] == "bad");
    bad.map(|finding| format!("{} {}: {}", finding["host"], finding["subject"], finding["text"])).collect()
}

#[tokio::test]
async fn hosts_are_checked_joined_added_and_taken_out() {
    let fleet = Fleet::start(4);
    let all = std::fs::read_to_string(fleet.inventory_tcp()).expect("the fleet wrote it");
    let fourth = all.find("[hosts.h4]").expect("there are four");
    std::fs::write(fleet.inventory_tcp(), format!("# The fleet.\n{}", &all[..fourth])).expect("it is the test's own");

    let (good, findings) = type_in(&fleet, "check --format json").await;
    assert_eq!(bad(&findings), Vec::<String>::new());
    assert!(good);
    assert!(type_in(&fleet, "init").await.0);
    let (_, rows) = type_in(&fleet, "ls --format json").await;
    assert_eq!(listed(&rows), ["h1 manager ready", "h2 manager ready", "h3 manager ready"]);
    assert!(rows[0]["cpus"].as_u64() > Some(0) && rows[0]["memory_bytes"].as_u64() > Some(0), "{rows}");

    let address = fleet.host("h4").address.clone();
    assert!(type_in(&fleet, &format!("add h4 tcp://{address}:2375 -l zone=b")).await.0);
    assert!(type_in(&fleet, "rm h2").await.0);
    let (_, rows) = type_in(&fleet, "ls --format json").await;
    assert_eq!(listed(&rows), ["h1 manager ready", "h3 manager ready", "h4 manager ready"]);
    let text = std::fs::read_to_string(fleet.inventory_tcp()).expect("the fleet wrote it");
    assert!(text.starts_with("# The fleet.\n") && text.contains("zone = \"b\"") && !text.contains("h2"), "{text}");
    let (good, findings) = type_in(&fleet, "check --format json").await;
    assert_eq!(bad(&findings), Vec::<String>::new());
    assert!(good);

    fleet.host("h4").crash();
    let (good, findings) = type_in(&fleet, "check --format json").await;
    assert!(!good);
    assert!(bad(&findings).iter().any(|line| line.starts_with("\"h4\" \"reach\"")), "{findings}");
    assert!(type_in(&fleet, "rm h4 --force").await.0);
    let (_, rows) = type_in(&fleet, "ls --format json").await;
    assert_eq!(listed(&rows), ["h1 manager ready", "h3 worker ready"]);
}
