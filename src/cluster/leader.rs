//! Calls that any manager can answer: the next one is asked where one does not, and a swarm without a leader is waited for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::{Engine, EngineError, ErrorKind};

/// An election after the leader's loss takes up to 25 s; a swarm that is without a leader for longer has lost its quorum.
pub const LEADER_WAIT_MAX: Duration = Duration::from_secs(40);
/// Between two rounds over all managers.
const ROUND_PAUSE: Duration = Duration::from_millis(300);
/// Rounds in which no manager could be reached at all.
const UNREACHABLE_ROUNDS_MAX: u32 = 2;

/// The managers of a swarm. Cheap to clone; clones share which one answered last.
#[derive(Clone)]
pub struct Managers {
    engines: Vec<Arc<dyn Engine>>,
    last_good: Arc<AtomicUsize>,
}

impl Managers {
    /// Returns nothing for no engine.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Option<Self> {
        let last_good = Arc::new(AtomicUsize::new(0));
        if engines.is_empty() { None } else { Some(Self { engines, last_good }) }
    }
}

/// Makes a call on the manager that answered last, else on the others in turn, until one answers for good or ill.
///
/// A call that timed out on one manager may have been carried out and is made again: it must bear that.
pub async fn with_leader<T, F, Fut>(managers: &Managers, call: F) -> Result<T, EngineError>
where
    F: Fn(Arc<dyn Engine>) -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let deadline = Instant::now() + LEADER_WAIT_MAX;
    let mut unreachable_rounds = 0;
    loop {
        let (error, leaderless) = match one_round(managers, &call).await {
            Ok(answer) => return answer,
            Err(round) => round,
        };
        unreachable_rounds += u32::from(!leaderless);
        if Instant::now() + ROUND_PAUSE > deadline || unreachable_rounds >= UNREACHABLE_ROUNDS_MAX {
            return Err(error);
        }
        sleep(ROUND_PAUSE).await;
    }
}

/// A final answer, or the most telling of the passing errors and whether a manager answered that there is no leader.
async fn one_round<T, F, Fut>(managers: &Managers, call: &F) -> Result<Result<T, EngineError>, (EngineError, bool)>
where
    F: Fn(Arc<dyn Engine>) -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let count = managers.engines.len();
    let first = managers.last_good.load(Ordering::Relaxed);
    let mut failure: Option<(EngineError, bool)> = None;
    for index in (0..count).map(|offset| (first + offset) % count) {
        match call(Arc::clone(&managers.engines[index])).await {
            Err(error) if error.is_passing() => {
                let leaderless = error.kind == ErrorKind::NoLeader;
                if failure.as_ref().is_none_or(|(_, known)| leaderless && !known) {
                    failure = Some((error, leaderless));
                }
            }
            answer => {
                managers.last_good.store(index, Ordering::Relaxed);
                return Ok(answer);
            }
        }
    }
    Err(failure.expect("there is at least one manager, and each has answered or failed"))
}
