//! The URL at which a host's engine is reached.

use std::net::Ipv6Addr;

use crate::project::nearest;
use crate::project::{Address, Tls};

/// What `[defaults]` adds to an address that does not say it itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressDefaults {
    /// SSH user and port.
    pub user: Option<String>,
    pub port: Option<u16>,
    /// TLS files for TCP.
    pub tls: Option<Tls>,
}

/// A text that is no address, and what may have been meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidAddress {
    pub message: String,
    pub hint: Option<String>,
}

const SCHEMES: [&str; 3] = ["ssh", "tcp", "unix"];
/// Docker's own ports, without and with TLS (IANA: docker, docker-s).
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Reads `ssh://[user@]host[:port]`, `tcp://host[:port]` or `unix:///path`; IPv6 addresses stand in brackets.
pub fn parse_address(text: &str, defaults: &AddressDefaults) -> Result<Address, InvalidAddress> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint = if text.starts_with('/') { format!("`unix://{text}`?") } else { format!("`ssh://{text}`?") };
        return Err(invalid(format!("`{text}` has no scheme: an address is ssh://, tcp:// or unix://"), Some(hint)));
    };
    match scheme {
        "unix" if rest.starts_with('/') && rest.len() > 1 => Ok(Address::Unix { path: rest.to_owned() }),
        "unix" => Err(invalid(format!("`{text}` names no absolute path"), Some("`unix:///var/run/docker.sock`?".to_owned()))),
        "tcp" => tcp(text, rest, defaults),
        "ssh" => ssh(text, rest, defaults),
        _ => {
            let hint = nearest(scheme, SCHEMES).map(|near| format!("did you mean `{near}://{rest}`?"));
            Err(invalid(format!("`{scheme}` is no scheme of an address: it is ssh://, tcp:// or unix://"), hint))
        }
    }
}

fn tcp(text: &str, rest: &str, defaults: &AddressDefaults) -> Result<Address, InvalidAddress> {
    let (user, host, port) = authority(text, rest)?;
    if user.is_some() {
        return Err(invalid(format!("`{text}` names a user, which tcp:// does not have"), None));
    }
    let port = port.unwrap_or(if defaults.tls.is_some() { TLS_PORT } else { PLAIN_PORT });
    Ok(Address::Tcp { host, port, tls: defaults.tls.clone() })
}

fn ssh(text: &str, rest: &str, defaults: &AddressDefaults) -> Result<Address, InvalidAddress> {
    let (user, host, port) = authority(text, rest)?;
    Ok(Address::Ssh { user: user.or_else(|| defaults.user.clone()), host, port: port.or(defaults.port) })
}

/// Splits `[user@]host[:port]`. A trailing slash is let pass.
fn authority(text: &str, rest: &str) -> Result<(Option<String>, String, Option<u16>), InvalidAddress> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        let hint = "the engine's socket on the host is found by itself; the address ends after the port".to_owned();
        return Err(invalid(format!("`{text}` has a path"), Some(hint)));
    }
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(checked_user(text, user)?), rest),
        None => (None, rest),
    };
    let (host, port) = split_port(text, rest)?;
    Ok((user, checked_host(text, host)?, port.map(|port| checked_port(text, port)).transpose()?))
}

fn checked_user(text: &str, user: &str) -> Result<String, InvalidAddress> {
    if user.contains(':') {
        let hint = "use a key: `identity = \"~/.ssh/id_ed25519\"`, or the SSH agent".to_owned();
        return Err(invalid("a password in an address is not supported".to_owned(), Some(hint)));
    }
    if !is_word(user, "._-$\\") {
        return Err(invalid(format!("`{user}` in `{text}` is not a user name"), None));
    }
    Ok(user.to_owned())
}

/// The host without its brackets, and the text after the colon.
fn split_port<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<&'a str>), InvalidAddress> {
    if let Some(inner) = rest.strip_prefix('[') {
        let (host, after) =
            inner.split_once(']').ok_or_else(|| invalid(format!("`{text}` has a bracket that is not closed"), None))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(invalid(format!("`{host}` in `{text}` is not an IPv6 address"), None));
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(invalid(format!("`{after}` after the bracket in `{text}` is no port"), None)),
        };
    }
    if rest.matches(':').count() > 1 {
        return Err(invalid(format!("`{rest}` has several colons"), Some(format!("an IPv6 address: `[{rest}]`?"))));
    }
    Ok(rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))))
}

