//! The keys of what lies encrypted on hosts: from the environment, or a file beside the inventory.
#![expect(clippy::disallowed_methods, reason = "the environment and the file are read here and handed on as values")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::hosts::InventoryFile;
use super::{Failure, exit};
use crate::delivery::Keys;

pub const VARIABLE: &str = "MCOMPOSE_KEY";
/// Beside the inventory.
pub const FILE: &str = "mcompose.key";

/// The keys that there are; none where there is neither the variable nor the file.
pub fn read(inventory: Option<&InventoryFile>) -> Result<Keys, Failure> {
    if let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) {
        return parsed(VARIABLE, &text);
    }
    let Some(path) = inventory.map(beside) else { return Ok(Keys::default()) };
    let name = path.display();
    let failure = |what: String, hint: Option<String>| Failure::said(what, hint, exit::INVENTORY);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Keys::default()),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let what = format!("others than its owner may read the key in `{name}`");
            return Err(failure(what, Some(format!("`chmod 600 {name}`"))));
        }
        _ => {}
    }
    let text = fs::read_to_string(&path).map_err(|error| failure(format!("cannot read the key in `{name}`: {error}"), None))?;
    parsed(&name.to_string(), &text)
}

/// Where the key of an inventory's hosts is.
pub fn beside(inventory: &InventoryFile) -> PathBuf {
    inventory.path.with_file_name(FILE)
}

fn parsed(place: &str, text: &str) -> Result<Keys, Failure> {
    Keys::parse(text).map_err(|error| {
        let hint = "`mcompose secret init` makes a key, `openssl rand -hex 32` does too".to_owned();
        Failure::said(format!("the key in `{place}` cannot be used: {error}"), Some(hint), exit::INVENTORY)
    })
}
