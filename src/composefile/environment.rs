//! Files of variables and labels, merged into the services that name them.

use std::collections::BTreeMap;

use super::access::{entry, text};
use super::{Diagnostic, Map, Node, Span, Value};

/// Looks a variable up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a file of `KEY=VALUE` lines.
pub(super) trait PairFiles {
    /// Returns the pairs in order, nothing where there is no such file. `format` is that of the `env_file` entry, `span` the
    /// place that names the file; `lookup` is asked for the variables that values use. What is wrong in the file is told.
    fn read(&mut self, path: &str, format: Option<&str>, span: Span, lookup: Lookup<'_>) -> Option<Vec<(String, String)>>;
}

/// Merges `env_file` below `environment`; what is written in the document wins. The document is in its final form.
pub(super) fn merge_env_files(
    document: &mut Node,
    environment: &BTreeMap<String, String>,
    files: &mut dyn PairFiles,
    faults: &mut Vec<Diagnostic>,
) {
    for (name, service) in document.entries_mut("services") {
        Merge { name, environment, files, faults }.env_files(service);
    }
}

/// Merges `label_file` below `labels`, as `merge_env_files` does it for variables.
pub(super) fn merge_label_files(
    document: &mut Node,
    environment: &BTreeMap<String, String>,
    files: &mut dyn PairFiles,
    faults: &mut Vec<Diagnostic>,
) {
    for (name, service) in document.entries_mut("services") {
        Merge { name, environment, files, faults }.label_files(service);
    }
}

/// The `label_file` of every service that has one, by service.
pub(super) fn label_files(document: &Node) -> Map {
    let services = document.entries("services");
    let named = services.filter_map(|(name, service)| Some((name.to_owned(), service.get("label_file")?)));
    named.map(|(name, files)| (name, entry(files.span, files.value.clone()))).collect()
}

/// Where env files are not merged they stay, without what is the default.
pub(super) fn keep_env_files(document: &mut Node) {
    for (_, service) in document.entries_mut("services") {
        for file in service.items_mut("env_file").iter_mut().filter_map(Node::as_map_mut) {
            if file.get("required").is_some_and(|entry| matches!(entry.node.value, Value::Bool(true))) {
                file.shift_remove("required");
            }
        }
    }
}

struct Merge<'a> {
    name: &'a str,
    environment: &'a BTreeMap<String, String>,
    files: &'a mut dyn PairFiles,
    faults: &'a mut Vec<Diagnostic>,
}

impl Merge<'_> {
    fn env_files(&mut self, service: &mut Node) {
        if let Some(own) = service.get_mut("environment") {
            super::normalise::look_up(own, self.environment);
        }
        let Some(list) = take(service, "env_file") else { return };
        let mut merged = Map::new();
        for item in list.as_list().unwrap_or_default() {
            let Some(path) = item.text_at("path") else { continue };
            let lookup = |key: &str| {
                let own = || service.get("environment")?.text_at(key);
                let earlier = || merged.get(key).and_then(|entry: &super::Entry| entry.node.as_str());
                self.environment.get(key).cloned().or_else(|| own().or_else(earlier).map(str::to_owned))
            };
            let is_required = !matches!(item.get("required").map(|node| &node.value), Some(Value::Bool(false)));
            match self.files.read(path, item.text_at("format"), item.span, &lookup) {
                Some(pairs) => merged.extend(pairs.into_iter().map(|(key, value)| (key, entry(item.span, text(value))))),
                None if is_required => self.missing("env_file", path, item.span),
                None => {}
            }
        }
        overlay(service, "environment", merged);
    }

    fn label_files(&mut self, service: &mut Node) {
        let Some(list) = take(service, "label_file") else { return };
        let mut merged = Map::new();
        for item in list.as_list().unwrap_or_default() {
            let Some(path) = item.as_str() else { continue };
            match self.files.read(path, None, item.span, &|key| self.environment.get(key).cloned()) {
                Some(pairs) => merged.extend(pairs.into_iter().map(|(key, value)| (key, entry(item.span, text(value))))),
                None => self.missing("label_file", path, item.span),
            }
        }
        overlay(service, "labels", merged);
    }

    fn missing(&mut self, key: &str, path: &str, span: Span) {
        let mut found = Diagnostic::error(span, format!("services.{}.{key}: {path} is not there", self.name));
        if key == "env_file" {
            found.hint = Some("`required: false` in its long form makes it optional".to_owned());
        }
        self.faults.push(found);
    }
}

fn take(service: &mut Node, key: &str) -> Option<Node> {
    service.as_map_mut()?.shift_remove(key).map(|entry| entry.node)
}

/// Puts pairs of files below the pairs that the document has.
fn overlay(service: &mut Node, key: &str, mut merged: Map) {
    if let Some(Node { value: Value::Map(own), .. }) = take(service, key) {
        merged.extend(own);
    }
    if merged.is_empty() {
        return;
    }
    merged.sort_unstable_keys();
    service.set(key, Value::Map(merged));
    super::cast::in_order(service);
}
