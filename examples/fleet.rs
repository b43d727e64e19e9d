//! Several Docker hosts on this machine, by hand, for trying mcompose and its behaviour under faults. As root:
//!
//!   cargo run --example fleet -- up 3        three hosts h1 h2 h3 with the image mcompose-demo:1; prints their hosts.toml
//!   cargo run --example fleet -- status      `inventory` prints the path of hosts.toml alone
//!   cargo run --example fleet -- ask shop-web-1 http://api/   who answers a container, and on which host
//!   cargo run --example fleet -- cut h2      its network cable; `heal h2`
//!   cargo run --example fleet -- freeze h2   engine and sshd stand still; `thaw h2`
//!   cargo run --example fleet -- crash h2    power off; `boot h2` starts it with the same disk
//!   cargo run --example fleet -- lose-daemon h2   the engine alone dies; `boot h2` starts it again
//!   cargo run --example fleet -- down
//!   cargo run --example fleet -- possible    exit code 0 where a fleet can be made
//!   cargo run --example fleet -- image       puts mcompose-demo:1 on the machine's own engine
//!
//! `up` adds the hosts' keys to ~/.ssh/known_hosts so that ssh:// works at once; `down` takes them out again.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own, not a room of mcompose")]

#[path = "../tests/fleet/harness/mod.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use harness::{DEMO_IMAGE, Fleet, FleetHost, demo_image, obstacle};

const USAGE: &str = "usage: fleet up [HOSTS] | status | inventory | down | ask CONTAINER URL | possible | image | \
                     cut|heal|freeze|thaw|crash|boot|lose-daemon HOST";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up"] => up(3),
        ["up", hosts] => match hosts.parse() {
            Ok(hosts) => up(hosts),
            Err(_) => return usage(),
        },
        ["status"] => staying().iter().for_each(status),
        ["inventory"] => staying().iter().for_each(|fleet| println!("{}", fleet.inventory().display())),
        ["down"] => staying().into_iter().for_each(down),
        ["possible"] => return possible(),
        ["image"] => FleetHost::local().import(DEMO_IMAGE, &demo_image()),
        ["ask", container, url] => return ask(container, url),
        [verb, host] => return fault(verb, host),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn up(hosts: usize) {
    for fleet in staying() {
        if fleet.hosts.iter().any(FleetHost::is_running) {
            println!("a fleet is up already; `cargo run --example fleet -- down` takes it away");
            return status(&fleet);
        }
        // The machine was started anew since.
        down(fleet);
    }
    let fleet = Fleet::start_to_stay(hosts);
    fleet.load_demo_image();
    trust(&fleet);
    status(&fleet);
}

fn staying() -> Vec<Fleet> {
    Fleet::staying().iter().map(|folder| Fleet::open(folder)).collect()
}

fn status(fleet: &Fleet) {
    println!("inventory  {}", fleet.inventory().display());
    println!("image      {DEMO_IMAGE}");
    for host in &fleet.hosts {
        let state = if host.answers() { "up" } else { "no answer" };
        println!("{:<10} {:<14} {state:<10} docker -H unix://{}", host.name, host.address, host.socket().display());
    }
}

fn down(fleet: Fleet) {
    distrust(&fleet);
    println!("{} is gone", fleet.prefix);
    fleet.take_down();
}

fn possible() -> ExitCode {
    let Some(obstacle) = obstacle() else { return ExitCode::SUCCESS };
    eprintln!("{obstacle}");
    ExitCode::FAILURE
}

/// Without a fleet, the machine's own engine is asked.
fn ask(container: &str, url: &str) -> ExitCode {
    let mut hosts: Vec<FleetHost> = staying().into_iter().flat_map(|fleet| fleet.hosts.clone()).collect();
    if hosts.is_empty() {
        hosts.push(FleetHost::local());
    }
    let running: Vec<(&FleetHost, Vec<(String, String)>)> = hosts.iter().map(|host| (host, host.running())).collect();
    let find = |wanted: &dyn Fn(&(String, String)) -> bool| {
        running.iter().find_map(|(host, containers)| Some((*host, containers.iter().find(|container| wanted(container))?)))
    };
    let Some((asker, _)) = find(&|(_, name)| name == container) else {
        eprintln!("no container `{container}` runs on any host");
        return ExitCode::FAILURE;
    };
    let (exit_code, answer) = asker.exec(container, &["demo", "get", url]);
    // The first line says `NAME on HOSTNAME`; a container's hostname is the beginning of its id.
    let hostname = answer.lines().next().and_then(|line| line.split(" on ").nth(1)).unwrap_or("nobody").trim();
    match find(&|(id, _)| id.starts_with(hostname)) {
        Some((host, (_, name))) => println!("{container} on {} asks {url}: {name} on {} answers", asker.name, host.name),
        None => println!("{container} on {} asks {url}: {}", asker.name, answer.trim()),
    }
    ExitCode::from(u8::from(exit_code != 0))
}

fn fault(verb: &str, name: &str) -> ExitCode {
    let fleets = staying();
    let Some(host) = fleets.iter().flat_map(|fleet| &fleet.hosts).find(|host| host.name == name) else {
        eprintln!("no host `{name}` is up; `cargo run --example fleet -- up 3` makes h1 h2 h3");
        return ExitCode::FAILURE;
    };
    match verb {
        "cut" => host.cut(),
        "heal" => host.heal(),
        "freeze" => host.freeze(),
        "thaw" => host.thaw(),
        "crash" => host.crash(),
        "boot" if host.is_running() => host.boot_daemon(),
        "boot" => host.boot(),
        "lose-daemon" => host.lose_daemon(),
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn known_hosts() -> PathBuf {
    Path::new(&std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned())).join(".ssh/known_hosts")
}

/// The lines end with the fleet's prefix, by which `distrust` finds them.
fn trust(fleet: &Fleet) {
    let path = known_hosts();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let ours = std::fs::read_to_string(fleet.home().join(".ssh/known_hosts")).expect("the fleet wrote it");
    let separator = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    std::fs::create_dir_all(path.parent().expect("it is below the home folder")).expect("the home folder is writable");
    std::fs::write(&path, format!("{before}{separator}{ours}")).expect("the home folder is writable");
}

fn distrust(fleet: &Fleet) {
    let path = known_hosts();
    let Ok(before) = std::fs::read_to_string(&path) else { return };
    let mark = format!(" {}", fleet.prefix);
    let after: String = before.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(&mark)).collect();
    std::fs::write(&path, after).expect("the home folder is writable");
}
