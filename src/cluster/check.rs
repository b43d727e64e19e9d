//! What stands between hosts and a project that runs on them: every finding with its remedy.

use super::address::Addresses;
use super::fabric::{fabric, wants_swarm};
use super::probe::{PortSign, Probe, Probes};
use super::swarms::swarms;
use crate::engine::Node;
use crate::inventory::NetworkSettings;
use crate::project::{Address, Availability, Host, HostName, Role};
use crate::world::{Health, SeenHost, Sight, Swarm, SwarmMember, World};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Nothing for what concerns all hosts.
    pub host: Option<HostName>,
    /// What was looked at: `reach`, `engine`, `clock` …
    pub subject: &'static str,
    pub grade: Grade,
    pub text: String,
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Good,
    /// Works, and may not always.
    Warning,
    Bad,
}

/// Beyond this, times in logs and records of several hosts cannot be compared; certificates bear an hour.
const SKEW_WARNING_MS: i64 = 2_000;
const SKEW_BAD_MS: i64 = 60_000;
const STORAGE_WARNING_BYTES: u64 = 5 << 30;
const STORAGE_BAD_BYTES: u64 = 1 << 30;

/// Everything that was looked at, host by host in the order of the inventory, then what concerns all.
///
/// `nodes` is a manager's list; empty where there is no swarm. `addresses` are those of hosts outside of a swarm.
pub fn check(
    hosts: &[Host],
    network: &NetworkSettings,
    world: &World,
    nodes: &[Node],
    addresses: &Addresses,
    probes: &Probes,
) -> Vec<Finding> {
    let wants_swarm = wants_swarm(hosts, network);
    let mut findings = Vec::new();
    for host in hosts {
        let mut report = Report { host: Some(host.name.clone()), findings: &mut findings };
        match world.hosts.get(&host.name) {
            Some(Sight::Seen(seen)) => {
                report.good("reach", format!("{} answers", host.address));
                check_engine(&mut report, seen);
                let probe = probes.get(&host.name).cloned().unwrap_or_default();
                check_storage(&mut report, seen, &probe);
                if wants_swarm {
                    check_swarm(&mut report, host, seen, nodes);
                    check_ports(&mut report, host, seen, addresses, &probe);
                }
                check_containers(&mut report, seen);
            }
            Some(Sight::Unreachable { why }) => report.bad("reach", why.clone(), reach_remedy(host)),
            None => report.bad("reach", "it was not looked at".to_owned(), reach_remedy(host)),
        }
        if host.availability != Availability::Active {
            let text = format!("{}: it takes no new replicas", host.availability);
            report.warn("availability", text, format!("`mcompose hosts activate {}`", host.name));
        }
    }
    check_all(&mut Report { host: None, findings: &mut findings }, hosts, network, world, wants_swarm);
    findings
}

/// Collects the findings of one host, or of all.
struct Report<'a> {
    host: Option<HostName>,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, subject: &'static str, grade: Grade, text: String, remedy: Option<String>) {
        self.findings.push(Finding { host: self.host.clone(), subject, grade, text, remedy });
    }

    fn good(&mut self, subject: &'static str, text: String) {
        self.add(subject, Grade::Good, text, None);
    }

    fn warn(&mut self, subject: &'static str, text: String, remedy: String) {
        self.add(subject, Grade::Warning, text, Some(remedy));
    }

    fn bad(&mut self, subject: &'static str, text: String, remedy: String) {
        self.add(subject, Grade::Bad, text, Some(remedy));
    }
}

fn reach_remedy(host: &Host) -> String {
    match &host.address {
        Address::Unix { path } => {
            format!("is docker running here, and may this user open {path}? `docker -H {} version`", host.address)
        }
        Address::Tcp { tls: None, .. } => {
            format!("does dockerd listen there, and does a firewall let it through? `docker -H {} version`", host.address)
        }
        Address::Tcp { .. } => {
            format!("does dockerd listen there with a certificate of that CA? `docker --tlsverify -H {} version`", host.address)
        }
        Address::Ssh { user, host: name, port } => {
            let port = port.map(|port| format!("-p {port} ")).unwrap_or_default();
            let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            format!("does `ssh {port}{user}{name} docker version` answer?")
        }
    }
}

