//! What the specification says of what is not written: default networks, names, dependencies that follow from others.

use std::collections::BTreeSet;

use super::merge::each_service;
use super::{Diagnostic, Entry, Map, Node, Span, Value};
use crate::project::ServiceName;

/// Fills in the defaults of the whole model. Without `implied`, only what the engine's names need.
pub(super) fn normalise(document: &mut Node, project: &str, implied: bool) {
    let span = document.span;
    let mut uses_default = false;
    each_service(document, &mut |service| {
        let Value::Map(service) = &mut service.value else { return };
        uses_default |= service_defaults(service, span, implied);
    });
    let Value::Map(map) = &mut document.value else { return };
    map.insert("name".to_owned(), entry(span, Value::Text(project.to_owned())));
    if uses_default {
        let networks = map.entry("networks".to_owned()).or_insert_with(|| entry(span, Value::Map(Map::new())));
        if !matches!(networks.node.value, Value::Map(_)) {
            networks.node.value = Value::Map(Map::new());
        }
        if let Value::Map(networks) = &mut networks.node.value {
            networks.entry("default".to_owned()).or_insert_with(|| entry(span, Value::Null));
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(Value::Map(entries)) = map.get_mut(section).map(|entry| &mut entry.node.value) else { continue };
        for (key, resource) in entries.iter_mut() {
            if matches!(resource.node.value, Value::Null) {
                resource.node.value = Value::Map(Map::new());
            }
            let Value::Map(fields) = &mut resource.node.value else { continue };
            let is_external = matches!(fields.get("external").map(|entry| &entry.node.value), Some(Value::Bool(true)));
            let name = if is_external { key.clone() } else { format!("{project}_{key}") };
            fields.entry("name".to_owned()).or_insert_with(|| entry(span, Value::Text(name)));
        }
    }
}

fn entry(span: Span, value: Value) -> Entry {
    Entry { key_span: span, node: Node::new(span, value) }
}

/// Returns whether the service is on the project's default network.
fn service_defaults(service: &mut Map, span: Span, implied: bool) -> bool {
    if let Some(Value::Map(build)) = service.get_mut("build").map(|entry| &mut entry.node.value)
        && implied
    {
        build.entry("context".to_owned()).or_insert_with(|| entry(span, Value::Text(".".to_owned())));
        if !build.contains_key("dockerfile_inline") {
            build.entry("dockerfile".to_owned()).or_insert_with(|| entry(span, Value::Text("Dockerfile".to_owned())));
        }
    }
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.node.as_str() == Some("if_not_present")
    {
        policy.node.value = Value::Text("missing".to_owned());
    }
    if implied {
        for (needed, restart) in implied_dependencies(service) {
            let dependencies = service.entry("depends_on".to_owned()).or_insert_with(|| entry(span, Value::Map(Map::new())));
            let Value::Map(dependencies) = &mut dependencies.node.value else { continue };
            let mut fields = vec![("condition", Value::Text("service_started".to_owned()))];
            if restart {
                fields.push(("restart", Value::Bool(true)));
            }
            fields.push(("required", Value::Bool(true)));
            let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), entry(span, value))).collect();
            dependencies.entry(needed).or_insert_with(|| entry(span, Value::Map(fields)));
        }
    }
    let is_empty = match service.get("networks").map(|entry| &entry.node.value) {
        None | Some(Value::Null) => true,
        Some(Value::Map(networks)) => networks.is_empty(),
        Some(_) => false,
    };
    let is_elsewhere = service.contains_key("network_mode") || service.contains_key("provider");
    if is_empty && !is_elsewhere {
        let default = Map::from_iter([("default".to_owned(), entry(span, Value::Null))]);
        service.insert("networks".to_owned(), entry(span, Value::Map(default)));
        return true;
    }
    match service.get("networks").map(|entry| &entry.node.value) {
        Some(Value::Map(networks)) => networks.contains_key("default"),
        _ => false,
    }
}

