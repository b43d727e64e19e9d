//! What becomes of a replica that does not run: by `deploy.restart_policy`, by `restart`, or by what the service is.

use super::jitter::Jitter;
use crate::project::{GoDuration, RestartPolicy, Service};
use crate::world::{Health, Restarts};

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

/// How a slot came to be what it is, as far as this supervisor made it so or saw it. Rebuilt from nothing after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// Starts in a row, none of which lasted.
    pub starts: u32,
    pub last_start_ms: u64,
    /// Since when its replica is seen not to be as it should.
    pub down_since_ms: Option<u64>,
    /// Since when it is seen to run, and since when its healthcheck passes.
    up_since_ms: Option<u64>,
    healthy_since_ms: Option<u64>,
    /// The engine's own restarts in a row, none of which lasted, as far as they were seen; and its count before them.
    restarts: u32,
    restarts_before: Option<u32>,
    /// When the engine was last seen about to start it again.
    restarting_ms: u64,
}

/// How a replica is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// Its process is gone, or it is gone altogether.
    Ended,
    /// It runs, and its healthcheck fails.
    Unhealthy,
}

impl History {
    /// The slot was seen to be as it should be.
    pub fn up(&mut self, service: &Service, health: Health, now_ms: u64) {
        self.down_since_ms = None;
        self.up_since_ms.get_or_insert(now_ms);
        if health == Health::Healthy {
            self.healthy_since_ms.get_or_insert(now_ms);
        }
        let lasts = match health {
            Health::None => self.has_run(service, now_ms),
            Health::Starting | Health::Healthy | Health::Unhealthy => self.was_healthy(service, now_ms),
        };
        if lasts {
            self.settle();
        }
    }

    /// The slot was seen down. Whoever was up for long enough begins anew.
    pub fn down(&mut self, service: &Service, down: Down, now_ms: u64) {
        if self.down_since_ms.is_some() {
            return;
        }
        self.down_since_ms = Some(now_ms);
        let lasted = match down {
            Down::Ended => self.has_run(service, now_ms),
            Down::Unhealthy => self.was_healthy(service, now_ms),
        };
        (self.up_since_ms, self.healthy_since_ms) = (None, None);
        if lasted {
            self.settle();
        }
    }

    /// The engine is about to start it again by itself.
    pub fn restarting(&mut self, service: &Service, seen: Restarts, now_ms: u64) {
        (self.down_since_ms, self.restarting_ms) = (None, now_ms);
        (self.up_since_ms, self.healthy_since_ms) = (None, None);
        let before = match self.restarts_before {
            Some(before) if before < seen.count && seen.lived_ms < settled_ms(service) => before,
            // What went before is not known, or is over: this is the first of a row.
            _ => seen.count.saturating_sub(1),
        };
        (self.restarts_before, self.restarts) = (Some(before), seen.count - before.min(seen.count));
    }

    /// A start was made, or tried.
    pub fn started(&mut self, now_ms: u64) {
        self.starts = self.starts.saturating_add(1);
        self.last_start_ms = now_ms;
        (self.down_since_ms, self.up_since_ms, self.healthy_since_ms) = (None, None, None);
        // The engine counts anew.
        (self.restarts, self.restarts_before) = (0, Some(0));
    }

    /// When the slot may be started again: at once the first time, and without its policy's delay where it never ran. Nothing once
    /// the policy's attempts are used up, with what the engine tried by itself.
    pub fn start_at_ms(&self, service: &Service, restarts: Option<Restarts>, has_run: bool, jitter: Jitter) -> Option<u64> {
        if self.has_given_up(service, restarts) {
            return None;
        }
        let delay_ms = if has_run { millis(policy(service).delay) } else { 0 };
        let pause_ms = jitter.shortened(self.backoff_ms(), self.starts).max(delay_ms);
        Some(self.down_since_ms.unwrap_or_default().max(self.last_start_ms).saturating_add(pause_ms))
    }

    /// Whether the policy's attempts are used up, of a replica that ended.
    pub fn has_given_up(&self, service: &Service, restarts: Option<Restarts>) -> bool {
        let of_engine = restarts.map_or(0, |restarts| counted(service, restarts));
        attempts_max(service).is_some_and(|max| u64::from(self.starts) + u64::from(of_engine) >= max)
    }

    /// Whether the engine goes on with a replica beyond its policy's attempts, which it only counts for `on-failure`.
    pub fn is_overdone(&self, service: &Service) -> bool {
        attempts_max(service).is_some_and(|max| u64::from(self.starts) + u64::from(self.restarts) > max)
    }

