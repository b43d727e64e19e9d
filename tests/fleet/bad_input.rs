//! Bad input, all of it: each is refused with its exit code, its place and a hint, at once, in little memory, and no engine is
//! touched.
#![expect(clippy::disallowed_methods, reason = "tests write files, run programs and wait by the clock")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Fleet, run, wait_until};
use crate::program::{Ended, Project, own};

/// Reading and refusing takes no longer. A busy machine may delay a run, but not all of them.
const REFUSED_MAX: Duration = Duration::from_secs(1);
const RUNS: usize = 3;
/// Connecting gives up after 10 s; the rest is for the program itself.
const UNREACHABLE_MAX: Duration = Duration::from_secs(12);
/// With the 25 MB of the program's own file this stays under 100 MB.
const MEMORY_KIB_MAX: u32 = 72_000;

const ONE: &str = "services:\n  web:\n    image: mcompose-demo:1\n";
const COMPOSE_FILE: i32 = 14;
const INVENTORY: i32 = 17;
const UNREACHABLE: i32 = 18;

/// What is wrong, the Compose file, and what must be said, with the place where there is one.
const COMPOSE_FILES: &[(&str, &str, &[&str])] = &[
    ("an unknown key", "services:\n  web:\n    imagee: x\n", &["compose.yaml:3:5", "did you mean `image`?"]),
    (
        "a wrong type",
        "services:\n  web:\n    image: x\n    ports: 8\n",
        &["services.web.ports must be a list", "compose.yaml:4:12"],
    ),
    ("an undefined network", "services:\n  web:\n    image: x\n    networks: [nope]\n", &["compose.yaml:4:16", "`networks`"]),
    (
        "a dependency cycle",
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
        &["a -> b -> a", "compose.yaml:3:30"],
    ),
    (
        "a missing env file",
        "services:\n  web:\n    image: x\n    env_file: [nope.env]\n",
        &["nope.env", "compose.yaml:4:16", "required: false"],
    ),
    ("no YAML", "services: [\n  web: }{\n", &["no YAML", "compose.yaml:1:11"]),
    ("an empty file", "", &["empty compose file"]),
    ("a list", "- web\n", &["compose.yaml:1:1"]),
    (
        "a number that no machine has",
        "services:\n  web:\n    image: x\n    deploy: {replicas: 99999999999999999999999}\n",
        &["services.web.deploy.replicas", "compose.yaml:4:24"],
    ),
    (
        "a time that never ends",
        "services:\n  web:\n    image: x\n    stop_grace_period: 99999999999999999h\n",
        &["must be a duration", "compose.yaml:4:24"],
    ),
    (
        "more replicas than anybody has",
        "services:\n  web:\n    image: x\n    scale: 4000000000\n",
        &["4000000000 replicas", "`scale` of `web`"],
    ),
    (
        "an undefined variable that is required",
        "services:\n  web:\n    image: ${NOT_SET_ANYWHERE:?say which}\n",
        &["NOT_SET_ANYWHERE", "say which", "compose.yaml:3:12"],
    ),
];

/// The inventory's part of the same.
const INVENTORIES: &[(&str, &str, &[&str])] = &[
    ("no TOML", "[hosts.h1\naddress = 1\n", &["hosts-bad.toml:1:"]),
    ("an unknown key in the inventory", "[hosts.h1]\nadress = \"ssh://10.0.0.1\"\n", &["hosts-bad.toml:2:1", "address"]),
    ("an address of no kind", "[hosts.h1]\naddress = \"ftp://10.0.0.1\"\n", &["hosts-bad.toml:2:11", "ssh://"]),
];

