//! What `mcompose supervise` costs over a thousand hosts with ten thousand replicas, and how long it takes to replace a hundred of
//! them. The program is the real one, its hosts are fakes behind HTTP.
//!
//! `cargo bench --bench thousand` prints memory and CPU of the program at rest, and times. `MCOMPOSE_BENCH_HOSTS=100` makes it smaller,
//! `MCOMPOSE_BENCH_PROGRAM` names another build to compare with, and `MCOMPOSE_BENCH_TELL=1` shows what the supervisor says.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench runs programs, measures and prints")]

mod served;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use served::{Mood, Served};
use tokio::runtime::Runtime;

const HOSTS: usize = 1_000;
const SERVICES: usize = 10;
const REPLICAS_PER_HOST: usize = 10;
/// Of ten hosts, one is lost.
const LOST_OF: usize = 10;
/// From its beginning, the supervisor has this long until it is at rest; the first look at every host is part of it.
const SETTLE: Duration = Duration::from_secs(45);
/// Two rounds of looks at every host.
const REST: Duration = Duration::from_secs(60);
const BOUND: Duration = Duration::from_secs(300);
/// Of the kernel's clock that /proc counts in.
const TICKS_PER_SEC: f64 = 100.0;

fn main() {
    let hosts: usize = std::env::var("MCOMPOSE_BENCH_HOSTS").ok().and_then(|text| text.parse().ok()).unwrap_or(HOSTS);
    let folder = std::env::temp_dir().join(format!("mcompose-thousand-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    measure(hosts, &folder);
    fs::remove_dir_all(&folder).expect("the folder is ours");
}

fn measure(hosts: usize, folder: &Path) {
    let runtime = Runtime::new().expect("a runtime starts");
    let images: Vec<String> = (0..SERVICES).map(|number| format!("app{number}:1")).collect();
    let served = runtime.block_on(async {
        let mut served = Vec::new();
        for number in 0..hosts {
            served.push(Served::begin(&format!("h{number:04}"), &images).await.expect("there are ports"));
        }
        served
    });
    let replicas = hosts * REPLICAS_PER_HOST;
    let files = write_files(folder, &served, &images, replicas);
    let began = Instant::now();
    let up = program(folder, &files).args(["up", "-d"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(up.expect("it was built").success(), "mcompose up -d");
    println!("{hosts} hosts, {replicas} replicas: up -d in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(running(&served, |_| true).len(), replicas);
    let most = served.iter().map(|host| host.running().len()).max();
    assert_eq!(most, Some(REPLICAS_PER_HOST), "they are spread evenly");

    let mut supervisor = Supervisor::begin(folder, &files);
    std::thread::sleep(SETTLE);
    let (before, at) = (supervisor.cpu_secs(), Instant::now());
    std::thread::sleep(REST);
    let share = (supervisor.cpu_secs() - before) / at.elapsed().as_secs_f64();
    let [memory, peak] = ["VmRSS", "VmHWM"].map(|what| supervisor.memory_mib(what));
    println!(
        "at rest: {:.1} % of a core, {memory:.0} MiB (at most {peak:.0}), {} open files",
        share * 100.0,
        supervisor.open_files()
    );

    let strays = supervisor.told.try_iter().filter(|(_, notice)| notice["what"] == "host_lost").count();
    assert_eq!(strays, 0, "hosts were lost that are well: the machine is too busy for any of these figures");
    lose(&mut supervisor, &served, replicas);
    let [memory, peak] = ["VmRSS", "VmHWM"].map(|what| supervisor.memory_mib(what));
    println!("then: {memory:.0} MiB (at most {peak:.0})");
}

/// Every second one of the lost is silent, the others refuse.
fn lose(supervisor: &mut Supervisor, served: &[Served], replicas: usize) {
    let is_lost = |number: usize| number.is_multiple_of(LOST_OF);
    let (cpu, began) = (supervisor.cpu_secs(), Instant::now());
    let mut lost = BTreeSet::new();
    for (number, host) in served.iter().enumerate().filter(|(number, _)| is_lost(*number)) {
        host.become_(if (number / LOST_OF).is_multiple_of(2) { Mood::Silent } else { Mood::Refusing });
        lost.insert(host.name.clone());
    }
    let count = lost.len();
    let mut noticed = Vec::new();
    supervisor.until(began, |notices| {
        for (at, notice) in notices {
            if notice["what"] == "host_lost" && lost.remove(notice["host"].as_str().unwrap_or_default()) {
                noticed.push(*at);
            }
        }
        lost.is_empty()
    });
    supervisor.until(began, |_| running(served, |number| !is_lost(number)).len() == replicas);
    let took = began.elapsed();
    let used = supervisor.cpu_secs() - cpu;
    println!(
        "{count} hosts lost: noticed after {:.1} to {:.1} s; their replicas run elsewhere after {:.1} s, with {used:.1} s of CPU",
        noticed.first().copied().unwrap_or_default().as_secs_f64(),
        noticed.last().copied().unwrap_or_default().as_secs_f64(),
        took.as_secs_f64(),
    );
    let began = Instant::now();
    served.iter().for_each(|host| host.become_(Mood::Well));
    let all = || served.iter().map(|host| host.running().len()).sum::<usize>();
    supervisor.until(began, |_| all() == replicas);
    println!("and back: nothing is doubled any more after {:.1} s", began.elapsed().as_secs_f64());
}

/// The names of the replicas that run, each once.
fn running(served: &[Served], which: impl Fn(usize) -> bool) -> BTreeSet<String> {
    served.iter().enumerate().filter(|(number, _)| which(*number)).flat_map(|(_, host)| host.running()).collect()
}

struct Files {
    inventory: PathBuf,
    compose: PathBuf,
}

fn write_files(folder: &Path, served: &[Served], images: &[String], replicas: usize) -> Files {
    let hosts = served.iter().map(|host| format!("[hosts.{}]\naddress = \"tcp://{}\"\n", host.name, host.address));
    let inventory = folder.join("hosts.toml");
    fs::write(&inventory, format!("[network]\ndriver = \"bridge\"\n{}", hosts.collect::<String>())).expect("it is writable");
    let services = images.iter().enumerate().map(|(number, image)| {
        let count = replicas / images.len();
        // Without a common network, which on bridges would put all of them on one host.
        format!(
            "  app{number}: {{image: '{image}', network_mode: none, environment: {{MODE: bench}}, deploy: {{replicas: {count}}}}}\n"
        )
    });
    let compose = folder.join("compose.yaml");
    fs::write(&compose, format!("name: thousand\nservices:\n{}", services.collect::<String>())).expect("it is writable");
    Files { inventory, compose }
}

fn program(folder: &Path, files: &Files) -> Command {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_mcompose"));
    let mut command = Command::new(std::env::var_os("MCOMPOSE_BENCH_PROGRAM").map_or(built, PathBuf::from));
    command.args([Path::new("-i"), &files.inventory, Path::new("-f"), &files.compose]);
    command.env("HOME", folder).env("XDG_STATE_HOME", folder.join("state"));
    command
}

/// The program, and what it says.
struct Supervisor {
    child: Child,
    told: mpsc::Receiver<(Instant, Value)>,
}

impl Supervisor {
    fn begin(folder: &Path, files: &Files) -> Self {
        let mut command = program(folder, files);
        let mut child = command.args(["supervise", "--format", "json"]).stdout(Stdio::piped()).spawn().expect("it was built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let notice = serde_json::from_str(&line).unwrap_or_default();
                if sender.send((Instant::now(), notice)).is_err() {
                    return;
                }
            }
        });
        Self { child, told }
    }

    /// Until what is asked with all that was told since the last time, and now and then without anything, is true.
    fn until(&mut self, began: Instant, mut is_so: impl FnMut(&[(Duration, Value)]) -> bool) {
        const ASK_EVERY: Duration = Duration::from_millis(250);
        while began.elapsed() < BOUND {
            let first = self.told.recv_timeout(ASK_EVERY).ok();
            let since = |(at, notice): (Instant, Value)| (at.duration_since(began), notice);
            let notices: Vec<_> = first.into_iter().chain(self.told.try_iter()).map(since).collect();
            if std::env::var_os("MCOMPOSE_BENCH_TELL").is_some() {
                for (at, notice) in &notices {
                    let text: String = notice["text"].as_str().unwrap_or_default().chars().take(150).collect();
                    println!("  {:.2} {text}", at.as_secs_f64());
                }
            }
            if is_so(&notices) {
                return;
            }
        }
        panic!("it is not so after {BOUND:?}");
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it runs")
    }

    /// Of all its threads, in the kernel and outside of it.
    fn cpu_secs(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or_default();
        (ticks(11) + ticks(12)) / TICKS_PER_SEC
    }

    fn memory_mib(&self, what: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_default();
        let kib: f64 =
            line.trim_matches([':', ' ', '\t']).split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        kib / 1024.0
    }

    fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).map(Iterator::count).unwrap_or_default()
    }
}

impl Drop for Supervisor {
    /// Also where a measurement failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
