//! `extends` and `include`: services and whole files from elsewhere, brought in before the rest.

use std::path::{Path, PathBuf};

use super::load::Loader;
use super::merge::merge_service;
use super::paths::is_remote_file;
use super::schema::kind_of;
use super::{Diagnostic, Entry, Map, Node, Span, Value};

/// So many services may extend each other in a row: each costs stack, and is merged for every one before it.
const IN_A_ROW_MAX: usize = 100;

/// Replaces each service that extends another by the two merged. Positions stay where each value was written.
pub(super) fn extend(document: &mut Node, folder: &Path, file: &str, loader: &mut Loader<'_>) {
    let Some(names) = service_names(document) else { return };
    for name in names {
        let mut seen = Vec::new();
        if let Some(service) = extended(document, &name, folder, file, loader, &mut seen)
            && let Some(slot) = service_mut(document, &name)
        {
            *slot = service;
        }
        // The others of the row would say the same, or that they lack what they extend.
        if seen.len() > IN_A_ROW_MAX {
            if let Some(Value::Map(services)) = document.get_mut("services").map(|services| &mut services.value) {
                services.retain(|_, entry| entry.node.get("extends").is_none());
            }
            return;
        }
    }
}

fn service_names(document: &Node) -> Option<Vec<String>> {
    match &document.get("services")?.value {
        Value::Map(services) => Some(services.keys().cloned().collect()),
        _ => None,
    }
}

fn service_mut<'a>(document: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    let Value::Map(map) = &mut document.value else { return None };
    let Value::Map(services) = &mut map.get_mut("services")?.node.value else { return None };
    services.get_mut(name).map(|entry| &mut entry.node)
}

/// A service with all that it extends merged in; nothing where it extends nothing, or cannot.
fn extended(
    document: &Node,
    name: &str,
    folder: &Path,
    file: &str,
    loader: &mut Loader<'_>,
    seen: &mut Vec<(String, String)>,
) -> Option<Node> {
    let service = document.get("services")?.get(name)?;
    let extends = service.get("extends")?;
    let span = extends.span;
    let (base_name, base_file) = match &extends.value {
        Value::Text(base) => (base.clone(), None),
        Value::Map(_) => {
            let text = |key: &str| extends.get(key).and_then(Node::as_str).map(str::to_owned);
            if let Some(file) = extends.get("file").filter(|file| file.as_str().is_none() && !file.is_null()) {
                loader.diagnostics.push(Diagnostic::error(file.span, format!("services.{name}.extends.file must be a text")));
            }
            (text("service")?, text("file"))
        }
        _ => return None,
    };
    if seen.contains(&(file.to_owned(), name.to_owned())) {
        let chain: Vec<String> = seen.iter().map(|(file, name)| format!("{name} in {file}")).collect();
        let message = format!("Circular reference: {} extends {name} in {file}", chain.join(", extends "));
        loader.diagnostics.push(Diagnostic::error(span, message));
        return None;
    }
    seen.push((file.to_owned(), name.to_owned()));
    if seen.len() > IN_A_ROW_MAX {
        loader.diagnostics.push(Diagnostic::error(span, format!("more than {IN_A_ROW_MAX} services extend each other in a row")));
        return None;
    }
    let base = match base_file {
        None => base_in(document, &base_name, name, span, folder, file, loader, seen)?,
        Some(other) if is_remote_file(&other) => {
            let message = format!("services.{name}.extends.file: remote files cannot be extended");
            loader.diagnostics.push(Diagnostic::error(span, message).hinted("fetch it first, and name the local file"));
            return None;
        }
        Some(other) => {
            let path = folder.join(&other);
            let other_document = loader.document(&path, span)?;
            let other_folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let base = base_in(&other_document, &base_name, name, span, &other_folder, &other, loader, seen)?;
            let services = Node::new(span, Value::Map([(base_name.clone(), Entry { key_span: span, node: base })].into()));
            let mut alone =
                Node::new(span, Value::Map([("services".to_owned(), Entry { key_span: span, node: services })].into()));
            loader.absolute_paths(&mut alone, &other_folder);
            std::mem::replace(service_mut(&mut alone, &base_name)?, Node::new(span, Value::Null))
        }
    };
    let mut over = service.clone();
    if let Value::Map(map) = &mut over.value {
        map.shift_remove("extends");
    }
    Some(merge_service(base, over, name, &mut loader.diagnostics))
}

#[expect(clippy::too_many_arguments, reason = "where the base is looked for, and who asks for it")]
fn base_in(
    document: &Node,
    base: &str,
    name: &str,
    span: Span,
    folder: &Path,
    file: &str,
    loader: &mut Loader<'_>,
    seen: &mut Vec<(String, String)>,
) -> Option<Node> {
    let Some(found) = document.get("services").and_then(|services| services.get(base)) else {
        let message = format!("cannot extend service \"{name}\": service \"{base}\" not found in {file}");
        loader.diagnostics.push(Diagnostic::error(span, message));
        return None;
    };
    if found.get("extends").is_none() {
        return Some(found.clone());
    }
    extended(document, base, folder, file, loader, seen)
}

