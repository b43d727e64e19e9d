//! Calls that take time, for simulations: every caller has a way of its own to every host, with latency and faults by seed.
//!
//! A paced cluster has no clock of its own: it stands where the caller's runtime stands (tokio's, paused), so that several
//! supervisors, each in a runtime of its own, live in the same minute and can be frozen or killed like processes. What a caller
//! has sent is carried out when it arrives, whether or not the caller still waits for the answer.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, sleep};

use super::calls::{FakeEngine, Kind};
use super::state::{Cluster, Fail, Reach, mixed};
use super::{Fake, FakeHost};
use crate::engine::{ContainerEvent, EngineError, Engines, ErrorKind};
use crate::project::HostName;

/// A caller that waits for a host that does not answer asks this often whether it does.
const POLL: Duration = Duration::from_millis(250);
/// A call that comes late is carried out up to this much later than it was sent.
const LATE_MS_MAX: u64 = 20_000;
/// An event that comes late is told up to this much later than it happened.
const EVENT_LATE_MS_MAX: u64 = 5_000;

/// Whether what a caller sends arrives at a host, and whether what the host says comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub there: bool,
    pub back: bool,
}

impl Link {
    pub const WHOLE: Self = Self { there: true, back: true };
}

/// A call that changes something, as it left its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Milliseconds since 1970 by the cluster's clock.
    pub at_ms: u64,
    pub by: String,
    pub host: HostName,
    /// In words, with its object.
    pub call: String,
    /// Of the record that a container is created for.
    pub revision: Option<u64>,
}

pub(super) struct Pace {
    seed: u64,
    /// Of a thousand calls that change something, and of four thousand others.
    per_mille: u32,
    /// Of a thousand events.
    events_per_mille: u32,
    links: BTreeMap<(String, HostName), Link>,
    /// How often each caller has made each call on each host: dice that do not depend on who of several is first.
    counts: BTreeMap<u64, u64>,
    requests: VecDeque<Request>,
    sent: Vec<Sent>,
}

/// A call on its way to a host.
struct Request {
    arrives_ms: u64,
    host: HostName,
    carry_out: CarryOut,
}

type CarryOut = Box<dyn FnOnce(&mut Cluster, &HostName) + Send>;

/// Who calls, and where its clock stood when it began to.
#[derive(Clone)]
pub(super) struct Caller {
    name: String,
    began: Instant,
    began_ms: u64,
}

/// How one call fares.
#[derive(Clone, Copy)]
struct Trip {
    there_ms: u64,
    back_ms: u64,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Well,
    Fails,
    Lost,
    Unanswered,
    Late,
}

impl Fake {
    /// The same cluster with calls that take time.
    pub fn paced(self, seed: u64) -> Self {
        let pace = Pace {
            seed,
            per_mille: 0,
            events_per_mille: 0,
            links: BTreeMap::new(),
            counts: BTreeMap::new(),
            requests: VecDeque::new(),
            sent: Vec::new(),
        };
        self.change(|cluster| cluster.pace = Some(pace));
        self
    }

    /// The engines as one caller reaches them. To be called in the runtime, with paused time, that the caller lives in.
    pub fn engines_of(&self, caller: &str) -> Engines {
        let caller = Caller { name: caller.to_owned(), began: Instant::now(), began_ms: self.now_ms() };
        self.engines_with(Some(&caller))
    }

    /// Moves a paced cluster's clock to a time, unless it stands there already or later.
    pub fn advance_to(&self, ms: u64) {
        self.change(|cluster| cluster.advance_to(ms));
    }

    /// Lets this many of a thousand paced calls that change something go wrong, and a fourth of that of all others.
    pub fn trouble(&self, per_mille: u32) {
        self.change_pace(|pace| pace.per_mille = per_mille);
    }

    /// Lets this many of a thousand events be lost, as many be told twice, and as many come late.
    pub fn trouble_events(&self, per_mille: u32) {
        self.change_pace(|pace| pace.events_per_mille = per_mille);
    }

    pub fn set_link(&self, caller: &str, host: &str, link: Link) {
        let Ok(host) = HostName::new(host) else { return };
        self.change_pace(|pace| pace.links.extend([((caller.to_owned(), host), link)]));
        self.happened.notify_waiters();
    }

    /// What happened to containers from the `from`th event on, with the host.
    pub fn events_from(&self, from: usize) -> Vec<(HostName, ContainerEvent)> {
        self.lock().events.get(from..).unwrap_or_default().to_vec()
    }

