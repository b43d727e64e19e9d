//! One content into one host's volume, from this machine or from another host that has it.
//!
//! The engine unpacks archives into containers only, also into such as never run: a carrier is made that mounts the volume, and
//! removed once the archive is in. While a carrier is there its volume is not whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::copy::CopyError;
use super::pack::{PackError, pack};
use super::pipe::{Pipe, packed_into};
use super::survey::Cargo;
use crate::engine::{Engine, EngineError, Engines, ErrorKind};
use crate::project::{ContainerSpec, Content, HostConfig, HostName, MountSpec, VolumeSpec};

/// An image with nothing in it: carriers never run.
const IMAGE: (&str, &str) = ("mcompose-carrier", "1");
/// A file is read in pieces of this.
const PIECE_BYTES: usize = 64 * 1024;
/// Where a carrier has the volume.
pub(super) const MOUNTED_AT: &str = "/content";

/// Puts a content into its volume on `to`: from this machine's files, or from the volume of the host `from`. What an earlier
/// delivery left undone is done again.
pub async fn carry(
    engines: &Engines,
    to: &HostName,
    from: Option<&HostName>,
    content: &Content,
    volume: &VolumeSpec,
    cargo: &Cargo,
) -> Result<(), EngineError> {
    let target = engine(engines, to, content)?;
    let carrier = content.carrier();
    target.create_volume(volume).await?;
    hold(target, &carrier, &content.volume(), &content.digest).await?;
    match from {
        None => from_here(target, to, &carrier, content, cargo).await?,
        Some(from) => {
            let source = engine(engines, from, content)?;
            let reader = format!("{}_to_{to}", content.volume());
            hold(source, &reader, &content.volume(), &content.digest).await?;
            let carried = from_host(source, &reader, target, &carrier).await;
            let removed = source.remove(&reader, false, true).await;
            carried.and(removed)?;
        }
    }
    target.remove(&carrier, false, true).await
}

