//! A volume from one host to another, through the engines alone.
//!
//! An engine gives a whole archive of a volume and unpacks archives; it lists nothing and removes nothing. So both sides are read and
//! compared, what differs is sent, and both are the same only when every byte of both was read and is. What vanished meanwhile is
//! got rid of by names: the folder of the volume is unpacked into through its parent, and there what stays gets a second name in a
//! folder beside, the volume's folder is replaced as a whole, and gets the names back.

use std::collections::BTreeSet;
use std::io;

use futures_util::stream::{BoxStream, StreamExt};
use tar::Builder;
use tokio::sync::mpsc;

use super::carry::{MOUNTED_AT, carrier, hold, hold_mount};
use super::entries::{Found, Index, joined, read, walk};
use super::pack::PackError;
use super::pipe::{Pipe, Reader, packed_into};
use crate::engine::{Engine, EngineError, ErrorKind};
use crate::world::Pace;

/// What is copied while nobody writes is the same after the first of these; links to files that were sent may ask for one more.
const ROUNDS_MAX: usize = 4;
/// So many files are asked for by themselves; more are picked out of the whole.
const SINGLE_FILES_MAX: usize = 64;
/// Archives are unpacked at the writer's root: an engine looks for the other name of a file from there when it gives a link its mode,
/// which the change of owner before has taken a set-user-id bit from.
const ROOT: &str = "/";
/// A volume's folder in its parent, where the engine keeps local volumes.
const DATA: &[u8] = b"content/_data";
/// Beside it, while it is made anew.
const BESIDE: &[u8] = b"content/mcompose";

/// One archive of the four that make a volume's folder anew.
type Names = fn(&mut Builder<&mut Pipe>, &Index) -> io::Result<()>;
type Archive = BoxStream<'static, Result<bytes::Bytes, EngineError>>;

/// What copying works with: a container on each side that never runs and has the volume.
struct Copy<'a> {
    source: &'a dyn Engine,
    target: &'a dyn Engine,
    volume: &'a str,
    /// On the source, and on the target.
    reader: String,
    checker: String,
    /// On the target, with the folder that the volume's folder is in.
    writer: String,
    tell: &'a (dyn Fn(String) + Send + Sync),
}

/// Brings what a volume of `source` has into the volume of the same name of `target`, which is there. `in_use`: while it is written
/// to; a part may be missing then. Else the two are the same afterwards, byte by byte, or it fails.
pub async fn copy_volume(
    source: &dyn Engine,
    target: &dyn Engine,
    volume: &str,
    in_use: bool,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    let name = || carrier(volume);
    let copy = Copy { source, target, volume, reader: name(), checker: name(), writer: name(), tell };
    let copied = copy.run(in_use).await;
    let mut removed = source.remove(&copy.reader, false, true).await;
    for left in [&copy.checker, &copy.writer] {
        removed = removed.and(target.remove(left, false, true).await);
    }
    copied.and(removed)
}

