//! Changes to `hosts.toml` that keep its comments, order and layout. Text in, text out.

use std::collections::BTreeMap;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value, value};

use crate::project::nearest;
use crate::project::{Availability, HostName, Role};

/// A host to be added, as it will stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHost {
    pub name: HostName,
    /// The URL.
    pub address: String,
    pub role: Option<Role>,
    pub labels: BTreeMap<String, String>,
    pub advertise: Option<String>,
    pub identity: Option<String>,
    pub jump: Vec<String>,
}

/// `k=v` or `k-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelChange {
    Set { key: String, value: String },
    Unset { key: String },
}

impl LabelChange {
    /// Reads `KEY=VALUE` (an empty value is one too) or `KEY-`.
    pub fn parse(text: &str) -> Result<Self, EditError> {
        let change = match text.split_once('=') {
            Some((key, value)) => Self::Set { key: key.to_owned(), value: value.to_owned() },
            None => Self::Unset { key: text.strip_suffix('-').unwrap_or_default().to_owned() },
        };
        let (Self::Set { key, .. } | Self::Unset { key }) = &change;
        if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(EditError::NotALabel { text: text.to_owned() });
        }
        Ok(change)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("the inventory is not TOML: {message}")]
    NotToml { message: String },
    #[error("there is no host `{name}` in the inventory{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    NoSuchHost { name: String, near: Option<String> },
    #[error("there is a host `{name}` in the inventory already")]
    HostExists { name: String },
    #[error("`{what}` in the inventory is no table")]
    NotATable { what: String },
    #[error("`{text}` is no label: it is KEY=VALUE, or KEY- to take it away")]
    NotALabel { text: String },
}

/// Adds a host after the others; the file may be empty.
pub fn add(text: &str, host: &NewHost) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let hosts = document.entry("hosts").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let inline = hosts.is_inline_table();
    let hosts = hosts.as_table_like_mut().ok_or_else(|| EditError::NotATable { what: "hosts".to_owned() })?;
    if hosts.contains_key(host.name.as_str()) {
        return Err(EditError::HostExists { name: host.name.to_string() });
    }
    let fields = fields_of(host);
    let item = if inline {
        value(fields.into_iter().collect::<InlineTable>())
    } else {
        let mut table: Table = fields.into_iter().map(|(key, value)| (key, Item::Value(value))).collect();
        table.decor_mut().set_prefix(if text.trim().is_empty() { "" } else { "\n" });
        Item::Table(table)
    };
    hosts.insert(host.name.as_str(), item);
    Ok(document.to_string())
}

fn fields_of(host: &NewHost) -> Vec<(&'static str, Value)> {
    let mut fields: Vec<(&'static str, Value)> = vec![("address", host.address.as_str().into())];
    fields.extend(host.role.map(|role| ("role", role.to_string().into())));
    fields.extend(host.advertise.as_deref().map(|advertise| ("advertise", advertise.into())));
    fields.extend(host.identity.as_deref().map(|identity| ("identity", identity.into())));
    match host.jump.as_slice() {
        [] => {}
        [one] => fields.push(("jump", one.as_str().into())),
        many => fields.push(("jump", many.iter().map(String::as_str).collect::<Array>().into())),
    }
    if !host.labels.is_empty() {
        let labels: InlineTable = host.labels.iter().map(|(key, value)| (key.as_str(), Value::from(value.as_str()))).collect();
        fields.push(("labels", labels.into()));
    }
    fields
}

/// Takes a host away, with the comment that stands right above it.
pub fn remove(text: &str, name: &str) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let hosts = hosts_of(&mut document)?;
    let kept = match hosts.get(name) {
        Some(Item::Table(table)) => detached_comment(table),
        Some(_) => String::new(),
        None => return Err(no_such_host(hosts, name)),
    };
    let position = hosts.get(name).and_then(Item::as_table).and_then(Table::position);
    hosts.remove(name);
    if !kept.is_empty() {
        put_before_next(&mut document, position, &kept);
    }
    Ok(document.to_string())
}

/// The part of the text above a header that an empty line separates from it: it belongs to the file, not to the table.
fn detached_comment(table: &Table) -> String {
    let prefix = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let end = prefix.rfind("\n\n").map_or(0, |at| at + 1);
    let kept = &prefix[..end];
    if kept.trim().is_empty() { String::new() } else { kept.to_owned() }
}

