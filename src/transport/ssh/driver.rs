//! One thread that owns one SSH session and carries bytes between its channels and local sockets.
//!
//! libssh2 bears one caller at a time: a call that sent half a packet must be made again, unchanged, before any other sends.
//! So there is at most one such call (`stuck`), and opening and closing a channel are done whole, with the session blocking.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{Channel, Session};

const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// Opening or closing a channel is answered within this, or the session counts as dead.
const CHANNEL_WAIT_MAX: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 64 * 1024;
/// sshd's MaxSessions counts exec sessions, ten of them by default; forwarded sockets are not counted.
const EXEC_CHANNELS_MAX: usize = 8;
const CHANNELS_MAX: usize = 64;

/// Where channels lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// `direct-streamlocal@openssh.com` to the engine's socket.
    Socket,
    /// The server refuses that: the docker client on the host stands between.
    DialStdio,
}

pub(super) struct Driver {
    pub(super) session: Session,
    /// The same socket as the session's, to wait on.
    pub(super) tcp: TcpStream,
    /// Local ends to be connected to channels of their own.
    pub(super) requests: Receiver<UnixStream>,
    /// Readable when a request has come.
    pub(super) wake: UnixStream,
    pub(super) socket_path: String,
    pub(super) way: Way,
}

/// One channel with its local end.
struct Line {
    channel: Channel,
    local: UnixStream,
    /// From the host, not yet taken by the local end; and the other way round.
    inward: Vec<u8>,
    outward: Vec<u8>,
    remote_ended: bool,
    /// The local end was dropped. The HTTP client never closes one direction alone.
    local_gone: bool,
}

