//! Pings, looks and event streams of the hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::machine::{Event, Notice};
use super::run::{Message, Names, is_true};
use crate::engine::{ContainerEvent, Engine, EngineError, Engines, ErrorKind, Turns};
use crate::project::HostName;
use crate::world::{Pace, Question, SeenHost, Sight, Swarm};

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
/// The same where there are so many hosts that each is asked one thing after the other: every fourth look.
const WHOLE_EVERY_OF_MANY: Duration = Duration::from_secs(115);
/// What the images are that were asked about: an inspection each. A plan that misses one, or brings one, looks at them as well.
const IMAGES_EVERY: Duration = Duration::from_secs(290);
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
    pingers: BTreeMap<HostName, Pinger>,
    question: Question,
    turns: Turns,
    /// Whether a host's heartbeat is not answered now.
    doubts: BTreeMap<HostName, watch::Sender<bool>>,
}

/// The last look at a host, with what was known but its containers by an earlier one.
type Known = Arc<Mutex<Option<Last>>>;

#[derive(Clone)]
struct Last {
    /// When all of it was looked at.
    whole_at: Instant,
    images_at: Instant,
    question: Question,
    seen: Arc<SeenHost>,
}

/// Pings one host whenever it is asked to. It lives as long as the host is watched, since a task for each ping costs more than the ping.
struct Pinger {
    asked: Arc<Notify>,
    task: AbortHandle,
}

impl Pinger {
    fn begin(host: HostName, engine: Arc<dyn Engine>, sender: mpsc::UnboundedSender<Message>) -> Self {
        let asked = Arc::new(Notify::new());
        let heard = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                heard.notified().await;
                let host = host.clone();
                let event = match timeout(PING_WAIT_MAX, engine.ping()).await {
                    Ok(Ok(())) => Event::Answered { host },
                    Ok(Err(error)) => silent(host, &error),
                    Err(_) => Event::Silent { host, refused: false, why: format!("no answer within {PING_WAIT_MAX:?}") },
                };
                if sender.send(Message::Event(event)).is_err() {
                    return;
                }
            }
        });
        Self { asked, task: task.abort_handle() }
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.task.abort();
    }
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
    turns: Turns,
    doubt: watch::Receiver<bool>,
}

impl Hosts {
    pub(super) fn new(engines: Engines, sender: mpsc::UnboundedSender<Message>) -> Self {
        let mut hosts = Self {
            engines: Engines::new(),
            sender,
            known: BTreeMap::new(),
            followers: BTreeMap::new(),
            silent: BTreeMap::new(),
            pingers: BTreeMap::new(),
            question: Question::default(),
            turns: Turns::default(),
            doubts: BTreeMap::new(),
        };
        hosts.change(engines);
        hosts
    }

    pub(super) fn engines(&self) -> Engines {
        self.engines.clone()
    }

    /// The engines of the hosts that are listed now. Those of hosts that stayed are kept, one connection per host, and those of hosts
    /// that left are, until they are let go. Hosts that were in no swarm may be in one by now: they are looked at anew.
    pub(super) fn change(&mut self, engines: Engines) {
        let is_outside = |known: &Known| {
            let last = known.lock().unwrap_or_else(PoisonError::into_inner);
            last.as_ref().is_some_and(|last| !matches!(last.seen.swarm, Swarm::Active(_)))
        };
        let outside: Vec<HostName> =
            self.known.iter().filter(|(_, known)| is_outside(known)).map(|(name, _)| name.clone()).collect();
        for host in outside {
            self.known.insert(host.clone(), Known::default());
            let _ = self.sender.send(Message::Event(Event::Doubted { host }));
        }
        for (name, engine) in engines {
            if self.engines.get(&name).is_none_or(|known| !Arc::ptr_eq(known, &engine)) {
                self.let_go(&name);
                self.pingers.insert(name.clone(), Pinger::begin(name.clone(), Arc::clone(&engine), self.sender.clone()));
                self.engines.insert(name.clone(), engine);
                self.known.insert(name.clone(), Known::default());
                self.doubts.insert(name.clone(), watch::Sender::new(false));
                self.follow(&name);
            }
        }
        self.question.pace = Pace::of_hosts(self.engines.len());
    }

    pub(super) fn let_go(&mut self, name: &HostName) {
        self.engines.remove(name);
        self.known.remove(name);
        self.doubts.remove(name);
        self.silent.remove(name);
        self.pingers.remove(name);
        self.followers.remove(name).iter().for_each(AbortHandle::abort);
        self.question.pace = Pace::of_hosts(self.engines.len());
    }

    /// Sets which images are asked about from now on; whether that is something new.
    pub(super) fn ask(&mut self, images: BTreeSet<String>) -> bool {
        if images == self.question.images {
            return false;
        }
        self.question.images = images;
        true
    }

