//! Every value made into what its attribute is: sizes into bytes, `"5"` into 5, `KEY=VALUE` into mappings, in docker compose's order.
//!
//! What is zero, empty or false is left out where docker compose leaves it out.

use super::access::{entry, text};
use super::go;
use super::schema::{Field, Form, PROJECT, Path, SERVICE, Type, Zero, kind_of};
use super::short_forms::{size, words};
use super::{Diagnostic, Entry, Map, Node, Value};
use crate::project::GoDuration;

/// Returns the document in its final form. What cannot be read is told and left out.
pub(super) fn cast(document: Node, faults: &mut Vec<Diagnostic>) -> Node {
    Cast { faults }.object(document, &PROJECT, &Path::Root)
}

/// Puts the attributes of a service into docker compose's order again after one was added.
pub(super) fn in_order(service: &mut Node) {
    if let Some(map) = service.as_map_mut() {
        let rank = |key: &String| SERVICE.fields.iter().position(|field| field.key == key).unwrap_or(usize::MAX);
        map.sort_by_cached_key(|key, _| (rank(key), key.clone()));
    }
}

/// `true`, `yes`, `on` … as docker compose reads texts where a flag is meant.
pub(super) fn flag_of(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Some(true),
        "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

struct Cast<'f> {
    faults: &'f mut Vec<Diagnostic>,
}

/// Nothing: the attribute is absent.
type Cell = Option<Value>;

