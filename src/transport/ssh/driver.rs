//! One thread that owns one SSH session and carries bytes between its channels and local sockets. Nothing in it waits but the
//! poll at the end of a round, so no channel holds up another.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use ssh2::{Channel, Session};

use super::failure::{Broken, Fate};
use super::line::{Leads, Line};
use super::login::would_block;
use super::target::Hop;
use super::wire::{Wire, wait};

/// Where the engine listens on the host.
const ENGINE_SOCKET: &str = "/var/run/docker.sock";
const DIAL_STDIO: &str = "docker system dial-stdio";
/// A server that is silent for this long is asked for a sign.
const PING_AFTER: Duration = Duration::from_secs(5);
/// One that gives none for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// A channel that the server does not close within this is forgotten.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(30);
/// sshd's MaxSessions counts commands, ten of them by default; forwarded sockets are not counted.
const COMMANDS_MAX: usize = 8;
/// sshd needs a file for each, of 1,024 by default.
const CHANNELS_MAX: usize = 500;

/// Where a connection is to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Purpose {
    Engine,
    /// For the session with the next server on the way.
    Port {
        host: String,
        port: u16,
    },
    Command(String),
}

pub(super) struct Request {
    pub(super) purpose: Purpose,
    pub(super) local: UnixStream,
    pub(super) fate: Fate,
    pub(super) answer: Box<dyn FnOnce(Result<(), Broken>) + Send>,
    /// The server did not open the socket; the docker client on the host is the other way.
    pub(super) refused: bool,
}

/// How the engine is reached over this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `direct-streamlocal@openssh.com` to its socket.
    Socket,
    /// The server refuses that, and the docker client on the host proved to be a way.
    DialStdio,
}

/// libssh2 opens one channel at a time.
enum Opening {
    /// A type that no server knows: its refusal is the sign that is asked for. (libssh2 never forgets answers to keepalives.)
    Ping,
    Forward(Request),
    Session(Request),
    Command(Request, Channel),
}

