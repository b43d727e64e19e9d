//! Short forms made long, file by file: afterwards each attribute has one shape. Running it again changes nothing.

use super::merge::{depends_on, each_service, scalar_text};
use super::short_forms::{self, bytes};
use super::{Diagnostic, Entry, Map, Node, Span, Value};
use crate::project::GoDuration;

/// Makes a whole document canonical; what has no long form is told.
pub(super) fn canonicalise(document: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    each_service(document, &mut |service| canonical_service(service, diagnostics));
    let Value::Map(document) = &mut document.value else { return };
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(Value::Map(entries)) = document.get_mut(section).map(|entry| &mut entry.node.value) else { continue };
        for entry in entries.values_mut() {
            resource(&mut entry.node);
        }
    }
}

fn resource(node: &mut Node) {
    let Value::Map(map) = &mut node.value else { return };
    if let Some(external) = map.get_mut("external") {
        match &external.node.value {
            Value::Map(inner) => {
                let name = inner.get("name").cloned();
                external.node.value = Value::Bool(true);
                if let Some(name) = name {
                    map.entry("name".to_owned()).or_insert(name);
                }
            }
            _ => boolean(&mut external.node),
        }
    }
    for key in ["internal", "attachable", "enable_ipv4", "enable_ipv6"] {
        map.get_mut(key).into_iter().for_each(|entry| boolean(&mut entry.node));
    }
    map.get_mut("labels").into_iter().for_each(|entry| string_map(&mut entry.node, true));
    map.get_mut("driver_opts").into_iter().for_each(|entry| texts_of_map(&mut entry.node));
}

fn canonical_service(service: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(map) = &mut service.value else { return };
    for (key, entry) in map.iter_mut() {
        attribute(key, &mut entry.node, diagnostics);
    }
}

fn attribute(key: &str, node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    match key {
        "annotations" | "labels" | "sysctls" => string_map(node, true),
        "environment" => string_map(node, false),
        "storage_opt" => texts_of_map(node),
        "command" | "entrypoint" => command(node, diagnostics),
        "dns" | "dns_search" | "tmpfs" | "label_file" => string_list(node),
        "expose" | "group_add" => texts_of_list(node),
        "env_file" => env_file(node),
        "depends_on" => {
            let taken = std::mem::replace(node, Node::new(Span::default(), Value::Null));
            *node = depends_on(taken);
            let Value::Map(services) = &mut node.value else { return };
            for entry in services.values_mut() {
                let Value::Map(fields) = &mut entry.node.value else { continue };
                for key in ["restart", "required"] {
                    fields.get_mut(key).into_iter().for_each(|entry| boolean(&mut entry.node));
                }
                let (span, required) = (entry.node.span, Value::Bool(true));
                fields.entry("required".to_owned()).or_insert(Entry { key_span: span, node: Node::new(span, required) });
            }
        }
        "networks" | "models" => names(node),
        "extra_hosts" => extra_hosts(node),
        "build" => build(node, diagnostics),
        "ports" => ports(node, diagnostics),
        "volumes" => volumes(node, diagnostics),
        "devices" => devices(node, diagnostics),
        "secrets" => grants(node, Some("/run/secrets/")),
        "configs" => grants(node, None),
        "gpus" => gpus(node),
        "mem_limit" | "mem_reservation" | "memswap_limit" | "shm_size" => size(node, diagnostics),
        "stop_grace_period" => duration(node, diagnostics),
        "healthcheck" => healthcheck(node, diagnostics),
        "deploy" => deploy(node, diagnostics),
        "logging" => option_texts(node, "options"),
        "post_start" | "pre_stop" | "pre_start" => hooks(node, diagnostics),
        "ulimits" => {
            if let Value::Map(limits) = &mut node.value {
                for limit in limits.values_mut() {
                    match &mut limit.node.value {
                        Value::Map(pair) => pair.values_mut().for_each(|entry| integer(&mut entry.node)),
                        _ => integer(&mut limit.node),
                    }
                }
            }
        }
        "init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty" | "attach" | "use_api_socket" => {
            boolean(node)
        }
        "cpu_count" | "cpu_shares" | "cpu_quota" | "mem_swappiness" | "oom_score_adj" | "pids_limit" | "scale" => integer(node),
        "cpu_period" | "cpu_rt_period" | "cpu_rt_runtime" => microseconds(node),
        "cpus" | "cpu_percent" => float(node),
        "extends" => {
            if let Value::Text(_) = &node.value {
                let entry = Entry { key_span: node.span, node: node.clone() };
                node.value = Value::Map(Map::from_iter([("service".to_owned(), entry)]));
            }
        }
        "image" | "container_name" | "hostname" | "user" | "working_dir" | "restart" | "cpuset" | "mac_address" | "platform"
        | "pull_policy" | "stop_signal" | "domainname" | "network_mode" => text(node),
        _ => {}
    }
}

