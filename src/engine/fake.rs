//! Hosts in memory, behind the same trait as the real engines: one fake for all tests.
//!
//! A `Fake` is a whole cluster: hosts with containers, networks, volumes and images, the swarms between them, a registry that
//! has every image, and a clock of its own that only moves when something waits. It answers as Docker Engine 20.10 to 28 were
//! seen to answer, the refusals too. Ids come from a counter, so the same calls give the same bytes. Nothing here sleeps.
//!
//! ```
//! use mcompose::engine::fake::Fake;
//! let fake = Fake::new(&["alpha", "beta"]);
//! fake.host("alpha").add_volume("shop_data");
//! fake.host("beta").cut();
//! assert!(fake.snapshot().seen("beta").is_none());
//! ```

mod archives;
mod calls;
mod containers;
mod faults;
mod images;
mod logs;
mod look;
mod networks;
mod pace;
mod state;
mod storage;
mod swarm;
mod time;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

pub use faults::{Fault, FaultRule};
pub use pace::{Link, Sent};
pub use state::{Behaviour, Call, Reach};

use state::{Cluster, Fail, FakeHostState};

use super::{Engine, Engines};
use crate::project::{ContainerSpec, HostName};
use crate::world::{Container, EngineInfo, Health, ImageSeen, Question, Sight, World};

/// A cluster of hosts in memory. Clones are the same cluster.
#[derive(Clone)]
pub struct Fake {
    cluster: Arc<Mutex<Cluster>>,
    /// Told at every change, for those that follow logs or hang.
    changes: Arc<Notify>,
    /// Told when something happened to a container, or a host is reached again.
    happened: Arc<Notify>,
}

impl Fake {
    /// Reachable hosts of 8 CPUs and 16 GiB each, in no swarm, with nothing on them. A text that is no host name is left out.
    pub fn new(hosts: &[&str]) -> Self {
        let mut cluster = Cluster::default();
        for name in hosts.iter().filter_map(|name| HostName::new(*name).ok()) {
            let number = cluster.hosts.len() + 1;
            cluster.hosts.insert(name.clone(), FakeHostState::new(&name, number));
        }
        Self { cluster: Arc::new(Mutex::new(cluster)), changes: Arc::default(), happened: Arc::default() }
    }

    /// The engines of all hosts, as the commands get them.
    pub fn engines(&self) -> Engines {
        self.engines_with(None)
    }

    fn engines_with(&self, caller: Option<&pace::Caller>) -> Engines {
        let names: Vec<HostName> = self.lock().hosts.keys().cloned().collect();
        let engine = |host: HostName| {
            let engine = calls::FakeEngine { fake: self.clone(), host: host.clone(), caller: caller.cloned() };
            let engine: Arc<dyn Engine> = Arc::new(engine);
            (host, engine)
        };
        names.into_iter().map(engine).collect()
    }

    /// A handle on one host, to look inside and to hurt it. Calls on a host that does not exist do nothing.
    pub fn host(&self, name: &str) -> FakeHost {
        FakeHost { fake: self.clone(), name: name.to_owned() }
    }

    /// What a look at every host would show now, every image among it.
    pub fn snapshot(&self) -> World {
        self.lock().snapshot(None)
    }

    /// What a look with this question would show now.
    pub fn snapshot_of(&self, question: &Question) -> World {
        self.lock().snapshot(Some(question))
    }

    /// Labels of the config objects of all swarms. No call, so that whoever looks on takes no time.
    pub fn config_labels(&self) -> Vec<BTreeMap<String, String>> {
        let cluster = self.lock();
        cluster.swarms.values().flat_map(|swarm| swarm.configs.values()).map(|config| config.labels.clone()).collect()
    }

    /// Every call since the beginning, those that failed too.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The most calls that were under way at the same time on one host.
    pub fn most_in_flight(&self, host: &str) -> u32 {
        self.lock().hosts.get(host).map(|host| host.most_in_flight).unwrap_or_default()
    }

