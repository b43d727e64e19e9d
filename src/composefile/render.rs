//! `config`: the canonical model as JSON and YAML.

use serde_json::{Map as JsonMap, Value as Json, json};

use super::Node;
use super::bind::json as plain;

/// As docker compose prints it with `--format json`: keys sorted, `$` doubled, what is always there filled in.
pub fn json(model: &Node) -> String {
    let document = model_json(model);
    serde_json::to_string_pretty(&document).expect("keys are texts")
}

/// The same model as YAML, which docker compose loads back.
pub fn yaml(model: &Node) -> String {
    let mut document = doubled(plain(model));
    if let Json::Object(map) = &mut document {
        map.retain(|_, value| !value.is_null());
    }
    serde_yaml::to_string(&document).expect("keys are texts")
}

/// The model as a value, by which it is compared.
pub fn model_json(model: &Node) -> Json {
    let mut document = doubled(plain(model));
    let Json::Object(top) = &mut document else { return document };
    if let Some(Json::Object(services)) = top.get_mut("services") {
        services.values_mut().for_each(service);
    }
    if let Some(Json::Object(networks)) = top.get_mut("networks") {
        for network in networks.values_mut() {
            if let Json::Object(network) = network {
                network.entry("ipam").or_insert_with(|| json!({}));
                drop_falses(network, &["internal", "attachable", "external"]);
            }
        }
    }
    top.remove("models");
    document
}

fn service(value: &mut Json) {
    let Json::Object(service) = value else { return };
    service.retain(|key, value| !key.starts_with("x-") && (!value.is_null() || key == "command" || key == "entrypoint"));
    service.remove("pull_refresh_after");
    for key in ["command", "entrypoint"] {
        service.entry(key).or_insert(Json::Null);
    }
    drop_falses(service, &["privileged", "read_only", "stdin_open", "tty", "oom_kill_disable", "use_api_socket"]);
    service.retain(|key, value| key == "command" || key == "entrypoint" || !is_empty(value) || key == "deploy" || key == "build");
    if let Some(Json::Object(deploy)) = service.get_mut("deploy") {
        deploy.entry("resources").or_insert_with(|| json!({}));
        deploy.entry("placement").or_insert_with(|| json!({}));
    }
    if let Some(Json::Object(dependencies)) = service.get_mut("depends_on") {
        for dependency in dependencies.values_mut() {
            if let Json::Object(dependency) = dependency {
                drop_falses(dependency, &["restart"]);
            }
        }
    }
    if let Some(Json::Array(mounts)) = service.get_mut("volumes") {
        for mount in mounts {
            if let Json::Object(mount) = mount {
                drop_falses(mount, &["read_only"]);
            }
        }
    }
}

fn drop_falses(map: &mut JsonMap<String, Json>, keys: &[&str]) {
    map.retain(|key, value| !(keys.contains(&key.as_str()) && *value == Json::Bool(false)));
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
        Json::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Every `$` of a text twice, so that the output can be loaded again.
fn doubled(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(text.replace('$', "$$")),
        Json::Array(items) => Json::Array(items.into_iter().map(doubled).collect()),
        Json::Object(map) => Json::Object(map.into_iter().map(|(key, value)| (key, doubled(value))).collect()),
        other => other,
    }
}
