//! From a way to a server to a session that is let in: the server is known, and we are.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ssh2::{Agent, HashType, MethodType, PublicKey, Session};

use super::failure::Broken;
use super::keys::{Candidate, KeyFile, candidates, inspect};
use super::known_hosts::{Verdict, judge, kind_of, known_types};
use super::target::{AgentChoice, Hop};
use super::wire::{Net, Wire};

/// A sent byte that is not acknowledged for this long means that the host is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Of one attempt to connect: the kernel asks at once, and again after a second.
const DIAL_MAX: Duration = Duration::from_secs(2);

/// What a login works on.
pub(super) struct Login<'a> {
    pub(super) hop: &'a Hop,
    /// The jump hosts before, as `ssh -J` takes them; empty for none.
    pub(super) jumps: &'a str,
    pub(super) until: Instant,
    /// Is told what is waited for.
    pub(super) phase: &'a dyn Fn(String),
}

/// Connects over TCP; addresses that do not answer share the time there is.
pub(super) fn connect(hop: &Hop, until: Instant, phase: &dyn Fn(String)) -> Result<TcpStream, Broken> {
    phase(format!("looking up {}", hop.host));
    let unknown = |error| Broken::passing(format!("the name {} cannot be looked up: {error}", hop.host));
    let addresses: Vec<_> = (hop.host.as_str(), hop.port).to_socket_addrs().map_err(unknown)?.collect();
    let mut last = Broken::passing(format!("{} has no address", hop.host));
    for (index, address) in addresses.iter().enumerate() {
        phase(format!("{address} has not answered"));
        let rest = until.saturating_duration_since(Instant::now()) / u32::try_from(addresses.len() - index).unwrap_or(1);
        match dial(address, rest) {
            Ok(tcp) => {
                let silence_ms = u32::try_from(SILENCE_MAX.as_millis()).unwrap_or(u32::MAX);
                let _ = tcp.set_nodelay(true);
                let _ = rustix::net::sockopt::set_tcp_user_timeout(&tcp, silence_ms);
                return Ok(tcp);
            }
            Err(error) => last = Broken::passing(why_not_connected(&address.to_string(), &error, rest)),
        }
    }
    Err(last)
}

/// Knocks anew every now and then: a host that was away when it was first asked is asked again only after ever longer pauses.
fn dial(address: &SocketAddr, rest: Duration) -> std::io::Result<TcpStream> {
    let until = Instant::now() + rest;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(address, left.clamp(Duration::from_millis(1), DIAL_MAX)) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut && left > DIAL_MAX => {}
            end => return end,
        }
    }
}

fn why_not_connected(address: &str, error: &std::io::Error, waited: Duration) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {address} (connection refused): does sshd run there?")
        }
        std::io::ErrorKind::TimedOut => {
            format!("no answer from {address} within {} s: is the host up, and does a firewall let us through?", waited.as_secs())
        }
        _ => format!("{address} cannot be reached: {error}"),
    }
}