    /// How containers of an image behave.
    pub fn behave(&self, image: &str, behaviour: Behaviour) {
        self.change(|cluster| cluster.behaviours.insert(image.to_owned(), behaviour));
    }

    /// Puts another image behind a reference in the registry; the next pull gets it.
    pub fn publish(&self, image: &str) {
        self.change(|cluster| *cluster.registry.entry(image.to_owned()).or_insert(Some(0)) = Some(cluster.next_id));
    }

    /// Takes a reference out of the registry.
    pub fn unpublish(&self, image: &str) {
        self.change(|cluster| cluster.registry.insert(image.to_owned(), None));
    }

    /// Lets calls that match go wrong. Rules are asked in the order in which they were added.
    pub fn fault(&self, rule: FaultRule) {
        self.change(|cluster| cluster.faults.rules.push(rule));
    }

    /// Lets this many of a thousand changing calls go wrong in a way that the seed decides; 0 ends it.
    pub fn faults_by_seed(&self, seed: u64, per_mille: u32) {
        self.change(|cluster| cluster.faults.roll(seed, per_mille));
    }

    /// Forgets every fault and lets hanging calls go on.
    pub fn heal_faults(&self) {
        self.change(|cluster| cluster.faults = faults::Faults::default());
    }

    /// Moves the clock: health is found out, containers that exit by themselves do, the engine restarts what it should.
    pub fn advance(&self, time: Duration) {
        self.change(|cluster| cluster.advance(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
    }

    /// Milliseconds since 1970 by the cluster's clock.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    fn lock(&self) -> MutexGuard<'_, Cluster> {
        // A test that panicked inside leaves a state that is still whole enough to look at.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let (result, has_happened) = {
            let mut cluster = self.lock();
            let before = cluster.events.len();
            let result = change(&mut cluster);
            (result, cluster.events.len() != before)
        };
        self.changes.notify_waiters();
        if has_happened {
            self.happened.notify_waiters();
        }
        result
    }
}

/// One host of a fake cluster.
#[derive(Clone)]
pub struct FakeHost {
    fake: Fake,
    name: String,
}

impl FakeHost {
    /// The host cannot be reached; what runs there goes on.
    pub fn cut(&self) {
        self.with(|host, _| host.reach = Reach::Cut);
    }

    /// Nobody listens at the host's engine any more; what runs goes on.
    pub fn refuse(&self) {
        self.with(|host, _| {
            if host.reach == Reach::Up {
                host.reach = Reach::Refusing;
            }
        });
        self.fake.happened.notify_waiters();
    }

    /// The host can be reached again.
    pub fn heal(&self) {
        self.with(|host, _| {
            if matches!(host.reach, Reach::Cut | Reach::Refusing) {
                host.reach = Reach::Up;
            }
        });
        self.fake.happened.notify_waiters();
    }

    /// The host loses power: every process dies, nothing answers.
    pub fn crash(&self) {
        self.fake.change(|cluster| cluster.crash(&self.name));
        self.fake.happened.notify_waiters();
    }

    /// The host starts again: containers come back as their restart policy says.
    pub fn boot(&self) {
        self.fake.change(|cluster| cluster.boot(&self.name));
        self.fake.happened.notify_waiters();
    }

    /// The container's process ends with this code; the engine restarts it where its policy says so.
    pub fn exit_container(&self, container: &str, code: i64) {
        self.fake.change(|cluster| cluster.exit_from_outside(&self.name, container, code));
    }

    /// Somebody runs `docker kill`: exit code 137, and the engine does not restart it.
    pub fn kill_container(&self, container: &str) {
        self.fake.change(|cluster| cluster.on(&self.name, |cluster, host| cluster.kill(host, container, "KILL")));
    }

    /// Somebody runs `docker rm -f`.
    pub fn remove_container(&self, container: &str) {
        self.fake.change(|cluster| cluster.on(&self.name, |cluster, host| cluster.remove(host, container, false, true)));
    }

