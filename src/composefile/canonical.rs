//! Short forms to long ones. Whatever is long already stays, so that it may be run after every file that is merged.

use super::access::{entry, map_of, text};
use super::short_forms::{device, port, volume};
use super::{Diagnostic, Map, Node, Value};
use crate::project::nearest;

/// Ranges of ports become an entry each; a project with more of them is a slip, or meant to use up memory.
const PORTS_MAX: usize = 70_000;

/// Makes the short forms of a document long.
///
/// `is_lenient` is for documents whose variables were not replaced: a port or volume that cannot be read stays as it is.
pub(super) fn canonicalise(document: &mut Node, is_lenient: bool, faults: &mut Vec<Diagnostic>) {
    let mut ports_left = Some(PORTS_MAX);
    for (name, node) in document.entries_mut("services") {
        Service { name, is_lenient, ports_left: &mut ports_left, faults }.canonicalise(node);
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        for (name, node) in document.entries_mut(section) {
            external(section, name, node, faults);
        }
    }
}

struct Service<'a> {
    name: &'a str,
    is_lenient: bool,
    /// Nothing once there were too many, which is told once.
    ports_left: &'a mut Option<usize>,
    faults: &'a mut Vec<Diagnostic>,
}

impl Service<'_> {
    fn canonicalise(&mut self, service: &mut Node) {
        change(service, "build", build);
        change(service, "depends_on", depends_on);
        change(service, "env_file", env_file);
        change(service, "label_file", one_to_list);
        change(service, "extends", |node| wrap(node, "service"));
        change(service, "gpus", gpus);
        change(service, "networks", names_to_map);
        change(service, "models", names_to_map);
        change(service, "dns", dns);
        service.items_mut("secrets").iter_mut().for_each(|node| wrap(node, "source"));
        service.items_mut("configs").iter_mut().for_each(|node| wrap(node, "source"));
        for (index, node) in service.items_mut("devices").iter_mut().enumerate() {
            self.expand(node, "devices", index, device::parse);
        }
        for (index, node) in service.items_mut("volumes").iter_mut().enumerate() {
            if let Some(short) = node.as_str().filter(|short| volume::is_read_as_drive(short)) {
                let name = self.name;
                let message = format!("services.{name}.volumes[{index}]: `{short}` is read as a path on a drive of Windows");
                let hint = Some("a volume with a name of one letter needs the long form, with `source` and `target`".to_owned());
                self.faults.push(Diagnostic { hint, ..Diagnostic::warning(Some(node.span), message) });
            }
            for option in node.as_str().map(volume::unknown_options).unwrap_or_default() {
                let message =
                    format!("services.{}.volumes[{index}]: `{option}` is no option of a volume, and is left out", self.name);
                let hint = nearest(option, volume::OPTIONS).map(|word| format!("did you mean `{word}`?"));
                self.faults.push(Diagnostic { hint, ..Diagnostic::warning(Some(node.span), message) });
            }
            self.expand(node, "volumes", index, volume::parse);
            if let Some(target) = node.get_mut("target")
                && let Value::Text(path) = &mut target.value
                && !path.is_empty()
            {
                *path = super::paths::clean(path);
            }
        }
        if let Some(node) = service.get_mut("ports") {
            self.ports(node);
        }
    }

    fn expand(&mut self, node: &mut Node, key: &str, index: usize, parse: fn(&str, super::Span) -> Result<Value, String>) {
        let Value::Text(short) = &node.value else { return };
        match parse(short, node.span) {
            Ok(long) => node.value = long,
            Err(_) if self.is_lenient => {}
            Err(why) => self.faults.push(Diagnostic::error(node.span, format!("services.{}.{key}[{index}]: {why}", self.name))),
        }
    }

    /// A range of container ports becomes one entry per port. Where variables were not replaced and one port cannot be read, all
    /// stay as they are.
    fn ports(&mut self, node: &mut Node) {
        let Some(items) = node.as_list_mut() else { return };
        if self.is_lenient && items.iter().filter_map(Node::as_str).any(|short| port::parse(short).is_err()) {
            return;
        }
        if items.iter().all(|item| matches!(item.value, Value::Map(_))) {
            return;
        }
        let mut long = Vec::with_capacity(items.len());
        for (index, item) in std::mem::take(items).into_iter().enumerate() {
            let Some(left) = *self.ports_left else { return };
            let parsed = match &item.value {
                Value::Int(number) => port::parse(&number.to_string()),
                Value::Text(short) => port::parse(short),
                Value::Map(_) => {
                    long.push(item);
                    continue;
                }
                _ => Err("a port is a whole number, a text or a mapping".to_owned()),
            };
            match parsed {
                Ok(ports) if ports.len() > left => {
                    *self.ports_left = None;
                    let message = format!("services.{}.ports: the project has more than {PORTS_MAX} ports", self.name);
                    self.faults.push(Diagnostic::error(item.span, message));
                    return;
                }
                Ok(ports) => {
                    *self.ports_left = Some(left - ports.len());
                    long.extend(ports.into_iter().map(|port| Node::new(item.span, port.into_value(item.span))));
                }
                Err(_) if self.is_lenient => long.push(item),
                Err(why) => {
                    self.faults.push(Diagnostic::error(item.span, format!("services.{}.ports[{index}]: {why}", self.name)));
                    long.push(item);
                }
            }
        }
        *items = long;
    }
}

