//! What mcompose adds to the engines' own time: a deployment, calls over SSH, an image on its way. As root, like the tests.
//!
//! `cargo bench --bench fleet` prints medians; `-- WORD` runs those whose names have the word. Needs the docker command for `ship`.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench runs programs, measures and prints")]

#[path = "../tests/fleet/harness/mod.rs"]
mod harness;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use harness::{DEMO_IMAGE, Fleet, FleetHost, demo_image};
use mcompose::engine::docker;
use mcompose::project::{Address, Availability, Host, HostName};
use mcompose::transport::LinkOptions;
use mcompose::world::Pace;
use serde_json::json;

const RUNS: usize = 9;
const REPLICAS: usize = 12;
const CALLS: usize = 100;
/// Of the image that is shipped: what every host has, and what is new.
const COMMON_MIB: usize = 200;
const NEW_MIB: usize = 1;

fn main() {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let fleet = Fleet::start(3);
    fleet.load_demo_image();
    for name in ["up", "calls", "ship"].into_iter().filter(|name| name.contains(&word)) {
        match name {
            "up" => up(&fleet),
            "calls" => calls(&fleet),
            _ => ship(&fleet),
        }
    }
}

fn report(what: &str, mut times_ms: Vec<f64>) {
    times_ms.sort_by(f64::total_cmp);
    let (low, high) = (times_ms[0], times_ms[times_ms.len() - 1]);
    println!("{what:<64} {:>9.1} ms  ({low:.1} to {high:.1})", times_ms[times_ms.len() / 2]);
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1000.0
}

fn mcompose(fleet: &Fleet, inventory: &Path, file: &Path, arguments: &[&str]) {
    let status = Command::new(env!("CARGO_BIN_EXE_mcompose"))
        .args([Path::new("-i"), inventory, Path::new("-f"), file])
        .args(arguments)
        .env("HOME", fleet.home())
        .env_remove("SSH_AUTH_SOCK")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("it was built").success(), "mcompose {}", arguments.join(" "));
}

/// Twelve replicas on three engines, beside the same containers made and started by nothing but their API calls, four hosts' worth
/// in parallel.
fn up(fleet: &Fleet) {
    let file = fleet.folder.join("bench.yaml");
    let service =
        |name: &str| format!("  {name}:\n    image: {DEMO_IMAGE}\n    command: [sleep, '1000']\n    stop_grace_period: 0s\n");
    let compose =
        format!("name: bench\nservices:\n{}    deploy: {{replicas: {REPLICAS}}}\n    network_mode: none\n", service("web"));
    fs::write(&file, compose).expect("the fleet's folder is writable");
    let inventory = fleet.inventory();
    mcompose(fleet, &inventory, &file, &["up", "-d"]);
    mcompose(fleet, &inventory, &file, &["down"]);
    let (mut floor, mut ours, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        floor.push(timed(|| raw(fleet)));
        remove_raw(fleet);
        ours.push(timed(|| mcompose(fleet, &inventory, &file, &["up", "-d"])));
        again.push(timed(|| mcompose(fleet, &inventory, &file, &["up", "-d"])));
        mcompose(fleet, &inventory, &file, &["down"]);
    }
    report(&format!("{REPLICAS} containers, create and start, unix sockets, parallel"), floor);
    report(&format!("mcompose up -d of {REPLICAS} replicas, over SSH"), ours);
    report("mcompose up -d with nothing to do, over SSH", again);
}

fn raw(fleet: &Fleet) {
    let body = json!({ "Image": DEMO_IMAGE, "Cmd": ["sleep", "1000"], "HostConfig": { "NetworkMode": "none" } });
    std::thread::scope(|scope| {
        for number in 0..REPLICAS {
            let (host, body) = (&fleet.hosts[number % fleet.hosts.len()], &body);
            scope.spawn(move || {
                let made = host.api("POST", &format!("/containers/create?name=raw-{number}"), Some(body));
                assert!(made.is_success(), "{}", made.text());
                assert!(host.api("POST", &format!("/containers/raw-{number}/start"), None).is_success());
            });
        }
    });
}

fn remove_raw(fleet: &Fleet) {
    std::thread::scope(|scope| {
        for number in 0..REPLICAS {
            let host = &fleet.hosts[number % fleet.hosts.len()];
            scope.spawn(move || host.api("DELETE", &format!("/containers/raw-{number}?force=1"), None));
        }
    });
}

/// A hundred calls over one SSH session, one after the other and all at once, beside the same over the unix socket.
fn calls(fleet: &Fleet) {
    let host = &fleet.hosts[0];
    let ssh = Address::Ssh { user: Some("root".to_owned()), host: host.address.clone(), port: None };
    let unix = Address::Unix { path: host.socket().display().to_string() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    for (way, address) in [("SSH", ssh), ("a unix socket", unix)] {
        let options = LinkOptions { home: fleet.home(), user: "root".to_owned(), connect_timeout: harness::BOUND };
        let engine = docker::open(&as_host(fleet, host, address), &options);
        runtime.block_on(engine.ping()).expect("the engine answers");
        let before = host.ssh_connections();
        let (mut one_by_one, mut at_once) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            one_by_one.push(timed(|| {
                runtime.block_on(async {
                    for _ in 0..CALLS {
                        engine.containers(Pace::AtOnce).await.expect("the engine answers");
                    }
                });
            }));
            at_once.push(timed(|| {
                let all = (0..CALLS).map(|_| engine.containers(Pace::AtOnce));
                runtime.block_on(futures_util::future::try_join_all(all)).expect("the engine answers");
            }));
        }
        assert_eq!(host.ssh_connections(), before, "one session carries them all");
        report(&format!("{CALLS} calls over {way}, one after the other"), one_by_one);
        report(&format!("{CALLS} calls over {way}, all at once"), at_once);
    }
}

