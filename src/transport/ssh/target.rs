//! Whom to log in to, and through whom: the inventory, ssh_config and the files they name put together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::LinkOptions;
use super::config::{Disk, HostConfig, Query, Tokens, expand, of_host};
use super::failure::Broken;
use super::known_hosts::name_of;
use crate::project::{Address, Host};

const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
const DEFAULT_KNOWN_HOSTS: [&str; 2] = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"];
const SYSTEM_KNOWN_HOSTS: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
/// A jump host may have jump hosts of its own; beyond this many they go in a circle.
const HOPS_MAX: usize = 8;
const SSH_PORT: u16 = 22;

/// One server on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// As it was named, for messages and commands.
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) identities: Vec<PathBuf>,
    /// Of the agent, only keys that identity files name.
    pub(super) identities_only: bool,
    pub(super) agent: AgentChoice,
    /// The name in known_hosts.
    pub(super) known_as: String,
    pub(super) known_hosts: Vec<PathBuf>,
    pub(super) connect_timeout: Option<Duration>,
    /// What ssh_config says and is not done.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AgentChoice {
    /// `SSH_AUTH_SOCK`
    Environment,
    Socket(PathBuf),
    None,
}

impl Hop {
    pub(super) fn display(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == SSH_PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// One server as it is asked for: by the inventory, or by a jump host's name.
struct Asked<'a> {
    host: &'a str,
    user: Option<&'a str>,
    port: Option<u16>,
    identity: Option<&'a str>,
}

/// The servers on the way to a host, itself the last. What ssh_config asks for and is not possible here is refused.
pub(super) fn hops(host: &Host, options: &LinkOptions) -> Result<Vec<Hop>, Broken> {
    let Address::Ssh { user, host: name, port } = &host.address else {
        return Err(Broken::lasting("the address is not of SSH"));
    };
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let list = |path: &str| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let home = options.home.display().to_string();
    let disk = Disk { read: &read, list: &list, home: &home };
    let asked = Asked { host: name, user: user.as_deref(), port: *port, identity: host.identity.as_deref() };
    let jump = (!host.jump.is_empty()).then_some(host.jump.as_slice());
    chain(&disk, &options.user, &asked, jump, 0)
}

/// `jump` as the inventory has it stands above ssh_config's; jump hosts after the first have none of their own.
fn chain(
    disk: &Disk<'_>,
    local_user: &str,
    asked: &Asked<'_>,
    jump: Option<&[String]>,
    depth: usize,
) -> Result<Vec<Hop>, Broken> {
    let config = of_host(disk, &Query { host: asked.host, user: asked.user, local_user });
    let own = config.proxy_jump.as_deref().filter(|jump| !jump.eq_ignore_ascii_case("none"));
    let jumps = match (jump, own) {
        (Some(jump), _) => jump.to_vec(),
        (None, Some(own)) => own.split(',').map(|jump| jump.trim().to_owned()).collect(),
        (None, None) => {
            refuse_command(asked.host, &config)?;
            Vec::new()
        }
    };
    if depth + jumps.len() > HOPS_MAX {
        return Err(Broken::lasting(format!("more than {HOPS_MAX} jump hosts lead to {}: do they go in a circle?", asked.host)));
    }
    let mut hops = Vec::new();
    for (index, jump) in jumps.iter().enumerate() {
        let (user, host, port) = split_jump(jump)?;
        let jump = Asked { host, user, port, identity: asked.identity };
        // Only the outermost can have its own way; `Some(&[])` takes it from the others.
        let before = if index == 0 { None } else { Some(&[][..]) };
        hops.extend(chain(disk, local_user, &jump, before, depth + jumps.len())?);
    }
    hops.push(hop(disk, local_user, asked, config)?);
    Ok(hops)
}

fn refuse_command(host: &str, config: &HostConfig) -> Result<(), Broken> {
    match config.proxy_command.as_deref().filter(|command| !command.eq_ignore_ascii_case("none")) {
        Some(_) => Err(Broken::lasting(format!(
            "ssh_config has a ProxyCommand for {host}, which is not supported: write `ProxyJump GATE` there, or `jump = \"GATE\"` in \
             hosts.toml"
        ))),
        None => Ok(()),
    }
}

fn hop(disk: &Disk<'_>, local_user: &str, asked: &Asked<'_>, config: HostConfig) -> Result<Hop, Broken> {
    let host = config.host_name.as_deref().map_or_else(|| asked.host.to_owned(), |name| name.replace("%h", asked.host));
    let host = host.replace("%%", "%");
    let port = asked.port.or(config.port).unwrap_or(SSH_PORT);
    let user = asked.user.or(config.user.as_deref()).unwrap_or(local_user).to_owned();
    let key_alias = config.host_key_alias.as_deref().unwrap_or(asked.host);
    let tokens = Tokens { home: disk.home, host: &host, original: asked.host, port, user: &user, local_user, key_alias };
    let mut notes = config.notes;
    let mut paths = |texts: &[String]| -> Vec<PathBuf> {
        let texts = texts.iter().filter(|text| !text.eq_ignore_ascii_case("none"));
        let expanded = texts.filter_map(|text| match expand(text, &tokens) {
            Ok(path) => Some(PathBuf::from(path)),
            Err(token) => {
                notes.push(format!("`{token}` in `{text}` of ssh_config is not known here"));
                None
            }
        });
        expanded.collect()
    };
    let mut identities: Vec<PathBuf> = asked.identity.iter().map(PathBuf::from).collect();
    identities.extend(paths(&config.identity_files));
    if config.identity_files.is_empty() {
        identities.extend(DEFAULT_KEYS.iter().map(|name| Path::new(disk.home).join(".ssh").join(name)));
    }
    let of = |files: Option<Vec<String>>, default: [&str; 2]| files.unwrap_or_else(|| default.map(str::to_owned).to_vec());
    let mut known_hosts = paths(&of(config.user_known_hosts, DEFAULT_KNOWN_HOSTS));
    known_hosts.extend(paths(&of(config.global_known_hosts, SYSTEM_KNOWN_HOSTS)));
    let agent = match config.identity_agent.as_deref() {
        None | Some("SSH_AUTH_SOCK") => AgentChoice::Environment,
        Some(text) if text.eq_ignore_ascii_case("none") => AgentChoice::None,
        Some(text) => paths(&[text.to_owned()]).pop().map_or(AgentChoice::None, AgentChoice::Socket),
    };
    Ok(Hop {
        name: asked.host.to_owned(),
        known_as: name_of(&host, port, config.host_key_alias.as_deref()),
        host,
        port,
        user,
        identities,
        identities_only: config.identities_only.unwrap_or(false),
        agent,
        known_hosts,
        connect_timeout: config.connect_timeout,
        notes,
    })
}

/// `[user@]host[:port]`, with or without `ssh://`.
fn split_jump(text: &str) -> Result<(Option<&str>, &str, Option<u16>), Broken> {
    let bare = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
    let (user, rest) = bare.rsplit_once('@').map_or((None, bare), |(user, rest)| (Some(user), rest));
    let (host, port) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None if rest.matches(':').count() == 1 => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        None => (rest, None),
    };
    let port = port.map(str::parse).transpose().ok().filter(|_| !host.is_empty());
    let port = port.ok_or_else(|| Broken::lasting(format!("`{text}` is no jump host: it is [user@]host[:port]")))?;
    Ok((user, host, port))
}

