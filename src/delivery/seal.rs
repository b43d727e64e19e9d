//! Keys, and what is encrypted with them where it lies. The only user of ring.
//!
//! A key is 32 bytes, of which one is derived for each purpose and each content (HMAC-SHA-256). What is sealed is ChaCha20-Poly1305:
//! who has it without the key can neither read nor change it, nor put what is sealed elsewhere in its place.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// What something sealed begins with; the nonce follows.
const MAGIC: &[u8] = b"mcompose-sealed-1\n";
const KEY_BYTES: usize = 32;
/// Of a key's id, in hexadecimal digits.
const ID_CHARS: usize = 16;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("line {line} is no key: one is {} hexadecimal digits", KEY_BYTES * 2)]
    NoKey { line: usize },
    #[error("no key is in it")]
    Empty,
    #[error("it is encrypted with key {key}, which is not here")]
    Unknown { key: String },
    #[error("it does not open with its key: it was changed, or is not whole")]
    Broken,
    #[error("the machine has no random numbers")]
    NoRandomness,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    bytes: [u8; KEY_BYTES],
    id: String,
}

/// The keys that this machine has: with the first it seals, with each it opens. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<Key>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Keys {
    /// Reads keys, one a line. Empty lines, and those that begin with `#`, are passed over.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let key = |(index, line): (usize, &str)| key_of(line).ok_or(SealError::NoKey { line: index + 1 });
        let keys: Vec<Key> = lines.map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(SealError::Empty) } else { Ok(Self { keys }) }
    }

    /// A new key, as `parse` reads it.
    pub fn generate() -> Result<String, SealError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
        Ok(hexadecimal(&bytes))
    }

    /// What the keys are called; they cannot be guessed from it.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// For something that is to be sealed: the id of its key, and a digest of it that tells nothing to those who do not have the key.
    pub(super) fn digest(&self, digest: &str, salt: &str) -> Option<(String, String)> {
        let key = self.keys.first()?;
        Some((key.id.clone(), hexadecimal(&derived(&key.bytes, &format!("digest\n{salt}\n{digest}")))))
    }

    /// Encrypts what has this digest with the key of this id.
    pub(super) fn seal(&self, id: &str, digest: &str, mut plain: Vec<u8>) -> Result<Vec<u8>, SealError> {
        let key = self.key(id, digest)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(digest.as_bytes()), &mut plain)
            .map_err(|_| SealError::Broken)?;
        Ok([MAGIC, &nonce, &plain].concat())
    }

    /// What was sealed with the key of this id, and has this digest.
    pub(super) fn open(&self, id: &str, digest: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.key(id, digest)?;
        let rest = sealed.strip_prefix(MAGIC).ok_or(SealError::Broken)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Broken)?;
        let mut text = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(digest.as_bytes()), &mut text).map_err(|_| SealError::Broken)?.len();
        text.truncate(opened);
        Ok(text)
    }

    /// Each content has a key of its own, so that no nonce is ever used twice with one.
    fn key(&self, id: &str, digest: &str) -> Result<LessSafeKey, SealError> {
        let known = self.keys.iter().find(|key| key.id == id);
        let key = known.ok_or_else(|| SealError::Unknown { key: id.to_owned() })?;
        let bytes = derived(&key.bytes, &format!("seal\n{digest}"));
        UnboundKey::new(&CHACHA20_POLY1305, &bytes).map(LessSafeKey::new).map_err(|_| SealError::Broken)
    }
}

fn key_of(text: &str) -> Option<Key> {
    let digits = text.as_bytes();
    if digits.len() != 2 * KEY_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let mut id = hexadecimal(&derived(&bytes, "id"));
    id.truncate(ID_CHARS);
    Some(Key { bytes, id })
}

fn derived(key: &[u8; KEY_BYTES], purpose: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, format!("mcompose {purpose}").as_bytes()).as_ref().to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        Keys::parse(text).expect("they are keys")
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_alone() {
        let (first, second) = (Keys::generate().expect("there is randomness"), Keys::generate().expect("there is randomness"));
        assert_ne!(first, second);
        let (one, both) = (keys(&first), keys(&format!("# the new one\n{second}\n\n{first}\n")));
        let (id, digest) = one.digest("d", "shop key").expect("there is a key");
        let sealed = one.seal(&id, &digest, b"secret".to_vec()).expect("it is sealed");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(both.open(&id, &digest, &sealed), Ok(b"secret".to_vec()));
        assert_eq!(keys(&second).open(&id, &digest, &sealed), Err(SealError::Unknown { key: id.clone() }));
        assert_eq!(one.open(&id, "another", &sealed), Err(SealError::Broken), "what is sealed does not pass for something else");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(one.open(&id, &digest, &changed), Err(SealError::Broken), "byte {at}");
            assert_eq!(one.open(&id, &digest, &sealed[..at]), Err(SealError::Broken), "the first {at} bytes");
        }
        // The first one seals.
        assert_ne!(both.digest("d", "shop key"), one.digest("d", "shop key"));
        assert_ne!(one.seal(&id, &digest, b"secret".to_vec()), Ok(sealed), "twice the same does not show");
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_line() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(Keys::parse(&format!("{good}\nshort")), Err(SealError::NoKey { line: 2 }));
        assert_eq!(Keys::parse(&"+f".repeat(32)), Err(SealError::NoKey { line: 1 }));
        assert_eq!(Keys::parse(&"é".repeat(32)), Err(SealError::NoKey { line: 1 }));
        assert_eq!(Keys::parse("# none\n"), Err(SealError::Empty));
        assert!(!format!("{:?}", keys(&good)).contains("0123"), "keys are not shown");
    }
}
