//! What the engines remember and tell of a project's containers, in one order of time: for `events` and `why`.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::session::Session;
use crate::engine::ContainerEvent;
use crate::project::{HostName, moment};
use crate::world::{Labels, World};

/// Something that happened to a container of a project, on a host, by this machine's clock.
pub struct Happening {
    pub host: HostName,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    pub event: ContainerEvent,
    pub labels: Labels,
}

impl Happening {
    pub fn new(host: &HostName, event: ContainerEvent, skew_ms: i64) -> Self {
        let labels = Labels::decode(event.labels.clone());
        Self { host: host.clone(), time_ns: event.time_ns.saturating_sub(skew_ms.saturating_mul(1_000_000)), event, labels }
    }

    /// As docker compose's `events` prints it, with the host in front of the other attributes. The time is UTC.
    pub fn line(&self) -> String {
        let attributes: Vec<String> = self.attributes().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        let (time, event) = (moment::utc_text(self.time_ns), &self.event);
        format!("{time} container {} {} (host={}, {})", event.action, event.id, self.host, attributes.join(", "))
    }

    /// As docker compose's `events --json` has it, with the host.
    pub fn document(&self) -> Value {
        json!({
            "time": format!("{}Z", moment::utc_text(self.time_ns).replacen(' ', "T", 1)),
            "type": "container",
            "action": self.event.action,
            "id": self.event.id,
            "service": self.labels.service.as_deref().unwrap_or_default(),
            "host": self.host.as_str(),
            "attributes": self.attributes(),
        })
    }

    /// Name, image, exit code, and the labels that are nobody's but the user's.
    fn attributes(&self) -> BTreeMap<&str, String> {
        let own = self
            .labels
            .rest
            .iter()
            .filter(|(key, _)| !key.starts_with("com.docker.compose.") && !key.starts_with("io.mcompose."));
        let mut attributes: BTreeMap<&str, String> = own.map(|(key, value)| (key.as_str(), value.clone())).collect();
        attributes.insert("name", self.event.name.clone());
        attributes.insert("image", self.event.image.clone());
        if let Some(code) = self.event.exit_code {
            attributes.insert("exitCode", code.to_string());
        }
        attributes
    }
}

/// How much a host's clock is ahead of this machine's.
pub fn skew_ms(world: &World, host: &HostName) -> i64 {
    world.seen(host.as_str()).map_or(0, |seen| seen.engine.clock_skew_ms)
}

/// A moment of this machine's clock by a host's. `moment`: as the API takes it, or empty.
pub fn by_clock_of(world: &World, host: &HostName, moment: &str) -> String {
    let secs: Option<f64> = moment.parse().ok();
    secs.map_or(moment.to_owned(), |secs| format!("{:.9}", (secs + skew_ms(world, host) as f64 / 1000.0).max(0.0)))
}

/// What the hosts that answer remember from `since` to `until` (by this machine's clock), in order of time.
pub async fn remembered(
    session: &Session,
    world: &World,
    (since, until): (&str, &str),
    wanted: &(dyn Fn(&Labels) -> bool + Sync),
) -> Vec<Happening> {
    let of_hosts = join_all(world.seen_hosts().map(|(host, _)| async move {
        let Some(engine) = session.engines.get(host) else { return Vec::new() };
        let (since, until) = (by_clock_of(world, host, since), by_clock_of(world, host, until));
        match engine.events(&since, &until).await {
            Ok(events) => {
                let skew_ms = skew_ms(world, host);
                let read = events.filter_map(|event| async move { Some(Happening::new(host, event.ok()?, skew_ms)) });
                read.collect::<Vec<_>>().await
            }
            Err(error) => {
                session.ui.warning(&format!("what happened on host `{host}` is not shown: {}", error.message));
                Vec::new()
            }
        }
    }));
    let mut found: Vec<Happening> = of_hosts.await.into_iter().flatten().filter(|one| wanted(&one.labels)).collect();
    found.sort_by_key(|one| one.time_ns);
    found
}
