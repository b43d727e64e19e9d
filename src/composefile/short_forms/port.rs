//! `[[HOST_IP:]PUBLISHED:]TARGET[/PROTOCOL]`, with ranges, as Docker's own parser reads it.

use std::net::IpAddr;

use super::super::access::{entry, text};
use super::super::{Map, Span, Value};

/// One port of the container, long form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::composefile) struct Port {
    pub(in crate::composefile) host_ip: String,
    pub(in crate::composefile) target: u16,
    /// Empty: the engine picks one.
    pub(in crate::composefile) published: String,
    pub(in crate::composefile) protocol: String,
}

impl Port {
    pub(in crate::composefile) fn into_value(self, span: Span) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), entry(span, value));
        put("mode", text("ingress"));
        if !self.host_ip.is_empty() {
            put("host_ip", text(self.host_ip));
        }
        put("target", Value::Int(i64::from(self.target)));
        if !self.published.is_empty() {
            put("published", text(self.published));
        }
        put("protocol", text(self.protocol));
        Value::Map(map)
    }
}

/// Returns the ports in the order of their text `TARGET/PROTOCOL`, or what is wrong.
pub(in crate::composefile) fn parse(short: &str) -> Result<Vec<Port>, String> {
    let (host_ip, published, target) = split(short);
    let (target, protocol) = target.split_once('/').unwrap_or((target, ""));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{short}`: the protocol is tcp, udp or sctp, not `{protocol}`"));
    }
    let host_ip = host_ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(host_ip);
    if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
        return Err(format!("`{short}`: `{host_ip}` is not an IP address"));
    }
    if target.is_empty() {
        return Err(format!("`{short}` names no port of the container"));
    }
    let (first, last) = range(target).ok_or_else(|| format!("`{short}`: `{target}` is no port and no range of ports"))?;
    let (host_first, host_last) = match published {
        "" => (0, 0),
        published => range(published).ok_or_else(|| format!("`{short}`: `{published}` is no port and no range of ports"))?,
    };
    if first == 0 {
        return Err(format!("`{short}`: a container has no port 0"));
    }
    if !published.is_empty() && last - first != host_last - host_first && first != last {
        return Err(format!("`{short}`: the ranges {published} and {target} differ in length"));
    }
    let published_at = |offset: u16| match published {
        "" => String::new(),
        _ if first == last && host_first != host_last => format!("{host_first}-{host_last}"),
        _ => (host_first + offset).to_string(),
    };
    let mut ports: Vec<Port> = (first..=last)
        .map(|target| Port {
            host_ip: host_ip.to_owned(),
            target,
            published: published_at(target - first),
            protocol: protocol.clone(),
        })
        .collect();
    if ports.len() > 1 {
        ports.sort_by_cached_key(|port| port.target.to_string());
    }
    Ok(ports)
}

/// Address, published, target: the last two colons separate, so that an IPv6 address may hold some.
fn split(short: &str) -> (&str, &str, &str) {
    let Some((rest, target)) = short.rsplit_once(':') else { return ("", "", short) };
    match rest.rsplit_once(':') {
        Some((host_ip, published)) => (host_ip, published, target),
        None => ("", rest, target),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { text.parse::<u16>().ok() } else { None };
    // Docker's parser looks at no more than two parts.
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or(text);
    let last = parts.next().unwrap_or(first);
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(short: &str, expect: &str) {
        let shown = match parse(short) {
            Ok(ports) => {
                let show = |port: &super::Port| format!("{}|{}|{}/{}", port.host_ip, port.published, port.target, port.protocol);
                ports.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Err(why) => why,
        };
        assert_eq!(shown, expect, "{short}");
    }

    #[test]
    fn each_part_may_be_left_out() {
        check("80", "||80/tcp");
        check("8080:80", "|8080|80/tcp");
        check("127.0.0.1:8080:80/udp", "127.0.0.1|8080|80/udp");
        check("127.0.0.1::80", "127.0.0.1||80/tcp");
        check("[::1]:8080:80/TCP", "::1|8080|80/tcp");
    }

    #[test]
    fn ranges_are_one_entry_per_container_port_in_the_order_of_their_text() {
        check("9-10:99-100", "|10|100/tcp |9|99/tcp");
        check("9-10", "||10/tcp ||9/tcp");
        check("7000-7010:80", "|7000-7010|80/tcp");
    }

    #[test]
    fn what_cannot_be_is_told() {
        check("1-3:3-4", "`1-3:3-4`: the ranges 1-3 and 3-4 differ in length");
        check("80:", "`80:` names no port of the container");
        check("x:80", "`x:80`: `x` is no port and no range of ports");
        check("80/quic", "`80/quic`: the protocol is tcp, udp or sctp, not `quic`");
        check("1.2.3:80:80", "`1.2.3:80:80`: `1.2.3` is not an IP address");
        check("70000", "`70000`: `70000` is no port and no range of ports");
        check("81-80", "`81-80`: `81-80` is no port and no range of ports");
    }
}
