//! What the tests of the loader read from, and numbers for random texts.
#![allow(dead_code, reason = "several test binaries share it, and not all use all of it")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mcompose::composefile::Files;

/// Files in memory; every other path is not there.
pub struct Memory(pub BTreeMap<PathBuf, Vec<u8>>);

impl Files for Memory {
    fn read(&mut self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn exists(&mut self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn is_dir(&mut self, _: &Path) -> bool {
        false
    }

    fn read_stdin(&mut self, _: u64) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn canonicalize(&mut self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }
}

/// Numbers that look random and are the same each time (xorshift).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).expect("it is below a usize")
    }
}
