//! One content into one host's volume, from this machine or from another host that has it.
//!
//! The engine unpacks archives into containers only, also into such as never run: a carrier is made that mounts the volume, and
//! removed once the archive is in. While a carrier is there its volume is not whole.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use super::pack::{PackError, pack};
use super::pipe::pipe;
use super::survey::Cargo;
use crate::engine::{Engine, EngineError, Engines, ErrorKind};
use crate::project::{ContainerSpec, Content, HostConfig, HostName, MountSpec, VolumeSpec};

/// An image with nothing in it: carriers never run.
const IMAGE: (&str, &str) = ("mcompose-carrier", "1");
/// Where a carrier has the volume.
const MOUNTED_AT: &str = "/content";

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
    hold(target, &carrier, content).await?;
    match from {
        None => from_here(target, to, &carrier, content, cargo).await?,
        Some(from) => {
            let source = engine(engines, from, content)?;
            let reader = format!("{}_to_{to}", content.volume());
            hold(source, &reader, content).await?;
            let carried = from_host(source, &reader, target, &carrier).await;
            let removed = source.remove(&reader, false, true).await;
            carried.and(removed)?;
        }
    }
    target.remove(&carrier, false, true).await
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

/// Makes a container that never runs and mounts the volume. One of the name that is there already is an interrupted delivery's.
async fn hold(engine: &dyn Engine, name: &str, content: &Content) -> Result<(), EngineError> {
    let spec = spec(content);
    for _ in 0..2 {
        match engine.create(name, &spec).await {
            Err(error) if error.kind == ErrorKind::NotFound => engine.import_image(IMAGE.0, IMAGE.1, empty_archive()).await?,
            Err(error) if error.kind == ErrorKind::Conflict => engine.remove(name, false, true).await?,
            made => return made.map(drop),
        }
    }
    engine.create(name, &spec).await.map(drop)
}

fn spec(content: &Content) -> ContainerSpec {
    let mount = MountSpec {
        kind: "volume".to_owned(),
        source: Some(content.volume()),
        target: MOUNTED_AT.to_owned(),
        ..MountSpec::default()
    };
    ContainerSpec {
        image: format!("{}:{}", IMAGE.0, IMAGE.1),
        cmd: Some(vec!["none".to_owned()]),
        labels: BTreeMap::from([(crate::world::keys::CONTENT.to_owned(), content.digest.clone())]),
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
    let (mut writer, pieces) = pipe();
    let packing = tokio::task::spawn_blocking(move || {
        let packed =
            pack(&parcel.source, parcel.limit, &mut writer).and_then(|packed| match packed.digest == parcel.archive_digest {
                true => Ok(()),
                false => Err(PackError::Changed { path: "it".to_owned() }),
            });
        let end = packed.as_ref().map(drop).map_err(|error| io::Error::other(error.to_string()));
        writer.finish(end);
        packed
    });
    let put = target.put_archive(carrier, MOUNTED_AT, pieces).await;
    let packed = packing.await.unwrap_or_else(|error| Err(PackError::Unwanted(io::Error::other(error))));
    match packed {
        // What the engine said of an archive that it did not take says more.
        Ok(()) | Err(PackError::Unwanted(_)) => put,
        Err(error) => Err(failed(host, content, ErrorKind::Refused, format!("{error}; run the command again"))),
    }
}

async fn from_host(source: &dyn Engine, reader: &str, target: &dyn Engine, carrier: &str) -> Result<(), EngineError> {
    // The dot: what is in the folder, without the folder.
    let archive = source.get_archive(reader, &format!("{MOUNTED_AT}/.")).await?;
    let pieces: BoxStream<'static, io::Result<Bytes>> = archive.map(|piece| piece.map_err(io::Error::other)).boxed();
    target.put_archive(carrier, MOUNTED_AT, pieces).await
}
