//! From an address to a session that is let in: the server is known, and we are.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use ssh2::{HashType, MethodType, Session};

use super::super::{LinkOptions, Untrusted};
use super::config::{HostConfig, of_host};
use super::known_hosts::{Verdict, judge, known_types};
use crate::project::{Address, Host};

/// A sent byte that is not acknowledged for this long means that the host is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Whom to log in to, with inventory and `~/.ssh/config` put together.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) identities: Vec<PathBuf>,
    /// Where the agent is not asked.
    pub(super) identities_only: bool,
    pub(super) known_hosts: Vec<String>,
    pub(super) known_hosts_file: PathBuf,
}

impl Target {
    /// Reads the user's configuration and known hosts.
    pub(super) fn of(host: &Host, options: &LinkOptions) -> io::Result<Self> {
        let Address::Ssh { user, host: name, port } = &host.address else {
            return Err(io::Error::other("the address is not of SSH"));
        };
        let folder = options.home.join(".ssh");
        let config = of_host(&read(&folder.join("config")), name);
        if !host.jump.is_empty() || config.proxy_jump.as_deref().is_some_and(|jump| jump != "none") {
            return Err(io::Error::other("jump hosts are not supported yet: name an address that can be reached directly"));
        }
        let mut identities: Vec<PathBuf> = host.identity.iter().map(PathBuf::from).collect();
        let identities_only = config.identities_only || host.identity.is_some();
        identities.extend(config.identity_files.iter().map(|file| expanded(file, &options.home)));
        if identities.is_empty() {
            identities = DEFAULT_KEYS.iter().map(|name| folder.join(name)).collect();
        }
        let files = known_hosts_files(&config, options);
        Ok(Self {
            host: config.host_name.clone().unwrap_or_else(|| name.clone()),
            port: port.or(config.port).unwrap_or(22),
            user: user.clone().or(config.user.clone()).unwrap_or_else(|| options.user.clone()),
            identities: identities.into_iter().filter(|path| path.is_file()).collect(),
            identities_only,
            known_hosts: files.iter().map(|path| read(path)).collect(),
            known_hosts_file: files.into_iter().next().unwrap_or_else(|| folder.join("known_hosts")),
        })
    }
}

fn known_hosts_files(config: &HostConfig, options: &LinkOptions) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.known_hosts_files.iter().map(|file| expanded(file, &options.home)).collect();
    if files.is_empty() {
        files = vec![options.home.join(".ssh/known_hosts"), options.home.join(".ssh/known_hosts2")];
    }
    files.push(PathBuf::from("/etc/ssh/ssh_known_hosts"));
    files
}

fn expanded(path: &str, home: &Path) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| home.join(rest))
}

/// What is not there is empty.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Connects, checks the server's key, and logs in. Returns the session and its socket.
pub(super) fn login(target: &Target, options: &LinkOptions) -> io::Result<(Session, TcpStream)> {
    let tcp = connect(target, options.connect_timeout)?;
    let mut session = Session::new()?;
    session.set_tcp_stream(tcp.try_clone()?);
    session.set_timeout(u32::try_from(options.connect_timeout.as_millis()).unwrap_or(u32::MAX));
    let known = known_types(&target.known_hosts, &target.host, target.port);
    if !known.is_empty() {
        // A key of a type that is not known would look like another server's.
        let _ = session.method_pref(MethodType::HostKey, &with_rsa_signatures(&known));
    }
    session.handshake().map_err(|error| io::Error::other(format!("the SSH handshake with {} failed: {error}", target.host)))?;
    check_server(&session, target)?;
    authenticate(&session, target)?;
    Ok((session, tcp))
}

/// `ssh-rsa` keys sign with newer methods, too.
fn with_rsa_signatures(types: &[String]) -> String {
    let all = types.iter().flat_map(|kind| match kind.as_str() {
        "ssh-rsa" => vec!["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
        other => vec![other],
    });
    all.collect::<Vec<_>>().join(",")
}

fn connect(target: &Target, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other(format!("`{}` has no address", target.host));
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                rustix::net::sockopt::set_tcp_user_timeout(&tcp, u32::try_from(SILENCE_MAX.as_millis()).unwrap_or(u32::MAX))?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn check_server(session: &Session, target: &Target) -> io::Result<()> {
    let (key, _) = session.host_key().ok_or_else(|| io::Error::other("the server sent no key"))?;
    let fingerprint = session.host_key_hash(HashType::Sha256).map(|hash| BASE64.encode(hash)).unwrap_or_default();
    let Target { host, port, known_hosts_file, .. } = target;
    let file = known_hosts_file.display();
    let message = match judge(&target.known_hosts, host, *port, key) {
        Verdict::Known => return Ok(()),
        Verdict::Unknown => format!(
            "the key of {host} is not known (SHA256:{fingerprint}); if it is the right one, `ssh-keyscan -p {port} {host} >> {file}` adds it"
        ),
        Verdict::Changed => format!(
            "the key of {host} is not the known one (now SHA256:{fingerprint}): it may be another machine; `ssh-keygen -R {host} -f {file}` forgets the old key"
        ),
        Verdict::Revoked => format!("the key of {host} (SHA256:{fingerprint}) is revoked in {file}"),
    };
    Err(io::Error::other(Untrusted(message)))
}

fn authenticate(session: &Session, target: &Target) -> io::Result<()> {
    let mut tried = Vec::new();
    if !target.identities_only {
        match with_agent(session, &target.user) {
            Ok(true) => return Ok(()),
            Ok(false) => tried.push("the agent's keys".to_owned()),
            Err(_) => tried.push("no agent".to_owned()),
        }
    }
    for path in &target.identities {
        match session.userauth_pubkey_file(&target.user, None, path, None) {
            Ok(()) => return Ok(()),
            Err(error) => tried.push(format!("{} ({})", path.display(), error.message())),
        }
    }
    if target.identities_only && with_agent(session, &target.user).unwrap_or(false) {
        return Ok(());
    }
    let Target { user, host, .. } = target;
    let tried = if tried.is_empty() { "no key was found".to_owned() } else { format!("tried {}", tried.join(", ")) };
    Err(io::Error::other(Untrusted(format!("{host} does not let `{user}` in: {tried}"))))
}

/// True when one of the agent's keys is taken.
fn with_agent(session: &Session, user: &str) -> Result<bool, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    Ok(agent.identities()?.iter().any(|identity| agent.userauth(user, identity).is_ok()))
}
