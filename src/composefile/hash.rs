//! docker compose's own hashes of services, networks and volumes, the value of `com.docker.compose.config-hash`.

use sha2::{Digest, Sha256};

use super::render::json;
use super::schema::{NETWORK, SERVICE, Type, VOLUME};
use super::{Node, Value};

/// What does not change the container: where its image comes from, how many there are, and what they wait for.
const LEFT_OUT: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];

/// SHA-256 in hexadecimal digits of the service's JSON as Go writes it, as docker compose 2.40.3 does when it makes a container:
/// the variables of env files and the labels of label files are in it, and the paths of label files, which the service has no
/// more.
pub(super) fn of_service(service: &Node, label_files: Option<&Node>) -> String {
    let mut service = service.clone();
    if let Some(map) = service.as_map_mut() {
        LEFT_OUT.iter().for_each(|key| _ = map.shift_remove(*key));
    }
    if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
        deploy.shift_remove("replicas");
    }
    if let Some(files) = label_files {
        service.set("label_file", files.value.clone());
    }
    of(&service, &SERVICE)
}

/// The hash of a network.
pub(super) fn of_network(network: &Node) -> String {
    of(network, &NETWORK)
}

/// The hash of a volume, whose driver is `local` where it has none.
pub(super) fn of_volume(volume: &Node) -> String {
    let mut volume = volume.clone();
    if volume.text_at("driver").unwrap_or_default().is_empty() {
        volume.set("driver", Value::Text("local".to_owned()));
    }
    of(&volume, &VOLUME)
}

fn of(node: &Node, kind: &'static Type) -> String {
    let mut text = String::new();
    json::compact(node, kind, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