fn as_host(fleet: &Fleet, host: &FleetHost, address: Address) -> Host {
    Host {
        name: HostName::new(host.name.clone()).expect("h1 is a name"),
        address,
        role: None,
        availability: Availability::Active,
        labels: Default::default(),
        advertise: None,
        identity: Some(fleet.folder.join("id_ed25519").display().to_string()),
        jump: Vec::new(),
    }
}

/// An image of which three hosts over SSH lack a small layer, from the machine's own fleet host, beside `docker save | docker load`.
fn ship(fleet: &Fleet) {
    let builder = Fleet::start(1);
    let source = &builder.hosts[0];
    source.import(DEMO_IMAGE, &demo_image());
    build(&builder, source, "common:1", DEMO_IMAGE, COMMON_MIB, 1);
    std::thread::scope(|scope| {
        fleet.hosts.iter().for_each(|host| drop(scope.spawn(|| save_and_load(source, host, "common:1"))));
    });
    let inventory = fleet.folder.join("ship.toml");
    let hosts = fleet.hosts.iter().map(|host| {
        format!(
            "[hosts.{}]\naddress = \"ssh://root@{}\"\nidentity = \"{}\"\n",
            host.name,
            host.address,
            fleet.folder.join("id_ed25519").display()
        )
    });
    let text = hosts.collect::<String>() + &format!("[hosts.source]\naddress = \"unix://{}\"\n", source.socket().display());
    fs::write(&inventory, text).expect("the fleet's folder is writable");
    let file = fleet.folder.join("ship.yaml");
    fs::write(&file, "name: ship\nservices: {}\n").expect("the fleet's folder is writable");
    let (mut by_socket, mut by_ssh, mut ours, mut their_bytes, mut our_bytes) = (Vec::new(), Vec::new(), Vec::new(), 0, 0);
    for run in 0..3 {
        for number in 3 * run..3 * run + 3 {
            let image = format!("new:{number}");
            build(&builder, source, &image, "common:1", NEW_MIB, number as u8 + 2);
            let before = bytes(fleet);
            match number % 3 {
                0 => by_socket.push(timed(|| fleet.hosts.iter().for_each(|host| save_and_load(source, host, &image)))),
                1 => {
                    by_ssh.push(timed(|| fleet.hosts.iter().for_each(|host| save_and_load_by_ssh(fleet, source, host, &image))));
                    their_bytes = bytes(fleet) - before;
                }
                _ => {
                    ours.push(timed(|| mcompose(fleet, &inventory, &file, &["image", "ship", &image])));
                    our_bytes = bytes(fleet) - before;
                }
            }
        }
    }
    report(&format!("docker save | docker load of {COMMON_MIB}+{NEW_MIB} MiB to 3 hosts, unix sockets"), by_socket);
    report(&format!("docker save | ssh docker load of {COMMON_MIB}+{NEW_MIB} MiB to 3 hosts, one after the other"), by_ssh);
    report(&format!("mcompose image ship of {COMMON_MIB}+{NEW_MIB} MiB to 3 hosts, over SSH"), ours);
    println!("bytes: docker save | ssh docker load {their_bytes}, mcompose {our_bytes} on the hosts' network");
}

fn build(builder: &Fleet, host: &FleetHost, image: &str, base: &str, mib: usize, seed: u8) {
    let folder = builder.folder.join(format!("context-{seed}"));
    fs::create_dir_all(&folder).expect("the fleet's folder is writable");
    // Not compressible, and not the same in two images.
    let mut state = u64::from(seed) | 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    });
    fs::write(folder.join(format!("noise-{seed}")), noise.take(mib << 20).collect::<Vec<u8>>()).expect("there is room");
    fs::write(folder.join("Dockerfile"), format!("FROM {base}\nCOPY noise-{seed} /noise-{seed}\n")).expect("there is room");
    let file = folder.join("compose.yaml");
    fs::write(&file, format!("name: made\nservices: {{it: {{build: ., image: \"{image}\"}}}}\n")).expect("there is room");
    let inventory = folder.join("hosts.toml");
    fs::write(&inventory, format!("[hosts.source]\naddress = \"unix://{}\"\n", host.socket().display())).expect("there is room");
    mcompose(builder, &inventory, &file, &["build"]);
}

fn socket(host: &FleetHost) -> String {
    format!("unix://{}", host.socket().display())
}

fn save_and_load(from: &FleetHost, to: &FleetHost, image: &str) {
    let script = format!("set -o pipefail; docker -H {} save {image} | docker -H {} load", socket(from), socket(to));
    let status = Command::new("bash").args(["-c", &script]).stdout(Stdio::null()).status();
    assert!(status.expect("bash starts").success(), "{script}");
}

fn save_and_load_by_ssh(fleet: &Fleet, from: &FleetHost, to: &FleetHost, image: &str) {
    let key = fleet.folder.join("id_ed25519");
    let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
    let ssh = format!("ssh {options} -i {} root@{}", key.display(), to.address);
    let script = format!("set -o pipefail; docker -H {} save {image} | {ssh} docker load", socket(from));
    let status = Command::new("bash").args(["-c", &script]).stdout(Stdio::null()).status();
    assert!(status.expect("bash starts").success(), "{script}");
}

fn bytes(fleet: &Fleet) -> u64 {
    fleet.hosts.iter().map(FleetHost::received_bytes).sum()
}
