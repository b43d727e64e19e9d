//! Whether a server's key is known: plain and hashed names, wildcards, `[host]:port`, `@revoked`. Certificates are not checked,
//! since libssh2 cannot; who is known by a `@cert-authority` alone is told so.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::config::words::fits_any;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    Unknown,
    /// No key of the host is known, only who signs its certificate.
    OnlyAuthority,
    /// Keys of other types are known of the host.
    OtherType {
        known: Vec<String>,
    },
    /// Another key of this type is known of the host.
    Changed,
    Revoked,
}

/// The name of a server in known_hosts: `host`, or `[host]:port` where the port is not 22. An alias has no port.
pub(super) fn name_of(host: &str, port: u16, alias: Option<&str>) -> String {
    const SSH_PORT: u16 = 22;
    match alias {
        Some(alias) => alias.to_lowercase(),
        None if port == SSH_PORT => host.to_lowercase(),
        None => format!("[{}]:{port}", host.to_lowercase()),
    }
}

/// Judges a key, as the server sent it, by the texts of the known_hosts files.
pub(super) fn judge(texts: &[String], name: &str, key: &[u8]) -> Verdict {
    let (kind, key) = (kind_of(key), BASE64.encode(key));
    let entries: Vec<Entry<'_>> = entries(texts, name).collect();
    let plain = || entries.iter().filter(|entry| entry.marker.is_none());
    if entries.iter().any(|entry| entry.marker == Some("@revoked") && entry.key == key) {
        return Verdict::Revoked;
    }
    if plain().any(|entry| entry.key == key) {
        return Verdict::Known;
    }
    if plain().any(|entry| entry.kind == kind) {
        return Verdict::Changed;
    }
    let known = known_types(texts, name);
    match known.is_empty() {
        false => Verdict::OtherType { known },
        true if entries.iter().any(|entry| entry.marker == Some("@cert-authority")) => Verdict::OnlyAuthority,
        true => Verdict::Unknown,
    }
}

/// The types of the keys that are known of a host, for the server to be asked for one of these first.
pub(super) fn known_types(texts: &[String], name: &str) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    for entry in entries(texts, name).filter(|entry| entry.marker.is_none()) {
        if !types.iter().any(|kind| kind == entry.kind) {
            types.push(entry.kind.to_owned());
        }
    }
    types
}

/// The type that a key in SSH's wire format begins with; empty where it is none.
pub(super) fn kind_of(key: &[u8]) -> String {
    let length = key.first_chunk().map_or(0, |bytes: &[u8; 4]| u32::from_be_bytes(*bytes) as usize);
    let kind = key.get(4..).and_then(|rest| rest.get(..length)).unwrap_or_default();
    String::from_utf8_lossy(kind).into_owned()
}

struct Entry<'a> {
    marker: Option<&'a str>,
    kind: &'a str,
    key: &'a str,
}

fn entries<'a>(texts: &'a [String], name: &str) -> impl Iterator<Item = Entry<'a>> {
    texts.iter().flat_map(|text| text.lines()).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let (marker, names) = if first.starts_with('@') { (Some(first), words.next()?) } else { (None, first) };
        let (kind, key) = (words.next()?, words.next()?);
        names_host(names, name).then_some(Entry { marker, kind, key })
    })
}

fn names_host(names: &str, host: &str) -> bool {
    match names.strip_prefix("|1|") {
        Some(hashed) => hashed.split_once('|').is_some_and(|(salt, hash)| is_hash_of(host, salt, hash)),
        None => fits_any(names.split(','), host),
    }
}

