//! Who leads the swarm, as far as those know who call it, and what is done while that one is silent.
//!
//! A manager that has not noticed yet that its leader is gone passes each call on to it. The call hangs for 20 s, and from the first
//! start of a container on until it ends, that engine answers nothing about its swarm and puts nobody on an overlay network, new
//! leader or not. So none of the others is asked before one of them has told, unasked, that there is a new leader.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::engine::{Engine, EngineError, ErrorKind, Node};

/// Managers miss their leader after 10 to 20 s; then the others are asked whether or not one of them told of a new one.
const ELECTION_WAIT_MAX: Duration = Duration::from_secs(20);
/// Who leads is asked again after this long: leadership moves without a word too.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Between two attempts to listen to a manager.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// Shared by all who call one swarm.
pub(super) struct Election {
    /// Of each manager's node; empty where it is not known, and then it is nobody's leader.
    node_ids: Vec<String>,
    known: watch::Sender<Known>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    leader: Option<usize>,
    asked_at: Option<Instant>,
    /// Since when the leader does not answer.
    silent_since: Option<Instant>,
}

impl Election {
    pub(super) fn new(node_ids: Vec<String>) -> Self {
        Self { node_ids, known: watch::Sender::new(Known::default()) }
    }

    /// The manager that leads; nothing where that is not known.
    pub(super) fn leader(&self) -> Option<usize> {
        self.known.borrow().leader
    }

    pub(super) fn is_silent(&self) {
        self.known.send_modify(|known| known.silent_since = known.silent_since.or_else(|| Some(Instant::now())));
    }

    pub(super) fn answered(&self) {
        self.known.send_if_modified(|known| known.silent_since.take().is_some());
    }

    /// It leads no more, or is not reached.
    pub(super) fn forget(&self, leader: usize) {
        self.known.send_if_modified(|known| {
            let is_known = known.leader == Some(leader);
            if is_known {
                *known = Known::default();
            }
            is_known
        });
    }

    /// Returns once another leads than this one, or it was silent for longer than an election takes; a manager that told so.
    pub(super) async fn successor(&self, engines: &[Arc<dyn Engine>], leader: usize) -> Option<usize> {
        let mut known = self.known.subscribe();
        let ends = self.known.borrow().silent_since.unwrap_or_else(Instant::now) + ELECTION_WAIT_MAX;
        let others = engines.iter().enumerate().filter(|(index, _)| *index != leader);
        let heard = select_all(others.map(|(index, engine)| Box::pin(listen(index, engine.as_ref()))));
        tokio::select! {
            biased;
            _ = known.wait_for(|known| known.leader != Some(leader)) => None,
            (index, ..) = heard => Some(index),
            () = sleep_until(ends) => None,
        }
    }

    /// Asks one that answers who leads, unless that was asked a while ago.
    pub(super) async fn learn(&self, engines: &[Arc<dyn Engine>], answered: usize, patience: Duration) {
        let asked_at = self.known.borrow().asked_at;
        if asked_at.is_some_and(|at| at.elapsed() < KNOWN_FOR) || self.node_ids.iter().all(String::is_empty) {
            return;
        }
        let Ok(Ok(nodes)) = timeout(patience, engines[answered].nodes()).await else { return };
        let leader = match self.find_leader(&nodes) {
            // One that the others reach and this side does not is asked through them.
            Some(leader) if leader != answered => {
                let ping = timeout(patience, engines[leader].ping()).await;
                matches!(ping, Ok(Ok(()))).then_some(leader)
            }
            leader => leader,
        };
        self.known.send_replace(Known { leader, asked_at: Some(Instant::now()), silent_since: None });
    }

    fn find_leader(&self, nodes: &[Node]) -> Option<usize> {
        let leader = nodes.iter().find(|node| node.is_leader)?;
        self.node_ids.iter().position(|id| !id.is_empty() && *id == leader.id)
    }
}

async fn listen(index: usize, engine: &dyn Engine) -> usize {
    while engine.new_leader().await.is_err() {
        sleep(LISTEN_PAUSE).await;
    }
    index
}

/// What a call to one manager means for the search of the leader.
pub(super) enum Word<T> {
    Answer(Result<T, EngineError>),
    /// It has no leader itself, or is no manager any more.
    Leaderless,
    Silent,
}

/// Makes a call on one manager, with an end.
pub(super) async fn ask<T>(call: impl Future<Output = Result<T, EngineError>>, patience: Duration) -> Word<T> {
    match timeout(patience, call).await {
        Ok(Err(error)) if error.kind == ErrorKind::NoLeader || error.is_no_manager() => Word::Leaderless,
        Ok(Err(error)) if error.is_passing() => Word::Silent,
        Ok(answer) => Word::Answer(answer),
        Err(_) => Word::Silent,
    }
}
