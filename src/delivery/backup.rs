//! Volumes into files, and files into volumes.

use std::io;
use std::path::Path;

use bytes::BytesMut;
use futures_util::stream::{self, StreamExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::carry::{MOUNTED_AT, carrier, hold, let_go, mark, unpack};
use super::copy::CopyError;
use super::entries::noted;
use crate::engine::Engine;
use crate::project::VolumeSpec;

/// A file is read in pieces of this.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes what is in a volume into a file, as an archive; returns its bytes. A file of the name is there only once it is whole.
pub async fn save_volume(engine: &dyn Engine, volume: &str, file: &Path) -> Result<u64, CopyError> {
    let unwritable = |source: io::Error| CopyError::Unwritable { path: file.display().to_string(), source };
    let reader = carrier(volume);
    hold(engine, &reader, volume, volume).await?;
    let part = file.with_file_name(format!("{}.part", file.file_name().unwrap_or_default().to_string_lossy()));
    let written = async {
        let (mut archive, noting) = noted(engine.get_archive(&reader, &format!("{MOUNTED_AT}/.")).await?);
        let mut out = tokio::fs::File::create(&part).await.map_err(unwritable)?;
        let mut bytes = 0;
        while let Some(piece) = archive.next().await {
            let piece = piece?;
            bytes += piece.len() as u64;
            out.write_all(&piece).await.map_err(unwritable)?;
        }
        drop(archive);
        let passed = noting.await.map_err(io::Error::other).and_then(|passed| passed).map_err(unwritable)?;
        if !passed.is_whole {
            return Err(CopyError::CutShort { volume: volume.to_owned(), host: engine.host().clone() });
        }
        out.sync_all().await.map_err(unwritable)?;
        tokio::fs::rename(&part, file).await.map_err(unwritable)?;
        Ok(bytes)
    };
    let written: Result<u64, CopyError> = written.await;
    let removed = engine.remove(&reader, false, true).await;
    if written.is_err() {
        let _ = tokio::fs::remove_file(&part).await;
    }
    let bytes = written?;
    removed?;
    Ok(bytes)
}

/// Makes a volume and fills it with a file's archive. Where that fails there is no volume; where it is cut off, a mark says so, and
/// whoever comes next has its name in `left`, and begins anew.
pub async fn load_volume(engine: &dyn Engine, volume: &VolumeSpec, file: &Path, left: &[String]) -> Result<(), CopyError> {
    let unreadable = |source: io::Error| CopyError::Unreadable { path: file.display().to_string(), source };
    let mut input = tokio::fs::File::open(file).await.map_err(unreadable)?;
    let mut begin = [0; 6];
    let count = input.read(&mut begin).await.map_err(unreadable)?;
    input.rewind().await.map_err(unreadable)?;
    let pieces = stream::try_unfold(input, |mut input| async move {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let count = input.read_buf(&mut piece).await?;
        Ok((count > 0).then(|| (piece.freeze(), input)))
    });
    if !left.is_empty() {
        // What is there is half of something else. While the engine still fills it, this is refused.
        let_go(engine, left).await;
        engine.remove_volume(&volume.name).await?;
    }
    let carrier = carrier(&volume.name);
    engine.create_volume(&mark(&carrier, &volume.name)).await?;
    engine.create_volume(volume).await?;
    let filled = async {
        hold(engine, &carrier, &volume.name, &volume.name).await?;
        match is_compressed(&begin[..count]) {
            true => engine.put_archive(&carrier, MOUNTED_AT, pieces.boxed()).await,
            false => unpack(engine, &carrier, pieces.boxed()).await,
        }
    };
    let filled = filled.await;
    let removed = engine.remove(&carrier, false, true).await;
    if let Err(error) = filled {
        // The mark goes last: without it, what is left of the volume would count.
        if removed.is_ok() && engine.remove_volume(&volume.name).await.is_ok() {
            let _ = engine.remove_volume(&carrier).await;
        }
        return Err(error.into());
    }
    removed?;
    for mark in left.iter().chain([&carrier]) {
        engine.remove_volume(mark).await?;
    }
    Ok(())
}

/// The engine decompresses what it takes; what only it can read, it alone can judge.
fn is_compressed(begin: &[u8]) -> bool {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    const BZIP2: &[u8] = b"BZh";
    const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    [GZIP, BZIP2, XZ, ZSTD].iter().any(|magic| begin.starts_with(magic))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it reads what was written")]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::engine::ErrorKind;
    use crate::engine::fake::{Fake, Fault, FaultRule};
    use crate::project::HostName;
    use crate::world::{Question, SeenHost};

    fn host() -> HostName {
        HostName::new("h1").expect("a good name")
    }

    fn spec() -> VolumeSpec {
        VolumeSpec { name: "shop_data".to_owned(), ..VolumeSpec::default() }
    }

    async fn seen(fake: &Fake) -> SeenHost {
        fake.engines()[&host()].look(&Question::default()).await.expect("it answers")
    }

    /// An archive with one file, beside what other tests write.
    fn archive(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mcompose-backup-{name}-{}.tar", std::process::id()));
        let mut out = tar::Builder::new(std::fs::File::create(&path).expect("the folder is writable"));
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        out.append_data(&mut header, "file", &b"text"[..]).and_then(|()| out.finish()).expect("it is written");
        path
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_counts_only_once_its_restore_has_come_to_its_end_and_the_next_one_begins_anew() {
        let file = archive("restore");
        let mut halves = 0;
        for call in ["create volume", "create container", "unpack an archive", "remove container", "remove volume"] {
            for skip in 0..2 {
                let fake = Fake::new(&["h1"]);
                let engines = fake.engines();
                let engine = engines[&host()].as_ref();
                let fault = Fault::Fail { kind: ErrorKind::Unreachable, message: "cut off".to_owned() };
                fake.fault(FaultRule { skip, ..FaultRule::once(call, fault) });
                let failed = load_volume(engine, &spec(), &file, &[]).await.is_err();
                let after = seen(&fake).await;
                let has = after.volumes.iter().any(|volume| volume.name == "shop_data");
                assert!(!failed || !has || after.is_half("shop_data"), "{call} {skip}: it would be taken for whole");
                if failed {
                    halves += u32::from(has);
                    load_volume(engine, &spec(), &file, &after.unfinished("shop_data")).await.expect("nothing fails any more");
                }
                let after = seen(&fake).await;
                assert_eq!((after.has_whole("shop_data"), after.unfinished("shop_data")), (true, Vec::new()), "{call} {skip}");
            }
        }
        assert!(halves > 0, "none of them left a half");
        std::fs::remove_file(file).expect("it is ours");
    }

    #[tokio::test(start_paused = true)]
    async fn two_backups_of_one_volume_do_not_disturb_each_other() {
        let fake = Fake::new(&["h1"]);
        let engines = fake.engines();
        let engine = engines[&host()].as_ref();
        let file = archive("both");
        load_volume(engine, &spec(), &file, &[]).await.expect("it is restored");
        let (one, two) = (file.with_extension("one"), file.with_extension("two"));
        let (first, second) = tokio::join!(save_volume(engine, "shop_data", &one), save_volume(engine, "shop_data", &two));
        assert!(first.is_ok_and(|bytes| bytes > 0) && second.is_ok_and(|bytes| bytes > 0));
        assert_eq!(std::fs::read(&one).expect("it is there"), std::fs::read(&two).expect("it is there"));
        assert!(seen(&fake).await.containers.is_empty());
        [file, one, two].iter().for_each(|file| std::fs::remove_file(file).expect("it is ours"));
    }
}