/// Services that others' namespaces, links and volumes imply, and whether their restart is passed on.
fn implied_dependencies(service: &Map) -> Vec<(String, bool)> {
    let mut needed = Vec::new();
    let texts = |key: &str| -> Vec<String> {
        match service.get(key).map(|entry| &entry.node.value) {
            Some(Value::List(items)) => items.iter().filter_map(Node::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    needed.extend(texts("links").iter().map(|link| (link.split(':').next().unwrap_or_default().to_owned(), true)));
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let mode = service.get(key).and_then(|entry| entry.node.as_str()).unwrap_or_default();
        needed.extend(mode.strip_prefix("service:").map(|name| (name.to_owned(), true)));
    }
    let from = texts("volumes_from");
    let from = from.iter().filter(|text| !text.starts_with("container:"));
    needed.extend(from.map(|text| (text.split(':').next().unwrap_or_default().to_owned(), false)));
    needed
}

/// Every profile that a service names.
pub(super) fn profiles(document: &Node) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(Value::Map(services)) = document.get("services").map(|node| &node.value) else { return found };
    for service in services.values() {
        if let Some(Value::List(items)) = service.node.get("profiles").map(|node| &node.value) {
            found.extend(items.iter().filter_map(Node::as_str).map(str::to_owned));
        }
    }
    found
}

/// Takes out services whose profiles are off, unless they are named. Returns them.
pub(super) fn select(
    document: &mut Node,
    active: &[String],
    named: &[String],
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeSet<ServiceName> {
    let mut active: BTreeSet<String> = active.iter().cloned().collect();
    let own = |service: &Node| -> Vec<String> {
        match service.get("profiles").map(|node| &node.value) {
            Some(Value::List(items)) => items.iter().filter_map(Node::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    for name in named {
        match document.get("services").and_then(|services| services.get(name)) {
            Some(service) => active.extend(own(service)),
            None => diagnostics.push(Diagnostic::placeless(format!("no such service: {name}"))),
        }
    }
    let mut disabled = BTreeSet::new();
    let Value::Map(map) = &mut document.value else { return disabled };
    let Some(Value::Map(services)) = map.get_mut("services").map(|entry| &mut entry.node.value) else { return disabled };
    services.retain(|name, entry| {
        let profiles = own(&entry.node);
        let is_on = profiles.is_empty() || active.contains("*") || profiles.iter().any(|profile| active.contains(profile));
        if !is_on {
            disabled.extend(ServiceName::new(name.clone()));
        }
        is_on
    });
    disabled
}

/// Takes out networks, volumes, configs and secrets that no service uses.
pub(super) fn prune(document: &mut Node, keep_all: bool) {
    if keep_all {
        return;
    }
    let mut used: BTreeSet<(&str, String)> = BTreeSet::new();
    if let Some(Value::Map(services)) = document.get("services").map(|node| &node.value) {
        for service in services.values() {
            if let Some(Value::Map(networks)) = service.node.get("networks").map(|node| &node.value) {
                used.extend(networks.keys().map(|name| ("networks", name.clone())));
            }
            for (key, kind) in [("volumes", "volumes"), ("configs", "configs"), ("secrets", "secrets")] {
                let Some(Value::List(items)) = service.node.get(key).map(|node| &node.value) else { continue };
                let items =
                    items.iter().filter(|item| key != "volumes" || item.get("type").and_then(Node::as_str) == Some("volume"));
                used.extend(items.filter_map(|item| Some((kind, item.get("source")?.as_str()?.to_owned()))));
            }
            let build_secrets = service.node.get("build").and_then(|build| build.get("secrets"));
            if let Some(Value::List(items)) = build_secrets.map(|node| &node.value) {
                used.extend(items.iter().filter_map(|item| Some(("secrets", item.get("source")?.as_str()?.to_owned()))));
            }
        }
    }
    let Value::Map(map) = &mut document.value else { return };
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(entry) = map.get_mut(section) else { continue };
        if let Value::Map(entries) = &mut entry.node.value {
            entries.retain(|name, _| used.contains(&(section, name.clone())));
            if entries.is_empty() {
                map.shift_remove(section);
            }
        }
    }
}
