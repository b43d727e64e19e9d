//! Which files there are, and how they look from outside, so that a change shows.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By path.
pub type Sighting = BTreeMap<PathBuf, Stamp>;

/// What of a file changes when it is written. Of a folder only that it is one, since what is in it is seen by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    Folder,
    File { bytes: u64, mode: u32, inode: u64, secs: i64, nanos: i64 },
}

/// Adds what is at a path and below it; links are not followed. `enters`: whether it goes into a folder. What cannot be read is passed
/// over: it may be gone by now.
pub fn scan(path: &Path, enters: &dyn Fn(&Path) -> bool, found: &mut Sighting) {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if !metadata.is_dir() {
            let (bytes, mode, inode) = (metadata.len(), metadata.mode(), metadata.ino());
            found.insert(path, Stamp::File { bytes, mode, inode, secs: metadata.mtime(), nanos: metadata.mtime_nsec() });
            continue;
        }
        if enters(&path) {
            #[expect(clippy::disallowed_methods, reason = "it asks what there is")]
            let entries = fs::read_dir(&path);
            open.extend(entries.into_iter().flatten().flatten().map(|entry| entry.path()));
            found.insert(path, Stamp::Folder);
        }
    }
}
