//! The connector of the HTTP client: each call gives a fresh stream to the host's engine.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use super::fated::Fated;
use super::ssh::{Link, Purpose};
use super::{LinkOptions, Untrusted, tls};
use crate::project::{Address, Host};

/// What is sent and not acknowledged for this long means that the host is gone; so does silence on a stream, asked about.
const TCP_SILENCE_MAX_MS: u32 = 15_000;
const TCP_ASK_AFTER: Duration = Duration::from_secs(5);
const TCP_ASKS_MAX: u32 = 2;
/// Whoever connects for us gives up first, and says why.
const SAY_WHY: Duration = Duration::from_secs(1);
/// What a command on a host may say.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection to an engine, whatever it runs through.
pub struct Stream(TokioIo<Box<dyn Bytes>>);

/// Gives connections to one host's engine.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    connect_timeout: Duration,
    ssh: Option<Link>,
}

impl Connector {
    pub fn new(host: &Host, options: &LinkOptions) -> Self {
        let ssh = matches!(host.address, Address::Ssh { .. }).then(|| Link::new(host, options));
        Self { address: host.address.clone(), connect_timeout: options.connect_timeout, ssh }
    }

    /// What a command on the host says, where hosts are reached so that commands can be run there; nothing where not.
    pub async fn run(&self, command: &str, bound: Duration) -> Option<io::Result<String>> {
        let link = self.ssh.as_ref()?;
        let said = async {
            let (local, fate) = link.open(Purpose::Command(command.to_owned())).await?;
            let mut said = Vec::new();
            Fated::new(UnixStream::from_std(local)?, fate).take(OUTPUT_BYTES_MAX).read_to_end(&mut said).await?;
            Ok(String::from_utf8_lossy(&said).into_owned())
        };
        let ended = tokio::time::timeout(bound, said).await;
        Some(ended.unwrap_or_else(|_| Err(io::Error::other(format!("`{command}` there did not end within {bound:?}")))))
    }

    /// A fresh connection, within the host's time for that.
    pub async fn open(&self) -> io::Result<Stream> {
        let bound = self.connect_timeout + SAY_WHY;
        tokio::time::timeout(bound, self.connect()).await.unwrap_or_else(|_| Err(self.late()))
    }

    async fn connect(&self) -> io::Result<Stream> {
        let stream: Box<dyn Bytes> = match &self.address {
            Address::Unix { path } => Box::new(UnixStream::connect(path).await.map_err(|error| why_no_socket(path, &error))?),
            Address::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| why_no_port(host, *port, &error))?;
                watch(&stream)?;
                match tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(tls::wrap(stream, host, tls).await?),
                }
            }
            Address::Ssh { .. } => {
                let link = self.ssh.as_ref().ok_or_else(|| io::Error::other("there is no SSH session"))?;
                let (local, fate) = link.open(Purpose::Engine).await?;
                Box::new(Fated::new(UnixStream::from_std(local)?, fate))
            }
        };
        Ok(Stream(TokioIo::new(stream)))
    }

    /// What was waited for when the time was over.
    fn late(&self) -> io::Error {
        let secs = self.connect_timeout.as_secs();
        let phase = match &self.address {
            Address::Ssh { .. } => self.ssh.as_ref().map(Link::phase).unwrap_or_default(),
            Address::Tcp { host, port, tls } => {
                let what = if tls.is_some() { "has not answered, or not in TLS" } else { "has not answered" };
                format!("{host}:{port} {what}: is it up, and does a firewall let us through?")
            }
            Address::Unix { path } => format!("{path} takes no connection: is the engine overloaded?"),
        };
        io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {secs} s: {phase}"))
    }
}

/// A host that is gone is noticed on a stream, too, on which we only listen.
fn watch(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, TCP_ASK_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, TCP_ASK_AFTER)?;
    sockopt::set_tcp_keepcnt(stream, TCP_ASKS_MAX)?;
    sockopt::set_tcp_user_timeout(stream, TCP_SILENCE_MAX_MS)?;
    Ok(())
}

fn why_no_socket(path: &str, error: &io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::other(format!("there is no {path}: does docker run here? `sudo systemctl start docker`"))
        }
        io::ErrorKind::PermissionDenied => io::Error::other(Untrusted(format!(
            "you may not open {path}: `sudo usermod -aG docker $USER` lets you, from the next login on"
        ))),
        io::ErrorKind::ConnectionRefused => {
            io::Error::other(format!("nobody listens at {path}: docker has ended; `sudo systemctl start docker`"))
        }
        _ => io::Error::other(format!("{path} cannot be opened: {error}")),
    }
}

fn why_no_port(host: &str, port: u16, error: &io::Error) -> io::Error {
    io::Error::other(match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {host}:{port} (connection refused): does dockerd run there with `-H tcp://`?")
        }
        _ => format!("{host}:{port} cannot be reached: {error}"),
    })
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.open().await })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