impl Login<'_> {
    /// Greets, checks the server's key, and logs in.
    pub(super) fn run(&self, net: Net) -> Result<(Wire, Session), Broken> {
        let broken = |error: std::io::Error| Broken::passing(error.to_string());
        let (mut wire, mut session) = Wire::new(net).map_err(broken)?;
        let texts: Vec<String> = self.hop.known_hosts.iter().map(|path| read(path)).collect();
        self.prefer_known_keys(&session, &texts);
        (self.phase)(format!("{} has not greeted as an SSH server", self.hop.display()));
        let greeted = self.drive(&mut wire, || session.handshake());
        greeted.map_err(|why| self.why_no_handshake(&wire, why))?;
        self.check_server(&session, &texts)?;
        (self.phase)(format!("logging in to {} as {}", self.hop.display(), self.hop.user));
        self.authenticate(&mut wire, &session)?;
        Ok((wire, session))
    }

    /// Makes a call until it does not wait any more.
    fn drive<T>(&self, wire: &mut Wire, mut call: impl FnMut() -> Result<T, ssh2::Error>) -> Result<T, Stop> {
        loop {
            let result = call();
            let moved = wire.pump().map_err(|error| Stop::Lost(error.to_string()))?;
            match result {
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(Stop::Said(error)),
                Ok(value) => return Ok(value),
            }
            if moved {
                continue;
            }
            if wire.ended {
                let why = wire.fate().map_or_else(|| "the server closed the connection".to_owned(), |fate| fate.words);
                return Err(Stop::Lost(why));
            }
            if Instant::now() >= self.until {
                return Err(Stop::Late);
            }
            wire.wait(self.until).map_err(|error| Stop::Lost(error.to_string()))?;
        }
    }

    /// A key of a type that is not known would look like a stranger's, so the known types are asked for first. Certificates are
    /// never asked for: nobody here would check their authority.
    fn prefer_known_keys(&self, session: &Session, texts: &[String]) {
        let supported = session.supported_algs(MethodType::HostKey).unwrap_or_default();
        let known = known_types(texts, &self.hop.known_as);
        let methods = known.iter().flat_map(|kind| match kind.as_str() {
            // Keys of this type sign with newer methods, too.
            "ssh-rsa" => vec!["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
            other => vec![other],
        });
        let mut list: Vec<&str> = methods.filter(|method| supported.contains(method)).collect();
        for method in supported.iter().filter(|method| !method.contains("-cert-")) {
            if !list.contains(method) {
                list.push(method);
            }
        }
        let _ = session.method_pref(MethodType::HostKey, &list.join(","));
    }

    fn why_no_handshake(&self, wire: &Wire, stop: Stop) -> Broken {
        let hop = self.hop.display();
        let greeting = String::from_utf8_lossy(&wire.greeting);
        let first = greeting.lines().next().unwrap_or_default();
        match stop {
            Stop::Late => self.late(),
            _ if greeting.is_empty() => Broken::passing(match wire.fate() {
                Some(fate) => fate.words,
                None => format!(
                    "{hop} closed the connection before it greeted: is its sshd overloaded (MaxStartups), or a firewall before it?"
                ),
            }),
            _ if !greeting.contains("SSH-") => Broken::lasting(format!(
                "{hop} answers, and not as an SSH server: {:?}",
                first.chars().take(60).collect::<String>()
            )),
            Stop::Lost(why) => Broken::passing(format!("the SSH handshake with {hop} failed: {why}")),
            Stop::Said(error) => {
                let message = error.message();
                let hint = if message.contains("exchange encryption keys") {
                    ": no method in common; post-quantum key exchange alone is too new for us"
                } else {
                    ""
                };
                Broken::passing(format!("the SSH handshake with {hop} failed: {message}{hint} (it is {})", first.trim()))
            }
        }
    }

    fn late(&self) -> Broken {
        Broken::passing(format!("{} did not answer in time over SSH: is it overloaded or frozen?", self.hop.display()))
    }

    fn check_server(&self, session: &Session, texts: &[String]) -> Result<(), Broken> {
        let hop = self.hop;
        let (key, _) = session.host_key().ok_or_else(|| Broken::passing(format!("{} sent no key", hop.display())))?;
        let fingerprint = session.host_key_hash(HashType::Sha256).map(|hash| BASE64_STANDARD_NO_PAD.encode(hash));
        let fingerprint = format!("SHA256:{}", fingerprint.unwrap_or_default());
        match judge(texts, &hop.known_as, key) {
            Verdict::Known => Ok(()),
            verdict => Err(Broken::lasting(self.why_not_known(&verdict, key, &fingerprint))),
        }
    }

    fn why_not_known(&self, verdict: &Verdict, key: &[u8], fingerprint: &str) -> String {
        let hop = self.hop;
        let (name, kind) = (hop.display(), kind_of(key));
        let Some(file) = hop.known_hosts.iter().find(|path| *path != Path::new("/dev/null")) else {
            return format!("the key of {name} is not known ({fingerprint}), and ssh_config names no file that could know it");
        };
        let file = file.display();
        let add = format!("if it is the right one, {} adds it", self.add_command(key));
        match verdict {
            Verdict::Known => String::new(),
            Verdict::Unknown => format!("the key of {name} is not known ({kind} {fingerprint}); {add}"),
            Verdict::OnlyAuthority => {
                format!(
                    "of {name} only a certificate authority is known, which is not checked here ({kind} {fingerprint}); {add}"
                )
            }
            Verdict::OtherType { known } => format!(
                "{name} shows a key of another type ({kind} {fingerprint}) than known_hosts has of it ({}); {add}",
                known.join(", ")
            ),
            Verdict::Changed => format!(
                "THE KEY OF {name} HAS CHANGED (now {kind} {fingerprint}): it is another machine, was installed anew, or somebody \
                 stands between; nothing was sent. If the new key is right, `ssh-keygen -R '{}' -f {file}` forgets the old one",
                hop.known_as
            ),
            Verdict::Revoked => {
                format!("the key of {name} ({kind} {fingerprint}) is revoked (@revoked in known_hosts): do not trust it")
            }
        }
    }

    /// The command that adds a server's key: `ssh-keyscan` where it gets there by itself and under the right name.
    fn add_command(&self, key: &[u8]) -> String {
        let hop = self.hop;
        let file = hop.known_hosts.iter().find(|path| *path != Path::new("/dev/null"));
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        let aliased = hop.known_as != super::known_hosts::name_of(&hop.host, hop.port, None);
        if self.jumps.is_empty() && !aliased {
            return format!("`ssh-keyscan -p {} {} >> {file}`", hop.port, hop.host);
        }
        format!("`echo '{} {} {}' >> {file}`", hop.known_as, kind_of(key), BASE64_STANDARD.encode(key))
    }

    fn authenticate(&self, wire: &mut Wire, session: &Session) -> Result<(), Broken> {
        let hop = self.hop;
        let offered = self.drive(wire, || session.auth_methods(&hop.user).map(str::to_owned));
        if session.authenticated() {
            return Ok(());
        }
        let offered = offered.map_err(|stop| self.why_not_asked(stop))?;
        let files: Vec<(&Path, KeyFile)> =
            hop.identities.iter().filter_map(|path| Some((path.as_path(), key_file(path)?))).collect();
        let kinds: Vec<KeyFile> = files.iter().map(|(_, kind)| kind.clone()).collect();
        let agent = self.agent(session);
        let held = agent.as_ref().map_or(&[][..], |agent| agent.keys.as_slice());
        let blobs: Vec<Vec<u8>> = held.iter().map(|key| key.blob().to_vec()).collect();
        let mut tried = Vec::new();
        for candidate in candidates(&kinds, &blobs, hop.identities_only) {
            let (what, outcome) = match (candidate, &agent) {
                (Candidate::Agent(index), Some(agent)) => {
                    let key = &agent.keys[index];
                    let outcome = self.drive(wire, || agent.agent.userauth(&hop.user, key));
                    (format!("the agent's key {}", key.comment()), outcome)
                }
                (Candidate::Agent(_), None) => continue,
                (Candidate::File(index), _) => {
                    let path = files[index].0;
                    let outcome = self.drive(wire, || session.userauth_pubkey_file(&hop.user, None, path, None));
                    (path.display().to_string(), outcome)
                }
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(Stop::Late) => return Err(self.late()),
                Err(Stop::Lost(why)) => {
                    tried.push(format!("{what} (then {why}; MaxAuthTries?)"));
                    break;
                }
                Err(Stop::Said(error)) if is_refusal(&error) => tried.push(what),
                Err(Stop::Said(error)) => tried.push(format!("{what} ({})", error.message())),
            }
        }
        Err(self.not_let_in(&files, agent.is_some(), &tried, &offered))
    }

    fn why_not_asked(&self, stop: Stop) -> Broken {
        let hop = self.hop.display();
        match stop {
            Stop::Late => self.late(),
            Stop::Lost(why) => Broken::passing(format!("{hop} did not say how to log in: {why}")),
            Stop::Said(error) => Broken::passing(format!("{hop} did not say how to log in: {}", error.message())),
        }
    }

    fn not_let_in(&self, files: &[(&Path, KeyFile)], has_agent: bool, tried: &[String], offered: &str) -> Broken {
        let Hop { user, notes, .. } = self.hop;
        let mut words = vec![match tried.is_empty() {
            true => "no key could be tried".to_owned(),
            false => format!("tried {}", tried.join(", ")),
        }];
        for (path, file) in files {
            let path = path.display();
            match file {
                KeyFile::Locked { .. } => words.push(format!("{path} has a passphrase: `ssh-add {path}` hands it to the agent")),
                KeyFile::Unusable { why } => words.push(format!("{path} {why}")),
                KeyFile::Public { .. } | KeyFile::Ready { .. } => {}
            }
        }
        if !has_agent && self.hop.agent != AgentChoice::None {
            words.push("no SSH agent answers (SSH_AUTH_SOCK)".to_owned());
        }
        if !offered.split(',').any(|method| method == "publickey") {
            words.push(format!("the server takes only {offered}, and mcompose only keys"));
        }
        words.extend(notes.iter().cloned());
        Broken::lasting(format!("{} does not let `{user}` in: {}", self.hop.display(), words.join("; ")))
    }

    /// The agent and its keys, where there is one that answers.
    fn agent(&self, session: &Session) -> Option<Held> {
        let mut agent = match &self.hop.agent {
            AgentChoice::None => return None,
            AgentChoice::Environment => session.agent().ok()?,
            AgentChoice::Socket(path) => {
                let mut agent = session.agent().ok()?;
                agent.set_identity_path(path).ok()?;
                agent
            }
        };
        agent.connect().ok()?;
        agent.list_identities().ok()?;
        let keys = agent.identities().ok()?;
        Some(Held { agent, keys })
    }
}