#[test]
fn bad_files_are_refused_at_once_in_little_memory_and_nothing_is_touched() {
    let fleet = own(2);
    let before = everything(&fleet);
    for (what, compose, says) in COMPOSE_FILES {
        let project = Project::new(&fleet, "bad", ONE);
        fs::write(&project.file, compose).expect("the fleet's folder is writable");
        check(what, &project, COMPOSE_FILE, says);
    }
    for (what, file, says) in odd_files(&fleet.folder) {
        let mut project = Project::new(&fleet, "bad", ONE);
        project.file = file;
        check(what, &project, COMPOSE_FILE, says);
    }
    for (what, inventory, says) in INVENTORIES {
        check(what, &Project::new(&fleet, "bad", ONE).with_inventory(inventory), INVENTORY, says);
    }
    let mut project = Project::new(&fleet, "bad", ONE);
    project.inventory = fleet.folder.clone();
    check("a folder as the inventory", &project, INVENTORY, &["cannot read the inventory"]);
    project.inventory = fleet.folder.join("nowhere.toml");
    check("no inventory where one is named", &project, INVENTORY, &["nowhere.toml", "hosts add"]);
    let project = Project::new(&fleet, "bad", ONE);
    for verb in ["down", "stop", "kill"] {
        let ended = project.run(&[verb]);
        assert_eq!(ended.code, Some(0), "{verb}: {}", ended.everything());
        ended.assert_says(&["nothing of project"]);
    }
    assert_eq!(everything(&fleet), before, "the engines before and after");
}

#[test]
fn hosts_that_cannot_be_trusted_or_reached_are_refused_and_nothing_is_touched() {
    let fleet = own(2);
    let before = everything(&fleet);
    let address = &fleet.hosts[0].address;
    let mut project = Project::new(&fleet, "bad", ONE);
    project.home = fleet.folder.join("empty-home");
    check("an unknown host key", &project, UNREACHABLE, &["h1", "h2", "ssh-keyscan", address]);

    let server = TlsServer::start(&fleet.folder);
    let inventory = format!(
        "[hosts.h1]\naddress = \"tcp://127.0.0.1:{}\"\ntls = {{ ca = \"{}\" }}\n",
        server.port,
        server.other_ca.display()
    );
    let project = Project::new(&fleet, "bad", ONE).with_inventory(&inventory);
    check("a wrong authority", &project, UNREACHABLE, &["h1", "not signed by the `ca`", "hosts check"]);

    let network = address.rsplit_once('.').expect("it is an IPv4 address").0;
    let inventory = format!("[hosts.nobody]\naddress = \"ssh://root@{network}.200\"\n");
    let ended = Project::new(&fleet, "bad", ONE).with_inventory(&inventory).run_within(MEMORY_KIB_MAX, &["up", "-d"]);
    assert_refused("an unreachable host", &ended, UNREACHABLE, &["nobody", &format!("{network}.200"), "hosts check"]);
    assert!(ended.took < UNREACHABLE_MAX, "an unreachable host took {:?}", ended.took);
    assert_eq!(everything(&fleet), before, "the engines before and after");
}

/// Files that are not what their names say; those that text in a table cannot be.
fn odd_files(folder: &Path) -> Vec<(&'static str, PathBuf, &'static [&'static str])> {
    let folder = folder.join("odd");
    fs::create_dir_all(&folder).expect("the fleet's folder is writable");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("the fleet's folder is writable");
        path
    };
    let nested = |open: &str| format!("services: {}", open.repeat(10_000));
    vec![
        ("an alias bomb", file("bomb.yaml", alias_bomb().as_bytes()), &["excessive aliasing", "bomb.yaml:6:"]),
        ("a file of 50 MB", file("large.yaml", &[b'#'; 50_000_000]), &["larger than 20 MiB"]),
        ("bytes that are no UTF-8", file("bytes.yaml", b"services:\n  web: {image: \"\xff\xfe\"}\n"), &["no UTF-8", "byte 26"]),
        ("10,000 lists in each other", file("lists.yaml", nested("[").as_bytes()), &["lists.yaml:1:"]),
        ("10,000 maps in each other", file("maps.yaml", nested("{a: ").as_bytes()), &["nested", "maps.yaml:1:"]),
        ("a folder", folder.clone(), &["Is a directory"]),
        ("a file without end", PathBuf::from("/dev/zero"), &["larger than 20 MiB"]),
        ("no file", folder.join("absent.yaml"), &["absent.yaml"]),
        // Root may read every file, so this one is unreadable for another reason: a memory that is not there.
        ("a file that cannot be read", PathBuf::from("/proc/self/mem"), &["cannot read /proc/self/mem"]),
    ]
}

