//! The fingerprint of a service: each attribute that its containers are made from, hashed by itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::compose::Compose;
use super::{contents, mounts, networks};
use crate::project::{Project, Service, ServiceName, SpecHash};

/// Attributes that no container is made from: they say where, when and how many, or are acted on at each run anew.
const NOT_IN_A_CONTAINER: &[&str] = &[
    "attach",
    "build",
    "container_name",
    "depends_on",
    "develop",
    "links",
    "pre_stop",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "scale",
];

/// The hash that a container of this service carries. Names of networks and volumes count as the engine knows them, networks
/// with their driver, so that a project moving from one host to several gets containers on the new networks.
pub(super) fn of(compose: &Compose<'_>, name: &ServiceName, service: &Service) -> SpecHash {
    let document = serde_json::to_value(service).unwrap_or_default();
    let Value::Object(mut attributes) = document else { return SpecHash::default() };
    for key in NOT_IN_A_CONTAINER {
        attributes.remove(*key);
    }
    attributes.insert("image".to_owned(), service.image_name(compose.project, name.as_str()).into());
    attributes.insert("deploy".to_owned(), deploy(service));
    attributes.insert("networks".to_owned(), network_parts(compose, name, service));
    let volumes = service.volumes.iter().filter_map(|mount| mount.source.as_deref().filter(|_| mount.kind == "volume"));
    let names: BTreeMap<&str, &str> = volumes.map(|key| (key, mounts::volume_name(compose.project, key))).collect();
    if names.iter().any(|(key, name)| key != name) {
        let declared = attributes.remove("volumes").unwrap_or_default();
        attributes.insert("volumes".to_owned(), json!([declared, names]));
    }
    for (attribute, digests) in digests(compose.project, service) {
        let declared = attributes.remove(attribute).unwrap_or_default();
        attributes.insert(attribute.to_owned(), json!([declared, digests]));
    }
    SpecHash::of(&attributes.into_iter().collect())
}

/// What the service's files are, by the attribute that names them: a change of content is a change of the service.
fn digests<'a>(project: &'a Project, service: &'a Service) -> BTreeMap<&'static str, Vec<&'a str>> {
    let mut found: BTreeMap<&'static str, Vec<&'a str>> = BTreeMap::new();
    for needed in contents::of_service(project, service) {
        found.entry(needed.attribute).or_default().push(needed.content.digest.as_str());
    }
    found
}

/// Of `deploy`, resources and the restart policy reach the container, and whether it is a job.
fn deploy(service: &Service) -> Value {
    let Some(deploy) = &service.deploy else { return Value::Null };
    let mut parts = serde_json::Map::new();
    if deploy.resources != Default::default() {
        parts.insert("resources".to_owned(), json!(deploy.resources));
    }
    if deploy.restart_policy.is_some() {
        parts.insert("restart_policy".to_owned(), json!(deploy.restart_policy));
    }
    if deploy.mode.is_job() {
        parts.insert("job".to_owned(), true.into());
    }
    Value::Object(parts)
}

fn network_parts(compose: &Compose<'_>, name: &ServiceName, service: &Service) -> Value {
    if service.network_mode.is_some() {
        return Value::Null;
    }
    let endpoints = networks::endpoints(compose, name, service);
    endpoints.iter().map(|(network, endpoint)| json!([network, networks::driver_of(compose, network), endpoint])).collect()
}