/// Writes what is in a volume into a file, as an archive; returns its bytes. A file of the name is there only once it is whole.
pub async fn save_volume(engine: &dyn Engine, volume: &str, file: &Path) -> Result<u64, CopyError> {
    let unwritable = |source: io::Error| CopyError::Unwritable { path: file.display().to_string(), source };
    let reader = format!("mcompose_{volume}_backup");
    hold(engine, &reader, volume, volume).await?;
    let part = file.with_file_name(format!("{}.part", file.file_name().unwrap_or_default().to_string_lossy()));
    let written = async {
        let mut archive = engine.get_archive(&reader, &format!("{MOUNTED_AT}/.")).await?;
        let mut out = tokio::fs::File::create(&part).await.map_err(unwritable)?;
        let mut bytes = 0;
        while let Some(piece) = archive.next().await {
            let piece = piece?;
            bytes += piece.len() as u64;
            out.write_all(&piece).await.map_err(unwritable)?;
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

/// Makes a volume and fills it with a file's archive. Where that fails there is no volume.
pub async fn load_volume(engine: &dyn Engine, volume: &VolumeSpec, file: &Path) -> Result<(), CopyError> {
    let unreadable = |source: io::Error| CopyError::Unreadable { path: file.display().to_string(), source };
    let input = tokio::fs::File::open(file).await.map_err(unreadable)?;
    let pieces = stream::try_unfold(input, |mut input| async move {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let count = input.read_buf(&mut piece).await?;
        Ok((count > 0).then(|| (piece.freeze(), input)))
    });
    let carrier = format!("mcompose_{}_restore", volume.name);
    engine.create_volume(volume).await?;
    let filled = async {
        hold(engine, &carrier, &volume.name, &volume.name).await?;
        engine.put_archive(&carrier, MOUNTED_AT, pieces.boxed()).await
    };
    let filled = filled.await;
    let removed = engine.remove(&carrier, false, true).await;
    if filled.is_err() {
        let _ = engine.remove_volume(&volume.name).await;
    }
    filled?;
    removed?;
    Ok(())
}

fn engine<'a>(engines: &'a Engines, host: &HostName, content: &Content) -> Result<&'a dyn Engine, EngineError> {
    engines
        .get(host)
        .map(AsRef::as_ref)
        .ok_or_else(|| failed(host, content, ErrorKind::Unreachable, "the host is not in the inventory".to_owned()))
}

fn failed(host: &HostName, content: &Content, kind: ErrorKind, message: String) -> EngineError {
    EngineError { host: host.clone(), call: format!("deliver {}", content.name), kind, message }
}

/// Makes a container that never runs and mounts the volume. Its name begins with `mcompose_`: one of the name that is there already
/// is an interrupted delivery's, and nobody else's.
pub(super) async fn hold(engine: &dyn Engine, name: &str, volume: &str, label: &str) -> Result<(), EngineError> {
    hold_mount(engine, name, "volume", volume, label).await
}

/// As `hold`, of a volume or of a folder of the host.
pub(super) async fn hold_mount(
    engine: &dyn Engine,
    name: &str,
    kind: &str,
    source: &str,
    label: &str,
) -> Result<(), EngineError> {
    let spec = spec(kind, source, label);
    for _ in 0..2 {
        match engine.create(name, &spec).await {
            Err(error) if error.kind == ErrorKind::NotFound => engine.import_image(IMAGE.0, IMAGE.1, empty_archive()).await?,
            Err(error) if error.kind == ErrorKind::Conflict => engine.remove(name, false, true).await?,
            made => return made.map(drop),
        }
    }
    engine.create(name, &spec).await.map(drop)
}

fn spec(kind: &str, source: &str, label: &str) -> ContainerSpec {
    let mount = MountSpec {
        kind: kind.to_owned(),
        source: Some(source.to_owned()),
        target: MOUNTED_AT.to_owned(),
        ..MountSpec::default()
    };
    ContainerSpec {
        image: format!("{}:{}", IMAGE.0, IMAGE.1),
        cmd: Some(vec!["none".to_owned()]),
        labels: BTreeMap::from([(crate::world::keys::CONTENT.to_owned(), label.to_owned())]),
        host_config: HostConfig { mounts: vec![mount], network_mode: Some("none".to_owned()), ..HostConfig::default() },
        ..ContainerSpec::default()
    }
}

/// Two blocks of zeros end an archive.
fn empty_archive() -> Bytes {
    Bytes::from_static(&[0; 1024])
}

async fn from_here(
    target: &dyn Engine,
    host: &HostName,
    carrier: &str,
    content: &Content,
    cargo: &Cargo,
) -> Result<(), EngineError> {
    let Some(parcel) = cargo.parcel(&content.digest).cloned() else {
        let message = "its content is not on this machine any more: run the command again".to_owned();
        return Err(failed(host, content, ErrorKind::Refused, message));
    };
    let pack = move |writer: &mut Pipe| match pack(&parcel.source, parcel.limit, writer)?.digest == parcel.archive_digest {
        true => Ok(()),
        false => Err(PackError::Changed { path: "it".to_owned() }),
    };
    let sent = packed_into(pack, |pieces| target.put_archive(carrier, MOUNTED_AT, pieces)).await;
    sent.unwrap_or_else(|error| Err(failed(host, content, ErrorKind::Refused, format!("{error}; run the command again"))))
}

async fn from_host(source: &dyn Engine, reader: &str, target: &dyn Engine, carrier: &str) -> Result<(), EngineError> {
    // The dot: what is in the folder, without the folder.
    let archive = source.get_archive(reader, &format!("{MOUNTED_AT}/.")).await?;
    let pieces: BoxStream<'static, io::Result<Bytes>> = archive.map(|piece| piece.map_err(io::Error::other)).boxed();
    target.put_archive(carrier, MOUNTED_AT, pieces).await
}