    /// What paced callers sent from the `from`th call on.
    pub fn sent_from(&self, from: usize) -> Vec<Sent> {
        let cluster = self.lock();
        cluster.pace.as_ref().and_then(|pace| pace.sent.get(from..)).unwrap_or_default().to_vec()
    }

    fn change_pace(&self, change: impl FnOnce(&mut Pace)) {
        self.change(|cluster| cluster.pace.as_mut().map(change));
    }
}

impl FakeHost {
    /// Whether it answers; nothing else of it is told.
    pub fn reach(&self) -> Reach {
        self.fake.lock().hosts.get(self.name.as_str()).map_or(Reach::Crashed, |host| host.reach)
    }

    /// Everything on the host stands still; what is sent to it is carried out once it goes on.
    pub fn freeze(&self) {
        self.with(|host, _| {
            if host.reach == Reach::Up {
                host.reach = Reach::Frozen;
            }
        });
    }

    pub fn thaw(&self) {
        self.with(|host, _| {
            if host.reach == Reach::Frozen {
                host.reach = Reach::Up;
            }
        });
        self.fake.happened.notify_waiters();
    }

    /// Keeps what is on the disk now, for `boot_old`.
    pub fn save_disk(&self) {
        self.with(|host, _| host.saved = Some(host.disk()));
    }

    /// A host without power starts again with the disk that was saved: containers, volumes and networks are those of then.
    pub fn boot_old(&self) {
        self.with(|host, _| {
            if let Some(disk) = host.saved.clone().filter(|_| host.reach == Reach::Crashed) {
                host.put_disk(disk);
            }
        });
        self.boot();
    }

    /// A host without power starts again with nothing but its images: another disk. It is in no swarm then, and the one that it was in
    /// keeps its old place in the list.
    pub fn boot_empty(&self) {
        self.fake.change(|cluster| {
            let crashed = cluster.hosts.get_key_value(self.name.as_str()).filter(|(_, host)| host.reach == Reach::Crashed);
            if let Some(name) = crashed.map(|(name, _)| name.clone()) {
                cluster.lose_disk(&name);
            }
        });
        self.boot();
    }
}

impl Cluster {
    fn advance_to(&mut self, ms: u64) {
        self.advance(ms.saturating_sub(self.now_ms));
    }

    /// When the next call arrives at a host that is not frozen.
    pub(super) fn next_arrival_ms(&self) -> Option<u64> {
        let pace = self.pace.as_ref()?;
        pace.requests.iter().filter(|request| !self.is_frozen(&request.host)).map(|request| request.arrives_ms).min()
    }

    fn is_frozen(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|host| host.reach == Reach::Frozen)
    }

    /// Carries out the first call that has arrived, if one has.
    pub(super) fn carry_out_arrived(&mut self) -> bool {
        let now_ms = self.now_ms;
        let Some(pace) = &self.pace else { return false };
        let arrived = |request: &Request| request.arrives_ms <= now_ms && !self.is_frozen(&request.host);
        let indices = pace.requests.iter().enumerate().filter(|(_, request)| arrived(request));
        let first = indices.min_by_key(|(index, request)| (request.arrives_ms, *index)).map(|(index, _)| index);
        let request = first.and_then(|index| self.pace.as_mut()?.requests.remove(index));
        let Some(request) = request else { return false };
        // A host without power or network never hears of it.
        if self.reach(&request.host).is_ok() {
            (request.carry_out)(self, &request.host);
        }
        true
    }

    fn link(&self, caller: &str, host: &HostName) -> Link {
        let links = self.pace.as_ref().map(|pace| &pace.links);
        links.and_then(|links| links.get(&(caller.to_owned(), host.clone()))).copied().unwrap_or(Link::WHOLE)
    }

    fn trip(&mut self, caller: &str, host: &HostName, call: &str, kind: Kind) -> Trip {
        let Some(pace) = &mut self.pace else { return Trip { there_ms: 0, back_ms: 0, fate: Fate::Well } };
        let mut hasher = DefaultHasher::new();
        (pace.seed, caller, host.as_str(), call).hash(&mut hasher);
        let key = hasher.finish();
        let count = pace.counts.entry(key).or_default();
        *count += 1;
        let dice = mixed(key ^ mixed(*count));
        let odds = if kind == Kind::Changes { 1_000 } else { 4_000 };
        let fate = match (dice % odds < u64::from(pace.per_mille), mixed(dice) % 4, kind) {
            (false, ..) => Fate::Well,
            (true, 0, _) => Fate::Fails,
            (true, 1, _) | (true, _, Kind::Reads) => Fate::Lost,
            (true, 2, _) => Fate::Unanswered,
            (true, ..) => Fate::Late,
        };
        let late_ms = if fate == Fate::Late { mixed(dice + 1) % LATE_MS_MAX } else { 0 };
        Trip { there_ms: 1 + mixed(dice + 2) % 20 + late_ms, back_ms: 1 + mixed(dice + 3) % 20, fate }
    }
}