impl Driver {
    /// Runs until the session breaks or nobody asks any more. Returns why it ended.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut lines: Vec<Line> = Vec::new();
        let mut waiting: Vec<UnixStream> = Vec::new();
        let mut stuck: Option<usize> = None;
        let mut keepalive_at = Instant::now() + KEEPALIVE_EVERY;
        loop {
            let asked = self.take_requests(&mut waiting);
            if !asked && lines.is_empty() && waiting.is_empty() {
                return Ok(());
            }
            if stuck.is_none() {
                self.close_ended(&mut lines)?;
                self.open_waiting(&mut waiting, &mut lines)?;
            }
            let progressed = sweep(&mut lines, &mut stuck)?;
            if Instant::now() >= keepalive_at && stuck.is_none() {
                match self.session.keepalive_send() {
                    Err(error) if !would_block(&error) => return Err(error.into()),
                    _ => keepalive_at = Instant::now() + KEEPALIVE_EVERY,
                }
            }
            if !progressed {
                self.sleep(&lines, stuck.is_some(), keepalive_at)?;
            }
        }
    }

    /// False when nobody can ask any more.
    fn take_requests(&mut self, waiting: &mut Vec<UnixStream>) -> bool {
        let mut bytes = [0_u8; 64];
        while matches!(self.wake.read(&mut bytes), Ok(count) if count > 0) {}
        loop {
            match self.requests.try_recv() {
                Ok(local) => waiting.push(local),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn open_waiting(&mut self, waiting: &mut Vec<UnixStream>, lines: &mut Vec<Line>) -> io::Result<()> {
        while !waiting.is_empty() {
            let most = if self.way == Way::Socket { CHANNELS_MAX } else { EXEC_CHANNELS_MAX };
            if lines.len() >= most {
                return Ok(());
            }
            let local = waiting.remove(0);
            let opened = self.blocking(|driver| driver.open());
            match opened {
                Ok(channel) => lines.push(Line {
                    channel,
                    local,
                    inward: Vec::new(),
                    outward: Vec::new(),
                    remote_ended: false,
                    local_gone: false,
                }),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => drop(local),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<Channel> {
        /// The server opened no channel: forwarding is forbidden, or nothing listens on the socket.
        const REFUSED: i32 = -21;
        if self.way == Way::Socket {
            match self.session.channel_direct_streamlocal(&self.socket_path, None) {
                Ok(channel) => return Ok(channel),
                Err(error) if error.code() == ssh2::ErrorCode::Session(REFUSED) => self.way = Way::DialStdio,
                Err(error) => return Err(error.into()),
            }
        }
        let mut channel = self.session.channel_session()?;
        channel.exec("docker system dial-stdio").map_err(|_| io::Error::from(ErrorKind::ConnectionRefused))?;
        Ok(channel)
    }

    fn blocking<T>(&mut self, call: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.session.set_blocking(true);
        let result = call(self);
        self.session.set_blocking(false);
        result
    }

    /// A channel that is dropped unclosed stays in libssh2's memory.
    fn close_ended(&mut self, lines: &mut Vec<Line>) -> io::Result<()> {
        let mut index = 0;
        while index < lines.len() {
            let line = &lines[index];
            let done = line.local_gone || line.remote_ended && line.inward.is_empty();
            if !done {
                index += 1;
                continue;
            }
            let mut line = lines.swap_remove(index);
            let _ = line.local.shutdown(Shutdown::Both);
            self.blocking(|_| line.channel.close().map_err(io::Error::from))?;
        }
        Ok(())
    }

    /// Until something can be read or written, a request comes, or a keepalive is due.
    fn sleep(&self, lines: &[Line], is_stuck: bool, until: Instant) -> io::Result<()> {
        let server = if is_stuck { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut descriptors = vec![PollFd::new(&self.tcp, server), PollFd::new(&self.wake, PollFlags::IN)];
        for line in lines {
            let mut flags = PollFlags::empty();
            if line.outward.is_empty() && !line.local_gone {
                flags |= PollFlags::IN;
            }
            if !line.inward.is_empty() {
                flags |= PollFlags::OUT;
            }
            if !flags.is_empty() {
                descriptors.push(PollFd::new(&line.local, flags));
            }
        }
        let pause = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Moves bytes on every line, as far as they go without waiting. True when any moved.
fn sweep(lines: &mut [Line], stuck: &mut Option<usize>) -> io::Result<bool> {
    let mut progressed = false;
    if let Some(index) = *stuck {
        progressed |= lines[index].send(stuck, index)?;
    }
    for (index, line) in lines.iter_mut().enumerate() {
        progressed |= line.receive()?;
        progressed |= line.take_local();
        if stuck.is_none() {
            progressed |= line.send(stuck, index)?;
        }
    }
    Ok(progressed)
}

impl Line {
    /// From the host to the local end.
    fn receive(&mut self) -> io::Result<bool> {
        let mut progressed = self.hand_in();
        while self.inward.is_empty() && !self.remote_ended {
            let mut buffer = [0_u8; BUFFER_BYTES];
            match self.channel.read(&mut buffer) {
                Ok(0) if self.channel.eof() => {
                    self.remote_ended = true;
                    progressed = true;
                }
                Ok(0) => break,
                Ok(count) => {
                    self.inward.extend_from_slice(&buffer[..count]);
                    self.hand_in();
                    progressed = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(progressed)
    }

    fn hand_in(&mut self) -> bool {
        let mut progressed = false;
        while !self.inward.is_empty() {
            match self.local.write(&self.inward) {
                Ok(count) => {
                    self.inward.drain(..count);
                    progressed = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.inward.clear();
                    self.local_gone = true;
                }
            }
        }
        progressed
    }

    /// What the local end wants sent; the next piece only when the last is gone.
    fn take_local(&mut self) -> bool {
        if !self.outward.is_empty() || self.local_gone {
            return false;
        }
        let mut buffer = [0_u8; BUFFER_BYTES];
        match self.local.read(&mut buffer) {
            Ok(0) => self.local_gone = true,
            Ok(count) => self.outward.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.local_gone = true,
        }
        true
    }

    /// From the local end to the host. A packet that went out by half leaves the line stuck.
    fn send(&mut self, stuck: &mut Option<usize>, index: usize) -> io::Result<bool> {
        let mut progressed = false;
        *stuck = None;
        while !self.outward.is_empty() && !self.remote_ended {
            match self.channel.write(&self.outward) {
                Ok(count) => {
                    self.outward.drain(..count);
                    progressed = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    *stuck = Some(index);
                    return Ok(progressed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(progressed)
    }
}

fn would_block(error: &ssh2::Error) -> bool {
    const EAGAIN: i32 = -37;
    error.code() == ssh2::ErrorCode::Session(EAGAIN)
}

/// Prepares a session for the driver.
pub(super) fn prepare(session: &Session) {
    session.set_timeout(u32::try_from(CHANNEL_WAIT_MAX.as_millis()).unwrap_or(u32::MAX));
    session.set_keepalive(true, u32::try_from(KEEPALIVE_EVERY.as_secs()).unwrap_or(5));
    session.set_blocking(false);
}
