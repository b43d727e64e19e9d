//! Time as it passes for everybody else. Tokio's stands still while this machine is suspended (it is CLOCK_MONOTONIC), and who wakes up
//! would take its lease for held, and the silence of hosts for short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep};

/// Who wakes up finds out within this time of what it slept through.
const NOTICED_WITHIN: Duration = Duration::from_millis(500);

/// What tells how long this machine has slept in all.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// CLOCK_BOOTTIME goes on meanwhile, and CLOCK_MONOTONIC does not.
    #[default]
    OfMachine,
    /// So many milliseconds.
    Simulated(Arc<AtomicU64>),
}

/// A moment, for what is measured from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    awake: Instant,
    slept: Duration,
}

impl Clock {
    pub fn now(&self) -> Moment {
        Moment { awake: Instant::now(), slept: self.slept() }
    }

    /// Sleeping and awake.
    pub fn since(&self, moment: Moment) -> Duration {
        moment.awake.elapsed() + self.slept().saturating_sub(moment.slept)
    }

    /// Until so much time has passed. It ends a moment late where the machine slept meanwhile.
    pub async fn pause(&self, time: Duration) {
        let from = self.now();
        loop {
            let left = time.saturating_sub(self.since(from));
            if left.is_zero() {
                return;
            }
            sleep(left.min(NOTICED_WITHIN)).await;
        }
    }

    fn slept(&self) -> Duration {
        match self {
            Self::Simulated(millis) => Duration::from_millis(millis.load(Ordering::Relaxed)),
            Self::OfMachine => {
                let read = |id| Duration::try_from(clock_gettime(id)).unwrap_or_default();
                // In this order, so that the time between both is never taken for sleep.
                let (with_sleep, awake) = (read(ClockId::Boottime), read(ClockId::Monotonic));
                with_sleep.saturating_sub(awake)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_slept_through_has_passed() {
        let slept = Arc::new(AtomicU64::new(0));
        let clock = Clock::Simulated(Arc::clone(&slept));
        let (from, began) = (clock.now(), Instant::now());
        slept.store(60_000, Ordering::Relaxed);
        assert_eq!(clock.since(from), Duration::from_secs(60));
        let suspended = async {
            sleep(Duration::from_secs(1)).await;
            slept.store(90_000, Ordering::Relaxed);
        };
        tokio::join!(clock.pause(Duration::from_secs(20)), suspended);
        assert!(began.elapsed() <= Duration::from_secs(1) + NOTICED_WITHIN, "{:?}", began.elapsed());
        assert!(Clock::OfMachine.since(Clock::OfMachine.now()) < Duration::from_secs(1));
    }
}
