//! docker compose's own hash of a service, the value of `com.docker.compose.config-hash`.

use sha2::{Digest, Sha256};

use super::Node;
use super::render::json;
use super::schema::SERVICE;

/// What does not change the container: where its image comes from, how many there are, and what they wait for.
const LEFT_OUT: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];

/// SHA-256 in hexadecimal digits of the service's JSON as Go writes it (docker compose 2.40.3).
pub(super) fn of_service(service: &Node) -> String {
    let mut service = service.clone();
    if let Some(map) = service.as_map_mut() {
        LEFT_OUT.iter().for_each(|key| _ = map.shift_remove(*key));
    }
    if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
        deploy.shift_remove("replicas");
    }
    let mut text = String::new();
    json::compact(&service, &SERVICE, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
