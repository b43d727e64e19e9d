//! A stream whose end has a reason.

use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::ssh::Fate;

/// A connection through a session that can break: the end of the stream becomes the error that it was.
pub(super) struct Fated {
    inner: UnixStream,
    fate: Fate,
}

impl Fated {
    pub(super) fn new(inner: UnixStream, fate: Fate) -> Self {
        Self { inner, fate }
    }

    fn explained(&self, error: io::Error) -> io::Error {
        self.fate.get().cloned().map_or(error, io::Error::from)
    }
}

impl AsyncRead for Fated {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        Poll::Ready(match read {
            Ok(()) if is_end => OnceLock::get(&self.fate).cloned().map_or(Ok(()), |broken| Err(broken.into())),
            Ok(()) => Ok(()),
            Err(error) => Err(self.explained(error)),
        })
    }
}

impl AsyncWrite for Fated {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        Poll::Ready(written.map_err(|error| self.explained(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
