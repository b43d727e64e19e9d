//! Many hosts are asked, a few at once: a thousand looks that begin together would all be late, and the heartbeats with them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Calls that are under way at once, those that take long aside.
const AT_ONCE: usize = 64;
/// Who takes longer is waiting for its host: it goes on, and the next one begins, so that silent hosts hold up no other.
const TURN_MAX: Duration = Duration::from_millis(500);

/// Whose turn it is. Copies share their turns.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Waits for a turn, and returns what comes of the call.
    pub async fn take<T>(&self, call: impl Future<Output = T>) -> T {
        let turn = self.0.acquire().await;
        tokio::pin!(call);
        if let Ok(done) = timeout(TURN_MAX, &mut call).await {
            return done;
        }
        drop(turn);
        call.await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_wait_for_each_other_and_not_for_silent_hosts() {
        let turns = Turns::default();
        let began = Instant::now();
        let silent = join_all((0..AT_ONCE).map(|_| turns.take(pending::<()>())));
        let answer = async || tokio::time::sleep(Duration::from_millis(100)).await;
        let quick = join_all((0..AT_ONCE * 2).map(|_| turns.take(answer())));
        tokio::select! {
            biased;
            _ = silent => unreachable!("they never answer"),
            _ = quick => {}
        }
        assert_eq!(began.elapsed(), TURN_MAX + Duration::from_millis(200));
    }
}
