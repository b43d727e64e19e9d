//! What becomes of a replica that does not run: by `deploy.restart_policy`, by `restart`, or by what the service is.

use crate::project::{GoDuration, RestartPolicy, Service};

/// A replica that ran for this long was not in a crash loop (the engine's own measure for its restart policy).
const SETTLED_MS: u64 = 10_000;
/// The second start in a row waits for this long, each further one twice as long as the one before.
const BACKOFF_MS: u64 = 1_000;
const BACKOFF_MS_MAX: u64 = 300_000;

/// Whether a replica that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Again,
    /// It is done, or its policy leaves it as it is.
    Stays,
}

/// `exit_code`: nothing where the engine did not say. `keeps_deployed`: as in `Settings`.
pub fn verdict(service: &Service, is_awaited_to_complete: bool, exit_code: Option<i64>, keeps_deployed: bool) -> Verdict {
    let failed = exit_code != Some(0);
    if !failed && (service.mode().is_job() || is_awaited_to_complete) {
        return Verdict::Stays;
    }
    let deploy = service.deploy.as_ref();
    let condition = deploy.and_then(|deploy| deploy.restart_policy.as_ref()).map(|policy| policy.condition.as_deref());
    let again = match (condition, service.restart.as_deref()) {
        (Some(Some("none")), _) => false,
        (Some(Some("on-failure")), _) => failed,
        // `any`, which is the default of a policy that names no condition.
        (Some(_), _) => true,
        (None, Some("always" | "unless-stopped")) => true,
        (None, Some(policy)) if policy.starts_with("on-failure") => failed,
        (None, Some(_)) => false,
        (None, None) => keeps_deployed && (deploy.is_some() || service.mode().is_job()),
    };
    if again { Verdict::Again } else { Verdict::Stays }
}

/// How a slot came to be what it is, as far as this supervisor made it so. Rebuilt from nothing after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// Starts in a row, none of which lasted.
    pub starts: u32,
    pub last_start_ms: u64,
    /// Since when its replica is seen not to be as it should.
    pub down_since_ms: Option<u64>,
}

impl History {
    /// The slot was seen to be as it should be.
    pub fn up(&mut self) {
        self.down_since_ms = None;
    }

    /// The slot was seen down. Whoever ran for long enough begins anew.
    pub fn down(&mut self, service: &Service, now_ms: u64) {
        if self.down_since_ms.is_some() {
            return;
        }
        self.down_since_ms = Some(now_ms);
        if now_ms.saturating_sub(self.last_start_ms) >= SETTLED_MS.max(millis(policy(service).window)) {
            self.starts = 0;
        }
    }

    /// A start was made, or tried.
    pub fn started(&mut self, now_ms: u64) {
        self.starts = self.starts.saturating_add(1);
        self.last_start_ms = now_ms;
        self.down_since_ms = None;
    }

    /// When the slot may be started again: at once the first time. Nothing once the policy's attempts are used up.
    pub fn start_at_ms(&self, service: &Service) -> Option<u64> {
        let policy = policy(service);
        if policy.max_attempts.is_some_and(|max| max > 0 && u64::from(self.starts) >= max) {
            return None;
        }
        let delayed = self.down_since_ms.unwrap_or_default().saturating_add(millis(policy.delay));
        Some(delayed.max(self.last_start_ms.saturating_add(self.backoff_ms())))
    }

    pub fn backoff_ms(&self) -> u64 {
        match self.starts {
            0 => 0,
            starts => BACKOFF_MS.saturating_mul(1 << (starts - 1).min(16)).min(BACKOFF_MS_MAX),
        }
    }
}

fn policy(service: &Service) -> RestartPolicy {
    service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.clone()).unwrap_or_default()
}

