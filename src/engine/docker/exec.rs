//! A command inside a container whose input and output are the caller's (API, "Start an exec instance", hijacking).

use futures_util::stream::{self, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, ReadHalf, split};

use super::streams::Gathered;
use crate::engine::{Attached, EngineError, Piece};

/// Splits the connection into the command's input and its output; with a terminal both outputs are one.
pub(super) fn attached(id: String, connection: Upgraded, tty: bool, error: EngineError) -> Attached {
    let (reader, writer) = split(TokioIo::new(connection));
    let state = Some((Output { reader, gathered: Gathered::new(tty) }, error));
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
    gathered: Gathered,
}

impl Output {
    /// Nothing at the end.
    async fn next(&mut self) -> std::io::Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.gathered.take() {
                return Ok(Some(piece));
            }
            if self.reader.read_buf(&mut self.gathered.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}
