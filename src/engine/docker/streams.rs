//! Bodies that come bit by bit: logs and output in frames, the messages of a pull.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::engine::{EngineError, LogLine, Piece};

/// Bytes of a line after which it is cut; a program that never ends its line must not fill the memory.
const LINE_BYTES_MAX: usize = 256 * 1024;
const FRAME_HEAD_BYTES: usize = 8;

/// A multiplexed stream (API, "Attach to a container", stream format), or the raw bytes of a terminal.
pub(super) struct Frames {
    body: Incoming,
    gathered: Gathered,
}

impl Frames {
    pub(super) fn new(body: Incoming, is_raw: bool) -> Self {
        Self { body, gathered: Gathered::new(is_raw) }
    }

    /// Nothing at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, String> {
        loop {
            if let Some(piece) = self.gathered.take() {
                return Ok(Some(piece));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.gathered.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// What came of such a stream and was not taken yet.
pub(super) struct Gathered {
    pub(super) buffer: BytesMut,
    is_raw: bool,
}

impl Gathered {
    pub(super) fn new(is_raw: bool) -> Self {
        Self { buffer: BytesMut::new(), is_raw }
    }

    /// Nothing where more must come first.
    pub(super) fn take(&mut self) -> Option<Piece> {
        if self.is_raw {
            let bytes = self.buffer.split().freeze();
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

/// Frames put together to lines with their times.
pub(super) struct Lines {
    frames: Frames,
    ready: VecDeque<LogLine>,
    /// What has no line end yet, of standard output and of standard error.
    partial: [Vec<u8>; 2],
    ended: bool,
}

impl Lines {
    pub(super) fn new(frames: Frames) -> Self {
        Self { frames, ready: VecDeque::new(), partial: Default::default(), ended: false }
    }

    pub(super) async fn next(&mut self) -> Result<Option<LogLine>, String> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.frames.next().await? {
                Some(frame) => self.add(&frame),
                None => {
                    self.ended = true;
                    for is_stderr in [false, true] {
                        let rest = std::mem::take(&mut self.partial[usize::from(is_stderr)]);
                        if !rest.is_empty() {
                            self.ready.push_back(line(&rest, is_stderr));
                        }
                    }
                }
            }
        }
    }

    fn add(&mut self, frame: &Piece) {
        let partial = &mut self.partial[usize::from(frame.is_stderr)];
        for byte in &frame.bytes {
            if *byte == b'\n' || partial.len() >= LINE_BYTES_MAX {
                self.ready.push_back(line(partial, frame.is_stderr));
                partial.clear();
            }
            if *byte != b'\n' {
                partial.push(*byte);
            }
        }
    }
}

/// `2026-01-02T03:04:05.678901234Z text`
fn line(bytes: &[u8], is_stderr: bool) -> LogLine {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    let (time, text) = text.split_once(' ').unwrap_or((text, ""));
    LogLine { time: time.to_owned(), is_stderr, text: text.to_owned() }
}

/// JSON messages one after the other, as they come.
pub(super) struct Messages {
    body: Incoming,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
}

impl Messages {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new(), ready: VecDeque::new() }
    }

    /// Nothing at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(frame)) => self.add(&frame.into_data().unwrap_or_default())?,
            }
        }
    }

    fn add(&mut self, data: &[u8]) -> Result<(), String> {
        self.buffer.extend_from_slice(data);
        let mut messages = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<Value>();
        for message in messages.by_ref() {
            match message {
                Ok(message) => self.ready.push_back(message),
                Err(error) if error.is_eof() => break,
                Err(error) => return Err(format!("a message cannot be read: {error}")),
            }
        }
        let read = messages.byte_offset();
        self.buffer.drain(..read.min(self.buffer.len()));
        match self.buffer.len() <= LINE_BYTES_MAX {
            true => Ok(()),
            false => Err(format!("a message is longer than {LINE_BYTES_MAX} bytes")),
        }
    }
}

/// Both outputs of a command together, cut at `bytes_max`.
pub(super) async fn output(mut frames: Frames, bytes_max: usize) -> String {
    let mut collected = Vec::new();
    while let Ok(Some(frame)) = frames.next().await {
        let room = bytes_max.saturating_sub(collected.len());
        collected.extend_from_slice(&frame.bytes[..frame.bytes.len().min(room)]);
    }
    String::from_utf8_lossy(&collected).into_owned()
}

/// Reads a pull to its end. Its failure comes as a message in the stream, under a head that said 200.
pub(super) async fn pull(mut body: Incoming, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), String> {
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
        buffer.extend_from_slice(&data);
        let mut messages = serde_json::Deserializer::from_slice(&buffer).into_iter::<Value>();
        for message in messages.by_ref().map_while(Result::ok) {
            if let Some(error) = message["error"].as_str() {
                return Err(error.to_owned());
            }
            let words = [&message["id"], &message["status"], &message["progress"]];
            let words: Vec<&str> = words.iter().filter_map(|word| word.as_str()).collect();
            progress(words.join(" "));
        }
        let read = messages.byte_offset();
        buffer.drain(..read.min(buffer.len()));
    }
    Ok(())
}

/// A body as it comes; where it breaks off, the error with what broke.
pub(super) fn pieces(body: Incoming, error: EngineError) -> BoxStream<'static, Result<Bytes, EngineError>> {
    let pieces = stream::unfold(Some((body, error)), |state| async move {
        let (mut body, error) = state?;
        loop {
            match body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some((Ok(data), Some((body, error))));
                    }
                }
                Err(broken) => return Some((Err(EngineError { message: broken.to_string(), ..error }), None)),
            }
        }
    });
    pieces.boxed()
}
