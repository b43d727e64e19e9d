//! The heartbeat. A connection of its own, so that it waits for no other call, and as little work as can be: a supervisor of a
//! thousand hosts asks a thousand times a second.

use std::io;
use std::sync::{Mutex, PoisonError};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::transport::{Connector, Stream};

/// Known to every engine that speaks API 1.40; its answer has no body.
const QUESTION: &[u8] = b"HEAD /_ping HTTP/1.1\r\nHost: engine\r\n\r\n";
/// An engine's answer has 300 bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Read at once. Small, as all of a ping: a thousand large pieces of memory a second cost more than the pings themselves.
const PIECE_BYTES: usize = 256;
const PROTOCOL: &[u8] = b"HTTP/1.";
/// After `HTTP/1.1 `.
const STATUS_AT: usize = 9;
const HEAD_END: &[u8] = b"\r\n\r\n";

pub(super) struct Pulse {
    connector: Connector,
    /// Nothing while a ping is under way: one that is given up takes its connection along.
    kept: Mutex<Option<TokioIo<Stream>>>,
}

impl Pulse {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, kept: Mutex::default() }
    }

    /// Whether the engine says that all is well; any other answer is "no". The caller bounds it.
    pub(super) async fn beat(&self) -> io::Result<bool> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut stream) = kept
            // It may have ended long ago, which shows only now.
            && let Ok(answer) = ask(&mut stream).await
        {
            return Ok(self.keep(stream, answer));
        }
        let mut stream = TokioIo::new(Box::pin(self.connector.open()).await?);
        let answer = ask(&mut stream).await?;
        Ok(self.keep(stream, answer))
    }

    fn keep(&self, stream: TokioIo<Stream>, answer: Answer) -> bool {
        if answer != Answer::Odd {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        }
        answer == Answer::Well
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Well,
    Refused,
    /// Not a head and nothing else: where the next answer begins on this connection cannot be told.
    Odd,
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Answer> {
    stream.write_all(QUESTION).await?;
    stream.flush().await?;
    let mut head = Head::default();
    let mut piece = [0; PIECE_BYTES];
    loop {
        let read = stream.read(&mut piece).await?;
        if let Some(answer) = head.take(&piece[..read]) {
            return Ok(answer);
        }
        match (read, head.length) {
            (0, 0) => return Err(io::Error::other("the connection ended without an answer")),
            (0, _) => return Err(io::Error::other("the answer to a ping has no end")),
            (_, ANSWER_BYTES_MAX..) => return Err(io::Error::other("the answer to a ping is too long")),
            _ => {}
        }
    }
}

/// As much of an answer as has come.
#[derive(Default)]
struct Head {
    length: usize,
    is_other: bool,
    is_success: bool,
    /// Bytes of its end that came last.
    ending: usize,
}

impl Head {
    /// Nothing until it is whole.
    fn take(&mut self, piece: &[u8]) -> Option<Answer> {
        for (index, byte) in piece.iter().enumerate() {
            self.is_other |= PROTOCOL.get(self.length).is_some_and(|known| known != byte);
            self.is_success |= self.length == STATUS_AT && *byte == b'2';
            self.length += 1;
            self.ending = if HEAD_END.get(self.ending) == Some(byte) { self.ending + 1 } else { usize::from(*byte == b'\r') };
            if self.ending == HEAD_END.len() {
                let is_head = !self.is_other && index + 1 == piece.len();
                return Some(match (is_head, self.is_success) {
                    (true, true) => Answer::Well,
                    (true, false) => Answer::Refused,
                    (false, _) => Answer::Odd,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What comes of answers in these pieces.
    async fn check(pieces: &[&str], expect: &str) {
        let (mut near, mut far) = duplex(64);
        let said = async {
            let mut question = vec![0; QUESTION.len()];
            far.read_exact(&mut question).await.expect("it is asked");
            for piece in pieces {
                far.write_all(piece.as_bytes()).await.expect("somebody listens");
            }
            drop(far);
        };
        let (answer, ()) = tokio::join!(async { ask(&mut near).await }, said);
        let answer = answer.map_or_else(|error| error.to_string(), |answer| format!("{answer:?}"));
        assert_eq!(answer, expect, "{pieces:?}");
    }

    #[tokio::test]
    async fn a_ping_is_answered_by_a_head_of_success() {
        check(&["HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\n"], "Well").await;
        check(&["HTTP/1.1 200 OK\r\nApi-Ver", "sion: 1.41\r\n\r", "\n"], "Well").await;
        check(&["HTTP/1.1 405 Method Not Allowed\r\n\r\n"], "Refused").await;
        check(&["HTTP/1.1 200 OK\r\nApi"], "the answer to a ping has no end").await;
        check(&["HTTP/1.1 200 OK\r\n\r\nOK"], "Odd").await;
        check(&["SSH-2.0-OpenSSH_9.2\r\n\r\n"], "Odd").await;
        let long = format!("HTTP/1.1 200 OK\r\nServer: {}\r\n\r\n", "x".repeat(1_000));
        check(&[&long], "Well").await;
        check(&[], "the connection ended without an answer").await;
    }
}
