//! What of a service only newer engines know. The versions are those of the Engine API in which it came (docs.docker.com, version history).

use super::service::{Mount, Service};

/// An attribute of a service, below `services.NAME`, and the Engine API version that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Newer {
    pub attribute: &'static str,
    pub since: (u32, u32),
}

const fn newer(attribute: &'static str, since: (u32, u32)) -> Newer {
    Newer { attribute, since }
}

pub const ANNOTATIONS: Newer = newer("annotations", (1, 43));
pub const START_INTERVAL: Newer = newer("healthcheck.start_interval", (1, 44));
pub const MAC_ADDRESS: Newer = newer("networks.*.mac_address", (1, 44));
pub const GATEWAY_PRIORITY: Newer = newer("networks.*.gw_priority", (1, 48));
pub const INTERFACE_NAME: Newer = newer("networks.*.interface_name", (1, 49));
pub const RECURSIVE: Newer = newer("volumes[].bind.recursive", (1, 44));
pub const SUBPATH: Newer = newer("volumes[].volume.subpath", (1, 45));
pub const IMAGE_MOUNT: Newer = newer("volumes[].image", (1, 48));

/// All of them.
pub const NEWER: &[Newer] =
    &[ANNOTATIONS, START_INTERVAL, MAC_ADDRESS, GATEWAY_PRIORITY, INTERFACE_NAME, RECURSIVE, SUBPATH, IMAGE_MOUNT];

impl Service {
    /// What the service's hosts must know: an older engine refuses it, or leaves it out in silence, and the container would be
    /// another one without it.
    pub fn must_be_known(&self) -> impl Iterator<Item = Newer> {
        let any = |is_so: fn(&Mount) -> bool| self.volumes.iter().any(is_so);
        let asks_for_depth = any(|mount| {
            let recursive = mount.bind.as_ref().and_then(|bind| bind.recursive.as_deref());
            matches!(recursive, Some("writable" | "readonly"))
        });
        let has_subpath = any(|mount| mount.volume.as_ref().is_some_and(|volume| volume.subpath.is_some()));
        let names_interface = self.networks.values().flatten().any(|attachment| attachment.interface_name.is_some());
        let all = [
            (RECURSIVE, asks_for_depth),
            (SUBPATH, has_subpath),
            (IMAGE_MOUNT, any(|mount| mount.kind == "image")),
            (INTERFACE_NAME, names_interface),
        ];
        all.into_iter().filter(|(_, is_set)| *is_set).map(|(newer, _)| newer)
    }

    /// What an older engine leaves out without much harm, with what happens there.
    pub fn better_known(&self) -> impl Iterator<Item = (Newer, &'static str)> {
        let starts = self.healthcheck.as_ref().is_some_and(|check| check.start_interval.is_some());
        let prefers = self.networks.values().flatten().any(|attachment| attachment.gw_priority != 0);
        let addresses = self.networks.values().flatten().any(|attachment| attachment.mac_address.is_some());
        let all = [
            (ANNOTATIONS, !self.annotations.is_empty(), "the container has none"),
            (START_INTERVAL, starts, "`interval` counts from the start"),
            (MAC_ADDRESS, addresses && self.networks.len() > 1, "it takes the address on the first network alone"),
            (GATEWAY_PRIORITY, prefers, "the engine chooses the gateway"),
        ];
        all.into_iter().filter(|(_, is_set, _)| *is_set).map(|(newer, _, instead)| (newer, instead))
    }
}
