//! Rules that hold within one attribute; docker compose checks them even with `--no-consistency`.

use std::net::IpAddr;

use super::{Diagnostic, Map, Node, Value};

/// Checks a canonical document with its defaults.
pub(super) fn check(document: &Node, faults: &mut Vec<Diagnostic>) {
    for (name, volume) in document.entries("volumes") {
        external_volume(name, volume, faults);
    }
    for (name, config) in document.entries("configs") {
        one_source("configs", name, config, &["environment", "file", "content"], faults);
    }
    for (name, secret) in document.entries("secrets") {
        one_source("secrets", name, secret, &["environment", "file"], faults);
    }
    for (name, service) in document.entries("services") {
        check_service(name, service, faults);
    }
}

fn external_volume(name: &str, volume: &Node, faults: &mut Vec<Diagnostic>) {
    if !is_true(volume.get("external")) {
        return;
    }
    let others = volume.as_map().into_iter().flatten();
    for (key, entry) in others.filter(|(key, _)| !matches!(key.as_str(), "external" | "name") && !key.starts_with("x-")) {
        let message = format!("volumes.{name}: conflicting parameters \"external\" and \"{key}\" specified");
        faults.push(Diagnostic::error(entry.key_span, message));
    }
}

fn one_source(section: &str, name: &str, object: &Node, sources: &[&str], faults: &mut Vec<Diagnostic>) {
    let Some(map) = object.as_map() else { return };
    let given: Vec<&str> = sources.iter().copied().filter(|source| map.contains_key(*source)).collect();
    match given[..] {
        [] if map.contains_key("driver") || map.contains_key("external") => {}
        [] => {
            let message = format!("{section}.{name}: one of {} must be set", sources.join("|"));
            faults.push(Diagnostic::error(object.span, message));
        }
        [_] => {}
        [_, second, ..] => {
            let message = format!("{section}.{name}: {} attributes are mutually exclusive", given.join("|"));
            faults.push(Diagnostic::error(key_span(map, second), message));
        }
    }
}

fn check_service(name: &str, service: &Node, faults: &mut Vec<Diagnostic>) {
    for (index, port) in service.items("ports").iter().enumerate() {
        if let Some(host_ip) = port.get("host_ip")
            && host_ip.as_str().is_some_and(|ip| ip.parse::<IpAddr>().is_err() && !ip.contains('$'))
        {
            let message = format!("services.{name}.ports[{index}].host_ip must be an IP address");
            faults.push(Diagnostic::error(host_ip.span, message));
        }
        if port.as_map().is_some() && port.get("target").is_none() {
            faults.push(Diagnostic::error(port.span, format!("services.{name}.ports[{index}] names no port of the container")));
        }
    }
    for (index, mount) in service.items("volumes").iter().enumerate().filter(|(_, mount)| mount.as_map().is_some()) {
        if mount.text_at("target").is_none() {
            faults.push(Diagnostic::error(mount.span, format!("services.{name}.volumes[{index}] names no `target`")));
        }
    }
    for (index, device) in service.items("devices").iter().enumerate() {
        if device.as_map().is_some() && device.get("target").is_none() {
            faults.push(Diagnostic::error(device.span, format!("services.{name}.devices[{index}] names no `target`")));
        }
    }
    if let Some(develop) = service.get("develop") {
        for (index, rule) in develop.items("watch").iter().enumerate() {
            if let Some(path) = rule.get("path").filter(|path| path.as_str() == Some("")) {
                faults
                    .push(Diagnostic::error(path.span, format!("services.{name}.develop.watch[{index}].path must not be blank")));
            }
        }
    }
    let reservations = service.get("deploy").and_then(|d| d.get("resources")).and_then(|r| r.get("reservations"));
    let reserved = reservations.map(|reservations| reservations.items("devices")).unwrap_or_default();
    for request in reserved.iter().chain(service.items("gpus")) {
        if request.get("count").is_some() && request.get("device_ids").is_some() {
            let message = format!("services.{name}: `count` and `device_ids` of a device request exclude each other");
            faults.push(Diagnostic::error(request.span, message));
        }
    }
}

fn key_span(map: &Map, key: &str) -> super::Span {
    map.get(key).map(|entry| entry.key_span).unwrap_or_default()
}

/// `true`, also as text.
pub(super) fn is_true(node: Option<&Node>) -> bool {
    match node.map(|node| &node.value) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Text(text)) => super::cast::flag_of(text) == Some(true),
        _ => false,
    }
}
