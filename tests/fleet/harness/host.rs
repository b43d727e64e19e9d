//! One host of a fleet: where it is reached, its engine's API, and its faults.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::api::{Answer, request};
use super::image::CHANGES;
use super::{read, run_script, ssh_keygen, wait_until};

#[derive(Debug, Clone)]
pub struct FleetHost {
    pub number: usize,
    /// h1, h2 …: its hostname, and its name in the inventories.
    pub name: String,
    /// IPv4.
    pub address: String,
    /// Its files: `docker.sock`, `dockerd.log`, `sshd.log`, `data/`.
    pub folder: PathBuf,
    fleet_folder: PathBuf,
    prefix: String,
}

impl FleetHost {
    pub(super) fn at(fleet_folder: &Path, prefix: &str, number: usize) -> Self {
        let name = format!("h{number}");
        let address = format!("{}.{number}", read(&fleet_folder.join("network")));
        let folder = fleet_folder.join(&name);
        Self { number, name, address, folder, fleet_folder: fleet_folder.to_owned(), prefix: prefix.to_owned() }
    }

    /// The machine's own engine, which belongs to no fleet: it has an API and no faults.
    pub fn local() -> Self {
        let folder = PathBuf::from("/var/run");
        let prefix = String::new();
        Self {
            number: 0,
            name: "local".to_owned(),
            address: "127.0.0.1".to_owned(),
            fleet_folder: folder.clone(),
            folder,
            prefix,
        }
    }

