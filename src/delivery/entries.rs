//! What is in a volume, entry by entry, as the engine's archive of it tells.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};
use tokio::task::JoinHandle;

use super::pipe::Reader;

/// Extended attributes in archives begin so.
const XATTR: &str = "SCHILY.xattr.";
/// Progress is told each time that so much more was read.
const TOLD_EVERY_BYTES: u64 = 16 << 20;

/// By path, whose parts a zero byte separates, so that a folder stands before all that is in it, and that together, as in archives;
/// empty for the volume itself.
pub(super) type Index = BTreeMap<Vec<u8>, Entry>;

/// A file, folder, link or device, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    kind: EntryType,
    mode: u32,
    uid: u64,
    gid: u64,
    /// Seconds: engines tell no more. Of folders it is not in an index, since it follows from what is done in them.
    mtime: u64,
    size: u64,
    /// Of links.
    target: Vec<u8>,
    device: Option<(u32, u32)>,
    xattrs: Vec<(String, Vec<u8>)>,
    /// SHA-256 of a file's content, where it was read.
    digest: Option<[u8; 32]>,
}

/// What reading an archive came to.
pub(super) struct Found {
    pub(super) index: Index,
    /// Of files.
    pub(super) bytes: u64,
    /// Its end was there. An engine ends an archive early, without a word, where a file shrinks while it is read.
    pub(super) is_whole: bool,
}

impl Entry {
    pub(super) fn is_folder(&self) -> bool {
        self.kind == EntryType::Directory
    }

    /// It has content of its own.
    pub(super) fn is_file(&self) -> bool {
        !(self.is_folder() || self.is_link() || self.device.is_some() || self.kind == EntryType::Fifo)
    }

    fn is_link(&self) -> bool {
        matches!(self.kind, EntryType::Link | EntryType::Symlink)
    }

    fn of<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Self> {
        let xattrs = entry.pax_extensions()?.into_iter().flatten().filter_map(|extension| {
            let extension = extension.ok()?;
            let key = extension.key().ok().filter(|key| key.starts_with(XATTR))?;
            Some((key.to_owned(), extension.value_bytes().to_owned()))
        });
        let xattrs = xattrs.collect();
        let header = entry.header();
        let kind = header.entry_type();
        let device = match kind {
            EntryType::Block | EntryType::Char => {
                Some((header.device_major()?.unwrap_or_default(), header.device_minor()?.unwrap_or_default()))
            }
            _ => None,
        };
        let (mtime, mode, uid, gid) = (header.mtime()?, header.mode()? & 0o7777, header.uid()?, header.gid()?);
        let target = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
        let size = if matches!(kind, EntryType::Link) { 0 } else { entry.size() };
        Ok(Self { kind, mode, uid, gid, mtime, size, target, device, xattrs, digest: None })
    }

    /// Writes it at its path below a folder that stands for the volume, with its content if it has one.
    pub(super) fn write<W: Write>(&self, out: &mut Builder<W>, folder: &[u8], path: &[u8], content: impl Read) -> io::Result<()> {
        let target = match self.kind {
            EntryType::Link => joined(folder, &normal(&self.target)),
            _ => self.target.clone(),
        };
        self.write_as(out, self.kind, &joined(folder, path), &target, content)
    }

    /// Writes it as another name of what is at `target`.
    pub(super) fn write_link<W: Write>(&self, out: &mut Builder<W>, name: &[u8], target: &[u8]) -> io::Result<()> {
        self.write_as(out, EntryType::Link, name, target, io::empty())
    }

