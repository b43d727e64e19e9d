//! One project on one engine, as a user of docker compose has it: no hosts.toml, `DOCKER_HOST` says which engine. Both programs
//! work on it.
#![expect(clippy::disallowed_methods, reason = "tests run programs and write files")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::FleetHost;
use crate::program::own;
use crate::{harness::Fleet, reference};

pub struct Local {
    /// It lives as long as its project.
    pub fleet: Fleet,
    pub folder: PathBuf,
}

impl Local {
    /// A fleet of one host with the demo image, and these files in a folder.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let fleet = own(1);
        let folder = fleet.folder.join("project");
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the fleet's folder is writable");
            fs::write(path, text).expect("the fleet's folder is writable");
        }
        Self { fleet, folder }
    }

    pub fn host(&self) -> &FleetHost {
        &self.fleet.hosts[0]
    }

    /// What docker compose says, both streams; it must succeed.
    pub fn docker_compose(&self, arguments: &[&str]) -> String {
        self.said(reference::command(self.host(), arguments), arguments)
    }

    /// What mcompose says, both streams; it must succeed.
    pub fn mcompose(&self, arguments: &[&str]) -> String {
        self.said(self.program(arguments), arguments)
    }

    /// The same where it must not succeed.
    pub fn mcompose_fails(&self, arguments: &[&str]) -> String {
        let (is_success, said) = self.ended(self.program(arguments));
        assert!(!is_success, "{arguments:?}\n{said}");
        said
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcompose"));
        command.args(arguments).env("DOCKER_HOST", format!("unix://{}", self.host().socket().display()));
        command
    }

    fn said(&self, command: Command, arguments: &[&str]) -> String {
        let (is_success, said) = self.ended(command);
        assert!(is_success, "{arguments:?}\n{said}");
        said
    }

    fn ended(&self, mut command: Command) -> (bool, String) {
        command.current_dir(&self.folder).env("PWD", &self.folder).env("HOME", self.fleet.home());
        for name in ["DOCKER_CONTEXT", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "MCOMPOSE_INVENTORY"] {
            command.env_remove(name);
        }
        let output = command.output().expect("it was built");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}
