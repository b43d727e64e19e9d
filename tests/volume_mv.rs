//! `volume mv` on hosts in memory: whole moves, refusals, and moves that die after any call, and what then goes on or back.

mod deployed;

use std::collections::BTreeMap;
use std::sync::Mutex;

use deployed::{mount, planned, shop, store};
use futures_util::future::BoxFuture;
use insta::assert_snapshot;
use mcompose::apply::{Event, Limits, Outcome, StepEnd, apply};
use mcompose::cli::hosts::Stage;
use mcompose::cli::relocate::Relocating;
use mcompose::engine::fake::{Fake, Fault, FaultRule};
use mcompose::engine::{Engines, ErrorKind};
use mcompose::inventory::{Context, Inventory, parse};
use mcompose::plan::{Op, Plan};
use mcompose::project::{HostName, Project, ProjectName, Service};
use mcompose::world::keys;
use tokio::sync::watch;

const DATA: &str = "shop_data";
const LOGS: &str = "shop_logs";

/// What the database writes while its volume is copied the first time: one file is changed, one is new, one goes.
const BEFORE: &[(&str, &str)] = &[("base/changes", "one"), ("base/goes", "one"), ("stays", "one")];
const AFTER: &[(&str, &str)] = &[("base/changes", "two"), ("base/new", "two"), ("stays", "one")];

fn host(name: &str) -> HostName {
    HostName::new(name).expect("a good name")
}

fn contents(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

struct Town {
    fake: Fake,
    inventory: Inventory,
    said: Mutex<Vec<String>>,
    has_written: Mutex<bool>,
}

impl Stage for Town {
    fn data(&self, text: &str) {
        self.said.lock().expect("nobody panicked").push(text.to_owned());
    }

    fn table(&self, _headings: &[&str], _rows: &[Vec<String>]) {}

    fn note(&self, text: &str) {
        self.said.lock().expect("nobody panicked").push(format!("note: {text}"));
    }

    /// The database writes once the first copy is made, if it runs.
    fn carry_out<'a>(
        &'a self,
        engines: &'a Engines,
        plan: &'a Plan,
        _stop: Option<watch::Receiver<bool>>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let (events, mut told) = tokio::sync::mpsc::unbounded_channel();
            let (_stop, interrupt) = watch::channel(false);
            let cargo = Default::default();
            let limits = Limits::default();
            let walk = apply(engines, plan, &limits, &cargo, events, interrupt);
            tokio::pin!(walk);
            loop {
                tokio::select! {
                    biased;
                    Some(event) = told.recv() => {
                        if let Event::Ended { step, end: StepEnd::Done, .. } = event
                            && let Op::CopyVolume { in_use: true, from, name } = &plan.steps[step.0].op
                            && name == DATA
                        {
                            self.write(from.as_str());
                        }
                    }
                    outcome = &mut walk => {
                        let failures = outcome.failures().map(|(_, error, _)| format!("failed: {}: {error}: {}", error.host, error.message));
                        self.said.lock().expect("nobody panicked").extend(failures);
                        return outcome;
                    }
                }
            }
        })
    }
}

impl Town {
    /// Three hosts, and on the first a database with two volumes and a web service beside it.
    async fn new() -> Self {
        let fake = Fake::new(&["h1", "h2", "h3"]);
        let text: String = (1..=3).map(|n| format!("[hosts.h{n}]\naddress = \"ssh://10.0.0.{}\"\n", n + 1)).collect();
        let context = Context { folder: "/", home: None, exists: &|_| true };
        let inventory = parse("hosts.toml", &text, &context).expect("a good inventory");
        let engines = fake.engines();
        engines[&host("h1")].swarm_init("10.0.0.2").await.expect("a swarm begins");
        let token = engines[&host("h1")].join_token(mcompose::project::Role::Manager).await.expect("there is one");
        for (name, address) in [("h2", "10.0.0.3"), ("h3", "10.0.0.4")] {
            engines[&host(name)].swarm_join(address, "10.0.0.2:2377", &token).await.expect("it joins");
        }
        let town = Self { fake, inventory, said: Mutex::default(), has_written: Mutex::default() };
        // Placement goes where volumes are.
        [DATA, LOGS].iter().for_each(|volume| town.fake.host("h1").add_volume(volume));
        assert!(town.up(&town.project()).await);
        for (path, text) in BEFORE {
            town.fake.host("h1").write_file(DATA, path, Some(text.as_bytes()));
        }
        town.fake.host("h1").write_file(LOGS, "log", Some(b"lines"));
        assert_eq!(town.running("db"), ["h1"]);
        town
    }

