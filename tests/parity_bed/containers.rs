//! Where a container that mcompose makes differs on purpose from the one of docker compose 2.40.3, seen with `docker inspect` on
//! an engine of API 1.41. tests/fleet/same_container.rs compares them; docs/compose-support.md lists this.

pub struct Difference {
    /// What differs, as the comparison names it: the begin of a path.
    pub path: &'static str,
    pub attribute: &'static str,
    pub reason: &'static str,
}

const fn differs(path: &'static str, attribute: &'static str, reason: &'static str) -> Difference {
    Difference { path, attribute, reason }
}

const LINKS: &str = "a link is a network alias of the linked service, which goes on when that one is replaced and crosses hosts; \
    docker compose's legacy link would need the container made again";
const EXPOSE: &str = "docker compose hands a range over unread, which the engine takes for port 0; mcompose exposes each port";
const VOLUMES_FROM: &str = "docker compose drops `:ro` of another service's volumes; mcompose keeps it";

const NEIGHBOUR: &str = "the id of the container whose namespace or volumes are shared is in the hash, so that it is another for each \
    container, with docker compose, too";

pub const DIFFERENCES: &[Difference] = &[
    differs("net.NetworkSettings.Networks.same_default.Links", "links", LINKS),
    differs("net.NetworkSettings.Networks.same_fixed.Links", "links", LINKS),
    differs("plain.NetworkSettings.Networks.same_default.Aliases", "links", LINKS),
    differs("words.Config.ExposedPorts.7100", "expose", EXPOSE),
    differs("words.Config.ExposedPorts.7101", "expose", EXPOSE),
    differs("words.Config.ExposedPorts.7102", "expose", EXPOSE),
    differs("words.NetworkSettings.Ports.0/udp", "expose", EXPOSE),
    differs("words.NetworkSettings.Ports.710", "expose", EXPOSE),
    differs(
        "beside.Config.Labels.com.docker.compose.config-hash",
        "network_mode, ipc, pid, volumes_from of a service",
        NEIGHBOUR,
    ),
    differs("beside.HostConfig.VolumesFrom", "volumes_from", VOLUMES_FROM),
    differs("beside.Mounts", "volumes_from", VOLUMES_FROM),
];
