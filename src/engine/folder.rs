//! A folder of this machine that a build reads as it goes.

use std::io::{self, Read};

/// What BuildKit asks for of a folder, in patterns as those of .dockerignore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Nothing: all of it.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Paths that the build names. A link on the way to one stands for what it leads to. Nothing: any.
    pub follow: Vec<String>,
}

/// A file, a folder or a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    /// Within the folder.
    pub path: String,
    /// As `stat` has it, with the kind.
    pub mode: u32,
    pub bytes: u64,
    pub modified_ns: i64,
    /// Of a symbolic link.
    pub target: Option<String>,
}

pub trait Folder: Send + Sync {
    /// What is wanted of it: a folder before what is in it, in the order of names.
    fn entries(&self, wanted: &Wanted) -> io::Result<Vec<FolderEntry>>;
    /// A file, by its path within the folder.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;
}
