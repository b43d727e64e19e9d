//! With which keys to log in, in which order: what is in an identity file, and what of that the agent holds.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

/// An identity file by its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyFile {
    /// A private key that can be used as it is.
    Ready { public: Option<Vec<u8>> },
    /// A private key under a passphrase: of use only where the agent holds it.
    Locked { public: Option<Vec<u8>> },
    /// A public key: names one of the agent's.
    Public { public: Vec<u8> },
    /// Neither; why, in words.
    Unusable { why: &'static str },
}

/// Reads what kind of key a file has. `beside` is the text of the file with `.pub` behind its name.
pub(super) fn inspect(text: &str, beside: Option<&str>) -> KeyFile {
    let public_beside = || beside.and_then(public_line);
    if let Some(public) = public_line(text) {
        return KeyFile::Public { public };
    }
    if text.starts_with("PuTTY-User-Key-File") {
        return KeyFile::Unusable { why: "is a key of PuTTY: `puttygen FILE -O private-openssh -o NEW` converts it" };
    }
    let Some(label) = pem_label(text) else { return KeyFile::Unusable { why: "is no private key" } };
    match label {
        "OPENSSH PRIVATE KEY" => match openssh_head(text) {
            Some((cipher, public)) if cipher == b"none" && is_security_key(&public) => {
                KeyFile::Unusable { why: "needs its security key, which only the agent can ask" }
            }
            Some((cipher, public)) if cipher == b"none" => KeyFile::Ready { public: Some(public) },
            Some((_, public)) => KeyFile::Locked { public: Some(public) },
            None => KeyFile::Unusable { why: "is a damaged private key" },
        },
        "ENCRYPTED PRIVATE KEY" => KeyFile::Locked { public: public_beside() },
        _ if text.contains("Proc-Type: 4,ENCRYPTED") => KeyFile::Locked { public: public_beside() },
        _ if label.ends_with("PRIVATE KEY") => KeyFile::Ready { public: public_beside() },
        _ => KeyFile::Unusable { why: "is no private key" },
    }
}

fn pem_label(text: &str) -> Option<&str> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

/// `ssh-ed25519 AAAA… comment`
fn public_line(text: &str) -> Option<Vec<u8>> {
    let mut words = text.split_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    let key = BASE64.decode(key).ok()?;
    (super::known_hosts::kind_of(&key) == kind).then_some(key)
}

fn is_security_key(public: &[u8]) -> bool {
    super::known_hosts::kind_of(public).starts_with("sk-")
}

/// The cipher's name and the public key, which stand in the open before the private one (PROTOCOL.key of OpenSSH).
fn openssh_head(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let inner: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let bytes = BASE64.decode(inner).ok()?;
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let cipher = string(&mut rest)?.to_vec();
    let (_derivation, _options) = (string(&mut rest)?, string(&mut rest)?);
    let _count = rest.split_off(..4)?;
    Some((cipher, string(&mut rest)?.to_vec()))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let text = after.get(..length)?;
    *rest = &after[length..];
    Some(text)
}

/// One way to prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidate {
    /// The agent's key at this place of its list.
    Agent(usize),
    /// The identity file at this place.
    File(usize),
}

/// What to try, in order: keys of identity files (from the agent where it holds them), then the agent's others.
///
/// A server counts tries (six by default), so the keys that are meant come before those that merely are there.
pub(super) fn candidates(files: &[KeyFile], agent: &[Vec<u8>], identities_only: bool) -> Vec<Candidate> {
    let mut list = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let public = match file {
            KeyFile::Ready { public } | KeyFile::Locked { public } => public.as_ref(),
            KeyFile::Public { public } => Some(public),
            KeyFile::Unusable { .. } => None,
        };
        match public.and_then(|public| agent.iter().position(|held| held == public)) {
            Some(held) => list.push(Candidate::Agent(held)),
            None if matches!(file, KeyFile::Ready { .. }) => list.push(Candidate::File(index)),
            None => {}
        }
    }
    if !identities_only {
        list.extend((0..agent.len()).map(Candidate::Agent));
    }
    let mut once = Vec::new();
    for candidate in list {
        if !once.contains(&candidate) {
            once.push(candidate);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD as BASE64;

    use super::{Candidate, KeyFile, candidates, inspect};

    fn string(text: &[u8]) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes(), text].concat()
    }

    fn public(kind: &str) -> Vec<u8> {
        [string(kind.as_bytes()), string(b"inner")].concat()
    }

    /// The open part of a private key as ssh-keygen writes it.
    fn private(cipher: &[u8], kind: &str) -> String {
        let count = 1_u32.to_be_bytes().to_vec();
        let parts = [b"openssh-key-v1\0".to_vec(), string(cipher), string(b"bcrypt"), string(b""), count, string(&public(kind))];
        let text = BASE64.encode(parts.concat());
        let (first, second) = text.split_at(70);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{first}\n{second}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    #[test]
    fn a_key_file_is_told_by_its_text() {
        let ours = public("ssh-ed25519");
        let line = format!("ssh-ed25519 {} me@here\n", BASE64.encode(&ours));
        let known = Some(ours.clone());
        assert_eq!(inspect(&private(b"none", "ssh-ed25519"), None), KeyFile::Ready { public: known.clone() });
        assert_eq!(inspect(&private(b"aes256-ctr", "ssh-ed25519"), None), KeyFile::Locked { public: known.clone() });
        assert_eq!(inspect(&line, None), KeyFile::Public { public: ours });
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        assert_eq!(inspect(pem, Some(&line)), KeyFile::Locked { public: known });
        assert_eq!(inspect("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", None), KeyFile::Locked { public: None });
        assert_eq!(inspect("-----BEGIN EC PRIVATE KEY-----\n", None), KeyFile::Ready { public: None });
    }

    #[test]
    fn what_is_no_private_key_says_what_it_is() {
        let why = |text: &str| match inspect(text, None) {
            KeyFile::Unusable { why } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why("hello"), "is no private key");
        assert_eq!(why(""), "is no private key");
        assert_eq!(why("-----BEGIN CERTIFICATE-----\n"), "is no private key");
        assert_eq!(
            why("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
            "is a damaged private key"
        );
        assert!(why("PuTTY-User-Key-File-3: ssh-ed25519\n").contains("puttygen"));
        assert!(why(&private(b"none", "sk-ssh-ed25519@openssh.com")).contains("security key"));
    }

    #[test]
    fn keys_that_are_meant_come_first_and_the_agent_signs_for_those_it_holds() {
        let file = |letter: u8| KeyFile::Ready { public: Some(vec![letter]) };
        let locked = |letter: u8| KeyFile::Locked { public: Some(vec![letter]) };
        let agent = [vec![1], vec![2], vec![3]];
        use Candidate::{Agent, File};
        assert_eq!(candidates(&[file(9), file(2)], &agent, false), [File(0), Agent(1), Agent(0), Agent(2)]);
        assert_eq!(candidates(&[file(9), locked(3), locked(8)], &agent, true), [File(0), Agent(2)]);
        assert_eq!(candidates(&[KeyFile::Public { public: vec![1] }], &agent, true), [Agent(0)]);
        assert_eq!(candidates(&[], &agent, true), []);
        assert_eq!(candidates(&[], &[], false), []);
    }
}
