//! A file or folder as an archive: the same content gives the same bytes, wherever and whenever it is packed.
#![expect(clippy::disallowed_methods, reason = "files are what it packs")]

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::project::Content;

/// Every entry has this time, so that a file that was only touched is the same content: 2000-01-01.
const MTIME: u64 = 946_684_800;
/// Folders within folders.
const DEPTH_MAX: usize = 128;

/// What an archive is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder with all that is in it. Nothing of it may lead out of `within`.
    Path {
        path: PathBuf,
        within: Option<PathBuf>,
        owner: Owner,
    },
    Text {
        text: Vec<u8>,
        owner: Owner,
    },
}

/// Owner and mode where they are said; else a file keeps its own, and a text is root's, mode 0444.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mode: Option<u32>,
}

/// What packing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of the archive, 64 hexadecimal digits.
    pub digest: String,
    pub bytes: u64,
    pub is_folder: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("`{path}` cannot be read")]
    Unreadable { path: String, source: io::Error },
    #[error("`{path}` is a {kind}, which cannot be delivered")]
    NoFile { path: String, kind: &'static str },
    #[error("`{path}` leads out of the project, to `{to}`")]
    LeadsOut { path: String, to: String },
    #[error("`{path}` has folders more than {DEPTH_MAX} deep")]
    TooDeep { path: String },
    #[error("`{path}` changed while it was read")]
    Changed { path: String },
    #[error("`{path}` has more than {} MiB", limit >> 20)]
    TooLarge { path: String, limit: u64 },
    #[error("`{path}` is not JSON")]
    NoJson { path: String, source: serde_json::Error },
    #[error("it cannot be encrypted")]
    Sealing(#[source] super::seal::SealError),
    /// Whoever takes the archive has had enough.
    #[error("the archive could not be passed on")]
    Unwanted(#[source] io::Error),
}

/// Reads a source as `pack` does and returns its digest and size.
pub fn summary(source: &Source, limit: u64) -> Result<Summary, PackError> {
    pack(source, limit, io::sink())
}

/// Writes the source's archive; of a file, an archive with one entry, `Content::FILE`.
pub fn pack(source: &Source, limit: u64, out: impl Write) -> Result<Summary, PackError> {
    let builder = Builder::new(Tally { out, hash: Sha256::new(), bytes: 0 });
    let mut packer = Packer { builder, limit, read: 0, top: String::new(), owner: Owner::default(), kept: None };
    let mut is_folder = false;
    match source {
        Source::Text { text, owner } => packer.text(Path::new(Content::FILE), text, *owner)?,
        Source::Path { path, within, owner } => {
            packer.top = path.display().to_string();
            let real = fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
            if let Some(within) = within.as_deref().and_then(|within| fs::canonicalize(within).ok())
                && !real.starts_with(&within)
            {
                return Err(PackError::LeadsOut { path: packer.top, to: real.display().to_string() });
            }
            let metadata = fs::metadata(&real).map_err(|error| unreadable(path, error))?;
            is_folder = metadata.is_dir();
            if is_folder {
                packer.entry(Path::new("./"), &header(EntryType::Directory, &metadata, Owner::default()), io::empty())?;
                packer.folder(&real, Path::new(""), 0)?;
            } else {
                packer.file(&real, Path::new(Content::FILE), &metadata, *owner)?;
            }
        }
    }
    let tally = packer.builder.into_inner().map_err(PackError::Unwanted)?;
    let digest = tally.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Summary { digest, bytes: tally.bytes, is_folder })
}

/// What of a folder's entry goes into an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Whole,
    /// Not itself, but maybe something in it.
    Within,
    Nothing,
}

/// By path within the folder, and whether that is a folder too.
type Keeping<'k> = dyn Fn(&Path, bool) -> Kept + 'k;

/// Writes an archive of what is in a folder, as root's. Sockets are left out.
pub(super) fn pack_folder(folder: &Path, kept: &Keeping<'_>, out: impl Write) -> Result<(), PackError> {
    let owner = Owner { uid: Some(0), gid: Some(0), mode: None };
    let builder = Builder::new(Tally { out, hash: Sha256::new(), bytes: 0 });
    let mut packer = Packer { builder, limit: u64::MAX, read: 0, top: folder.display().to_string(), owner, kept: Some(kept) };
    packer.folder(folder, Path::new(""), 0)?;
    packer.builder.into_inner().map(drop).map_err(PackError::Unwanted)
}

