//! The phases in their order, from a request to a project.

mod surroundings;

pub use surroundings::{is_on, settings};

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::environment::{Lookup, PairFiles};
use super::interpolate::interpolate;
use super::paths::{self, Base};
use super::salvage::salvage;
use super::{Diagnostic, Node, Source, SourceId, Sources, Span, Value};
use super::{bind, canonical, defaults, dotenv, early, extends, finish, merge, normalise, schema, yaml};
use crate::project::{Project, ProjectName};

/// A larger file is refused before it is read whole.
const FILE_BYTES_MAX: u64 = 20 << 20;
const FILES_MAX: usize = 1000;
/// Of all files together, each as often as it is included. A value takes some hundred bytes.
const VALUES_MAX: usize = 250_000;

/// The loader's only way to the disk.
pub trait Files {
    /// At most `bytes_max` + 1 bytes: one more tells that there is more.
    fn read(&mut self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;
    fn exists(&mut self, path: &Path) -> bool;
    fn is_dir(&mut self, path: &Path) -> bool;
    fn read_stdin(&mut self, bytes_max: u64) -> io::Result<Vec<u8>>;
    fn canonicalize(&mut self, path: &Path) -> io::Result<PathBuf>;
}

/// What to load.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    pub cwd: PathBuf,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// `-f`
    pub files: Vec<String>,
    pub project_name: Option<String>,
    pub project_directory: Option<String>,
    pub env_files: Vec<String>,
    pub profiles: Vec<String>,
    /// Services named on the command line: their profiles are on.
    pub services: Vec<String>,
    pub options: LoadOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    pub interpolate: bool,
    pub normalize: bool,
    pub resolve_paths: bool,
    pub consistency: bool,
    pub env_resolution: bool,
    pub compatibility: bool,
    pub all_resources: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            consistency: true,
            env_resolution: true,
            compatibility: false,
            all_resources: false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Loaded {
    pub project: Project,
    /// The canonical document.
    pub model: Node,
    pub sources: Sources,
    pub warnings: Vec<Diagnostic>,
    /// Every profile that a service names.
    pub profiles: BTreeSet<String>,
    /// What interpolation saw.
    pub environment: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub struct LoadFailure {
    pub diagnostics: Vec<Diagnostic>,
    pub sources: Sources,
    not_found: bool,
}

impl LoadFailure {
    /// There is no Compose file, and none was named.
    pub fn is_not_found(&self) -> bool {
        self.not_found
    }
}

/// What the Compose files say, before it becomes a project: what `config` prints.
#[derive(Debug, Clone)]
pub struct Model {
    pub document: Node,
    /// Whether every value has its final form. Without interpolation the document stays as it was merged.
    pub is_final: bool,
    pub sources: Sources,
    pub warnings: Vec<Diagnostic>,
    /// Every profile that a service names.
    pub profiles: BTreeSet<String>,
    /// What interpolation saw.
    pub environment: BTreeMap<String, String>,
    pub(super) label_files: super::Map,
    disabled: super::Map,
    base_secrets: super::Map,
    working_dir: String,
    config_files: Vec<String>,
    environment_files: Vec<String>,
    /// Names are joined by `_`.
    pub(super) compatibility: bool,
}

/// Loads what `config` prints. Fails with every error that was found, warnings among them.
pub fn model(request: &LoadRequest, files: &mut dyn Files) -> Result<Model, LoadFailure> {
    let mut loader = Loader::new(request, files);
    let model = loader.load(request);
    let has_errors = loader.errors() > 0;
    let Loader { sources, mut diagnostics, not_found, .. } = loader;
    match model {
        Some(model) if !has_errors => Ok(Model { sources, warnings: diagnostics, ..model }),
        _ => {
            // As one reads the files; phases found them in another order.
            diagnostics.sort_by_key(|diagnostic| diagnostic.span);
            Err(LoadFailure { diagnostics, sources, not_found })
        }
    }
}

/// Loads a project. Fails with every error that was found, warnings among them.
pub fn load(request: &LoadRequest, files: &mut dyn Files) -> Result<Loaded, LoadFailure> {
    model(request, files)?.bind()
}

impl Model {
    /// The typed project. Fails where a value does not fit its type that docker compose would pass on to the engine.
    pub fn bind(self) -> Result<Loaded, LoadFailure> {
        let surroundings = bind::Surroundings {
            working_dir: &self.working_dir,
            config_files: &self.config_files,
            environment_files: &self.environment_files,
            disabled: Some(&self.disabled),
            base_secrets: Some(&self.base_secrets),
            label_files: Some(&self.label_files),
            compatibility: self.compatibility,
            default_platform: self.environment.get("DOCKER_DEFAULT_PLATFORM").map(String::as_str).filter(|name| !name.is_empty()),
        };
        match bind::bind(&self.document, &surroundings) {
            Ok(project) => Ok(Loaded {
                project,
                model: self.document,
                sources: self.sources,
                warnings: self.warnings,
                profiles: self.profiles,
                environment: self.environment,
            }),
            Err(faults) => {
                let mut diagnostics: Vec<Diagnostic> = self.warnings.into_iter().chain(faults).collect();
                diagnostics.sort_by_key(|diagnostic| diagnostic.span);
                Err(LoadFailure { diagnostics, sources: self.sources, not_found: false })
            }
        }
    }
}

/// What loading goes along with.
pub(super) struct Loader<'a> {
    pub(super) files: &'a mut dyn Files,
    pub(super) sources: Sources,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) home: Option<String>,
    pub(super) options: LoadOptions,
    project_folder: PathBuf,
    unset: BTreeSet<String>,
    including: Vec<PathBuf>,
    /// Files that services extend, as read with the environment of now.
    extended: BTreeMap<PathBuf, Option<Rc<Node>>>,
    /// How many values all files together may still have.
    values_left: usize,
    not_found: bool,
    /// How many diagnostics `salvage` has seen.
    salvaged: usize,
}

