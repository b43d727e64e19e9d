//! The files that an `Include` names.

use super::Disk;
use super::words::wildcard;

/// In the order of their names. A relative path starts at the including side's folder, `~/` at home.
pub(super) fn files(disk: &Disk<'_>, folder: &str, pattern: &str) -> Vec<String> {
    let path = match pattern.strip_prefix("~/") {
        Some(rest) => format!("{}/{rest}", disk.home),
        None if pattern.starts_with('/') => pattern.to_owned(),
        None => format!("{folder}/{pattern}"),
    };
    let mut found = vec![String::new()];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|base| below(disk, base, part)).collect();
    }
    found
}

fn below(disk: &Disk<'_>, base: &str, part: &str) -> Vec<String> {
    if !part.contains(['*', '?']) {
        return vec![format!("{base}/{part}")];
    }
    let mut names: Vec<String> = (disk.list)(if base.is_empty() { "/" } else { base });
    // As in a shell, a star does not reach hidden files.
    names.retain(|name| wildcard(part.as_bytes(), name.as_bytes()) && (part.starts_with('.') || !name.starts_with('.')));
    names.sort();
    names.into_iter().map(|name| format!("{base}/{name}")).collect()
}
