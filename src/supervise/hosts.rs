//! Pings, looks and event streams of the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::machine::{Event, Notice};
use super::run::{Message, Names};
use crate::engine::{ContainerEvent, Engine, EngineError, Engines, ErrorKind};
use crate::project::HostName;
use crate::world::{Question, SeenHost, Sight, Swarm};

/// A ping that takes longer, its connection included, is not answered.
const PING_WAIT_MAX: Duration = Duration::from_secs(3);
/// A look that takes longer shows nothing. Without a leader, a manager takes 20 s to show its swarm.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(8);
/// What the swarm shows of networks, volumes and itself is asked for again after this long, and from a host that was away;
/// containers at each look. Every second look at a host that gives no sign is a whole one.
const WHOLE_EVERY: Duration = Duration::from_secs(55);
/// While a manager is silent, whether the swarm has a leader is not known: for this long nothing is asked that needs one, since a host
/// that is asked meanwhile may put no container on a network before it has given up the answer.
const LEADER_DOUBTED: Duration = Duration::from_secs(25);
/// Between two attempts to follow a host's events.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);
/// An engine tells of a death before its list shows it: first it takes the container off its networks, which takes 90 ms or, on a
/// busy machine, a second. So it is looked at again after each of these pauses.
const LIST_LAGS: &[Duration] = &[Duration::from_millis(120), Duration::from_millis(300), Duration::from_millis(1_500)];

pub(super) struct Hosts {
    engines: Engines,
    sender: mpsc::UnboundedSender<Message>,
    known: BTreeMap<HostName, Known>,
    followers: BTreeMap<HostName, AbortHandle>,
    /// Hosts that do not answer, and since when.
    silent: BTreeMap<HostName, Instant>,
    question: Question,
}

/// The last whole look at a host, without its containers.
type Known = Arc<Mutex<Option<Whole>>>;

#[derive(Clone)]
struct Whole {
    at: Instant,
    question: Question,
    seen: SeenHost,
}

/// Looks at one host.
#[derive(Clone)]
pub(super) struct Looker {
    host: HostName,
    engine: Arc<dyn Engine>,
    known: Known,
    question: Question,
    /// Nothing is asked of the swarm that is known already, however old.
    spares: bool,
}

impl Hosts {
    pub(super) fn new(engines: Engines, sender: mpsc::UnboundedSender<Message>) -> Self {
        let mut hosts = Self {
            engines: Engines::new(),
            sender,
            known: BTreeMap::new(),
            followers: BTreeMap::new(),
            silent: BTreeMap::new(),
            question: Question::default(),
        };
        hosts.change(engines);
        hosts
    }

    pub(super) fn engines(&self) -> Engines {
        self.engines.clone()
    }

    /// Engines of hosts that stayed are kept: one connection per host.
    pub(super) fn change(&mut self, engines: Engines) {
        let gone: Vec<HostName> = self.engines.keys().filter(|name| !engines.contains_key(*name)).cloned().collect();
        for name in gone {
            self.engines.remove(&name);
            self.known.remove(&name);
            self.followers.remove(&name).iter().for_each(AbortHandle::abort);
        }
        for (name, engine) in engines {
            if !self.engines.contains_key(&name) {
                self.engines.insert(name.clone(), engine);
                self.known.insert(name.clone(), Known::default());
                self.follow(&name);
            }
        }
    }

    /// Sets which images are asked about from now on; whether that is something new.
    pub(super) fn ask(&mut self, images: BTreeSet<String>) -> bool {
        if images == self.question.images {
            return false;
        }
        self.question = Question { images };
        true
    }

    pub(super) fn ping(&self, host: HostName) {
        let Some(engine) = self.engines.get(&host).cloned() else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let event = match timeout(PING_WAIT_MAX, engine.ping()).await {
                Ok(Ok(())) => Event::Answered { host },
                Ok(Err(error)) => silent(host, &error),
                Err(_) => Event::Silent { host, refused: false, why: format!("no answer within {PING_WAIT_MAX:?}") },
            };
            let _ = sender.send(Message::Event(event));
        });
    }

    pub(super) fn look(&self, host: HostName) {
        let Some(looker) = self.looker(&host) else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let event = match looker.look().await {
                Ok(seen) => Event::Looked { host, seen: Box::new(seen) },
                Err(error) => silent(host, &error),
            };
            let _ = sender.send(Message::Event(event));
        });
    }

    fn looker(&self, host: &HostName) -> Option<Looker> {
        let engine = Arc::clone(self.engines.get(host)?);
        let (known, question) = (Arc::clone(self.known.get(host)?), self.question.clone());
        Some(Looker { host: host.clone(), engine, known, question, spares: self.doubts_leader() })
    }

    /// Whether a manager fell silent a moment ago. It may have been the leader.
    fn doubts_leader(&self) -> bool {
        let manages = |host: &HostName| {
            let known = self.known.get(host).map(|known| known.lock().unwrap_or_else(PoisonError::into_inner));
            let swarm = known.as_ref().and_then(|known| known.as_ref()).map(|whole| &whole.seen.swarm);
            matches!(swarm, Some(Swarm::Active(member)) if member.is_manager)
        };
        self.silent.iter().any(|(host, since)| since.elapsed() < LEADER_DOUBTED && manages(host))
    }

    pub(super) fn lookers(&self, hosts: &Names) -> Vec<Looker> {
        hosts.iter().filter_map(|host| self.looker(host)).collect()
    }

    /// A host that was away may have left a dead connection behind, and come back as another: its events are followed anew, and
    /// it is looked at as a whole.
    pub(super) fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::HostBack { host, .. } | Notice::HostUp { host } => {
                let host = host.clone();
                self.silent.remove(&host);
                self.known.insert(host.clone(), Known::default());
                self.follow(&host);
            }
            Notice::HostDoubtful { host, .. } => drop(self.silent.insert(host.clone(), Instant::now())),
            _ => {}
        }
    }

    /// Every sign of change becomes a doubt. The end of a stream is one as well.
    fn follow(&mut self, host: &HostName) {
        let Some(engine) = self.engines.get(host).cloned() else { return };
        let (sender, name) = (self.sender.clone(), host.clone());
        let doubted = move || drop(sender.send(Message::Event(Event::Doubted { host: name.clone() })));
        let task = tokio::spawn(async move {
            loop {
                if let Ok(mut events) = engine.events("", "").await {
                    doubted();
                    let mut lags = [].iter();
                    loop {
                        let next = match lags.next() {
                            Some(lag) => timeout(*lag, events.next()).await.ok(),
                            None => Some(events.next().await),
                        };
                        match next {
                            Some(Some(Ok(event))) if is_change(&event) => {
                                doubted();
                                lags = LIST_LAGS.iter();
                            }
                            Some(Some(Ok(_))) => {}
                            Some(_) => break,
                            None => doubted(),
                        }
                    }
                    doubted();
                }
                sleep(FOLLOW_PAUSE).await;
            }
        });
        let before = self.followers.insert(host.clone(), task.abort_handle());
        before.iter().for_each(AbortHandle::abort);
    }
}