#[cfg(test)]
mod tests {
    use super::{AgentChoice, Asked, Disk, Hop, chain};

    fn resolve(config: &str, host: &str, jump: Option<&[String]>) -> Result<Vec<Hop>, String> {
        let read = |path: &str| (path == "/home/me/.ssh/config").then(|| config.to_owned());
        let list = |_: &str| Vec::new();
        let asked = Asked { host, user: None, port: None, identity: Some("/keys/fleet") };
        chain(&Disk { read: &read, list: &list, home: "/home/me" }, "me", &asked, jump, 0).map_err(|broken| broken.words)
    }

    fn check(config: &str, host: &str, jump: &[&str], expect: &str) {
        let jump: Vec<String> = jump.iter().map(ToString::to_string).collect();
        let got = match resolve(config, host, (!jump.is_empty()).then_some(jump.as_slice())) {
            Ok(hops) => hops.iter().map(|hop| format!("{}@{}", hop.user, hop.display())).collect::<Vec<_>>().join(" > "),
            Err(words) => words,
        };
        assert_eq!(got, expect, "{host} by {jump:?}");
    }

    #[test]
    fn jump_hosts_come_before_the_host_the_outermost_first() {
        check("", "alpha", &[], "me@alpha");
        check("", "alpha", &["gate", "root@inner:2222"], "me@gate > root@inner:2222 > me@alpha");
        check("", "alpha", &["ssh://gate", "[fe80::1]:23"], "me@gate > me@[fe80::1]:23 > me@alpha");
        check("Host alpha\n  ProxyJump you@gate,inner\n", "alpha", &[], "you@gate > me@inner > me@alpha");
        check("Host alpha\n  ProxyJump gate\n", "alpha", &["other"], "me@other > me@alpha");
        check("Host alpha\n  ProxyJump none\nHost *\n  ProxyJump gate\n", "alpha", &[], "me@alpha");
    }