fn is_hash_of(host: &str, salt: &str, hash: &str) -> bool {
    let (Ok(salt), Ok(hash)) = (BASE64.decode(salt), BASE64.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(host.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD as BASE64;

    use super::{Verdict, judge, kind_of, known_types, name_of};

    /// A key in wire format whose inner part is one letter.
    fn key(kind: &str, letter: u8) -> Vec<u8> {
        let mut bytes = (kind.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind.as_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 1, letter]);
        bytes
    }

    /// A is known, R is revoked. The hashed lines were made by `ssh-keygen -H` of `hashed.example` and `[hashed.example]:2222`.
    fn text() -> String {
        let line = |names: &str, kind: &str, letter| format!("{names} {kind} {} comment\n", BASE64.encode(key(kind, letter)));
        [
            "# a comment\n\n".to_owned(),
            line("plain,10.0.0.1", "ssh-ed25519", b'A'),
            line("[other]:2222", "ssh-rsa", b'A'),
            line("*.wild,!not.wild", "ssh-ed25519", b'A'),
            line("@revoked *", "ssh-ed25519", b'R'),
            line("@cert-authority *.signed", "ssh-ed25519", b'C'),
            line("|1|GOtfUK4A2oyPz3N47yE0ek4U+2A=|lTuydIP/iCxNuMgIWqTQJGUmmmI=", "ssh-ed25519", b'A'),
            line("|1|hT5Mo7+F/tkUq5BdZWZtWATX4LY=|I6YqwKrg4eDdyWR3QQ2R7g6XoZE=", "ssh-ed25519", b'A'),
            "|1|broken ssh-ed25519 AAAA\nplain\nplain ssh-rsa\n".to_owned(),
        ]
        .concat()
    }

    fn check(host: &str, port: u16, kind: &str, letter: u8, expect: Verdict) {
        assert_eq!(judge(&[text()], &name_of(host, port, None), &key(kind, letter)), expect, "{host}:{port} {kind}");
    }

    #[test]
    fn names_ports_wildcards_and_hashes_are_found() {
        check("plain", 22, "ssh-ed25519", b'A', Verdict::Known);
        check("PLAIN", 22, "ssh-ed25519", b'A', Verdict::Known);
        check("10.0.0.1", 22, "ssh-ed25519", b'A', Verdict::Known);
        check("other", 2222, "ssh-rsa", b'A', Verdict::Known);
        check("a.wild", 22, "ssh-ed25519", b'A', Verdict::Known);
        check("hashed.example", 22, "ssh-ed25519", b'A', Verdict::Known);
        check("hashed.example", 2222, "ssh-ed25519", b'A', Verdict::Known);
    }

    #[test]
    fn what_is_not_known_is_told_from_what_has_changed() {
        check("nobody", 22, "ssh-ed25519", b'A', Verdict::Unknown);
        check("other", 22, "ssh-rsa", b'A', Verdict::Unknown);
        check("not.wild", 22, "ssh-ed25519", b'A', Verdict::Unknown);
        check("hashed.example", 2223, "ssh-ed25519", b'A', Verdict::Unknown);
        check("plain", 22, "ssh-ed25519", b'B', Verdict::Changed);
        check("plain", 22, "ssh-rsa", b'A', Verdict::OtherType { known: vec!["ssh-ed25519".to_owned()] });
        check("a.signed", 22, "ssh-ed25519", b'A', Verdict::OnlyAuthority);
    }

    #[test]
    fn a_revoked_key_is_refused_for_every_host() {
        check("plain", 22, "ssh-ed25519", b'R', Verdict::Revoked);
        check("nobody", 22, "ssh-ed25519", b'R', Verdict::Revoked);
    }

    #[test]
    fn an_alias_stands_for_name_and_port() {
        assert_eq!(name_of("other", 2222, Some("Plain")), "plain");
        assert_eq!(judge(&[text()], &name_of("x", 2222, Some("plain")), &key("ssh-ed25519", b'A')), Verdict::Known);
    }

    #[test]
    fn the_known_types_are_told_each_once() {
        let twice = format!("{}{}", text(), text());
        assert_eq!(known_types(&[twice], "plain"), ["ssh-ed25519"]);
        assert_eq!(known_types(&[text()], "[other]:2222"), ["ssh-rsa"]);
        assert_eq!(known_types(&[text()], "a.signed"), [""; 0]);
        assert_eq!((kind_of(&key("ssh-rsa", b'A')).as_str(), kind_of(b"\xff\xff\xff\xffab").as_str()), ("ssh-rsa", ""));
    }
}