/// Whether an event may change what a look at the project's containers shows.
fn is_change(event: &ContainerEvent) -> bool {
    const CHANGES: &[&str] =
        &["create", "start", "die", "destroy", "rename", "pause", "unpause", "oom", "stop", "restart", "update"];
    let is_one = CHANGES.contains(&event.action.as_str()) || event.action.starts_with("health_status");
    is_one && event.labels.contains_key(crate::world::keys::PROJECT)
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.followers.values().for_each(AbortHandle::abort);
    }
}

impl Looker {
    /// The containers as they are; the rest as the last whole look showed it, which is made again where it is old.
    async fn look(&self) -> Result<SeenHost, EngineError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known.filter(|known| known.question == self.question) {
            Some(known) if known.at.elapsed() < WHOLE_EVERY || self.spares => {
                let seen = self.containers_in(known.seen).await?;
                let is_whole = self.spares || !has_another_volume(&seen);
                if is_whole { Ok(seen) } else { Ok(self.look_whole().await.unwrap_or(seen)) }
            }
            Some(known) => match self.look_whole().await {
                Ok(seen) => Ok(seen),
                // Between two leaders a manager does not show its swarm.
                Err(_) => self.containers_in(known.seen).await,
            },
            None => self.look_whole().await,
        }
    }

    /// Everything, whatever was known, if the swarm can be asked.
    async fn look_anew(&self) -> Result<SeenHost, EngineError> {
        if self.spares { self.look().await } else { self.look_whole().await }
    }

    /// Everything, whatever was known.
    async fn look_whole(&self) -> Result<SeenHost, EngineError> {
        let mut rest = bounded(&self.host, self.engine.look(&self.question)).await?;
        let containers = std::mem::take(&mut rest.containers);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Whole { at: Instant::now(), question: self.question.clone(), seen: rest.clone() });
        Ok(SeenHost { containers, ..rest })
    }

    async fn containers_in(&self, seen: SeenHost) -> Result<SeenHost, EngineError> {
        let containers = bounded(&self.host, self.engine.containers()).await?;
        Ok(SeenHost { containers, ..seen })
    }
}

/// Whether a container has a volume that was not there when volumes were looked at. Whoever removes the container leaves it behind, and
/// then nothing but the list of volumes says where the data is.
fn has_another_volume(seen: &SeenHost) -> bool {
    let known: BTreeSet<&str> = seen.volumes.iter().map(|volume| volume.name.as_str()).collect();
    let mounts = seen.containers.iter().flat_map(|container| &container.mounts);
    mounts.into_iter().any(|mount| mount.kind == "volume" && !mount.name.is_empty() && !known.contains(mount.name.as_str()))
}

/// How much of a host is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Containers,
    /// What was known of the rest may not hold.
    Doubtful,
    /// What was known of the rest does not hold.
    Changed,
}

/// Looks at several hosts at once.
pub(super) async fn look_at(lookers: Vec<Looker>, extent: Extent) -> BTreeMap<HostName, Sight> {
    let looks = lookers.into_iter().map(|looker| async move {
        let looked = match extent {
            Extent::Containers => looker.look().await,
            Extent::Doubtful => looker.look_anew().await,
            Extent::Changed => looker.look_whole().await,
        };
        let sight = match looked {
            Ok(seen) => Sight::Seen(Box::new(seen)),
            Err(error) => Sight::Unreachable { why: error.message },
        };
        (looker.host, sight)
    });
    join_all(looks).await.into_iter().collect()
}

async fn bounded<T>(host: &HostName, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    let late = || EngineError {
        host: host.clone(),
        call: "look at the host".to_owned(),
        kind: ErrorKind::Timeout,
        message: format!("no answer within {LOOK_WAIT_MAX:?}"),
    };
    timeout(LOOK_WAIT_MAX, call).await.unwrap_or_else(|_| Err(late()))
}

fn silent(host: HostName, error: &EngineError) -> Event {
    let said = error.message.to_lowercase();
    let refused = error.kind != ErrorKind::Timeout && (said.contains("refused") || said.contains("reset"));
    Event::Silent { host, refused, why: error.message.clone() }
}
