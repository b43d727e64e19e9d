//! The bytes of one SSH session between libssh2 and the network.
//!
//! libssh2 wants a call whose packet went out by half to be made again, unchanged and before any other. A wire spares us that: it
//! takes every packet whole. libssh2 talks to one end of a socket pair; after each call what it wrote is taken from the other end
//! into a buffer, and the buffer goes out as the network takes it. It also makes a jump host easy: the network may be a channel.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::Session;

use super::failure::{Broken, Fate};

const BUFFER_BYTES: usize = 64 * 1024;
/// As much is read from the network in one go; then others have their turn.
const READ_BYTES_MAX: usize = 512 * 1024;
/// No channel gives more while this much has not gone out.
const OUT_BYTES_MAX: usize = 256 * 1024;

/// What the session runs through.
pub(super) enum Net {
    Tcp(TcpStream),
    /// A channel of the session with the jump host before, and why it ended.
    Through(UnixStream, Fate),
}

pub(super) struct Wire {
    net: Net,
    near: UnixStream,
    /// On the way to the network.
    out: VecDeque<u8>,
    /// Heard and not yet taken by libssh2's side of the pair.
    heard: VecDeque<u8>,
    /// When something was heard last.
    pub(super) heard_at: Instant,
    /// The first bytes that were heard: a server's greeting.
    pub(super) greeting: Vec<u8>,
    /// The other side closed.
    pub(super) ended: bool,
}

impl Wire {
    /// A wire and the session at its end, which does not block.
    pub(super) fn new(net: Net) -> io::Result<(Self, Session)> {
        let (near, far) = UnixStream::pair()?;
        for end in [&near, &far] {
            end.set_nonblocking(true)?;
        }
        match &net {
            Net::Tcp(tcp) => tcp.set_nonblocking(true)?,
            Net::Through(unix, _) => unix.set_nonblocking(true)?,
        }
        let mut session = Session::new()?;
        session.set_tcp_stream(far);
        session.set_blocking(false);
        let (out, heard) = (VecDeque::new(), VecDeque::new());
        let wire = Self { net, near, out, heard, heard_at: Instant::now(), greeting: Vec::new(), ended: false };
        Ok((wire, session))
    }

    /// Whether channels may give more.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < OUT_BYTES_MAX
    }

    /// Why it ended, where that is known.
    pub(super) fn fate(&self) -> Option<Broken> {
        match &self.net {
            Net::Tcp(_) => None,
            Net::Through(_, fate) => fate.get().cloned(),
        }
    }

    /// Takes what libssh2 wrote. To be done after every call that may send, so that the pair always has room for a packet.
    pub(super) fn take(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; BUFFER_BYTES];
        loop {
            match self.near.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.out.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves bytes both ways, as far as they go without waiting. True when any moved.
    pub(super) fn pump(&mut self) -> io::Result<bool> {
        self.take()?;
        let sent = push(&mut self.out, &mut self.net)?;
        let heard = self.listen()?;
        let handed = push(&mut self.heard, &mut self.near)?;
        if self.ended && self.heard.is_empty() {
            // So that libssh2 sees the end, too.
            let _ = self.near.shutdown(Shutdown::Write);
        }
        Ok(sent || heard || handed)
    }

    fn listen(&mut self) -> io::Result<bool> {
        const GREETING_BYTES_MAX: usize = 255;
        let mut buffer = [0_u8; BUFFER_BYTES];
        let mut any = false;
        while self.heard.len() < READ_BYTES_MAX && !self.ended {
            match self.net.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.heard_at = Instant::now();
                    let room = GREETING_BYTES_MAX.saturating_sub(self.greeting.len());
                    self.greeting.extend_from_slice(&buffer[..count.min(room)]);
                    self.heard.extend(&buffer[..count]);
                    self.net.acknowledge();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            any = true;
        }
        Ok(any)
    }

    /// What to wait for at the network.
    pub(super) fn interest(&self) -> PollFd<'_> {
        let mut flags = PollFlags::empty();
        if self.heard.is_empty() && !self.ended {
            flags |= PollFlags::IN;
        }
        if !self.out.is_empty() {
            flags |= PollFlags::OUT;
        }
        PollFd::from_borrowed_fd(self.net.as_fd(), flags)
    }

    /// Waits for the network alone. False when nothing came until then.
    pub(super) fn wait(&self, until: Instant) -> io::Result<bool> {
        wait(&mut [self.interest()], until)
    }
}

/// Waits until one of them is ready. False when none was until then.
pub(super) fn wait(descriptors: &mut [PollFd<'_>], until: Instant) -> io::Result<bool> {
    let pause = until.saturating_duration_since(Instant::now());
    // Rounded up, so that a wait that ends is over.
    let pause = pause + Duration::from_millis(1);
    let timeout = Timespec { tv_sec: pause.as_secs().cast_signed(), tv_nsec: pause.subsec_nanos().into() };
    match poll(descriptors, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Writes what there is, as far as it is taken. True when anything was.
pub(super) fn push(bytes: &mut VecDeque<u8>, to: &mut impl Write) -> io::Result<bool> {
    let mut any = false;
    while !bytes.is_empty() {
        match to.write(bytes.as_slices().0) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes.drain(..count);
                any = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(any)
}

impl Net {
    /// Says at once that what came has come. sshd gathers small packets until then (it turns Nagle's algorithm off for terminals
    /// only), and the kernel would say it 40 ms later.
    fn acknowledge(&self) {
        if let Self::Tcp(tcp) = self {
            let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
        }
    }
}

impl Read for Net {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Through(unix, _) => unix.read(buffer),
        }
    }
}

impl Write for Net {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Through(unix, _) => unix.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Net {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Through(unix, _) => unix.as_fd(),
        }
    }
}
