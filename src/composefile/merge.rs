//! A later file over an earlier one (Compose Specification, "Merge"): by the path of each value.

use super::go::float as go_float;
use super::{Diagnostic, Entry, Map, Node, Span, Tag, Value};

type Path<'a> = Vec<&'a str>;

/// What a later value does to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Maps by key, lists one after the other, scalars replaced.
    Usual,
    /// The later one stands.
    Replace,
    /// Both made lists of `key=value` first.
    KeyValues,
    /// Both made lists of texts first.
    Texts,
    /// Both made maps from names first.
    Named,
    DependsOn,
    Build,
    Logging,
    Ipam,
    ExtraHosts,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "annotations" | "environment" | "labels" | "sysctls"]
        | ["services", _, "build", "args" | "additional_contexts" | "labels"]
        | ["services", _, "deploy", "labels"]
        | ["networks" | "volumes", _, "labels"] => Rule::KeyValues,
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "dns" | "dns_opt" | "dns_search" | "tmpfs" | "env_file" | "label_file"] => Rule::Texts,
        ["services", _, "networks" | "models"] => Rule::Named,
        ["services", _, "depends_on"] => Rule::DependsOn,
        ["services", _, "build"] => Rule::Build,
        ["services", _, "logging"] => Rule::Logging,
        ["services", _, "ulimits", _] => Rule::Replace,
        ["services", _, "extends"] => Rule::Replace,
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => Rule::ExtraHosts,
        ["networks", _, "ipam", "config"] => Rule::Ipam,
        _ => Rule::Usual,
    }
}

/// The document `over` laid over `base`. `!reset` and `!override` act here. What cannot be merged is told.
pub(super) fn merge(base: Node, over: Node, diagnostics: &mut Vec<Diagnostic>) -> Node {
    let mut path = Vec::new();
    at(base, over, &mut path, diagnostics)
}

/// One service over another, for `extends`.
pub(super) fn merge_service(base: Node, over: Node, name: &str, diagnostics: &mut Vec<Diagnostic>) -> Node {
    at(base, over, &mut vec!["services", name], diagnostics)
}

/// A document with nothing under it: its `!reset` values go.
pub(super) fn settle(node: &mut Node) {
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.tag != Tag::Reset);
            map.values_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

fn at<'a>(base: Node, over: Node, path: &mut Path<'a>, diagnostics: &mut Vec<Diagnostic>) -> Node {
    if over.tag == Tag::Override {
        let mut over = over;
        settle(&mut over);
        return over;
    }
    let rule = rule(path);
    if rule == Rule::Replace {
        return over;
    }
    if matches!(over.value, Value::Null) {
        return base;
    }
    if matches!(base.value, Value::Null) {
        return over;
    }
    let (base, over) = match rule {
        Rule::Usual | Rule::Replace | Rule::Ipam => (base, over),
        Rule::KeyValues => without_reset(texts(key_values(base)), over),
        Rule::Texts => (texts(key_values(base)), texts(key_values(over))),
        Rule::ExtraHosts => (hosts(base), hosts(over)),
        Rule::Named => (named(base), named(over)),
        Rule::DependsOn => (depends_on(base), depends_on(over)),
        Rule::Build => (build(base), build(over)),
        Rule::Logging => {
            let driver = |node: &Node| node.get("driver").and_then(Node::as_str).map(str::to_owned);
            if driver(&over).is_some() && driver(&base).is_some() && driver(&over) != driver(&base) {
                return over;
            }
            (base, over)
        }
    };
    let span = over.span;
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => {
            Node { span, tag: Tag::None, value: Value::Map(maps(base, over, path, diagnostics)) }
        }
        (Value::List(base), Value::List(over)) if rule == Rule::Ipam => {
            Node { span, tag: Tag::None, value: Value::List(pools(base, over, diagnostics)) }
        }
        (Value::List(mut items), Value::List(over)) => {
            items.extend(over);
            Node { span, tag: Tag::None, value: Value::List(items) }
        }
        (base @ (Value::Map(_) | Value::List(_)), _) => {
            let message = format!("cannot override {}", path.join("."));
            diagnostics.push(Diagnostic::error(span, message).labelled("this is of another kind than what it overrides"));
            Node { span, tag: Tag::None, value: base }
        }
        (_, over) => Node { span, tag: Tag::None, value: over },
    }
}