impl<'f> Loader<'f> {
    fn new(request: &LoadRequest, files: &'f mut dyn Files) -> Self {
        Self {
            files,
            sources: Sources::default(),
            diagnostics: Vec::new(),
            environment: request.environment.clone(),
            home: request.environment.get("HOME").cloned(),
            options: request.options,
            project_folder: PathBuf::new(),
            unset: BTreeSet::new(),
            including: Vec::new(),
            extended: BTreeMap::new(),
            values_left: VALUES_MAX,
            not_found: false,
            salvaged: 0,
        }
    }
}

impl Loader<'_> {
    fn load(&mut self, request: &LoadRequest) -> Option<Model> {
        self.read_settings(request)?;
        let (files, folder, was_searched) = self.find(request)?;
        self.project_folder.clone_from(&folder);
        let env_files = self.read_environment(request, &folder, was_searched)?;
        let documents = self.read_all(&files, None)?;
        let name = self.name(request, &documents, &folder)?;
        self.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.to_string());
        let document = self.merged(documents, &folder)?;
        if document.get("services").is_none_or(Node::is_null) && self.errors() == 0 {
            self.diagnostics.push(Diagnostic::warning(Some(document.span), "no services are defined"));
        }
        let finished = self.finished(document, &name, &folder, request)?;
        let compatibility =
            self.options.compatibility || self.environment.get("COMPOSE_COMPATIBILITY").is_some_and(|value| is_on(value));
        Some(Model {
            document: finished.document,
            is_final: self.options.interpolate,
            sources: Sources::default(),
            warnings: Vec::new(),
            profiles: finished.profiles,
            environment: std::mem::take(&mut self.environment),
            disabled: finished.disabled,
            base_secrets: finished.base_secrets,
            label_files: finished.label_files,
            working_dir: folder.display().to_string(),
            config_files: files.iter().map(|file| file.display().to_string()).collect(),
            environment_files: env_files,
            compatibility,
        })
    }

    fn finished(&mut self, document: Node, name: &ProjectName, folder: &Path, request: &LoadRequest) -> Option<finish::Finished> {
        let mut faults = std::mem::take(&mut self.diagnostics);
        let environment = self.environment.clone();
        let profiles: BTreeSet<String> = self.profiles(request).into_iter().collect();
        let wanted = finish::Request {
            project_name: name.as_str(),
            environment: &environment,
            profiles: &profiles,
            selection: &request.services,
            options: self.options,
            salvaged: self.salvaged,
        };
        let mut document = document;
        if self.options.resolve_paths {
            defaults::fill_contexts(&mut document);
            self.absolute_paths(&mut document, folder);
        }
        let finished = finish::finish(document, &wanted, self, &mut faults);
        faults.append(&mut self.diagnostics);
        self.diagnostics = faults;
        finished
    }

    /// Paths of a file made absolute; its short forms become long on the way.
    pub(super) fn absolute_paths(&mut self, document: &mut Node, folder: &Path) {
        // What cannot be made long is told when the merged document is.
        canonical::canonicalise(document, true, &mut Vec::new());
        for (name, service) in document.entries_mut("services") {
            let mounts = service.items("volumes").iter().filter(|mount| mount.text_at("type") == Some("bind"));
            for mount in mounts.filter(|mount| mount.get("source").is_none()) {
                let message = format!("services.{name}.volumes: a mount of type `bind` needs a `source`");
                self.diagnostics.push(Diagnostic::error(mount.span, message));
            }
        }
        let files = RefCell::new(&mut *self.files);
        let follow_links = |path: &str| {
            let real = files.borrow_mut().canonicalize(Path::new(path));
            real.map_or_else(|_| path.to_owned(), |real| real.display().to_string())
        };
        let directory = match self.options.resolve_paths {
            true => folder.display().to_string(),
            // What another file brings is still relative to the project's folder, not to that file's.
            false => paths::relative(&self.project_folder.display().to_string(), &folder.display().to_string()),
        };
        let base = Base { directory: &directory, home: self.home.as_deref(), follow_links: &follow_links };
        paths::make_absolute(document, &base);
    }

    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == super::Severity::Error).count()
    }

    /// Whether the phases can go on, with what has no error.
    fn salvage(&mut self, document: &mut Node) -> bool {
        let new = self.diagnostics.get(self.salvaged..).unwrap_or_default();
        let goes_on = salvage(document, new);
        if goes_on {
            self.salvaged = self.diagnostics.len();
        }
        goes_on
    }

    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Option<T> {
        self.diagnostics.push(diagnostic);
        None
    }

    /// `span`: the place that names them.
    fn read_all(&mut self, files: &[PathBuf], span: Option<Span>) -> Option<Vec<(PathBuf, Vec<Node>)>> {
        // Each is read, so that each says what is wrong with it.
        let read: Vec<_> = files.iter().map(|file| Some((file.clone(), self.documents(file, span)?))).collect();
        read.into_iter().collect()
    }

    /// All files merged, each brought to canonical form on the way.
    fn merged(&mut self, files: Vec<(PathBuf, Vec<Node>)>, folder: &Path) -> Option<Node> {
        let mut merged: Option<Node> = None;
        let names: Vec<String> = files.iter().map(|(file, _)| file.display().to_string()).collect();
        for (file, documents) in files {
            let own_folder = if file.as_os_str() == "-" { folder } else { file.parent().unwrap_or(folder) };
            for mut document in documents {
                if !matches!(document.value, Value::Map(_)) {
                    return self.fail(Diagnostic::error(document.span, "top-level object must be a mapping"));
                }
                if self.options.interpolate {
                    let environment = &self.environment;
                    let lookup = |name: &str| environment.get(name).cloned();
                    interpolate(&mut document, &lookup, &mut self.unset, &mut self.diagnostics);
                    early::check(&document, &mut self.diagnostics);
                    self.salvage(&mut document);
                }
                extends::include(&mut document, folder, self);
                extends::extend(&mut document, own_folder, &file.display().to_string(), self);
                let base = merged.take().unwrap_or_else(|| Node::new(document.span, Value::Map(super::Map::new())));
                let mut next = merge::merge(base, document, &mut self.diagnostics);
                let goes_on = self.salvage(&mut next);
                merge::enforce_unicity(&mut next);
                schema::check(&next, &mut self.diagnostics);
                if !(self.salvage(&mut next) && goes_on) {
                    return None;
                }
                if let Value::Map(map) = &mut next.value
                    && let Some(version) = map.shift_remove("version")
                {
                    let message = "the attribute `version` is obsolete and ignored";
                    self.diagnostics.push(Diagnostic::warning(Some(version.key_span), message));
                }
                canonical::canonicalise(&mut next, !self.options.interpolate, &mut self.diagnostics);
                merge::enforce_unicity(&mut next);
                if !self.salvage(&mut next) {
                    return None;
                }
                merged = Some(next);
            }
        }
        if merged.is_none() {
            return self.fail(Diagnostic::placeless(format!("empty compose file: {}", names.join(", "))));
        }
        merged
    }

    /// One included project, not normalised.
    pub(super) fn included(&mut self, files: &[PathBuf], folder: &Path, env_files: &[PathBuf], span: Span) -> Option<Node> {
        let key = cleaned(files.first()?.clone());
        if self.including.contains(&key) {
            let chain: Vec<String> = self.including.iter().chain([&key]).map(|path| path.display().to_string()).collect();
            return self.fail(Diagnostic::error(span, format!("include cycle detected: {}", chain.join(" includes "))));
        }
        self.count_files(span)?;
        let outer = self.environment.clone();
        let outer_extended = std::mem::take(&mut self.extended);
        let default = folder.join(".env");
        let env_files = match env_files.is_empty() {
            true if self.files.exists(&default) && !self.files.is_dir(&default) => vec![default],
            true => Vec::new(),
            false => env_files.to_vec(),
        };
        let env_files: Vec<PathBuf> = env_files.into_iter().filter(|path| path.as_os_str() != "/dev/null").collect();
        if let Some(missing) = env_files.iter().find(|path| !self.files.exists(path)) {
            return self.fail(Diagnostic::error(span, format!("open {}: no such file or directory", missing.display())));
        }
        for (key, value) in self.pairs_of(&env_files, true)? {
            self.environment.entry(key).or_insert(value);
        }
        self.including.push(key);
        let merged = self.read_all(files, Some(span)).and_then(|documents| self.merged(documents, folder));
        self.including.pop();
        let mut merged = merged?;
        defaults::fill_contexts(&mut merged);
        self.absolute_paths(&mut merged, folder);
        if self.options.interpolate {
            normalise::look_up_listed(&mut merged, &self.environment);
        }
        self.environment = outer;
        self.extended = outer_extended;
        Some(merged)
    }

    /// The first document of a file that others extend, interpolated. It is read once, and nothing once that failed.
    pub(super) fn document(&mut self, path: &Path, span: Span) -> Option<Rc<Node>> {
        let path = cleaned(path.to_owned());
        if let Some(known) = self.extended.get(&path) {
            return known.clone();
        }
        let mut read = || {
            self.count_files(span)?;
            let mut document = self.documents(&path, Some(span))?.into_iter().next()?;
            let environment = &self.environment;
            interpolate(&mut document, &|name| environment.get(name).cloned(), &mut self.unset, &mut self.diagnostics);
            early::check(&document, &mut self.diagnostics);
            Some(Rc::new(document))
        };
        let document = read();
        self.extended.insert(path, document.clone());
        document
    }

    fn count_files(&mut self, span: Span) -> Option<()> {
        if self.including.len() + self.sources.list.len() > FILES_MAX {
            return self.fail(Diagnostic::error(span, format!("more than {FILES_MAX} files belong to this project")));
        }
        Some(())
    }

    fn documents(&mut self, path: &Path, span: Option<Span>) -> Option<Vec<Node>> {
        let text = self.text(path, span)?;
        let source = self.add(path, &text);
        match yaml::parse(&text, source, &mut self.values_left) {
            Ok(documents) => Some(documents),
            Err(diagnostic) => self.fail(diagnostic),
        }
    }

    fn add(&mut self, path: &Path, text: &str) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.list.len()).unwrap_or(u32::MAX));
        self.sources.list.push(Source { name: path.display().to_string(), text: text.to_owned() });
        id
    }

    /// A whole line of a file that is no YAML. What is shown of it has no value: that may be a password.
    pub(super) fn line_span(&mut self, path: &Path, text: &str, line: usize) -> Span {
        let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let whole = text[start..].lines().next().unwrap_or_default();
        let shown = whole.find(['=', ':']).map_or_else(|| whole.to_owned(), |at| format!("{}…", &whole[..=at]));
        let end = start + shown.len();
        let source = self.add(path, &format!("{}{shown}\n", &text[..start]));
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { source, start: clamp(start), end: clamp(end) }
    }

    /// A file's text; one that cannot be read is an error at the place that names it.
    pub(super) fn text(&mut self, path: &Path, span: Option<Span>) -> Option<String> {
        let bytes = match path.as_os_str() == "-" {
            true => self.files.read_stdin(FILE_BYTES_MAX),
            false => self.files.read(path, FILE_BYTES_MAX),
        };
        let at = |message: String| Diagnostic { span, ..Diagnostic::placeless(message) };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.fail(at(format!("open {}: no such file or directory", path.display())));
            }
            Err(error) => return self.fail(at(format!("cannot read {}: {error}", path.display()))),
        };
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let most = FILE_BYTES_MAX >> 20;
            return self.fail(at(format!("{} is larger than {most} MiB, which no Compose file is", path.display())));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
            Err(error) => {
                let place = error.utf8_error().valid_up_to();
                self.fail(at(format!("{} is no UTF-8 text (byte {place})", path.display())))
            }
        }
    }
}

/// Without `.`, `..` and doubled slashes.
fn cleaned(path: PathBuf) -> PathBuf {
    if path.as_os_str() == "-" { path } else { PathBuf::from(paths::clean(&path.to_string_lossy())) }
}

impl PairFiles for Loader<'_> {
    fn read(&mut self, path: &str, format: Option<&str>, span: Span, lookup: Lookup<'_>) -> Option<Vec<(String, String)>> {
        let path = Path::new(path);
        if !self.files.exists(path) {
            return None;
        }
        let text = self.text(path, Some(span)).unwrap_or_default();
        match format {
            None | Some("") => match dotenv::parse(&text, lookup) {
                Ok(pairs) => return Some(pairs),
                Err(error) => {
                    let span = self.line_span(path, &text, error.line);
                    self.diagnostics.push(Diagnostic::error(span, error.message));
                }
            },
            Some("raw") => return Some(dotenv::raw(&text, lookup)),
            Some(format) => {
                let message = format!("unsupported env_file format \"{format}\"");
                self.diagnostics.push(Diagnostic::error(span, message).hinted("`raw` is the one other format"));
            }
        }
        Some(Vec::new())
    }
}
