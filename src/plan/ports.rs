//! Ports: which a container exposes and which of its host's it takes.

use std::collections::BTreeMap;

use crate::project::{EmptyObject, PortBinding, Service};

/// `expose` as it is written, and every published target as `80/tcp`. Ranges of `expose` become one entry each.
pub(super) fn exposed(service: &Service) -> BTreeMap<String, EmptyObject> {
    let declared = service.expose.iter().flat_map(|text| {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let is_range = ports.contains('-');
        numbers(ports).map(move |port| if is_range { format!("{port}/{}", protocol.to_ascii_lowercase()) } else { text.clone() })
    });
    let published = service.ports.iter().map(|port| format!("{}/{}", port.target, port.protocol));
    declared.chain(published).map(|key| (key, EmptyObject {})).collect()
}

/// A range of host ports stays one: the engine takes the first that is free on the replica's host.
pub(super) fn bindings(service: &Service) -> BTreeMap<String, Vec<PortBinding>> {
    let mut bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in &service.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone().unwrap_or_default(),
            host_port: port.published.clone().unwrap_or_default(),
        };
        bindings.entry(format!("{}/{}", port.target, port.protocol)).or_default().push(binding);
    }
    bindings
}

/// `80`, or every number of `3000-3005`. What is no port gives nothing; the loader has refused it.
pub(super) fn numbers(text: &str) -> impl Iterator<Item = u16> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    range.into_iter().flat_map(|(first, last)| first..=last)
}
