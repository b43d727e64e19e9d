//! How long a service is short of replicas after a fault: mcompose's supervisor beside a Swarm service, on five engines. As root, like
//! the tests.
//!
//! `cargo bench --bench recovery` prints medians; `-- WORD` runs those whose names have the word, such as `'Swarm, leader'`. Each fault
//! is played on thirty replicas of one service on a network that crosses the hosts; what is measured ends when thirty run on hosts that are there.
//! A fleet that lost a host is not used again: what follows would begin with what the loss left behind.
//!
//! `MCOMPOSE_BENCH_RUNS=1` plays each fault once, not five times; with `MCOMPOSE_BENCH_STORIES=1` each run is told: how many ran when,
//! what the engines did and what the supervisor said.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench runs programs, measures and prints")]

#[path = "../tests/fleet/harness/mod.rs"]
mod harness;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use harness::{DEMO_IMAGE, Fleet, FleetHost, wait_until};
use serde_json::{Value, json};

const HOSTS: usize = 5;
const MANAGERS: usize = 3;
const REPLICAS: usize = 30;
const RUNS: usize = 5;
/// Between two looks at the engines.
const LOOK: Duration = Duration::from_millis(20);
/// So much later than the one before does each run begin: another part of mcompose's heartbeat of a second and of Swarm's of five.
const APART: Duration = Duration::from_millis(1_300);
const CONTAINER_KILLED: &str = "container killed";
const LEADER_LOST: &str = "leader lost";
/// Workers that come back and are lost again, and the leader at last: what earlier losses left behind may slow down what follows.
const LOST_IN_A_ROW: &str = "hosts lost in a row";
const FAULTS: [&str; 4] = [CONTAINER_KILLED, "worker lost", LEADER_LOST, LOST_IN_A_ROW];

