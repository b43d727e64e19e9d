//! Several real Docker hosts on one machine: each an engine with an sshd in namespaces of its own, with faults on demand.
//!
//! Needs root, `ip`, `dockerd`, `sshd` and `busybox` (static); `tests/run.sh` installs them. A fleet that cannot start panics
//! with the remedy. Nothing of a fleet outlives its owner: a keeper process takes it away when the owner ends, also when that
//! was a panic, Ctrl-C or SIGKILL. Fleets stand side by side: each claims a free network 10.96.1.0/24 … 10.127.254.0/24.
#![allow(dead_code, unused_imports, reason = "several test binaries and an example share it, and none uses all of it")]
#![expect(clippy::disallowed_methods, reason = "a harness runs programs, reads files and waits by the clock")]

mod api;
mod host;
mod image;

pub use api::{Answer, request};
pub use host::FleetHost;
pub use image::{DEMO_IMAGE, demo_image};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nothing on a fleet takes longer; what does is a failure.
pub const BOUND: Duration = Duration::from_secs(120);
/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(25);

const SCRIPT: &str = include_str!("fleet.sh");
const FOLDER_PREFIX: &str = "mcompose-fleet-";

/// Hosts h1, h2 … on a network of their own.
pub struct Fleet {
    /// Names its bridge, namespaces and cgroups.
    pub prefix: String,
    /// Its files; ends with it.
    pub folder: PathBuf,
    pub hosts: Vec<FleetHost>,
    /// None for a fleet that outlives this process.
    keeper: Option<Child>,
}

impl Fleet {
    /// A fleet that ends with this value, or with this process. Its hosts have no images: `load_demo_image` gives them one.
    pub fn start(hosts: usize) -> Self {
        Self::start_owned(hosts, true)
    }

    /// A fleet that stays until `take_down` or the machine's end.
    pub fn start_to_stay(hosts: usize) -> Self {
        Self::start_owned(hosts, false)
    }

    fn start_owned(hosts: usize, owned: bool) -> Self {
        assert!((1..=250).contains(&hosts), "a fleet has 1 to 250 hosts");
        if let Some(obstacle) = obstacle() {
            panic!("no fleet: {obstacle}");
        }
        sweep();
        let mut fleet = claim(owned);
        if owned {
            fleet.keeper = Some(fleet.start_keeper());
        }
        ssh_keygen(&fleet.folder.join("id_ed25519"));
        fleet.hosts = (1..=hosts).map(|number| FleetHost::prepare(&fleet.folder, &fleet.prefix, number)).collect();
        fleet.write_ssh_files();
        fleet.write_inventories();
        fleet.boot_all();
        fleet
    }