    fn write_as<W: Write>(
        &self,
        out: &mut Builder<W>,
        kind: EntryType,
        name: &[u8],
        target: &[u8],
        content: impl Read,
    ) -> io::Result<()> {
        if !self.xattrs.is_empty() {
            out.append_pax_extensions(self.xattrs.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(self.mode);
        header.set_uid(self.uid);
        header.set_gid(self.gid);
        header.set_mtime(self.mtime);
        header.set_size(0);
        if let Some((major, minor)) = self.device {
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
        }
        let path = Path::new(OsStr::from_bytes(name));
        match kind {
            EntryType::Link | EntryType::Symlink => out.append_link(&mut header, path, Path::new(OsStr::from_bytes(target))),
            EntryType::Directory => out.append_data(&mut header, path.join(""), io::empty()),
            _ => {
                header.set_size(self.size);
                out.append_data(&mut header, path, content)
            }
        }
    }
}

/// A path of an index below a folder, as archives have it; the folder itself for none.
pub(super) fn joined(folder: &[u8], path: &[u8]) -> Vec<u8> {
    match path {
        [] => folder.to_vec(),
        path => [folder, path].join(&b'/').into_iter().map(|byte| if byte == 0 { b'/' } else { byte }).collect(),
    }
}

/// A path as indexes have it.
pub(super) fn normal(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&0)
}

/// Goes through an archive. `each` may take an entry's content; what it leaves is read and hashed, unless it says that the rest is
/// not wanted. Returns whether the archive's end was there.
pub(super) fn walk(
    archive: impl Read,
    mut each: impl FnMut(Vec<u8>, Entry, &mut dyn Read) -> io::Result<()>,
) -> io::Result<bool> {
    let mut ended = Ended { input: archive, is_at_end: false };
    let mut is_whole = true;
    for entry in Archive::new(&mut ended).entries()? {
        let read = entry.and_then(|mut entry| {
            let (path, found) = (normal(&entry.path_bytes()), Entry::of(&mut entry)?);
            Ok((path, found, entry))
        });
        let Ok((path, found, mut entry)) = read else {
            is_whole = false;
            break;
        };
        let size = if found.is_file() { found.size } else { 0 };
        let mut content = Content { entry: &mut entry, left: size, is_cut: false };
        each(path, found, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        if content.is_cut {
            is_whole = false;
            break;
        }
    }
    // The blocks of zeros that end an archive are not read to their end by those who know them.
    let is_whole = is_whole && !ended.is_at_end;
    // What is left of it is nothing but zeros; a reader that goes too early ends the call with an error.
    let drained = io::copy(&mut ended, &mut io::sink());
    Ok(is_whole && drained.is_ok())
}

/// Reads an archive to its end.
pub(super) fn read(archive: impl Read, tell: &dyn Fn(u64)) -> io::Result<Found> {
    let (mut index, mut bytes, mut told) = (Index::new(), 0, 0);
    let is_whole = walk(archive, |path, mut entry, content| {
        if entry.is_file() {
            let mut hash = Hashing { hash: Sha256::new(), bytes: 0 };
            io::copy(content, &mut hash)?;
            entry.digest = Some(hash.hash.finalize().into());
            bytes += hash.bytes;
            if bytes - told >= TOLD_EVERY_BYTES {
                told = bytes;
                tell(bytes);
            }
        }
        if entry.is_folder() {
            entry.mtime = 0;
        }
        index.insert(path, entry);
        Ok(())
    })?;
    Ok(Found { index, bytes, is_whole })
}

/// What an archive turned out to be, once it has passed.
pub(super) struct Passed {
    /// As of `Found`.
    pub(super) is_whole: bool,
    /// The folder that it is of, where it says so.
    pub(super) top: Option<Entry>,
}

/// An archive on its way to somebody else, and what it turned out to be once that one has had all of it, or has dropped it.
pub(super) fn noted<E: Send + 'static>(
    archive: BoxStream<'static, Result<Bytes, E>>,
) -> (BoxStream<'static, Result<Bytes, E>>, JoinHandle<io::Result<Passed>>) {
    let (sender, reader) = Reader::fed();
    let noting = tokio::task::spawn_blocking(move || {
        let mut top = None;
        let is_whole = walk(reader, |path, entry, _| {
            if path.is_empty() && entry.is_folder() {
                top = Some(entry);
            }
            Ok(())
        })?;
        Ok(Passed { is_whole, top })
    });
    let pieces = stream::unfold((archive, sender), |(mut archive, sender)| async move {
        let piece = archive.next().await?;
        if let Ok(piece) = &piece {
            // Who reads it takes all of it; who is gone has told why.
            let _ = sender.send(Ok(piece.clone())).await;
        }
        Some((piece, (archive, sender)))
    });
    (pieces.boxed(), noting)
}

/// An archive of a folder alone, without what is in it.
pub(super) fn alone(folder: &Entry, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Builder::new(Vec::new());
    folder.write(&mut out, name, &[], io::empty())?;
    out.into_inner()
}

struct Hashing {
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.hash.update(buffer);
        self.bytes += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells whether somebody read up to the end of the input.
struct Ended<R> {
    input: R,
    is_at_end: bool,
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.is_at_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// A file's content, of the length that was said: where the archive breaks off, zeros stand for what is missing.
struct Content<'c, R> {
    entry: &'c mut R,
    left: u64,
    is_cut: bool,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let mut count = if self.is_cut { 0 } else { self.entry.read(&mut buffer[..most]).unwrap_or_default() };
        if count == 0 {
            self.is_cut = true;
            buffer[..most].fill(0);
            count = most;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with an owner and a mode of its own, and a file in it.
    fn archive() -> Vec<u8> {
        let mut out = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o2770);
        header.set_uid(70);
        header.set_gid(71);
        header.set_size(0);
        out.append_data(&mut header, "./", io::empty()).expect("a vector takes all");
        header.set_entry_type(EntryType::Regular);
        header.set_size(1000);
        out.append_data(&mut header, "file", &[7_u8; 1000][..]).expect("a vector takes all");
        out.into_inner().expect("a vector takes all")
    }

    async fn passed(bytes: &[u8]) -> Passed {
        let pieces: Vec<io::Result<Bytes>> = bytes.chunks(300).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let (pieces, noting) = noted(stream::iter(pieces).boxed());
        let through: Vec<Bytes> = pieces.map(|piece| piece.expect("none failed")).collect().await;
        assert_eq!(through.concat(), bytes);
        noting.await.expect("it does not panic").expect("it is read")
    }

    #[tokio::test]
    async fn an_archive_that_ends_early_is_not_whole_wherever_it_ends() {
        let whole = archive();
        assert!(passed(&whole).await.is_whole);
        // In a header, between two entries, in a file, and after it.
        for bytes in [0, 100, 512, 1024, 1500, 2048] {
            assert!(!passed(&whole[..bytes]).await.is_whole, "{bytes} of {}", whole.len());
        }
    }

    #[tokio::test]
    async fn the_folder_of_an_archive_is_told_as_it_was() {
        let top = passed(&archive()).await.top.expect("it has one");
        let written = alone(&top, b"content").expect("it is written");
        let mut again = Archive::new(written.as_slice());
        let entry = again.entries().expect("it is an archive").next().expect("it has an entry").expect("it is whole");
        let header = entry.header();
        let read = (entry.path_bytes().into_owned(), header.mode().ok(), header.uid().ok(), header.gid().ok());
        assert_eq!(read, (b"content/".to_vec(), Some(0o2770), Some(70), Some(71)));
    }
}
