//! From a thread that writes to a stream that is read, with a bound on what is in between.

use std::io::{self, Write};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

/// Pieces that wait to be read.
const PIECES_MAX: usize = 8;
const PIECE_BYTES: usize = 64 * 1024;

/// The writing end. A piece goes off once it is full, the last with `finish`; it blocks while nobody reads.
pub struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

/// A pipe's two ends.
pub fn pipe() -> (Pipe, BoxStream<'static, io::Result<Bytes>>) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let pieces = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (Pipe { sender, buffer: Vec::with_capacity(PIECE_BYTES) }, pieces.boxed())
}

impl Pipe {
    fn pass_on(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Ends the stream: well, or with an error, so that a reader does not take a part for the whole.
    pub fn finish(mut self, end: io::Result<()>) {
        let last = if self.buffer.is_empty() { Ok(()) } else { self.pass_on() };
        if let Err(error) = end.and(last) {
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(buffer);
        if self.buffer.len() >= PIECE_BYTES {
            self.pass_on()?;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