fn change(service: &mut Node, key: &str, change: impl FnOnce(&mut Node)) {
    if let Some(node) = service.get_mut(key) {
        change(node);
    }
}

/// A text becomes a mapping with that text under the key.
fn wrap(node: &mut Node, key: &str) {
    if let Value::Text(short) = &mut node.value {
        let short = std::mem::take(short);
        node.value = map_of(node.span, [(key, Value::Text(short))]);
    }
}

fn one_to_list(node: &mut Node) {
    if matches!(node.value, Value::Text(_)) {
        let item = node.clone();
        node.value = Value::List(vec![item]);
    }
}

/// Empty entries are left out; the last one takes the attribute with it later.
fn dns(node: &mut Node) {
    one_to_list(node);
    if let Some(items) = node.as_list_mut() {
        items.retain(|item| item.as_str() != Some(""));
    }
}

fn names_to_map(node: &mut Node) {
    list_to_map(node, |_| Value::Null);
}

/// A list of names becomes a mapping; the value of each comes from the function.
fn list_to_map(node: &mut Node, value: impl Fn(&Node) -> Value) {
    if let Value::List(items) = &node.value {
        let named = items.iter().filter_map(|item| Some((item.as_str()?.to_owned(), entry(item.span, value(item)))));
        node.value = Value::Map(named.collect());
    }
}

fn depends_on(node: &mut Node) {
    list_to_map(node, |item| map_of(item.span, [("condition", text("service_started")), ("required", Value::Bool(true))]));
    for (_, dependency) in node.as_map_mut().into_iter().flatten() {
        dependency.node.set_default("required", Value::Bool(true));
    }
}

fn env_file(node: &mut Node) {
    one_to_list(node);
    for item in node.as_list_mut().into_iter().flatten() {
        wrap(item, "path");
        item.set_default("required", Value::Bool(true));
    }
}

fn gpus(node: &mut Node) {
    if node.as_str() == Some("all") {
        let all = Node::new(node.span, map_of(node.span, [("count", text("all"))]));
        node.value = Value::List(vec![all]);
    }
}

fn build(node: &mut Node) {
    wrap(node, "context");
    node.items_mut("secrets").iter_mut().for_each(|node| wrap(node, "source"));
    change(node, "additional_contexts", pairs_to_map);
    change(node, "ssh", pairs_to_map);
    for key in ["provenance", "sbom"] {
        change(node, key, |node| {
            if let Value::Bool(flag) = node.value {
                node.value = text(flag.to_string());
            }
        });
    }
}

/// `KEY=VALUE` items become a mapping; `KEY` alone has no value.
fn pairs_to_map(node: &mut Node) {
    if let Value::List(items) = &node.value {
        let mut map = Map::new();
        for item in items {
            if let Some(pair) = item.as_str() {
                let (key, value) = pair.split_once('=').map_or((pair, Value::Null), |(key, value)| (key, text(value)));
                map.insert(key.to_owned(), entry(item.span, value));
            }
        }
        node.value = Value::Map(map);
    }
}

/// `external: {name: N}` is `external: true` and `name: N`.
fn external(section: &str, name: &str, node: &mut Node, faults: &mut Vec<Diagnostic>) {
    let Some(external) = node.get_mut("external") else { return };
    if !matches!(external.value, Value::Map(_)) {
        return;
    }
    let old = std::mem::replace(&mut external.value, Value::Bool(true));
    let Value::Map(old) = old else { return };
    if let Some(external_name) = old.get("name") {
        match node.get("name") {
            Some(own) if *own != external_name.node => {
                let message = format!("{section}.{name}: `name` and `external.name` name two different things");
                faults.push(Diagnostic::error(external_name.node.span, message));
            }
            Some(_) => {}
            None => {
                if let Some(map) = node.as_map_mut() {
                    map.insert("name".to_owned(), external_name.clone());
                }
            }
        }
    }
}
