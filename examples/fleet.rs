//! Several Docker hosts on this machine, by hand, for trying mcompose and its behaviour under faults. As root:
//!
//!   cargo run --example fleet -- up 3        three hosts h1 h2 h3 with the image mcompose-demo:1; prints their hosts.toml
//!   cargo run --example fleet -- status
//!   cargo run --example fleet -- cut h2      its network cable; `heal h2`
//!   cargo run --example fleet -- freeze h2   engine and sshd stand still; `thaw h2`
//!   cargo run --example fleet -- crash h2    power off; `boot h2` starts it with the same disk
//!   cargo run --example fleet -- lose-daemon h2   the engine alone dies; `boot h2` starts it again
//!   cargo run --example fleet -- down
//!
//! `up` adds the hosts' keys to ~/.ssh/known_hosts so that ssh:// works at once; `down` takes them out again.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own, not a room of mcompose")]

#[path = "../tests/fleet/harness/mod.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use harness::{DEMO_IMAGE, Fleet};

const USAGE: &str = "usage: fleet up [HOSTS] | status | inventory | down | cut|heal|freeze|thaw|crash|boot|lose-daemon HOST";

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
    if let Some(fleet) = staying().into_iter().next() {
        println!("a fleet is up already; `cargo run --example fleet -- down` takes it away");
        return status(&fleet);
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