fn maps<'a>(base: Map, over: Map, path: &mut Path<'a>, diagnostics: &mut Vec<Diagnostic>) -> Map {
    let mut merged = base;
    for (key, entry) in over {
        if entry.node.tag == Tag::Reset {
            merged.shift_remove(&key);
            continue;
        }
        match merged.get_mut(&key) {
            None => {
                let mut entry = entry;
                settle(&mut entry.node);
                merged.insert(key, entry);
            }
            Some(slot) => {
                let old = std::mem::replace(&mut slot.node, Node::new(Span::default(), Value::Null));
                let mut below: Vec<&str> = path.clone();
                below.push(&key);
                slot.node = at(old, entry.node, &mut below, diagnostics);
                slot.key_span = entry.key_span;
            }
        }
    }
    merged
}

/// Pools of one subnet are one.
fn pools(base: Vec<Node>, over: Vec<Node>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Node> {
    let subnet = |node: &Node| node.get("subnet").and_then(Node::as_str).map(str::to_owned);
    let mut pools = base;
    for pool in over {
        match pools.iter_mut().find(|known| subnet(known).is_some() && subnet(known) == subnet(&pool)) {
            Some(known) => {
                let old = std::mem::replace(known, Node::new(Span::default(), Value::Null));
                *known = at(old, pool, &mut vec!["networks", "", "ipam", "config", ""], diagnostics);
            }
            None => pools.push(pool),
        }
    }
    pools
}

fn list(node: &Node, items: Vec<Node>) -> Node {
    Node { span: node.span, tag: Tag::None, value: Value::List(items) }
}

fn map(node: &Node, entries: impl Iterator<Item = (String, Entry)>) -> Node {
    Node { span: node.span, tag: Tag::None, value: Value::Map(entries.collect()) }
}

/// A scalar's text as Go's `%v` prints it.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(go_float(*number)),
        Value::Text(text) | Value::Timestamp(text) => Some(text.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// What is no pair stays as it is, for the schema to refuse.
fn key_values(node: Node) -> Node {
    let Value::Map(entries) = &node.value else { return node };
    let pair = |key: &str, value: &Node| match scalar_text(&value.value) {
        Some(text) => Node::text(value.span, format!("{key}={text}")),
        None => value.clone(),
    };
    let mut items: Vec<Node> = Vec::new();
    for (key, entry) in entries {
        match &entry.node.value {
            Value::Null => items.push(Node::text(entry.key_span, key.clone())),
            Value::List(values) => items.extend(values.iter().map(|value| pair(key, value))),
            _ => items.push(pair(key, &entry.node)),
        }
    }
    list(&node, items)
}

/// Takes the keys out of the list that the later mapping resets, and makes that a list, too.
fn without_reset(mut base: Node, mut over: Node) -> (Node, Node) {
    if let (Value::List(items), Value::Map(entries)) = (&mut base.value, &mut over.value) {
        let is_reset = |key: &str| entries.get(key).is_some_and(|entry| entry.node.tag == Tag::Reset);
        items.retain(|item| !item.as_str().is_some_and(|pair| is_reset(pair.split('=').next().unwrap_or(pair))));
        entries.retain(|_, entry| entry.node.tag != Tag::Reset);
    }
    (base, texts(key_values(over)))
}

/// A lone text is a list of one.
fn texts(node: Node) -> Node {
    match &node.value {
        Value::Text(_) => list(&node, vec![node.clone()]),
        _ => node,
    }
}

fn hosts(node: Node) -> Node {
    let mut node = key_values(node);
    if let Value::List(items) = &mut node.value {
        for item in items {
            if let Some(text) = item.as_str().filter(|text| !text.contains('=')).and_then(|text| text.split_once(':')) {
                item.value = Value::Text(format!("{}={}", text.0, text.1));
            }
        }
    }
    node
}

fn named(node: Node) -> Node {
    match &node.value {
        Value::List(items) => {
            let entry = |item: &Node| Entry { key_span: item.span, node: Node::new(item.span, Value::Null) };
            map(&node, items.iter().filter_map(|item| Some((item.as_str()?.to_owned(), entry(item)))))
        }
        _ => node,
    }
}

/// The list form means: started, required.
pub(super) fn depends_on(node: Node) -> Node {
    let Value::List(items) = &node.value else { return node };
    let entry = |item: &Node| {
        let text = |value: Value| Entry { key_span: item.span, node: Node::new(item.span, value) };
        let condition = text(Value::Text("service_started".to_owned()));
        let fields = [("condition".to_owned(), condition), ("required".to_owned(), text(Value::Bool(true)))];
        text(Value::Map(fields.into_iter().collect()))
    };
    map(&node, items.iter().filter_map(|item| Some((item.as_str()?.to_owned(), entry(item)))))
}

fn build(node: Node) -> Node {
    match &node.value {
        Value::Text(_) => map(&node, std::iter::once(("context".to_owned(), Entry { key_span: node.span, node: node.clone() }))),
        _ => node,
    }
}

/// Entries of which the later replaces the earlier in the earlier's place.
pub(super) fn enforce_unicity(document: &mut Node) {
    each_service(document, &mut |service| {
        let Value::Map(service) = &mut service.value else { return };
        for (key, entry) in service.iter_mut() {
            let identify: fn(&Node) -> Option<String> = match key.as_str() {
                "annotations" | "environment" | "labels" | "sysctls" | "tmpfs" | "links" => before_equals,
                "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "profiles" => before_equals,
                "expose" | "extra_hosts" => whole,
                "env_file" => env_file_path,
                "devices" => device_target,
                "volumes" => volume_target,
                "ports" => port_identity,
                "secrets" => |node| grant_target(node, "/run/secrets/"),
                "configs" => |node| grant_target(node, "/"),
                "deploy" | "build" => {
                    if let Value::Map(inner) = &mut entry.node.value {
                        for key in ["labels", "args", "additional_contexts", "tags"] {
                            inner.get_mut(key).into_iter().for_each(|entry| unique(&mut entry.node, before_equals));
                        }
                        inner.get_mut("extra_hosts").into_iter().for_each(|entry| unique(&mut entry.node, whole));
                    }
                    continue;
                }
                "networks" => {
                    if let Value::Map(networks) = &mut entry.node.value {
                        for network in networks.values_mut() {
                            let Value::Map(network) = &mut network.node.value else { continue };
                            for key in ["aliases", "link_local_ips"] {
                                network.get_mut(key).into_iter().for_each(|entry| unique(&mut entry.node, before_equals));
                            }
                        }
                    }
                    continue;
                }
                _ => continue,
            };
            unique(&mut entry.node, identify);
        }
    });
}

pub(super) fn each_service(document: &mut Node, each: &mut dyn FnMut(&mut Node)) {
    let Value::Map(document) = &mut document.value else { return };
    let Some(Value::Map(services)) = document.get_mut("services").map(|entry| &mut entry.node.value) else { return };
    services.values_mut().for_each(|entry| each(&mut entry.node));
}

fn unique(node: &mut Node, identify: fn(&Node) -> Option<String>) {
    let Value::List(items) = &mut node.value else { return };
    let mut places = std::collections::BTreeMap::new();
    let mut kept: Vec<Node> = Vec::new();
    for item in std::mem::take(items) {
        match identify(&item).map(|identity| (places.get(&identity).copied(), identity)) {
            Some((Some(place), _)) => kept[place] = item,
            Some((None, identity)) => {
                places.insert(identity, kept.len());
                kept.push(item);
            }
            None => kept.push(item),
        }
    }
    *items = kept;
}

fn whole(node: &Node) -> Option<String> {
    scalar_text(&node.value)
}

fn before_equals(node: &Node) -> Option<String> {
    Some(scalar_text(&node.value)?.split('=').next()?.to_owned())
}

fn env_file_path(node: &Node) -> Option<String> {
    node.get("path").unwrap_or(node).as_str().map(str::to_owned)
}

fn device_target(node: &Node) -> Option<String> {
    match node.as_str() {
        Some(text) => text.split(':').nth(1).or(Some(text)).map(str::to_owned),
        None => node.get("target")?.as_str().map(str::to_owned),
    }
}

fn volume_target(node: &Node) -> Option<String> {
    match node.as_str() {
        Some(text) => super::short_forms::volume::target(text),
        None => node.get("target")?.as_str().map(str::to_owned),
    }
}

/// To docker compose a published number is another than the same as text, and so is a target.
fn port_identity(node: &Node) -> Option<String> {
    let text = |key: &str, default: &str| match node.get(key).map(|node| &node.value) {
        None => default.to_owned(),
        Some(Value::Text(text)) => format!("{text:?}"),
        Some(value) => scalar_text(value).unwrap_or_default(),
    };
    match &node.value {
        Value::Map(_) => Some(format!(
            "{}:{}:{}/{}",
            text("host_ip", "\"0.0.0.0\""),
            text("published", ""),
            text("target", ""),
            text("protocol", "\"tcp\"")
        )),
        value => scalar_text(value),
    }
}

fn grant_target(node: &Node, folder: &str) -> Option<String> {
    match node.as_str() {
        Some(source) => Some(format!("{folder}{source}")),
        None => {
            let target = node.get("target").and_then(Node::as_str);
            let source = node.get("source").and_then(Node::as_str);
            target.map(str::to_owned).or_else(|| Some(format!("{folder}{}", source?)))
        }
    }
}
