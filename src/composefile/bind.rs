//! The final form of a document to the typed Project.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{Diagnostic, Map, Node, Span, Value};
use crate::project::{Project, ServiceName};

/// What of a Project is not in the document.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings<'a> {
    pub working_dir: &'a str,
    pub config_files: &'a [String],
    pub environment_files: &'a [String],
    /// Services that are left out.
    pub disabled: Option<&'a Map>,
    /// Secrets that images of those are built with, and nothing else is given.
    pub base_secrets: Option<&'a Map>,
    /// The label files of services.
    pub label_files: Option<&'a Map>,
    pub compatibility: bool,
    /// `DOCKER_DEFAULT_PLATFORM`: that of services which name none.
    pub default_platform: Option<&'a str>,
}

/// Returns the Project, or every place that does not fit its types.
pub(super) fn bind(document: &Node, surroundings: &Surroundings<'_>) -> Result<Project, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let name = read(document.get("name").unwrap_or(document), "name", &mut faults);
    let Some(name) = name else { return Err(faults) };
    let mut project = Project {
        config_files: surroundings.config_files.to_vec(),
        environment_files: surroundings.environment_files.to_vec(),
        networks: section(document, "networks", &mut faults),
        volumes: section(document, "volumes", &mut faults),
        configs: section(document, "configs", &mut faults),
        secrets: section(document, "secrets", &mut faults),
        compatibility: surroundings.compatibility,
        ..Project::bare(name, surroundings.working_dir.to_owned())
    };
    project.services = section(document, "services", &mut faults);
    let nowhere = project.services.values_mut().filter(|service| service.platform.is_none());
    nowhere.for_each(|service| service.platform = surroundings.default_platform.map(str::to_owned));
    for name in surroundings.disabled.into_iter().flat_map(Map::keys) {
        project.disabled_services.extend(ServiceName::new(name.as_str()).ok());
    }
    for (name, service) in surroundings.disabled.into_iter().flat_map(|disabled| super::profiles::bases(document, disabled)) {
        let service = read(service, &format!("services.{name}"), &mut faults);
        project.bases.extend(ServiceName::new(name).ok().zip(service));
    }
    for (name, entry) in surroundings.base_secrets.into_iter().flatten() {
        let secret = read(&entry.node, &format!("secrets.{name}"), &mut faults);
        project.secrets.extend(secret.map(|secret| (name.clone(), secret)));
    }
    for (name, service) in document.entries("services") {
        faults.extend(nameless(name, service));
        let label_files = surroundings.label_files.and_then(|files| files.get(name)).map(|entry| &entry.node);
        if let Ok(name) = ServiceName::new(name) {
            project.config_hashes.insert(name, super::hash::of_containers(service, label_files));
        }
    }
    for (name, network) in &mut project.networks {
        let node = document.get("networks").and_then(|networks| networks.get(name.as_str()));
        network.config_hash = node.map(super::hash::of_network);
    }
    for (name, volume) in &mut project.volumes {
        let node = document.get("volumes").and_then(|volumes| volumes.get(name.as_str()));
        volume.config_hash = node.map(super::hash::of_volume);
    }
    if faults.is_empty() { Ok(project) } else { Err(faults) }
}

/// A line `=VALUE` of a list or an env file: docker compose passes such a variable on, and the engine takes no container with it.
fn nameless(name: &str, service: &Node) -> Option<Diagnostic> {
    let variables = service.get("environment").and_then(Node::as_map)?;
    let place = variables.get("")?.key_span;
    let message = format!("services.{name}.environment: a variable has no name");
    Some(Diagnostic::error(place, message).hinted("write NAME=VALUE; the line begins with the `=`"))
}

/// One value that stands by itself, or why it is not what it should be.
pub(super) fn value<T: for<'de> Deserialize<'de>>(node: &Node) -> Result<T, String> {
    T::deserialize(Reader { node }).map_err(|mismatch| mismatch.to_string())
}