/// Writes an archive of a file or folder under a name of its own: root's, unless it keeps its owner.
pub(super) fn pack_as(path: &Path, name: &Path, keep_owner: bool, out: impl Write) -> Result<(), PackError> {
    let owner = if keep_owner { Owner::default() } else { Owner { uid: Some(0), gid: Some(0), mode: None } };
    let builder = Builder::new(Tally { out, hash: Sha256::new(), bytes: 0 });
    let mut packer = Packer { builder, limit: u64::MAX, read: 0, top: path.display().to_string(), owner, kept: None };
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if metadata.is_dir() {
        packer.entry(&name.join(""), &header(EntryType::Directory, &metadata, owner), io::empty())?;
        packer.folder(path, name, 0)?;
    } else {
        packer.file(path, name, &metadata, owner)?;
    }
    packer.builder.into_inner().map(drop).map_err(PackError::Unwanted)
}

/// Writes an archive of files, links and folders under names of their own, as root's; of a folder, it alone. What is gone by now is left
/// out.
pub(super) fn pack_each(entries: &[(PathBuf, PathBuf)], out: impl Write) -> Result<(), PackError> {
    let owner = Owner { uid: Some(0), gid: Some(0), mode: None };
    let builder = Builder::new(Tally { out, hash: Sha256::new(), bytes: 0 });
    let mut packer = Packer { builder, limit: u64::MAX, read: 0, top: String::new(), owner, kept: None };
    for (name, path) in entries {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                packer.entry(&name.join(""), &header(EntryType::Directory, &metadata, owner), io::empty())?;
            }
            Ok(metadata) if metadata.is_symlink() => packer.link(path, name, &metadata)?,
            Ok(metadata) => packer.file(path, name, &metadata, owner)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(path, error)),
        }
    }
    packer.builder.into_inner().map(drop).map_err(PackError::Unwanted)
}

struct Packer<'k, W: Write> {
    builder: Builder<Tally<W>>,
    limit: u64,
    /// Bytes of files so far.
    read: u64,
    /// What was asked for, for errors.
    top: String,
    /// Of what is in folders.
    owner: Owner,
    /// Nothing: everything.
    kept: Option<&'k Keeping<'k>>,
}

impl<W: Write> Packer<'_, W> {
    fn text(&mut self, name: &Path, text: &[u8], owner: Owner) -> Result<(), PackError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(text.len() as u64);
        header.set_uid(owner.uid.unwrap_or_default());
        header.set_gid(owner.gid.unwrap_or_default());
        header.set_mode(owner.mode.unwrap_or(0o444));
        header.set_mtime(MTIME);
        self.entry(name, &header, text)
    }

    /// What is in a folder, in the order of the names' bytes.
    fn folder(&mut self, folder: &Path, name: &Path, depth: usize) -> Result<(), PackError> {
        if depth > DEPTH_MAX {
            return Err(PackError::TooDeep { path: self.top.clone() });
        }
        let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let mut names: Vec<OsString> = entries.map_err(|error| unreadable(folder, error))?;
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for entry in names {
            let (path, name) = (folder.join(&entry), name.join(&entry));
            let metadata = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, error))?;
            let kept = self.kept.map_or(Kept::Whole, |kept| kept(&name, metadata.is_dir()));
            let is_left_out = self.kept.is_some() && metadata.file_type().is_socket();
            if kept == Kept::Nothing || is_left_out {
                continue;
            }
            if metadata.is_dir() {
                if kept == Kept::Whole {
                    let header = header(EntryType::Directory, &metadata, self.owner);
                    self.entry(&name.join(""), &header, io::empty())?;
                }
                self.folder(&path, &name, depth + 1)?;
            } else if metadata.is_symlink() {
                self.link(&path, &name, &metadata)?;
            } else {
                self.file(&path, &name, &metadata, self.owner)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> Result<(), PackError> {
        let target = fs::read_link(path).map_err(|error| unreadable(path, error))?;
        let mut header = header(EntryType::Symlink, metadata, self.owner);
        header.set_size(0);
        self.builder.append_link(&mut header, name, &target).map_err(PackError::Unwanted)
    }

    fn file(&mut self, path: &Path, name: &Path, metadata: &Metadata, owner: Owner) -> Result<(), PackError> {
        let kind = metadata.file_type();
        let kinds = [
            (kind.is_fifo(), "named pipe"),
            (kind.is_socket(), "socket"),
            (kind.is_block_device() || kind.is_char_device(), "device"),
        ];
        if let Some((_, kind)) = kinds.into_iter().find(|(is_one, _)| *is_one) {
            return Err(PackError::NoFile { path: path.display().to_string(), kind });
        }
        self.read += metadata.len();
        if self.read > self.limit {
            return Err(PackError::TooLarge { path: self.top.clone(), limit: self.limit });
        }
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        let mut reader = Measured { file: file.take(metadata.len()), read: 0, failed: None };
        let mut header = header(EntryType::Regular, metadata, owner);
        header.set_size(metadata.len());
        let appended = self.builder.append_data(&mut header, name, &mut reader);
        if let Some(error) = reader.failed {
            return Err(unreadable(path, error));
        }
        appended.map_err(PackError::Unwanted)?;
        let after = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        let moved = (after.len(), after.mtime(), after.mtime_nsec()) != (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if moved || reader.read != metadata.len() {
            return Err(PackError::Changed { path: path.display().to_string() });
        }
        Ok(())
    }

    fn entry(&mut self, name: &Path, header: &Header, data: impl Read) -> Result<(), PackError> {
        let mut header = header.clone();
        self.builder.append_data(&mut header, name, data).map_err(PackError::Unwanted)
    }
}

fn unreadable(path: &Path, source: io::Error) -> PackError {
    PackError::Unreadable { path: path.display().to_string(), source }
}

fn header(kind: EntryType, metadata: &Metadata, owner: Owner) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mtime(MTIME);
    header.set_uid(owner.uid.unwrap_or(metadata.uid().into()));
    header.set_gid(owner.gid.unwrap_or(metadata.gid().into()));
    header.set_mode(owner.mode.unwrap_or(metadata.permissions().mode() & 0o7777));
    header
}