fn check_engine(report: &mut Report<'_>, seen: &SeenHost) {
    let engine = &seen.engine;
    report.good("engine", format!("{} on {}/{}", engine.version, engine.os, engine.arch));
    report.good("api", format!("{} (the engine's least is {})", engine.api_version, engine.min_api_version));
    let skew = engine.clock_skew_ms;
    // Tenths of a second, so that none is not −0.0.
    let text = format!("{:+.1} s from this machine's", (skew / 100) as f64 / 10.0);
    let remedy = || "let an NTP client (chrony, systemd-timesyncd) set the clock there".to_owned();
    match skew.abs() {
        SKEW_BAD_MS.. => report.bad("clock", text, remedy()),
        SKEW_WARNING_MS.. => report.warn("clock", text, remedy()),
        _ => report.good("clock", text),
    }
}

fn check_storage(report: &mut Report<'_>, seen: &SeenHost, probe: &Probe) {
    let root = &seen.engine.root_dir;
    let Some(free) = probe.storage_free_bytes else { return };
    let text = format!("{} MiB left in {root}", free >> 20);
    let remedy = || "`docker system prune` there takes away what nothing uses".to_owned();
    match free {
        STORAGE_WARNING_BYTES.. => report.good("storage", text),
        STORAGE_BAD_BYTES.. => report.warn("storage", text, remedy()),
        _ => report.bad("storage", text, remedy()),
    }
}

fn check_swarm(report: &mut Report<'_>, host: &Host, seen: &SeenHost, nodes: &[Node]) {
    if seen.engine.live_restore {
        let remedy = "take `\"live-restore\": true` out of /etc/docker/daemon.json there and restart docker".to_owned();
        report.bad("live-restore", "on, which excludes a swarm".to_owned(), remedy);
    }
    match &seen.swarm {
        Swarm::Inactive => {
            report.warn("swarm", "in none yet".to_owned(), "`mcompose hosts init`, or the next `mcompose up`".to_owned())
        }
        Swarm::Pending { state, error } => {
            let remedy = if state == "locked" { "`docker swarm unlock` there" } else { "`docker swarm leave --force` there" };
            report.bad("swarm", format!("{state} {error}").trim().to_owned(), remedy.to_owned());
        }
        Swarm::Active(member) => check_member(report, host, member, nodes),
    }
}

fn check_member(report: &mut Report<'_>, host: &Host, member: &SwarmMember, nodes: &[Node]) {
    let is = if member.is_manager { Role::Manager } else { Role::Worker };
    let node = nodes.iter().find(|node| node.id == member.node_id);
    let firewall = "let 2377/tcp, 7946/tcp, 7946/udp and 4789/udp through between the hosts".to_owned();
    if let Some(node) = node.filter(|node| node.state == "down") {
        return report.bad("swarm", format!("{is}, and the managers do not hear from it ({})", node.state), firewall);
    }
    if !member.error.is_empty() {
        return report.bad("swarm", format!("{is}: {}", member.error), firewall);
    }
    if member.is_manager && !member.control_available {
        let remedy = "bring the other managers back: more than half of them must be there".to_owned();
        return report.bad("swarm", "manager of a swarm without a leader".to_owned(), remedy);
    }
    match host.role {
        Some(Role::Manager) if is == Role::Worker => {
            report.warn("swarm", "worker; hosts.toml says manager".to_owned(), "`mcompose hosts init`".to_owned());
        }
        Some(Role::Worker) if is == Role::Manager => {
            let remedy = format!("`docker node demote {}` on a manager", member.node_id);
            report.warn("swarm", "manager; hosts.toml says worker".to_owned(), remedy);
        }
        _ => report.good("swarm", format!("{is} at {}", member.node_addr)),
    }
}