fn put_before_next(document: &mut DocumentMut, position: Option<isize>, text: &str) {
    let mut tables: Vec<&mut Table> = Vec::new();
    collect_tables(document.as_table_mut(), &mut tables);
    let next = tables.into_iter().filter(|table| table.position() > position).min_by_key(|table| table.position());
    match next {
        Some(table) => {
            let old = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
            let new = format!("{text}{}{old}", if old.starts_with('\n') { "" } else { "\n" });
            table.decor_mut().set_prefix(new);
        }
        None => {
            let old = document.trailing().as_str().unwrap_or_default().to_owned();
            document.set_trailing(format!("{text}{old}"));
        }
    }
}

fn collect_tables<'a>(table: &'a mut Table, into: &mut Vec<&'a mut Table>) {
    for (_, item) in table.iter_mut() {
        if let Item::Table(inner) = item {
            if inner.is_implicit() {
                collect_tables(inner, into);
            } else {
                into.push(inner);
            }
        }
    }
}

/// `active` is written only where an availability stands already.
pub fn set_availability(text: &str, name: &str, availability: Availability) -> Result<String, EditError> {
    edit_host(text, name, |host| {
        if host.contains_key("availability") || availability != Availability::Active {
            set(host, "availability", availability.to_string().into());
        }
        Ok(())
    })
}

/// Nothing: the choice is left to mcompose.
pub fn set_role(text: &str, name: &str, role: Option<Role>) -> Result<String, EditError> {
    edit_host(text, name, |host| {
        match role {
            Some(role) => set(host, "role", role.to_string().into()),
            None => drop(host.remove("role")),
        }
        Ok(())
    })
}

/// Sets and unsets labels in turn. A label that `[defaults]` gives cannot be unset here.
pub fn label(text: &str, name: &str, changes: &[LabelChange]) -> Result<String, EditError> {
    edit_host(text, name, |host| {
        if !host.contains_key("labels") {
            host.insert("labels", value(InlineTable::new()));
        }
        let item = host.get_mut("labels").and_then(Item::as_table_like_mut);
        let labels = item.ok_or_else(|| EditError::NotATable { what: format!("hosts.{name}.labels") })?;
        for change in changes {
            match change {
                LabelChange::Set { key, value } => set(labels, key, value.as_str().into()),
                LabelChange::Unset { key } => drop(labels.remove(key)),
            }
        }
        if labels.is_empty() {
            host.remove("labels");
        } else if let Some(Item::Value(Value::InlineTable(labels))) = host.get_mut("labels") {
            // The space before the closing brace belongs to the last entry, which may be gone.
            labels.fmt();
        }
        Ok(())
    })
}

fn edit_host(
    text: &str,
    name: &str,
    change: impl FnOnce(&mut dyn TableLike) -> Result<(), EditError>,
) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let hosts = hosts_of(&mut document)?;
    if !hosts.contains_key(name) {
        return Err(no_such_host(hosts, name));
    }
    let host = hosts.get_mut(name).and_then(Item::as_table_like_mut);
    change(host.ok_or_else(|| EditError::NotATable { what: format!("hosts.{name}") })?)?;
    Ok(document.to_string())
}

/// Puts a value in the place of the old one, whose comment stays.
fn set(table: &mut dyn TableLike, key: &str, mut new: Value) {
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    match table.get_mut(key) {
        Some(item) => *item = Item::Value(new),
        None => drop(table.insert(key, Item::Value(new))),
    }
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|error: toml_edit::TomlError| EditError::NotToml { message: error.message().to_owned() })
}

fn hosts_of(document: &mut DocumentMut) -> Result<&mut dyn TableLike, EditError> {
    let hosts = document.entry("hosts").or_insert_with(|| Item::Table(Table::new()));
    hosts.as_table_like_mut().ok_or_else(|| EditError::NotATable { what: "hosts".to_owned() })
}

fn no_such_host(hosts: &dyn TableLike, name: &str) -> EditError {
    let near = nearest(name, hosts.iter().map(|(known, _)| known)).map(str::to_owned);
    EditError::NoSuchHost { name: name.to_owned(), near }
}