/// A file's own failure, apart from that of whoever takes the archive.
struct Measured {
    file: io::Take<File>,
    read: u64,
    failed: Option<io::Error>,
}

impl Read for Measured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(count) => {
                self.read += count as u64;
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Counts and hashes what passes.
struct Tally<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.out.write(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    /// A folder of its own; gone with the value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mcompose-pack-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("inner")).expect("the temporary folder is writable");
            fs::write(path.join("inner/file"), "text").expect("the temporary folder is writable");
            Self(path)
        }

        fn source(&self) -> Source {
            Source::Path { path: self.0.clone(), within: None, owner: Owner::default() }
        }

        fn digest(&self) -> String {
            summary(&self.source(), LIMIT).expect("it is packed").digest
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_same_content_is_the_same_archive_whenever_and_wherever_it_was_written() {
        let (one, other) = (Folder::new("one"), Folder::new("other"));
        let file = File::options().append(true).open(other.0.join("inner/file")).expect("it is there");
        file.set_modified(std::time::UNIX_EPOCH).expect("it is ours");
        assert_eq!(one.digest(), other.digest());
    }

    #[test]
    fn content_names_modes_and_links_make_another_archive() {
        let folder = Folder::new("differs");
        let mut digests = vec![folder.digest()];
        fs::set_permissions(folder.0.join("inner/file"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        digests.push(folder.digest());
        fs::write(folder.0.join("inner/file"), "other").expect("it is writable");
        digests.push(folder.digest());
        fs::rename(folder.0.join("inner/file"), folder.0.join("inner/renamed")).expect("it is ours");
        digests.push(folder.digest());
        symlink("renamed", folder.0.join("inner/link")).expect("it is writable");
        digests.push(folder.digest());
        fs::create_dir(folder.0.join("empty")).expect("it is writable");
        digests.push(folder.digest());
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), 6);
    }

    #[test]
    fn an_archive_has_each_entry_as_it_is_on_disk() {
        let folder = Folder::new("entries");
        symlink("../elsewhere", folder.0.join("link")).expect("it is writable");
        fs::write(folder.0.join("two\nlines"), "").expect("it is writable");
        let mut bytes = Vec::new();
        let found = pack(&folder.source(), LIMIT, &mut bytes).expect("it is packed");
        assert_eq!((found.bytes, found.is_folder), (bytes.len() as u64, true));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().expect("it is an archive").map(|entry| {
            let entry = entry.expect("it is an entry");
            let link = entry.link_name().expect("it is a path").map(|link| link.display().to_string()).unwrap_or_default();
            format!("{:?} {}", entry.path().expect("it is a path"), link)
        });
        let entries: Vec<String> = entries.collect();
        assert_eq!(entries, ["\"./\" ", "\"inner/\" ", "\"inner/file\" ", "\"link\" ../elsewhere", "\"two\\nlines\" "]);
    }

    #[test]
    fn more_than_the_limit_is_refused_unread() {
        let folder = Folder::new("large");
        let file = File::create(folder.0.join("large")).expect("it is writable");
        file.set_len(1 << 40).expect("a file with holes takes no room");
        let refused = summary(&folder.source(), LIMIT);
        assert!(matches!(refused, Err(PackError::TooLarge { limit: LIMIT, .. })), "{refused:?}");
    }
}