impl Cast<'_> {
    fn object(&mut self, node: Node, kind: &Type, path: &Path<'_>) -> Node {
        let Value::Map(mut map) = node.value else {
            return Node { value: Value::Map(Map::new()), ..node };
        };
        let mut out = Map::with_capacity(map.len());
        for field in kind.fields {
            let Some(entry) = map.swap_remove(field.key) else {
                if field.zero == Zero::Implied {
                    out.insert(field.key.to_owned(), entry(node.span, zero(field.form)));
                }
                continue;
            };
            let span = entry.node.span;
            if let Some(value) = self.field(entry.node, field, &Path::Key(path, field.key)) {
                out.insert(field.key.to_owned(), Entry { key_span: entry.key_span, node: Node::new(span, value) });
            }
        }
        map.sort_unstable_keys();
        out.extend(map.into_iter().map(|(key, entry)| (key, Entry { key_span: entry.key_span, node: sorted(entry.node) })));
        Node { value: Value::Map(out), ..node }
    }

    fn field(&mut self, node: Node, field: &Field, path: &Path<'_>) -> Cell {
        if node.is_null() && !matches!(field.form, Form::Map(_)) {
            return None;
        }
        let Some(value) = self.value(node, field.form, path) else {
            return (field.zero == Zero::Implied).then(|| zero(field.form));
        };
        (field.zero != Zero::Dropped || !is_zero(&value, field.form)).then_some(value)
    }

    fn value(&mut self, node: Node, form: Form, path: &Path<'_>) -> Cell {
        match form {
            Form::Text => match node.value {
                Value::Float(_) => self.wrong(&node, path, "a text"),
                _ => scalar_text(&node).or_else(|| self.wrong(&node, path, "a text")),
            },
            Form::Flag => self.flag(&node, path),
            Form::Int => int_of(&node).map(Value::Int).or_else(|| self.wrong(&node, path, "a whole number")),
            Form::Count => {
                let count = int_of(&node).filter(|count| *count >= 0).map(Value::Int);
                count.or_else(|| self.wrong(&node, path, "a whole number that is not negative"))
            }
            Form::Float => {
                let number = float_of(&node).filter(|number| number.is_finite()).map(Value::Float);
                number.or_else(|| self.wrong(&node, path, "a number"))
            }
            Form::Bytes => self.bytes(&node, path),
            Form::Duration => {
                let duration = node.as_str().and_then(GoDuration::parse);
                let printed = duration.map(|duration| text(duration.to_string()));
                printed.or_else(|| self.wrong(&node, path, "a duration such as 1m30s"))
            }
            Form::Mode => mode_of(&node).or_else(|| self.wrong(&node, path, "an octal number such as 0440")),
            Form::DeviceCount => match &node.value {
                Value::Text(word) if word.eq_ignore_ascii_case("all") => Some(Value::Int(-1)),
                Value::Float(_) => self.wrong(&node, path, "a whole number or `all`"),
                _ => int_of(&node).map(Value::Int).or_else(|| self.wrong(&node, path, "a whole number or `all`")),
            },
            Form::Texts => self.texts(node, path),
            Form::Command => self.command(node, path, None),
            Form::HealthTest => self.command(node, path, Some("CMD-SHELL")),
            Form::Dict => Some(dict(node, |_| text(""))),
            Form::Env => {
                self.trailing_spaces(&node, path);
                Some(dict(node, |_| Value::Null))
            }
            Form::ExtraHosts => self.extra_hosts(node, path),
            Form::Ssh => Some(ssh(node)),
            Form::Ulimits => Some(self.ulimits(node, path)),
            Form::Lists => Some(lists(node)),
            Form::Object(kind) => Some(self.object(node, kind, path).value),
            Form::Objects(kind) => self.objects(node, kind, path),
            Form::Map(kind) => self.map(node, kind, path),
            Form::Consumed => None,
        }
    }

    fn wrong(&mut self, node: &Node, path: &Path<'_>, wanted: &str) -> Cell {
        let found = match &node.value {
            Value::Text(text) => format!("`{text}`"),
            Value::Int(number) => format!("`{number}`"),
            Value::Float(number) => format!("`{}`", go::float(*number)),
            other => kind_of(other).to_owned(),
        };
        self.faults.push(Diagnostic::error(node.span, format!("{path} must be {wanted}, is {found}")));
        None
    }

    fn flag(&mut self, node: &Node, path: &Path<'_>) -> Cell {
        match &node.value {
            Value::Bool(flag) => Some(Value::Bool(*flag)),
            Value::Text(word) => match flag_of(word) {
                Some(flag) => {
                    if !word.eq_ignore_ascii_case("true") && !word.eq_ignore_ascii_case("false") {
                        let message = format!("{path}: `{word}` is a text in YAML 1.2; write `{flag}`");
                        self.faults.push(Diagnostic::warning(Some(node.span), message));
                    }
                    Some(Value::Bool(flag))
                }
                None => self.wrong(node, path, "true or false"),
            },
            _ => self.wrong(node, path, "true or false"),
        }
    }

    fn bytes(&mut self, node: &Node, path: &Path<'_>) -> Cell {
        match &node.value {
            Value::Int(bytes) => Some(text(bytes.to_string())),
            Value::Text(written) => match size::parse(written) {
                Some(bytes) => Some(text(bytes.to_string())),
                None => self.wrong(node, path, "a size such as 512m"),
            },
            Value::Float(bytes) if *bytes >= 0.0 && *bytes < i64::MAX as f64 => Some(text((*bytes as i64).to_string())),
            _ => self.wrong(node, path, "a size such as 512m"),
        }
    }

    fn texts(&mut self, node: Node, path: &Path<'_>) -> Cell {
        match node.value {
            Value::List(items) => {
                let mut texts = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    match scalar_text(&item) {
                        Some(value) => texts.push(Node::new(item.span, value)),
                        None => _ = self.wrong(&item, &Path::Item(path, index), "a text"),
                    }
                }
                Some(Value::List(texts))
            }
            _ => match scalar_text(&node) {
                Some(value) => Some(Value::List(vec![Node::new(node.span, value)])),
                None => self.wrong(&node, path, "a list"),
            },
        }
    }

    /// A text is split into words, or kept whole behind the word given.
    fn command(&mut self, node: Node, path: &Path<'_>, shell: Option<&str>) -> Cell {
        let span = node.span;
        let list = |words: Vec<String>| Value::List(words.into_iter().map(|word| Node::text(span, word)).collect());
        match (&node.value, shell) {
            (Value::Text(line), Some(shell)) => Some(list(vec![shell.to_owned(), line.clone()])),
            (Value::Text(line), None) => match words::split(line) {
                Ok(split) => {
                    if let Some(lost) = words::lost(line) {
                        let message = format!("{path}: `{lost}` is left out: a command as one text is not run by a shell");
                        let hint = Some("write `[sh, -c, \"…\"]` for a shell to run it".to_owned());
                        self.faults.push(Diagnostic { hint, ..Diagnostic::warning(Some(span), message) });
                    }
                    Some(list(split))
                }
                Err(why) => {
                    self.faults.push(Diagnostic::error(span, format!("{path}: {why}")));
                    None
                }
            },
            _ => self.texts(node, path),
        }
    }

    /// `KEY =VALUE` in a list is a slip that docker compose refuses.
    fn trailing_spaces(&mut self, node: &Node, path: &Path<'_>) {
        for (index, item) in node.as_list().unwrap_or_default().iter().enumerate() {
            let key = item.as_str().map(|pair| pair.split('=').next().unwrap_or(pair)).unwrap_or_default();
            if key.ends_with(char::is_whitespace) {
                let message = format!("{path}[{index}]: the variable `{key}` has a space behind its name");
                self.faults.push(Diagnostic::error(item.span, message));
            }
        }
    }

    fn extra_hosts(&mut self, node: Node, path: &Path<'_>) -> Cell {
        let mut hosts: Vec<Node> = Vec::new();
        let mut push = |host: &str, address: &str, span| {
            let address = address.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(address);
            hosts.push(Node::text(span, format!("{host}={address}")));
        };
        match &node.value {
            Value::Map(map) => {
                if let Some((_, entry)) = map.iter().find(|(host, _)| host.contains(':')) {
                    return self.wrong(&entry.node, path, "a mapping of host names");
                }
                for (host, entry) in map {
                    let items = entry.node.as_list().unwrap_or(std::slice::from_ref(&entry.node));
                    items.iter().for_each(|address| push(host, address.as_str().unwrap_or_default(), address.span));
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    match item.as_str().and_then(|pair| pair.split_once('=').or_else(|| pair.split_once(':'))) {
                        Some((host, _)) if host.is_empty() || host.contains(':') => {
                            _ = self.wrong(item, &Path::Item(path, index), "HOST=IP");
                        }
                        None => _ = self.wrong(item, &Path::Item(path, index), "HOST=IP"),
                        Some((host, addresses)) => addresses.split(',').for_each(|address| push(host, address, item.span)),
                    }
                }
            }
            _ => return self.wrong(&node, path, "a list or a mapping"),
        }
        hosts.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        Some(Value::List(hosts))
    }

    fn ulimits(&mut self, node: Node, path: &Path<'_>) -> Value {
        let Value::Map(map) = node.value else { return Value::Map(Map::new()) };
        let mut out = Map::with_capacity(map.len());
        for (name, limit) in map {
            let path = Path::Key(path, &name);
            let value = match &limit.node.value {
                Value::Map(_) => {
                    let mut pair = Map::new();
                    for side in ["soft", "hard"] {
                        if let Some(node) = limit.node.get(side)
                            && let Some(value) = self.value(node.clone(), Form::Int, &Path::Key(&path, side))
                        {
                            pair.insert(side.to_owned(), entry(node.span, value));
                        }
                    }
                    pair.extend(extensions(&limit.node));
                    Some(Value::Map(pair))
                }
                _ => self.value(limit.node.clone(), Form::Int, &path),
            };
            if let Some(value) = value {
                out.insert(name.clone(), Entry { key_span: limit.key_span, node: Node::new(limit.node.span, value) });
            }
        }
        out.sort_unstable_keys();
        Value::Map(out)
    }

    fn objects(&mut self, node: Node, kind: &Type, path: &Path<'_>) -> Cell {
        let Value::List(items) = node.value else { return self.wrong(&node, path, "a list") };
        let items = items.into_iter().enumerate().map(|(index, item)| self.object(item, kind, &Path::Item(path, index)));
        Some(Value::List(items.collect()))
    }

    fn map(&mut self, node: Node, kind: &Type, path: &Path<'_>) -> Cell {
        let Value::Map(mut map) = node.value else {
            return if node.is_null() { None } else { self.wrong(&node, path, "a mapping") };
        };
        map.sort_unstable_keys();
        for (name, entry) in &mut map {
            if !entry.node.is_null() {
                let node = std::mem::replace(&mut entry.node, Node::new(entry.key_span, Value::Null));
                entry.node = self.object(node, kind, &Path::Key(path, name));
            }
        }
        Some(Value::Map(map))
    }
}