impl Copy<'_> {
    async fn run(&self, in_use: bool) -> Result<(), EngineError> {
        if !in_use {
            self.nobody_writes().await?;
        }
        hold(self.source, &self.reader, self.volume, self.volume).await?;
        hold(self.target, &self.checker, self.volume, self.volume).await?;
        let parent = self.parent().await?;
        hold_mount(self.target, &self.writer, "bind", &parent, self.volume).await?;
        if in_use { self.first().await } else { self.rest().await }
    }

    fn failed(&self, message: String) -> EngineError {
        let call = format!("copy volume `{}` from {}", self.volume, self.source.host());
        EngineError { host: self.target.host().clone(), call, kind: ErrorKind::Failed, message }
    }

    async fn nobody_writes(&self) -> Result<(), EngineError> {
        let containers = self.source.containers(Pace::AtOnce).await?;
        let mounts = |mount: &crate::world::MountSeen| mount.kind == "volume" && mount.name == self.volume;
        match containers.iter().find(|container| container.state.is_up() && container.mounts.iter().any(mounts)) {
            Some(user) => Err(self.failed(format!("{} on {} still uses it", user.name, self.source.host()))),
            None => Ok(()),
        }
    }

    /// The folder on the target's host that the volume's folder is in.
    async fn parent(&self) -> Result<String, EngineError> {
        let containers = self.target.containers(Pace::AtOnce).await?;
        let checker = containers.iter().find(|container| container.name == self.checker);
        let source = checker.and_then(|checker| checker.mounts.first()).map(|mount| mount.source.clone()).unwrap_or_default();
        match source.strip_suffix("/_data") {
            Some(parent) if parent.ends_with(self.volume) => Ok(parent.to_owned()),
            _ => Err(self.failed(format!("the engine keeps it at `{source}`, which is no local volume's place"))),
        }
    }

    async fn index(&self, engine: &dyn Engine, container: &str, what: &'static str) -> Result<Found, EngineError> {
        let archive = engine.get_archive(container, &format!("{MOUNTED_AT}/.")).await?;
        let (sender, reader) = Reader::fed();
        let (told, mut telling) = mpsc::unbounded_channel();
        let reading = tokio::task::spawn_blocking(move || {
            read(reader, &|bytes| {
                let _ = told.send(bytes);
            })
        });
        let host = engine.host();
        let tell = async {
            while let Some(bytes) = telling.recv().await {
                (self.tell)(format!("{what} {} on {host}", mebibytes(bytes)));
            }
        };
        let (pumped, (), found) = tokio::join!(pump(archive, sender), tell, reading);
        let found = found.map_err(|error| self.failed(error.to_string()))?.map_err(|error| self.failed(error.to_string()))?;
        // What the way broke on is worth more than that it broke off.
        pumped?;
        Ok(found)
    }

    /// While it is written to: what there is, as far as it comes.
    async fn first(&self) -> Result<(), EngineError> {
        let there = self.index(self.target, &self.checker, "compared").await?;
        if there.index.keys().all(Vec::is_empty) {
            return self.send(None, false).await;
        }
        let here = self.index(self.source, &self.reader, "compared").await?;
        let changed = Difference::between(&here.index, &there.index).changed;
        if changed.is_empty() { Ok(()) } else { self.send(Some((changed, here.index)), false).await }
    }

    /// While nobody writes: until both are the same.
    async fn rest(&self) -> Result<(), EngineError> {
        let (here, there) =
            tokio::join!(self.index(self.source, &self.reader, "compared"), self.index(self.target, &self.checker, "compared"));
        let (here, mut there) = (here?, there?.index);
        if !here.is_whole {
            return Err(self.failed(format!("the engine of {} ended the archive of the volume early", self.source.host())));
        }
        let mut difference = Difference::between(&here.index, &there);
        for _ in 0..ROUNDS_MAX {
            if difference.is_none() {
                (self.tell)(format!("{} are the same on both hosts", mebibytes(here.bytes)));
                return Ok(());
            }
            let Difference { changed, vanished } = difference;
            if !changed.is_empty() {
                self.send(Some((changed, here.index.clone())), true).await?;
            }
            if vanished.is_some() {
                self.rename_all(&here.index).await?;
            }
            there = self.index(self.target, &self.checker, "checked").await?.index;
            difference = Difference::between(&here.index, &there);
        }
        let first = difference.changed.first().or(difference.vanished.as_ref());
        let first = first.map(|path| String::from_utf8_lossy(&joined(b".", path)).into_owned()).unwrap_or_default();
        Err(self.failed(format!("what was copied is not the same as what is there, `{first}` for one")))
    }

    /// Sends what changed, or all. `by_name`: a few files are asked for by their names, which must be there still.
    async fn send(&self, changed: Option<(BTreeSet<Vec<u8>>, Index)>, by_name: bool) -> Result<(), EngineError> {
        let singles = changed.as_ref().filter(|_| by_name).and_then(|(changed, index)| single_files(changed, index));
        let is_single = singles.is_some();
        let (readers, mut archives) = mpsc::channel::<Reader>(1);
        let pack = move |out: &mut Pipe| {
            let mut out = Builder::new(out);
            let packed = match &changed {
                Some((changed, index)) if is_single => pack_singles(&mut out, changed, index, &mut || archives.blocking_recv()),
                _ => pack_whole(&mut out, changed.as_ref().map(|(changed, _)| changed), archives.blocking_recv()),
            };
            packed.and_then(|()| out.finish()).map_err(PackError::Unwanted)
        };
        let feed = async {
            let paths = singles.unwrap_or_else(|| vec![format!("{MOUNTED_AT}/.")]);
            for path in paths {
                let archive = self.source.get_archive(&self.reader, &path).await?;
                let (sender, reader) = Reader::fed();
                if readers.send(reader).await.is_err() {
                    break;
                }
                pump(archive, sender).await?;
            }
            drop(readers);
            Ok(())
        };
        let sent = packed_into(pack, |pieces| self.target.put_archive(&self.writer, ROOT, pieces));
        let (fed, sent): (Result<(), EngineError>, _) = tokio::join!(feed, sent);
        fed.and(sent.unwrap_or_else(|error| Err(self.failed(error.to_string()))))
    }

    /// Makes the volume's folder anew out of the files that are to stay, without moving a byte of them.
    async fn rename_all(&self, index: &Index) -> Result<(), EngineError> {
        let steps: [Names; 4] = [
            |out, index| names(out, index, BESIDE, DATA),
            |out, _| empty_file(out, DATA),
            |out, index| names(out, index, DATA, BESIDE),
            |out, _| empty_file(out, BESIDE),
        ];
        for step in steps {
            let index = index.clone();
            let pack = move |out: &mut Pipe| {
                let mut out = Builder::new(out);
                step(&mut out, &index).and_then(|()| out.finish()).map_err(PackError::Unwanted)
            };
            let sent = packed_into(pack, |pieces| self.target.put_archive(&self.writer, ROOT, pieces)).await;
            sent.map_err(|error| self.failed(error.to_string()))??;
        }
        Ok(())
    }
}

