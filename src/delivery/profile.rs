//! Seccomp profiles: files of this machine whose text an engine takes.
#![expect(clippy::disallowed_methods, reason = "it reads files")]

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::IgnoredAny;

use super::pack::PackError;

/// Docker's own has 15 kB.
const BYTES_MAX: u64 = 1 << 20;

/// The profile in a file, without the white space between its words, as docker compose sends it.
pub(super) fn text(path: &Path) -> Result<String, PackError> {
    let name = || path.display().to_string();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|source| PackError::Unreadable { path: name(), source })?;
    if text.len() as u64 > BYTES_MAX {
        return Err(PackError::TooLarge { path: name(), limit: BYTES_MAX });
    }
    serde_json::from_str::<IgnoredAny>(&text).map_err(|source| PackError::NoJson { path: name(), source })?;
    Ok(compact(&text))
}

/// JSON without what stands between its words; their order and spelling stay.
fn compact(json: &str) -> String {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_kept = |letter: &char| {
        let is_kept = is_quoted || !letter.is_ascii_whitespace();
        is_quoted ^= *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        is_kept
    };
    json.chars().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn only_what_stands_between_words_goes() {
        assert_eq!(compact("{ \"a b\": [1,\n 2],\t\"c\\\" d\": \"\\\\\" }"), "{\"a b\":[1,2],\"c\\\" d\":\"\\\\\"}");
    }
}
