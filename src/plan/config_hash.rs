//! docker compose's hash of a service with the ids of its neighbours' containers in it.

use sha2::{Digest, Sha256};

use super::compose::Compose;
use crate::project::{ConfigHash, HashPart, HostName, ServiceName};

/// The hash that docker compose has of slot `number` on `host`, with the neighbours that were seen there.
pub(super) fn of_slot(compose: &Compose<'_>, name: &ServiceName, number: u32, host: &HostName) -> Option<String> {
    let id = |service: &str| {
        let neighbour = compose.neighbour_name(service, number, host)?;
        let containers = compose.seen(host)?.containers.iter();
        containers.filter(|container| container.name == neighbour).map(|container| container.id.as_str()).next()
    };
    match compose.project.config_hashes.get(name)? {
        ConfigHash::Known(hash) => Some(hash.clone()),
        ConfigHash::Beside(parts) => of_parts(parts, &id),
    }
}

/// The hash of the text that the parts make; nothing where an id is not known.
pub(super) fn of_parts<'i>(parts: &[HashPart], id: &dyn Fn(&str) -> Option<&'i str>) -> Option<String> {
    let mut hasher = Sha256::new();
    for part in parts {
        match part {
            HashPart::Text(text) => hasher.update(text.as_bytes()),
            HashPart::Id(service) => hasher.update(id(service)?.as_bytes()),
        }
    }
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
