//! docker compose 2.40.3, run against one host's engine, sees the project there.
#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::FleetHost;
use crate::program::{Project, shared};

const COMPOSE: &str =
    "services:\n  web:\n    image: mcompose-demo:1\n    deploy: {replicas: 6}\n  queue:\n    image: mcompose-demo:1\n";

#[test]
pub fn docker_compose_lists_the_projects_containers_of_a_host() {
    let project = Project::new(shared(), "seen", COMPOSE);
    project.ok(&["up", "-d"]);
    for host in &project.fleet.hosts {
        let here: Vec<String> = project.running().into_iter().filter(|(_, on)| *on == host.name).map(|(name, _)| name).collect();
        assert_eq!(names(&docker_compose(host, &["-p", "seen", "ps", "--format", "json"])), here, "ps on {}", host.name);
        let list: Value = serde_json::from_str(&docker_compose(host, &["ls", "--format", "json"])).expect("ls gives JSON");
        let projects = list.as_array().cloned().unwrap_or_default();
        let seen = projects.iter().find(|item| item["Name"] == "seen").unwrap_or_else(|| panic!("ls on {}: {list}", host.name));
        assert_eq!(seen["Status"], format!("running({})", here.len()));
        assert_eq!(seen["ConfigFiles"].as_str(), project.file.to_str());
    }
    project.ok(&["down"]);
    project.assert_gone();
}

/// One JSON object a line.
fn names(lines: &str) -> Vec<String> {
    let name = |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["Name"].as_str()?.to_owned());
    let mut names: Vec<String> = lines.lines().filter_map(name).collect();
    names.sort();
    names
}

/// What docker compose prints; it must succeed.
pub fn docker_compose(host: &FleetHost, arguments: &[&str]) -> String {
    let output = command(host, arguments).output().expect("sh runs");
    assert!(output.status.success(), "docker compose {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// docker compose against this engine.
pub fn command(host: &FleetHost, arguments: &[&str]) -> Command {
    let program = program();
    let mut command = Command::new("sh");
    // The reference is not to be trusted with the machine's memory.
    command
        .args(["-c", "ulimit -v 4000000; exec timeout 100 \"$0\" \"$@\"", &program.display().to_string()])
        .args(arguments)
        .env("DOCKER_HOST", format!("unix://{}", host.socket().display()));
    command
}

fn program() -> PathBuf {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/docker-compose-2.40.3");
    let program = std::env::var_os("MCOMPOSE_TEST_DOCKER_COMPOSE").map_or(fetched, PathBuf::from);
    assert!(program.exists(), "{} is not there: `bash tests/run.sh` fetches it", program.display());
    program
}
