//! Placement's reasons in words.

use std::collections::BTreeMap;
use std::fmt;

use super::{Misfit, Refusal, Why};

impl fmt::Display for Why {
    /// A sentence about the replica, to stand behind its host's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stays => f.write_str("it is there already and may stay"),
            Self::Held { because } => write!(f, "it is held there: {because}"),
            Self::Best { fitting, hosts } => write!(f, "the best of {fitting} fitting hosts out of {hosts}"),
            Self::Volume { volume } => write!(f, "its volume `{volume}` lives there"),
            Self::Folder { folder } => write!(f, "what it wrote to `{folder}` is there"),
            Self::With { service } => write!(f, "it must be beside a replica of `{service}`"),
            Self::Global => f.write_str("there is one on each host"),
        }
    }
}

impl fmt::Display for Misfit {
    /// What the host is or lacks, to stand behind its name: "lacks memory (need 512 MiB, 100 MiB free)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpus { needed, free } => write!(f, "lacks CPUs (need {}, {} free)", cpus(*needed), cpus(*free)),
            Self::Memory { needed_bytes, free_bytes } => {
                write!(f, "lacks memory (need {}, {} free)", bytes(*needed_bytes), bytes(*free_bytes))
            }
            Self::Generic { kind, needed, free } => write!(f, "lacks {kind} (need {needed}, {free} free)"),
            Self::Port { port, protocol, holder } => write!(f, "has port {port}/{protocol} taken by {holder}"),
            Self::Platform { wanted, has } => write!(f, "is {has}, not {wanted}"),
            other => f.write_str(&other.of(Number::One)),
        }
    }
}

/// Whether a sentence is about one host or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    One,
    Many,
}

impl Number {
    fn pick(self, one: &'static str, many: &'static str) -> &'static str {
        match self {
            Self::One => one,
            Self::Many => many,
        }
    }
}

impl Misfit {
    /// What hosts are or lack, without what is different from host to host.
    fn of(&self, number: Number) -> String {
        let (is, has) = (number.pick("is", "are"), number.pick("has", "have"));
        let (lacks, does) = (number.pick("lacks", "lack"), number.pick("does not", "do not"));
        match self {
            Self::Unreachable => format!("{is} unreachable"),
            Self::Paused => format!("{is} paused"),
            Self::Drained => format!("{is} drained"),
            Self::Constraint { constraint } => format!("{does} meet `{constraint}`"),
            Self::BadConstraint { constraint, why } => format!("cannot be asked `{constraint}` ({why})"),
            Self::Platform { wanted, .. } => format!("{is} not {wanted}"),
            Self::Cpus { needed, .. } => format!("{lacks} CPUs (need {})", cpus(*needed)),
            Self::Memory { needed_bytes, .. } => format!("{lacks} memory (need {})", bytes(*needed_bytes)),
            Self::Generic { kind, needed, .. } => format!("{lacks} {kind} (need {needed})"),
            Self::Port { port, protocol, .. } => format!("{has} port {port}/{protocol} taken"),
            Self::MaxReplicas { limit: 1 } => format!("{has} one replica already (max_replicas_per_node)"),
            Self::MaxReplicas { limit } => format!("{has} {limit} replicas already (max_replicas_per_node)"),
            Self::VolumeElsewhere { volume, host } => format!("{does} have volume `{volume}`, which lives on `{host}`"),
            Self::FolderElsewhere { folder, host } => format!("{does} have what was written to `{folder}`, which is on `{host}`"),
            Self::VolumeNowhere { volume } => {
                format!("{does} have volume `{volume}` whole, which was being moved (`mcompose volume mv` goes on)")
            }
            Self::VolumeMissing { volume } => format!("{does} have the external volume `{volume}`"),
            Self::NotBeside { service } => format!("{} no replica of `{service}` to be beside", number.pick("runs", "run")),
            Self::Plugin { kind, name } => format!("{lacks} the {kind} plugin `{name}`"),
            Self::Runtime { name } => format!("{lacks} the runtime `{name}`"),
            Self::OldEngine { attribute, needed: (major, minor) } => {
                let has_one = number.pick("has an engine", "have engines");
                format!("{has_one} too old for `{attribute}` (API {major}.{minor})")
            }
            Self::NetworkElsewhere { service, host } => {
                format!("{} no network with `{service}` on `{host}`", number.pick("shares", "share"))
            }
            Self::NetworkMissing { network } => format!("{does} have the external network `{network}`"),
            Self::ContainerName { name } => format!("{has} another container named `{name}`"),
            Self::ContainerMissing { name } => format!("{does} have the container `{name}`"),
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
    /// "2 hosts lack memory (need 512 MiB), 1 is drained": the reason of most hosts first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<String, (u32, &Misfit)> = BTreeMap::new();
        for misfit in self.misfits.values() {
            groups.entry(misfit.of(Number::Many)).or_insert((0, misfit)).0 += 1;
        }
        let mut groups: Vec<(u32, &Misfit)> = groups.into_values().collect();
        groups.sort_by(|(a_count, a), (b_count, b)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        if groups.is_empty() {
            return f.write_str("there is no host");
        }
        for (index, (count, misfit)) in groups.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let noun = match (index, count) {
                (0, 1) => " host",
                (0, _) => " hosts",
                _ => "",
            };
            match count {
                1 => write!(f, "{comma}1{noun} {}", if index == 0 { misfit.to_string() } else { misfit.of(Number::One) })?,
                _ => write!(f, "{comma}{count}{noun} {}", misfit.of(Number::Many))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::{Misfit, Refusal};
    use crate::project::HostName;

    fn check(misfits: &[Misfit], expect: &str) {
        let name = |index: usize| HostName::new(format!("host{index}")).expect("letters and digits are a host name");
        let misfits: BTreeMap<HostName, Misfit> =
            misfits.iter().cloned().enumerate().map(|(index, m)| (name(index), m)).collect();
        assert_eq!(Refusal { misfits: Arc::new(misfits) }.to_string(), expect);
    }

    fn memory(free_bytes: i64) -> Misfit {
        Misfit::Memory { needed_bytes: 512 << 20, free_bytes }
    }

    fn port(holder: &str) -> Misfit {
        Misfit::Port { port: 80, protocol: "tcp".to_owned(), holder: holder.to_owned() }
    }

    #[test]
    fn hosts_with_the_same_reason_are_counted_together_and_most_come_first() {
        check(&[Misfit::Drained, memory(100 << 20), memory(0)], "2 hosts lack memory (need 512 MiB), 1 is drained");
        check(
            &[Misfit::Drained, Misfit::Drained, Misfit::Unreachable, Misfit::Paused],
            "2 hosts are drained, 1 is unreachable, 1 is paused",
        );
        check(&[port("container `x`"), port("`web.1`")], "2 hosts have port 80/tcp taken");
        check(&[], "there is no host");
    }

    #[test]
    fn a_reason_that_is_alone_says_more() {
        check(&[memory(100 << 20)], "1 host lacks memory (need 512 MiB, 100 MiB free)");
        check(&[port("container `x`")], "1 host has port 80/tcp taken by container `x`");
        check(&[Misfit::MaxReplicas { limit: 1 }], "1 host has one replica already (max_replicas_per_node)");
    }
}