    /// Whether it is started again and again, by whomever, and never lasts.
    pub fn is_loop(&self) -> bool {
        self.starts.max(self.restarts) >= LOOP_STARTS
    }

    pub fn backoff_ms(&self) -> u64 {
        match self.starts {
            0 => 0,
            starts => BACKOFF_MS.saturating_mul(1 << (starts - 1).min(16)).min(BACKOFF_MS_MAX),
        }
    }

    fn has_run(&self, service: &Service, now_ms: u64) -> bool {
        let since_ms = self.up_since_ms.unwrap_or(self.last_start_ms.max(self.restarting_ms));
        now_ms.saturating_sub(since_ms) >= settled_ms(service)
    }

    /// A healthcheck takes its time to notice, so that who never was healthy, or not for longer than that, was not up.
    fn was_healthy(&self, service: &Service, now_ms: u64) -> bool {
        let lasts_ms = settled_ms(service).saturating_add(notices_within_ms(service));
        self.healthy_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= lasts_ms)
    }

    fn settle(&mut self) {
        (self.starts, self.restarts, self.restarts_before) = (0, 0, None);
    }
}

/// Starts after which a replica that never lasts is said to be in a crash loop.
const LOOP_STARTS: u32 = 3;
/// What the engine takes where a healthcheck does not say.
const PROBE_INTERVAL_MS: u64 = 30_000;
const PROBE_TIMEOUT_MS: u64 = 30_000;
const PROBE_RETRIES: u64 = 3;

fn policy(service: &Service) -> RestartPolicy {
    service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.clone()).unwrap_or_default()
}

/// How often a replica may be started again; nothing where there is no end to it.
fn attempts_max(service: &Service) -> Option<u64> {
    let said = match service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) {
        Some(policy) => policy.max_attempts,
        None => service.restart.as_deref()?.strip_prefix("on-failure:")?.parse().ok(),
    };
    said.filter(|max| *max > 0)
}

/// The engine's own restarts, as far as they count. Those of `on-failure` it counts itself, and for good where no window is said;
/// others are over with a life that lasted.
fn counted(service: &Service, restarts: Restarts) -> u32 {
    let policy = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
    let condition = policy.and_then(|policy| policy.condition.as_deref()).or(service.restart.as_deref());
    let is_of_engine = service.mode().is_job() || condition.is_some_and(|condition| condition.starts_with("on-failure"));
    let lasts_ms = match millis(policy.and_then(|policy| policy.window)) {
        0 if is_of_engine => u64::MAX,
        _ => settled_ms(service),
    };
    if restarts.lived_ms >= lasts_ms { 0 } else { restarts.count }
}

fn settled_ms(service: &Service) -> u64 {
    SETTLED_MS.max(millis(policy(service).window))
}

