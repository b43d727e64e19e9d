//! Keys without values looked up, `env_file` and `label_file` read.

use std::collections::BTreeMap;
use std::path::Path;

use super::load::Loader;
use super::merge::each_service;
use super::{Diagnostic, Entry, Map, Node, Span, Value, dotenv};

/// Variables and build arguments without a value take the project environment's.
pub(super) fn look_up(document: &mut Node, environment: &BTreeMap<String, String>) {
    let fill = |map: &mut Map, drop_unknown: bool| {
        for (key, entry) in map.iter_mut().filter(|(_, entry)| matches!(entry.node.value, Value::Null)) {
            if let Some(value) = environment.get(key) {
                entry.node.value = Value::Text(value.clone());
            }
        }
        if drop_unknown {
            map.retain(|_, entry| !matches!(entry.node.value, Value::Null));
        }
    };
    each_service(document, &mut |service| {
        let Value::Map(service) = &mut service.value else { return };
        if let Some(Value::Map(variables)) = service.get_mut("environment").map(|entry| &mut entry.node.value) {
            fill(variables, false);
        }
        let Some(Value::Map(build)) = service.get_mut("build").map(|entry| &mut entry.node.value) else { return };
        if let Some(Value::Map(args)) = build.get_mut("args").map(|entry| &mut entry.node.value) {
            fill(args, true);
        }
    });
}

/// Reads the services' files: `environment` and `labels` win over them, later files over earlier.
pub(super) fn resolve(document: &mut Node, loader: &mut Loader<'_>) {
    let mut services: Vec<&mut Node> = Vec::new();
    let Value::Map(map) = &mut document.value else { return };
    let Some(Value::Map(entries)) = map.get_mut("services").map(|entry| &mut entry.node.value) else { return };
    services.extend(entries.values_mut().map(|entry| &mut entry.node));
    for service in services {
        let Value::Map(service) = &mut service.value else { continue };
        if let Some(files) = service.shift_remove("env_file") {
            let own = known_values(service.get("environment"));
            let read = read_files(&files.node, &own, loader);
            put_under(service, "environment", files.key_span, read);
        }
        if let Some(files) = service.shift_remove("label_file") {
            let read = read_files(&files.node, &BTreeMap::new(), loader);
            put_under(service, "labels", files.key_span, read);
        }
    }
}

fn known_values(variables: Option<&Entry>) -> BTreeMap<String, String> {
    let Some(Value::Map(map)) = variables.map(|entry| &entry.node.value) else { return BTreeMap::new() };
    map.iter().filter_map(|(key, entry)| Some((key.clone(), entry.node.as_str()?.to_owned()))).collect()
}

fn read_files(files: &Node, own: &BTreeMap<String, String>, loader: &mut Loader<'_>) -> Vec<(String, String)> {
    let Value::List(items) = &files.value else { return Vec::new() };
    let mut all = Vec::new();
    for item in items {
        let Some(path) = item.get("path").unwrap_or(item).as_str().map(str::to_owned) else { continue };
        let required = !matches!(item.get("required").map(|node| &node.value), Some(Value::Bool(false)));
        let path = Path::new(&path);
        if !loader.files.exists(path) {
            if required {
                let message = format!("env file {} not found", path.display());
                loader.diagnostics.push(Diagnostic::error(item.span, message).hinted("`required: false` lets it be missing"));
            }
            continue;
        }
        let Some(text) = loader.text(path, Some(item.span)) else { continue };
        match item.get("format").and_then(Node::as_str) {
            None => {
                let environment = loader.environment.clone();
                let known = |name: &str| environment.get(name).or_else(|| own.get(name)).cloned();
                match dotenv::parse(&text, &known) {
                    Ok(pairs) => all.extend(pairs),
                    Err(error) => {
                        let span = loader.line_span(path, &text, error.line);
                        loader.diagnostics.push(Diagnostic::error(span, error.message));
                    }
                }
            }
            Some("raw") => all.extend(raw(&text, &loader.environment)),
            Some(format) => {
                let message = format!("unsupported env_file format \"{format}\"");
                loader.diagnostics.push(Diagnostic::error(item.span, message).hinted("`raw` is the one other format"));
            }
        }
    }
    all
}

/// As `docker run --env-file` reads: no quotes, no interpolation.
fn raw(text: &str, environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| match line.split_once('=') {
            Some((key, value)) => Some((key.to_owned(), value.to_owned())),
            None => Some((line.to_owned(), environment.get(line)?.clone())),
        })
        .collect()
}

/// Values from files, under those that the document says itself.
fn put_under(service: &mut Map, key: &str, span: Span, read: Vec<(String, String)>) {
    let mut map = Map::new();
    for (name, value) in read {
        map.insert(name, Entry { key_span: span, node: Node::text(span, value) });
    }
    if let Some(Value::Map(own)) = service.get(key).map(|entry| &entry.node.value) {
        map.extend(own.iter().map(|(name, entry)| (name.clone(), entry.clone())));
    }
    if !map.is_empty() {
        service.insert(key.to_owned(), Entry { key_span: span, node: Node::new(span, Value::Map(map)) });
    }
}