fn millis(duration: Option<GoDuration>) -> u64 {
    duration.map_or(0, |duration| u64::try_from(duration.to_std().as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Deploy;

    fn service(document: &str) -> Service {
        serde_json::from_str(document).expect("a service in canonical form")
    }

    #[test]
    fn what_ended_is_started_again_as_its_policy_says() {
        let check = |document: &str, expect: [Verdict; 2]| {
            let service = service(document);
            assert_eq!([Some(0), Some(1)].map(|code| verdict(&service, false, code, true)), expect, "{document}");
        };
        use Verdict::{Again, Stays};
        check("{}", [Stays, Stays]);
        check(r#"{"restart": "no"}"#, [Stays, Stays]);
        check(r#"{"restart": "always"}"#, [Again, Again]);
        check(r#"{"restart": "unless-stopped"}"#, [Again, Again]);
        check(r#"{"restart": "on-failure:3"}"#, [Stays, Again]);
        check(r#"{"deploy": {}}"#, [Again, Again]);
        check(r#"{"deploy": {}, "restart": "no"}"#, [Stays, Stays]);
        check(r#"{"deploy": {"restart_policy": {}}}"#, [Again, Again]);
        check(r#"{"deploy": {"restart_policy": {"condition": "on-failure"}}}"#, [Stays, Again]);
        check(r#"{"deploy": {"restart_policy": {"condition": "none"}}, "restart": "always"}"#, [Stays, Stays]);
        check(r#"{"deploy": {"mode": "replicated-job"}}"#, [Stays, Again]);
    }

    #[test]
    fn while_somebody_is_attached_only_a_policy_starts_again_what_ended() {
        let of = |document: &str| verdict(&service(document), false, Some(1), false);
        assert_eq!(of(r#"{"deploy": {"replicas": 2}}"#), Verdict::Stays);
        assert_eq!(of(r#"{"deploy": {"restart_policy": {}}}"#), Verdict::Again);
        assert_eq!(of(r#"{"restart": "always"}"#), Verdict::Again);
    }

    #[test]
    fn who_is_waited_for_to_complete_is_not_started_again_once_it_did() {
        let migration = service(r#"{"restart": "always"}"#);
        assert_eq!(verdict(&migration, true, Some(0), true), Verdict::Stays);
        assert_eq!(verdict(&migration, true, Some(1), true), Verdict::Again);
    }

    /// Plays a replica that dies `lives_ms` after each start; returns how long after each death it was started again.
    fn waits(service: &Service, lives_ms: u64, deaths: usize) -> Vec<u64> {
        let mut history = History::default();
        let mut now_ms = 100_000;
        let mut waits = Vec::new();
        for _ in 0..deaths {
            history.down(service, now_ms);
            let Some(at_ms) = history.start_at_ms(service) else { break };
            waits.push(at_ms.saturating_sub(now_ms));
            now_ms = now_ms.max(at_ms);
            history.started(now_ms);
            now_ms += lives_ms;
        }
        waits
    }

    #[test]
    fn the_first_start_is_at_once_and_a_crash_loop_is_backed_off_to_five_minutes() {
        let service = Service::default();
        assert_eq!(waits(&service, 0, 12), [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(|secs| secs * 1000));
        assert_eq!(waits(&service, SETTLED_MS, 4), [0, 0, 0, 0]);
    }

    #[test]
    fn delay_attempts_and_window_of_the_policy_hold() {
        let policy = |document: &str| Service {
            deploy: Some(Deploy { restart_policy: serde_json::from_str(document).expect("a policy"), ..Deploy::default() }),
            ..Service::default()
        };
        assert_eq!(waits(&policy(r#"{"delay": "5s"}"#), 60_000, 3), [5_000, 5_000, 5_000]);
        assert_eq!(waits(&policy(r#"{"max_attempts": 2}"#), 0, 5), [0, 1_000]);
        assert_eq!(waits(&policy(r#"{"max_attempts": 2}"#), 20_000, 5).len(), 5);
        assert_eq!(waits(&policy(r#"{"max_attempts": 2, "window": "30s"}"#), 20_000, 5).len(), 2);
    }
}