/// How long it takes at most until the healthcheck of a replica that turned bad has noticed it.
fn notices_within_ms(service: &Service) -> u64 {
    let check = service.healthcheck.as_ref();
    let said = |duration: Option<GoDuration>, default_ms| match millis(duration) {
        0 => default_ms,
        said_ms => said_ms,
    };
    let interval_ms = said(check.and_then(|check| check.interval), PROBE_INTERVAL_MS);
    let timeout_ms = said(check.and_then(|check| check.timeout), PROBE_TIMEOUT_MS);
    let retries = check.and_then(|check| check.retries).filter(|retries| *retries > 0).unwrap_or(PROBE_RETRIES);
    interval_ms.saturating_add(timeout_ms).saturating_mul(retries)
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
            history.down(service, Down::Ended, now_ms);
            let Some(at_ms) = history.start_at_ms(service, None, true, Jitter::NONE) else { break };
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

    fn ended(count: u32, lived_ms: u64) -> Restarts {
        Restarts { count, lived_ms }
    }

    #[test]
    fn what_the_engine_tried_by_itself_counts_among_the_attempts() {
        let check = |document: &str, restarts: Restarts, expect: bool| {
            let given_up = History::default().has_given_up(&service(document), Some(restarts));
            assert_eq!(given_up, expect, "{document} {restarts:?}");
        };
        check(r#"{"restart": "on-failure:3"}"#, ended(2, 0), false);
        check(r#"{"restart": "on-failure:3"}"#, ended(3, 0), true);
        // As the engine itself counts: how long it ran in between is no matter.
        check(r#"{"restart": "on-failure:3"}"#, ended(3, 3_600_000), true);
        check(r#"{"restart": "on-failure"}"#, ended(30, 0), false);
        check(r#"{"restart": "always"}"#, ended(30, 0), false);
        let on_failure = r#"{"deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 3, "window": "30s"}}}"#;
        check(on_failure, ended(3, 29_999), true);
        check(on_failure, ended(3, 30_000), false);
        let any = r#"{"deploy": {"restart_policy": {"max_attempts": 3}}}"#;
        check(any, ended(3, 9_999), true);
        check(any, ended(3, 10_000), false);
        check(r#"{"deploy": {"restart_policy": {}}, "restart": "on-failure:3"}"#, ended(3, 0), false);
    }

    #[test]
    fn starts_of_a_supervisor_and_of_the_engine_are_counted_together() {
        let twice = service(r#"{"restart": "on-failure:2"}"#);
        let mut history = History::default();
        history.started(1_000);
        assert!(!history.has_given_up(&twice, Some(ended(0, 0))));
        assert!(history.has_given_up(&twice, Some(ended(1, 0))));
    }

    /// Shows a replica at these times, with the engine's count and how long it lived before; returns when it was overdone first.
    fn overdone(document: &str, seen: &[(u64, u32, u64)]) -> Option<u64> {
        let (service, mut history) = (service(document), History::default());
        let mut restart = |(now_ms, count, lived_ms): &(u64, u32, u64)| {
            history.restarting(&service, ended(*count, *lived_ms), *now_ms);
            history.is_overdone(&service).then_some(*now_ms)
        };
        seen.iter().find_map(&mut restart)
    }

    #[test]
    fn an_engine_that_knows_no_end_is_stopped_when_the_attempts_of_a_row_are_used_up() {
        let any = r#"{"deploy": {"restart_policy": {"max_attempts": 2}}}"#;
        assert_eq!(overdone(any, &[(1_000, 1, 0), (1_200, 2, 0), (1_600, 3, 0), (2_400, 4, 0)]), Some(1_600));
        // Some were not seen, which the engine's count tells.
        assert_eq!(overdone(any, &[(1_000, 1, 0), (2_400, 4, 0)]), Some(2_400));
        // What went before this supervisor is not known, and lives that last begin a row of their own.
        assert_eq!(overdone(any, &[(1_000, 70, 0), (2_000, 71, 0)]), None);
        assert_eq!(overdone(any, &[(10_000, 1, 0), (30_000, 2, 20_000), (50_000, 3, 20_000), (70_000, 4, 20_000)]), None);
        assert_eq!(overdone(r#"{"deploy": {"restart_policy": {}}}"#, &[(1_000, 1, 0), (9_000, 99, 0)]), None);
    }

    #[test]
    fn who_turns_unhealthy_before_it_was_healthy_for_long_is_backed_off() {
        let service = service("{}");
        let mut history = History::default();
        let mut pauses = Vec::new();
        let mut now_ms = 1_000_000;
        for _ in 0..11 {
            history.down(&service, Down::Unhealthy, now_ms);
            let at_ms = history.start_at_ms(&service, None, true, Jitter::NONE).expect("it has no end");
            pauses.push((at_ms - now_ms) / 1000);
            history.started(at_ms);
            history.up(&service, Health::Starting, at_ms + 1);
            now_ms = at_ms + 90_000;
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(history.is_loop());
        // Healthy for less time than its healthcheck takes to notice says nothing either.
        history.up(&service, Health::Healthy, now_ms);
        history.down(&service, Down::Unhealthy, now_ms + 90_000);
        assert!(history.is_loop());
        history.up(&service, Health::Healthy, now_ms + 100_000);
        history.up(&service, Health::Healthy, now_ms + 290_000);
        history.down(&service, Down::Unhealthy, now_ms + 300_000);
        assert_eq!(history.backoff_ms(), 0);
    }

    #[test]
    fn the_engines_pause_before_a_restart_is_no_life() {
        let (service, mut history) = (service("{}"), History::default());
        for count in 1..=8 {
            history.restarting(&service, ended(count, 100), u64::from(count) * 60_000);
            history.up(&service, Health::None, u64::from(count) * 60_000 + 30_000);
        }
        assert!(history.is_loop());
        history.up(&service, Health::None, 8 * 60_000 + 30_000 + SETTLED_MS);
        assert!(!history.is_loop());
    }

    #[test]
    fn who_never_ran_is_started_without_the_delay_of_restarts() {
        let service = service(r#"{"deploy": {"restart_policy": {"delay": "5m"}}}"#);
        let mut history = History::default();
        history.down(&service, Down::Ended, 1_000);
        assert_eq!(history.start_at_ms(&service, None, false, Jitter::NONE), Some(1_000));
        assert_eq!(history.start_at_ms(&service, None, true, Jitter::NONE), Some(301_000));
    }
}