    /// The stays-until-taken-down fleet of this folder.
    pub fn open(folder: &Path) -> Self {
        let prefix = read(&folder.join("prefix"));
        let mut numbers: Vec<usize> = fs::read_dir(folder)
            .expect("the fleet's folder is readable")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix('h')?.parse().ok())
            .collect();
        numbers.sort_unstable();
        let hosts = numbers.into_iter().map(|number| FleetHost::at(folder, &prefix, number)).collect();
        Self { prefix, folder: folder.to_owned(), hosts, keeper: None }
    }

    /// Folders of the fleets that were started to stay and are still there.
    pub fn staying() -> Vec<PathBuf> {
        folders().into_iter().filter(|folder| read(&folder.join("owner")) == "stays").collect()
    }

    /// Host `h1`, `h2` …
    pub fn host(&self, name: &str) -> &FleetHost {
        self.hosts.iter().find(|host| host.name == name).unwrap_or_else(|| panic!("the fleet has no host `{name}`"))
    }

    /// An inventory with `ssh://` addresses.
    pub fn inventory(&self) -> PathBuf {
        self.folder.join("hosts.toml")
    }

    /// The text of that inventory, with the first hosts only.
    pub fn inventory_of(&self, count: usize) -> String {
        let all = read(&self.inventory());
        let end = all.find(&format!("[hosts.h{}]", count + 1)).unwrap_or(all.len());
        all[..end].to_owned()
    }

    /// An inventory with `tcp://` addresses.
    pub fn inventory_tcp(&self) -> PathBuf {
        self.folder.join("hosts-tcp.toml")
    }

    /// A home folder whose `.ssh` has the key and knows the hosts.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Gives every host the demo image, at once.
    pub fn load_demo_image(&self) {
        let tar = demo_image();
        self.each_host(|host| host.import(DEMO_IMAGE, &tar));
    }

    /// Does something on every host at once.
    pub fn each_host(&self, act: impl Fn(&FleetHost) + Sync) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.hosts.iter().map(|host| scope.spawn(|| act(host))).collect();
            for thread in threads {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
    }

    /// Ends every process and removes every interface, namespace, cgroup and file of the fleet.
    pub fn take_down(mut self) {
        self.end();
    }

    fn end(&mut self) {
        match self.keeper.take() {
            Some(mut keeper) => {
                drop(keeper.stdin.take());
                // A Drop does not panic: a keeper that hangs is left to the next sweep.
                let _ = wait_for_exit(&mut keeper);
            }
            None => run_script(&self.folder, "down", None),
        }
    }

    fn start_keeper(&self) -> Child {
        Command::new("setsid")
            .args(["sh", &script(&self.folder), "keep", &self.folder.display().to_string()])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start the fleet's keeper: {error}; is util-linux installed?"))
    }

    fn boot_all(&self) {
        for host in &self.hosts {
            run_script(&self.folder, "host-up", Some(host.number));
        }
        for host in &self.hosts {
            host.wait_until_up();
        }
    }

    fn write_ssh_files(&self) {
        let ssh = self.home().join(".ssh");
        fs::create_dir_all(&ssh).expect("the fleet's folder is writable");
        let public = read(&self.folder.join("id_ed25519.pub"));
        let mut known = String::new();
        for host in &self.hosts {
            let key = read(&host.folder.join("host_key.pub"));
            let words: Vec<&str> = key.split_whitespace().take(2).collect();
            known.push_str(&format!("{} {} {}\n", host.address, words.join(" "), self.prefix));
        }
        for (name, text) in [("known_hosts", known), ("id_ed25519.pub", public.clone())] {
            fs::write(ssh.join(name), text).expect("the fleet's folder is writable");
        }
        fs::copy(self.folder.join("id_ed25519"), ssh.join("id_ed25519")).expect("the key was made");
        fs::write(self.folder.join("authorized_keys"), public).expect("the fleet's folder is writable");
    }

    fn write_inventories(&self) {
        let identity = self.folder.join("id_ed25519").display().to_string();
        let mut ssh = format!("[defaults]\nuser = \"root\"\nidentity = \"{identity}\"\n");
        let mut tcp = String::new();
        for host in &self.hosts {
            let (name, address, zone) = (&host.name, &host.address, host.zone());
            ssh.push_str(&format!("\n[hosts.{name}]\naddress = \"ssh://{address}\"\nlabels = {{ zone = \"{zone}\" }}\n"));
            tcp.push_str(&format!("\n[hosts.{name}]\naddress = \"tcp://{address}:2375\"\nlabels = {{ zone = \"{zone}\" }}\n"));
        }
        fs::write(self.inventory(), ssh).expect("the fleet's folder is writable");
        fs::write(self.inventory_tcp(), tcp.trim_start()).expect("the fleet's folder is writable");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            if std::thread::panicking() {
                self.show_logs();
            }
            self.end();
        }
    }
}

impl Fleet {
    /// The last words of every engine, for whoever reads why a test failed: the files go with the fleet.
    #[expect(clippy::disallowed_macros, reason = "it speaks to whoever reads a failed test")]
    fn show_logs(&self) {
        const LINES: usize = 15;
        for host in &self.hosts {
            let log = fs::read_to_string(host.folder.join("dockerd.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- last lines of dockerd on {}\n{}", host.name, lines[lines.len().saturating_sub(LINES)..].join("\n"));
        }
    }
}

/// Waits until something is so; panics with `what` when it is not within `BOUND`.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    wait_within(BOUND, what, is_so);
}

/// The same for what has a bound of its own; returns how long it took.
pub fn wait_within(bound: Duration, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < bound, "waited {} s in vain until {what}", bound.as_secs());
        std::thread::sleep(POLL);
    }
    start.elapsed()
}

/// Runs a program to its end; panics when that is not within `BOUND` or it failed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run `{program}`: {error}; `bash tests/run.sh` installs what the tests need"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program} {}` failed: {error}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run_script(folder: &Path, command: &str, number: Option<usize>) {
    assert!(try_script(folder, command, number), "the fleet's `{command}` failed; see what was printed above");
}

