//! Folders that a build reads as it goes.
#![expect(clippy::disallowed_methods, reason = "files are what it reads")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::context::Ignore;
use super::pack::Kept;
use crate::engine::{Folder, FolderEntry, Wanted};

/// Folders within folders.
const DEPTH_MAX: usize = 128;
/// A file that anybody may read.
const FILE_MODE: u32 = 0o100_644;

/// A folder on disk.
pub(super) struct Directory(pub(super) PathBuf);

/// Files that are in no folder together, by name.
pub(super) struct Files(pub(super) BTreeMap<String, Vec<u8>>);

impl Folder for Files {
    fn entries(&self, wanted: &Wanted) -> io::Result<Vec<FolderEntry>> {
        let include = included(wanted, |_| false);
        let is_wanted = |name: &&String| include.as_ref().is_none_or(|include| include.names(Path::new(name.as_str())));
        let entry = |name: &String| {
            let bytes = self.0.get(name).map(Vec::len).unwrap_or_default() as u64;
            // The time tells two of one length apart, and the text alone is what matters here.
            let modified_ns = self.0.get(name).map(|text| sum(text)).unwrap_or_default();
            FolderEntry { path: name.clone(), mode: FILE_MODE, bytes, modified_ns, target: None }
        };
        Ok(self.0.keys().filter(is_wanted).map(entry).collect())
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(text.clone())))
    }
}

/// A number that another text mostly does not have, small enough for a time.
fn sum(text: &[u8]) -> i64 {
    let sum = text.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    (sum >> 4) as i64
}

impl Folder for Directory {
    fn entries(&self, wanted: &Wanted) -> io::Result<Vec<FolderEntry>> {
        let include = included(wanted, |path| has_link(&self.0, path));
        let exclude = Ignore::parse(&wanted.exclude.join("\n"));
        let mut walk = Walk { include, exclude, pending: Vec::new(), found: Vec::new() };
        walk.folder(&self.0, Path::new(""), 0)?;
        Ok(walk.found)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.0.join(path))?))
    }
}

/// What is included; nothing: all. Paths that a build follows count where each is a plain one: a link on the way, or a pattern, may lead
/// anywhere in the folder.
fn included(wanted: &Wanted, is_linked: impl Fn(&Path) -> bool) -> Option<Ignore> {
    let follow = wanted.follow.iter().map(|path| path.trim_start_matches("./").trim_matches('/'));
    let is_plain = |path: &str| !path.is_empty() && path != "." && !path.contains(['*', '?', '[', '\\', '!', '#', '^']);
    let is_narrow = follow.clone().all(|path| is_plain(path) && !is_linked(Path::new(path)));
    if (wanted.include.is_empty() && wanted.follow.is_empty()) || !is_narrow {
        return None;
    }
    let patterns: Vec<&str> = wanted.include.iter().map(String::as_str).chain(follow).collect();
    Some(Ignore::parse(&patterns.join("\n")))
}

/// Whether a part of the path is a link.
fn has_link(folder: &Path, path: &Path) -> bool {
    path.ancestors()
        .any(|part| fs::symlink_metadata(folder.join(part)).is_ok_and(|found| found.is_symlink() && part != Path::new("")))
}

struct Walk {
    include: Option<Ignore>,
    exclude: Ignore,
    /// Folders on the way of which nothing was found yet that is wanted, though they are not themselves.
    pending: Vec<FolderEntry>,
    found: Vec<FolderEntry>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, name: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!("`{}` has folders more than {DEPTH_MAX} deep", folder.display())));
        }
        let names = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let mut names: Vec<OsString> = names.map_err(|error| unreadable(folder, &error))?;
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for entry in names {
            let (path, name) = (folder.join(&entry), name.join(&entry));
            let metadata = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
            let kept = self.exclude.keeps(&name, metadata.is_dir());
            if kept == Kept::Nothing || metadata.file_type().is_socket() {
                continue;
            }
            let is_wanted = kept == Kept::Whole && self.include.as_ref().is_none_or(|include| include.names(&name));
            if !is_wanted && !metadata.is_dir() {
                continue;
            }
            let entry = described(&path, &name, &metadata)?;
            self.pending.push(entry);
            if is_wanted {
                self.found.append(&mut self.pending);
            }
            if metadata.is_dir() {
                self.folder(&path, &name, depth + 1)?;
                // Nothing of it was wanted.
                self.pending.pop_if(|pending| Path::new(&pending.path) == name);
            }
        }
        Ok(())
    }
}

