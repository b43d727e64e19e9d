//! What a fake host shows when it is looked at.

use std::collections::BTreeMap;

use super::state::{Cluster, FakeContainer, FakeHostState};
use super::swarm::FakeSwarm;
use super::time::rfc3339;
use crate::engine::{ErrorKind, Inspected};
use crate::project::{ContainerId, HostName};
use crate::world::{Container, Health, Labels, Question, Restarts, SeenHost, State, Swarm, SwarmMember};

use super::state::Fail;

impl Cluster {
    /// Everything; images only those asked about, or all without a question.
    pub(super) fn seen(&self, host: &FakeHostState, question: Option<&Question>) -> SeenHost {
        let name = self.hosts.iter().find(|(_, other)| std::ptr::eq(*other, host)).map(|(name, _)| name);
        let asked = |image: &String| question.is_none_or(|question| question.images.contains(image));
        SeenHost {
            engine: host.info.clone(),
            swarm: self.membership(host),
            containers: self.containers(host),
            networks: name.map(|name| self.visible_networks(name)).unwrap_or_default(),
            volumes: host.volumes.values().map(|volume| volume.seen.clone()).collect(),
            images: host
                .images
                .iter()
                .filter(|(image, _)| asked(image))
                .map(|(image, seen)| (image.clone(), seen.clone()))
                .collect(),
        }
    }

    pub(super) fn containers(&self, host: &FakeHostState) -> Vec<Container> {
        let mut containers: Vec<Container> =
            host.containers.values().filter_map(|container| listed(container, self.now_ms)).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        containers
    }

    fn membership(&self, host: &FakeHostState) -> Swarm {
        let Some((swarm_id, node_id)) = &host.member else { return Swarm::Inactive };
        let Some(swarm) = self.swarms.get(swarm_id) else { return Swarm::Inactive };
        let Some(node) = swarm.nodes.get(node_id) else {
            return Swarm::Pending { state: "error".to_owned(), error: "the node was removed from the swarm".to_owned() };
        };
        let managers = FakeSwarm::managers(swarm);
        Swarm::Active(SwarmMember {
            cluster_id: if node.is_manager { swarm_id.clone() } else { String::new() },
            node_id: node_id.clone(),
            node_addr: node.addr.clone(),
            is_manager: node.is_manager,
            managers,
            control_available: node.is_manager && self.has_leader(swarm_id) && host.reach == super::Reach::Up,
            error: String::new(),
        })
    }

    pub(super) fn inspect(&mut self, host: &HostName, container: &str) -> Result<Inspected, Fail> {
        let found = self.host_mut(host)?.container(container)?;
        let time = |ms: Option<u64>| ms.map(rfc3339).unwrap_or_default();
        let raw = serde_json::to_value(&found.spec).map_err(|error| Fail::new(ErrorKind::Failed, error.to_string()))?;
        let networks: BTreeMap<String, _> =
            found.networks.iter().map(|(name, joined)| (name.clone(), joined.endpoint.clone())).collect();
        let raw = serde_json::json!({
            "Id": found.id,
            "Name": format!("/{}", found.name),
            "Config": raw,
            "HostConfig": found.spec.host_config,
            "NetworkSettings": { "Networks": networks },
        });
        Ok(Inspected {
            id: found.id.clone(),
            name: found.name.clone(),
            state: found.state.clone(),
            health: found.health,
            has_healthcheck: found.has_healthcheck,
            exit_code: found.exit_code,
            error: found.error.clone(),
            oom_killed: false,
            restart_count: found.restart_count,
            tty: found.spec.tty,
            started_at: time(found.started_ms),
            finished_at: time(found.finished_ms),
            networks,
            health_log: Vec::new(),
            raw,
        })
    }
}

impl FakeSwarm {
    fn managers(&self) -> BTreeMap<String, String> {
        let managers = self.nodes.iter().filter(|(_, node)| node.is_manager);
        managers.map(|(id, node)| (id.clone(), format!("{}:2377", node.addr))).collect()
    }
}

/// One line of the list. Nothing only for an id that is none, which the fake never gives.
fn listed(container: &FakeContainer, now_ms: u64) -> Option<Container> {
    let mode = container.spec.host_config.network_mode.clone().unwrap_or_else(|| "default".to_owned());
    let mut listed = Container {
        id: ContainerId::new(container.id.clone()).ok()?,
        name: container.name.clone(),
        image: container.spec.image.clone(),
        image_id: container.image_id.clone(),
        state: container.state.clone(),
        health: container.health,
        created: i64::try_from(container.created_ms / 1000).unwrap_or(i64::MAX),
        labels: Labels::decode(container.spec.labels.clone()),
        ports: container.ports.clone(),
        mounts: container.mounts.clone(),
        networks: container.networks.iter().map(|(name, joined)| (name.clone(), joined.addr.clone())).collect(),
        network_ids: container
            .networks
            .iter()
            .filter(|(_, joined)| !joined.network_id.is_empty())
            .map(|(name, joined)| (name.clone(), joined.network_id.clone()))
            .collect(),
        network_mode: mode,
        command: container.spec.cmd.clone().unwrap_or_default().join(" "),
        status: status(container, now_ms),
        restarts: None,
    };
    listed.restarts = listed.may_have_restarted().then(|| Restarts {
        count: u32::try_from(container.restart_count).unwrap_or_default(),
        lived_ms: container.finished_ms.unwrap_or_default().saturating_sub(container.started_ms.unwrap_or_default()),
    });
    Some(listed)
}

fn status(container: &FakeContainer, now_ms: u64) -> String {
    let since = |ms: Option<u64>| now_ms.saturating_sub(ms.unwrap_or(now_ms)) / 1000;
    match &container.state {
        State::Created => "Created".to_owned(),
        State::Running => {
            let health = match container.health {
                Health::None => "",
                Health::Starting => " (health: starting)",
                Health::Healthy => " (healthy)",
                Health::Unhealthy => " (unhealthy)",
            };
            format!("Up {} seconds{health}", since(container.started_ms))
        }
        State::Paused => format!("Up {} seconds (Paused)", since(container.started_ms)),
        State::Exited { .. } => format!("Exited ({}) {} seconds ago", container.exit_code, since(container.finished_ms)),
        State::Restarting => format!("Restarting ({}) {} seconds ago", container.exit_code, since(container.finished_ms)),
        other => other.to_string(),
    }
}