impl FakeEngine {
    fn paced_now_ms(caller: &Caller) -> u64 {
        caller.began_ms + u64::try_from(caller.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn set_off(&self, caller: &Caller, call: &str, kind: Kind, revision: Option<u64>) -> Trip {
        let at_ms = Self::paced_now_ms(caller);
        self.fake.change(|cluster| {
            cluster.advance_to(at_ms);
            if kind == Kind::Changes
                && let Some(pace) = &mut cluster.pace
            {
                let (by, host, call) = (caller.name.clone(), self.host.clone(), call.to_owned());
                pace.sent.push(Sent { at_ms, by, host, call, revision });
            }
            cluster.trip(&caller.name, &self.host, call, kind)
        })
    }

    /// A call that is not begun before it arrives, and not at all once its caller has given up.
    pub(super) async fn paced<T>(
        &self,
        caller: &Caller,
        kind: Kind,
        call: &str,
        run: impl FnOnce(&mut Cluster, &HostName) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        let begun = Instant::now();
        let trip = self.set_off(caller, call, kind, None);
        sleep(Duration::from_millis(trip.there_ms)).await;
        if self.refuses(caller) {
            return Err(refused());
        }
        if trip.fate == Fate::Lost || !self.arrives(caller, begun, call).await {
            return self.silence(begun, call).await;
        }
        if trip.fate == Fate::Fails {
            return Err(Fail::failed("server error"));
        }
        let result = self.fake.change(|cluster| {
            cluster.advance_to(Self::paced_now_ms(caller));
            cluster.reach(&self.host)?;
            run(cluster, &self.host)
        });
        sleep(Duration::from_millis(trip.back_ms)).await;
        if trip.fate == Fate::Unanswered || !self.answers(caller) {
            return self.silence(begun, call).await;
        }
        result
    }

    /// A call that is carried out when it arrives, whatever became of its caller.
    pub(super) async fn send<T: Send + 'static>(
        &self,
        caller: &Caller,
        call: &str,
        revision: Option<u64>,
        run: impl FnOnce(&mut Cluster, &HostName) -> Result<T, Fail> + Send + 'static,
    ) -> Result<T, Fail> {
        let begun = Instant::now();
        let trip = self.set_off(caller, call, Kind::Changes, revision);
        let answer = Arc::new(Mutex::new(None));
        let (answered, name) = (Arc::clone(&answer), caller.name.clone());
        let carry_out = move |cluster: &mut Cluster, host: &HostName| {
            if cluster.link(&name, host).there {
                let result = match trip.fate {
                    Fate::Fails => Err(Fail::failed("server error")),
                    _ => run(cluster, host),
                };
                *answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        };
        if trip.fate != Fate::Lost {
            let arrives_ms = Self::paced_now_ms(caller) + trip.there_ms;
            let request = Request { arrives_ms, host: self.host.clone(), carry_out: Box::new(carry_out) };
            self.fake.change(|cluster| cluster.pace.as_mut().map(|pace| pace.requests.push_back(request)));
        }
        sleep(Duration::from_millis(trip.there_ms + trip.back_ms).min(bound_of(call))).await;
        loop {
            self.fake.advance_to(Self::paced_now_ms(caller));
            if self.refuses(caller) {
                return Err(refused());
            }
            if trip.fate != Fate::Unanswered && self.answers(caller) {
                let taken = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(result) = taken {
                    return result;
                }
            }
            if begun.elapsed() >= bound_of(call) {
                return self.silence(begun, call).await;
            }
            sleep(POLL).await;
        }
    }

    /// Whether a call comes to the engine before its caller gives up: a frozen host takes it once it goes on.
    async fn arrives(&self, caller: &Caller, begun: Instant, call: &str) -> bool {
        loop {
            let (reach, link) = {
                let cluster = self.fake.lock();
                (cluster.host(&self.host).map(|host| host.reach), cluster.link(&caller.name, &self.host))
            };
            match reach {
                Ok(Reach::Up) => return link.there,
                Ok(Reach::Frozen) if begun.elapsed() < bound_of(call) => sleep(POLL).await,
                _ => return false,
            }
        }
    }

    fn refuses(&self, caller: &Caller) -> bool {
        let cluster = self.fake.lock();
        let is_refusing = cluster.host(&self.host).is_ok_and(|host| host.reach == Reach::Refusing);
        is_refusing && cluster.link(&caller.name, &self.host) == Link::WHOLE
    }

    fn answers(&self, caller: &Caller) -> bool {
        let cluster = self.fake.lock();
        cluster.reach(&self.host).is_ok() && cluster.link(&caller.name, &self.host).back
    }

    async fn silence<T>(&self, begun: Instant, call: &str) -> Result<T, Fail> {
        sleep(bound_of(call).saturating_sub(begun.elapsed())).await;
        Err(Fail::new(ErrorKind::Timeout, "no answer in time"))
    }
}

fn refused() -> Fail {
    Fail::new(ErrorKind::Unreachable, "connection refused")
}

/// The bounds of the calls to real engines.
fn bound_of(call: &str) -> Duration {
    let secs = match call.split(' ').next().unwrap_or_default() {
        "ping" => 2,
        "start" | "restart" | "remove" => 60,
        "stop" => 30,
        _ => 20,
    };
    Duration::from_secs(secs)
}

/// What a caller is told of a host's events: some time after they happened, in order but for what troubles them.
struct Follower {
    fake: Fake,
    host: HostName,
    caller: Caller,
    next: usize,
    boots: u32,
    pending: VecDeque<(u64, ContainerEvent)>,
    has_ended: bool,
}

pub(super) fn paced_events(
    fake: Fake,
    host: HostName,
    caller: Caller,
    next: usize,
) -> BoxStream<'static, Result<ContainerEvent, EngineError>> {
    let boots = fake.lock().hosts.get(&host).map_or(0, |host| host.boots);
    let follower = Follower { fake, host, caller, next, boots, pending: VecDeque::new(), has_ended: false };
    stream::unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        Some((next, follower))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Option<Result<ContainerEvent, EngineError>> {
        let fake = self.fake.clone();
        loop {
            let happened = fake.happened.notified();
            tokio::pin!(happened);
            happened.as_mut().enable();
            let now_ms = FakeEngine::paced_now_ms(&self.caller);
            let (reach, boots, back) = self.take_new();
            if self.has_ended {
                return None;
            }
            let is_refused = reach == Some(Reach::Refusing);
            if (reach == Some(Reach::Up) || is_refused) && back {
                if boots != self.boots || is_refused {
                    self.has_ended = true;
                    let (call, message) = ("follow the engine's events".to_owned(), "connection reset by peer".to_owned());
                    return Some(Err(EngineError { host: self.host.clone(), call, kind: ErrorKind::Unreachable, message }));
                }
                if self.pending.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms) {
                    return self.pending.pop_front().map(|(_, event)| Ok(event));
                }
            }
            match self.pending.front().filter(|(due_ms, _)| *due_ms > now_ms) {
                Some((due_ms, _)) => {
                    tokio::select! {
                        biased;
                        () = &mut happened => {}
                        () = sleep(Duration::from_millis(due_ms - now_ms)) => {}
                    }
                }
                None => happened.await,
            }
        }
    }