    pub(super) fn ping(&self, host: &HostName) {
        if let Some(pinger) = self.pingers.get(host) {
            pinger.asked.notify_one();
        }
    }

    pub(super) fn look(&self, host: HostName) {
        let Some(looker) = self.looker(&host) else { return };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let event = match looker.look().await {
                Ok(seen) => Event::Looked { host, seen },
                Err(error) => silent(host, &error),
            };
            let _ = sender.send(Message::Event(event));
        });
    }

    fn looker(&self, host: &HostName) -> Option<Looker> {
        let (engine, known) = (Arc::clone(self.engines.get(host)?), Arc::clone(self.known.get(host)?));
        let (question, turns) = (self.question.clone(), self.turns.clone());
        let (doubt, spares) = (self.doubts.get(host)?.subscribe(), self.doubts_leader());
        Some(Looker { host: host.clone(), engine, known, question, turns, doubt, spares })
    }

    /// Whether a manager fell silent a moment ago. It may have been the leader.
    fn doubts_leader(&self) -> bool {
        let manages = |host: &HostName| {
            let known = self.known.get(host).map(|known| known.lock().unwrap_or_else(PoisonError::into_inner));
            let swarm = known.as_ref().and_then(|known| known.as_ref()).map(|last| &last.seen.swarm);
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
        let (host, is_doubted) = match notice {
            Notice::HostDoubtful { host, .. } => (host, true),
            Notice::HostBack { host, .. } | Notice::HostUp { host } => (host, false),
            _ => return,
        };
        match is_doubted {
            true => drop(self.silent.insert(host.clone(), Instant::now())),
            false => drop(self.silent.remove(host)),
        }
        let Some(doubt) = self.doubts.get(host) else { return };
        let was_doubted = doubt.send_replace(is_doubted);
        if was_doubted && !is_doubted {
            self.known.insert(host.clone(), Known::default());
            self.follow(host);
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
    async fn look(&self) -> Result<Arc<SeenHost>, EngineError> {
        let known = self.known().clone();
        let whole_every = match self.question.pace {
            Pace::AtOnce => WHOLE_EVERY,
            Pace::OneByOne => WHOLE_EVERY_OF_MANY,
        };
        match known.filter(|known| known.question == self.question) {
            Some(known) if known.whole_at.elapsed() < whole_every || self.spares => {
                let seen = self.look_again(known).await?;
                let is_whole = self.spares || !has_another_volume(&seen);
                if is_whole { Ok(seen) } else { Ok(self.look_whole().await.unwrap_or(seen)) }
            }
            Some(known) => {
                let images = Some(&known).filter(|known| known.images_at.elapsed() < IMAGES_EVERY);
                match self.look_beyond(images).await {
                    Ok(seen) => Ok(seen),
                    // Between two leaders a manager does not show its swarm.
                    Err(_) => self.look_again(known).await,
                }
            }
            None => self.look_whole().await,
        }
    }

    /// Everything, whatever was known, if the swarm can be asked.
    async fn look_anew(&self) -> Result<Arc<SeenHost>, EngineError> {
        if self.spares { self.look().await } else { self.look_whole().await }
    }

    /// Everything, whatever was known.
    async fn look_whole(&self) -> Result<Arc<SeenHost>, EngineError> {
        self.look_beyond(None).await
    }

    /// Everything, or everything but the images, where they are known.
    async fn look_beyond(&self, images: Option<&Last>) -> Result<Arc<SeenHost>, EngineError> {
        let question = match images {
            Some(_) => &Question { pace: self.question.pace, ..Question::default() },
            None => &self.question,
        };
        let mut seen = self.bounded(self.engine.look(question)).await?;
        let (whole_at, mut images_at) = (Instant::now(), Instant::now());
        let mut last = self.known();
        if let Some(known) = images {
            // Another look may have asked about them meanwhile.
            let is_newer = |last: &&Last| last.question == self.question && last.images_at > known.images_at;
            let known = last.as_ref().filter(is_newer).unwrap_or(known);
            images_at = known.images_at;
            seen.images = known.seen.images.clone();
        }
        let seen = Arc::new(seen);
        *last = Some(Last { whole_at, images_at, question: self.question.clone(), seen: Arc::clone(&seen) });
        Ok(seen)
    }

    /// The containers alone.
    async fn look_again(&self, known: Last) -> Result<Arc<SeenHost>, EngineError> {
        let containers = self.bounded(self.engine.containers(self.question.pace)).await?;
        if containers == known.seen.containers {
            return Ok(known.seen);
        }
        let SeenHost { engine, swarm, networks, volumes, images, .. } = known.seen.as_ref();
        let (engine, swarm, images) = (engine.clone(), swarm.clone(), images.clone());
        let seen = SeenHost { engine, swarm, containers, networks: networks.clone(), volumes: volumes.clone(), images };
        let seen = Arc::new(seen);
        // Only its memory is shared: who looked at the whole meanwhile knows better.
        if let Some(last) = self.known().as_mut()
            && Arc::ptr_eq(&last.seen, &known.seen)
        {
            last.seen = Arc::clone(&seen);
        }
        Ok(seen)
    }

    fn known(&self) -> MutexGuard<'_, Option<Last>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        let looked = self.turns.take(async { timeout(LOOK_WAIT_MAX, call).await }).await;
        looked.unwrap_or_else(|_| Err(self.late(format!("no answer within {LOOK_WAIT_MAX:?}"))))
    }

    fn late(&self, message: String) -> EngineError {
        EngineError { host: self.host.clone(), call: "look at the host".to_owned(), kind: ErrorKind::Timeout, message }
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

/// Looks at several hosts at once. Who does not answer a heartbeat meanwhile, or did not answer the last one, is waited for no longer: the
/// others must not be.
pub(super) async fn look_at(lookers: Vec<Looker>, extent: Extent) -> BTreeMap<HostName, Sight> {
    let looks = lookers.into_iter().map(|looker| async move {
        let mut doubt = looker.doubt.clone();
        let look = async {
            match extent {
                Extent::Containers => looker.look().await,
                Extent::Doubtful => looker.look_anew().await,
                Extent::Changed => looker.look_whole().await,
            }
        };
        let looked = tokio::select! {
            biased;
            looked = look => looked,
            () = is_true(&mut doubt) => Err(looker.late("its heartbeat is not answered".to_owned())),
        };
        let sight = match looked {
            Ok(seen) => Sight::Seen(seen),
            Err(error) => Sight::Unreachable { why: error.message },
        };
        (looker.host, sight)
    });
    join_all(looks).await.into_iter().collect()
}

fn silent(host: HostName, error: &EngineError) -> Event {
    let said = error.message.to_lowercase();
    let refused = error.kind != ErrorKind::Timeout && (said.contains("refused") || said.contains("reset"));
    Event::Silent { host, refused, why: error.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::Fake;

    fn name(text: &str) -> HostName {
        HostName::new(text).expect("a good name")
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_no_heartbeat_keeps_nobody_waiting_who_looks_at_others() {
        let fake = Fake::new(&["h1", "h2"]).paced(1);
        let (sender, _messages) = mpsc::unbounded_channel();
        let mut hosts = Hosts::new(fake.engines_of("s1"), sender);
        fake.host("h2").freeze();
        let lookers = hosts.lookers(&Names::from([name("h1"), name("h2")]));
        let began = Instant::now();
        let looks = tokio::spawn(look_at(lookers, Extent::Containers));
        sleep(Duration::from_secs(1)).await;
        assert!(!looks.is_finished(), "h2 may still answer");
        hosts.hear(&Notice::HostDoubtful { host: name("h2"), why: "no answer within 2s".to_owned() });
        let looks = looks.await.expect("they end");
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert!(matches!(looks[&name("h1")], Sight::Seen(_)));
        assert_eq!(looks[&name("h2")], Sight::Unreachable { why: "its heartbeat is not answered".to_owned() });
        fake.host("h2").thaw();
        hosts.hear(&Notice::HostUp { host: name("h2") });
        let looks = look_at(hosts.lookers(&Names::from([name("h2")])), Extent::Containers).await;
        assert!(matches!(looks[&name("h2")], Sight::Seen(_)), "it answers again");
    }

    #[tokio::test(start_paused = true)]
    async fn images_are_asked_about_more_rarely_than_the_rest() {
        let fake = Fake::new(&["h1"]);
        fake.host("h1").add_image("web:1");
        let (sender, _messages) = mpsc::unbounded_channel();
        let mut hosts = Hosts::new(fake.engines(), sender);
        hosts.ask(BTreeSet::from(["web:1".to_owned(), "web:2".to_owned()]));
        let look = async |hosts: &Hosts| {
            let looker = hosts.looker(&name("h1")).expect("it is watched");
            looker.look().await.expect("it answers")
        };
        assert_eq!(look(&hosts).await.images.keys().collect::<Vec<_>>(), ["web:1"]);
        fake.host("h1").add_image("web:2");
        fake.host("h1").add_volume("data");
        sleep(WHOLE_EVERY).await;
        let seen = look(&hosts).await;
        assert_eq!((seen.images.len(), seen.volumes.len()), (1, 1), "the volume is seen, the image is not yet");
        let again = look(&hosts).await;
        assert!(Arc::ptr_eq(&seen, &again), "what shows nothing new is the very same value");
        sleep(IMAGES_EVERY).await;
        assert_eq!(look(&hosts).await.images.len(), 2);
    }
}
