//! One connection over a session: a channel and the local socket it is carried to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use ssh2::Channel;

use super::failure::{Broken, Fate, why_no_engine};
use super::login::would_block;
use super::wire::{Wire, push};

const BUFFER_BYTES: usize = 64 * 1024;
/// As much is kept of what a command says on standard error.
const ERRORS_BYTES_MAX: usize = 4 * 1024;
/// A command that closed its output tells its exit code within this, or it stays unknown.
const EXIT_CODE_WAIT_MAX: Duration = Duration::from_secs(2);

/// What a channel leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leads {
    /// A socket or port that the server connected us to.
    Forwarded,
    /// The engine, through the docker client on the host.
    DialStdio { user: String, socket: &'static str },
    /// A command's standard output.
    Command(String),
}

impl Leads {
    /// Whether it counts for sshd's MaxSessions.
    pub(super) fn is_command(&self) -> bool {
        *self != Self::Forwarded
    }
}

pub(super) struct Line {
    pub(super) channel: Channel,
    local: UnixStream,
    fate: Fate,
    pub(super) leads: Leads,
    /// From the host, not yet taken by the local end; and the other way round. Either is filled only when it is empty, which is
    /// what holds back whoever sends faster than the other takes.
    inward: VecDeque<u8>,
    outward: VecDeque<u8>,
    errors: Vec<u8>,
    /// Whether the host ever sent anything.
    pub(super) spoke: bool,
    remote_ended: Option<Instant>,
    /// Nothing comes from the local end any more; it still listens, as one does whose input to a command has ended.
    local_ended: bool,
    /// The host was told so.
    told_end: bool,
    /// The local end was dropped.
    local_gone: bool,
}

impl Line {
    pub(super) fn new(channel: Channel, local: UnixStream, fate: Fate, leads: Leads) -> Self {
        let (inward, outward, errors) = (VecDeque::new(), VecDeque::new(), Vec::new());
        Self {
            channel,
            local,
            fate,
            leads,
            inward,
            outward,
            errors,
            spoke: false,
            remote_ended: None,
            local_ended: false,
            told_end: false,
            local_gone: false,
        }
    }

    /// Moves bytes both ways, as far as they go without waiting. True when any moved.
    pub(super) fn step(&mut self, wire: &mut Wire) -> io::Result<bool> {
        let mut moved = self.hand_in();
        if self.leads.is_command() {
            self.hear_errors()?;
        }
        moved |= self.receive()?;
        wire.take()?;
        moved |= self.take_local();
        while !self.outward.is_empty() && self.remote_ended.is_none() && wire.has_room() {
            match io::Write::write(&mut self.channel, self.outward.as_slices().0) {
                Ok(0) => break,
                Ok(count) => {
                    self.outward.drain(..count);
                    moved = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            wire.take()?;
        }
        if self.local_ended && !self.told_end && self.outward.is_empty() && self.remote_ended.is_none() {
            match self.channel.send_eof() {
                Ok(()) => self.told_end = true,
                Err(error) if would_block(&error) => {}
                Err(error) => return Err(error.into()),
            }
            wire.take()?;
        }
        Ok(moved)
    }

    fn receive(&mut self) -> io::Result<bool> {
        if !self.inward.is_empty() || self.remote_ended.is_some() {
            return Ok(false);
        }
        let mut buffer = [0_u8; BUFFER_BYTES];
        match self.channel.read(&mut buffer) {
            Ok(0) if self.channel.eof() => {
                self.remote_ended = Some(Instant::now());
                Ok(true)
            }
            Ok(0) => Ok(false),
            Ok(count) => {
                self.spoke = true;
                self.inward.extend(&buffer[..count]);
                self.hand_in();
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is said on standard error must be read, too, or the channel's window stays closed.
    fn hear_errors(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; ERRORS_BYTES_MAX];
        loop {
            match self.channel.stderr().read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    let room = ERRORS_BYTES_MAX.saturating_sub(self.errors.len());
                    self.errors.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn hand_in(&mut self) -> bool {
        push(&mut self.inward, &mut self.local).unwrap_or_else(|_| {
            self.local_gone = true;
            false
        })
    }

    fn take_local(&mut self) -> bool {
        if self.local_ended && !self.local_gone && hung_up(&self.local) {
            self.local_gone = true;
            return true;
        }
        if !self.outward.is_empty() || self.local_ended || self.local_gone || self.remote_ended.is_some() {
            return false;
        }
        let mut buffer = [0_u8; BUFFER_BYTES];
        match self.local.read(&mut buffer) {
            Ok(0) if hung_up(&self.local) => self.local_gone = true,
            Ok(0) => self.local_ended = true,
            Ok(count) => self.outward.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
            Err(_) => self.local_gone = true,
        }
        true
    }

    /// Whether nothing will come any more, for anybody. A command is waited for a little: its exit code comes last.
    pub(super) fn is_over(&mut self) -> bool {
        if self.local_gone {
            return true;
        }
        let Some(ended) = self.remote_ended.filter(|_| self.inward.is_empty()) else { return false };
        if !self.leads.is_command() || ended.elapsed() > EXIT_CODE_WAIT_MAX {
            return true;
        }
        self.channel.wait_close().map_or_else(|error| !would_block(&error), |()| true)
    }

    /// When `is_over` is to be asked again without anything having moved.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.remote_ended.filter(|_| self.leads.is_command()).map(|ended| ended + EXIT_CODE_WAIT_MAX)
    }

    /// Ends the local side, with the reason if there is more to say than that it is the end. Gives the channel, to be closed.
    pub(super) fn end(self, why: Option<&Broken>) -> Channel {
        let own = || self.why_ended();
        if let Some(why) = why.cloned().or_else(own) {
            let _ = self.fate.set(why);
        }
        let _ = self.local.shutdown(Shutdown::Both);
        self.channel
    }

    fn why_ended(&self) -> Option<Broken> {
        let said = String::from_utf8_lossy(&self.errors);
        // libssh2 says 0 for a code that never came.
        let code = self.channel.exit_status().ok();
        match &self.leads {
            Leads::DialStdio { user, socket } if !self.spoke && !self.local_gone => {
                Some(why_no_engine(user, socket, &said, code))
            }
            Leads::Command(command) if code.is_some_and(|code| code != 0) => {
                Some(Broken::passing(format!("`{command}` there ended with code {}: {}", code.unwrap_or(0), said.trim())))
            }
            _ => None,
        }
    }

    /// What to wait for at the local end; nothing where only the network can move it.
    pub(super) fn interest(&self, has_room: bool) -> Option<PollFd<'_>> {
        let mut flags = PollFlags::empty();
        if self.outward.is_empty() && !self.local_ended && !self.local_gone && self.remote_ended.is_none() && has_room {
            flags |= PollFlags::IN;
        }
        if !self.inward.is_empty() {
            flags |= PollFlags::OUT;
        }
        // That the other end hung up is told without being asked for.
        (!flags.is_empty() || self.local_ended).then(|| PollFd::new(&self.local, flags))
    }
}

/// Whether the other end of a socket is closed for both directions.
fn hung_up(local: &UnixStream) -> bool {
    let mut descriptors = [PollFd::new(local, PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut descriptors, Some(&now)).is_ok() && descriptors[0].revents().contains(PollFlags::HUP)
}
