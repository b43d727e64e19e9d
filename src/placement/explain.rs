//! Placement's reasons in words.

use std::collections::BTreeMap;
use std::fmt;

use super::{Misfit, Refusal};

impl fmt::Display for Misfit {
    /// What the host is or lacks, to stand behind its name: "lacks memory (need 512 MiB, 100 MiB free)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("is unreachable"),
            Self::Paused => f.write_str("is paused"),
            Self::Drained => f.write_str("is drained"),
            Self::Constraint { constraint } => write!(f, "does not meet `{constraint}`"),
            Self::Platform { wanted, has } => write!(f, "is {has}, not {wanted}"),
            Self::Cpus { needed, free } => write!(f, "lacks CPUs (need {}, {} free)", cpus(*needed), cpus(*free)),
            Self::Memory { needed_bytes, free_bytes } => {
                write!(f, "lacks memory (need {}, {} free)", bytes(*needed_bytes), bytes(*free_bytes))
            }
            Self::Generic { kind, needed, free } => write!(f, "lacks {kind} (need {needed}, {free} free)"),
            Self::Port { port, protocol, holder } => write!(f, "has port {port}/{protocol} taken by {holder}"),
            Self::MaxReplicas { limit } => write!(f, "has its {limit} replicas (max_replicas_per_node)"),
            Self::VolumeElsewhere { volume, host } => write!(f, "does not have volume `{volume}`, which lives on {host}"),
            Self::NotBeside { service } => write!(f, "is not where `{service}` runs"),
            Self::Plugin { kind, name } => write!(f, "lacks the {kind} plugin `{name}`"),
            Self::NetworkElsewhere { service, host } => write!(f, "shares no network with `{service}` on {host}"),
            Self::ContainerName { name } => write!(f, "has another container named `{name}`"),
            Self::VolumeMissing { volume } => write!(f, "does not have the external volume `{volume}`"),
            Self::NetworkMissing { network } => write!(f, "does not have the external network `{network}`"),
            Self::ContainerMissing { name } => write!(f, "does not have the container `{name}`"),
        }
    }
}

fn cpus(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

fn bytes(bytes: i64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", (value * 10.0).round() / 10.0, units[unit])
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for misfit in self.misfits.values() {
            *counts.entry(misfit.to_string()).or_default() += 1;
        }
        let parts: Vec<String> = counts
            .iter()
            .map(|(what, count)| format!("{count} {}: {what}", if *count == 1 { "host" } else { "hosts" }))
            .collect();
        f.write_str(&parts.join(", "))
    }
}
