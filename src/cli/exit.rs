//! Exit codes, as the README lists them.

/// All is as asked for.
pub const OK: u8 = 0;
/// Something was not done: a step failed, a slot fits nowhere, a host or its engine refused.
pub const FAILURE: u8 = 1;
/// `plan`: something would change.
pub const WOULD_CHANGE: u8 = 2;
/// The Compose file, or a file it names, cannot be used.
pub const COMPOSE_FILE: u8 = 14;
/// No Compose file was found, or the command line is wrong (as docker compose).
pub const USAGE: u8 = 16;
/// The inventory cannot be used.
pub const INVENTORY: u8 = 17;
/// No host could be reached.
pub const UNREACHABLE: u8 = 18;
/// Somebody else holds the project's lock.
pub const LOCKED: u8 = 19;
/// Ctrl-C, as shells count it.
pub const INTERRUPTED: u8 = 130;