fn described(path: &Path, name: &Path, metadata: &Metadata) -> io::Result<FolderEntry> {
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
        return Err(io::Error::other(format!("`{}` is a pipe or device, which cannot be delivered", path.display())));
    }
    let text = |path: &Path| {
        let no_text = || io::Error::other(format!("the name `{}` is no UTF-8", path.display()));
        path.to_str().map(str::to_owned).ok_or_else(no_text)
    };
    let target = match kind.is_symlink() {
        true => Some(text(&fs::read_link(path).map_err(|error| unreadable(path, &error))?)?),
        false => None,
    };
    let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    let bytes = if kind.is_file() { metadata.len() } else { 0 };
    Ok(FolderEntry { path: text(name)?, mode: metadata.mode(), bytes, modified_ns, target })
}

fn unreadable(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}` cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of its own; gone with the value.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("mcompose-lent-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            for file in ["a/inner/file", "a-b", "b/left", "b/taken/back", ".dockerignore"] {
                let file = path.join(file);
                fs::create_dir_all(file.parent().expect("it is in a folder")).expect("the temporary folder is writable");
                fs::write(file, "text").expect("the temporary folder is writable");
            }
            symlink("a", path.join("link")).expect("the temporary folder is writable");
            Self(path)
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn check(home: &Home, include: &[&str], exclude: &[&str], follow: &[&str], expected: &[&str]) {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let wanted = Wanted { include: texts(include), exclude: texts(exclude), follow: texts(follow) };
        let entries = Directory(home.0.clone()).entries(&wanted).expect("it is readable");
        assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), expected);
    }

    const ALL: [&str; 10] =
        [".dockerignore", "a", "a/inner", "a/inner/file", "a-b", "b", "b/left", "b/taken", "b/taken/back", "link"];

    #[test]
    fn a_folder_comes_before_what_is_in_it_and_only_what_is_wanted_comes() {
        let home = Home::new("walk");
        check(&home, &[], &[], &[], &ALL);
        check(&home, &[".dockerignore"], &[], &[], &[".dockerignore"]);
        check(&home, &["a/inner/file"], &[], &[], &["a", "a/inner", "a/inner/file"]);
        check(
            &home,
            &[],
            &["b", "!b/taken"],
            &[],
            &[".dockerignore", "a", "a/inner", "a/inner/file", "a-b", "b", "b/taken", "b/taken/back", "link"],
        );
        check(&home, &[], &["b", "*/inner"], &[], &[".dockerignore", "a", "a-b", "link"]);
    }

    #[test]
    fn what_a_build_follows_is_enough_where_no_link_is_on_the_way() {
        let home = Home::new("follow");
        check(&home, &[], &[], &["/a-b", "gone"], &["a-b"]);
        check(&home, &[], &[], &["b/taken"], &["b", "b/taken", "b/taken/back"]);
        check(&home, &[], &[], &["link/inner"], &ALL);
        check(&home, &[], &[], &["a*"], &ALL);
        check(&home, &[], &[], &["/"], &ALL);
    }

    #[test]
    fn files_without_a_folder_are_found_by_name() {
        let files = Files(BTreeMap::from([("Dockerfile".to_owned(), b"FROM scratch".to_vec())]));
        let wanted = |name: &str| Wanted { follow: vec![name.to_owned()], ..Wanted::default() };
        assert_eq!(files.entries(&wanted("Dockerfile")).expect("they are there").len(), 1);
        assert_eq!(files.entries(&wanted("other")).expect("they are there"), []);
        let mut text = String::new();
        files.open("Dockerfile").expect("it is there").read_to_string(&mut text).expect("it is text");
        assert_eq!(text, "FROM scratch");
    }
}
