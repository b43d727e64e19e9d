//! Where a container that mcompose makes differs on purpose from the one of docker compose 2.40.3, seen with `docker inspect` on
//! engines of API 1.41 and 1.51. tests/fleet/same_container.rs compares them; docs/compose-support.md lists this.

pub struct Difference {
    /// What differs, as the comparison names it: the begin of a path.
    pub path: &'static str,
    pub attribute: &'static str,
    pub reason: &'static str,
    /// On engines that know this version of the API.
    pub since: (u32, u32),
}

const fn differs(path: &'static str, attribute: &'static str, reason: &'static str) -> Difference {
    Difference { path, attribute, reason, since: (1, 41) }
}

impl Difference {
    const fn since(self, since: (u32, u32)) -> Self {
        Self { since, ..self }
    }
}

const LINKS: &str = "a link is a network alias of the linked service, which goes on when that one is replaced and crosses hosts; \
    docker compose's legacy link would need the container made again";
const EXPOSE: &str = "docker compose hands a range over unread, which the engine takes for port 0; mcompose exposes each port";
const MAC_ADDRESS: &str = "docker compose loses it where the network is none of the project's and the engine takes one per network; \
    mcompose keeps it";
const VOLUMES_FROM: &str = "docker compose drops `:ro` of another service's volumes; mcompose keeps it";

const GIVEN: &str = "docker compose writes what is no file into each container; mcompose mounts a volume with it, which the replicas of a host \
    share and which goes to other hosts without the machine that it came from";

const NEIGHBOUR: &str = "the id of the container whose namespace or volumes are shared is in the hash, so that it is another for each \
    container, with docker compose, too";

pub const DIFFERENCES: &[Difference] = &[
    differs("net.NetworkSettings.Networks.same_default.Links", "links", LINKS),
    differs("net.NetworkSettings.Networks.same_fixed.Links", "links", LINKS),
    differs("plain.NetworkSettings.Networks.same_default.Aliases", "links", LINKS),
    differs("plain.NetworkSettings.Networks.same_default.DNSNames", "links", LINKS).since((1, 44)),
    differs("bridged.Config.MacAddress", "mac_address", MAC_ADDRESS).since((1, 44)),
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
    differs("given.HostConfig.Mounts", "configs and secrets with `content` or `environment`", GIVEN),
    differs("given.Mounts", "configs and secrets with `content` or `environment`", GIVEN),
];
