//! ssh_config(5) as far as it concerns reaching a host: pure, what is on the disk comes through `Disk`.
//!
//! The first value found stands; identity files add up. What is written there and not done here becomes a note, which an error
//! then shows.

mod include;
mod matching;
mod tokens;
pub(super) mod words;

pub(super) use tokens::{Tokens, expand};

use std::time::Duration;

use matching::Block;

/// How deep files may include each other, as in OpenSSH.
const DEPTH_MAX: usize = 16;
/// How many files are read in all: two that include each other twice would never end.
const FILES_MAX: usize = 200;

/// What is on the disk: the text of a file, and the names in a folder.
pub(super) struct Disk<'a> {
    pub(super) read: &'a dyn Fn(&str) -> Option<String>,
    pub(super) list: &'a dyn Fn(&str) -> Vec<String>,
    pub(super) home: &'a str,
}

/// Which host is asked about.
pub(super) struct Query<'a> {
    /// As it was named.
    pub(super) host: &'a str,
    /// Where the address says who logs in.
    pub(super) user: Option<&'a str>,
    pub(super) local_user: &'a str,
}

/// What the files say of one host. Paths and tokens are not expanded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HostConfig {
    pub(super) host_name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<String>,
    pub(super) identities_only: Option<bool>,
    pub(super) identity_agent: Option<String>,
    /// `none` or the jump hosts with commas between them.
    pub(super) proxy_jump: Option<String>,
    pub(super) proxy_command: Option<String>,
    pub(super) user_known_hosts: Option<Vec<String>>,
    pub(super) global_known_hosts: Option<Vec<String>>,
    pub(super) host_key_alias: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    /// What is not done here, each with file and line.
    pub(super) notes: Vec<String>,
}

/// Reads what the files say of a host: the user's, then the system's.
pub(super) fn of_host(disk: &Disk<'_>, query: &Query<'_>) -> HostConfig {
    let mut reader = Reader { disk, query, config: HostConfig::default(), files: 0 };
    let user_file = format!("{}/.ssh/config", disk.home);
    for (path, folder) in [(user_file.as_str(), format!("{}/.ssh", disk.home)), ("/etc/ssh/ssh_config", "/etc/ssh".to_owned())] {
        reader.file(path, &folder, true, 0);
    }
    reader.config
}

struct Reader<'a> {
    disk: &'a Disk<'a>,
    query: &'a Query<'a>,
    config: HostConfig,
    files: usize,
}

impl Reader<'_> {
    /// `applies` is whether the block applies that the file was included in.
    fn file(&mut self, path: &str, folder: &str, applies: bool, depth: usize) {
        self.files += 1;
        let Some(text) = (self.disk.read)(path) else { return };
        let mut block = if applies { Block::Applies } else { Block::Never };
        for (index, line) in text.lines().enumerate() {
            let Some((key, arguments)) = words::split(line) else { continue };
            let place = || format!("{path}:{}", index + 1);
            match key.as_str() {
                // Blocks of a file that was included in one that does not apply never do.
                "host" | "match" if !applies => {}
                "host" => block = matching::of_host(&arguments, self.query),
                "match" => {
                    block = matching::of_match(&arguments, self.query, &self.config);
                    if let Block::Unknown { criterion } = &block {
                        self.config.notes.push(format!("`Match {criterion}` in {} is not applied", place()));
                    }
                }
                _ if block != Block::Applies => {}
                "include" if depth >= DEPTH_MAX || self.files >= FILES_MAX => {
                    self.config.notes.push(format!("the `Include` in {} goes too deep", place()));
                }
                "include" => {
                    for pattern in &arguments {
                        for file in include::files(self.disk, folder, pattern) {
                            self.file(&file, folder, true, depth + 1);
                        }
                    }
                }
                _ => self.value(&key, &arguments, &place),
            }
        }
    }

    fn value(&mut self, key: &str, arguments: &[String], place: &dyn Fn() -> String) {
        let Some(first) = arguments.first() else { return };
        let config = &mut self.config;
        let keep = |slot: &mut Option<String>| {
            slot.get_or_insert_with(|| first.clone());
        };
        match key {
            "hostname" => keep(&mut config.host_name),
            "user" => keep(&mut config.user),
            "identityagent" => keep(&mut config.identity_agent),
            "hostkeyalias" => keep(&mut config.host_key_alias),
            "port" => config.port = config.port.or(first.parse().ok()),
            "identityfile" if !config.identity_files.contains(first) => config.identity_files.push(first.clone()),
            "identitiesonly" => config.identities_only = config.identities_only.or(yes_or_no(first)),
            "connecttimeout" => config.connect_timeout = config.connect_timeout.or(first.parse().ok().map(Duration::from_secs)),
            "userknownhostsfile" => {
                config.user_known_hosts.get_or_insert_with(|| arguments.to_vec());
            }
            "globalknownhostsfile" => {
                config.global_known_hosts.get_or_insert_with(|| arguments.to_vec());
            }
            // Of the two, the one that stands first is meant.
            "proxyjump" if config.proxy_command.is_none() => keep(&mut config.proxy_jump),
            "proxycommand" if config.proxy_jump.is_none() && config.proxy_command.is_none() => {
                config.proxy_command = Some(arguments.join(" "));
            }
            "certificatefile" | "securitykeyprovider" | "pkcs11provider" => {
                config.notes.push(format!("`{key}` in {} is not used", place()));
            }
            _ => {}
        }
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
