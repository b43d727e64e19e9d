//! A supervised project of 32 replicas on five hosts, the faults that befall it, and what must hold during and after each.
#![expect(clippy::disallowed_methods, reason = "what is quiet is so for a while, by the clock")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{BOUND, Fleet, FleetHost, wait_until, wait_within};
use crate::program::{Project, Running};

pub const REPLICAS: usize = 30;

/// `web` may be anywhere. `ledger` and `journal` own a volume each, one where managers are and one where workers are, and could start on
/// another host than they did: on an empty volume.
const COMPOSE: &str = "services:
  web:
    image: mcompose-demo:1
    restart: always
    deploy: {replicas: 30}
  ledger:
    image: mcompose-demo:1
    restart: always
    command: [sh, -c, 'echo start >> /data/starts; exec demo serve']
    volumes: [ledger:/data]
    deploy:
      placement: {constraints: [node.hostname != h1, node.hostname != h4, node.hostname != h5]}
  journal:
    image: mcompose-demo:1
    restart: always
    command: [sh, -c, 'echo start >> /data/starts; exec demo serve']
    volumes: [journal:/data]
    deploy:
      placement: {constraints: [node.hostname != h1, node.hostname != h2, node.hostname != h3]}
volumes: {ledger: , journal: }
";
const OWNERS: [&str; 2] = ["ledger", "journal"];

/// Five heartbeats in which nothing is done are quiet.
const QUIET: Duration = Duration::from_secs(5);

/// What befalls a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Crash,
    Cut,
    Freeze,
    /// Its dockerd is killed, and its containers run on.
    LoseDaemon,
}

impl Fault {
    pub const ALL: [Self; 4] = [Self::Crash, Self::Cut, Self::Freeze, Self::LoseDaemon];

    fn begin(self, host: &FleetHost) {
        match self {
            Self::Crash => host.crash(),
            Self::Cut => host.cut(),
            Self::Freeze => host.freeze(),
            Self::LoseDaemon => host.lose_daemon(),
        }
    }

    fn end(self, host: &FleetHost) {
        match self {
            Self::Crash => host.boot(),
            Self::Cut => host.heal(),
            Self::Freeze => host.thaw(),
            Self::LoseDaemon => host.boot_daemon(),
        }
    }
}

/// The project with its supervisors, and the hosts that something befell.
pub struct Bed<'a> {
    pub project: Project<'a>,
    supervisors: RefCell<Vec<Running>>,
    away: RefCell<Vec<(String, Fault)>>,
    /// Where each of `OWNERS` is at home.
    homes: [String; 2],
}

impl<'a> Bed<'a> {
    /// Brings the project up on the first hosts and supervises it; returns once all of it is as it should be. The other hosts crash first.
    pub fn new(fleet: &'a Fleet, name: &str, hosts: usize) -> Self {
        let project = Project::new(fleet, name, COMPOSE).with_inventory(&fleet.inventory_of(hosts));
        let off: Vec<(String, Fault)> = fleet.hosts.iter().skip(hosts).map(|host| (host.name.clone(), Fault::Crash)).collect();
        fleet.hosts.iter().skip(hosts).for_each(FleetHost::crash);
        project.ok(&["up", "-d"]);
        let homes = OWNERS.map(|owner| project.replica(&format!("{owner}-1")).0.name.clone());
        for owner in OWNERS {
            assert_eq!(project.exec(&format!("{owner}-1"), &["sh", "-c", "echo precious > /data/kept"]).0, 0);
        }
        let bed = Self { project, supervisors: RefCell::default(), away: RefCell::new(off), homes };
        bed.supervise();
        wait_until("the supervisor leads", || bed.leads());
        bed.within(BOUND, "all runs", || bed.running() == bed.wanted());
        bed
    }

    /// One more supervisor.
    pub fn supervise(&self) {
        self.supervisors.borrow_mut().push(self.project.start(&["supervise", "--format", "json"]));
    }

