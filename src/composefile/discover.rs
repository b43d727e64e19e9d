//! Which files are the project's, where it stands, and what it is called.

use std::path::{Path, PathBuf};

use super::load::Files;

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// What was found by searching.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    /// Other files of usual names beside the one that was taken.
    pub(super) passed_over: Vec<PathBuf>,
}

/// The Compose file of a folder, or of the nearest folder above it, with its override; nothing where there is none.
pub(super) fn search(folder: &Path, files: &mut dyn Files) -> Option<Found> {
    for folder in folder.ancestors() {
        let mut there =
            NAMES.iter().map(|name| folder.join(name)).filter(|path| files.exists(path)).collect::<Vec<_>>().into_iter();
        let Some(first) = there.next() else { continue };
        let over = OVERRIDES.iter().map(|name| folder.join(name)).find(|path| files.exists(path));
        return Some(Found { files: std::iter::once(first).chain(over).collect(), passed_over: there.collect() });
    }
    None
}

/// A name as docker compose makes one of a folder's or a file's: lower case, only letters, digits, `_` and `-`.
pub(super) fn normalised_name(text: &str) -> String {
    let kept: String =
        text.to_lowercase().chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c)).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::normalised_name;

    #[test]
    fn names_are_made_of_folders() {
        let names = ["My Proj.1", "_x-", "Yaml.Name_1", "___"].map(normalised_name);
        assert_eq!(names, ["myproj1", "x-", "yamlname_1", ""]);
    }
}
