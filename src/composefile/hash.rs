//! docker compose's own hashes of services, networks and volumes, the value of `com.docker.compose.config-hash`.

use sha2::{Digest, Sha256};

use super::render::json;
use super::schema::{NETWORK, SERVICE, Type, VOLUME};
use super::{Node, Value};
use crate::project::{ConfigHash, HashPart};

/// What does not change the container: where its image comes from, how many there are, and what they wait for.
const LEFT_OUT: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];

/// Stands around a service's name where an id is to be; nobody writes it.
const MARK: char = '\u{f8ff}';

/// SHA-256 in hexadecimal digits of the service's JSON as Go writes it, as docker compose 2.40.3 prints it: the labels of label files are
/// in it, and the paths of env files where the model kept them.
pub(super) fn of_service(service: &Node) -> String {
    let mut service = service.clone();
    for file in service.items_mut("env_file") {
        // Go writes one that must be there as its path alone.
        if file.get("required").is_none()
            && let Some(path) = file.text_at("path").map(str::to_owned)
        {
            file.value = Value::Text(path);
        }
    }
    digest(&text_of_service(service, None))
}

/// The same as containers carry it: in it are the variables of env files, the paths of label files, and the ids of containers that the
/// service shares something with.
pub(super) fn of_containers(service: &Node, label_files: Option<&Node>) -> ConfigHash {
    let mut service = service.clone();
    let mut has_neighbours = false;
    for key in ["network_mode", "ipc", "pid"] {
        if let Some(neighbour) = service.text_at(key).and_then(|mode| mode.strip_prefix("service:")) {
            let mode = format!("container:{MARK}{neighbour}{MARK}");
            service.set(key, Value::Text(mode));
            has_neighbours = true;
        }
    }
    for item in service.items_mut("volumes_from") {
        let Value::Text(entry) = &mut item.value else { continue };
        // A mode behind it is lost there.
        let mut words = entry.split(':');
        *entry = match (words.next().unwrap_or_default(), words.next()) {
            ("container", Some(name)) => name.to_owned(),
            (neighbour, _) => {
                has_neighbours = true;
                format!("{MARK}{neighbour}{MARK}")
            }
        };
    }
    let text = text_of_service(service, label_files);
    if !has_neighbours {
        return ConfigHash::Known(digest(&text));
    }
    let part = |(index, piece): (usize, &str)| match index % 2 {
        0 => HashPart::Text(piece.to_owned()),
        _ => HashPart::Id(piece.to_owned()),
    };
    ConfigHash::Beside(text.split(MARK).enumerate().map(part).collect())
}

fn text_of_service(mut service: Node, label_files: Option<&Node>) -> String {
    if let Some(map) = service.as_map_mut() {
        LEFT_OUT.iter().for_each(|key| _ = map.shift_remove(*key));
    }
    if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
        deploy.shift_remove("replicas");
    }
    if let Some(files) = label_files {
        service.set("label_file", files.value.clone());
    }
    text_of(&service, &SERVICE)
}

/// The hash of a network.
pub(super) fn of_network(network: &Node) -> String {
    digest(&text_of(network, &NETWORK))
}

/// The hash of a volume, whose driver is `local` where it has none.
pub(super) fn of_volume(volume: &Node) -> String {
    let mut volume = volume.clone();
    if volume.text_at("driver").unwrap_or_default().is_empty() {
        volume.set("driver", Value::Text("local".to_owned()));
    }
    digest(&text_of(&volume, &VOLUME))
}

fn text_of(node: &Node, kind: &'static Type) -> String {
    let mut text = String::new();
    json::compact(node, kind, &mut text);
    text
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
