//! Waiting for a container to be what somebody waits for, by asking again and again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::wire::NetworkRow;
use super::{Docker, POLL};
use crate::engine::{Engine, EngineError, ErrorKind, Inspected};
use crate::project::Until;
use crate::world::{Health, State};

impl Docker {
    pub(super) async fn wait_until_gone(&self, network: &str, at_most: Duration) -> Result<(), EngineError> {
        let what = format!("wait until network `{network}` is gone");
        let deadline = Instant::now() + at_most;
        loop {
            let shown: Vec<NetworkRow> = self.get(&what, "/networks").await?;
            if !shown.iter().any(|row| row.name == network) {
                return Ok(());
            }
            if Instant::now() + POLL > deadline {
                let message = format!("the engine still shows it after {} s", at_most.as_secs());
                return Err(self.http.error(&what, ErrorKind::Overdue, message));
            }
            sleep(POLL).await;
        }
    }

    pub(super) async fn wait_until(&self, container: &str, until: Until, at_most: Duration) -> Result<(), EngineError> {
        let what = format!("wait for container `{container}`");
        let deadline = Instant::now() + at_most;
        let mut restarts = None;
        loop {
            let seen = self.inspect(container).await?;
            let has_restarted = seen.restart_count > *restarts.get_or_insert(seen.restart_count);
            if until == Until::Lasting && has_restarted {
                return Err(self.http.error(&what, ErrorKind::Hopeless, format!("it ended and was restarted: {}", ended(&seen))));
            }
            match judge(&seen, until) {
                Verdict::NotYet if until == Until::Lasting && Instant::now() >= deadline => return Ok(()),
                Verdict::NotYet if until == Until::Lasting => sleep(POLL.min(deadline - Instant::now())).await,
                Verdict::Holds => return Ok(()),
                Verdict::Never(why) => return Err(self.http.error(&what, ErrorKind::Hopeless, why)),
                Verdict::NotYet if Instant::now() + POLL > deadline => {
                    let health =
                        if seen.has_healthcheck { format!(", health {:?}", seen.health).to_lowercase() } else { String::new() };
                    let message = format!("it is {}{health} after {} s", seen.state, at_most.as_secs());
                    return Err(self.http.error(&what, ErrorKind::Overdue, message));
                }
                Verdict::NotYet => sleep(POLL).await,
            }
        }
    }
}

enum Verdict {
    Holds,
    NotYet,
    Never(String),
}

/// Whether a container is what is waited for, can still become it, or never will.
fn judge(seen: &Inspected, until: Until) -> Verdict {
    let exited = matches!(seen.state, State::Exited { .. } | State::Dead);
    match (until, seen.health) {
        (Until::Completed, _) if exited && seen.exit_code == 0 => Verdict::Holds,
        (Until::Completed, _) if exited => Verdict::Never(ended(seen)),
        (Until::Completed, _) => Verdict::NotYet,
        _ if exited => Verdict::Never(ended(seen)),
        _ if seen.state == State::Paused => Verdict::Never("it is paused".to_owned()),
        (Until::Lasting, _) if seen.state == State::Restarting => Verdict::Never(ended(seen)),
        (Until::Lasting, Health::Unhealthy) => Verdict::Never(unhealthy(seen)),
        (Until::Lasting, _) => Verdict::NotYet,
        _ if seen.state != State::Running => Verdict::NotYet,
        (Until::Running, _) => Verdict::Holds,
        (Until::Healthy, _) if !seen.has_healthcheck => Verdict::Never("it has no healthcheck".to_owned()),
        (Until::Ready, _) if !seen.has_healthcheck => Verdict::Holds,
        (_, Health::Healthy) => Verdict::Holds,
        (_, Health::Unhealthy) => Verdict::Never(unhealthy(seen)),
        (_, Health::Starting | Health::None) => Verdict::NotYet,
    }
}

fn ended(seen: &Inspected) -> String {
    match seen.error.is_empty() {
        true => format!("it exited with code {}", seen.exit_code),
        false => format!("it exited with code {}: {}", seen.exit_code, seen.error),
    }
}

fn unhealthy(seen: &Inspected) -> String {
    let probe = seen.health_log.last().map(|output| format!(": {}", output.trim())).unwrap_or_default();
    format!("it is unhealthy{probe}")
}
