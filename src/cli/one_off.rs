//! The flags of `run` that change what its container is made from, as docker compose has them.
#![expect(clippy::disallowed_methods, reason = "files that the command line names are read here")]

use std::collections::BTreeMap;
use std::io::IsTerminal;

use super::{Failure, exit};
use crate::composefile::flags;
use crate::project::{HostName, Mount, OneOff, Port, Ports};

#[derive(Debug, clap::Args)]
pub struct OneOffArgs {
    /// Add Linux capabilities
    #[arg(long, value_name = "CAP")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "CAP")]
    cap_drop: Vec<String>,
    /// Override the entrypoint of the image
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Set environment variables; without a value, that of the environment
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Set environment variables from file
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// Add or override a label
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// The host that it runs on; else one is chosen as for a replica
    #[arg(long, value_name = "HOST")]
    on: Option<String>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "PORT", conflicts_with = "service_ports")]
    publish: Vec<String>,
    /// Pull image before running
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never"])]
    pull: Option<String>,
    /// Run command with all service's ports enabled and mapped to the host
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Disable pseudo-TTY allocation (default: auto-detected)
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long, hide = true, conflicts_with = "no_tty")]
    tty: bool,
    /// Run as specified username or uid
    #[arg(short, long)]
    user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
}

impl OneOffArgs {
    /// A terminal of its own makes sense only where there is one at both ends.
    pub fn wants_tty(&self) -> bool {
        let has_terminals = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        self.tty || (!self.no_tty && has_terminals)
    }

    /// `environment`: what the file's variables see.
    pub fn read(&self, command: &[String], environment: &BTreeMap<String, String>, tty: bool) -> Result<OneOff, Failure> {
        let usage = |flag: &str, why: String| Failure::said(format!("{flag}: {why}"), None, exit::USAGE);
        let entrypoint = self.entrypoint.as_deref().map(flags::command).transpose().map_err(|why| usage("--entrypoint", why))?;
        let ports: Result<Vec<Vec<Port>>, String> = self.publish.iter().map(|short| flags::ports(short)).collect();
        let ports = ports.map_err(|why| usage("--publish", why))?.concat();
        let mounts: Result<Vec<Mount>, String> = self.volume.iter().map(|short| flags::mount(short).map(from_here)).collect();
        let host = self.on.as_ref().map(HostName::new).transpose().map_err(|error| usage("--on", error.to_string()))?;
        Ok(OneOff {
            command: command.to_vec(),
            entrypoint,
            environment: self.environment(environment)?,
            labels: self.labels()?,
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            cap_add: self.cap_add.iter().map(|name| capability(name)).collect(),
            cap_drop: self.cap_drop.iter().map(|name| capability(name)).collect(),
            mounts: mounts.map_err(|why| usage("--volume", why))?,
            ports: if self.service_ports { Ports::OfTheService } else { Ports::These(ports) },
            pull_policy: self.pull.clone(),
            tty,
            interactive: self.interactive,
            host,
        })
    }

    /// Files first, so that what the command line says itself counts. A name without a value has that of the environment, or is left out.
    fn environment(&self, known: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, Failure> {
        let mut found = Vec::new();
        for path in &self.env_from_file {
            let fail = |why: String| Failure::said(format!("--env-from-file {path}: {why}"), None, exit::USAGE);
            let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            found.extend(flags::variables_of_file(&text, &|name| known.get(name).cloned()).map_err(fail)?);
        }
        found.extend(self.env.iter().filter_map(|text| match text.split_once('=') {
            Some((key, value)) => Some((key.to_owned(), value.to_owned())),
            None => known.get(text).map(|value| (text.clone(), value.clone())),
        }));
        Ok(found)
    }

    fn labels(&self) -> Result<Vec<(String, String)>, Failure> {
        let entry = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Failure::said(format!("--label {text}: a label is KEY=VALUE"), None, exit::USAGE)),
        };
        self.label.iter().map(entry).collect()
    }
}

/// In the form that docker compose gives to those of a command line.
fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}

/// A relative path is one of where the command is given.
fn from_here(mut mount: Mount) -> Mount {
    if mount.kind == "bind"
        && let Some(source) = &mount.source
        && let Ok(path) = std::path::absolute(source)
    {
        mount.source = Some(path.display().to_string());
    }
    mount
}
