//! What follows from the rest of the document: the default network, names, dependencies that are implied.

use std::collections::BTreeMap;

use super::access::{entry, map_of, text};
use super::{Map, Node, Value};

/// Attributes that may name another service as `service:NAME`.
const SHARED: [&str; 5] = ["network_mode", "ipc", "pid", "uts", "cgroup"];

/// Completes a canonical document. `environment` is where keys without a value find one.
pub(super) fn normalise(document: &mut Node, project_name: &str, environment: &BTreeMap<String, String>) {
    default_network(document);
    for (_, service) in document.entries_mut("services") {
        if service.text_at("pull_policy") == Some("if_not_present") {
            service.set("pull_policy", text("missing"));
        }
        if let Some(build) = service.get_mut("build") {
            build_defaults(build, environment);
        }
        if let Some(own) = service.get_mut("environment") {
            look_up(own, environment);
        }
        for mount in service.items_mut("volumes") {
            if let Some(target) = mount.text_at("target").map(super::paths::clean) {
                mount.set("target", Value::Text(target));
            }
        }
        implied_dependencies(service);
        hook_images(service);
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        for (key, object) in document.entries_mut(section) {
            name_from_key(key, object, project_name);
        }
    }
}

fn default_network(document: &mut Node) {
    let mut is_used = false;
    for (_, service) in document.entries_mut("services") {
        if service.get("provider").is_some() || service.get("network_mode").is_some() {
            continue;
        }
        let span = service.span;
        let is_empty = service.get("networks").is_none_or(|networks| networks.as_map().is_none_or(Map::is_empty));
        if is_empty {
            service.set("networks", map_of(span, [("default", Value::Null)]));
        }
        is_used |= service.get("networks").is_some_and(|networks| networks.get("default").is_some());
    }
    if is_used {
        let span = document.span;
        document.set_default("networks", Value::Map(Map::new()));
        if let Some(networks) = document.get_mut("networks") {
            if networks.is_null() {
                networks.value = Value::Map(Map::new());
            }
            if let Some(networks) = networks.as_map_mut() {
                networks.entry("default".to_owned()).or_insert_with(|| entry(span, Value::Null));
            }
        }
    }
}

fn build_defaults(build: &mut Node, environment: &BTreeMap<String, String>) {
    build.set_default("context", text("."));
    if build.get("dockerfile").is_none() && build.get("dockerfile_inline").is_none() {
        build.set("dockerfile", text("Dockerfile"));
    }
    if let Some(arguments) = build.get_mut("args") {
        look_up(arguments, environment);
        // An argument without a value anywhere is left to the Dockerfile's own default.
        match &mut arguments.value {
            Value::Map(map) => map.retain(|_, entry| !entry.node.is_null()),
            Value::List(items) => items.retain(|item| item.as_str().is_none_or(|item| item.contains('='))),
            _ => {}
        }
    }
}

/// Gives keys without a value that of the environment, where it has one.
pub(super) fn look_up(pairs: &mut Node, environment: &BTreeMap<String, String>) {
    match &mut pairs.value {
        Value::Map(map) => {
            for (key, entry) in map.iter_mut().filter(|(_, entry)| entry.node.is_null()) {
                if let Some(value) = environment.get(key) {
                    entry.node.value = text(value.as_str());
                }
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| look_up_item(item, environment)),
        _ => {}
    }
}

/// As `look_up`, for lists only: docker compose does this much even without normalisation.
pub(super) fn look_up_listed(document: &mut Node, environment: &BTreeMap<String, String>) {
    for (_, service) in document.entries_mut("services") {
        service.items_mut("environment").iter_mut().for_each(|item| look_up_item(item, environment));
    }
}

fn look_up_item(item: &mut Node, environment: &BTreeMap<String, String>) {
    if let Value::Text(key) = &mut item.value
        && !key.contains('=')
        && let Some(value) = environment.get(key.as_str())
    {
        *key = format!("{key}={value}");
    }
}

/// Links and shared namespaces start after the other service and restart with it; volumes only start after it.
fn implied_dependencies(service: &mut Node) {
    let mut implied: Vec<(String, bool)> = Vec::new();
    for link in service.items("links").iter().filter_map(Node::as_str) {
        implied.push((link.split_once(':').map_or(link, |(name, _)| name).to_owned(), true));
    }
    for key in SHARED {
        if let Some(name) = service.text_at(key).and_then(|mode| mode.strip_prefix("service:")) {
            implied.push((name.to_owned(), true));
        }
    }
    for source in service.items("volumes_from").iter().filter_map(Node::as_str).filter(|name| !name.starts_with("container:")) {
        implied.push((source.split(':').next().unwrap_or_default().to_owned(), false));
    }
    if implied.is_empty() {
        return;
    }
    let span = service.span;
    service.set_default("depends_on", Value::Map(Map::new()));
    let Some(depends_on) = service.get_mut("depends_on").and_then(Node::as_map_mut) else { return };
    for (name, restart) in implied {
        depends_on.entry(name).or_insert_with(|| {
            let condition = ("condition", text("service_started"));
            entry(span, map_of(span, [condition, ("restart", Value::Bool(restart)), ("required", Value::Bool(true))]))
        });
    }
}

/// A hook before the start runs in the service's own image where it names none.
fn hook_images(service: &mut Node) {
    let Some(image) = service.text_at("image").map(str::to_owned) else { return };
    for hook in service.items_mut("pre_start") {
        hook.set_default("image", text(image.as_str()));
    }
}

fn name_from_key(key: &str, object: &mut Node, project_name: &str) {
    if object.is_null() {
        object.value = Value::Map(Map::new());
    }
    if object.get("name").is_none() {
        let is_external = super::validate::is_true(object.get("external"));
        object.set("name", if is_external { text(key) } else { text(format!("{project_name}_{key}")) });
    }
}