fn checked_host(text: &str, host: &str) -> Result<String, InvalidAddress> {
    if host.is_empty() {
        return Err(invalid(format!("`{text}` names no host"), None));
    }
    if host.parse::<Ipv6Addr>().is_err() && !is_word(host, "._-") {
        return Err(invalid(format!("`{host}` in `{text}` is not a host name"), None));
    }
    Ok(host.to_owned())
}

fn checked_port(text: &str, port: &str) -> Result<u16, InvalidAddress> {
    let number = port.parse().ok().filter(|number| *number > 0 && port.bytes().all(|digit| digit.is_ascii_digit()));
    number.ok_or_else(|| invalid(format!("`{port}` in `{text}` is not a port (1 to 65535)"), None))
}

/// Whether a text can stand in an SSH command as a word: no space, nothing that reads as an option.
fn is_word(text: &str, inner: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || inner.contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(fits)
}

fn invalid(message: String, hint: Option<String>) -> InvalidAddress {
    InvalidAddress { message, hint }
}

/// Checks one jump host, `[user@]host[:port]`, with or without `ssh://`; returns it without.
pub fn checked_jump(text: &str) -> Result<String, InvalidAddress> {
    let bare = text.trim().strip_prefix("ssh://").unwrap_or(text.trim());
    authority(text, bare)?;
    Ok(bare.to_owned())
}

/// Two addresses with equal results lead to one engine. The user does not matter, nor does the case of the host.
pub fn identity_of(address: &Address) -> String {
    const SSH_PORT: u16 = 22;
    match address {
        Address::Unix { path } => format!("unix {path}"),
        Address::Tcp { host, port, .. } => format!("tcp {} {port}", host.to_lowercase()),
        Address::Ssh { host, port, .. } => format!("ssh {} {}", host.to_lowercase(), port.unwrap_or(SSH_PORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressDefaults, parse_address};

    fn check(text: &str, expect: &str) {
        let defaults = AddressDefaults { user: Some("root".to_owned()), port: None, tls: None };
        let got = match parse_address(text, &defaults) {
            Ok(address) => address.to_string(),
            Err(error) => [Some(error.message), error.hint].into_iter().flatten().collect::<Vec<_>>().join(" | "),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn the_three_kinds_of_address_are_read() {
        check("ssh://alpha", "ssh://root@alpha");
        check("ssh://me@10.0.0.1:2222", "ssh://me@10.0.0.1:2222");
        check("ssh://[fe80::1]:22", "ssh://root@[fe80::1]:22");
        check("tcp://alpha:2375", "tcp://alpha:2375");
        check("tcp://alpha", "tcp://alpha:2375");
        check("unix:///var/run/docker.sock", "unix:///var/run/docker.sock");
    }

    #[test]
    fn what_is_no_address_says_what_may_have_been_meant() {
        check("alpha", "`alpha` has no scheme: an address is ssh://, tcp:// or unix:// | `ssh://alpha`?");
        check("shs://alpha", "`shs` is no scheme of an address: it is ssh://, tcp:// or unix:// | did you mean `ssh://alpha`?");
        check("unix://var/run", "`unix://var/run` names no absolute path | `unix:///var/run/docker.sock`?");
        check("ssh://", "`ssh://` names no host");
        check("ssh://a b", "`a b` in `ssh://a b` is not a host name");
        check("ssh://-oProxyCommand=x", "`-oProxyCommand=x` in `ssh://-oProxyCommand=x` is not a host name");
        check("ssh://a:0", "`0` in `ssh://a:0` is not a port (1 to 65535)");
        check("ssh://a:+1", "`+1` in `ssh://a:+1` is not a port (1 to 65535)");
        check("ssh://fe80::1", "`fe80::1` has several colons | an IPv6 address: `[fe80::1]`?");
        check("ssh://[x]", "`x` in `ssh://[x]` is not an IPv6 address");
        check("tcp://me@alpha:1", "`tcp://me@alpha:1` names a user, which tcp:// does not have");
    }
}
