//! The context of a build as an archive, without what .dockerignore names.
#![expect(clippy::disallowed_methods, reason = "files are what it packs")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, Pattern};

use super::lent_folder::{Directory, Files};
use super::pack::{Kept, PackError, pack_folder};
use crate::engine::Folder;
use crate::project::ImageBuild;

const USUAL_NAME: &str = "Dockerfile";
/// Also the end of the name of a file that counts for one Dockerfile alone.
const IGNORE: &str = ".dockerignore";

/// The context of one build: what is sent of it.
pub struct Context {
    folder: PathBuf,
    dockerfile: String,
    ignore: Ignore,
}

impl Context {
    /// Reads what there is to know before it is packed. The context is a folder of this machine. Nothing where the Dockerfile is no file
    /// of it: an archive has no place for such a one.
    pub fn of(build: &ImageBuild) -> Result<Option<Self>, PackError> {
        let path = Path::new(&build.context);
        let folder = fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
        if build.dockerfile_inline.is_some() || Path::new(&build.dockerfile).is_absolute() {
            return Ok(None);
        }
        let path = folder.join(&build.dockerfile);
        let real = fs::canonicalize(&path).map_err(|error| unreadable(&path, error))?;
        if !real.starts_with(&folder) {
            return Ok(None);
        }
        let dockerfile = build.dockerfile.trim_start_matches("./").to_owned();
        let ignore = Ignore::of(&folder, &dockerfile);
        Ok(Some(Self { folder, dockerfile, ignore }))
    }

    /// The Dockerfile's path in the archive.
    pub fn dockerfile(&self) -> &str {
        &self.dockerfile
    }

    /// Writes the archive: root's files, as docker's own client sends them.
    pub fn pack(&self, out: impl Write) -> Result<(), PackError> {
        pack_folder(&self.folder, &|path, is_folder| self.ignore.keeps(path, is_folder), out)
    }
}

/// By BuildKit's names for them.
pub type LentFolders = BTreeMap<String, Arc<dyn Folder>>;

/// The folders of a build that reads them as it goes, and the Dockerfile's path in `dockerfile`, or in the context that the engine
/// fetches. BuildKit itself applies .dockerignore.
pub fn lent_folders(build: &ImageBuild) -> Result<(LentFolders, String), PackError> {
    let mut folders = LentFolders::new();
    for (name, context) in build.contexts.iter().filter(|(_, context)| ImageBuild::is_folder(context)) {
        folders.insert(ImageBuild::local_name(name), Arc::new(directory(context)?));
    }
    if build.is_remote() && build.dockerfile_inline.is_none() {
        return Ok((folders, build.dockerfile.clone()));
    }
    if !build.is_remote() {
        folders.insert("context".to_owned(), Arc::new(directory(&build.context)?));
    }
    let path = Path::new(&build.context).join(&build.dockerfile);
    let name = path.file_name().filter(|_| !build.dockerfile.is_empty());
    let name = name.map_or(USUAL_NAME.to_owned(), |name| name.to_string_lossy().into_owned());
    let mut files = BTreeMap::from([(name.clone(), dockerfile_text(build)?)]);
    let ignore = format!("{name}{IGNORE}");
    if let (false, Ok(own)) = (build.dockerfile.is_empty(), fs::read(path.with_file_name(&ignore))) {
        files.insert(ignore, own);
    }
    folders.insert("dockerfile".to_owned(), Arc::new(Files(files)));
    Ok((folders, name))
}

/// The Dockerfile of a build that is not in a context which the engine fetches.
pub fn dockerfile_text(build: &ImageBuild) -> Result<Vec<u8>, PackError> {
    if let Some(text) = &build.dockerfile_inline {
        return Ok(text.clone().into_bytes());
    }
    let path = Path::new(&build.context).join(&build.dockerfile);
    fs::read(&path).map_err(|error| unreadable(&path, error))
}

