//! A project on a fleet, and mcompose run on it as a user would: the program, its exit code and what it says.
#![expect(clippy::disallowed_methods, reason = "tests run programs and wait by the clock")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{BOUND, Fleet, FleetHost, run};

const GONE_MAX: Duration = Duration::from_secs(20);

static SHARED: OnceLock<Fleet> = OnceLock::new();

/// Three hosts with the demo image, in one swarm, for all tests that do no harm to hosts. It ends with the process.
pub fn shared() -> &'static Fleet {
    SHARED.get_or_init(|| {
        let fleet = Fleet::start(3);
        fleet.load_demo_image();
        let project = Project::new(&fleet, "first", "services: {}\n");
        project.ok(&["hosts", "init"]);
        fleet
    })
}

/// A fleet of one's own, for tests that hurt hosts or count what happens on them.
pub fn own(hosts: usize) -> Fleet {
    let fleet = Fleet::start(hosts);
    fleet.load_demo_image();
    fleet
}

/// Panics when another test has a project of this name on the shared fleet: each would undo what the other does.
fn claim(fleet: &Fleet, name: &str) {
    static CLAIMED: Mutex<BTreeMap<String, ThreadId>> = Mutex::new(BTreeMap::new());
    if !SHARED.get().is_some_and(|shared| std::ptr::eq(shared, fleet)) {
        return;
    }
    let me = std::thread::current().id();
    let owner = *CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_insert(me);
    assert!(owner == me, "two tests use the project name `{name}` on the shared fleet");
}

/// A project with its compose file, on the hosts of an inventory.
pub struct Project<'a> {
    pub fleet: &'a Fleet,
    pub name: String,
    pub file: PathBuf,
    pub inventory: PathBuf,
    pub home: PathBuf,
}

impl<'a> Project<'a> {
    /// In a folder of its own. `compose` has no `name:`. On the shared fleet no two tests may use one name.
    pub fn new(fleet: &'a Fleet, name: &str, compose: &str) -> Self {
        claim(fleet, name);
        let folder = fleet.folder.join("projects").join(name);
        fs::create_dir_all(&folder).expect("the fleet's folder is writable");
        let file = folder.join("compose.yaml");
        fs::write(&file, format!("name: {name}\n{compose}")).expect("the fleet's folder is writable");
        Self { fleet, name: name.to_owned(), file, inventory: fleet.inventory(), home: fleet.home() }
    }

    /// One of compose-examples; the folder's name is the project's.
    pub fn example(fleet: &'a Fleet, name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples").join(name).join("compose.yaml");
        Self { fleet, name: name.to_owned(), file, inventory: fleet.inventory(), home: fleet.home() }
    }

    /// The project with another compose file from now on.
    pub fn rewrite(&self, compose: &str) {
        fs::write(&self.file, format!("name: {}\n{compose}", self.name)).expect("the fleet's folder is writable");
    }