    fn project(&self) -> Project {
        let service = || Service { image: Some("demo".to_owned()), ..Service::default() };
        let db = Service { volumes: vec![mount("data"), mount("logs")], ..service() };
        let web = Service { scale: Some(2), ..service() };
        shop(&[("db", db), ("web", web)], &["data", "logs"])
    }

    /// As `mcompose up -d` does it.
    async fn up(&self, project: &Project) -> bool {
        let plan = planned(&self.fake, &self.inventory, project).await;
        assert!(!plan.is_partial(), "{:?}", plan.notes);
        self.carry_out(&self.fake.engines(), &plan, None).await.is_success()
    }

    /// As `mcompose volume mv NAMES --to HOST` does it; what an error says, where it is refused.
    async fn mv(&self, names: &[&str], to: &str) -> Result<bool, String> {
        let moved = self.relocating(names, to, async |relocating| relocating.run("volume mv").await).await;
        moved.map_err(|error| {
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("{error}{hint}")
        })
    }

    async fn rehearse(&self, names: &[&str], to: &str) -> String {
        self.relocating(names, to, async |relocating| relocating.rehearse().await).await.expect("it can be moved");
        self.said.lock().expect("nobody panicked").join("")
    }

    async fn relocating<T>(&self, names: &[&str], to: &str, run: impl AsyncFnOnce(&Relocating<'_>) -> T) -> T {
        let engines = self.fake.engines();
        let (fabric, store) = store(&self.fake, &self.inventory);
        let volumes = names.iter().map(|name| (*name).to_owned()).collect();
        let project = ProjectName::new("shop").expect("a good name");
        let relocating = Relocating {
            inventory: &self.inventory,
            engines: &engines,
            fabric: &fabric,
            store: store.as_ref(),
            stage: self,
            project: &project,
            volumes: &volumes,
            to: &host(to),
        };
        run(&relocating).await
    }

    fn write(&self, from: &str) {
        let containers = self.fake.host(from).containers();
        let runs = containers.iter().any(|container| container.name == "shop-db-1" && container.state.is_up());
        if runs {
            *self.has_written.lock().expect("nobody panicked") = true;
            let on = self.fake.host(from);
            on.write_file(DATA, "base/goes", None);
            AFTER.iter().for_each(|(path, text)| on.write_file(DATA, path, Some(text.as_bytes())));
        }
    }

    /// What the database wrote last.
    fn truth(&self) -> BTreeMap<String, Vec<u8>> {
        contents(if *self.has_written.lock().expect("nobody panicked") { AFTER } else { BEFORE })
    }

    /// Hosts on which a replica of the service runs.
    fn running(&self, service: &str) -> Vec<&'static str> {
        let is_one = |name: &str| name.starts_with(&format!("shop-{service}-"));
        let runs = |host: &&str| self.fake.host(host).containers().iter().any(|c| is_one(&c.name) && c.state.is_up());
        ["h1", "h2", "h3"].into_iter().filter(runs).collect()
    }

