//! Which services are meant: by profile and by name; and which networks, volumes, configs and secrets are left without a user.

use std::collections::{BTreeMap, BTreeSet};

use super::{Diagnostic, Map, Node};
use crate::project::nearest;

/// Takes the services out that none of the profiles activates, and returns their names. `*` activates all.
pub(super) fn disable(document: &mut Node, profiles: &BTreeSet<String>) -> Map {
    let mut disabled = Map::new();
    let Some(services) = document.get_mut("services").and_then(Node::as_map_mut) else { return disabled };
    if profiles.contains("*") {
        return disabled;
    }
    let is_on = |service: &Node| {
        let own = service.items("profiles");
        own.is_empty() || own.iter().filter_map(Node::as_str).any(|profile| profiles.contains(profile))
    };
    let (on, off): (Map, Map) = std::mem::take(services).into_iter().partition(|(_, entry)| is_on(&entry.node));
    *services = on;
    disabled.extend(off);
    disabled
}

/// Every profile that services of the document name.
pub(super) fn names(document: &Node) -> BTreeSet<String> {
    let services = document.entries("services");
    services.flat_map(|(_, service)| service.items("profiles")).filter_map(Node::as_str).map(str::to_owned).collect()
}

/// Puts services back whose profiles a selection by name activates.
pub(super) fn enable_selected(document: &mut Node, disabled: &mut Map, profiles: &BTreeSet<String>, selection: &[String]) {
    let named = selection.iter().filter_map(|name| disabled.get(name));
    let more: BTreeSet<String> =
        named.flat_map(|entry| entry.node.items("profiles")).filter_map(Node::as_str).map(str::to_owned).collect();
    if more.is_empty() {
        return;
    }
    let active: BTreeSet<String> = profiles.union(&more).cloned().collect();
    let is_on =
        |entry: &super::Entry| entry.node.items("profiles").iter().filter_map(Node::as_str).any(|name| active.contains(name));
    let (on, off): (Map, Map) = std::mem::take(disabled).into_iter().partition(|(_, entry)| is_on(entry));
    *disabled = off;
    if let Some(services) = document.get_mut("services").and_then(Node::as_map_mut) {
        services.extend(on);
        services.sort_unstable_keys();
    }
}

/// Keeps the named services and what they depend on; what is left out goes to `disabled`. Nothing named: all stay.
pub(super) fn select(document: &mut Node, disabled: &mut Map, selection: &[String], faults: &mut Vec<Diagnostic>) {
    if selection.is_empty() {
        return;
    }
    let span = document.span;
    let Some(services) = document.get_mut("services").and_then(Node::as_map_mut) else { return };
    for name in selection.iter().filter(|name| !services.contains_key(name.as_str())) {
        let mut found = Diagnostic::error(span, format!("no such service: {name}"));
        found.span = None;
        let near = nearest(name, services.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let all = || services.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        found.hint = Some(near.unwrap_or_else(|| format!("the services are {}", all())));
        faults.push(found);
    }
    let mut chosen: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = selection.to_vec();
    while let Some(name) = open.pop() {
        let Some(service) = services.get(&name) else { continue };
        if !chosen.insert(name.clone()) {
            continue;
        }
        for (dependency, node) in service.node.entries("depends_on") {
            let is_required = !matches!(node.get("required").map(|node| &node.value), Some(super::Value::Bool(false)));
            if is_required && !services.contains_key(dependency) {
                let message = format!("no such service: {dependency}, which `{name}` depends on");
                let hint = disabled.contains_key(dependency).then(|| "`--profile` activates its profile".to_owned());
                faults.push(Diagnostic { hint, ..Diagnostic::error(node.span, message) });
            }
            open.push(dependency.to_owned());
        }
    }
    let (on, off): (Map, Map) = std::mem::take(services).into_iter().partition(|(name, _)| chosen.contains(name));
    disabled.extend(off);
    *services = on;
    for (_, entry) in services {
        if let Some(depends_on) = entry.node.get_mut("depends_on").and_then(Node::as_map_mut) {
            depends_on.retain(|name, _| chosen.contains(name));
            if depends_on.is_empty()
                && let Some(map) = entry.node.as_map_mut()
            {
                map.shift_remove("depends_on");
            }
        }
    }
}

/// The services among those that are left out whose images the builds of those that stay need, and what these need.
pub(super) fn bases<'a>(document: &'a Node, disabled: &'a Map) -> BTreeMap<&'a str, &'a Node> {
    let mut found = BTreeMap::new();
    let mut open: Vec<&Node> = document.entries("services").map(|(_, service)| service).collect();
    while let Some(service) = open.pop() {
        let contexts = service.get("build").into_iter().flat_map(|build| build.entries("additional_contexts"));
        let needed = contexts.filter_map(|(_, context)| context.as_str()?.strip_prefix("service:"));
        for (name, entry) in needed.filter_map(|name| Some((name, disabled.get(name)?))) {
            if found.insert(name, &entry.node).is_none() {
                open.push(&entry.node);
            }
        }
    }
    found
}

/// Takes out what no service uses. Returns those of the secrets among it that builds of `bases` are given.
pub(super) fn prune(document: &mut Node, disabled: &Map) -> Map {
    let granted = |service: &Node| -> Vec<String> {
        let build = service.get("build").map(|build| build.items("secrets")).unwrap_or_default();
        let grants = service.items("secrets").iter().chain(build);
        grants.filter_map(|grant| grant.text_at("source")).map(str::to_owned).collect()
    };
    let of_bases: Vec<String> = bases(document, disabled).into_values().flat_map(granted).collect();
    let mut used: [(&str, BTreeSet<String>); 5] =
        ["networks", "volumes", "secrets", "configs", "models"].map(|section| (section, BTreeSet::new()));
    for (_, service) in document.entries("services") {
        let [networks, volumes, secrets, configs, models] = &mut used;
        networks.1.extend(service.entries("networks").map(|(name, _)| name.to_owned()));
        models.1.extend(service.entries("models").map(|(name, _)| name.to_owned()));
        let mounts = service.items("volumes").iter().filter(|mount| mount.text_at("type") == Some("volume"));
        volumes.1.extend(mounts.filter_map(|mount| mount.text_at("source")).map(str::to_owned));
        secrets.1.extend(granted(service));
        configs.1.extend(service.items("configs").iter().filter_map(|grant| grant.text_at("source")).map(str::to_owned));
    }
    let spared = |(name, _): &(&str, &super::Entry)| !used[2].1.contains(*name) && of_bases.iter().any(|base| base == name);
    let spared: Map =
        entries_of(document, "secrets").filter(spared).map(|(name, entry)| (name.to_owned(), entry.clone())).collect();
    for (section, used) in &used {
        if let Some(objects) = document.get_mut(section).and_then(Node::as_map_mut) {
            objects.retain(|name, _| used.contains(name));
            if objects.is_empty()
                && let Some(map) = document.as_map_mut()
            {
                map.shift_remove(*section);
            }
        }
    }
    spared
}

fn entries_of<'a>(document: &'a Node, section: &str) -> impl Iterator<Item = (&'a str, &'a super::Entry)> {
    let map = document.get(section).and_then(Node::as_map);
    map.into_iter().flatten().map(|(name, entry)| (name.as_str(), entry))
}
