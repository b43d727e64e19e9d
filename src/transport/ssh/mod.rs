//! A host over SSH: one session for all connections to its engine (the only user of ssh2).

mod config;
mod driver;
mod known_hosts;
mod login;

use std::io;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use driver::{Driver, Way};
use login::Target;

use super::LinkOptions;
use crate::project::Host;

/// Where the engine listens on the host.
const ENGINE_SOCKET: &str = "/var/run/docker.sock";

/// The way to one host. Clones share the session, which is begun by the first connection and begun anew when it broke.
#[derive(Clone)]
pub(super) struct Link {
    host: Arc<Host>,
    options: LinkOptions,
    running: Arc<Mutex<Option<Running>>>,
}

/// A session's thread and how to ask it.
struct Running {
    requests: Sender<UnixStream>,
    wake: UnixStream,
}

impl Running {
    /// False when the thread has ended.
    fn ask(&mut self, local: UnixStream) -> bool {
        // A pipe that is full wakes, too.
        let woken = |written: io::Result<usize>| written.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true);
        self.requests.send(local).is_ok() && woken(self.wake.write(&[1]))
    }
}

impl Link {
    pub(super) fn new(host: &Host, options: &LinkOptions) -> Self {
        Self { host: Arc::new(host.clone()), options: options.clone(), running: Arc::new(Mutex::new(None)) }
    }

    /// A fresh connection to the host's engine. Blocks while a session begins.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = running.as_mut()
            && session.ask(far.try_clone()?)
        {
            return Ok(near);
        }
        let mut session = self.begin()?;
        if !session.ask(far) {
            return Err(io::Error::other("the SSH session ended at once"));
        }
        *running = Some(session);
        Ok(near)
    }

    fn begin(&self) -> io::Result<Running> {
        let target = Target::of(&self.host, &self.options)?;
        let (session, tcp) = login::login(&target, &self.options)?;
        driver::prepare(&session);
        let (requests, asked) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let driver =
            Driver { session, tcp, requests: asked, wake: woken, socket_path: ENGINE_SOCKET.to_owned(), way: Way::Socket };
        std::thread::Builder::new().name(format!("ssh {}", self.host.name)).spawn(move || {
            // The connections end with it; each call then says so itself.
            let _ = driver.run();
        })?;
        Ok(Running { requests, wake })
    }
}