fn directory(path: &str) -> Result<Directory, PackError> {
    let path = Path::new(path);
    let folder = fs::canonicalize(path).and_then(|folder| fs::read_dir(&folder).map(|_| folder));
    folder.map(Directory).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, source: std::io::Error) -> PackError {
    PackError::Unreadable { path: path.display().to_string(), source }
}

/// .dockerignore (docker's reference, "Dockerfile", .dockerignore file): patterns from the context's root, the last that matches
/// counts, `!` takes back. The Dockerfile and the file itself are always sent.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<(Pattern, bool)>,
    always: Vec<PathBuf>,
}

impl Ignore {
    fn of(context: &Path, dockerfile: &str) -> Self {
        let own = format!("{dockerfile}{IGNORE}");
        let name = if context.join(&own).is_file() { own } else { IGNORE.to_owned() };
        let text = fs::read_to_string(context.join(&name)).unwrap_or_default();
        let mut ignore = Self::parse(&text);
        ignore.always = vec![dockerfile.into(), name.into()];
        ignore
    }

    /// The file of a build's context whose Dockerfile has the usual name.
    pub fn of_context(context: &Path) -> Self {
        Self { always: Vec::new(), ..Self::of(context, USUAL_NAME) }
    }

    /// A pattern a line. What is no pattern is passed over.
    pub fn parse(text: &str) -> Self {
        let rule = |line: &str| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (text, takes_back) = line.strip_prefix('!').map_or((line, false), |rest| (rest.trim(), true));
            let text = text.trim_start_matches("./").trim_matches('/');
            Some((Pattern::new(text).ok()?, takes_back))
        };
        Self { rules: text.lines().filter_map(rule).collect(), always: Vec::new() }
    }

    /// Whether the patterns name a path, or a folder above it.
    pub fn names(&self, path: &Path) -> bool {
        let mut is_named = false;
        for (pattern, takes_back) in &self.rules {
            let matches = path.ancestors().any(|part| !part.as_os_str().is_empty() && pattern.matches_path_with(part, STRICT));
            if matches {
                is_named = !takes_back;
            }
        }
        is_named
    }

    /// Whether something in a folder may not be named.
    pub fn enters(&self, folder: &Path) -> bool {
        self.keeps(folder, true) != Kept::Nothing
    }

    pub(super) fn keeps(&self, path: &Path, is_folder: bool) -> Kept {
        if self.always.iter().any(|always| always == path || (is_folder && always.starts_with(path))) {
            return if is_folder { Kept::Within } else { Kept::Whole };
        }
        match (!self.names(path), is_folder && self.rules.iter().any(|(_, takes_back)| *takes_back)) {
            (true, _) => Kept::Whole,
            // Something below may be taken back.
            (false, true) => Kept::Within,
            (false, false) => Kept::Nothing,
        }
    }
}

const STRICT: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, kept: &[&str], left_out: &[&str]) {
        let ignore = Ignore::parse(text);
        let found = |path: &&&str| ignore.keeps(Path::new(path), false) == Kept::Whole;
        let paths: Vec<&&str> = kept.iter().chain(left_out).collect();
        let found: Vec<&str> = paths.iter().copied().filter(found).copied().collect();
        assert_eq!(found, kept);
    }

    #[test]
    fn patterns_count_from_the_root_of_the_context() {
        check("*.md\ntemp?", &["docs/a.md", "x/temp1"], &["README.md", "temp1", "temp1/inside"]);
        check("/node_modules\n# a comment\n\n./out/", &["a/node_modules/x", "outer"], &["node_modules/x/y", "out/a"]);
    }

    #[test]
    fn two_stars_stand_for_any_number_of_folders() {
        check("**/*.log\n**/cache", &["log", "a/b.logs"], &["x.log", "a/b/c.log", "cache/x", "a/cache/y"]);
    }

    #[test]
    fn the_last_rule_that_matches_counts() {
        check("*.md\n!README*.md\nREADME-secret.md", &["README.md"], &["a.md", "README-secret.md"]);
        check("secret\n!secret/public", &["secret/public", "secret/public/a"], &["secret/a"]);
        check("*\n!src", &["src/main.rs"], &["target/x"]);
    }
}