/// Copies what each `include` brings into the document; the including file wins.
pub(super) fn include(document: &mut Node, folder: &Path, loader: &mut Loader<'_>) {
    let Value::Map(map) = &mut document.value else { return };
    let Some(entry) = map.shift_remove("include") else { return };
    let items = match entry.node.value {
        Value::List(items) => items,
        Value::Null => return,
        _ => {
            let hint = "put `- ` before it, or brackets around it";
            loader.diagnostics.push(Diagnostic::error(entry.node.span, "`include` must be a list").hinted(hint));
            return;
        }
    };
    for item in items {
        let span = item.span;
        let Inclusion { paths, env_files, project_folder } = match Inclusion::of(&item) {
            Ok(inclusion) => inclusion,
            Err(diagnostic) => {
                loader.diagnostics.push(*diagnostic);
                continue;
            }
        };
        let project_folder = project_folder.map(|path| folder.join(path));
        let Some(first) = paths.first() else {
            // Docker compose reads its env files, and goes on.
            let missing = env_files.iter().map(|path| folder.join(path)).find(|path| !loader.files.exists(path));
            loader.diagnostics.push(match missing {
                Some(path) => Diagnostic::error(span, format!("open {}: no such file or directory", path.display())),
                None => Diagnostic::warning(Some(span), "this includes nothing: it has no `path`"),
            });
            continue;
        };
        if paths.iter().any(|path| is_remote_file(path)) {
            let message = "remote files cannot be included";
            loader.diagnostics.push(Diagnostic::error(span, message).hinted("fetch it first, and include the local file"));
            continue;
        }
        let first_path = folder.join(first);
        // What is no folder stands in one, to docker compose.
        let is_folder = |path: &PathBuf, loader: &mut Loader<'_>| loader.files.is_dir(path);
        let project_folder = project_folder.map(|path| match path.parent() {
            Some(parent) if !is_folder(&path, loader) => parent.to_path_buf(),
            _ => path,
        });
        let own_folder = project_folder.unwrap_or_else(|| first_path.parent().map(Path::to_path_buf).unwrap_or_default());
        let files: Vec<PathBuf> = paths.iter().map(|path| folder.join(path)).collect();
        let env_files: Vec<PathBuf> = env_files.iter().map(|path| folder.join(path)).collect();
        let Some(included) = loader.included(&files, &own_folder, &env_files, span) else { continue };
        let Value::Map(included) = included.value else { continue };
        for (section, entry) in included {
            if !["services", "networks", "volumes", "secrets", "configs", "models"].contains(&section.as_str()) {
                continue;
            }
            bring_in(map, &section, entry, loader);
        }
    }
}

/// One item of `include`.
#[derive(Default)]
struct Inclusion {
    paths: Vec<String>,
    env_files: Vec<String>,
    project_folder: Option<String>,
}

impl Inclusion {
    /// Included files are read before the document is held against the schema, so that shapes are checked here.
    fn of(item: &Node) -> Result<Self, Box<Diagnostic>> {
        let wrong = |node: &Node, key: &str, what: &str| {
            Box::new(Diagnostic::error(node.span, format!("`include[].{key}` must be {what}, is {}", kind_of(&node.value))))
        };
        let texts = |key: &str| match item.get(key).map(|node| (node, &node.value)) {
            None | Some((_, Value::Null)) => Ok(Vec::new()),
            Some((_, Value::Text(text))) => Ok(vec![text.clone()]),
            Some((node, Value::List(items))) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                texts.ok_or_else(|| wrong(node, key, "a path or a list of paths"))
            }
            Some((node, _)) => Err(wrong(node, key, "a path or a list of paths")),
        };
        match &item.value {
            Value::Null => Ok(Self::default()),
            Value::Text(path) => Ok(Self { paths: vec![path.clone()], ..Self::default() }),
            Value::Map(_) => {
                let project_folder = match item.get("project_directory").map(|node| (node, &node.value)) {
                    None | Some((_, Value::Null)) => None,
                    Some((_, Value::Text(path))) => Some(path.clone()),
                    Some((node, _)) => return Err(wrong(node, "project_directory", "a path")),
                };
                Ok(Self { paths: texts("path")?, env_files: texts("env_file")?, project_folder })
            }
            _ => {
                let message = format!("an item of `include` must be a path or a mapping, is {}", kind_of(&item.value));
                Err(Box::new(Diagnostic::error(item.span, message)))
            }
        }
    }
}

fn bring_in(map: &mut Map, section: &str, entry: Entry, loader: &mut Loader<'_>) {
    let key_span = entry.key_span;
    let Value::Map(incoming) = entry.node.value else { return };
    let own =
        map.entry(section.to_owned()).or_insert_with(|| Entry { key_span, node: Node::new(key_span, Value::Map(Map::new())) });
    if matches!(own.node.value, Value::Null) {
        own.node.value = Value::Map(Map::new());
    }
    let Value::Map(own) = &mut own.node.value else { return };
    for (name, entry) in incoming {
        match own.get_mut(&name) {
            None => {
                own.insert(name, entry);
            }
            Some(slot) => {
                let over = std::mem::replace(&mut slot.node, Node::new(key_span, Value::Null));
                slot.node = match section {
                    "services" => merge_service(entry.node, over, &name, &mut loader.diagnostics),
                    _ => super::merge::merge(entry.node, over, &mut loader.diagnostics),
                };
            }
        }
    }
}
