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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use super::ssh::Link;
use super::{LinkOptions, tls};
use crate::project::{Address, Host};

/// What is sent and not acknowledged for this long means that the host is gone.
const TCP_SILENCE_MAX_MS: u32 = 15_000;

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

    async fn connect(self) -> io::Result<Stream> {
        let stream: Box<dyn Bytes> = match &self.address {
            Address::Unix { path } => Box::new(UnixStream::connect(path).await?),
            Address::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                rustix::net::sockopt::set_tcp_user_timeout(&stream, TCP_SILENCE_MAX_MS)?;
                match tls {
                    None => Box::new(stream),
                    Some(tls) => Box::new(tls::wrap(stream, host, tls).await?),
                }
            }
            Address::Ssh { .. } => {
                let link = self.ssh.clone().ok_or_else(|| io::Error::other("there is no SSH session"))?;
                let local = tokio::task::spawn_blocking(move || link.connect()).await.map_err(io::Error::other)??;
                Box::new(UnixStream::from_std(local)?)
            }
        };
        Ok(Stream(TokioIo::new(stream)))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (connector, bound) = (self.clone(), self.connect_timeout);
        Box::pin(async move {
            let connected = tokio::time::timeout(bound, connector.connect()).await;
            connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {bound:?}"))))
        })
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
