//! Every fault that hosts and supervisors have, on five engines with 32 replicas: one after the other, and several at once.

#![expect(clippy::disallowed_methods, reason = "tests edit the inventory, and a minute is measured by the clock")]

mod bed;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use bed::{Bed, Fault, said};

use crate::harness::{BOUND, Fleet, FleetHost, wait_within};
use crate::program::own;

/// A lost host's replicas run elsewhere within this time, on a busy machine too.
const RESTORED_MAX: Duration = Duration::from_secs(60);
/// The same where the swarm has to find another leader first.
const LEADER_RESTORED_MAX: Duration = Duration::from_secs(110);

/// Faults in a row, each of which begins before the one before it ends.
const ROUNDS: usize = 6;

/// The swarm's leader, as a manager that answers says.
fn leader(fleet: &Fleet) -> &FleetHost {
    let nodes = fleet.host("h1").get("/nodes");
    let leads = |node: &&serde_json::Value| node["ManagerStatus"]["Leader"] == true;
    let node = nodes.as_array().and_then(|nodes| nodes.iter().find(leads)).expect("the swarm has a leader");
    fleet.host(node["Description"]["Hostname"].as_str().expect("it has a name"))
}

fn others<'a>(fleet: &'a Fleet, but: &'a FleetHost) -> impl Iterator<Item = &'a FleetHost> {
    fleet.hosts.iter().filter(|host| host.name != but.name)
}

/// The host with most replicas.
fn fullest<'a>(hosts: impl Iterator<Item = &'a FleetHost>) -> &'a FleetHost {
    hosts.max_by_key(|host| webs_on(host)).expect("there are some")
}

#[test]
fn whatever_befalls_a_host_its_replicas_run_elsewhere_and_each_runs_once_when_it_is_back() {
    let fleet = own(5);
    let bed = Bed::new(&fleet, "befallen", 5);
    let (home, other) = (bed.home("journal"), ["h4", "h5"]);
    let other = fleet.host(other.into_iter().find(|host| *host != home.name).expect("one of two"));
    for (fault, host) in [(Fault::Crash, other), (Fault::Freeze, home), (Fault::LoseDaemon, other), (Fault::Cut, home)] {
        let what = format!("{fault:?} of {}", host.name);
        bed.befall(fault, host);
        bed.restored(&what, RESTORED_MAX);
        bed.relieve(host);
        bed.healed(&what);
    }
}

#[test]
fn two_hosts_at_once_the_leader_and_a_supervisor_are_lost_and_all_is_restored() {
    let fleet = own(5);
    let bed = Bed::new(&fleet, "bereft", 5);
    bed.supervise();
    let lost = leader(&fleet);
    bed.befall(Fault::Crash, lost);
    bed.restored("the leader crashed", LEADER_RESTORED_MAX);
    bed.relieve(lost);
    bed.healed("the leader crashed");

    // A manager that does not lead, so that most managers are left, and a worker.
    let managers = others(&fleet, leader(&fleet)).filter(|host| ["h1", "h2", "h3"].contains(&host.name.as_str()));
    let two = [fullest(managers), bed.home("journal")];
    bed.befall(Fault::Cut, two[0]);
    bed.befall(Fault::Crash, two[1]);
    bed.restored("two hosts at once", LEADER_RESTORED_MAX);
    two.iter().for_each(|host| bed.relieve(host));
    bed.healed("two hosts at once");

    // The one that leads is killed just as a host is lost.
    let host = fullest(others(&fleet, leader(&fleet)));
    bed.befall(Fault::Crash, host);
    bed.succeed();
    bed.restored("a host crashed, and the supervisor was killed", RESTORED_MAX);
    bed.relieve(host);
    bed.healed("a host crashed, and the supervisor was killed");
}

#[test]
fn a_host_that_was_away_for_a_minute_is_taken_back() {
    let fleet = own(5);
    let bed = Bed::new(&fleet, "minute", 5);
    let host = bed.home("journal");
    bed.befall(Fault::Cut, host);
    let minute = Instant::now();
    bed.restored("a minute away", RESTORED_MAX);
    wait_within(BOUND, "the minute is over", || minute.elapsed() > Duration::from_secs(60));
    bed.relieve(host);
    bed.healed("a minute away");
}

#[test]
fn faults_that_overlap_leave_nothing_behind() {
    let fleet = own(5);
    let bed = Bed::new(&fleet, "mixed", 5);
    bed.supervise();
    let mut dice = Dice::new();
    let mut before: Option<&FleetHost> = None;
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            said("the supervisor is killed, and another begins");
            bed.succeed();
        }
        let host = dice.one_of(&fleet.hosts);
        let host = if before.is_some_and(|before| before.name == host.name) { &fleet.hosts[host.number % 5] } else { host };
        let fault = *dice.one_of(&Fault::ALL);
        said(&format!("{fault:?} of {}", host.name));
        let lost = bed.told("host_lost", &host.name);
        bed.befall(fault, host);
        bed.within(BOUND, &format!("{} is lost", host.name), || bed.told("host_lost", &host.name) > lost);
        before.into_iter().for_each(|before| bed.relieve(before));
        before = Some(host);
    }
    bed.restored("the last of the faults that overlap", LEADER_RESTORED_MAX);
    before.into_iter().for_each(|before| bed.relieve(before));
    bed.healed("faults that overlap");
}

#[test]
fn a_host_that_was_off_when_it_was_listed_and_one_that_comes_back_empty_are_taken_in() {
    let fleet = own(5);
    let bed = Bed::new(&fleet, "newcomers", 4);
    let listed = format!("{}\n[supervise]\nrebalance = \"auto\"\n", fleet.inventory_of(5));
    fs::write(&bed.project.inventory, listed).expect("the fleet's folder is writable");
    bed.within(BOUND, "the host that is off is missed", || bed.told("host_lost", "h5") > 0);
    bed.healed("a host is listed while it is off");
    bed.relieve(fleet.host("h5"));
    bed.within(BOUND, "it has its share", || webs_on(fleet.host("h5")) >= 4);
    bed.healed("a host that was off when it was listed");

    let host = fleet.host(if bed.home("ledger").name == "h2" { "h3" } else { "h2" });
    let what = "a manager came back with an empty disk";
    bed.befall(Fault::Crash, host);
    bed.restored(what, LEADER_RESTORED_MAX);
    bed.wipe(host);
    bed.within(BOUND, "it has its share", || webs_on(host) >= 4);
    bed.healed(what);
    let managers = || fleet.hosts.iter().filter(|host| host.get("/info")["Swarm"]["ControlAvailable"] == true).count();
    bed.within(BOUND, "three hosts manage, and nobody else is one", || managers() == 3 && known_managers(&fleet) == 3);
}

/// As many as count in the quorum.
fn known_managers(fleet: &Fleet) -> usize {
    let nodes = fleet.host("h1").get("/nodes");
    nodes.as_array().map_or(0, |nodes| nodes.iter().filter(|node| node["Spec"]["Role"] == "manager").count())
}

fn webs_on(host: &FleetHost) -> usize {
    host.running().iter().filter(|(_, name)| name.contains("-web-")).count()
}

/// Draws by a seed that is printed; `MCOMPOSE_FAULTS_SEED` draws the same again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let given = std::env::var("MCOMPOSE_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(now.as_millis() as u64);
        said(&format!("MCOMPOSE_FAULTS_SEED={seed}"));
        Self(seed)
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        &things[(self.0 >> 33) as usize % things.len()]
    }
}
