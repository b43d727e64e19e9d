//! The loader's door to the disk.
#![expect(clippy::disallowed_methods, reason = "this is the door")]

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::composefile::Files;

/// The real disk and standard input.
pub struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn exists(&mut self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&mut self, path: &Path) -> bool {
        path.is_dir()
    }

    fn read_stdin(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io::stdin().take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn canonicalize(&mut self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }
}
