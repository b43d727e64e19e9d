//! Files between this machine and a container, as `docker cp` does it.
#![expect(clippy::disallowed_methods, reason = "files are what it copies")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::stream::StreamExt;
use tar::Archive;

use super::pack::{PackError, pack_as, pack_each};
use super::pipe::{Pipe, Reader, packed_into};
use crate::engine::{Engine, EngineError};
use crate::project::{Hook, HostName};

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("`{path}` cannot be read")]
    Unreadable { path: String, source: io::Error },
    #[error("`{path}` cannot be written")]
    Unwritable { path: String, source: io::Error },
    #[error(
        "what came of volume `{volume}` from {host} broke off before its end: something wrote to it meanwhile, or the engine failed"
    )]
    CutShort { volume: String, host: HostName },
    #[error("files could not be removed from container `{container}` on {host}: `rm` ended with code {code}: {why}")]
    NotRemoved { container: String, host: HostName, code: i64, why: String },
    #[error("`{path}` of the container `{container}` has no name to copy it under")]
    Nameless { path: String, container: String },
}

/// Copies a file or folder of this machine into a container: into `path` where that is a folder, else to that name. Root's there,
/// unless `keep_owner`.
pub async fn copy_in(engine: &dyn Engine, source: &Path, container: &str, path: &str, keep_owner: bool) -> Result<(), CopyError> {
    let nameless = || CopyError::Nameless { path: path.to_owned(), container: container.to_owned() };
    let path = if path.is_empty() { "/" } else { path };
    let (folder, name) = match engine.is_folder(container, path).await? {
        Some(true) => {
            let real = fs::canonicalize(source)
                .map_err(|error| PackError::Unreadable { path: source.display().to_string(), source: error })?;
            (path.to_owned(), real.file_name().map(PathBuf::from).ok_or_else(nameless)?)
        }
        Some(false) | None => {
            let name = Path::new(path).file_name().map(PathBuf::from).ok_or_else(nameless)?;
            let folder = Path::new(path).parent().map(|folder| folder.display().to_string()).unwrap_or_default();
            (if folder.is_empty() { "/".to_owned() } else { folder }, name)
        }
    };
    let source = source.to_owned();
    let pack = move |writer: &mut Pipe| pack_as(&source, &name, keep_owner, writer);
    Ok(packed_into(pack, |pieces| engine.put_archive(container, &folder, pieces)).await??)
}

/// Brings paths of a container up to date: what has a path of this machine is written, as root's, and what has none goes.
pub async fn sync_in(engine: &dyn Engine, container: &str, files: &BTreeMap<String, Option<PathBuf>>) -> Result<(), CopyError> {
    let gone: Vec<String> = files.iter().filter(|(_, from)| from.is_none()).map(|(path, _)| path.clone()).collect();
    if !gone.is_empty() {
        let command = ["rm", "-rf", "--"].into_iter().map(str::to_owned).chain(gone).collect();
        let removed = engine.exec(container, &Hook { command: Some(command), ..Hook::default() }).await?;
        if removed.exit_code != 0 {
            let (container, why) = (container.to_owned(), removed.output.trim().to_owned());
            return Err(CopyError::NotRemoved { container, host: engine.host().clone(), code: removed.exit_code, why });
        }
    }
    let name = |path: &String| PathBuf::from(path.trim_start_matches('/'));
    let written: Vec<(PathBuf, PathBuf)> = files.iter().filter_map(|(path, from)| Some((name(path), from.clone()?))).collect();
    if written.is_empty() {
        return Ok(());
    }
    let pack = move |writer: &mut Pipe| pack_each(&written, writer);
    Ok(packed_into(pack, |pieces| engine.put_archive(container, "/", pieces)).await??)
}

/// Copies a file or folder of a container to this machine: into `target` where that is a folder, else to that name.
pub async fn copy_out(engine: &dyn Engine, container: &str, path: &str, target: &Path) -> Result<(), CopyError> {
    let archive = engine.get_archive(container, path).await?;
    let mut pieces = archive.map(|piece| piece.map_err(io::Error::other)).boxed();
    let (sender, reader) = Reader::fed();
    let unpacked_to = target.to_owned();
    let unpacking = tokio::task::spawn_blocking(move || unpack(reader, &unpacked_to));
    while let Some(piece) = pieces.next().await {
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    let unwritable = |source: io::Error| CopyError::Unwritable { path: target.display().to_string(), source };
    unpacking.await.map_err(|error| unwritable(io::Error::other(error)))?.map_err(unwritable)
}

/// Beside its place first, so that what breaks off leaves nothing of the name. An entry that leads out of there is passed over.
fn unpack(reader: Reader, target: &Path) -> io::Result<()> {
    let is_folder = target.is_dir();
    let folder = if is_folder {
        target
    } else {
        target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    };
    let beside = folder.join(format!(".mcompose-cp-{}", std::process::id()));
    fs::create_dir(&beside)?;
    let moved = unpack_beside(reader, &beside, is_folder.then_some(target), target);
    let removed = fs::remove_dir_all(&beside);
    moved.and(removed)
}

fn unpack_beside(reader: Reader, beside: &Path, into: Option<&Path>, target: &Path) -> io::Result<()> {
    let mut archive = Archive::new(reader);
    archive.set_preserve_permissions(true);
    archive.unpack(beside)?;
    for entry in fs::read_dir(beside)? {
        let entry = entry?;
        let to = into.map_or_else(|| target.to_owned(), |folder| folder.join(entry.file_name()));
        if to.is_dir() && entry.file_type()?.is_dir() {
            merge(&entry.path(), &to)?;
        } else {
            fs::rename(entry.path(), to)?;
        }
    }
    Ok(())
}

/// What is in one folder goes into another of the same name.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if place.is_dir() && entry.file_type()?.is_dir() {
            merge(&entry.path(), &place)?;
        } else {
            fs::rename(entry.path(), place)?;
        }
    }
    Ok(())
}