    /// The same project on the hosts that `text` lists.
    pub fn with_inventory(mut self, text: &str) -> Self {
        self.inventory = self.fleet.folder.join(format!("hosts-{}.toml", self.name));
        fs::write(&self.inventory, text).expect("the fleet's folder is writable");
        self
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// It must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "mcompose {} failed:\n{}", arguments.join(" "), ended.everything());
        ended
    }

    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_as(Command::new(env!("CARGO_BIN_EXE_mcompose")), arguments)
    }

    /// As `run`, and the kernel refuses it more memory of its own than this; the program's file is not counted.
    pub fn run_within(&self, memory_kib_max: u32, arguments: &[&str]) -> Ended {
        let mut command = Command::new("sh");
        let script = format!("ulimit -d {memory_kib_max}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_mcompose")]);
        self.start_as(command, arguments).wait()
    }

    /// With pipes of its own, for one who writes to it.
    pub fn piped(&self, arguments: &[&str]) -> Child {
        let mut program = Command::new(env!("CARGO_BIN_EXE_mcompose"));
        let program = self.command(&mut program, arguments).stdin(Stdio::piped());
        program.spawn().expect("the program was built")
    }

    fn command<'c>(&self, program: &'c mut Command, arguments: &[&str]) -> &'c mut Command {
        program
            .args([Path::new("-i"), &self.inventory, Path::new("-f"), &self.file])
            .args(arguments)
            .env("HOME", &self.home)
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("MCOMPOSE_INVENTORY")
            .env_remove("MCOMPOSE_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
    }

    fn start_as(&self, mut program: Command, arguments: &[&str]) -> Running {
        let start = Instant::now();
        let mut child = self.command(&mut program, arguments).spawn().expect("the program was built");
        let stdout = Stream::of(child.stdout.take().expect("it is piped"));
        let stderr = Stream::of(child.stderr.take().expect("it is piped"));
        Running { child, start, stdout, stderr }
    }

    /// Host of each container that runs, by the container's name, as the engines say.
    pub fn running(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for host in &self.fleet.hosts {
            let prefix = format!("{}-", self.name);
            all.extend(
                host.running()
                    .into_iter()
                    .filter(|(_, name)| name.starts_with(&prefix))
                    .map(|(_, name)| (name, host.name.clone())),
            );
        }
        all
    }

    /// How many replicas of a service run on each host, `h1:2 h2:1`; hosts without any are left out.
    pub fn spread(&self, service: &str) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let prefix = format!("{}-{service}-", self.name);
        for (_, host) in self.running().into_iter().filter(|(name, _)| name.starts_with(&prefix)) {
            *counts.entry(host).or_default() += 1;
        }
        counts.iter().map(|(host, count)| format!("{host}:{count}")).collect::<Vec<_>>().join(" ")
    }

    /// The host and name of one replica that runs.
    pub fn replica(&self, name: &str) -> (&FleetHost, String) {
        let name = format!("{}-{name}", self.name);
        let running = self.running();
        let host = running.get(&name).unwrap_or_else(|| panic!("{name} does not run; these do: {running:?}"));
        (self.fleet.host(host), name)
    }

    /// What a URL answers to a replica; the exit code of asking comes first.
    pub fn ask(&self, replica: &str, url: &str) -> (i64, String) {
        let (host, container) = self.replica(replica);
        host.exec(&container, &["demo", "get", url])
    }

    pub fn exec(&self, replica: &str, command: &[&str]) -> (i64, String) {
        let (host, container) = self.replica(replica);
        host.exec(&container, command)
    }

    /// What the engine tells of a replica that runs.
    pub fn inspect(&self, replica: &str) -> Value {
        let (host, container) = self.replica(replica);
        host.get(&format!("/containers/{container}/json"))
    }

    /// Ids of all containers, running or not, by host and name: equal before and after means that none was touched.
    pub fn ids(&self) -> BTreeMap<String, String> {
        let hosts = self.fleet.hosts.iter();
        hosts
            .flat_map(|host| host.containers_of(&self.name).into_iter().map(move |name| (host, name)))
            .map(|(host, name)| {
                let id = host.get(&format!("/containers/{name}/json"))["Id"].to_string();
                (format!("{} {name}", host.name), id)
            })
            .collect()
    }

    /// Nothing of the project is on any engine: containers, networks, volumes, records. A host learns a moment later than the
    /// manager that a network is gone, and a supervisor that looks after the project lets its lock go a moment later.
    pub fn assert_gone(&self) {
        let start = Instant::now();
        let is_late = |host: &FleetHost| !host.networks_of(&self.name).is_empty() || !self.records_on(host).is_empty();
        while self.fleet.hosts.iter().any(is_late) && start.elapsed() < GONE_MAX {
            std::thread::sleep(Duration::from_millis(100));
        }
        for host in &self.fleet.hosts {
            assert_eq!(host.containers_of(&self.name), Vec::<String>::new(), "containers on {}", host.name);
            assert_eq!(host.volumes_of(&self.name), Vec::<String>::new(), "volumes on {}", host.name);
            assert_eq!(host.networks_of(&self.name), Vec::<String>::new(), "networks on {}", host.name);
            assert_eq!(self.records_on(host), Vec::<String>::new(), "records on {}", host.name);
        }
    }

    /// Records and the lock, as the host shows them.
    fn records_on(&self, host: &FleetHost) -> Vec<String> {
        let of_project = |name: &String| name.split('.').nth(1) == Some(self.name.as_str());
        host.configs().into_iter().filter(of_project).collect()
    }
}

/// mcompose at work.
pub struct Running {
    child: Child,
    start: Instant,
    stdout: Stream,
    stderr: Stream,
}

impl Running {
    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        run("sh", &["-c", &format!("kill -INT {}", self.child.id())]);
    }

    /// Stands still until it is continued, as one on a suspended machine does.
    pub fn suspend(&self) {
        run("sh", &["-c", &format!("kill -STOP {}", self.child.id())]);
    }

    pub fn resume(&self) {
        run("sh", &["-c", &format!("kill -CONT {}", self.child.id())]);
    }

    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Ends it when `BOUND` has passed; that is a failure.
    pub fn wait(mut self) -> Ended {
        const POLL: Duration = Duration::from_millis(10);
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status.code();
            }
            if self.start.elapsed() > BOUND {
                self.child.kill().expect("it is our child");
                let _ = self.child.wait();
                panic!("mcompose did not end within {} s:\n{}\n{}", BOUND.as_secs(), self.stdout(), self.stderr());
            }
            std::thread::sleep(POLL);
        };
        Ended { code, took: self.start.elapsed(), stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed in between leaves no process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a run of mcompose ended.
#[derive(Debug)]
pub struct Ended {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn everything(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// It failed, and said all of this, somewhere.
    pub fn assert_refused(&self, words: &[&str]) {
        assert!(self.code.is_some_and(|code| code != 0), "it should have failed:\n{}", self.everything());
        self.assert_says(words);
    }

    pub fn assert_says(&self, words: &[&str]) {
        let text = self.everything();
        let missing: Vec<&&str> = words.iter().filter(|word| !text.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} not said in:\n{text}");
    }
}

/// What a program writes, gathered while it runs.
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                to.lock().expect("no holder panics").extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no holder panics")).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
        self.so_far()
    }
}
