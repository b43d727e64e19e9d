//! Between streams and threads that read or write and block, with a bound on what is in between.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::pack::PackError;
use crate::engine::{EngineError, Pieces};

/// Pieces that wait to be read.
const PIECES_MAX: usize = 8;
const PIECE_BYTES: usize = 64 * 1024;

/// The writing end. A piece goes off once it is full, the last with `finish`; it blocks while nobody reads, where it is impatient no longer
/// than that. Dropped without `finish`, its stream ends with an error.
pub struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    patience: Option<Duration>,
    is_whole: Arc<AtomicBool>,
}

/// A pipe's two ends.
pub fn pipe() -> (Pipe, BoxStream<'static, io::Result<Bytes>>) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let is_whole = Arc::new(AtomicBool::new(false));
    let state = Some((receiver, Arc::clone(&is_whole)));
    let pieces = stream::unfold(state, |state| async move {
        let (mut receiver, is_whole) = state?;
        match receiver.recv().await {
            Some(Ok(piece)) => Some((Ok(piece), Some((receiver, is_whole)))),
            Some(Err(error)) => Some((Err(error), None)),
            None if is_whole.load(Ordering::SeqCst) => None,
            None => Some((Err(io::Error::new(io::ErrorKind::BrokenPipe, "it broke off before its end")), None)),
        }
    });
    (Pipe { sender, buffer: Vec::with_capacity(PIECE_BYTES), patience: None, is_whole }, pieces.boxed())
}

impl Pipe {
    /// Whoever takes nothing for so long is given up. To be written to on a thread that may block.
    pub fn impatient(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let piece = Ok(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_BYTES)).into());
        let Some(patience) = self.patience else {
            return self.sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into());
        };
        // Mostly there is room.
        let piece = match self.sender.try_send(piece) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        match Handle::current().block_on(timeout(patience, self.sender.send(piece))) {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Ends the stream: well, or with an error, so that a reader does not take a part for the whole.
    pub fn finish(mut self, end: io::Result<()>) {
        let last = if self.buffer.is_empty() { Ok(()) } else { self.pass_on() };
        match end.and(last) {
            Ok(()) => self.is_whole.store(true, Ordering::SeqCst),
            Err(error) if self.patience.is_none() => drop(self.sender.blocking_send(Err(error))),
            Err(error) => drop(self.sender.try_send(Err(error))),
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
