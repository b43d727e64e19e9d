//! `mcompose hosts …` on hosts in memory: what is said, what becomes of hosts.toml and of the swarm.
#![expect(clippy::disallowed_methods, reason = "the verbs edit a file, so the tests look into it")]

mod deployed;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser;
use deployed::{mount, planned, shop};
use futures_util::future::BoxFuture;
use insta::assert_snapshot;
use mcompose::apply::{Limits, Outcome, apply};
use mcompose::cli::hosts::{Fleet, HostsVerb, InventoryFile, Stage, run};
use mcompose::cluster::Probes;
use mcompose::engine::Engines;
use mcompose::engine::fake::Fake;
use mcompose::inventory::Inventory;
use mcompose::plan::Plan;
use mcompose::project::{Address, Project, Service};
use tokio::sync::watch;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    verb: HostsVerb,
}

/// Remembers what was said.
#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
}

impl Heard {
    fn hear(&self, line: String) {
        self.lines.lock().expect("nobody panicked").push(line);
    }
}

impl Stage for Heard {
    fn data(&self, text: &str) {
        self.hear(text.to_owned());
    }

    fn table(&self, headings: &[&str], rows: &[Vec<String>]) {
        self.hear(headings.join(" | "));
        rows.iter().for_each(|row| self.hear(row.join(" | ")));
    }

    fn note(&self, text: &str) {
        self.hear(format!("note: {text}"));
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
            self.hear(format!("{} steps", plan.steps.len()));
            apply(engines, plan, &Limits::default(), &Default::default(), events, interrupt).await
        })
    }
}

/// A hosts.toml on disk over hosts in memory.
struct Desk {
    path: PathBuf,
    fake: Fake,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Desk {
    /// Lists the first hosts of h1 to h4, at the addresses that the fake gives them.
    fn with(listed: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mcompose-hosts-{}-{number}.toml", std::process::id()));
        let entry = |number: usize| format!("[hosts.h{number}] # number {number}\naddress = \"ssh://10.0.0.{}\"\n", number + 1);
        std::fs::write(&path, (1..=listed).map(entry).collect::<Vec<_>>().join("\n")).expect("a temporary file");
        Self { path, fake: Fake::new(&["h1", "h2", "h3", "h4"]) }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).expect("the inventory is there")
    }

    /// What a command line leads to, with the file's name made the same in every run.
    async fn type_in(&self, line: &str) -> String {
        let file = InventoryFile { path: self.path.clone(), text: self.text() };
        let inventory = file.meaning_of(&file.text).expect("a good inventory");
        let fake = self.fake.clone();
        let open = move |hosts: &[mcompose::project::Host]| -> Engines {
            let named = |name: &str| hosts.iter().any(|host| host.name.as_str() == name);
            fake.engines().into_iter().filter(|(name, _)| named(name.as_str())).collect()
        };
        let mut fleet = Fleet::new(inventory, Some(file), Box::new(open));
        fleet.probe = Box::new(|_, _, _| Box::pin(async { Probes::new() }));
        let heard = Heard::default();
        let words = std::iter::once("hosts").chain(line.split(' '));
        let verb = Line::try_parse_from(words).expect("a good command line").verb;
        let end = match run(&verb, &fleet, &heard).await {
            Ok(true) => None,
            Ok(false) => Some("not as it should be".to_owned()),
            Err(error) => Some(error.excerpts(false).unwrap_or_else(|| {
                let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                format!("error: {error}{hint}")
            })),
        };
        let mut lines = heard.lines.into_inner().expect("nobody panicked");
        lines.extend(end);
        lines.join("\n").replace(&self.path.display().to_string(), "hosts.toml")
    }
}

