//! The cluster's own clock and what happens by itself as it moves.

use std::time::Duration;

use super::state::{Cluster, Fail, FakeContainer, FakeHostState, Reach};
use crate::project::{HostName, moment};
use crate::world::{Health, State};

/// What happens to a container without anybody calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Health(Health),
    Exit(i64),
    /// The engine starts it again by its restart policy.
    Restart,
}

/// How long an engine waits before the first restart; it doubles up to a minute, and begins anew after a life of ten seconds.
const RESTART_DELAY_MS: u64 = 100;
const RESTART_DELAY_MS_MAX: u64 = 60_000;
const SETTLED_MS: u64 = 10_000;

impl Cluster {
    /// Moves the clock, carrying out what falls due, in order of time, host and container.
    pub(super) fn advance(&mut self, by_ms: u64) {
        let until_ms = self.now_ms.saturating_add(by_ms);
        let next = |cluster: &Self| [cluster.next_due_ms(), cluster.next_arrival_ms()].into_iter().flatten().min();
        while let Some(due_ms) = next(self).filter(|due_ms| *due_ms <= until_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.carry_out_due();
            self.carry_out_arrived();
        }
        self.now_ms = until_ms;
    }

    /// When the next thing happens by itself on a host with power.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let powered = self.hosts.values().filter(|host| host.moves());
        powered.flat_map(|host| host.containers.values()).flat_map(|container| &container.due).map(|(due_ms, _)| *due_ms).min()
    }

    fn carry_out_due(&mut self) {
        let now_ms = self.now_ms;
        let mut changes = Vec::new();
        for (name, host) in self.hosts.iter_mut().filter(|(_, host)| host.moves()) {
            for container in host.containers.values_mut() {
                let (due, later): (Vec<_>, Vec<_>) = container.due.drain(..).partition(|(due_ms, _)| *due_ms <= now_ms);
                container.due = later;
                changes.extend(due.into_iter().map(|(_, change)| (name.clone(), container.id.clone(), change)));
            }
        }
        for (host, container, change) in changes {
            self.happen(&host, &container, change);
        }
    }

    fn happen(&mut self, host: &HostName, id: &str, change: Change) {
        match change {
            Change::Exit(code) => self.exit(host, id, code),
            Change::Restart => {
                if let Err(Fail { message, .. }) = self.start_process(host, id)
                    && let Some(container) = self.hosts.get_mut(host).and_then(|host| host.containers.get_mut(id))
                {
                    container.state = State::Exited { code: Some(128) };
                    container.error = message;
                }
            }
            Change::Health(health) => {
                if let Some(container) = self.hosts.get_mut(host).and_then(|host| host.containers.get_mut(id))
                    && container.state == State::Running
                {
                    container.health = health;
                    let word = if health == Health::Healthy { "healthy" } else { "unhealthy" };
                    self.tell(host, id, &format!("health_status: {word}"));
                }
            }
        }
    }

    /// The process ended; the engine restarts it where the policy says so.
    pub(super) fn exit(&mut self, host: &HostName, id: &str, code: i64) {
        let now_ms = self.now_ms;
        let Some(container) = self.hosts.get_mut(host).and_then(|host| host.containers.get_mut(id)) else { return };
        if !container.state.is_up() {
            return;
        }
        end_process(container, now_ms, code);
        if should_restart(container, code) {
            let lived_ms = now_ms.saturating_sub(container.started_ms.unwrap_or_default());
            let delay_ms = match container.restart_delay_ms {
                before_ms if before_ms > 0 && lived_ms < SETTLED_MS => (before_ms * 2).min(RESTART_DELAY_MS_MAX),
                _ => RESTART_DELAY_MS,
            };
            container.restart_delay_ms = delay_ms;
            container.restart_count += 1;
            container.state = State::Restarting;
            container.due.push((now_ms + delay_ms, Change::Restart));
        }
        self.tell(host, id, "die");
        self.remove_by_itself(host, id);
    }

    pub(super) fn exit_from_outside(&mut self, host: &str, container: &str, code: i64) {
        let found =
            self.hosts.get_key_value(host).and_then(|(name, host)| Some((name.clone(), host.find(container)?.id.clone())));
        if let Some((host, id)) = found {
            self.exit(&host, &id, code);
        }
    }

    pub(super) fn crash(&mut self, host: &str) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.reach = Reach::Crashed;
        }
    }

    /// Everything that ran is found dead with code 255, then restarted where the policy says so.
    pub(super) fn boot(&mut self, host: &str) {
        let now_ms = self.now_ms;
        let Some(name) = self.hosts.get_key_value(host).map(|(name, _)| name.clone()) else { return };
        let Some(host) = self.hosts.get_mut(&name).filter(|host| host.reach == Reach::Crashed) else { return };
        host.reach = Reach::Up;
        host.boots += 1;
        host.memory.clear();
        let mut restarts = Vec::new();
        for container in host.containers.values_mut() {
            if container.state.is_up() {
                end_process(container, now_ms, 255);
            }
            let policy = container.spec.host_config.restart_policy.as_ref().map(|policy| policy.name.clone()).unwrap_or_default();
            let has_run = matches!(container.state, State::Exited { .. });
            if has_run && (policy == "always" || (policy == "unless-stopped" && !container.stopped_by_user)) {
                restarts.push(container.id.clone());
            }
        }
        for id in restarts {
            // A container on an overlay whose managers are away stays exited, and the engine does not try again.
            self.happen(&name, &id, Change::Restart);
        }
    }
}

impl FakeHostState {
    /// Time passes on it.
    fn moves(&self) -> bool {
        !matches!(self.reach, Reach::Crashed | Reach::Frozen)
    }
}

/// Nothing runs any more; ports, addresses and plans for the future are gone.
pub(super) fn end_process(container: &mut FakeContainer, now_ms: u64, code: i64) {
    container.state = State::Exited { code: Some(code) };
    container.exit_code = code;
    container.finished_ms = Some(now_ms);
    if container.health != Health::None {
        container.health = Health::Unhealthy;
    }
    container.ports.clear();
    container.due.clear();
    for endpoint in container.networks.values_mut() {
        endpoint.addr.clear();
    }
}

fn should_restart(container: &FakeContainer, code: i64) -> bool {
    let Some(policy) = &container.spec.host_config.restart_policy else { return false };
    let attempts_left = policy.maximum_retry_count == 0 || container.restart_count < policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" | "unless-stopped" => !container.stopped_by_user,
        "on-failure" => !container.stopped_by_user && code != 0 && attempts_left,
        _ => false,
    }
}

/// The time as the API writes it.
pub(super) fn rfc3339(ms: u64) -> String {
    moment::rfc3339(Duration::from_millis(ms))
}