    /// Where the volumes live by what a look tells, and what is in them there.
    fn lives(&self) -> Vec<(String, BTreeMap<String, Vec<u8>>)> {
        let world = self.fake.snapshot();
        let marks = world.moving();
        let mut lives = Vec::new();
        for volume in [DATA, LOGS] {
            for (name, seen) in world.seen_hosts() {
                let is_stale = marks.get(volume).is_some_and(|moving| moving.stale() == name);
                if !is_stale && seen.volumes.iter().any(|seen| seen.name == volume) {
                    lives.push((name.to_string(), self.fake.host(name.as_str()).files(volume)));
                }
            }
        }
        lives
    }

    /// Both volumes whole on this one host, the database with them, and nothing left over anywhere.
    fn assert_settled(&self, on: &str, what: &str) {
        let logs = contents(&[("log", "lines")]);
        assert_eq!(self.lives(), [(on.to_owned(), self.truth()), (on.to_owned(), logs)], "{what}");
        assert_eq!(self.running("db"), [on], "{what}");
        for name in ["h1", "h2", "h3"] {
            let (world, host) = (self.fake.snapshot(), self.fake.host(name));
            let volumes = world.seen(name).into_iter().flat_map(|seen| &seen.volumes);
            let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
            assert_eq!(names, if name == on { vec![DATA, LOGS] } else { vec![] }, "{what}: {name}");
            let carriers = host.containers().into_iter().filter(|c| c.labels.rest.contains_key(keys::CONTENT));
            assert_eq!(carriers.count(), 0, "{what}: {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_move_with_what_was_written_meanwhile_and_their_replicas_follow() {
    let town = Town::new().await;
    let web = town.running("web");
    assert_eq!(town.mv(&[DATA, LOGS], "h2").await, Ok(true), "{:?}", town.said);
    assert!(*town.has_written.lock().expect("nobody panicked"));
    town.assert_settled("h2", "moved");
    assert_eq!(town.running("web"), web);
    assert_eq!(town.mv(&[DATA, LOGS], "h2").await, Ok(true));
    assert!(town.up(&town.project()).await);
    town.assert_settled("h2", "up again");
    assert_eq!(town.mv(&[DATA, LOGS], "h3").await, Ok(true));
    town.assert_settled("h3", "moved on");
}

#[tokio::test(start_paused = true)]
async fn what_would_be_done_is_shown_and_nothing_is_touched() {
    let town = Town::new().await;
    assert_snapshot!(town.rehearse(&[DATA, LOGS], "h2").await, @r"
    create and remove volume mcompose_incoming_shop_data on h2: moved here
    create volume shop_data on h2: moved here
    copy volume shop_data to h2 from h1 while it is in use: moved here
    create volume shop_logs on h2: moved here
    copy volume shop_logs to h2 from h1 while it is in use: moved here
    stop db.1 on h1: moved to h2
    copy what changed of volume shop_data to h2 from h1, and check it: moved here
    copy what changed of volume shop_logs to h2 from h1, and check it: moved here
    create volume mcompose_outgoing_shop_data on h1: moved to h2
    note: then: its replicas start on h2, and what is on h1 goes
    ");
    town.assert_settled("h1", "rehearsed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_move_is_refused_with_the_reason() {
    let town = Town::new().await;
    assert_snapshot!(town.mv(&[DATA], "h2").await.expect_err("logs too"), @r"
    what uses these volumes uses `shop_logs` too
    hint: move them together: `mcompose volume mv shop_data shop_logs --to HOST`
    ");
    assert_snapshot!(town.mv(&[DATA, LOGS], "h9").await.expect_err("no such host"), @r"
    host `h9` does not answer, or is none of the inventory
    hint: `mcompose hosts check` tells more
    ");
    town.fake.host("h2").add_volume(LOGS);
    assert_snapshot!(town.mv(&[DATA, LOGS], "h2").await.expect_err("it is taken"), @r"
    there is a volume `shop_logs` on h2 already
    hint: `mcompose volume rm --host h2 NAME` removes it, with all that is in it
    ");
    town.fake.host("h3").cut();
    assert_snapshot!(town.mv(&[DATA, LOGS], "h3").await.expect_err("it is away"), @r"
    host `h3` does not answer, or is none of the inventory
    hint: `mcompose hosts check` tells more
    ");
    assert_eq!(town.running("db"), ["h1"]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_come_up_on_the_new_host_goes_back() {
    let town = Town::new().await;
    let fault = Fault::Fail { kind: ErrorKind::Failed, message: "no space left on device".to_owned() };
    town.fake.fault(FaultRule { host: Some("h2".to_owned()), call: "start".to_owned(), skip: 0, times: u32::MAX, fault });
    assert_eq!(town.mv(&[DATA, LOGS], "h2").await, Ok(false));
    town.assert_settled("h1", "gone back");
}

/// How it goes on after a move that died.
#[derive(Debug, Clone, Copy)]
enum Then {
    Again,
    Up,
    Back,
}

/// A move that dies at a call: every call from that one on does nothing, the first one maybe only so that its answer is lost. False
/// where the move was over before.
async fn dies(at: u32, is_carried_out: bool, then: Then) -> bool {
    let what = format!("died at call {at}, {}, then {then:?}", if is_carried_out { "without its answer" } else { "before it" });
    let town = Town::new().await;
    let rule = |skip, times, fault| FaultRule { host: None, call: String::new(), skip, times, fault };
    if is_carried_out {
        town.fake.fault(rule(at, 1, Fault::Unanswered));
    }
    let gone = Fault::Fail { kind: ErrorKind::Unreachable, message: "killed".to_owned() };
    town.fake.fault(rule(at, u32::MAX, gone));
    let calls = town.fake.calls().len();
    let end = town.mv(&[DATA, LOGS], "h2").await;
    let made = town.fake.calls().len() - calls;
    town.fake.heal_faults();
    if u32::try_from(made).expect("they are few") <= at {
        assert_eq!(end, Ok(true), "{what}: {:?}", town.said);
        return false;
    }
    // Whole in one place, by what the hosts show.
    let lives: Vec<_> = town.lives().into_iter().filter(|(_, files)| files.contains_key("stays")).collect();
    assert!(lives.iter().any(|(_, files)| *files == town.truth()), "{what}: {lives:?}");
    assert!(town.running("db").len() <= 1, "{what}");
    match then {
        Then::Again => {}
        Then::Up => {
            assert!(town.up(&town.project()).await, "{what}");
            let on = town.running("db");
            assert_eq!(on.len(), 1, "{what}");
            assert_eq!(town.fake.host(on[0]).files(DATA), town.truth(), "{what}: {on:?}");
        }
        Then::Back => {
            // Once it has moved it is finished first.
            if town.mv(&[DATA, LOGS], "h1").await.is_err() {
                assert_eq!(town.mv(&[DATA, LOGS], "h2").await, Ok(true), "{what}");
                assert_eq!(town.mv(&[DATA, LOGS], "h1").await, Ok(true), "{what}");
            }
            assert!(town.up(&town.project()).await, "{what}");
            town.assert_settled("h1", &what);
            return true;
        }
    }
    let ended = town.mv(&[DATA, LOGS], "h2").await;
    assert_eq!(ended, Ok(true), "{what}: {:?}", town.said);
    town.assert_settled("h2", &what);
    true
}

/// At every call: at even ones before them, at odd ones without their answers, and with `both` in both ways.
async fn dies_everywhere(then: Then, both: bool) {
    for is_carried_out in [false, true] {
        let mut at = u32::from(is_carried_out && !both);
        while dies(at, is_carried_out, then).await {
            at += if both { 1 } else { 2 };
        }
        assert!(at > 60, "a move takes more calls than {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn wherever_a_move_dies_the_same_command_finishes_it() {
    dies_everywhere(Then::Again, true).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_a_move_dies_the_next_up_starts_the_replica_on_whole_data() {
    dies_everywhere(Then::Up, false).await;
}

#[tokio::test(start_paused = true)]
async fn wherever_a_move_dies_it_can_go_back() {
    dies_everywhere(Then::Back, false).await;
}