fn try_script(folder: &Path, command: &str, number: Option<usize>) -> bool {
    let number = number.map(|number| number.to_string());
    let arguments = [script(folder), command.to_owned(), folder.display().to_string()];
    Command::new("sh")
        .args(arguments.into_iter().chain(number))
        .current_dir("/")
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn script(folder: &Path) -> String {
    folder.join("fleet.sh").display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn wait_for_exit(child: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < BOUND {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}

/// Claims a free network by making its bridge, whose name is unique to it.
fn claim(owned: bool) -> Fleet {
    const NETWORKS: usize = 32 * 254;
    fs::create_dir_all(base_folder()).expect("the folder for fleets can be made");
    let taken = run("ip", &["-4", "route", "show", "table", "all"]);
    // Fleets that start at the same time begin their search at different places.
    let first = std::process::id() as usize * 31;
    for attempt in 0..NETWORKS {
        let number = (first + attempt) % NETWORKS;
        let (second, third) = (96 + number / 254, 1 + number % 254);
        let network = format!("10.{second}.{third}");
        if taken.contains(&format!("{network}.")) {
            continue;
        }
        let prefix = format!("mcf{second}x{third}");
        let folder = base_folder().join(format!("{FOLDER_PREFIX}{prefix}"));
        if fs::create_dir(&folder).is_err() {
            continue;
        }
        write_fleet_files(&folder, &prefix, &network, owned);
        if try_script(&folder, "claim", None) {
            return Fleet { prefix, folder, hosts: Vec::new(), keeper: None };
        }
        let exists = Path::new("/sys/class/net").join(&prefix).exists();
        fs::remove_dir_all(&folder).expect("it was made here");
        assert!(exists, "cannot make a bridge; a fleet needs root and the kernel's bridge module (in a container: --privileged)");
    }
    panic!("no free network among 10.96.1.0/24 … 10.127.254.0/24");
}

fn write_fleet_files(folder: &Path, prefix: &str, network: &str, owned: bool) {
    let dockerd = std::env::var("MCOMPOSE_FLEET_DOCKERD").unwrap_or_default();
    let owner = if owned { format!("{} {}", std::process::id(), started(std::process::id())) } else { "stays".to_owned() };
    let texts = [
        ("fleet.sh", SCRIPT),
        ("prefix", prefix),
        ("network", network),
        ("dockerd", &dockerd),
        // A runtime by this name is what tells of GPUs, and containers with some can be made, if not started.
        ("daemon.json", r#"{"insecure-registries": ["10.96.0.0/11"], "runtimes": {"nvidia": {"path": "runc"}}}"#),
        ("owner", &owner),
    ];
    for (name, text) in texts {
        fs::write(folder.join(name), text).expect("the fleet's folder is writable");
    }
}

fn ssh_keygen(path: &Path) {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "mcompose-fleet", "-f", &path.display().to_string()]);
}

/// Where fleets' folders are: not on an overlay, since overlay2 cannot store its layers there. `MCOMPOSE_FLEET_FOLDER` says else.
fn base_folder() -> PathBuf {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        if let Some(folder) = std::env::var_os("MCOMPOSE_FLEET_FOLDER") {
            return PathBuf::from(folder);
        }
        let candidates = [std::env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from("/dev/shm")];
        let fits = |folder: &PathBuf| {
            folder.is_dir() && !run("stat", &["-f", "-c", "%T", &folder.display().to_string()]).contains("overlay")
        };
        candidates.into_iter().find(fits).expect("set MCOMPOSE_FLEET_FOLDER to a folder on ext4, xfs, btrfs or tmpfs")
    };
    BASE.get_or_init(find).clone()
}

fn folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base_folder()) else { return Vec::new() };
    let is_fleet = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX));
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_fleet).collect();
    folders.sort();
    folders
}

/// Takes away fleets whose owner is gone and whose keeper could not do it.
fn sweep() {
    for folder in folders() {
        let owner = read(&folder.join("owner"));
        let Some((pid, start)) = owner.split_once(' ') else { continue };
        let gone = pid.parse().is_ok_and(|pid| started(pid) != start);
        // The keeper of a fleet that has just ended is still at work; its script is then our twin, and both end well.
        if gone && folder.join("fleet.sh").exists() {
            let _ = try_script(&folder, "down", None);
        }
    }
}

/// When a process started, in the kernel's ticks; empty when there is no such process. With the number it names a process.
fn started(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').nth(19).unwrap_or_default().to_owned()
}

/// Why there can be no fleet here, with the remedy.
pub fn obstacle() -> Option<String> {
    if run("id", &["-u"]).trim() != "0" {
        return Some("a fleet makes network namespaces: run this as root".to_owned());
    }
    // A user namespace's root may make interfaces of its own, but mount no cgroup and start no container.
    if !read(Path::new("/proc/self/uid_map")).ends_with("4294967295") {
        return Some("this is root of a user namespace only; a fleet needs the machine's own root".to_owned());
    }
    let programs = ["ip", "dockerd", "sshd", "nsenter", "unshare", "ssh-keygen", "busybox"];
    let missing: Vec<&str> = programs.into_iter().filter(|program| !is_installed(program)).collect();
    if !missing.is_empty() {
        return Some(format!("{} missing: `bash tests/run.sh` installs what the tests need", missing.join(", ")));
    }
    let arguments = ["--net", "--mount", "--pid", "--fork", "ip", "link", "add", "probe", "type", "bridge"];
    let unshared = Command::new("unshare").args(arguments).stdin(Stdio::null()).output();
    let allowed = unshared.is_ok_and(|output| output.status.success());
    (!allowed).then(|| "namespaces and bridges are not allowed here; in a container it needs --privileged".to_owned())
}

fn is_installed(program: &str) -> bool {
    Path::new("/usr/sbin").join(program).exists() || on_path(program)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}
