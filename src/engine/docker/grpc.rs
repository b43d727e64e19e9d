//! gRPC on HTTP/2, as far as BuildKit needs it: calls to it, and answers to what it asks.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use hyper::{Request, Response};
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinHandle;

/// Of a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// BuildKit sends and takes no longer message.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
const KIND: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const STATUS_TEXT: HeaderName = HeaderName::from_static("grpc-message");

// Codes of gRPC.
pub(super) const FINE: u8 = 0;
pub(super) const NOT_FOUND: u8 = 5;
pub(super) const UNIMPLEMENTED: u8 = 12;
pub(super) const UNAVAILABLE: u8 = 14;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// An answer of one message.
pub(super) fn reply(message: &[u8]) -> Answer {
    let frames = [Frame::data(framed(message)), Frame::trailers(with_status(FINE))];
    respond(StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync())
}

/// An answer without a message.
pub(super) fn status(code: u8) -> Answer {
    let end = Frame::trailers(with_status(code));
    respond(StreamBody::new(stream::iter([Ok(end)])).boxed_unsync())
}

pub(super) fn respond(body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    response
}

/// What ends an answer.
pub(super) fn with_status(code: u8) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(u16::from(code)));
    trailers
}

/// A message with its prefix.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// Messages with their prefixes, as far as they have come.
#[derive(Default)]
pub(super) struct Messages(BytesMut);

/// It is compressed, though nobody said that it may be, or too long.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Messages {
    pub(super) fn add(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    /// Bytes that are not read yet.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing while the next one has not come whole.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Unreadable> {
        let Some((prefix, rest)) = self.0.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [kind, length @ ..] = *prefix;
        let length = u32::from_be_bytes(length) as usize;
        if kind != 0 || length > MESSAGE_BYTES_MAX {
            return Err(Unreadable);
        }
        if rest.len() < length {
            return Ok(None);
        }
        let _ = self.0.split_to(PREFIX_BYTES);
        Ok(Some(self.0.split_to(length).freeze()))
    }
}

/// Calls over one connection, which ends with this; what was under way is cancelled then.
pub(super) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Channel {
    pub(super) async fn over(
        connection: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    ) -> Result<Self, hyper::Error> {
        let (sender, connection) = handshake(TokioExecutor::new(), connection).await?;
        // How it ends, its calls tell.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, task })
    }

    /// Asks with one message; `path` is `/SERVICE/METHOD`. The error is the server's.
    pub(super) async fn call(&self, path: &str, message: &[u8]) -> Result<Replies, String> {
        let request = Request::post(format!("http://engine{path}")).header(CONTENT_TYPE, KIND).header(TE, "trailers");
        let request = request.body(Full::new(framed(message))).map_err(|error| error.to_string())?;
        let response = self.sender.clone().send_request(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let is_ended = response.headers().contains_key(STATUS);
        if is_ended {
            outcome(response.headers())?;
        }
        Ok(Replies { body: response.into_body(), messages: Messages::default(), is_ended })
    }
}

/// The answers to a call.
pub(super) struct Replies {
    body: Incoming,
    messages: Messages,
    is_ended: bool,
}

impl Replies {
    /// Nothing at the end, where that is a good one.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            match self.messages.next() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) if self.is_ended => return Ok(None),
                Ok(None) => {}
                Err(Unreadable) => return Err("a message cannot be read".to_owned()),
            }
            let frame = self.body.frame().await.ok_or("the connection ended before the answer did")?;
            match frame.map_err(|error| error.to_string())?.into_data() {
                Ok(data) => self.messages.add(&data),
                Err(frame) => {
                    outcome(&frame.into_trailers().unwrap_or_default())?;
                    self.is_ended = true;
                }
            }
        }
    }
}

/// What the end of an answer says.
fn outcome(trailers: &HeaderMap) -> Result<(), String> {
    let text = |name: HeaderName| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let code = text(STATUS).unwrap_or_default();
    match code.as_str() {
        "0" => Ok(()),
        _ => match text(STATUS_TEXT).filter(|words| !words.is_empty()) {
            Some(words) => Err(unescaped(&words)),
            None => Err(format!("the call ended with code {code}")),
        },
    }
}

/// A text in which bytes are written as `%20`.
pub(super) fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = &behind[if byte.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_text_is_read_and_what_is_no_escape_is_left() {
        for (text, expected) in [("a%20b%C3%A4", "a bä"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("", "")] {
            assert_eq!(unescaped(text), expected);
        }
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let sent = [framed(b"one"), framed(b""), framed(&[7; 1000])].concat();
        let (mut messages, mut found) = (Messages::default(), Vec::new());
        for piece in sent.chunks(3) {
            messages.add(piece);
            while let Some(message) = messages.next().expect("it is readable") {
                found.push(message.len());
            }
        }
        assert_eq!(found, [3, 0, 1000]);
        messages.add(&[1, 0, 0, 0, 0]);
        assert!(messages.next().is_err(), "it is compressed");
    }
}