#[tokio::test]
async fn hosts_are_made_one_swarm_and_listed() {
    let desk = Desk::with(3);
    assert_snapshot!(desk.type_in("ls").await, @r"
    NAME | ADDRESS | ROLE | AVAILABILITY | STATE | ENGINE | CPUS | MEMORY | REPLICAS
    h1 | ssh://10.0.0.2 | - | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h2 | ssh://10.0.0.3 | - | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h3 | ssh://10.0.0.4 | - | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    ");
    assert_snapshot!(desk.type_in("init").await, @"3 steps");
    assert_snapshot!(desk.type_in("init").await, @"note: the hosts are in one swarm already");
    desk.fake.host("h2").cut();
    assert_snapshot!(desk.type_in("ls").await, @r"
    NAME | ADDRESS | ROLE | AVAILABILITY | STATE | ENGINE | CPUS | MEMORY | REPLICAS
    h1 | ssh://10.0.0.2 | manager | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h2 | ssh://10.0.0.3 | - | active | unreachable | - | - | - | -
    h3 | ssh://10.0.0.4 | leader | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    note: h2: no route to host
    ");
    assert_snapshot!(desk.type_in("ls -q").await, @r"
    h1
    h2
    h3
    ");
}

#[tokio::test]
async fn a_host_is_added_and_joins() {
    let desk = Desk::with(3);
    desk.type_in("init").await;
    assert_snapshot!(desk.type_in("add h4 ssh://10.0.0.5 --role worker -l zone=b").await, @r"
    1 steps
    note: host `h4` is in hosts.toml
    ");
    assert_snapshot!(desk.text(), @r#"
    [hosts.h1] # number 1
    address = "ssh://10.0.0.2"

    [hosts.h2] # number 2
    address = "ssh://10.0.0.3"

    [hosts.h3] # number 3
    address = "ssh://10.0.0.4"

    [hosts.h4]
    address = "ssh://10.0.0.5"
    role = "worker"
    labels = { zone = "b" }
    "#);
    assert_snapshot!(desk.type_in("ls").await, @r"
    NAME | ADDRESS | ROLE | AVAILABILITY | STATE | ENGINE | CPUS | MEMORY | REPLICAS
    h1 | ssh://10.0.0.2 | manager | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h2 | ssh://10.0.0.3 | manager | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h3 | ssh://10.0.0.4 | leader | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h4 | ssh://10.0.0.5 | worker | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    ");
    assert_snapshot!(desk.type_in("add h4 ssh://10.0.0.5").await, @"error: there is a host `h4` in the inventory already");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_not_added_unless_that_is_wanted() {
    let desk = Desk::with(2);
    desk.fake.host("h3").cut();
    let before = desk.text();
    assert_snapshot!(desk.type_in("add h3 ssh://10.0.0.4").await, @r"
    error: host `h3` does not answer: no route to host
    hint: `mcompose hosts check h3` tells more; --force goes on without it
    ");
    assert_eq!(desk.text(), before);
    assert_snapshot!(desk.type_in("add h3 ssh://10.0.0.4 --force").await, @"note: host `h3` is in hosts.toml");
    assert!(desk.text().contains("[hosts.h3]"));
}

#[tokio::test]
async fn the_first_host_begins_the_file() {
    let desk = Desk::with(1);
    std::fs::remove_file(&desk.path).expect("it was written");
    let fake = desk.fake.clone();
    let mut fleet =
        Fleet::new(Inventory::of_one(Address::Unix { path: "/run/x".to_owned() }), None, Box::new(move |_| fake.engines()));
    fleet.begins = desk.path.clone();
    let verb = Line::try_parse_from(["hosts", "add", "h1", "ssh://10.0.0.2"]).expect("a good command line").verb;
    assert!(run(&verb, &fleet, &Heard::default()).await.expect("it is added"));
    assert_eq!(desk.text(), "[hosts.h1]\naddress = \"ssh://10.0.0.2\"\n");
    let verb = Line::try_parse_from(["hosts", "rm", "h1"]).expect("a good command line").verb;
    let error = run(&verb, &fleet, &Heard::default()).await.expect_err("there was no file");
    assert_eq!(error.to_string(), "there is no inventory to change: the local engine is the one host");
}

#[tokio::test]
async fn a_host_that_cannot_be_is_not_added() {
    let desk = Desk::with(2);
    let before = desk.text();
    assert_snapshot!(desk.type_in("add h3 ssh://10.0.0.3").await, @r#"
    error: hosts `h2` and `h3` have one address
     --> hosts.toml:8:11
      |
    5 | address = "ssh://10.0.0.3"
      |           ---------------- first here
    ...
    8 | address = "ssh://10.0.0.3"
      |           ^^^^^^^^^^^^^^^^ `ssh://10.0.0.3` again
      |
      = hint: a host is listed once; for one engine under two names use labels
    "#);
    assert_snapshot!(desk.type_in("add h3 10.0.0.4").await, @r#"
    error: `10.0.0.4` has no scheme: an address is ssh://, tcp:// or unix://
     --> hosts.toml:8:11
      |
    8 | address = "10.0.0.4"
      |           ^^^^^^^^^^
      |
      = hint: `ssh://10.0.0.4`?
    "#);
    assert_snapshot!(desk.type_in("add h3 unix:///run/docker.sock").await, @r"
    error: the address at which other hosts reach `h3` is not known: `unix:///run/docker.sock` is an address of this machine only
    hint: set `advertise` of that host to its address in the network that all hosts share
    ");
    assert_eq!(desk.text(), before);
}

#[tokio::test]
async fn a_host_is_taken_out_and_leaves() {
    let desk = Desk::with(3);
    desk.type_in("init").await;
    assert_snapshot!(desk.type_in("rm h2").await, @r"
    4 steps
    note: host `h2` is no more in hosts.toml
    ");
    assert_snapshot!(desk.text(), @r#"
    [hosts.h1] # number 1
    address = "ssh://10.0.0.2"

    [hosts.h3] # number 3
    address = "ssh://10.0.0.4"
    "#);
    assert_snapshot!(desk.type_in("ls").await, @r"
    NAME | ADDRESS | ROLE | AVAILABILITY | STATE | ENGINE | CPUS | MEMORY | REPLICAS
    h1 | ssh://10.0.0.2 | leader | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h3 | ssh://10.0.0.4 | worker | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    ");
    assert_snapshot!(desk.type_in("rm h7").await, @"error: there is no host `h7` in the inventory; did you mean `h1`?");
}

#[tokio::test]
async fn a_lost_host_is_taken_out_by_force() {
    let desk = Desk::with(3);
    desk.type_in("init").await;
    desk.fake.host("h3").crash();
    assert_snapshot!(desk.type_in("rm h3").await, @r"
    error: host `h3` does not answer: connection timed out
    hint: `mcompose hosts check h3` tells more; --force goes on without it
    ");
    assert_snapshot!(desk.type_in("rm h3 --force").await, @r"
    3 steps
    note: host `h3` is no more in hosts.toml
    ");
    assert_snapshot!(desk.type_in("check").await, @r"
    HOST | CHECK |  | FOUND
    h1 | reach | ok | ssh://10.0.0.2 answers
    h1 | engine | ok | 20.10.24 on linux/amd64
    h1 | api | ok | 1.41 (the engine's least is 1.12)
    h1 | clock | ok | +0.0 s from this machine's
    h1 | swarm | ok | manager at 10.0.0.2
    h2 | reach | ok | ssh://10.0.0.3 answers
    h2 | engine | ok | 20.10.24 on linux/amd64
    h2 | api | ok | 1.41 (the engine's least is 1.12)
    h2 | clock | ok | +0.0 s from this machine's
    h2 | swarm | ok | worker at 10.0.0.3
    - | cluster | ok | 2 of 2 hosts are in the swarm, managers: 1
    ");
}

#[tokio::test]
async fn a_swarm_that_lost_most_of_its_managers_is_recovered() {
    let desk = Desk::with(4);
    desk.type_in("init").await;
    assert_snapshot!(desk.type_in("recover").await, @"note: the swarm has a leader: there is nothing to recover");
    desk.fake.host("h1").crash();
    desk.fake.host("h2").crash();
    assert_snapshot!(desk.type_in("recover").await, @r"
    1 steps
    note: the swarm goes on without h1, h2: they manage again when they are back; `hosts rm --force` takes out what does not come back
    ");
    assert_snapshot!(desk.type_in("ls").await, @r"
    NAME | ADDRESS | ROLE | AVAILABILITY | STATE | ENGINE | CPUS | MEMORY | REPLICAS
    h1 | ssh://10.0.0.2 | - | active | unreachable | - | - | - | -
    h2 | ssh://10.0.0.3 | - | active | unreachable | - | - | - | -
    h3 | ssh://10.0.0.4 | leader | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    h4 | ssh://10.0.0.5 | worker | active | ready | 20.10.24 | 8 | 16.0 GiB | 0
    note: h1: connection timed out
    note: h2: connection timed out
    ");
    desk.fake.host("h1").boot();
    assert_snapshot!(desk.type_in("recover").await, @"note: the swarm has a leader: there is nothing to recover");
}

#[tokio::test]
async fn availability_and_labels_are_noted_beside_the_comments() {
    let desk = Desk::with(2);
    assert_snapshot!(desk.type_in("pause h1 h2").await, @r"
    note: host `h1`: pause
    note: host `h2`: pause
    ");
    assert_snapshot!(desk.type_in("activate h2").await, @"note: host `h2`: active");
    assert_snapshot!(desk.type_in("label h1 zone=a gpu=no").await, @"note: labels of `h1`: gpu=no, zone=a");
    assert_snapshot!(desk.type_in("label h1 gpu-").await, @"note: labels of `h1`: zone=a");
    assert_snapshot!(desk.text(), @r#"
    [hosts.h1] # number 1
    address = "ssh://10.0.0.2"
    availability = "pause"
    labels = { zone = "a" }

    [hosts.h2] # number 2
    address = "ssh://10.0.0.3"
    availability = "active"
    "#);
    assert_snapshot!(desk.type_in("drain h3").await, @"error: there is no host `h3` in the inventory; did you mean `h1`?");
}

impl Desk {
    /// Brings a project of so many web replicas up, as `mcompose up -d` does.
    async fn deploy(&self, replicas: u32) {
        let service = Service { image: Some("demo".to_owned()), scale: Some(replicas), ..Service::default() };
        self.deploy_project(&shop(&[("web", service)], &[])).await;
    }

    async fn deploy_project(&self, project: &Project) {
        let file = InventoryFile { path: self.path.clone(), text: self.text() };
        let inventory = file.meaning_of(&file.text).expect("a good inventory");
        let plan = planned(&self.fake, &inventory, project).await;
        let outcome = Heard::default().carry_out(&self.fake.engines(), &plan, None).await;
        assert!(outcome.is_success(), "{outcome:?}");
    }

    fn replicas(&self) -> String {
        let on = |host: &str| self.fake.host(host).containers().iter().filter(|c| c.state.is_up()).count();
        ["h1", "h2", "h3"].map(|host| format!("{host}: {}", on(host))).join(", ")
    }
}

#[tokio::test]
async fn a_drained_host_gives_its_replicas_to_the_others() {
    let desk = Desk::with(3);
    desk.type_in("init").await;
    desk.deploy(6).await;
    assert_eq!(desk.replicas(), "h1: 2, h2: 2, h3: 2");
    assert_snapshot!(desk.type_in("rm h2").await, @r"
    error: host `h2` has 2 running replicas
    hint: move them with `mcompose hosts drain h2` first, or leave them to their fate with --force
    ");
    assert_snapshot!(desk.type_in("drain h2").await, @r"
    note: host `h2`: drain
    15 steps
    ");
    assert_eq!(desk.replicas(), "h1: 3, h2: 0, h3: 3");
    assert!(desk.text().contains("availability = \"drain\""));
    assert_snapshot!(desk.type_in("drain h2").await, @"note: host `h2`: drain");
    assert_snapshot!(desk.type_in("rm h2").await, @r"
    4 steps
    note: host `h2` is no more in hosts.toml
    ");
}

#[tokio::test]
async fn a_host_that_takes_replicas_again_gets_its_share_when_asked_for() {
    let desk = Desk::with(3);
    desk.type_in("init").await;
    desk.deploy(6).await;
    desk.type_in("drain h2").await;
    assert_snapshot!(desk.type_in("rebalance").await, @"note: no move would make the hosts' loads more even");
    assert_snapshot!(desk.type_in("rebalance shpo").await, @r"
    error: there is no project `shpo` on these hosts; did you mean `shop`?
    hint: `mcompose ls` shows which there are
    ");
    desk.type_in("activate h2").await;
    assert_snapshot!(desk.type_in("rebalance").await, @r"
    PROJECT | REPLICA | FROM | TO
    shop | web.5 | h3 | h2
    shop | web.6 | h1 | h2
    note: shop: hosts have 0 to 3 replicas, with these moves 2 to 2
    note: nothing was moved; `--apply` does
    ");
    assert_eq!(desk.replicas(), "h1: 3, h2: 0, h3: 3");
    assert_snapshot!(desk.type_in("rebalance --apply --max 1").await, @r"
    PROJECT | REPLICA | FROM | TO
    shop | web.6 | h1 | h2
    note: shop: hosts have 0 to 3 replicas, with these moves 1 to 3
    8 steps
    ");
    assert_eq!(desk.replicas(), "h1: 2, h2: 1, h3: 3");
    let said = desk.type_in("rebalance --apply --format json").await;
    let said: serde_json::Value = serde_json::from_str(said.lines().next().expect("a line")).expect("it is JSON");
    assert_eq!(said[0]["Moves"], serde_json::json!([{ "Slot": "web.5", "From": "h3", "To": "h2" }]));
    assert_eq!(desk.replicas(), "h1: 2, h2: 2, h3: 2");
}

#[tokio::test]
async fn what_fits_nowhere_else_is_said() {
    let desk = Desk::with(2);
    desk.type_in("init").await;
    desk.deploy(2).await;
    desk.type_in("pause h2").await;
    let said = desk.type_in("drain h1").await;
    assert!(said.contains("fits nowhere"), "{said}");
    assert!(said.ends_with("note: 1 replicas are still on `h1`\nnot as it should be"), "{said}");
}

#[tokio::test]
async fn what_stays_on_a_drained_host_is_said_with_the_reason() {
    let desk = Desk::with(2);
    desk.type_in("init").await;
    let service = Service { image: Some("demo".to_owned()), volumes: vec![mount("data")], ..Service::default() };
    desk.deploy_project(&shop(&[("web", service)], &["data"])).await;
    let host = if desk.replicas().starts_with("h1: 1") { "h1" } else { "h2" };
    let said = desk.type_in(&format!("drain {host}")).await.replace(host, "HOST");
    assert_snapshot!(said, @r"
    note: host `HOST`: drain
    0 steps
    note: web.1 of `shop`: it is held there: host `HOST` is drained, but volume `shop_data` lives there; `mcompose volume mv` takes a volume along
    note: 1 replicas are still on `HOST`
    not as it should be
    ");
}
