//! Calls that any manager can answer: the next one is asked where one does not, and a swarm without a leader is waited for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::election::{Election, Word, ask};
use crate::engine::{Engine, EngineError, ErrorKind};
use crate::project::HostName;

/// An election after the leader's loss takes up to 25 s; a swarm that is without a leader for longer has lost its quorum.
pub const LEADER_WAIT_MAX: Duration = Duration::from_secs(40);
/// Between two rounds over all managers.
const ROUND_PAUSE: Duration = Duration::from_millis(300);
/// A manager that does not answer for this long is passed over. An election takes about 15 s, and who was asked before it may
/// not notice its end; so all are asked again soon, and only then with more patience each time.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
const PATIENT_AFTER_ROUNDS: u32 = 3;
/// Rounds in which no manager could be reached at all.
const UNREACHABLE_ROUNDS_MAX: u32 = 2;

/// The managers of a swarm. Cheap to clone; clones share who leads and which one answered last.
#[derive(Clone)]
pub struct Managers {
    engines: Vec<Arc<dyn Engine>>,
    last_good: Arc<AtomicUsize>,
    election: Arc<Election>,
}

impl Managers {
    /// Returns nothing for no engine.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Option<Self> {
        let last_good = Arc::new(AtomicUsize::new(0));
        let election = Arc::new(Election::new(Vec::new()));
        if engines.is_empty() { None } else { Some(Self { engines, last_good, election }) }
    }

    /// The same, that learns who leads, by the ids that the managers have in the swarm. Of use to those who call for long.
    pub fn known_as(self, node_id: impl Fn(&HostName) -> Option<String>) -> Self {
        let node_ids = self.engines.iter().map(|engine| node_id(engine.host()).unwrap_or_default()).collect();
        Self { election: Arc::new(Election::new(node_ids)), ..self }
    }
}

/// Makes a call on the leader where it is known, else on the manager that answered last, else on the others in turn, until one
/// answers for good or ill. While a known leader is silent the others are not asked before they have a new one.
///
/// A manager that is silent for long is passed over for the next one, though its call may still be carried out; one that
/// timed out may have been, too. So a call can be made twice and must bear that.
pub async fn with_leader<T, F, Fut>(managers: &Managers, call: F) -> Result<T, EngineError>
where
    F: Fn(Arc<dyn Engine>) -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let Managers { engines, last_good, election } = managers;
    let led = match election.leader() {
        Some(leader) if engines.len() > 1 => led(managers, leader, &call).await.map(|answer| (leader, answer)),
        _ => None,
    };
    let (index, answer) = match led {
        Some(led) => led,
        None => {
            let answer = in_turn(managers, &call).await;
            (last_good.load(Ordering::Relaxed), answer)
        }
    };
    if answer.is_ok() {
        election.learn(engines, index, FIRST_PATIENCE).await;
    }
    answer
}

/// The leader's answer; nothing once it leads no more, or is to be given up.
async fn led<T, F, Fut>(managers: &Managers, leader: usize, call: &F) -> Option<Result<T, EngineError>>
where
    F: Fn(Arc<dyn Engine>) -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let Managers { engines, last_good, election } = managers;
    let attempt = || call(Arc::clone(&engines[leader]));
    let insist = async {
        for rounds in 1.. {
            sleep(ROUND_PAUSE).await;
            match ask(attempt(), patience_after(rounds)).await {
                Word::Silent => {}
                word => return word,
            }
        }
        Word::Silent
    };
    let word = match ask(attempt(), FIRST_PATIENCE).await {
        Word::Silent => {
            election.is_silent();
            tokio::select! {
                biased;
                word = insist => word,
                told = election.successor(engines, leader) => {
                    // Who has told is asked first, by others who wait for a word too.
                    told.into_iter().for_each(|index| last_good.store(index, Ordering::Relaxed));
                    election.forget(leader);
                    Word::Silent
                }
            }
        }
        word => word,
    };
    match word {
        Word::Answer(answer) => {
            election.answered();
            last_good.store(leader, Ordering::Relaxed);
            Some(answer)
        }
        Word::Leaderless => {
            election.forget(leader);
            None
        }
        Word::Silent => None,
    }
}

async fn in_turn<T, F, Fut>(managers: &Managers, call: &F) -> Result<T, EngineError>
where
    F: Fn(Arc<dyn Engine>) -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let deadline = Instant::now() + LEADER_WAIT_MAX;
    let mut unreachable_rounds = 0;
    let mut rounds = 0;
    loop {
        let last_round = Instant::now() + ROUND_PAUSE > deadline || unreachable_rounds + 1 >= UNREACHABLE_ROUNDS_MAX;
        // Alone, or at last, each has the time that the call itself allows.
        let bound = if last_round || managers.engines.len() == 1 { None } else { Some(patience_after(rounds)) };
        match one_round(managers, call, bound).await {
            Round::Answered(answer) => return answer,
            Round::Failed { error: Some(error), worth_waiting }
                if last_round && !(worth_waiting && Instant::now() < deadline) =>
            {
                return Err(error);
            }
            Round::Failed { worth_waiting, .. } => unreachable_rounds += u32::from(!worth_waiting),
        }
        rounds += 1;
        sleep(ROUND_PAUSE).await;
    }
}

fn patience_after(rounds: u32) -> Duration {
    let doubled = (rounds + 1).saturating_sub(PATIENT_AFTER_ROUNDS).min(8);
    (FIRST_PATIENCE * 2_u32.pow(doubled)).min(LEADER_WAIT_MAX)
}

/// How asking every manager once went.
enum Round<T> {
    Answered(Result<T, EngineError>),
    /// The most telling error; nothing where all were passed over. Worth waiting: there is no leader, or somebody was silent.
    Failed {
        error: Option<EngineError>,
        worth_waiting: bool,
    },
}

async fn one_round<T, F, Fut>(managers: &Managers, call: &F, bound: Option<Duration>) -> Round<T>
where
    F: Fn(Arc<dyn Engine>) -> Fut,
    Fut: Future<Output = Result<T, EngineError>>,
{
    let count = managers.engines.len();
    let first = managers.last_good.load(Ordering::Relaxed);
    let mut failure: Option<EngineError> = None;
    let mut worth_waiting = false;
    for index in (0..count).map(|offset| (first + offset) % count) {
        let attempt = call(Arc::clone(&managers.engines[index]));
        let answer = match bound {
            Some(bound) => timeout(bound, attempt).await.ok(),
            None => Some(attempt.await),
        };
        match answer {
            None => {
                worth_waiting = true;
                // Who is silent is not asked first the next time.
                let next = (index + 1) % count;
                let _ = managers.last_good.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            }
            // Who manages no more speaks for nobody.
            Some(Err(error)) if error.is_no_manager() && count > 1 => {
                let next = (index + 1) % count;
                let _ = managers.last_good.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
                failure.get_or_insert(error);
            }
            Some(Err(error)) if error.is_passing() => {
                let leaderless = error.kind == ErrorKind::NoLeader;
                if failure.is_none() || leaderless {
                    failure = Some(error);
                }
                worth_waiting |= leaderless;
            }
            Some(answer) => {
                managers.last_good.store(index, Ordering::Relaxed);
                return Round::Answered(answer);
            }
        }
    }
    Round::Failed { error: failure, worth_waiting }
}