    pub fn set_health(&self, container: &str, health: Health) {
        self.with(|host, _| {
            if let Some(container) = host.find_mut(container) {
                container.health = health;
                container.due.retain(|(_, change)| !matches!(change, time::Change::Health(_)));
            }
        });
        let word = if health == Health::Healthy { "healthy" } else { "unhealthy" };
        self.fake.change(|cluster| {
            cluster.on(&self.name, |cluster, host| {
                let id = cluster.host(host).ok().and_then(|state| state.find(container)).map(|found| found.id.clone());
                cluster.tell(host, &id.unwrap_or_default(), &format!("health_status: {word}"));
            })
        });
    }

    /// Somebody runs a container of their own, with the image taken as present. Returns its id, or the engine's refusal.
    pub fn run(&self, name: &str, spec: &ContainerSpec) -> Result<String, String> {
        self.add_image(&spec.image);
        let run = |cluster: &mut Cluster, host: &HostName| {
            let id = cluster.create(host, name, spec)?;
            cluster.start(host, &id).map(|()| id)
        };
        let missing = || Err(Fail::not_found(format!("no host {}", self.name)));
        self.fake.change(|cluster| cluster.on(&self.name, run).unwrap_or_else(missing)).map_err(|fail| fail.message)
    }

    /// The image is on the host as if it had been pulled or built there.
    pub fn add_image(&self, image: &str) {
        self.fake.change(|cluster| cluster.on(&self.name, |cluster, host| cluster.put_image(host, image)));
    }

    pub fn remove_image(&self, image: &str) {
        self.with(|host, _| host.images.remove(image));
    }

    pub fn images(&self) -> BTreeMap<String, ImageSeen> {
        self.fake.lock().hosts.get(self.name.as_str()).map(|host| host.images.clone()).unwrap_or_default()
    }

    pub fn add_volume(&self, name: &str) {
        self.with(|host, _| host.put_volume(name, BTreeMap::new()));
    }

    /// A line that the container writes.
    pub fn write_log(&self, container: &str, text: &str) {
        self.with(|host, now_ms| {
            if let Some(container) = host.find_mut(container) {
                container.log(now_ms, text, false);
            }
        });
    }

    /// Changes what the engine says of itself: memory, labels, architecture …
    pub fn set_info(&self, change: impl FnOnce(&mut EngineInfo)) {
        self.with(|host, _| change(&mut host.info));
    }

    /// The containers as a look would list them, also while the host cannot be reached.
    pub fn containers(&self) -> Vec<Container> {
        let cluster = self.fake.lock();
        cluster.hosts.get(self.name.as_str()).map(|host| cluster.containers(host)).unwrap_or_default()
    }

    /// The create request that a container was made from.
    pub fn spec_of(&self, container: &str) -> Option<ContainerSpec> {
        let cluster = self.fake.lock();
        Some(cluster.hosts.get(self.name.as_str())?.find(container)?.spec.clone())
    }

    fn with<T>(&self, change: impl FnOnce(&mut FakeHostState, u64) -> T) -> Option<T> {
        self.fake.change(|cluster| {
            let now_ms = cluster.now_ms;
            cluster.hosts.get_mut(self.name.as_str()).map(|host| change(host, now_ms))
        })
    }
}

impl Cluster {
    fn snapshot(&self, question: Option<&Question>) -> World {
        let sight = |name: &HostName, host: &FakeHostState| match self.reach(name) {
            Ok(()) => Sight::Seen(Arc::new(self.seen(host, question))),
            Err(fail) => Sight::Unreachable { why: fail.message },
        };
        World { hosts: self.hosts.iter().map(|(name, host)| (name.clone(), sight(name, host))).collect() }
    }

    /// Runs something on a host by name; nothing where there is none.
    fn on<T>(&mut self, host: &str, run: impl FnOnce(&mut Self, &HostName) -> T) -> Option<T> {
        let name = self.hosts.get_key_value(host)?.0.clone();
        Some(run(self, &name))
    }
}
