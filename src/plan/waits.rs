//! When a condition of `depends_on` is met, and how long a wait for it may take.

use crate::project::{Condition, Until};
use crate::world::{Container, Health, State};

/// A healthcheck has this long to pass, start period included.
const HEALTHY_WAIT_SECS_MAX: u64 = 600;
/// A service that others wait for to complete may take this long: a migration of much data.
const COMPLETED_WAIT_SECS_MAX: u64 = 24 * 60 * 60;
/// A container that was started is running, or never will be, within this time.
const RUNNING_WAIT_SECS_MAX: u64 = 60;

/// A container that meets the condition now, as far as the last look tells.
pub(super) fn meets(container: &Container, condition: Condition) -> bool {
    match condition {
        Condition::ServiceStarted => container.state.is_up() || matches!(container.state, State::Exited { .. }),
        Condition::ServiceHealthy => container.state == State::Running && container.health == Health::Healthy,
        Condition::ServiceCompletedSuccessfully => container.state == State::Exited { code: Some(0) },
    }
}

/// The longest that a wait may take where nobody said.
pub(super) fn longest(until: Until) -> u64 {
    match until {
        Until::Ready | Until::Healthy | Until::Lasting => HEALTHY_WAIT_SECS_MAX,
        Until::Running => RUNNING_WAIT_SECS_MAX,
        Until::Completed => COMPLETED_WAIT_SECS_MAX,
    }
}
