//! Who acts: supervisors and users, each a process with a runtime of its own that can be frozen and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcompose::apply::{Limits, apply};
use mcompose::engine::Engines;
use mcompose::placement::{Request, place, seats_to_remember};
use mcompose::plan::{Goal, Inputs, Plan, Up, plan};
use mcompose::project::{Host, Project};
use mcompose::store::{self, Draft, Holder, RecordState, Store, StoreError};
use mcompose::supervise::machine::{Notice, Settings};
use mcompose::supervise::{Changed, Scope, Supervision, updates};
use mcompose::world::{Fabric, Question, Sight, World};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::town::{Town, shop};

/// A user waits this long for the lock, and for a host to show itself.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);
/// Seldom enough for many histories, and often enough for a host to be lost after five seconds.
const HEARTBEAT_MS: u64 = 1_500;
const LOOK_WAIT_MAX: Duration = Duration::from_secs(8);

/// What somebody said, and when.
#[derive(Debug, Clone)]
pub enum Said {
    Notice(Notice),
    /// This revision is the newest record from now on.
    Kept(u64),
    Text(String),
}

/// Shared by all who say something: time, who, what.
pub type Diary = Arc<Mutex<Vec<(u64, String, Said)>>>;

pub struct Process {
    pub name: String,
    runtime: Runtime,
    pub is_frozen: bool,
    user: Option<JoinHandle<()>>,
    behind: Duration,
    /// Of all hosts, those that the inventory does not list too.
    engines: Engines,
    /// What brings a supervisor other hosts.
    changes: Option<mpsc::UnboundedSender<Changed>>,
    /// What would end a supervisor, were it dropped.
    _stop: Option<watch::Sender<bool>>,
}

/// The clock of one process.
#[derive(Clone)]
struct Clock {
    began: Instant,
    began_ms: u64,
    who: String,
    diary: Diary,
}

impl Clock {
    fn say(&self, said: Said) {
        let at_ms = self.began_ms + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.diary.lock().unwrap_or_else(PoisonError::into_inner).push((at_ms, self.who.clone(), said));
    }
}

impl Process {
    pub fn supervisor(name: &str, token: u64, town: &Town, diary: &Diary) -> Self {
        let (runtime, clock, engines) = begin(name, town, diary);
        let (stop, stopped) = watch::channel(false);
        let (changes, changed) = mpsc::unbounded_channel();
        let supervision = Supervision {
            hosts: town.hosts.clone(),
            store: town.store(&engines),
            engines: town.listed(&engines),
            fabric: town.fabric(),
            settings: Settings { seed: token, ..settings(town) },
            lost_after_ms_of: BTreeMap::new(),
            scope: Scope::All,
            limits: Limits { per_host: 6, ..Limits::default() },
            holder: holder(name, token),
            keys: mcompose::delivery::Keys::default(),
            clock: store::Clock::Simulated(Arc::default()),
        };
        let tell = move |notice: Notice| clock.say(Said::Notice(notice));
        runtime.spawn(mcompose::supervise::run(supervision, changed, tell, stopped));
        Self {
            name: name.to_owned(),
            runtime,
            is_frozen: false,
            user: None,
            behind: Duration::ZERO,
            engines,
            changes: Some(changes),
            _stop: Some(stop),
        }
    }

    /// The inventory was edited, which a supervisor finds out at once, or when it lives again.
    pub fn read_inventory(&self, town: &Town) {
        if let Some(changes) = &self.changes {
            let _ = changes.send(Changed {
                hosts: town.hosts.clone(),
                engines: town.listed(&self.engines),
                fabric: town.fabric(),
                store: town.store(&self.engines),
                settings: settings(town),
                lost_after_ms_of: BTreeMap::new(),
            });
        }
    }

    /// Somebody who runs `up` once.
    pub fn user(name: &str, project: Project, town: &Town, diary: &Diary) -> Self {
        let (runtime, clock, engines) = begin(name, town, diary);
        let store = town.store(&engines);
        let user =
            User { engines: town.listed(&engines), store, hosts: town.hosts.clone(), fabric: town.fabric(), project, clock };
        let user = Some(runtime.spawn(user.deploy(holder(name, 0))));
        Self {
            name: name.to_owned(),
            runtime,
            is_frozen: false,
            user,
            behind: Duration::ZERO,
            engines,
            changes: None,
            _stop: None,
        }
    }

