//! What a schema cannot say: parts of a model that contradict each other or name what is not there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Diagnostic, Map, Node, Value};

fn section<'a>(document: &'a Node, name: &str) -> Option<&'a Map> {
    match &document.get(name)?.value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

/// Checked whatever else is left out: what `external` and sources exclude.
pub(super) fn always(document: &Node, diagnostics: &mut Vec<Diagnostic>) {
    for (key, entry) in section(document, "volumes").into_iter().flatten() {
        let Value::Map(fields) = &entry.node.value else { continue };
        let is_external = matches!(fields.get("external").map(|entry| &entry.node.value), Some(Value::Bool(true)));
        let other = fields.keys().find(|field| !["external", "name"].contains(&field.as_str()) && !field.starts_with("x-"));
        if let (true, Some(other)) = (is_external, other) {
            let message = format!("volumes.{key}: conflicting parameters \"external\" and \"{other}\" specified");
            diagnostics.push(Diagnostic::error(entry.key_span, message));
        }
    }
    for (name, sources) in [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"][..])] {
        for (key, entry) in section(document, name).into_iter().flatten() {
            let given: Vec<&&str> = sources.iter().filter(|source| entry.node.get(source).is_some()).collect();
            if given.len() > 1 {
                let message = format!("{name}.{key}: {} attributes are mutually exclusive", sources.join("|"));
                diagnostics.push(Diagnostic::error(entry.key_span, message));
            }
        }
    }
}

/// The rules between services and what they name.
pub(super) fn consistency(document: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let Some(services) = section(document, "services") else { return };
    let mut container_names: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, entry) in services {
        let service = &entry.node;
        let mut fail = |node: &Node, message: String| diagnostics.push(Diagnostic::error(node.span, message));
        let has = |key: &str| service.get(key).is_some();
        if !has("image") && !has("build") && !has("provider") {
            let message = format!("service \"{name}\" has neither an image nor a build context specified");
            diagnostics.push(Diagnostic::error(entry.key_span, message).hinted("give it an `image:`"));
            continue;
        }
        if let (Some(mode), Some(_)) = (service.get("network_mode"), service.get("networks")) {
            fail(mode, format!("service {name} declares mutually exclusive `network_mode` and `networks`"));
        }
        references(document, name, service, diagnostics);
        for (needed, dependency) in map_of(service, "depends_on") {
            let required = !matches!(dependency.node.get("required").map(|node| &node.value), Some(Value::Bool(false)));
            if required && !services.contains_key(needed) {
                let message = format!("service \"{name}\" depends on undefined service \"{needed}\"");
                let near = super::locate::nearest(needed, services.keys().map(String::as_str));
                let diagnostic = Diagnostic::error(dependency.key_span, message);
                diagnostics.push(near.map_or(diagnostic.clone(), |near| diagnostic.labelled(format!("did you mean `{near}`?"))));
            }
        }
        let number = |node: Option<&Node>| match node.map(|node| &node.value) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        };
        let (scale, replicas) = (number(service.get("scale")), number(service.get("deploy").and_then(|d| d.get("replicas"))));
        if let (Some(scale), Some(replicas), Some(node)) = (scale, replicas, service.get("scale"))
            && scale != replicas
        {
            let message = format!("services.{name}: can't set distinct values on 'scale' and 'deploy.replicas'");
            diagnostics.push(Diagnostic::error(node.span, message));
        }
        if let Some(container) = service.get("container_name") {
            if scale.or(replicas).unwrap_or(1) > 1 {
                let message = format!("services.{name}: can't set container_name and {name} as container name must be unique");
                diagnostics.push(Diagnostic::error(container.span, message));
            }
            if let Some(text) = container.as_str()
                && let Some(other) = container_names.insert(text, name)
            {
                let message = format!("services.{name}: container name \"{text}\" is already in use by service {other}");
                diagnostics.push(Diagnostic::error(container.span, message));
            }
        }
        let test = service.get("healthcheck").and_then(|health| health.get("test"));
        if let Some((node, Value::List(words))) = test.map(|node| (node, &node.value))
            && !words.first().and_then(Node::as_str).is_some_and(|word| ["NONE", "CMD", "CMD-SHELL"].contains(&word))
        {
            let message = "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"";
            diagnostics.push(Diagnostic::error(node.span, message));
        }
    }
    cycles(services, diagnostics);
}

fn map_of<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = (&'a String, &'a super::Entry)> {
    match node.get(key).map(|node| &node.value) {
        Some(Value::Map(map)) => Some(map.iter()),
        _ => None,
    }
    .into_iter()
    .flatten()
}

/// Networks, volumes, configs and secrets that a service names and the project does not have.
fn references(document: &Node, name: &str, service: &Node, diagnostics: &mut Vec<Diagnostic>) {
    let mut check = |kind: &str, wanted: &str, span, known: Option<&Map>| {
        if known.is_some_and(|known| known.contains_key(wanted)) || (kind == "network" && wanted == "default") {
            return;
        }
        let near = super::locate::nearest(wanted, known.into_iter().flat_map(|known| known.keys()).map(String::as_str));
        let message = format!("service \"{name}\" refers to undefined {kind} {wanted}");
        let diagnostic = Diagnostic::error(span, message).hinted(format!("declare it under the top-level `{kind}s`"));
        diagnostics.push(near.map_or(diagnostic.clone(), |near| diagnostic.labelled(format!("did you mean `{near}`?"))));
    };
    for (network, entry) in map_of(service, "networks") {
        check("network", network, entry.key_span, section(document, "networks"));
    }
    for (key, kind) in [("volumes", "volume"), ("configs", "config"), ("secrets", "secret")] {
        let Some(Value::List(items)) = service.get(key).map(|node| &node.value) else { continue };
        for item in items {
            let is_volume = item.get("type").and_then(Node::as_str) == Some("volume");
            let Some(source) = item.get("source").filter(|_| key != "volumes" || is_volume) else { continue };
            check(kind, source.as_str().unwrap_or_default(), source.span, section(document, key));
        }
    }
}

/// Services that wait for each other in a circle; each circle is told once.
fn cycles(services: &Map, diagnostics: &mut Vec<Diagnostic>) {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in services.keys() {
        // Depth first without recursion: the way here, and what is still to be visited at each step of it.
        let mut way: Vec<&str> = Vec::new();
        let mut open: Vec<Vec<&str>> = vec![vec![start]];
        while let Some(next) = open.last_mut() {
            let Some(name) = next.pop() else {
                open.pop();
                done.extend(way.pop());
                continue;
            };
            if let Some(at) = way.iter().position(|known| *known == name) {
                let circle: Vec<&str> = way[at..].iter().copied().chain([name]).collect();
                let span = services[name].key_span;
                diagnostics.push(Diagnostic::error(span, format!("dependency cycle detected: {}", circle.join(" -> "))));
                return;
            }
            if done.contains(name) {
                continue;
            }
            let Some((name, entry)) = services.get_key_value(name) else { continue };
            way.push(name);
            let needed = map_of(&entry.node, "depends_on").map(|(needed, _)| needed.as_str());
            open.push(needed.collect());
        }
    }
}
