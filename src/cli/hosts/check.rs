//! `mcompose hosts check`

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::fleet::{look, nodes};
use super::{Fleet, HostsError, Stage};
use crate::cluster::{Addresses, Finding, Grade, check, probe_storage, resolve};
use crate::project::HostName;
use crate::world::{Swarm, World};

/// Check that hosts can be reached and are fit for use; each failure comes with its remedy
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only these hosts
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
}

/// A finding for those who parse.
#[derive(Serialize)]
struct Line<'a> {
    host: Option<&'a HostName>,
    subject: &'a str,
    grade: &'static str,
    text: &'a str,
    remedy: Option<&'a str>,
}

pub async fn run(args: &CheckArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    for name in &args.hosts {
        fleet.host(name)?;
    }
    let asked = |finding: &Finding| {
        let named = |host: &HostName| args.hosts.iter().any(|name| name == host.as_str());
        args.hosts.is_empty() || finding.host.as_ref().is_none_or(named)
    };
    let findings: Vec<Finding> = findings(fleet).await.into_iter().filter(asked).collect();
    if args.format == "json" {
        let lines: Vec<Line<'_>> = findings.iter().map(line).collect();
        stage.data(&serde_json::to_string_pretty(&lines).expect("lines have text keys, so they are JSON"));
    } else {
        stage.table(&["HOST", "CHECK", "", "FOUND"], &findings.iter().map(cells).collect::<Vec<_>>());
        for finding in findings.iter().filter(|finding| finding.grade > Grade::Good) {
            let host = finding.host.as_ref().map_or("all hosts", |host| host.as_str());
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            stage.note(&format!("{host}, {}: {}\n  hint: {remedy}", finding.subject, finding.text));
        }
    }
    Ok(findings.iter().all(|finding| finding.grade < Grade::Bad))
}

async fn findings(fleet: &Fleet) -> Vec<Finding> {
    let engines = fleet.engines();
    let hosts = &fleet.inventory.hosts;
    let world = look(&engines).await;
    let addresses = resolve(hosts, &world).await;
    let (nodes, mut probes, storage) = tokio::join!(
        nodes(&engines, &world),
        (fleet.probe)(hosts.clone(), world.clone(), to_probe(&world, &addresses)),
        probe_storage(&engines, &world)
    );
    for (host, bytes) in storage {
        probes.entry(host).or_default().storage_free_bytes = Some(bytes);
    }
    check(hosts, &fleet.inventory.network, &world, &nodes, &addresses, &probes)
}

/// Where each host's swarm ports are, or will be.
fn to_probe(world: &World, addresses: &Addresses) -> BTreeMap<HostName, IpAddr> {
    let of_member = world.seen_hosts().filter_map(|(name, seen)| match &seen.swarm {
        Swarm::Active(member) => Some((name.clone(), member.node_addr.parse().ok()?)),
        _ => None,
    });
    let of_others = addresses.iter().filter_map(|(name, address)| Some((name.clone(), *address.as_ref().ok()?)));
    of_member.chain(of_others).collect()
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "ok",
        Grade::Warning => "warning",
        Grade::Bad => "bad",
    }
}

fn line(finding: &Finding) -> Line<'_> {
    Line {
        host: finding.host.as_ref(),
        subject: finding.subject,
        grade: word(finding.grade),
        text: &finding.text,
        remedy: finding.remedy.as_deref(),
    }
}

fn cells(finding: &Finding) -> Vec<String> {
    let host = finding.host.as_ref().map_or_else(|| "-".to_owned(), |host| host.to_string());
    vec![host, finding.subject.to_owned(), word(finding.grade).to_owned(), finding.text.clone()]
}
