//! How long a service is short of replicas after a fault: mcompose's supervisor beside a Swarm service, on the same five engines. As
//! root, like the tests.
//!
//! `cargo bench --bench recovery` prints medians; `-- WORD` runs those faults whose names have the word. Each fault is played on
//! thirty replicas of one service on a network that crosses the hosts; what is measured ends when thirty run on hosts that are there.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench runs programs, measures and prints")]

#[path = "../tests/fleet/harness/mod.rs"]
mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{DEMO_IMAGE, Fleet, FleetHost, wait_until};
use serde_json::json;

const REPLICAS: usize = 30;
const RUNS: usize = 5;
/// Between two looks at the engines.
const LOOK: Duration = Duration::from_millis(20);
const FAULTS: [&str; 3] = ["container killed", "worker lost", "leader lost"];

fn main() {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let fleet = Fleet::start(5);
    fleet.load_demo_image();
    let faults: Vec<&str> = FAULTS.into_iter().filter(|name| name.contains(&word)).collect();
    let mut ours = Supervised::begin(&fleet);
    for fault in &faults {
        report(&format!("mcompose, {fault}"), play(&fleet, Supervised::LABEL, fault));
    }
    ours.end();
    swarm_service(&fleet);
    for fault in &faults {
        report(&format!("Swarm, {fault}"), play(&fleet, SWARM_LABEL, fault));
    }
}

fn report(what: &str, mut seconds: Vec<f64>) {
    seconds.sort_by(f64::total_cmp);
    let (low, high) = (seconds[0], seconds[seconds.len() - 1]);
    println!("{what:<32} {:>7.2} s  ({low:.2} to {high:.2})", seconds[seconds.len() / 2]);
}

/// The times of some runs of one fault, each on a whole service.
fn play(fleet: &Fleet, label: &str, fault: &str) -> Vec<f64> {
    (0..RUNS).map(|run| play_once(fleet, label, fault, run)).collect()
}

fn play_once(fleet: &Fleet, label: &str, fault: &str, run: usize) -> f64 {
    wait_until("all replicas run", || running(fleet, label).len() == REPLICAS);
    wait_until("the managers agree", || managers(fleet).len() == 3);
    let leader = leader(fleet);
    match fault {
        "container killed" => {
            // Another one each time: one that dies again and again is started later each time.
            let (host, container) = running(fleet, label).into_iter().nth(run).expect("thirty run");
            let begun = Instant::now();
            fleet.host(&host).api("POST", &format!("/containers/{container}/kill"), None);
            until_whole(fleet, label, &begun, Some(&container))
        }
        _ => {
            let managers = managers(fleet);
            let is_meant = |host: &&FleetHost| match fault {
                "leader lost" => host.name == leader,
                _ => !managers.contains(&host.name),
            };
            let held = |host: &&FleetHost| running(fleet, label).iter().filter(|(on, _)| *on == host.name).count();
            let lost = fleet.hosts.iter().filter(is_meant).max_by_key(held).expect("there are five hosts");
            let begun = Instant::now();
            lost.crash();
            let seconds = until_whole(fleet, label, &begun, None);
            lost.boot();
            wait_until("the host is back", || lost.answers());
            seconds
        }
    }
}

/// Seconds until all replicas run on hosts that are there. One that was killed counts once it was seen not to run.
fn until_whole(fleet: &Fleet, label: &str, begun: &Instant, killed: Option<&str>) -> f64 {
    let mut is_gone = killed.is_none();
    wait_until_fast("the service is whole again", || {
        let running = running(fleet, label);
        is_gone |= killed.is_some_and(|killed| !running.iter().any(|(_, id)| id == killed));
        is_gone && running.len() == REPLICAS
    });
    begun.elapsed().as_secs_f64()
}

fn wait_until_fast(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < harness::BOUND, "{what}: not within {:?}", harness::BOUND);
        std::thread::sleep(LOOK);
    }
}

/// Host and id of every container of the label that runs.
fn running(fleet: &Fleet, label: &str) -> BTreeSet<(String, String)> {
    let filters: String = json!({ "label": [label] }).to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let of_host = |host: &FleetHost| {
        let answer = host.is_running().then(|| host.try_api("GET", &format!("/containers/json?filters={filters}"), b"").ok());
        let list = answer.flatten().map(|answer| answer.json()).unwrap_or_default();
        let ids = list.as_array().into_iter().flatten().filter_map(|container| container["Id"].as_str().map(str::to_owned));
        ids.map(|id| (host.name.clone(), id)).collect::<Vec<_>>()
    };
    let found = std::thread::scope(|scope| {
        let asked: Vec<_> = fleet.hosts.iter().map(|host| scope.spawn(move || of_host(host))).collect();
        asked.into_iter().flat_map(|asked| asked.join().expect("a look does not panic")).collect::<Vec<_>>()
    });
    found.into_iter().collect()
}

/// The swarm's nodes by the first manager that answers.
fn nodes(fleet: &Fleet) -> Vec<serde_json::Value> {
    let answers = fleet.hosts.iter().filter(|host| host.is_running()).filter_map(|host| host.try_api("GET", "/nodes", b"").ok());
    let mut lists = answers.filter(|answer| answer.is_success()).map(|answer| answer.json());
    lists.next().and_then(|list| list.as_array().cloned()).unwrap_or_default()
}

fn names_where(fleet: &Fleet, is_so: impl Fn(&serde_json::Value) -> bool) -> BTreeSet<String> {
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
struct Supervised<'f> {
    fleet: &'f Fleet,
    file: PathBuf,
    supervisor: Child,
}

impl<'f> Supervised<'f> {
    const LABEL: &'static str = "com.docker.compose.project=recovery";

    fn begin(fleet: &'f Fleet) -> Self {
        let file = fleet.folder.join("recovery.yaml");
        let service = format!("image: {DEMO_IMAGE}, command: [sleep, '100000'], stop_grace_period: 0s");
        let text = format!("name: recovery\nservices: {{web: {{{service}, deploy: {{replicas: {REPLICAS}}}}}}}\n");
        fs::write(&file, text).expect("the fleet's folder is writable");
        assert!(command(fleet, &file).args(["up", "-d"]).status().expect("it was built").success(), "mcompose up -d");
        let supervisor = command(fleet, &file).arg("supervise").spawn().expect("it was built");
        let out = || {
            let ps =
                command(fleet, &file).arg("ps").stderr(Stdio::piped()).stdout(Stdio::piped()).output().expect("it was built");
            String::from_utf8_lossy(&ps.stdout).into_owned() + &String::from_utf8_lossy(&ps.stderr)
        };
        wait_until("the supervisor leads", || out().contains("supervised by "));
        Self { fleet, file, supervisor }
    }

    fn end(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        assert!(command(self.fleet, &self.file).args(["down"]).status().expect("it was built").success(), "mcompose down");
    }
}

impl Drop for Supervised<'_> {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

fn command(fleet: &Fleet, file: &PathBuf) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcompose"));
    command.arg("-i").arg(fleet.inventory()).arg("-f").arg(file).env("HOME", fleet.home()).env_remove("SSH_AUTH_SOCK");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

const SWARM_LABEL: &str = "com.docker.swarm.service.name=peer";

/// Swarm's side: the same containers as a service, on an overlay network without the virtual addresses that need IPVS.
fn swarm_service(fleet: &Fleet) {
    wait_until("the managers agree", || managers(fleet).len() == 3);
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