fn is_zero(value: &Value, form: Form) -> bool {
    match (value, form) {
        (Value::List(items), form) => items.is_empty() && !matches!(form, Form::Command),
        (Value::Map(_), Form::Object(_)) => false,
        (Value::Map(map), _) => map.is_empty(),
        (Value::Text(text), Form::Bytes) => text == "0",
        (Value::Text(text), Form::Duration) => text == "0s",
        (Value::Text(text), _) => text.is_empty(),
        (Value::Bool(flag), _) => !flag,
        (Value::Int(number), _) => *number == 0,
        (Value::Float(number), _) => *number == 0.0,
        (Value::Null, _) => true,
        (Value::Timestamp(_), _) => false,
    }
}

fn zero(form: Form) -> Value {
    match form {
        Form::Bytes => text("0"),
        Form::Text => text(""),
        _ => Value::Int(0),
    }
}

/// A scalar as Go's `%v` prints it.
fn scalar_text(node: &Node) -> Cell {
    Some(match &node.value {
        Value::Text(text) | Value::Timestamp(text) => Value::Text(text.clone()),
        Value::Int(number) => text(number.to_string()),
        Value::Float(number) => text(go::float(*number)),
        Value::Bool(flag) => text(flag.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => return None,
    })
}

fn int_of(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Int(number) => Some(*number),
        // What 63 bits do not hold is nothing that an engine takes, and docker compose makes something else of it.
        Value::Float(number) => (number.abs() < 9.2e18).then_some(*number as i64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// With the precision of 32 bits, and the digits that a float of 32 bits prints.
fn float_of(node: &Node) -> Option<f64> {
    let number = match &node.value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    (number as f32).to_string().parse().ok()
}

fn mode_of(node: &Node) -> Cell {
    let mode = match &node.value {
        Value::Int(mode) => *mode,
        Value::Text(octal) => i64::from_str_radix(octal, 8).ok()?,
        _ => return None,
    };
    Some(text(format!("0{mode:o}")))
}

/// Sorted by key. A key of a list without `=`, and a key of a mapping without a value, have the value of the function.
fn dict(node: Node, absent: fn(&str) -> Value) -> Value {
    let mut out = Map::new();
    match node.value {
        Value::Map(map) => {
            for (key, entry) in map {
                let value = scalar_text(&entry.node).unwrap_or_else(|| absent(&key));
                out.insert(key, Entry { key_span: entry.key_span, node: Node::new(entry.node.span, value) });
            }
        }
        Value::List(items) => {
            for item in items {
                let Some(pair) = item.as_str() else { continue };
                let (key, value) = pair.split_once('=').map_or_else(|| (pair, absent(pair)), |(key, value)| (key, text(value)));
                out.insert(key.to_owned(), entry(item.span, value));
            }
        }
        _ => {}
    }
    out.sort_unstable_keys();
    Value::Map(out)
}

fn ssh(node: Node) -> Value {
    let Value::Map(mut map) = node.value else { return Value::List(Vec::new()) };
    map.sort_unstable_keys();
    let keys = map.into_iter().map(|(id, entry)| match scalar_text(&entry.node) {
        Some(Value::Text(path)) if !path.is_empty() => Node::text(entry.node.span, format!("{id}={path}")),
        _ => Node::text(entry.node.span, id),
    });
    Value::List(keys.collect())
}

fn lists(node: Node) -> Value {
    let Value::Map(mut map) = node.value else { return Value::Map(Map::new()) };
    map.sort_unstable_keys();
    for (_, entry) in &mut map {
        let items: Vec<Node> = match &entry.node.value {
            Value::List(items) => items.iter().filter_map(|item| Some(Node::new(item.span, scalar_text(item)?))).collect(),
            _ => scalar_text(&entry.node).into_iter().map(|value| Node::new(entry.node.span, value)).collect(),
        };
        entry.node.value = Value::List(items);
    }
    Value::Map(map)
}

fn extensions(node: &Node) -> impl Iterator<Item = (String, Entry)> {
    let map = node.as_map().into_iter().flatten();
    map.filter(|(key, _)| key.starts_with("x-")).map(|(key, entry)| (key.clone(), entry.clone()))
}

/// What is the user's own, with the keys of its mappings in order.
fn sorted(mut node: Node) -> Node {
    match &mut node.value {
        Value::Map(map) => {
            map.sort_unstable_keys();
            for (_, entry) in map {
                let inner = std::mem::replace(&mut entry.node, Node::new(entry.key_span, Value::Null));
                entry.node = sorted(inner);
            }
        }
        Value::List(items) => {
            for item in items {
                let inner = std::mem::replace(item, Node::new(item.span, Value::Null));
                *item = sorted(inner);
            }
        }
        _ => {}
    }
    node
}
