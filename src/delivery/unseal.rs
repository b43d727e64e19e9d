//! Secrets that lie encrypted on a host, opened into its memory, and taken out of there again.
//!
//! The host's /run is in memory. A carrier that binds a folder of it lets archives be unpacked there, as into a volume.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};
use tar::{Archive, Builder, EntryType, Header};

use super::carry::{MOUNTED_AT, carrier, make, spec};
use super::seal::Keys;
use crate::engine::{Engine, EngineError, ErrorKind};
use crate::project::Content;

/// Where a carrier has the folder in memory.
const MEMORY: &str = "/memory";
/// Where the link leads that takes the place of what is wiped: nowhere, so that no container starts with it.
const NOWHERE: &str = "gone";

/// Opens a content that is sealed in its volume on the host, and puts it into the host's memory. What is there already is put there anew.
pub async fn unseal(engine: &dyn Engine, content: &Content, keys: &Keys) -> Result<(), EngineError> {
    let name = carrier(&content.volume());
    let mut carrier = spec("volume", &content.volume(), &content.digest);
    carrier.host_config.binds.push(format!("{}:{MEMORY}", Content::UNSEALED));
    make(engine, &name, &carrier).await?;
    let unsealed = async {
        let pieces = engine.get_archive(&name, &format!("{MOUNTED_AT}/{}", Content::FILE)).await?;
        let archive = pieces.try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        let opened = opened(&archive.await?, content, keys);
        let archive = opened.map_err(|error| failed(engine, content, "unseal", error.to_string()))?;
        engine.put_archive(&name, MEMORY, stream::iter([Ok(Bytes::from(archive))]).boxed()).await
    };
    let unsealed = unsealed.await;
    let removed = engine.remove(&name, false, true).await;
    unsealed.and(removed)
}

/// Takes a content out of the host's memory. A container that runs keeps what it has of it.
pub async fn wipe(engine: &dyn Engine, content: &Content) -> Result<(), EngineError> {
    let name = carrier(&content.volume());
    let mut carrier = spec("volume", &content.volume(), &content.digest);
    carrier.host_config.mounts.clear();
    carrier.host_config.binds.push(format!("{}:{MEMORY}", Content::UNSEALED));
    make(engine, &name, &carrier).await?;
    let wiped = async {
        let archive = link_instead(content).map_err(|error| failed(engine, content, "wipe", error.to_string()))?;
        engine.put_archive(&name, MEMORY, stream::iter([Ok(Bytes::from(archive))]).boxed()).await
    };
    let wiped = wiped.await;
    let removed = engine.remove(&name, false, true).await;
    wiped.and(removed)
}

/// The archive for the memory of a host, out of that of the sealed file: all of it in a folder that only root may enter.
fn opened(archive: &[u8], content: &Content, keys: &Keys) -> io::Result<Vec<u8>> {
    let mut sealed = Vec::new();
    let mut archive = Archive::new(archive);
    let entry = archive.entries()?.next();
    entry.ok_or_else(|| io::Error::other("nothing is in its volume"))??.read_to_end(&mut sealed)?;
    let key = content.sealed.as_deref().unwrap_or_default();
    let plain = keys.open(key, &content.digest, &sealed).map_err(io::Error::other)?;
    let folder = Path::new(content.unsealed_folder());
    let mut out = Builder::new(Vec::new());
    out.append_data(&mut header(EntryType::Directory, 0o700), folder.join(""), io::empty())?;
    let mut plain = Archive::new(plain.as_slice());
    for entry in plain.entries()? {
        let mut entry = entry?;
        let (mut header, path) = (entry.header().clone(), entry.path()?.into_owned());
        // A file is the archive's one entry, of that name; what is in a folder has its path there.
        let path = if content.is_folder { folder.join(Content::FILE).join(path) } else { folder.join(path) };
        match entry.link_name()?.filter(|_| header.entry_type() == EntryType::Symlink) {
            Some(target) => out.append_link(&mut header, path, target)?,
            None => out.append_data(&mut header, path, &mut entry)?,
        }
    }
    out.into_inner()
}

