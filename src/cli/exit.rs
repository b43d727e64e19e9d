//! Exit codes, as the README and `--help` list them.

/// All is as asked for.
pub const OK: u8 = 0;
/// Something was not done: a step failed, a slot fits nowhere, a host or its engine refused.
pub const FAILURE: u8 = 1;
/// `plan`: something would change.
pub const WOULD_CHANGE: u8 = 2;
/// The Compose file, or a file it names, cannot be used, or none was found (as docker compose).
pub const COMPOSE_FILE: u8 = 14;
/// The command line is wrong (as docker compose).
pub const USAGE: u8 = 16;
/// The inventory cannot be used.
pub const INVENTORY: u8 = 17;
/// No host could be reached.
pub const UNREACHABLE: u8 = 18;
/// Somebody else holds the project's lock.
pub const LOCKED: u8 = 19;
/// mcompose itself is at fault.
pub const BUG: u8 = 70;
/// Ctrl-C or SIGTERM, as docker compose.
pub const INTERRUPTED: u8 = 130;

/// Every code with its meaning, for those who read.
pub const ALL: &[(u8, &str)] = &[
    (OK, "done"),
    (FAILURE, "something was not done"),
    (WOULD_CHANGE, "`plan`: something would change"),
    (COMPOSE_FILE, "the Compose file cannot be used"),
    (USAGE, "wrong command line"),
    (INVENTORY, "the inventory cannot be used"),
    (UNREACHABLE, "no host answers"),
    (LOCKED, "another mcompose is changing the project"),
    (BUG, "a fault of mcompose itself"),
    (INTERRUPTED, "interrupted"),
];

/// `0 done · 1 something was not done …`
pub fn table() -> String {
    ALL.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_lists_them() {
        let readme = include_str!("../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let table = super::table();
        assert!(readme.contains(&table), "README lacks: {table}");
    }
}
