//! `deploy.placement.constraints`, read as Swarm reads them: KEY==VALUE or KEY!=VALUE, letter case ignored, and a label that a
//! host does not have counts as empty.

use std::net::IpAddr;

use crate::placement::Misfit;
use crate::placement::site::Site;
use crate::project::Address;

/// A constraint, or why it is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::placement) enum Constraint<'a> {
    Equal { key: Key<'a>, value: &'a str },
    NotEqual { key: Key<'a>, value: &'a str },
    Bad { why: String },
}

/// An attribute of a host, as constraints and preferences name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::placement) enum Key<'a> {
    /// The node id in the swarm, else the engine's own id.
    Id,
    /// The name in the inventory; where no host of the inventory has the value as its name, the engine's hostname.
    Hostname {
        by_inventory: bool,
    },
    Role,
    Os,
    Arch,
    /// The advertised address, or the one that the inventory names; as value also a network, `10.0.0.0/8`.
    Ip,
    NodeLabel(&'a str),
    EngineLabel(&'a str),
}

impl<'a> Key<'a> {
    /// Nothing where there is no such attribute.
    pub(in crate::placement) fn parse(text: &'a str) -> Option<Self> {
        let after = |prefix: &str| {
            text.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix)).map(|_| &text[prefix.len()..])
        };
        if let Some(label) = after("node.labels.").filter(|label| !label.is_empty()) {
            return Some(Self::NodeLabel(label));
        }
        if let Some(label) = after("engine.labels.").filter(|label| !label.is_empty()) {
            return Some(Self::EngineLabel(label));
        }
        Some(match text.to_ascii_lowercase().as_str() {
            "node.id" => Self::Id,
            "node.hostname" => Self::Hostname { by_inventory: true },
            "node.role" => Self::Role,
            "node.platform.os" => Self::Os,
            "node.platform.arch" => Self::Arch,
            "node.ip" => Self::Ip,
            _ => return None,
        })
    }

    /// What a host has there; empty for a label that it does not have and for what an unreachable engine cannot tell.
    pub(in crate::placement) fn of<'s>(self, site: &'s Site) -> &'s str {
        let label =
            |labels: &'s std::collections::BTreeMap<String, String>, name: &str| labels.get(name).map_or("", String::as_str);
        match self {
            Self::Id => site.node_id(),
            Self::Hostname { by_inventory: true } => site.host.name.as_str(),
            Self::Hostname { by_inventory: false } => site.seen.map_or("", |seen| &seen.engine.hostname),
            Self::Role => match site.role {
                crate::project::Role::Manager => "manager",
                crate::project::Role::Worker => "worker",
            },
            Self::Os => site.seen.map_or("", |seen| &seen.engine.os),
            Self::Arch => site.seen.map_or("", |seen| &seen.engine.arch),
            Self::Ip => site.host.advertise.as_deref().unwrap_or(match &site.host.address {
                Address::Tcp { host, .. } | Address::Ssh { host, .. } => host,
                Address::Unix { .. } => "",
            }),
            Self::NodeLabel(name) => label(&site.host.labels, name),
            Self::EngineLabel(name) => site.seen.map_or("", |seen| label(&seen.engine.labels, name)),
        }
    }
}

impl<'a> Constraint<'a> {
    /// `is_host`: whether the inventory has a host of this name, letter case ignored.
    pub(in crate::placement) fn parse(text: &'a str, is_host: impl Fn(&str) -> bool) -> Self {
        let at = text.find("==").into_iter().chain(text.find("!=")).min();
        let Some(at) = at else { return Self::Bad { why: "it must be KEY==VALUE or KEY!=VALUE".to_owned() } };
        let (name, value) = (text[..at].trim(), text[at + 2..].trim());
        if value.is_empty() {
            return Self::Bad { why: "there is no value behind the operator".to_owned() };
        }
        let key = match Key::parse(name) {
            Some(Key::Hostname { .. }) => Key::Hostname { by_inventory: is_host(value) },
            Some(key) => key,
            None => return Self::Bad { why: format!("`{name}` is no attribute of a host") },
        };
        if text[at..].starts_with('!') { Self::NotEqual { key, value } } else { Self::Equal { key, value } }
    }

    pub(in crate::placement) fn is_met(&self, site: &Site) -> bool {
        match self {
            Self::Equal { key, value } => matches(*key, value, site),
            Self::NotEqual { key, value } => !matches(*key, value, site),
            Self::Bad { .. } => false,
        }
    }

    pub(in crate::placement) fn misfit(&self, text: &str) -> Misfit {
        let constraint = text.to_owned();
        match self {
            Self::Bad { why } => Misfit::BadConstraint { constraint, why: why.clone() },
            Self::Equal { .. } | Self::NotEqual { .. } => Misfit::Constraint { constraint },
        }
    }
}

fn matches(key: Key, value: &str, site: &Site) -> bool {
    let has = key.of(site);
    match key {
        Key::Ip => has.eq_ignore_ascii_case(value) || is_within(has, value),
        Key::Arch => super::platform::same_arch(has, value),
        _ => has.eq_ignore_ascii_case(value),
    }
}

/// Whether an address is in a network such as `10.0.0.0/8`.
fn is_within(address: &str, network: &str) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(address), Ok(base), Ok(length)) = (address.parse::<IpAddr>(), base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let prefix = |bits: u128, width: u32| if length == 0 { 0 } else { bits >> (width - length) };
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) if length <= 32 => {
            prefix(u128::from(u32::from(a)), 32) == prefix(u128::from(u32::from(b)), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) if length <= 128 => prefix(a.into(), 128) == prefix(b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn addresses_are_found_in_networks() {
        assert!(is_within("10.1.2.3", "10.0.0.0/8"));
        assert!(!is_within("11.1.2.3", "10.0.0.0/8"));
        assert!(is_within("1.2.3.4", "0.0.0.0/0"));
        assert!(is_within("fd00::1", "fd00::/64"));
        assert!(!is_within("fd00::1", "10.0.0.0/8"));
        assert!(!is_within("10.1.2.3", "10.0.0.0/99"));
    }
}
