//! A host over SSH: one session for all connections to its engine (the only user of ssh2).

mod config;
mod driver;
mod failure;
mod keys;
mod known_hosts;
mod line;
mod login;
mod target;
mod wire;

pub(super) use driver::Purpose;
pub(super) use failure::Fate;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use driver::{Driver, Request};
use failure::Broken;
use login::{Login, connect};
use target::{Hop, hops};
use wire::Net;

use super::LinkOptions;
use crate::project::Host;

/// A session may end between being asked and hearing it; then the next one is asked.
const ASKS_MAX: usize = 3;

/// The way to one server. Clones share the session, which is begun by the first connection and begun anew when it broke.
#[derive(Clone)]
pub(super) struct Link {
    way: Arc<Way>,
    connect_timeout: Duration,
    running: Arc<Mutex<Option<Running>>>,
    phase: Arc<Mutex<String>>,
}

enum Way {
    /// To be looked up when a session begins: the files may have changed.
    Host { host: Box<Host>, options: LinkOptions },
    /// Jump hosts of another link, outermost first.
    Hops(Vec<Hop>),
}

/// A session's thread and how to ask it.
struct Running {
    requests: Sender<Request>,
    wake: UnixStream,
}

impl Running {
    /// Gives the request back when the thread has ended.
    fn ask(&mut self, request: Request) -> Result<(), Box<Request>> {
        self.requests.send(request).map_err(|unsent| Box::new(unsent.0))?;
        // A pipe that is full wakes, too; one that is closed is found out by whoever waits for the answer.
        let _ = self.wake.write(&[1]);
        Ok(())
    }
}

impl Link {
    pub(super) fn new(host: &Host, options: &LinkOptions) -> Self {
        let way = Way::Host { host: Box::new(host.clone()), options: options.clone() };
        Self::of(way, options.connect_timeout)
    }

    fn of(way: Way, connect_timeout: Duration) -> Self {
        Self { way: Arc::new(way), connect_timeout, running: Arc::default(), phase: Arc::default() }
    }

    /// What is waited for at present, in words.
    pub(super) fn phase(&self) -> String {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A fresh connection. Ends when it is open, or with the reason why not; how long that may take is the caller's affair.
    pub(super) async fn open(&self, purpose: Purpose) -> io::Result<(UnixStream, Fate)> {
        for _ in 0..ASKS_MAX {
            let (tell, told) = oneshot::channel();
            let opened = self.ask(purpose.clone(), Box::new(move |answer| drop(tell.send(answer))))?;
            if let Ok(answer) = told.await {
                return answer.map(|()| opened).map_err(io::Error::from);
            }
        }
        Err(io::Error::other("the SSH session ended again and again"))
    }

    /// The same for the thread of another session.
    fn open_within(&self, purpose: &Purpose, until: Instant) -> Result<(UnixStream, Fate), Broken> {
        for _ in 0..ASKS_MAX {
            let (tell, told) = sync_channel(1);
            let opened = self.ask(purpose.clone(), Box::new(move |answer| drop(tell.send(answer))))?;
            match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) => return answer.map(|()| opened),
                Err(RecvTimeoutError::Timeout) => return Err(Broken::passing(self.phase())),
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        Err(Broken::passing("the SSH session ended again and again"))
    }

    fn ask(&self, purpose: Purpose, answer: Box<dyn FnOnce(Result<(), Broken>) + Send>) -> io::Result<(UnixStream, Fate)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let fate = Fate::default();
        let mut request = Request { purpose, local: far, fate: Arc::clone(&fate), answer, refused: false };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = running.as_mut() {
            match session.ask(request) {
                Ok(()) => return Ok((near, fate)),
                Err(unsent) => request = *unsent,
            }
        }
        let mut session = self.begin()?;
        if session.ask(request).is_err() {
            return Err(io::Error::other("the SSH session ended at once"));
        }
        *running = Some(session);
        Ok((near, fate))
    }

    /// Starts a session's thread, which logs in by itself.
    fn begin(&self) -> io::Result<Running> {
        let (requests, asked) = channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let session = Thread {
            way: Arc::clone(&self.way),
            until: Instant::now() + self.connect_timeout,
            connect_timeout: self.connect_timeout,
            phase: Arc::clone(&self.phase),
            asked,
            woken,
        };
        std::thread::Builder::new().name("ssh session".to_owned()).spawn(move || session.run())?;
        Ok(Running { requests, wake })
    }
}

/// What the thread of a session begins with.
struct Thread {
    way: Arc<Way>,
    until: Instant,
    connect_timeout: Duration,
    phase: Arc<Mutex<String>>,
    asked: Receiver<Request>,
    woken: UnixStream,
}

impl Thread {
    fn run(self) {
        if let Err(broken) = self.log_in_and_serve() {
            for request in self.asked.try_iter() {
                (request.answer)(Err(broken.clone()));
            }
        }
    }

    fn log_in_and_serve(&self) -> Result<(), Broken> {
        let say = |phase: String| *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        let hops = match &*self.way {
            Way::Host { host, options } => hops(host, options)?,
            Way::Hops(hops) => hops.clone(),
        };
        let Some((hop, before)) = hops.split_last() else { return Err(Broken::lasting("there is no host to log in to")) };
        let until = hop.connect_timeout.map_or(self.until, |wait| self.until.min(Instant::now() + wait));
        // The link to the jump hosts lives as long as the session that runs through it.
        let gate = (!before.is_empty()).then(|| Link::of(Way::Hops(before.to_vec()), self.connect_timeout));
        let net = match &gate {
            None => Net::Tcp(connect(hop, until, &say)?),
            Some(gate) => {
                say(format!("the jump host {} has not connected to {}", before[before.len() - 1].display(), hop.display()));
                let (unix, fate) = gate.open_within(&Purpose::Port { host: hop.host.clone(), port: hop.port }, until)?;
                Net::Through(unix, fate)
            }
        };
        let jumps: Vec<String> = before.iter().map(|hop| format!("{}@{}", hop.user, hop.display())).collect();
        let login = Login { hop, jumps: &jumps.join(","), until, phase: &say };
        let session = login.run(net)?;
        match Driver::new(session, hop, &self.asked, &self.woken, &say).run() {
            Some(broken) => Err(broken),
            None => Ok(()),
        }
    }
}
