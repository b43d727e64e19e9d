//! What the environment says to docker compose itself: variables that begin with `COMPOSE_`, of the process or, below those, of an `.env`
//! file beside the Compose file or named by `--env-file`. Flags stand above both.

use std::collections::BTreeMap;

use super::files::Disk;
use super::{Failure, Globals, exit, load};
use crate::composefile::{self, LoadOptions, is_on};

/// The variables, by name.
pub struct Settings(BTreeMap<String, String>);

/// What becomes of containers whose service the Compose file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanRule {
    /// `--remove-orphans`
    pub remove: bool,
    /// Nothing is said of them.
    pub ignore: bool,
}

impl Settings {
    pub fn of(globals: &Globals) -> Self {
        // Without a working directory there is no `.env`, and loading says so.
        let request = load::request(globals, &[], LoadOptions::default()).ok();
        Self(request.map(|request| composefile::settings(&request, &mut Disk)).unwrap_or_default())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(is_on)
    }

    /// `--remove-orphans`, or its variable.
    pub fn removes_orphans(&self, flag: bool) -> bool {
        flag || self.is_on("COMPOSE_REMOVE_ORPHANS")
    }

    /// Fails where orphans are to be removed and to be ignored.
    pub fn orphans(&self, flag: bool) -> Result<OrphanRule, Failure> {
        let rule = OrphanRule { remove: self.removes_orphans(flag), ignore: self.is_on("COMPOSE_IGNORE_ORPHANS") };
        if rule.remove && rule.ignore {
            let message = "cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans";
            let hint = "leave out the flag, or unset the variable: it may stand in the .env file";
            return Err(Failure::said(message, hint.to_owned(), exit::USAGE));
        }
        Ok(rule)
    }
}
