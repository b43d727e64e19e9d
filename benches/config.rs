//! `config` of 10, 100 and 1,000 services as a whole process, beside docker compose where `DOCKER_COMPOSE` names its binary.
//!
//! `DOCKER_COMPOSE=/path/docker-compose cargo bench --bench config`. Memory needs GNU time in /usr/bin/time; without it only
//! the time is told.
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a bench measures with the clock and prints")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 11;

fn main() {
    let folder = std::env::temp_dir().join(format!("mcompose-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let reference = std::env::var_os("DOCKER_COMPOSE").map(PathBuf::from);
    println!("{:>8}  {:<16} {:>12} {:>12}", "services", "program", "median ms", "peak MiB");
    for services in [10, 100, 1000] {
        let file = folder.join(format!("compose-{services}.yaml"));
        std::fs::write(&file, document(services)).expect("the temporary folder is writable");
        report(services, "mcompose", Path::new(env!("CARGO_BIN_EXE_mcompose")), &file);
        if let Some(reference) = &reference {
            report(services, "docker compose", reference, &file);
        }
    }
    std::fs::remove_dir_all(&folder).expect("the folder was made here");
}

fn report(services: usize, name: &str, program: &Path, file: &Path) {
    let mut times: Vec<f64> = (0..RUNS).map(|_| run_ms(program, file)).collect();
    times.sort_by(f64::total_cmp);
    let memory = peak_mib(program, file).map_or("-".to_owned(), |mib| format!("{mib:.1}"));
    println!("{services:>8}  {name:<16} {:>12.1} {memory:>12}", times[RUNS / 2]);
}

fn run_ms(program: &Path, file: &Path) -> f64 {
    let start = Instant::now();
    let status = Command::new(program)
        .args(["-f", &file.display().to_string(), "config", "--format", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("the program starts");
    assert!(status.success(), "{} config failed", program.display());
    start.elapsed().as_secs_f64() * 1000.0
}

fn peak_mib(program: &Path, file: &Path) -> Option<f64> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "%M", &program.display().to_string(), "-f", &file.display().to_string(), "config", "-q"])
        .stdout(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last()?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// A project of the size asked for, with what real files have: environment, ports, volumes, healthchecks, dependencies.
fn document(services: usize) -> String {
    let mut text = String::from("name: bench\nservices:\n");
    for n in 0..services {
        let _ = write!(
            text,
            "  service{n}:\n    image: example/app:{n}\n    command: [\"serve\", \"--port\", \"80{:02}\"]\n    restart: unless-stopped\n\
             \x20   environment:\n      MODE: production\n      LEVEL: ${{LEVEL:-info}}\n      NUMBER: {n}\n    ports:\n      - \"{}:80\"\n\
             \x20   volumes:\n      - data{n}:/var/lib/data\n      - ./etc:/etc/app:ro\n    labels:\n      - \"team=t{}\"\n\
             \x20   healthcheck:\n      test: [\"CMD\", \"true\"]\n      interval: 10s\n      retries: 3\n    networks: [front, back]\n\
             \x20   deploy:\n      replicas: 2\n      resources:\n        limits: {{cpus: \"0.5\", memory: 256M}}\n",
            n % 100,
            20_000 + n,
            n % 7
        );
        if n > 0 {
            let _ = write!(text, "    depends_on:\n      service{}:\n        condition: service_healthy\n", n - 1);
        }
    }
    text.push_str("networks:\n  front:\n  back:\nvolumes:\n");
    for n in 0..services {
        let _ = writeln!(text, "  data{n}:");
    }
    text
}
