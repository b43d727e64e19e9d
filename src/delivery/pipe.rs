//! Between streams and threads that read or write and block, with a bound on what is in between.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;

use super::pack::PackError;
use crate::engine::{EngineError, Pieces};

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

/// Packs on a thread of its own what `send` takes meanwhile. Returns how the sending ended, or why there was nothing whole to send; of
/// an archive that was not taken, the sending tells more.
pub async fn packed_into<F: Future<Output = Result<(), EngineError>>>(
    pack: impl FnOnce(&mut Pipe) -> Result<(), PackError> + Send + 'static,
    send: impl FnOnce(Pieces) -> F,
) -> Result<Result<(), EngineError>, PackError> {
    let (mut writer, pieces) = pipe();
    let packing = tokio::task::spawn_blocking(move || {
        let packed = pack(&mut writer);
        writer.finish(packed.as_ref().map(drop).map_err(|error| io::Error::other(error.to_string())));
        packed
    });
    let sent = send(pieces).await;
    match packing.await {
        Ok(Ok(()) | Err(PackError::Unwanted(_))) => Ok(sent),
        Ok(Err(error)) => Err(error),
        Err(error) => Err(PackError::Unwanted(io::Error::other(error))),
    }
}

/// A stream of pieces for one who reads and blocks.
pub struct Reader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Reader {
    /// The reader, and where its pieces come from; that dropped is the end.
    pub fn fed() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        (sender, Self { receiver, piece: Bytes::new() })
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