fn link_instead(content: &Content) -> io::Result<Vec<u8>> {
    let mut out = Builder::new(Vec::new());
    out.append_link(&mut header(EntryType::Symlink, 0o777), content.unsealed_folder(), NOWHERE)?;
    out.into_inner()
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn failed(engine: &dyn Engine, content: &Content, verb: &str, message: String) -> EngineError {
    EngineError { host: engine.host().clone(), call: format!("{verb} {}", content.name), kind: ErrorKind::Refused, message }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::delivery::{Cargo, Freight, Owner, Source, carry};
    use crate::engine::fake::Fake;
    use crate::project::{HostName, VolumeSpec};

    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    /// Brings something sealed to the one host, and tells what that is.
    async fn delivered(fake: &Fake, source: Source, is_folder: bool) -> (Cargo, Content) {
        let keys = Keys::parse(KEY).expect("it is a key");
        let (sealed, digest) = keys.digest("d", "shop key").expect("there is a key");
        let mut cargo = Cargo::of_keys(keys);
        cargo.add(digest.clone(), source, 1 << 20).expect("it is packed");
        let content = Content { name: "secret key".to_owned(), digest, bytes: 2048, is_folder, sealed: Some(sealed) };
        let volume = VolumeSpec { name: content.volume(), ..VolumeSpec::default() };
        let to = host();
        let freight = Freight { to: &to, from: None, content: &content, volume: &volume, left: &[] };
        carry(&fake.engines(), freight, &cargo).await.expect("nothing fails");
        (cargo, content)
    }

    fn host() -> HostName {
        HostName::new("h1").expect("a good name")
    }

    fn memory(fake: &Fake) -> BTreeMap<String, Vec<u8>> {
        fake.host("h1").memory()
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_lies_encrypted_on_the_disk_and_open_in_memory_until_it_is_wiped_or_the_host_loses_power() {
        let fake = Fake::new(&["h1"]);
        let (cargo, content) = delivered(&fake, Source::Text { text: b"word".to_vec(), owner: Owner::default() }, false).await;
        let at_rest = fake.host("h1").files(&content.volume());
        assert!(!at_rest["file"].windows(4).any(|part| part == b"word"), "it is encrypted");
        assert_eq!(memory(&fake), BTreeMap::new());

        let engines = fake.engines();
        let engine = engines[&host()].as_ref();
        let path = content.unsealed_path().trim_start_matches('/').to_owned();
        let open = BTreeMap::from([(path, b"word".to_vec())]);
        for _ in 0..2 {
            unseal(engine, &content, cargo.keys()).await.expect("the key is there");
            assert_eq!(memory(&fake), open);
        }
        wipe(engine, &content).await.expect("nothing fails");
        assert_eq!(memory(&fake), BTreeMap::new());
        unseal(engine, &content, cargo.keys()).await.expect("what was wiped comes back");
        assert_eq!(memory(&fake), open);
        fake.host("h1").crash();
        fake.host("h1").boot();
        assert_eq!(memory(&fake), BTreeMap::new());
        assert_eq!(fake.host("h1").containers(), Vec::new(), "carriers go");

        let others = Keys::parse(&KEY.replace('0', "f")).expect("it is a key");
        let error = unseal(engine, &content, &others).await.expect_err("it is another key");
        assert!(error.to_string().contains("unseal secret key"), "{error}");
        assert!(error.message.contains("which is not here"), "{error}");
        fake.host("h1").write_file(&content.volume(), "file", Some(b"something else"));
        let error = unseal(engine, &content, cargo.keys()).await.expect_err("it was changed");
        assert!(error.message.contains("does not open"), "{error}");
        assert_eq!(fake.host("h1").containers(), Vec::new(), "carriers go when it fails, too");
    }

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the test writes a folder")]
    async fn a_secret_that_is_a_folder_is_opened_with_all_that_is_in_it() {
        let folder = std::env::temp_dir().join(format!("mcompose-unseal-{}", std::process::id()));
        fs::create_dir_all(folder.join("in")).expect("the folder is writable");
        fs::write(folder.join("in/one"), "1").expect("the folder is writable");
        let fake = Fake::new(&["h1"]);
        let source = Source::Path { path: folder.clone(), within: None, owner: Owner::default() };
        let (cargo, content) = delivered(&fake, source, true).await;
        fs::remove_dir_all(&folder).expect("it is ours");
        unseal(fake.engines()[&host()].as_ref(), &content, cargo.keys()).await.expect("the key is there");
        let path = format!("{}/in/one", content.unsealed_path().trim_start_matches('/'));
        assert_eq!(memory(&fake), BTreeMap::from([(path, b"1".to_vec())]));
    }
}
