//! `mcompose secret init`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use super::{Failure, Globals, exit, keys, load};
use crate::delivery::Keys;
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub enum SecretVerb {
    Init(InitArgs),
}

/// Make the key that secrets are encrypted with on hosts, beside hosts.toml
#[derive(Debug, clap::Args)]
pub struct InitArgs {}

pub fn run(SecretVerb::Init(_): &SecretVerb, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let fleet = load::fleet(globals, ui, None)?;
    let Some(file) = &fleet.file else {
        let hint =
            format!("`mcompose hosts add` begins one; without it, {} may have a key (`openssl rand -hex 32`)", keys::VARIABLE);
        return Err(Failure::said("there is no hosts.toml that the key could be beside".to_owned(), hint, exit::INVENTORY));
    };
    let path = keys::beside(file);
    let name = path.display();
    let failure = |what: String, hint: Option<String>| Failure::said(what, hint, exit::FAILURE);
    if globals.dry_run {
        ui.note(&format!("a key would be written to {name}"));
        return Ok(exit::OK);
    }
    let key = Keys::generate().map_err(|error| failure(format!("cannot make a key: {error}"), None))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let written = made.and_then(|mut file| writeln!(file, "{key}").and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let hint = "a new key is a new first line in it; the old ones below it still open what they have closed".to_owned();
            failure(format!("there is a key in `{name}` already"), Some(hint))
        }
        _ => failure(format!("cannot write the key to `{name}`: {error}"), None),
    })?;
    ui.note(&format!(
        "the key is in {name}: from the next `up` on, secrets lie on hosts encrypted. Whoever deploys or supervises needs it: keep a \
         copy elsewhere, out of version control"
    ));
    Ok(exit::OK)
}
