//! docs/compose-support.md: what mcompose does with each attribute, and how far it agrees with docker compose.

use super::script::Script;

pub fn of(scripts: &[Script]) -> String {
    let _ = scripts;
    String::new()
}