    /// The first supervisor is killed, so that it gives nothing back, and another begins.
    pub fn succeed(&self) {
        drop(self.supervisors.borrow_mut().remove(0));
        self.supervise();
    }

    fn leads(&self) -> bool {
        self.notices().iter().any(|notice| notice["what"] == "leads")
    }

    pub fn home(&self, owner: &str) -> &'a FleetHost {
        let index = OWNERS.iter().position(|one| *one == owner).expect("it is one of them");
        self.project.fleet.host(&self.homes[index])
    }

    /// How often a supervisor said this of a host, such as `host_lost`.
    pub fn told(&self, what: &str, host: &str) -> usize {
        self.notices().iter().filter(|notice| notice["what"] == what && notice["host"] == host).count()
    }

    fn notices(&self) -> Vec<Value> {
        let supervisors = self.supervisors.borrow();
        let text: Vec<String> = supervisors.iter().map(Running::stdout).collect();
        text.iter().flat_map(|text| text.lines()).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn befall(&self, fault: Fault, host: &FleetHost) {
        fault.begin(host);
        self.away.borrow_mut().push((host.name.clone(), fault));
    }

    /// Ends what befell the host.
    pub fn relieve(&self, host: &FleetHost) {
        let mut away = self.away.borrow_mut();
        let index = away.iter().position(|(name, _)| *name == host.name).expect("something befell it");
        let (_, fault) = away.remove(index);
        fault.end(host);
    }

    /// The host is off, and comes back with an empty disk.
    pub fn wipe(&self, host: &FleetHost) {
        let mut away = self.away.borrow_mut();
        let index = away.iter().position(|(name, fault)| *name == host.name && *fault == Fault::Crash).expect("it is off");
        away.remove(index);
        host.wipe();
        host.boot();
    }

    /// Hosts that nothing befell. Others are not asked anything: one that is frozen does not answer.
    fn present(&self) -> Vec<&'a FleetHost> {
        let away = self.away.borrow();
        let is_away = |host: &&FleetHost| away.iter().any(|(name, _)| *name == host.name);
        self.project.fleet.hosts.iter().filter(|host| !is_away(host)).collect()
    }

    /// What should run on the hosts that are there. Whose volume is away is held.
    fn wanted(&self) -> Vec<String> {
        let webs = (1..=REPLICAS).map(|number| format!("{}-web-{number}", self.project.name));
        let present: BTreeSet<&str> = self.present().into_iter().map(|host| host.name.as_str()).collect();
        let held = OWNERS.iter().zip(&self.homes).filter(|(_, home)| present.contains(home.as_str()));
        let mut names: Vec<String> = webs.chain(held.map(|(owner, _)| format!("{}-{owner}-1", self.project.name))).collect();
        names.sort();
        names
    }

    /// Names of what runs on the hosts that are there. Nobody who owns a volume runs elsewhere than at home, at any time.
    fn running(&self) -> Vec<String> {
        let mut found = Vec::new();
        for host in self.present() {
            let prefix = format!("{}-", self.project.name);
            let names = host.running().into_iter().map(|(_, name)| name).filter(|name| name.starts_with(&prefix));
            found.extend(names.map(|name| (host, name)));
        }
        for (owner, home) in OWNERS.iter().zip(&self.homes) {
            let name = format!("{}-{owner}-1", self.project.name);
            let elsewhere = found.iter().find(|(host, found)| *found == name && host.name != *home);
            assert!(
                elsewhere.is_none(),
                "{name} runs on {}, and its volume is on {home}",
                elsewhere.map_or("", |(host, _)| &host.name)
            );
        }
        let mut names: Vec<String> = found.into_iter().map(|(_, name)| name).collect();
        names.sort();
        names
    }

    /// Waits until each replica runs once on the hosts that are there, but for who is held.
    pub fn restored(&self, what: &str, bound: Duration) {
        let wanted = self.wanted();
        let took = self.within(bound, &format!("all is restored after: {what}"), || self.running() == wanted);
        said(&format!("{what}: restored after {:.1} s", took.as_secs_f64()));
    }

    /// Waits until all is as if nothing had happened, and nothing more is done.
    pub fn healed(&self, what: &str) {
        let took = self.within(BOUND, &format!("all is healed after: {what}"), || {
            self.running() == self.wanted() && self.extra().is_empty()
        });
        let acts = || self.notices().iter().filter(|notice| is_act(notice)).count();
        let (mut quiet_since, mut before) = (Instant::now(), acts());
        self.within(BOUND, &format!("the supervisor is quiet after: {what}"), || {
            let now = acts();
            if now != before || self.running() != self.wanted() {
                (quiet_since, before) = (Instant::now(), now);
            }
            quiet_since.elapsed() >= QUIET
        });
        let extra = self.extra();
        assert!(extra.is_empty(), "orphans after: {what}: {extra:?}\n{}", self.log());
        let plan = self.project.run(&["plan"]);
        assert_eq!(plan.code, Some(0), "nothing is left to do after: {what}: {}", plan.everything());
        self.assert_data(what);
        said(&format!("{what}: healed after {:.1} s", took.as_secs_f64()));
    }

    /// Containers of the project that no slot needs, running or not, by host.
    fn extra(&self) -> Vec<String> {
        let mut wanted: BTreeSet<String> = self.wanted().into_iter().collect();
        let mut extra = Vec::new();
        for host in self.present() {
            for name in host.containers_of(&self.project.name) {
                if !wanted.remove(&name) {
                    extra.push(format!("{name} on {}", host.name));
                }
            }
        }
        extra
    }

    /// Each volume is on its one host, with what was written to it, and who owns it is reached by its name.
    fn assert_data(&self, what: &str) {
        for (owner, home) in OWNERS.iter().zip(&self.homes) {
            let volume = format!("{}_{owner}", self.project.name);
            let hosts = self.present().into_iter().filter(|host| host.volumes_of(&self.project.name).contains(&volume));
            assert_eq!(hosts.map(|host| &host.name).collect::<Vec<_>>(), [home], "{volume} after: {what}");
            let kept = self.project.exec(&format!("{owner}-1"), &["cat", "/data/kept"]);
            assert_eq!(kept, (0, "precious\n".to_owned()), "{volume} after: {what}");
            let url = format!("http://{owner}/");
            self.within(BOUND, &format!("{url} answers after: {what}"), || self.project.ask("web-1", &url).0 == 0);
        }
    }

    /// As `wait_within`; a failure tells what runs and what the supervisors said.
    pub fn within(&self, bound: Duration, what: &str, is_so: impl FnMut() -> bool) -> Duration {
        let is_so = RefCell::new(is_so);
        let start = Instant::now();
        wait_within(bound + Duration::from_secs(1), what, || {
            let is_so = (is_so.borrow_mut())();
            let is_late = !is_so && start.elapsed() > bound;
            assert!(
                !is_late,
                "waited {} s in vain until {what}\nrunning: {:?}\nwanted: {:?}\nextra: {:?}\n{}",
                bound.as_secs(),
                self.running(),
                self.wanted(),
                self.extra(),
                self.log()
            );
            is_so
        })
    }

    /// What the supervisors said.
    fn log(&self) -> String {
        let line = |notice: &Value| {
            let seconds = notice["time_ms"].as_u64().unwrap_or_default() % 1_000_000;
            format!("{:.1} {}", seconds as f64 / 1000.0, notice["text"].as_str().unwrap_or_default())
        };
        self.notices().iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Whether a notice tells that something was done, or was to be.
fn is_act(notice: &Value) -> bool {
    ["repairs", "repaired", "failed"].iter().any(|what| notice["what"] == *what)
}

/// For docs/testing.md.
#[expect(clippy::disallowed_macros, reason = "it speaks to whoever measures")]
pub fn said(what: &str) {
    eprintln!("{what}");
}