/// What one side has to be sent to be as the other.
struct Difference {
    changed: BTreeSet<Vec<u8>>,
    /// What it has and the other has not, one of it.
    vanished: Option<Vec<u8>>,
}

impl Difference {
    fn between(here: &Index, there: &Index) -> Self {
        let differs = |(path, entry): &(&Vec<u8>, &super::entries::Entry)| there.get(*path) != Some(*entry);
        let changed = here.iter().filter(differs).map(|(path, _)| path.clone()).collect();
        Self { changed, vanished: there.keys().find(|path| !here.contains_key(*path)).cloned() }
    }

    fn is_none(&self) -> bool {
        self.changed.is_empty() && self.vanished.is_none()
    }
}

/// The paths of the files to ask for, where they are few.
fn single_files(changed: &BTreeSet<Vec<u8>>, index: &Index) -> Option<Vec<String>> {
    let files = changed.iter().filter(|path| index.get(*path).is_some_and(super::entries::Entry::is_file));
    let paths: Option<Vec<String>> = files.map(|path| String::from_utf8(joined(MOUNTED_AT.as_bytes(), path)).ok()).collect();
    paths.filter(|paths| paths.len() <= SINGLE_FILES_MAX)
}

/// What changed, files out of archives of their own, in the order of their paths.
fn pack_singles(
    out: &mut Builder<&mut Pipe>,
    changed: &BTreeSet<Vec<u8>>,
    index: &Index,
    next: &mut dyn FnMut() -> Option<Reader>,
) -> io::Result<()> {
    for path in changed {
        let Some(entry) = index.get(path) else { continue };
        if !entry.is_file() {
            entry.write(out, DATA, path, io::empty())?;
            continue;
        }
        let archive = next().ok_or_else(broken)?;
        let is_whole = walk(archive, |_, found, content| found.write(out, DATA, path, content))?;
        if !is_whole {
            return Err(broken());
        }
    }
    Ok(())
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive broke off")
}

/// What changed, or all, out of the archive of the whole, as far as that comes.
fn pack_whole(out: &mut Builder<&mut Pipe>, changed: Option<&BTreeSet<Vec<u8>>>, archive: Option<Reader>) -> io::Result<()> {
    let archive = archive.ok_or_else(broken)?;
    walk(archive, |path, entry, content| match changed.is_none_or(|changed| changed.contains(&path)) {
        true => entry.write(out, DATA, &path, content),
        false => Ok(()),
    })?;
    Ok(())
}

/// The folders of an index below `to`, with all else as second names of what is below `from`.
fn names(out: &mut Builder<&mut Pipe>, index: &Index, to: &[u8], from: &[u8]) -> io::Result<()> {
    for (path, entry) in index {
        match entry.is_folder() {
            true => entry.write(out, to, path, io::empty())?,
            false => entry.write_link(out, &joined(to, path), &joined(from, path))?,
        }
    }
    Ok(())
}

/// In the place of a folder: with all that is in it, that is gone.
fn empty_file(out: &mut Builder<&mut Pipe>, name: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o600);
    out.append_data(&mut header, String::from_utf8_lossy(name).into_owned(), io::empty())
}

async fn pump(mut archive: Archive, sender: mpsc::Sender<io::Result<bytes::Bytes>>) -> Result<(), EngineError> {
    while let Some(piece) = archive.next().await {
        match piece {
            Ok(piece) => {
                if sender.send(Ok(piece)).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                let _ = sender.send(Err(io::Error::other(error.to_string()))).await;
                return Err(error);
            }
        }
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
