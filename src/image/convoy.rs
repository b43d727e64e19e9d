//! One read of an image for all hosts that are to get it.
//!
//! Shipments of the same image from the same host that begin together make a convoy: the source's archive is read once and goes to
//! each, without the layers that it has. All go at the pace of the slowest, so that little is in memory; one that takes nothing for
//! `STALLED_MAX`, or fails, is left behind, and the others go on.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::StreamExt;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::saved::{Receiver, fan_out};
use crate::delivery::{Pipe, Reader, pipe};
use crate::engine::{Engine, EngineError, Pieces};
use crate::project::HostName;

/// Who is expected and has not come after this time, because another host does not answer, gets a read of its own.
const GATHERING_MAX: Duration = Duration::from_secs(5);
/// An engine that takes nothing for this long is writing to no disk.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Image and source.
type Key = (String, HostName);

/// Where convoys gather. One for all shipments that are made together.
#[derive(Default)]
pub struct Harbour {
    gathering: Mutex<BTreeMap<Key, Gathering>>,
}

/// Shipments of one image from one host.
#[derive(Default)]
struct Gathering {
    /// How many are still to come.
    expected: usize,
    members: Vec<Receiver<Pipe>>,
    changed: Arc<Notify>,
    failure: Failure,
}

/// Why the source's archive ended early, if it did.
type Failure = Arc<Mutex<Option<EngineError>>>;

/// A shipment on its way to a convoy. Dropped before it joined, it is not waited for.
pub(super) struct Ticket<'a> {
    harbour: &'a Harbour,
    key: Key,
    is_used: bool,
}

/// The archive as one member gets it, and where its source's failure would be.
pub(super) struct Berth {
    pub(super) pieces: Pieces,
    failure: Failure,
}

impl Harbour {
    /// `shipments`: image and source of each that may come.
    pub fn expecting<'a>(shipments: impl Iterator<Item = (&'a str, &'a HostName)>) -> Self {
        let harbour = Self::default();
        for (image, source) in shipments {
            harbour.lock().entry((image.to_owned(), source.clone())).or_default().expected += 1;
        }
        harbour
    }

    pub(super) fn ticket(&self, image: &str, source: &HostName) -> Ticket<'_> {
        Ticket { harbour: self, key: (image.to_owned(), source.clone()), is_used: false }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Gathering>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One less to wait for.
    fn arrived(&self, key: &Key) {
        if let Some(gathering) = self.lock().get_mut(key) {
            gathering.expected = gathering.expected.saturating_sub(1);
            gathering.changed.notify_waiters();
        }
    }

    /// The members that set off now; nothing while more are to come and there is time, or where another of them took them along.
    fn depart(&self, key: &Key, failure: &Failure, is_late: bool) -> Option<Vec<Receiver<Pipe>>> {
        let mut gathering = self.lock();
        let found = gathering.get_mut(key)?;
        if !Arc::ptr_eq(&found.failure, failure) || (found.expected > 0 && !is_late) {
            return None;
        }
        // Who comes now is of another convoy.
        found.failure = Failure::default();
        Some(std::mem::take(&mut found.members))
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.harbour.arrived(&self.key);
        }
    }
}

impl Ticket<'_> {
    /// The image's archive without its first `known` layers, once all that are expected have come. The last of them sends it off.
    pub(super) async fn join(mut self, source: &Arc<dyn Engine>, layers: &[String], known: usize) -> Berth {
        let (writer, pieces) = pipe();
        let (failure, changed) = {
            let mut gathering = self.harbour.lock();
            let found = gathering.entry(self.key.clone()).or_default();
            found.members.push(Receiver::new(known, writer.impatient(STALLED_MAX)));
            (Arc::clone(&found.failure), Arc::clone(&found.changed))
        };
        self.is_used = true;
        self.harbour.arrived(&self.key);
        let deadline = Instant::now() + GATHERING_MAX;
        loop {
            let told = changed.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let is_late = Instant::now() >= deadline;
            if let Some(members) = self.harbour.depart(&self.key, &failure, is_late) {
                let (source, layers) = (Arc::clone(source), layers.to_vec());
                tokio::spawn(sail(source, self.key.0.clone(), layers, members, Arc::clone(&failure)));
                changed.notify_waiters();
            }
            if self.has_left(&failure) {
                return Berth { pieces, failure };
            }
            let _ = timeout_at(deadline, told).await;
        }
    }

    fn has_left(&self, failure: &Failure) -> bool {
        self.harbour.lock().get(&self.key).is_none_or(|found| !Arc::ptr_eq(&found.failure, failure))
    }
}

impl Berth {
    /// What a failed load was due to: the source, or the target itself.
    pub(super) fn blame(failure: &Failure, error: EngineError) -> EngineError {
        failure.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(error)
    }

    pub(super) fn split(self) -> (Pieces, Failure) {
        (self.pieces, self.failure)
    }
}

/// A read for one alone.
pub(super) fn alone(source: &Arc<dyn Engine>, image: &str, layers: &[String], known: usize) -> Berth {
    let (writer, pieces) = pipe();
    let failure = Failure::default();
    let members = vec![Receiver::new(known, writer)];
    tokio::spawn(sail(Arc::clone(source), image.to_owned(), layers.to_vec(), members, Arc::clone(&failure)));
    Berth { pieces, failure }
}

/// Reads the source to its end, or until nobody takes it any more.
async fn sail(source: Arc<dyn Engine>, image: String, layers: Vec<String>, members: Vec<Receiver<Pipe>>, failure: Failure) {
    let blame = |error: EngineError| {
        let told = io::Error::other(error.message.clone());
        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    };
    let (sender, reader) = Reader::fed();
    let filtering = tokio::task::spawn_blocking(move || {
        for (out, end) in fan_out(reader, &layers, members) {
            out.finish(end);
        }
    });
    match source.save(&image).await {
        Err(error) => drop(sender.send(Err(blame(error))).await),
        Ok(mut saved) => {
            while let Some(piece) = saved.next().await {
                let piece = piece.map_err(&blame);
                let is_broken = piece.is_err();
                if sender.send(piece).await.is_err() || is_broken {
                    break;
                }
            }
        }
    }
    drop(sender);
    let _ = filtering.await;
}