/// A scalar as a text.
fn text(node: &mut Node) {
    if matches!(node.value, Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Timestamp(_))
        && let Some(text) = scalar_text(&node.value)
    {
        node.value = Value::Text(text);
    }
}

/// A text that says yes or no, as YAML 1.1 did.
pub(super) fn boolean(node: &mut Node) {
    let Some(text) = node.as_str() else { return };
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" | "1" => node.value = Value::Bool(true),
        "false" | "no" | "n" | "off" | "0" => node.value = Value::Bool(false),
        _ => {}
    }
}

fn integer(node: &mut Node) {
    match &node.value {
        Value::Text(text) => {
            if let Ok(number) = text.parse() {
                node.value = Value::Int(number);
            }
        }
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e18 => node.value = Value::Int(*number as i64),
        _ => {}
    }
}

fn float(node: &mut Node) {
    if let Some(number) = node.as_str().and_then(|text| text.parse().ok()) {
        node.value = Value::Float(number);
    }
}

/// Microseconds, as a number or as a duration.
fn microseconds(node: &mut Node) {
    integer(node);
    if let Some(duration) = node.as_str().and_then(GoDuration::parse) {
        node.value = Value::Int(duration.nanos / 1000);
    }
}

fn size(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Int(number) => node.value = Value::Text(number.to_string()),
        Value::Text(text) => match bytes(text) {
            Some(count) => node.value = Value::Text(count.to_string()),
            None => {
                let message = format!("`{text}` is no size");
                diagnostics.push(Diagnostic::error(node.span, message).hinted("a size is a number with b, k, m or g behind it"));
            }
        },
        _ => {}
    }
}

fn duration(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Text(text) => match GoDuration::parse(text) {
            Some(duration) => node.value = Value::Text(duration.to_string()),
            None => {
                let message = format!("`{text}` is no duration");
                diagnostics.push(Diagnostic::error(node.span, message).hinted("a duration has units: 10s, 1m30s, 500ms"));
            }
        },
        Value::Int(0) => node.value = Value::Text("0s".to_owned()),
        Value::Int(_) | Value::Float(_) => {
            diagnostics.push(Diagnostic::error(node.span, "a duration needs a unit").hinted("as in 10s or 1m30s"));
        }
        _ => {}
    }
}

/// A list of `key=value` made a map; `valued`: a key alone has the empty text, else none.
fn string_map(node: &mut Node, valued: bool) {
    if let Value::List(items) = &node.value {
        let mut map = Map::new();
        for item in items {
            let Some(text) = scalar_text(&item.value) else { continue };
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
                None if valued => (text, Value::Text(String::new())),
                None => (text, Value::Null),
            };
            map.insert(key, Entry { key_span: item.span, node: Node::new(item.span, value) });
        }
        node.value = Value::Map(map);
    } else if let Value::Map(map) = &mut node.value {
        for entry in map.values_mut() {
            match &entry.node.value {
                Value::Null if !valued => {}
                Value::Null => entry.node.value = Value::Text(String::new()),
                _ => text(&mut entry.node),
            }
        }
    }
}