struct Held {
    agent: Agent,
    keys: Vec<PublicKey>,
}

/// Why a call of a login did not succeed.
enum Stop {
    /// The connection is gone.
    Lost(String),
    /// The time is over.
    Late,
    /// libssh2's own word.
    Said(ssh2::Error),
}

/// The server did not take a key; it may take another.
fn is_refusal(error: &ssh2::Error) -> bool {
    const AUTHENTICATION_FAILED: i32 = -18;
    const PUBLICKEY_UNVERIFIED: i32 = -19;
    matches!(error.code(), ssh2::ErrorCode::Session(AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED))
}

pub(super) fn would_block(error: &ssh2::Error) -> bool {
    const EAGAIN: i32 = -37;
    error.code() == ssh2::ErrorCode::Session(EAGAIN)
}

/// Nothing where there is no such file.
fn key_file(path: &Path) -> Option<KeyFile> {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    let beside = std::fs::read_to_string(&public).ok();
    match std::fs::read_to_string(path) {
        Ok(text) => Some(inspect(&text, beside.as_deref())),
        // A public key alone names one of the agent's.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => beside.map(|text| inspect(&text, None)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Some(KeyFile::Unusable { why: "may not be read by you" })
        }
        Err(_) => Some(KeyFile::Unusable { why: "is no private key" }),
    }
}

/// What is not there is empty.
fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
