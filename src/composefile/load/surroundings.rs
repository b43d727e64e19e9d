//! Where a project's files are, what it is called, and what the environment says before any of them is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::interpolate::interpolate;
use super::super::{Diagnostic, Node, discover, dotenv, paths};
use super::{Files, LoadRequest, Loader, cleaned};
use crate::project::ProjectName;

/// Variables that say something to the program itself begin with it.
const OF_PROGRAM: &str = "COMPOSE_";

/// What the process's environment and the `.env` files say to the program itself: variables that begin with `COMPOSE_`. An env file
/// that cannot be read says nothing; loading tells of it.
pub fn settings(request: &LoadRequest, files: &mut dyn Files) -> BTreeMap<String, String> {
    let mut loader = Loader::new(request, files);
    // What went wrong stands in its diagnostics, which nobody reads here.
    let _ = loader.read_settings(request);
    loader.environment.retain(|key, _| key.starts_with(OF_PROGRAM));
    loader.environment
}

/// Whether a variable says yes, as docker compose (2.40.3) understands it: `yes` and `on` are none.
pub fn is_on(value: &str) -> bool {
    ["1", "t", "true", "y"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

impl Loader<'_> {
    /// The files, the project's folder, and whether they were found by searching.
    pub(super) fn find(&mut self, request: &LoadRequest) -> Option<(Vec<PathBuf>, PathBuf, bool)> {
        let separator = self.environment.get("COMPOSE_PATH_SEPARATOR").cloned().unwrap_or_else(|| ":".to_owned());
        let mut named: Vec<String> = request.files.clone();
        if named.is_empty() {
            let listed = self.environment.get("COMPOSE_FILE").cloned().unwrap_or_default();
            named = listed.split(&separator).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        }
        let directory = request.project_directory.as_ref().map(|directory| request.cwd.join(directory));
        if !named.is_empty() {
            if let Some(name) = named.iter().find(|name| paths::is_remote_file(name)) {
                let message = format!("`{name}` is a remote file, which cannot be loaded");
                return self.fail(Diagnostic::placeless(message).hinted("fetch it first, and name the local file"));
            }
            let files: Vec<PathBuf> =
                named.iter().map(|name| if name == "-" { PathBuf::from("-") } else { request.cwd.join(name) }).collect();
            let first = files.first().filter(|file| file.as_os_str() != "-").and_then(|file| file.parent());
            let folder = directory.or_else(|| first.map(Path::to_path_buf)).unwrap_or_else(|| request.cwd.clone());
            return Some((files.into_iter().map(cleaned).collect(), cleaned(folder), false));
        }
        let start = directory.clone().unwrap_or_else(|| request.cwd.clone());
        let Some(found) = discover::search(&start, self.files) else {
            self.not_found = true;
            let hint = "name one with -f, or go to its folder";
            return self.fail(Diagnostic::placeless("no configuration file provided: not found").hinted(hint));
        };
        if let Some(first) = found.files.first().filter(|_| !found.passed_over.is_empty()) {
            let others: Vec<String> = found.passed_over.iter().map(|path| path.display().to_string()).collect();
            let message = format!("several Compose files are here: {} is taken, not {}", first.display(), others.join(", "));
            self.diagnostics.push(Diagnostic::warning(None, message));
        }
        let folder = directory.or_else(|| found.files.first()?.parent().map(Path::to_path_buf)).unwrap_or(start);
        Some((found.files.into_iter().map(cleaned).collect(), cleaned(folder), true))
    }

    /// Takes from `.env` what says which files are meant, `COMPOSE_FILE` and the like: it is needed before they are looked for.
    pub(super) fn read_settings(&mut self, request: &LoadRequest) -> Option<()> {
        let named = self.env_files_named(request);
        let first = request.files.first().map(|file| request.cwd.join(file)).filter(|file| !file.ends_with("-"));
        let beside = first.and_then(|file| file.parent().map(Path::to_path_buf));
        let folder = request.project_directory.as_ref().map(|directory| request.cwd.join(directory)).or(beside);
        let default = folder.unwrap_or_else(|| request.cwd.clone()).join(".env");
        let paths = if named.is_empty() && !self.env_file_is_off() { vec![default] } else { named.clone() };
        let values = self.pairs_of(&paths, !named.is_empty())?;
        for (key, value) in values.into_iter().filter(|(key, _)| key.starts_with(OF_PROGRAM)) {
            self.environment.entry(key).or_insert(value);
        }
        Some(())
    }

    /// Puts `.env` or the named files under the process's environment. Returns the files that were named.
    pub(super) fn read_environment(&mut self, request: &LoadRequest, folder: &Path, was_searched: bool) -> Option<Vec<String>> {
        let named = self.env_files_named(request);
        let paths: Vec<PathBuf> = match named.is_empty() {
            false => named.clone(),
            true if self.env_file_is_off() => Vec::new(),
            true if was_searched && request.cwd != folder => vec![folder.join(".env"), request.cwd.join(".env")],
            true => vec![folder.join(".env")],
        };
        for (key, value) in self.pairs_of(&paths, !named.is_empty())? {
            self.environment.entry(key).or_insert(value);
        }
        Some(named.into_iter().map(|path| cleaned(path).display().to_string()).collect())
    }

    fn env_files_named(&self, request: &LoadRequest) -> Vec<PathBuf> {
        let listed = self.environment.get("COMPOSE_ENV_FILES").map(String::as_str).unwrap_or_default();
        let named: Vec<&str> = match request.env_files.is_empty() {
            false => request.env_files.iter().map(String::as_str).collect(),
            true => listed.split(',').filter(|name| !name.is_empty()).collect(),
        };
        named.into_iter().map(|name| request.cwd.join(name)).collect()
    }

    fn env_file_is_off(&self) -> bool {
        self.environment.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|value| value == "1" || value == "true")
    }

    /// What the files say together: the later one wins, and sees the earlier ones.
    pub(super) fn pairs_of(&mut self, paths: &[PathBuf], must_exist: bool) -> Option<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        for path in paths {
            if !self.files.exists(path) || self.files.is_dir(path) {
                if must_exist {
                    return self.fail(Diagnostic::placeless(format!("couldn't find env file: {}", path.display())));
                }
                continue;
            }
            let text = self.text(path, None)?;
            let process = &self.environment;
            let before = values.clone();
            let known = |name: &str| process.get(name).or_else(|| before.get(name)).cloned();
            match dotenv::parse(&text, &known) {
                Ok(pairs) => values.extend(pairs),
                Err(error) => {
                    let span = self.line_span(path, &text, error.line);
                    return self.fail(Diagnostic::error(span, error.message));
                }
            }
        }
        Some(values)
    }

    pub(super) fn profiles(&self, request: &LoadRequest) -> Vec<String> {
        if !request.profiles.is_empty() {
            return request.profiles.clone();
        }
        let listed = self.environment.get("COMPOSE_PROFILES").cloned().unwrap_or_default();
        // Where none is said that is the empty one, which a service may have.
        listed.split(',').map(str::to_owned).collect()
    }

    pub(super) fn name(
        &mut self,
        request: &LoadRequest,
        documents: &[(PathBuf, Vec<Node>)],
        folder: &Path,
    ) -> Option<ProjectName> {
        let from_environment = self.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()).cloned();
        if let Some(name) = request.project_name.clone().or(from_environment) {
            return match ProjectName::new(name) {
                Ok(name) => Some(name),
                Err(error) => self.fail(Diagnostic::placeless(error.to_string())),
            };
        }
        let base = |path: &Path| path.file_name().map(|name| discover::normalised_name(&name.to_string_lossy()));
        let mut names =
            documents.iter().rev().flat_map(|(_, documents)| documents.iter().rev()).filter_map(|node| node.get("name"));
        let name = match names.find(|name| name.as_str().is_some_and(|name| !name.is_empty())) {
            Some(own) => {
                let mut own = own.clone();
                let environment = &self.environment;
                interpolate(&mut own, &|name| environment.get(name).cloned(), &mut self.unset, &mut self.diagnostics);
                own.as_str().map(discover::normalised_name)
            }
            None => [base(folder), base(&request.cwd)].into_iter().flatten().find(|name| !name.is_empty()),
        };
        match name.filter(|name| !name.is_empty()).map(ProjectName::new) {
            Some(Ok(name)) => Some(name),
            _ => self.fail(Diagnostic::placeless("project name must not be empty").hinted("give it one: -p NAME, or `name:`")),
        }
    }
}