fn texts_of_map(node: &mut Node) {
    if let Value::Map(map) = &mut node.value {
        map.values_mut().for_each(|entry| text(&mut entry.node));
    }
}

fn option_texts(node: &mut Node, key: &str) {
    if let Value::Map(map) = &mut node.value {
        map.get_mut(key).into_iter().for_each(|entry| texts_of_map(&mut entry.node));
    }
}

fn string_list(node: &mut Node) {
    if !matches!(node.value, Value::List(_) | Value::Null) {
        node.value = Value::List(vec![node.clone()]);
    }
    texts_of_list(node);
}

fn texts_of_list(node: &mut Node) {
    if let Value::List(items) = &mut node.value {
        items.iter_mut().for_each(text);
    }
}

fn command(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    match &node.value {
        Value::Text(line) => match short_forms::words(line) {
            Ok(words) => node.value = Value::List(words.into_iter().map(|word| Node::text(node.span, word)).collect()),
            Err(message) => diagnostics.push(Diagnostic::error(node.span, message)),
        },
        Value::List(_) => texts_of_list(node),
        _ => {}
    }
}

fn env_file(node: &mut Node) {
    if !matches!(node.value, Value::List(_) | Value::Null) {
        node.value = Value::List(vec![node.clone()]);
    }
    let Value::List(items) = &mut node.value else { return };
    for item in items {
        if let Value::Text(_) = item.value {
            item.value = map_of(item.span, [("path", item.value.clone())]);
        }
        let (span, Value::Map(map)) = (item.span, &mut item.value) else { continue };
        map.entry("required".to_owned()).or_insert(Entry { key_span: span, node: Node::new(span, Value::Bool(true)) });
    }
}

fn map_of<const N: usize>(span: Span, fields: [(&str, Value); N]) -> Value {
    let entries = fields.into_iter().map(|(key, value)| (key.to_owned(), Entry { key_span: span, node: Node::new(span, value) }));
    Value::Map(entries.collect())
}

fn names(node: &mut Node) {
    if let Value::List(items) = &node.value {
        let entry = |item: &Node| Entry { key_span: item.span, node: Node::new(item.span, Value::Null) };
        node.value = Value::Map(items.iter().filter_map(|item| Some((item.as_str()?.to_owned(), entry(item)))).collect());
    }
}