    /// Whether it has done what it wanted: a supervisor never has.
    pub fn is_done(&self) -> bool {
        self.user.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Lets it live for this long; who is frozen wakes up in a later time.
    pub fn live(&mut self, time: Duration) {
        if self.is_frozen {
            self.behind += time;
            return;
        }
        let behind = std::mem::take(&mut self.behind);
        self.runtime.block_on(async {
            if !behind.is_zero() {
                tokio::time::advance(behind).await;
            }
            tokio::time::sleep(time).await;
        });
    }
}

fn begin(name: &str, town: &Town, diary: &Diary) -> (Runtime, Clock, Engines) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be built");
    let (clock, engines) = runtime.block_on(async {
        let clock = Clock { began: Instant::now(), began_ms: town.now_ms(), who: name.to_owned(), diary: Arc::clone(diary) };
        (clock, town.fake.engines_of(name))
    });
    (runtime, clock, engines)
}

fn settings(town: &Town) -> Settings {
    Settings { heartbeat_ms: HEARTBEAT_MS, rebalance: town.rebalancing, ..Settings::default() }
}

fn holder(name: &str, token: u64) -> Holder {
    Holder { who: name.to_owned(), what: "simulated".to_owned(), since: 0, token: format!("{name}:{token}") }
}

struct User {
    engines: Engines,
    store: Arc<dyn Store>,
    hosts: Vec<Host>,
    fabric: Fabric,
    project: Project,
    clock: Clock,
}

impl User {
    async fn deploy(self, holder: Holder) {
        match self.up(&holder).await {
            Ok(text) => self.clock.say(Said::Text(text)),
            Err(error) => self.clock.say(Said::Text(format!("up failed: {error}"))),
        }
    }

    /// As the verb does it: lock, look, place, plan, record, apply.
    async fn up(&self, holder: &Holder) -> Result<String, StoreError> {
        let lock = self.store.lock(&shop(), holder, LOCK_WAIT_MAX, &|_| {}).await?;
        let end = self.reach(lock.lost()).await;
        lock.release().await;
        end
    }

    async fn reach(&self, lost: watch::Receiver<bool>) -> Result<String, StoreError> {
        let world = self.look().await;
        let known = self.store.latest(&shop()).await?;
        let known_seats = known.map(|known| known.seats).unwrap_or_default();
        let request = Request { known: known_seats.clone(), fabric: self.fabric.clone(), ..Request::default() };
        let placement = place(&self.project, &self.hosts, &world, &request);
        let draft = Draft {
            project: self.project.clone(),
            scales: BTreeMap::new(),
            seats: seats_to_remember(&self.project, &placement, &known_seats),
            halted: BTreeSet::new(),
            newest_seen: world.newest_revision(&shop()),
            created: 0,
            by: "somebody".to_owned(),
            command: "up".to_owned(),
        };
        let head = self.store.put(draft).await?.head;
        let revision = head.revision;
        if ![RecordState::Good, RecordState::Begun].contains(&head.state) {
            self.store.set_state(&shop(), revision, RecordState::Begun, &BTreeSet::new()).await?;
        }
        self.clock.say(Said::Kept(revision));
        let inputs = Inputs {
            project: &self.project,
            placement: &placement,
            hosts: &self.hosts,
            world: &world,
            fabric: &self.fabric,
            revision,
            here: &BTreeSet::new(),
            kept: None,
        };
        let plan: Plan = plan(&Goal::Up(Up::default()), &inputs);
        let (events, _unread) = mpsc::unbounded_channel();
        let outcome = apply(&self.engines, &plan, &Limits::default(), &Default::default(), events, lost).await;
        let failures = outcome.failures().count();
        // One that is to go back is left to a supervisor, as by an `up` that died.
        updates::judge(self.store.as_ref(), revision, &plan, &outcome).await?;
        if outcome.is_success() && !plan.is_partial() {
            self.store.set_state(&shop(), revision, RecordState::Good, &BTreeSet::new()).await?;
        }
        Ok(format!("up of revision {revision} ended: {} steps, {failures} failed", plan.steps.len()))
    }

    async fn look(&self) -> World {
        let images = self.project.services.values().filter_map(|service| service.image.clone()).collect();
        let question = Question::about(images);
        let mut world = World::default();
        let looks = self.engines.iter().map(|(name, engine)| {
            let question = &question;
            async move { (name.clone(), timeout(LOOK_WAIT_MAX, engine.look(question)).await) }
        });
        for (name, look) in futures_util::future::join_all(looks).await {
            let sight = match look {
                Ok(Ok(seen)) => Sight::Seen(Arc::new(seen)),
                Ok(Err(error)) => Sight::Unreachable { why: error.message },
                Err(_) => Sight::Unreachable { why: "no answer".to_owned() },
            };
            world.hosts.insert(name, sight);
        }
        world
    }
}
