//! Published ports against what is bound on the host already.

use super::Query;
use crate::placement::Misfit;
use crate::placement::scene::Scene;
use crate::placement::site::{Holder, Site};
use crate::project::{Protocol, Service};

/// A host port that a replica binds: one of a range, with one port or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::placement) struct PortAsk<'a> {
    /// Empty: every address.
    pub(in crate::placement) ip: &'a str,
    pub(in crate::placement) first: u16,
    pub(in crate::placement) last: u16,
    pub(in crate::placement) protocol: Protocol,
}

/// The ports that the service binds itself. Those that the engine picks, and those of a service in another's network, are none.
pub(in crate::placement) fn asked(service: &Service) -> Vec<PortAsk<'_>> {
    let mode = service.network_mode.as_deref().unwrap_or_default();
    if mode == "host" || mode == "none" || mode.contains(':') {
        return Vec::new();
    }
    let ask = |port: &'_ crate::project::Port| {
        let text = port.published.as_deref().filter(|text| !text.is_empty() && *text != "0")?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?, port.protocol))
    };
    let asks = service.ports.iter().filter_map(|port| {
        let (first, last, protocol) = ask(port)?;
        Some(PortAsk { ip: port.host_ip.as_deref().unwrap_or_default(), first, last, protocol })
    });
    asks.collect()
}

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    let asks = &scene.asks[query.service].ports;
    if asks.is_empty() {
        return None;
    }
    match choose(&scene.sites[query.site], asks) {
        Ok(_) => None,
        Err((ask, holder)) => {
            let protocol = ask.protocol.to_string();
            Some(Misfit::Port { port: ask.first, protocol, holder: scene.name_of(holder) })
        }
    }
}

/// A free port for each, the lowest of its range, or the first ask that finds none and who holds its first port.
pub(in crate::placement) fn choose<'a, 'b>(
    site: &'b Site<'a>,
    asks: &'b [PortAsk<'a>],
) -> Result<Vec<u16>, (&'b PortAsk<'a>, Holder<'a>)> {
    let mut chosen: Vec<u16> = Vec::with_capacity(asks.len());
    for (index, ask) in asks.iter().enumerate() {
        let by_sibling = |port: u16| {
            let earlier = asks[..index].iter().zip(&chosen);
            earlier
                .into_iter()
                .any(|(other, taken)| *taken == port && other.protocol == ask.protocol && overlap(other.ip, ask.ip))
        };
        let mut holder = None;
        let free = (ask.first..=ask.last).find(|port| match site.port_holder(ask, *port) {
            Some(found) => {
                holder.get_or_insert(found);
                false
            }
            None => !by_sibling(*port),
        });
        match free {
            Some(port) => chosen.push(port),
            None => return Err((ask, holder.unwrap_or(Holder::Itself))),
        }
    }
    Ok(chosen)
}

/// Whether two bindings of one port collide: the empty address is every address, `0.0.0.0` and `::` are those of their family.
pub(in crate::placement) fn overlap(one: &str, other: &str) -> bool {
    let is_every = |ip: &str| matches!(ip, "0.0.0.0" | "::" | "[::]");
    if one.is_empty() || other.is_empty() || one == other {
        return true;
    }
    one.contains(':') == other.contains(':') && (is_every(one) || is_every(other))
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn addresses_collide_within_their_family() {
        for (one, other) in [("", "127.0.0.1"), ("0.0.0.0", "10.0.0.1"), ("::", "fd00::1"), ("10.0.0.1", "10.0.0.1"), ("", "::")]
        {
            assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
        }
        for (one, other) in [("10.0.0.1", "10.0.0.2"), ("0.0.0.0", "fd00::1"), ("0.0.0.0", "::"), ("127.0.0.1", "10.0.0.1")] {
            assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
        }
    }
}
