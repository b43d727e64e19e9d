//! A command inside a container whose input and output are the caller's (API, "Start an exec instance", hijacking).

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, ReadHalf, split};

use crate::engine::{Attached, EngineError, Piece};

const FRAME_HEAD_BYTES: usize = 8;

/// Splits the connection into the command's input and its output; with a terminal both outputs are one.
pub(super) fn attached(id: String, connection: Upgraded, tty: bool, error: EngineError) -> Attached {
    let (reader, writer) = split(TokioIo::new(connection));
    let state = Some((Output { reader, buffer: BytesMut::new(), tty }, error));
    let output = stream::unfold(state, |state| async move {
        let (mut output, error) = state?;
        match output.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some((output, error)))),
            Ok(None) => None,
            Err(broken) => Some((Err(EngineError { message: broken.to_string(), ..error }), None)),
        }
    });
    Attached { id, input: Box::new(writer), output: output.boxed() }
}

struct Output {
    reader: ReadHalf<TokioIo<Upgraded>>,
    buffer: BytesMut,
    tty: bool,
}

impl Output {
    /// Nothing at the end.
    async fn next(&mut self) -> std::io::Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.take() {
                return Ok(Some(piece));
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> Option<Piece> {
        if self.tty {
            let bytes: Bytes = self.buffer.split().freeze();
            return (!bytes.is_empty()).then_some(Piece { is_stderr: false, bytes });
        }
        let head = self.buffer.get(..FRAME_HEAD_BYTES)?;
        let is_stderr = head[0] == 2;
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if self.buffer.len() < FRAME_HEAD_BYTES + length {
            return None;
        }
        self.buffer.advance(FRAME_HEAD_BYTES);
        Some(Piece { is_stderr, bytes: self.buffer.split_to(length).freeze() })
    }
}