pub(super) struct Driver<'a> {
    session: Session,
    wire: Wire,
    hop: &'a Hop,
    requests: &'a Receiver<Request>,
    /// Readable when a request has come.
    wake: &'a UnixStream,
    phase: &'a dyn Fn(String),
    way: Way,
    commands_max: usize,
    waiting: VecDeque<Request>,
    opening: Option<(Opening, Instant)>,
    lines: Vec<Line>,
    closing: Vec<(Channel, Instant)>,
    asked: bool,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        (wire, session): (Wire, Session),
        hop: &'a Hop,
        requests: &'a Receiver<Request>,
        wake: &'a UnixStream,
        phase: &'a dyn Fn(String),
    ) -> Self {
        Self {
            session,
            wire,
            hop,
            requests,
            wake,
            phase,
            way: Way::Socket,
            commands_max: COMMANDS_MAX,
            waiting: VecDeque::new(),
            opening: None,
            lines: Vec::new(),
            closing: Vec::new(),
            asked: true,
        }
    }

    /// Runs until nobody asks any more, or the session breaks, which all who use it are told.
    pub(super) fn run(mut self) -> Option<Broken> {
        let why = loop {
            match self.round() {
                Ok(true) => {}
                Ok(false) => break None,
                Err(broken) => break Some(broken),
            }
        };
        if let Some(why) = &why {
            self.end_all(why);
        } else {
            let _ = self.session.disconnect(None, "", None);
            let _ = self.wire.pump();
        }
        // libssh2 frees what is left; with the wire gone it waits for nobody.
        drop(self.wire);
        why
    }

    /// False when nobody asks any more.
    fn round(&mut self) -> Result<bool, Broken> {
        self.take_requests();
        if !self.asked && self.lines.is_empty() && self.waiting.is_empty() {
            return Ok(false);
        }
        let mut moved = self.pump()?;
        moved |= self.open()?;
        for line in &mut self.lines {
            moved |= line.step(&mut self.wire).map_err(|error| broke(self.hop, &error))?;
        }
        moved |= self.end_lines();
        self.close();
        moved |= self.pump()?;
        if moved {
            return Ok(true);
        }
        self.check_alive()?;
        self.sleep().map_err(|error| broke(self.hop, &error))?;
        Ok(true)
    }

    fn pump(&mut self) -> Result<bool, Broken> {
        self.wire.pump().map_err(|error| broke(self.hop, &error))
    }

    fn take_requests(&mut self) {
        let mut bytes = [0_u8; 64];
        while matches!(self.wake.read(&mut bytes), Ok(count) if count > 0) {}
        loop {
            match self.requests.try_recv() {
                Ok(request) => self.waiting.push_back(request),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.asked = false;
                    return;
                }
            }
        }
    }

    /// Goes on with the channel that is being opened, or begins with the next. True when one was opened or refused.
    fn open(&mut self) -> Result<bool, Broken> {
        let (opening, since) = match self.opening.take() {
            Some(opening) => opening,
            None => match self.next_opening() {
                Some(opening) => (opening, Instant::now()),
                None => return Ok(false),
            },
        };
        let next = self.try_open(opening)?;
        self.wire.take().map_err(|error| broke(self.hop, &error))?;
        let done = next.is_none();
        self.opening = next.map(|opening| (opening, since));
        Ok(done)
    }

    fn next_opening(&mut self) -> Option<Opening> {
        let commands = self.lines.iter().filter(|line| line.leads.is_command()).count() + self.closing_commands();
        let has_room = |request: &Request| match self.needs_command(request) {
            true => commands < self.commands_max,
            false => self.lines.len() < CHANNELS_MAX,
        };
        if let Some(index) = self.waiting.iter().position(has_room) {
            let request = self.waiting.remove(index)?;
            (self.phase)(format!("{} has not opened a channel", self.hop.display()));
            return Some(if self.needs_command(&request) { Opening::Session(request) } else { Opening::Forward(request) });
        }
        if !self.waiting.is_empty() {
            let count = self.commands_max;
            (self.phase)(format!(
                "all {count} connections through `{DIAL_STDIO}` are busy, since sshd there forwards no sockets"
            ));
        }
        (self.wire.heard_at.elapsed() > PING_AFTER).then_some(Opening::Ping)
    }

    fn needs_command(&self, request: &Request) -> bool {
        match &request.purpose {
            Purpose::Engine => request.refused || self.way == Way::DialStdio,
            Purpose::Port { .. } => false,
            Purpose::Command(_) => true,
        }
    }

    /// Channels of commands that the server has not let go.
    fn closing_commands(&self) -> usize {
        if self.way == Way::DialStdio { self.closing.len() } else { 0 }
    }

    /// What is still to be waited for; nothing when the channel is open or refused.
    fn try_open(&mut self, opening: Opening) -> Result<Option<Opening>, Broken> {
        match opening {
            Opening::Ping => match self.session.channel_open("ping@mcompose", 0, 1024, None) {
                Err(error) if would_block(&error) => Ok(Some(Opening::Ping)),
                Err(error) if is_refusal(&error) => Ok(None),
                Err(error) => Err(broke(self.hop, &error.into())),
                Ok(channel) => {
                    self.closing.push((channel, Instant::now()));
                    Ok(None)
                }
            },
            Opening::Forward(request) => self.try_forward(request),
            Opening::Session(request) => match self.session.channel_session() {
                // At once: nothing would come that wakes the next round.
                Ok(channel) => self.try_open(Opening::Command(request, channel)),
                Err(error) if would_block(&error) => Ok(Some(Opening::Session(request))),
                Err(error) if is_refusal(&error) => {
                    self.no_session(request);
                    Ok(None)
                }
                Err(error) => Err(broke(self.hop, &error.into())),
            },
            Opening::Command(request, mut channel) => {
                let command = match &request.purpose {
                    Purpose::Command(command) => command.as_str(),
                    Purpose::Engine | Purpose::Port { .. } => DIAL_STDIO,
                };
                match channel.exec(command) {
                    Ok(()) => {
                        self.begin_line(request, channel);
                        Ok(None)
                    }
                    Err(error) if would_block(&error) => Ok(Some(Opening::Command(request, channel))),
                    Err(error) => {
                        let words =
                            format!("{} runs no commands for `{}`: {}", self.hop.display(), self.hop.user, error.message());
                        (request.answer)(Err(Broken::lasting(words)));
                        self.closing.push((channel, Instant::now()));
                        Ok(None)
                    }
                }
            }
        }
    }

    fn try_forward(&mut self, mut request: Request) -> Result<Option<Opening>, Broken> {
        let opened = match &request.purpose {
            Purpose::Port { host, port } => self.session.channel_direct_tcpip(host, *port, None),
            Purpose::Engine | Purpose::Command(_) => self.session.channel_direct_streamlocal(ENGINE_SOCKET, None),
        };
        match opened {
            Ok(channel) => self.begin_line(request, channel),
            Err(error) if would_block(&error) => return Ok(Some(Opening::Forward(request))),
            Err(error) if !is_refusal(&error) => return Err(broke(self.hop, &error.into())),
            Err(error) => match &request.purpose {
                Purpose::Port { host, port } => {
                    let words = why_no_port(self.hop, host, *port, error.message());
                    (request.answer)(Err(words));
                }
                Purpose::Engine | Purpose::Command(_) => {
                    request.refused = true;
                    self.waiting.push_front(request);
                }
            },
        }
        Ok(None)
    }

    fn begin_line(&mut self, request: Request, channel: Channel) {
        let leads = match &request.purpose {
            Purpose::Command(command) => Leads::Command(command.clone()),
            Purpose::Engine if self.needs_command(&request) => {
                Leads::DialStdio { user: self.hop.user.clone(), socket: ENGINE_SOCKET }
            }
            Purpose::Engine | Purpose::Port { .. } => Leads::Forwarded,
        };
        self.lines.push(Line::new(channel, request.local, request.fate, leads));
        (request.answer)(Ok(()));
    }

    /// The server opens no more sessions: fewer are enough where there are some.
    fn no_session(&mut self, request: Request) {
        let commands = self.lines.iter().filter(|line| line.leads.is_command()).count();
        if commands > 0 {
            self.commands_max = commands;
            self.waiting.push_front(request);
            return;
        }
        let (hop, user) = (self.hop.display(), &self.hop.user);
        let words = format!(
            "{hop} opens neither {ENGINE_SOCKET} nor a session for `{user}`: is the account restricted, or MaxSessions 0? \
             `ssh {user}@{hop} docker version` shows"
        );
        (request.answer)(Err(Broken::lasting(words)));
    }

    /// True when a line ended.
    fn end_lines(&mut self) -> bool {
        let before = self.lines.len();
        let mut index = 0;
        while index < self.lines.len() {
            let line = &mut self.lines[index];
            if line.spoke && matches!(line.leads, Leads::DialStdio { .. }) {
                self.way = Way::DialStdio;
            }
            if line.is_over() {
                let channel = self.lines.swap_remove(index).end(None);
                self.closing.push((channel, Instant::now()));
            } else {
                index += 1;
            }
        }
        self.lines.len() < before
    }

    /// A channel that is dropped unclosed stays in libssh2's memory.
    fn close(&mut self) {
        let wire = &mut self.wire;
        self.closing.retain_mut(|(channel, since)| {
            let waits = channel.close().is_err_and(|error| would_block(&error));
            waits && wire.take().is_ok() && since.elapsed() < CLOSE_WAIT_MAX
        });
    }

    fn check_alive(&self) -> Result<(), Broken> {
        if self.wire.ended {
            let why = self.wire.fate().map_or_else(|| format!("{} closed the connection", self.hop.display()), |fate| fate.words);
            return Err(Broken::passing(format!("the SSH session ended: {why}")));
        }
        match &self.opening {
            Some((_, since)) if since.elapsed() > SILENCE_MAX && self.wire.heard_at.elapsed() > SILENCE_MAX => {
                let secs = SILENCE_MAX.as_secs();
                Err(Broken::passing(format!("the SSH session ended: nothing was heard from {} for {secs} s", self.hop.display())))
            }
            _ => Ok(()),
        }
    }

    /// Until something can be read or written, a request comes, or a sign of life is due.
    fn sleep(&self) -> io::Result<()> {
        let has_room = self.wire.has_room();
        let mut descriptors = vec![self.wire.interest(), PollFd::new(self.wake, PollFlags::IN)];
        descriptors.extend(self.lines.iter().filter_map(|line| line.interest(has_room)));
        let now = Instant::now();
        let due = self.wire.heard_at + if self.opening.is_some() { SILENCE_MAX } else { PING_AFTER };
        // What is late already was asked for, and is waited for a full time again.
        let due = if due > now { due } else { now + PING_AFTER };
        let until = self.lines.iter().filter_map(Line::deadline).fold(due, Instant::min);
        wait(&mut descriptors, until).map(drop)
    }

    fn end_all(&mut self, why: &Broken) {
        for line in self.lines.drain(..) {
            self.closing.push((line.end(Some(why)), Instant::now()));
        }
        if let Some((Opening::Forward(request) | Opening::Session(request) | Opening::Command(request, _), _)) =
            self.opening.take()
        {
            (request.answer)(Err(why.clone()));
        }
        for request in self.waiting.drain(..) {
            (request.answer)(Err(why.clone()));
        }
    }
}

fn broke(hop: &Hop, error: &io::Error) -> Broken {
    let why = match error.kind() {
        io::ErrorKind::TimedOut => "nothing is acknowledged any more".to_owned(),
        _ => error.to_string(),
    };
    Broken::passing(format!("the SSH session with {} broke: {why}", hop.display()))
}

fn why_no_port(hop: &Hop, host: &str, port: u16, message: &str) -> Broken {
    let gate = hop.display();
    if message.contains("prohibited") {
        return Broken::lasting(format!(
            "{gate} forwards no connections (AllowTcpForwarding in its sshd_config): it cannot be a jump host"
        ));
    }
    Broken::passing(format!("the jump host {gate} cannot connect to {host}:{port}: is it up, and known by that name there?"))
}

/// The server opened no channel.
fn is_refusal(error: &ssh2::Error) -> bool {
    const CHANNEL_FAILURE: i32 = -21;
    error.code() == ssh2::ErrorCode::Session(CHANNEL_FAILURE)
}