    #[test]
    fn a_jump_host_is_looked_up_too_and_the_outermost_may_have_one_of_its_own() {
        let config = "Host gate\n  HostName 10.0.0.1\n  User ops\n  ProxyJump outer\nHost inner\n  Port 24\n  ProxyJump lost\n";
        check(config, "alpha", &["gate", "inner"], "me@outer > ops@10.0.0.1 > me@inner:24 > me@alpha");
    }

    #[test]
    fn jump_hosts_in_a_circle_and_proxy_commands_are_refused() {
        check("Host *\n  ProxyJump gate\n", "alpha", &[], "more than 8 jump hosts lead to gate: do they go in a circle?");
        let words = resolve("ProxyCommand nc %h %p\n", "alpha", None).expect_err("it is refused");
        assert!(words.contains("ProxyCommand for alpha") && words.contains("ProxyJump"), "{words}");
        check("ProxyCommand none\n", "alpha", &[], "me@alpha");
        check("", "alpha", &["gate:x"], "`gate:x` is no jump host: it is [user@]host[:port]");
    }

    #[test]
    fn files_and_names_are_those_of_the_configuration() {
        let config = "Host alpha\n  HostName %h.example.com\n  Port 2222\n  IdentityFile ~/.ssh/%n\n  IdentityFile /k/%C\n  IdentitiesOnly yes\n\
                      \x20 UserKnownHostsFile ~/known/%h\n  IdentityAgent none\n  ConnectTimeout 3\nHost beta\n  HostKeyAlias common\n";
        let alpha = resolve(config, "alpha", None).expect("it is read").remove(0);
        assert_eq!(alpha.identities, ["/keys/fleet", "/home/me/.ssh/alpha"].map(std::path::PathBuf::from));
        assert_eq!(alpha.known_as, "[alpha.example.com]:2222");
        assert_eq!(alpha.known_hosts[0], std::path::Path::new("/home/me/known/alpha.example.com"));
        assert_eq!((alpha.identities_only, alpha.agent), (true, AgentChoice::None));
        assert_eq!(alpha.notes, ["`%C` in `/k/%C` of ssh_config is not known here"]);
        let beta = resolve(config, "beta", None).expect("it is read").remove(0);
        assert_eq!((beta.known_as.as_str(), beta.identities.len()), ("common", 4), "the default keys count");
        assert_eq!(beta.known_hosts[0], std::path::Path::new("/home/me/.ssh/known_hosts"));
    }
}