fn main() {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let all = FAULTS.into_iter().flat_map(|fault| [Side::Mcompose, Side::Swarm].map(|side| (side, fault)));
    for (side, fault) in all.filter(|(side, fault)| name(*side, fault).contains(&word)) {
        report(&name(side, fault), measure(side, fault));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Mcompose,
    Swarm,
}

fn name(side: Side, fault: &str) -> String {
    format!("{side:?}, {fault}")
}

fn report(what: &str, mut seconds: Vec<f64>) {
    let all: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
    seconds.sort_by(f64::total_cmp);
    println!("{what:<28} {:>7.2} s  ({})", seconds[seconds.len() / 2], all.join(", "));
}

fn measure(side: Side, fault: &str) -> Vec<f64> {
    match fault {
        CONTAINER_KILLED => {
            let bed = Bed::make(side);
            (0..runs()).map(|run| bed.kill_one(run)).collect()
        }
        LOST_IN_A_ROW => {
            let bed = Bed::make(side);
            let lose = |run, fault| {
                let (host, seconds) = bed.lose_one(run, fault);
                bed.fleet.host(&host).boot();
                bed.settle();
                seconds
            };
            (0..runs()).map(|run| lose(run, "worker lost")).chain(std::iter::once_with(|| lose(0, LEADER_LOST))).collect()
        }
        _ => (0..runs()).map(|run| Bed::make(side).lose_one(run, fault).1).collect(),
    }
}

fn runs() -> usize {
    std::env::var("MCOMPOSE_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

/// A fleet with thirty replicas, kept by one of the two.
struct Bed {
    /// Ends before its hosts do.
    supervisor: Option<Supervisor>,
    side: Side,
    fleet: Fleet,
}

impl Bed {
    fn make(side: Side) -> Self {
        let fleet = Fleet::start(HOSTS);
        fleet.load_demo_image();
        let supervisor = match side {
            Side::Mcompose => Some(Supervisor::begin(&fleet)),
            Side::Swarm => {
                form_swarm(&fleet);
                make_service(&fleet);
                None
            }
        };
        let bed = Self { supervisor, side, fleet };
        bed.settle();
        // The network is on each, by that.
        let hosts: BTreeSet<String> = bed.running().into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts.len(), HOSTS, "every host has replicas");
        bed
    }

    /// All run, and the swarm has all of its hosts.
    fn settle(&self) {
        wait_until("all replicas run", || self.running().len() == REPLICAS);
        wait_until("the managers agree", || managers(&self.fleet).len() == MANAGERS);
        wait_until("every host is ready", || names_where(&self.fleet, |node| node["Status"]["State"] == "ready").len() == HOSTS);
    }

    /// Seconds without one that is killed.
    fn kill_one(&self, run: usize) -> f64 {
        self.settle();
        // Another one each time: one that dies again and again is started later each time.
        let (host, container) = self.running().into_iter().nth(run).expect("thirty run");
        let fault = Fault::begin(format!("{container:.12} on {host} is killed"));
        self.fleet.host(&host).api("POST", &format!("/containers/{container}/kill"), None);
        self.until_whole(&fault, Some(&container))
    }

    /// A host that was lost, and seconds until its replicas run elsewhere.
    fn lose_one(&self, run: usize, fault: &str) -> (String, f64) {
        // Not always just after a heartbeat, which is when a bed is found to be settled.
        std::thread::sleep(APART * u32::try_from(run).unwrap_or_default());
        let (leader, managers) = (leader(&self.fleet), managers(&self.fleet));
        let is_meant = |host: &&FleetHost| match fault {
            LEADER_LOST => host.name == leader,
            _ => !managers.contains(&host.name),
        };
        let running = self.running();
        let held = |host: &&FleetHost| running.iter().filter(|(on, _)| *on == host.name).count();
        let lost = self.fleet.hosts.iter().filter(is_meant).max_by_key(held).expect("there are five hosts");
        let fault = Fault::begin(format!("{} is lost with {}", lost.name, held(&lost)));
        // The cable first: the processes of a machine without power do not say that they end.
        lost.cut();
        lost.crash();
        (lost.name.clone(), self.until_whole(&fault, None))
    }

    /// Seconds until all replicas run on hosts that are there. One that was killed counts once it was seen not to run.
    fn until_whole(&self, fault: &Fault, killed: Option<&str>) -> f64 {
        let mut is_gone = killed.is_none();
        let mut story = vec![(fault.time, fault.what.clone())];
        let mut counted = 0;
        let is_whole = loop {
            let running = self.running();
            is_gone |= killed.is_some_and(|killed| !running.iter().any(|(_, id)| id == killed));
            if running.len() != std::mem::replace(&mut counted, running.len()) {
                story.push((SystemTime::now(), format!("{counted} run")));
            }
            if is_gone && counted == REPLICAS || fault.at.elapsed() > harness::BOUND {
                break is_gone && counted == REPLICAS;
            }
            std::thread::sleep(LOOK);
        };
        let seconds = fault.at.elapsed().as_secs_f64();
        if std::env::var_os("MCOMPOSE_BENCH_STORIES").is_some() {
            story.extend(self.supervisor.iter().flat_map(Supervisor::told));
            story.extend(self.fleet.hosts.iter().filter(|host| host.is_running()).flat_map(|host| happened(host, fault.time)));
            fault.tell(story);
        }
        assert!(is_whole, "the service is not whole again within {:?}", harness::BOUND);
        seconds
    }

    /// Host and id of every replica that runs.
    fn running(&self) -> BTreeSet<(String, String)> {
        let label = match self.side {
            Side::Mcompose => "com.docker.compose.project=recovery",
            Side::Swarm => "com.docker.swarm.service.name=peer",
        };
        let filters: String = json!({ "label": [label] }).to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let of_host = |host: &FleetHost| {
            let answer = host.is_running().then(|| host.try_api("GET", &format!("/containers/json?filters={filters}"), b"").ok());
            let list = answer.flatten().map(|answer| answer.json()).unwrap_or_default();
            let ids = list.as_array().into_iter().flatten().filter_map(|container| container["Id"].as_str().map(str::to_owned));
            ids.map(|id| (host.name.clone(), id)).collect::<Vec<_>>()
        };
        let found = std::thread::scope(|scope| {
            let asked: Vec<_> = self.fleet.hosts.iter().map(|host| scope.spawn(move || of_host(host))).collect();
            asked.into_iter().flat_map(|asked| asked.join().expect("a look does not panic")).collect::<Vec<_>>()
        });
        found.into_iter().collect()
    }
}

/// What is done to a fleet, and when it was.
struct Fault {
    at: Instant,
    time: SystemTime,
    what: String,
}

impl Fault {
    fn begin(what: String) -> Self {
        Self { at: Instant::now(), time: SystemTime::now(), what }
    }

    /// Tells what happened after it, in order.
    fn tell(&self, mut story: Vec<(SystemTime, String)>) {
        story.sort();
        for (time, what) in story.into_iter().filter(|(time, _)| *time >= self.time) {
            let seconds = time.duration_since(self.time).unwrap_or_default().as_secs_f64();
            eprintln!("{seconds:8.2} s  {what}");
        }
        eprintln!();
    }
}

/// What an engine did since then.
fn happened(host: &FleetHost, since: SystemTime) -> Vec<(SystemTime, String)> {
    let secs = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let path = format!("/events?since={:.3}&until={:.3}", secs(since), secs(SystemTime::now()));
    let answer = host.try_api("GET", &path, b"").map(|answer| answer.text()).unwrap_or_default();
    let events = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = |event: Value| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(event["timeNano"].as_u64()?);
        let name = event["Actor"]["Attributes"]["name"].as_str().or(event["Actor"]["ID"].as_str())?;
        Some((time, format!("  {}: {} {} {name}", host.name, event["Type"].as_str()?, event["Action"].as_str()?)))
    };
    events.filter_map(line).collect()
}

/// The swarm's nodes by the first manager that answers.
fn nodes(fleet: &Fleet) -> Vec<Value> {
    let answers = fleet.hosts.iter().filter(|host| host.is_running()).filter_map(|host| host.try_api("GET", "/nodes", b"").ok());
    let mut lists = answers.filter(|answer| answer.is_success()).map(|answer| answer.json());
    lists.next().and_then(|list| list.as_array().cloned()).unwrap_or_default()
}

fn names_where(fleet: &Fleet, is_so: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let nodes = nodes(fleet);
    let found = nodes.iter().filter(|node| is_so(node)).filter_map(|node| node["Description"]["Hostname"].as_str());
    found.map(str::to_owned).collect()
}

/// Managers that the others reach.
fn managers(fleet: &Fleet) -> BTreeSet<String> {
    names_where(fleet, |node| node["ManagerStatus"]["Reachability"] == "reachable" && node["Status"]["State"] == "ready")
}

fn leader(fleet: &Fleet) -> String {
    names_where(fleet, |node| node["ManagerStatus"]["Leader"] == true).into_iter().next().expect("a swarm has a leader")
}

/// mcompose's side: the project, and a supervisor beside it.
struct Supervisor {
    process: Child,
    /// One JSON object per line.
    told: PathBuf,
}

impl Supervisor {
    fn begin(fleet: &Fleet) -> Self {
        let file = fleet.folder.join("recovery.yaml");
        let service = format!("image: {DEMO_IMAGE}, command: [sleep, '100000'], stop_grace_period: 0s");
        let text = format!("name: recovery\nservices: {{web: {{{service}, deploy: {{replicas: {REPLICAS}}}}}}}\n");
        fs::write(&file, text).expect("the fleet's folder is writable");
        assert!(command(fleet, &file).args(["up", "-d"]).status().expect("it was built").success(), "mcompose up -d");
        let told = fleet.folder.join("supervisor.json");
        let log = File::create(&told).expect("the fleet's folder is writable");
        let process = command(fleet, &file).args(["supervise", "--format", "json"]).stdout(log).spawn().expect("it was built");
        let supervisor = Self { process, told };
        wait_until("the supervisor leads", || supervisor.lines().iter().any(|line| line["what"] == "leads"));
        wait_until("it hears every host", || supervisor.lines().iter().filter(|line| line["what"] == "host_up").count() == HOSTS);
        supervisor
    }

    fn lines(&self) -> Vec<Value> {
        let told = fs::read_to_string(&self.told).unwrap_or_default();
        told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What it said, and when.
    fn told(&self) -> Vec<(SystemTime, String)> {
        let said = |line: &Value| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(line["time_ms"].as_u64()?);
            Some((time, line["text"].as_str()?.to_owned()))
        };
        self.lines().iter().filter_map(said).collect()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(fleet: &Fleet, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcompose"));
    command.arg("-i").arg(fleet.inventory()).arg("-f").arg(file).env("HOME", fleet.home()).env_remove("SSH_AUTH_SOCK");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// As many managers as mcompose makes.
fn form_swarm(fleet: &Fleet) {
    let port = |host: &FleetHost| format!("{}:2377", host.address);
    let call = |host: &FleetHost, path: &str, body: Value| {
        let answer = host.api("POST", path, Some(&body));
        assert!(answer.is_success(), "{path} on {}: {}", host.name, answer.text());
    };
    let first = &fleet.hosts[0];
    call(first, "/swarm/init", json!({ "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": port(first) }));
    let tokens = &first.get("/swarm")["JoinTokens"];
    for (index, host) in fleet.hosts.iter().enumerate().skip(1) {
        let token = if index < MANAGERS { &tokens["Manager"] } else { &tokens["Worker"] };
        let body = json!({
            "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": port(host), "RemoteAddrs": [port(first)], "JoinToken": token,
        });
        call(host, "/swarm/join", body);
    }
    wait_until("the managers agree", || managers(fleet).len() == MANAGERS);
}

/// Swarm's side: the same containers as a service, on an overlay network without the virtual addresses that need IPVS.
fn make_service(fleet: &Fleet) {
    let manager = fleet.host(&leader(fleet));
    let made = manager.api("POST", "/networks/create", Some(&json!({ "Name": "peer", "Driver": "overlay" })));
    assert!(made.is_success(), "{}", made.text());
    let service = json!({
        "Name": "peer",
        "TaskTemplate": {
            "ContainerSpec": { "Image": DEMO_IMAGE, "Command": ["sleep", "100000"], "StopGracePeriod": 0 },
            "Networks": [{ "Target": "peer" }],
        },
        "Mode": { "Replicated": { "Replicas": REPLICAS } },
        "EndpointSpec": { "Mode": "dnsrr" },
    });
    let made = manager.api("POST", "/services/create", Some(&service));
    assert!(made.is_success(), "{}", made.text());
}