/// Nine levels of nine aliases each: 14 lines that stand for 400 million values.
fn alias_bomb() -> String {
    let level = |n: usize| format!("x-{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","));
    let levels: String = (1..=9).map(level).collect();
    format!("x-0: &a0 [x,x,x,x,x,x,x,x,x]\n{levels}services: {{web: {{image: x, command: *a9}}}}\n")
}

/// Refused in time: in one of a few runs, since the machine has other things to do too.
fn check(what: &str, project: &Project<'_>, code: i32, says: &[&str]) {
    let mut shortest = Duration::MAX;
    for _ in 0..RUNS {
        let ended = project.run_within(MEMORY_KIB_MAX, &["up", "-d"]);
        assert_refused(what, &ended, code, says);
        shortest = shortest.min(ended.took);
        if shortest < REFUSED_MAX {
            return;
        }
    }
    panic!("{what}: refused after {shortest:?}");
}

fn assert_refused(what: &str, ended: &Ended, code: i32, says: &[&str]) {
    assert_eq!(ended.code, Some(code), "{what}:\n{}", ended.everything());
    assert_eq!(ended.stdout, "", "{what}: an error is no answer");
    let missing: Vec<&&str> = says.iter().filter(|word| !ended.stderr.contains(**word)).collect();
    assert!(missing.is_empty(), "{what}: {missing:?} not said in:\n{}", ended.stderr);
}

/// All that every engine has; equal before and after means that nothing was touched.
fn everything(fleet: &Fleet) -> Vec<Value> {
    let paths = ["/containers/json?all=1", "/networks", "/volumes", "/images/json"];
    let of_host = |path: &str| fleet.hosts.iter().map(|host| sorted(host.get(path))).collect::<Vec<_>>();
    let swarm = fleet.hosts.iter().map(|host| host.get("/info")["Swarm"]["LocalNodeState"].clone());
    paths.iter().flat_map(|path| of_host(path)).chain(swarm).collect()
}

/// Engines list in no order.
fn sorted(mut list: Value) -> Value {
    if let Some(items) = list.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
    list
}

/// A server whose certificate one authority signed, and the certificate of another one.
struct TlsServer {
    process: Child,
    port: u16,
    other_ca: PathBuf,
}

impl TlsServer {
    fn start(folder: &Path) -> Self {
        let settings = folder.join("openssl.cnf");
        fs::write(&settings, "[req]\ndistinguished_name = name\n[name]\n").expect("the fleet's folder is writable");
        let settings = settings.display().to_string();
        let [own, other] = ["own", "other"].map(|name| {
            let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
            let (key_path, path) = (key.display().to_string(), certificate.display().to_string());
            let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
            let subject = ["-subj", "/CN=mcompose", "-addext", "subjectAltName=IP:127.0.0.1"];
            // A server may not show an authority's certificate, which is what openssl's own settings would make of it.
            let leaf = ["-config", &settings, "-addext", "basicConstraints=critical,CA:FALSE"];
            run("openssl", &[&new[..], &subject, &leaf, &["-keyout", &key_path, "-out", &path]].concat());
            (key, certificate)
        });
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free").port();
        let process = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}"), "-key"])
            .arg(&own.0)
            .arg("-cert")
            .arg(&own.1)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl was run before");
        wait_until("the TLS server answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port, other_ca: other.1 }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