/// A port that refuses is reached and free; one that does not answer is hidden by something between.
fn check_ports(report: &mut Report<'_>, host: &Host, seen: &SeenHost, addresses: &Addresses, probe: &Probe) {
    let member = match &seen.swarm {
        Swarm::Active(member) => Some(member),
        _ => None,
    };
    if let (None, Some(Err(error))) = (member, addresses.get(&host.name)) {
        let remedy = "set `advertise` of that host to its address in the network that all hosts share".to_owned();
        report.bad("address", error.why.clone(), remedy);
    }
    // A worker has nothing at the managers' port.
    let is_worker = member.is_some_and(|member| !member.is_manager);
    for (port, sign) in probe.ports.iter().filter(|(port, _)| !(is_worker && **port == super::SWARM_PORT)) {
        let listens = member.is_some();
        let at = format!("{port}/tcp");
        match (sign, listens) {
            (PortSign::Open, true) => report.good("port", format!("{at} answers")),
            (PortSign::Refused, false) => report.good("port", format!("{at} is free")),
            (PortSign::Open, false) => {
                report.bad(
                    "port",
                    format!("{at} is taken by another program"),
                    format!("find and move it: `ss -ltnp 'sport = :{port}'` there"),
                );
            }
            (PortSign::Refused, true) => {
                report.bad(
                    "port",
                    format!("{at} refuses, though the swarm should listen there"),
                    "restart docker there".to_owned(),
                );
            }
            (PortSign::Silent, _) => {
                let text = format!("{at} cannot be reached from this machine; other hosts may reach it");
                report.warn("port", text, "let 2377/tcp, 7946/tcp, 7946/udp and 4789/udp through between the hosts".to_owned());
            }
        }
    }
    for container in &seen.containers {
        let taken = container
            .ports
            .iter()
            .filter_map(|port| port.host_port)
            .find(|port| super::probe::PORTS.contains(port) || *port == VXLAN_PORT);
        if let Some(port) = taken {
            let text = format!("{port} is published by the container `{}`", container.name);
            report.bad("port", text, "publish it at another port".to_owned());
        }
    }
}

/// VXLAN, which overlay networks speak between the hosts.
const VXLAN_PORT: u16 = 4789;

fn check_containers(report: &mut Report<'_>, seen: &SeenHost) {
    let unhealthy: Vec<&str> = seen
        .containers
        .iter()
        .filter(|container| container.health == Health::Unhealthy)
        .map(|container| container.name.as_str())
        .collect();
    if !unhealthy.is_empty() {
        let remedy = "`mcompose ps` and `mcompose logs` tell more".to_owned();
        report.warn("containers", format!("unhealthy: {}", unhealthy.join(", ")), remedy);
    }
}

fn check_all(report: &mut Report<'_>, hosts: &[Host], network: &NetworkSettings, world: &World, wants_swarm: bool) {
    if let Err(error) = fabric(hosts, network, world) {
        let remedy = error.hint().unwrap_or_default();
        return report.bad("cluster", error.to_string(), remedy);
    }
    let found = swarms(hosts, world);
    let Some(swarm) = found.first().filter(|_| wants_swarm) else { return };
    let managers = swarm.known_managers().len();
    let answering = swarm.managers().iter().filter(|(_, member)| member.control_available).count();
    if answering < managers && managers > 1 {
        let text = format!("{answering} of {managers} managers answer; with half of them gone nothing can be changed");
        let remedy = "bring the others back, or take the lost out: `mcompose hosts rm --force`".to_owned();
        return report.warn("cluster", text, remedy);
    }
    let text = format!("{} of {} hosts are in the swarm, managers: {managers}", swarm.members.len(), hosts.len());
    match managers {
        1 if hosts.len() > 2 => {
            let remedy = "give three hosts `role = \"manager\"` and run `mcompose hosts init`".to_owned();
            report.warn("cluster", format!("{text}; without it no container starts"), remedy);
        }
        2 | 4 | 6 => {
            let remedy = "make one more, or one less, a manager".to_owned();
            report.warn("cluster", format!("{text}; an even number bears no more losses than one less"), remedy);
        }
        _ => report.good("cluster", text),
    }
}