    /// Writes what the host needs before its first start.
    pub(super) fn prepare(fleet_folder: &Path, prefix: &str, number: usize) -> Self {
        let host = Self::at(fleet_folder, prefix, number);
        std::fs::create_dir(&host.folder).expect("the fleet's folder is writable");
        ssh_keygen(&host.folder.join("host_key"));
        // MaxSessions and MaxStartups stay as sshd has them: that is what real servers have.
        let sshd = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             UsePAM no\nStrictModes no\nAllowStreamLocalForwarding yes\nLogLevel VERBOSE\nPidFile none\n",
            host.folder.join("host_key").display(),
            fleet_folder.join("authorized_keys").display(),
        );
        let labels = format!("--label zone={}", host.zone());
        for (name, text) in [("sshd_config", sshd), ("labels", labels)] {
            std::fs::write(host.folder.join(name), text).expect("the fleet's folder is writable");
        }
        host
    }

    /// `a` for odd, `b` for even hosts: a label in the inventories and of the engine.
    pub fn zone(&self) -> &'static str {
        if self.number % 2 == 1 { "a" } else { "b" }
    }

    /// The engine's socket, reachable from the machine.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// A call to the engine's API; panics when there is no answer. `path` begins behind the version: `/containers/json`.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(ToString::to_string).unwrap_or_default();
        self.try_api(method, path, body.as_bytes()).unwrap_or_else(|error| panic!("{method} {path} on {}: {error}", self.name))
    }

    pub fn try_api(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        request(&self.socket(), method, path, body)
    }

    /// A GET that must succeed.
    pub fn get(&self, path: &str) -> Value {
        let answer = self.api("GET", path, None);
        assert!(answer.is_success(), "GET {path} on {}: {} {}", self.name, answer.status, answer.text());
        answer.json()
    }

    /// Makes an image of a tar of its root folder.
    pub fn import(&self, image: &str, tar: &[u8]) {
        let (repo, tag) = image.split_once(':').unwrap_or((image, "latest"));
        let changes: String = CHANGES.iter().map(|change| format!("&changes={}", percent_encoded(change))).collect();
        let path = format!("/images/create?fromSrc=-&repo={repo}&tag={tag}{changes}");
        let answer = self.try_api("POST", &path, tar).unwrap_or_else(|error| panic!("import on {}: {error}", self.name));
        assert!(answer.is_success() && !answer.text().contains("\"error\""), "import on {}: {}", self.name, answer.text());
    }

    /// Names of the containers that bear this project's label, also of those that do not run.
    pub fn containers_of(&self, project: &str) -> Vec<String> {
        self.names(&format!("/containers/json?all=1&{}", project_filter(project)), "Names")
    }

    /// Id and name of every container that runs.
    pub fn running(&self) -> Vec<(String, String)> {
        let Ok(answer) = self.try_api("GET", "/containers/json", b"") else { return Vec::new() };
        let list = answer.json();
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let pair = |item: &Value| {
            let name = item["Names"][0].as_str()?.trim_start_matches('/').to_owned();
            Some((item["Id"].as_str()?.to_owned(), name))
        };
        items.iter().filter_map(pair).collect()
    }

    pub fn volumes_of(&self, project: &str) -> Vec<String> {
        let found = self.get(&format!("/volumes?{}", project_filter(project)));
        strings(&found["Volumes"], "Name")
    }

    pub fn networks_of(&self, project: &str) -> Vec<String> {
        self.names(&format!("/networks?{}", project_filter(project)), "Name")
    }

    /// Names of the swarm's config objects, where this host is a manager.
    pub fn configs(&self) -> Vec<String> {
        let answer = self.api("GET", "/configs", None);
        if !answer.is_success() {
            return Vec::new();
        }
        let list = answer.json();
        let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(|item| Some(item["Spec"]["Name"].as_str()?.to_owned())).collect()
    }

    fn names(&self, path: &str, key: &str) -> Vec<String> {
        strings(&self.get(path), key)
    }

    /// Runs a command in a container; returns its exit code and its output, both streams.
    pub fn exec(&self, container: &str, command: &[&str]) -> (i64, String) {
        let body = serde_json::json!({ "AttachStdout": true, "AttachStderr": true, "Tty": true, "Cmd": command });
        let created = self.api("POST", &format!("/containers/{container}/exec"), Some(&body));
        assert!(created.is_success(), "exec in {container} on {}: {}", self.name, created.text());
        let id = created.json()["Id"].as_str().expect("the engine gives an id").to_owned();
        // With a terminal the output comes without the frames that tell the streams apart.
        let started = self.api("POST", &format!("/exec/{id}/start"), Some(&serde_json::json!({ "Detach": false, "Tty": true })));
        let state = self.get(&format!("/exec/{id}/json"));
        (state["ExitCode"].as_i64().unwrap_or(-1), started.text().replace("\r\n", "\n"))
    }

    /// Bytes that went to it over its network so far.
    pub fn received_bytes(&self) -> u64 {
        let path = format!("/sys/class/net/{}-{}/statistics/tx_bytes", self.prefix, self.name);
        read(Path::new(&path)).parse().expect("the kernel counts in numbers")
    }

    /// SSH connections that clients made to this host's server since it started: each TCP connection counts once.
    pub fn ssh_connections(&self) -> usize {
        read(&self.folder.join("sshd.log")).lines().filter(|line| line.contains("Connection from ")).count()
    }

    /// The cable is pulled: nobody hears anything of it, and nothing is refused.
    pub fn cut(&self) {
        self.script("cut");
    }

    pub fn heal(&self) {
        self.script("heal");
    }

    /// Engine and sshd stand still: connections open, answers do not come.
    pub fn freeze(&self) {
        self.script("freeze");
    }

    pub fn thaw(&self) {
        self.script("thaw");
    }

    /// Power off. `boot` starts it again with the same disk.
    pub fn crash(&self) {
        self.script("crash");
    }

    /// A host that is off loses its disk.
    pub fn wipe(&self) {
        assert!(!self.is_running(), "{} is off", self.name);
        std::fs::remove_dir_all(self.folder.join("data")).expect("nothing holds the files of a host that is off");
    }

    pub fn boot(&self) {
        self.script("host-up");
        self.wait_until_up();
    }

    /// The engine alone dies; containers run on. `boot_daemon` starts it again.
    pub fn lose_daemon(&self) {
        self.script("lose-daemon");
        wait_until(&format!("the engine of {} is gone", self.name), || self.try_api("GET", "/_ping", b"").is_err());
    }

    pub fn boot_daemon(&self) {
        self.script("daemon-up");
        self.wait_until_up();
    }

    pub(super) fn wait_until_up(&self) {
        wait_until(&format!("the engine of {} answers (see {})", self.name, self.folder.join("dockerd.log").display()), || {
            self.try_api("GET", "/_ping", b"").is_ok_and(|answer| answer.is_success())
        });
        wait_until(&format!("sshd of {} answers", self.name), || self.answers_at(22));
    }

    /// The cgroup above those of its containers, below the root of the hierarchy.
    pub fn cgroup(&self) -> String {
        format!("{}-{}", self.prefix, self.name)
    }

    /// Whether the engine answers.
    pub fn answers(&self) -> bool {
        self.is_running() && self.try_api("GET", "/_ping", b"").is_ok_and(|answer| answer.is_success())
    }

    /// Whether the host has power: its first process lives.
    pub fn is_running(&self) -> bool {
        let pid = read(&self.folder.join("pid"));
        !pid.is_empty() && Path::new("/proc").join(pid).exists()
    }

    fn answers_at(&self, port: u16) -> bool {
        let address: Result<SocketAddr, _> = format!("{}:{port}", self.address).parse();
        address.is_ok_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
    }

    fn script(&self, command: &str) {
        run_script(&self.fleet_folder, command, Some(self.number));
    }
}

fn project_filter(project: &str) -> String {
    let filter = format!("{{\"label\":[\"com.docker.compose.project={project}\"]}}");
    format!("filters={}", percent_encoded(&filter))
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

/// The strings below a key of every item; `/web` loses its slash.
fn strings(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value| Some(item[key].as_str().or_else(|| item[key][0].as_str())?.trim_start_matches('/').to_owned());
    let mut names: Vec<String> = items.iter().filter_map(text).collect();
    names.sort();
    names
}