/// A sorted list of `host=address`.
fn extra_hosts(node: &mut Node) {
    let mut pairs: Vec<(Span, String)> = Vec::new();
    let mut add = |span: Span, host: &str, address: &str| {
        for address in address.split(',') {
            let address = address.trim().trim_start_matches('[').trim_end_matches(']');
            pairs.push((span, format!("{host}={address}")));
        }
    };
    match &node.value {
        Value::Map(map) => {
            for (host, entry) in map {
                match &entry.node.value {
                    Value::List(items) => items.iter().for_each(|item| add(item.span, host, item.as_str().unwrap_or_default())),
                    value => add(entry.node.span, host, &scalar_text(value).unwrap_or_default()),
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let text = item.as_str().unwrap_or_default();
                if let Some((host, address)) = text.split_once('=').or_else(|| text.split_once(':')) {
                    add(item.span, host, address);
                }
            }
        }
        _ => return,
    }
    pairs.sort_by(|(_, a), (_, b)| a.cmp(b));
    node.value = Value::List(pairs.into_iter().map(|(span, text)| Node::text(span, text)).collect());
}

fn build(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    if let Value::Text(_) = &node.value {
        node.value = map_of(node.span, [("context", node.value.clone())]);
    }
    let Value::Map(map) = &mut node.value else { return };
    for (key, entry) in map.iter_mut() {
        match key.as_str() {
            "args" => string_map(&mut entry.node, false),
            "labels" | "additional_contexts" => string_map(&mut entry.node, true),
            "ssh" => ssh_keys(&mut entry.node),
            "secrets" => grants(&mut entry.node, None),
            "extra_hosts" => extra_hosts(&mut entry.node),
            "no_cache_filter" => string_list(&mut entry.node),
            "shm_size" => size(&mut entry.node, diagnostics),
            "no_cache" | "pull" | "privileged" => boolean(&mut entry.node),
            "provenance" | "sbom" => text(&mut entry.node),
            _ => {}
        }
    }
}

fn ssh_keys(node: &mut Node) {
    string_map(node, true);
    let Value::Map(map) = &node.value else { return };
    let words = map.iter().map(|(key, entry)| match scalar_text(&entry.node.value).filter(|path| !path.is_empty()) {
        Some(path) => format!("{key}={path}"),
        None => key.clone(),
    });
    node.value = Value::List(words.map(|word| Node::text(node.span, word)).collect());
}

fn ports(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::List(items) = &mut node.value else { return };
    let mut long = Vec::new();
    for mut item in std::mem::take(items) {
        if let Value::Map(map) = &mut item.value {
            map.get_mut("published").into_iter().for_each(|entry| text(&mut entry.node));
            map.get_mut("target").into_iter().for_each(|entry| integer(&mut entry.node));
            for (key, value) in [("mode", "ingress"), ("protocol", "tcp")] {
                let node = Node::text(item.span, value);
                map.entry(key.to_owned()).or_insert(Entry { key_span: item.span, node });
            }
            long.push(item);
            continue;
        }
        let Some(text) = scalar_text(&item.value) else { continue };
        match short_forms::ports(&text) {
            Ok(ports) => long.extend(ports.into_iter().map(|port| {
                let mut fields = vec![("mode", Value::Text("ingress".to_owned()))];
                fields.extend(port.host_ip.map(|ip| ("host_ip", Value::Text(ip))));
                fields.push(("target", Value::Int(i64::from(port.target))));
                fields.extend(port.published.map(|published| ("published", Value::Text(published))));
                fields.push(("protocol", Value::Text(port.protocol)));
                let entry = |value| Entry { key_span: item.span, node: Node::new(item.span, value) };
                let map = fields.into_iter().map(|(key, value)| (key.to_owned(), entry(value))).collect();
                Node::new(item.span, Value::Map(map))
            })),
            Err(message) => diagnostics.push(Diagnostic::error(item.span, message)),
        }
    }
    *items = long;
}

fn volumes(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::List(items) = &mut node.value else { return };
    for item in items {
        let span = item.span;
        match &mut item.value {
            Value::Text(text) if text.is_empty() => diagnostics.push(Diagnostic::error(span, "invalid empty volume spec")),
            Value::Text(text) => {
                let volume = short_forms::volume(text);
                item.value = long_volume(&volume, span);
            }
            Value::Map(map) => {
                for (key, entry) in map.iter_mut() {
                    match (key.as_str(), &mut entry.node.value) {
                        ("read_only", _) => boolean(&mut entry.node),
                        ("target", Value::Text(target)) => *target = short_forms::clean(target),
                        ("tmpfs", Value::Map(tmpfs)) => {
                            tmpfs.get_mut("size").into_iter().for_each(|entry| size(&mut entry.node, diagnostics));
                        }
                        ("bind", Value::Map(bind)) => {
                            bind.get_mut("create_host_path").into_iter().for_each(|entry| boolean(&mut entry.node));
                        }
                        ("volume", Value::Map(volume)) => {
                            volume.get_mut("nocopy").into_iter().for_each(|entry| boolean(&mut entry.node));
                            volume.get_mut("labels").into_iter().for_each(|entry| string_map(&mut entry.node, true));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn long_volume(volume: &short_forms::VolumeText, span: Span) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    let is_bind = volume.is_bind();
    let mut inner: Vec<(&str, Value)> = if is_bind { vec![("create_host_path", Value::Bool(true))] } else { Vec::new() };
    let mut read_only = false;
    for option in &volume.options {
        match (option.as_str(), is_bind) {
            ("ro", _) => read_only = true,
            ("rw", _) => read_only = false,
            ("nocopy", false) => inner.push(("nocopy", Value::Bool(true))),
            ("z" | "Z", true) => inner.push(("selinux", text(option))),
            ("private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave", true) => {
                inner.push(("propagation", text(option)))
            }
            _ => {}
        }
    }
    let entry = |value| Entry { key_span: span, node: Node::new(span, value) };
    let inner = Value::Map(inner.into_iter().map(|(key, value)| (key.to_owned(), entry(value))).collect());
    let kind = if is_bind { "bind" } else { "volume" };
    let mut fields = vec![("type", text(kind))];
    fields.extend(volume.source.as_deref().map(|source| ("source", text(source))));
    fields.push(("target", text(&volume.target)));
    if read_only {
        fields.push(("read_only", Value::Bool(true)));
    }
    fields.push((kind, inner));
    Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), entry(value))).collect())
}

fn devices(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::List(items) = &mut node.value else { return };
    for item in items {
        let fields: Vec<String> = match &item.value {
            Value::Text(text) => text.split(':').map(str::to_owned).collect(),
            Value::Map(map) => {
                let field = |key: &str| map.get(key).and_then(|entry| entry.node.as_str()).unwrap_or_default().to_owned();
                vec![field("source"), field("target"), field("permissions")]
            }
            _ => continue,
        };
        if fields.len() > 3 {
            let text = item.as_str().unwrap_or_default();
            let message = format!("confusing device mapping, please use long syntax: {text}");
            diagnostics.push(Diagnostic::error(item.span, message));
            continue;
        }
        let part = |index: usize| fields.get(index).filter(|part| !part.is_empty()).cloned();
        let source = part(0).unwrap_or_default();
        let target = part(1).unwrap_or_else(|| source.clone());
        let permissions = part(2).unwrap_or_else(|| "rwm".to_owned());
        let fields =
            [("source", Value::Text(source)), ("target", Value::Text(target)), ("permissions", Value::Text(permissions))];
        item.value = map_of(item.span, fields);
    }
}

/// Configs and secrets: a name alone is the source; a secret's file is `folder/source` where nothing else is said.
fn grants(node: &mut Node, folder: Option<&str>) {
    let Value::List(items) = &mut node.value else { return };
    for item in items {
        if let Value::Text(_) = &item.value {
            item.value = map_of(item.span, [("source", item.value.clone())]);
        }
        let span = item.span;
        let Value::Map(map) = &mut item.value else { continue };
        if let Some(mode) = map.get_mut("mode") {
            let octal = match &mode.node.value {
                Value::Int(number) => Some(*number),
                Value::Text(text) => i64::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
                _ => None,
            };
            if let Some(number) = octal.filter(|_| !matches!(&mode.node.value, Value::Text(text) if text.len() == 4)) {
                mode.node.value = Value::Text(format!("{number:#06o}").replacen("0o", "0", 1).replacen("00", "0", 1));
                mode.node.value = Value::Text(format!("{number:04o}"));
            }
        }
        for key in ["uid", "gid"] {
            map.get_mut(key).into_iter().for_each(|entry| text(&mut entry.node));
        }
        let source = map.get("source").and_then(|entry| entry.node.as_str()).map(str::to_owned);
        if let (Some(folder), Some(source)) = (folder, source) {
            let node = Node::text(span, format!("{folder}{source}"));
            map.entry("target".to_owned()).or_insert(Entry { key_span: span, node });
        }
    }
}

fn gpus(node: &mut Node) {
    if node.as_str() == Some("all") {
        node.value = Value::List(vec![Node::new(node.span, map_of(node.span, [("count", Value::Int(-1))]))]);
    }
    device_requests(node);
}

/// `count: all` is −1, and so is no count where no devices are named.
fn device_requests(node: &mut Node) {
    let Value::List(items) = &mut node.value else { return };
    for item in items {
        let span = item.span;
        let Value::Map(map) = &mut item.value else { continue };
        let names_devices = map.contains_key("device_ids");
        match map.get_mut("count") {
            Some(entry) if entry.node.as_str() == Some("all") => entry.node.value = Value::Int(-1),
            Some(entry) => integer(&mut entry.node),
            None if !names_devices => {
                map.insert("count".to_owned(), Entry { key_span: span, node: Node::new(span, Value::Int(-1)) });
            }
            None => {}
        }
        map.get_mut("options").into_iter().for_each(|entry| string_map(&mut entry.node, true));
    }
}

fn healthcheck(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(map) = &mut node.value else { return };
    for (key, entry) in map.iter_mut() {
        match key.as_str() {
            "interval" | "timeout" | "start_period" | "start_interval" => duration(&mut entry.node, diagnostics),
            "retries" => integer(&mut entry.node),
            "disable" => boolean(&mut entry.node),
            "test" => {
                if let Value::Text(_) = &entry.node.value {
                    let shell = Node::text(entry.node.span, "CMD-SHELL");
                    entry.node.value = Value::List(vec![shell, entry.node.clone()]);
                }
                texts_of_list(&mut entry.node);
            }
            _ => {}
        }
    }
}

fn deploy(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(map) = &mut node.value else { return };
    for (key, entry) in map.iter_mut() {
        match key.as_str() {
            "labels" => string_map(&mut entry.node, true),
            "replicas" => integer(&mut entry.node),
            "update_config" | "rollback_config" | "restart_policy" => timing(&mut entry.node, diagnostics),
            "placement" => {
                if let Value::Map(placement) = &mut entry.node.value {
                    placement.get_mut("max_replicas_per_node").into_iter().for_each(|entry| integer(&mut entry.node));
                }
            }
            "resources" => {
                let Value::Map(sides) = &mut entry.node.value else { continue };
                for side in sides.values_mut() {
                    limits(&mut side.node, diagnostics);
                }
            }
            _ => {}
        }
    }
}

fn timing(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(map) = &mut node.value else { return };
    for (key, entry) in map.iter_mut() {
        match key.as_str() {
            "delay" | "monitor" | "window" => duration(&mut entry.node, diagnostics),
            "parallelism" | "max_attempts" => integer(&mut entry.node),
            "max_failure_ratio" => float(&mut entry.node),
            _ => {}
        }
    }
}

fn limits(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(map) = &mut node.value else { return };
    for (key, entry) in map.iter_mut() {
        match key.as_str() {
            "memory" => size(&mut entry.node, diagnostics),
            "pids" => integer(&mut entry.node),
            "devices" => device_requests(&mut entry.node),
            "cpus" => float(&mut entry.node),
            "generic_resources" => {
                let Value::List(items) = &mut entry.node.value else { continue };
                for item in items {
                    let Value::Map(map) = &mut item.value else { continue };
                    let Some(Value::Map(spec)) = map.get_mut("discrete_resource_spec").map(|entry| &mut entry.node.value) else {
                        continue;
                    };
                    spec.get_mut("value").into_iter().for_each(|entry| integer(&mut entry.node));
                }
            }
            _ => {}
        }
    }
}

fn hooks(node: &mut Node, diagnostics: &mut Vec<Diagnostic>) {
    let Value::List(items) = &mut node.value else { return };
    for item in items {
        let Value::Map(map) = &mut item.value else { continue };
        for (key, entry) in map.iter_mut() {
            match key.as_str() {
                "command" => command(&mut entry.node, diagnostics),
                "environment" => string_map(&mut entry.node, false),
                "privileged" | "per_replica" => boolean(&mut entry.node),
                _ => {}
            }
        }
    }
}
