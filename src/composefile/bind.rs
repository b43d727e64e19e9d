//! The canonical document becomes the typed project.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{Diagnostic, Map, Node, Value};
use crate::project::{Project, ProjectName, ServiceName};

/// What a project is told beside its document.
pub(super) struct Surroundings {
    pub(super) name: ProjectName,
    pub(super) working_dir: String,
    pub(super) config_files: Vec<String>,
    pub(super) environment_files: Vec<String>,
    pub(super) disabled: BTreeSet<ServiceName>,
}

/// Returns nothing where a value cannot be what its attribute takes; each such value is told.
pub(super) fn bind(document: &Node, surroundings: Surroundings, diagnostics: &mut Vec<Diagnostic>) -> Option<Project> {
    let before = diagnostics.len();
    let project = Project {
        name: surroundings.name,
        working_dir: surroundings.working_dir,
        config_files: surroundings.config_files,
        environment_files: surroundings.environment_files,
        services: section(document, "services", diagnostics),
        disabled_services: surroundings.disabled,
        networks: section(document, "networks", diagnostics),
        volumes: section(document, "volumes", diagnostics),
        configs: section(document, "configs", diagnostics),
        secrets: section(document, "secrets", diagnostics),
        config_hashes: Default::default(),
    };
    let hash = |(name, service): (&ServiceName, &crate::project::Service)| (name.clone(), config_hash(service));
    let config_hashes = project.services.iter().map(hash).collect();
    let project = Project { config_hashes, ..project };
    (diagnostics.len() == before).then_some(project)
}

fn section<K, V>(document: &Node, name: &str, diagnostics: &mut Vec<Diagnostic>) -> std::collections::BTreeMap<K, V>
where
    K: TryFrom<String, Error: std::fmt::Display> + Ord,
    V: serde::de::DeserializeOwned,
{
    let Some(Value::Map(entries)) = document.get(name).map(|node| &node.value) else { return Default::default() };
    let mut bound = std::collections::BTreeMap::new();
    for (key, entry) in entries {
        let typed = match K::try_from(key.clone()) {
            Ok(typed) => typed,
            Err(error) => {
                diagnostics.push(Diagnostic::error(entry.key_span, error.to_string()));
                continue;
            }
        };
        match serde_json::from_value(fields(&entry.node)) {
            Ok(value) => drop(bound.insert(typed, value)),
            Err(error) => {
                let culprit = culprit::<V>(&entry.node).unwrap_or(&entry.node);
                diagnostics.push(Diagnostic::error(culprit.span, format!("{name}.{key}: {error}")));
            }
        }
    }
    bound
}

/// A hash of what a container of the service is made from, for `com.docker.compose.config-hash`: docker compose lists only
/// containers that have one.
fn config_hash(service: &crate::project::Service) -> String {
    let mut hashed = service.clone();
    hashed.build = None;
    hashed.pull_policy = None;
    hashed.scale = None;
    hashed.depends_on.clear();
    hashed.profiles.clear();
    if let Some(deploy) = &mut hashed.deploy {
        deploy.replicas = None;
    }
    let text = serde_json::to_string(&hashed).unwrap_or_default();
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of the one attribute that does not fit, found by leaving out all others.
fn culprit<V: serde::de::DeserializeOwned>(node: &Node) -> Option<&Node> {
    let Value::Map(map) = &node.value else { return None };
    let alone = |key: &str, node: &Node| Json::Object(std::iter::once((key.to_owned(), json(node))).collect());
    let fails =
        map.iter().filter(|(key, entry)| !is_extension(key) && serde_json::from_value::<V>(alone(key, &entry.node)).is_err());
    fails.map(|(_, entry)| &entry.node).next()
}

fn is_extension(key: &str) -> bool {
    key.starts_with("x-")
}

fn fields(node: &Node) -> Json {
    match &node.value {
        Value::Map(map) => {
            object(map.iter().filter(|(key, entry)| !is_extension(key) && !matches!(entry.node.value, Value::Null)))
        }
        _ => json(node),
    }
}

fn object<'a>(entries: impl Iterator<Item = (&'a String, &'a super::Entry)>) -> Json {
    Json::Object(entries.map(|(key, entry)| (key.clone(), json(&entry.node))).collect())
}

/// A node as JSON; numbers that JSON does not have are texts.
pub(super) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => {
            serde_json::Number::from_f64(*number).map_or_else(|| Json::from(number.to_string()), Json::Number)
        }
        Value::Text(text) | Value::Timestamp(text) => Json::from(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(map) => object_of(map),
    }
}

fn object_of(map: &Map) -> Json {
    object(map.iter())
}