/// The entries of a top-level element. `x-*` attributes, which have no type, are passed over below.
fn section<K, V>(document: &Node, key: &str, faults: &mut Vec<Diagnostic>) -> BTreeMap<K, V>
where
    K: TryFrom<String, Error: fmt::Display> + Ord,
    V: for<'de> Deserialize<'de>,
{
    let mut out = BTreeMap::new();
    for (name, node) in document.entries(key) {
        let path = format!("{key}.{name}");
        match K::try_from(name.to_owned()) {
            Ok(name) => out.extend(read(node, &path, faults).map(|value| (name, value))),
            Err(invalid) => faults.push(Diagnostic::error(node.span, format!("{path}: {invalid}"))),
        }
    }
    out
}

fn read<T: for<'de> Deserialize<'de>>(node: &Node, path: &str, faults: &mut Vec<Diagnostic>) -> Option<T> {
    match T::deserialize(Reader { node }) {
        Ok(value) => Some(value),
        Err(mismatch) => {
            let path = mismatch.keys.iter().rev().fold(path.to_owned(), |path, key| format!("{path}.{key}"));
            faults.push(Diagnostic::error(mismatch.span.unwrap_or(node.span), format!("{path}: {}", mismatch.message)));
            None
        }
    }
}

/// A value that does not fit its type: where, innermost key first.
#[derive(Debug)]
struct Mismatch {
    message: String,
    keys: Vec<String>,
    span: Option<Span>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mismatch {}

impl serde::de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), keys: Vec::new(), span: None }
    }
}

/// Serde's door into a node.
#[derive(Clone, Copy)]
struct Reader<'n> {
    node: &'n Node,
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(*flag),
            Value::Int(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(text) | Value::Timestamp(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(|node| Reader { node }))),
            Value::Map(map) => visitor.visit_map(Entries { entries: map.iter(), value: None, are_attributes: false }),
        }
        .map_err(|mismatch| Mismatch { span: mismatch.span.or(Some(self.node.span)), ..mismatch })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        let text = self.node.as_str().unwrap_or_default();
        let variant: StrDeserializer<'_, Mismatch> = text.into_deserializer();
        visitor.visit_enum(variant).map_err(|mismatch| Mismatch { span: Some(self.node.span), ..mismatch })
    }

    /// What has attributes may have `x-*` beside them; in labels, variables and other maps those are keys as any.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match &self.node.value {
            Value::Map(map) => visitor
                .visit_map(Entries { entries: map.iter(), value: None, are_attributes: true })
                .map_err(|mismatch| Mismatch { span: mismatch.span.or(Some(self.node.span)), ..mismatch }),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Mismatch> for Reader<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// The entries of a mapping, of attributes without `x-*`; keeps the keys for the message.
struct Entries<'n> {
    entries: indexmap::map::Iter<'n, String, super::Entry>,
    value: Option<(&'n str, &'n Node)>,
    are_attributes: bool,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let is_meant = |key: &str| !self.are_attributes || !key.starts_with("x-");
        let Some((key, entry)) = self.entries.find(|(key, _)| is_meant(key)) else { return Ok(None) };
        self.value = Some((key, &entry.node));
        let key: StrDeserializer<'_, Mismatch> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let (key, node) = self.value.take().ok_or_else(|| serde::de::Error::custom("a value without its key"))?;
        seed.deserialize(Reader { node }).map_err(|mut mismatch| {
            mismatch.keys.push(key.to_owned());
            mismatch
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::composefile::{SourceId, yaml};
    use crate::project::Service;

    #[test]
    fn extensions_are_passed_over_where_attributes_are_and_nowhere_else() {
        let text = "
x-note: 1
image: app
labels: {x-owner: team}
environment: {x-mode: fast}
depends_on: {x-db: {condition: service_started, x-note: 1}}
";
        let node = yaml::parse(text, SourceId(0), &mut 1000).expect("it is YAML").remove(0);
        let service: Service = super::value(&node).expect("it is a service");
        assert_eq!(service.labels.keys().collect::<Vec<_>>(), ["x-owner"]);
        assert_eq!(service.environment.keys().collect::<Vec<_>>(), ["x-mode"]);
        assert_eq!(service.depends_on.keys().map(ToString::to_string).collect::<Vec<_>>(), ["x-db"]);
    }
}
