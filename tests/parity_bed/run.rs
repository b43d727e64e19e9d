//! mcompose and docker compose as programs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::json;
use super::script::Case;

/// Docker compose has no bound on aliases. This is kilobytes, and seconds.
const CAPPED: &str = "ulimit -v 4000000; exec timeout 20 \"$0\" \"$@\"";
/// Of `timeout`, and of a panic.
const BROKEN_CODES: [i32; 2] = [124, 101];

pub struct Program {
    path: PathBuf,
}

pub enum Outcome {
    Printed(String),
    Refused(String),
    /// It took too long or broke off.
    Broken(String),
}

impl Outcome {
    /// As it is written down as expected.
    pub fn written(self, case: &str) -> String {
        match self {
            Self::Printed(text) => json::pretty(&json::parse(&text)),
            Self::Refused(_) => "refused".to_owned(),
            Self::Broken(said) => panic!("docker compose breaks at `{case}`: {said}"),
        }
    }
}

impl Program {
    pub fn mcompose() -> Self {
        Self { path: env!("CARGO_BIN_EXE_mcompose").into() }
    }

    pub fn reference() -> Option<Self> {
        std::env::var_os("MCOMPOSE_TEST_DOCKER_COMPOSE").map(|path| Self { path: path.into() })
    }

    pub fn config(&self, case: &Case, folder: &Path) -> Outcome {
        let json = ["--format", "json"].map(str::to_owned);
        let arguments: Vec<String> = case.arguments.iter().cloned().chain(json).collect();
        self.run(case, folder, &arguments, case.standard_input().unwrap_or_default())
    }

    /// The hash of each service, a line each, sorted.
    pub fn hashes(&self, case: &Case, folder: &Path) -> Vec<String> {
        let all = ["--hash", "*"].map(str::to_owned);
        let arguments: Vec<String> = case.arguments.iter().cloned().chain(all).collect();
        match self.run(case, folder, &arguments, case.standard_input().unwrap_or_default()) {
            Outcome::Printed(text) => {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            }
            Outcome::Refused(said) | Outcome::Broken(said) => vec![said],
        }
    }

    /// What is printed without a format.
    pub fn yaml(&self, case: &Case, folder: &Path) -> String {
        match self.run(case, folder, &case.arguments, case.standard_input().unwrap_or_default()) {
            Outcome::Printed(text) => case.filled(&text, folder),
            Outcome::Refused(said) | Outcome::Broken(said) => said,
        }
    }

    /// Loads what was printed, with the options of the case that change what is done to a document.
    pub fn load_back(&self, case: &Case, folder: &Path, yaml: &str) -> Outcome {
        const BEFORE: [&str; 2] = ["--all-resources", "--compatibility"];
        const AFTER: [&str; 4] = ["--no-consistency", "--no-normalize", "--no-path-resolution", "--no-env-resolution"];
        let kept = |options: &[&str]| case.arguments.iter().filter(|one| options.contains(&one.as_str())).cloned().collect();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        let parts: [Vec<String>; 4] =
            [kept(&BEFORE), words("--project-directory . -f - --profile *"), words("config --format json"), kept(&AFTER)];
        self.run(case, folder, &parts.concat(), yaml)
    }

    fn run(&self, case: &Case, folder: &Path, arguments: &[String], input: &str) -> Outcome {
        let project = Case::project(folder);
        let cwd = project.join(&case.folder);
        let mut command = Command::new("sh");
        command.args(["-c", CAPPED]).arg(&self.path);
        command.args(arguments.iter().map(|argument| case.filled(argument, folder)));
        command.env_clear().env("HOME", "/home/user").env("PWD", &cwd).env("PATH", "/usr/bin:/bin");
        command.envs(case.environment.iter().map(|(key, value)| (key, case.filled(value, folder))));
        command.current_dir(&cwd).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a program can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program that does not read it may be gone by now.
        let _ = stdin.write_all(case.filled(input, folder).as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let text = text.replace(&*project.display().to_string(), "@DIR@");
                Outcome::Printed(text.replace(&*folder.display().to_string(), "@UP@"))
            }
            Some(code) if !BROKEN_CODES.contains(&code) => Outcome::Refused(said),
            _ => Outcome::Broken(format!("{}: {said}", output.status)),
        }
    }
}
