//! Whether a server's key is known: plain and hashed names, wildcards, `[host]:port`, `@revoked`. Certificate authorities are
//! passed over: libssh2 cannot check certificates.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::config::wildcard;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// No entry for the host.
    Unknown,
    /// Entries for the host, none with this key.
    Changed,
    Revoked,
}

/// Judges a key, as the server sent it, by the texts of the known_hosts files.
pub(super) fn judge(texts: &[String], host: &str, port: u16, key: &[u8]) -> Verdict {
    let key = BASE64.encode(key);
    let mut verdict = Verdict::Unknown;
    for entry in entries(texts, host, port) {
        match (entry.marker, entry.key == key) {
            (Some("@revoked"), true) => return Verdict::Revoked,
            (None, true) => verdict = Verdict::Known,
            (None, false) if verdict == Verdict::Unknown => verdict = Verdict::Changed,
            _ => {}
        }
    }
    verdict
}

/// The types of the keys that are known of a host, for the server to be asked for one of these.
pub(super) fn known_types(texts: &[String], host: &str, port: u16) -> Vec<String> {
    let mut types: Vec<String> =
        entries(texts, host, port).filter(|entry| entry.marker.is_none()).map(|entry| entry.kind.to_owned()).collect();
    types.dedup();
    types
}

struct Entry<'a> {
    marker: Option<&'a str>,
    kind: &'a str,
    key: &'a str,
}

fn entries<'a>(texts: &'a [String], host: &str, port: u16) -> impl Iterator<Item = Entry<'a>> {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    texts.iter().flat_map(|text| text.lines()).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let (marker, names) = if first.starts_with('@') { (Some(first), words.next()?) } else { (None, first) };
        let (kind, key) = (words.next()?, words.next()?);
        names_host(names, &name).then_some(Entry { marker, kind, key })
    })
}

fn names_host(names: &str, host: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        return hashed.split_once('|').is_some_and(|(salt, hash)| is_hash_of(host, salt, hash));
    }
    let fits = |pattern: &str| wildcard(pattern.as_bytes(), host.as_bytes());
    let denied = names.split(',').filter_map(|name| name.strip_prefix('!')).any(fits);
    !denied && names.split(',').any(|name| !name.starts_with('!') && fits(name))
}

fn is_hash_of(host: &str, salt: &str, hash: &str) -> bool {
    let (Ok(salt), Ok(hash)) = (BASE64.decode(salt), BASE64.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(host.to_lowercase().as_bytes());
    mac.verify_slice(&hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge, known_types};

    /// `QUJD` is the key `ABC`, `WFla` is `XYZ`. The hashed line was made by `ssh-keygen -H` of `hashed.example`.
    const TEXT: &str = "plain,10.0.0.1 ssh-ed25519 QUJD comment\n[other]:2222 ssh-rsa QUJD\n*.wild ssh-ed25519 QUJD\n\
                        @revoked * ssh-ed25519 WFla\n@cert-authority * ssh-ed25519 QUJD\n";

    fn check(host: &str, port: u16, key: &[u8], verdict: Verdict) {
        assert_eq!(judge(&[TEXT.to_owned()], host, port, key), verdict, "{host}");
    }

    #[test]
    fn names_ports_and_wildcards_are_found() {
        check("plain", 22, b"ABC", Verdict::Known);
        check("10.0.0.1", 22, b"ABC", Verdict::Known);
        check("other", 2222, b"ABC", Verdict::Known);
        check("a.wild", 22, b"ABC", Verdict::Known);
        assert_eq!(known_types(&[TEXT.to_owned()], "other", 2222), ["ssh-rsa"]);
    }

    #[test]
    fn what_is_not_known_is_told_from_what_has_changed() {
        check("nobody", 22, b"ABC", Verdict::Unknown);
        check("other", 22, b"ABC", Verdict::Unknown);
        check("plain", 22, b"ABD", Verdict::Changed);
    }

    #[test]
    fn a_revoked_key_is_refused_for_every_host() {
        check("plain", 22, b"XYZ", Verdict::Revoked);
    }
}