    /// Takes over what happened since the last time, each with when it is told.
    fn take_new(&mut self) -> (Option<Reach>, u32, bool) {
        let cluster = self.fake.lock();
        let (seed, per_mille) = cluster.pace.as_ref().map_or((0, 0), |pace| (pace.seed, u64::from(pace.events_per_mille)));
        for (index, (host, event)) in cluster.events.iter().enumerate().skip(self.next) {
            if *host != self.host {
                continue;
            }
            let word = self.caller.name.bytes().fold(seed ^ index as u64, |sum, byte| mixed(sum ^ u64::from(byte)));
            let happened_ms = u64::try_from(event.time_ns / 1_000_000).unwrap_or_default();
            let due_ms = happened_ms + 1 + mixed(word) % 20;
            let late_ms = due_ms + mixed(word + 1) % EVENT_LATE_MS_MAX;
            let times: &[u64] = match (word % 1_000).checked_div(per_mille.max(1)).filter(|_| per_mille > 0) {
                Some(0) => &[],
                Some(1) => &[due_ms, late_ms],
                Some(2) => &[late_ms],
                _ => &[due_ms],
            };
            self.pending.extend(times.iter().map(|due_ms| (*due_ms, event.clone())));
        }
        self.next = cluster.events.len();
        self.pending.make_contiguous().sort_by_key(|(due_ms, _)| *due_ms);
        let host = cluster.hosts.get(&self.host);
        (host.map(|host| host.reach), host.map_or(0, |host| host.boots), cluster.link(&self.caller.name, &self.host).back)
    }
}
