//! What a build asks for while it runs. BuildKit calls back over a connection that the client opens and then serves: gRPC on HTTP/2.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Body, Frame};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::file_sync::{DIFF_COPY, diff_copy};
use super::grpc::{Answer, FINE, Messages, NOT_FOUND, UNAVAILABLE, UNIMPLEMENTED, framed, reply, respond, status, with_status};
use super::http::Call;
use super::proto::{Message, bytes_of};
use super::{Docker, QUICK_MAX};
use crate::engine::{EngineError, Lent};

const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const FORWARD_AGENT: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// Where a call for an agent says which one.
const AGENT_ID: &str = "buildkit.ssh.id";
/// The agent that is meant where none is named.
const DEFAULT_AGENT: &str = "default";
/// A question is a name, and an agent's message is smaller than this (RFC draft-miller-ssh-agent: 256 KiB).
const QUESTION_BYTES_MAX: usize = 1 << 20;
const PIECE_BYTES: usize = 32 * 1024;
/// An engine may ask for what is lent as long as this lives.
pub(super) struct Session {
    pub(super) id: String,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Docker {
    pub(super) async fn lend(&self, lent: &Lent) -> Result<Session, EngineError> {
        let id = random_id();
        let what = "lend a build what it asks for".to_owned();
        let call = Call { what, method: Method::POST, path: "/session".to_owned(), body: None, bound: QUICK_MAX };
        let mut headers = vec![("x-docker-expose-session-uuid", id.as_str()), ("x-docker-expose-session-name", "mcompose")];
        if let Some(key) = &lent.folders_key {
            headers.push(("x-docker-expose-session-sharedkey", key));
        }
        for method in [GET_SECRET, CHECK_AGENT, FORWARD_AGENT, DIFF_COPY, HEALTH] {
            headers.push(("x-docker-expose-session-grpc-method", method));
        }
        let connection = self.http.hijack_as(Some(self.version().await?), &call, "h2c", &headers).await?;
        let task = tokio::spawn(serve(connection, Arc::new(lent.clone())));
        Ok(Session { id, task })
    }
}

pub(super) fn random_id() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8))
}

async fn serve(connection: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static, lent: Arc<Lent>) {
    let service = service_fn(move |request| {
        let lent = Arc::clone(&lent);
        async move { Ok::<_, Infallible>(answer(&lent, request).await) }
    });
    // It ends when the engine ends it, or with the build.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(connection, service).await;
}

async fn answer<B>(lent: &Lent, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    match request.uri().path() {
        // SERVING
        HEALTH => reply(&[8, 1]),
        GET_SECRET => match question(request).await.and_then(|id| lent.secrets.get(&id).cloned()) {
            Some(value) => reply(&Message::default().bytes(1, &value).0),
            None => status(NOT_FOUND),
        },
        CHECK_AGENT => match question(request).await.is_some_and(|id| agent(lent, &id).is_some()) {
            true => reply(&[]),
            false => status(NOT_FOUND),
        },
        FORWARD_AGENT => {
            let id = request.headers().get(AGENT_ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
            match agent(lent, &id) {
                Some(path) => forward(path, request.into_body()).await,
                None => status(NOT_FOUND),
            }
        }
        DIFF_COPY => diff_copy(lent, request),
        _ => status(UNIMPLEMENTED),
    }
}

fn agent<'a>(lent: &'a Lent, id: &str) -> Option<&'a Path> {
    let id = if id.is_empty() { DEFAULT_AGENT } else { id };
    lent.agents.get(id).map(AsRef::as_ref)
}

/// The name that a question of one message is about, its field 1; nothing where it is no such question.
async fn question<B>(request: Request<B>) -> Option<String>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = Limited::new(request.into_body(), QUESTION_BYTES_MAX).collect().await.ok()?.to_bytes();
    let mut messages = Messages::default();
    messages.add(&body);
    let message = messages.next().ok()??;
    Some(bytes_of(&message, 1).map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default())
}

/// Passes on what is said between a build and an agent of this machine, until either has had enough.
async fn forward<B>(agent: &Path, mut body: B) -> Answer
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let Ok(connection) = UnixStream::connect(agent).await else { return status(UNAVAILABLE) };
    let (reader, mut writer) = connection.into_split();
    tokio::spawn(async move {
        let mut messages = Messages::default();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            messages.add(&data);
            while let Ok(Some(message)) = messages.next() {
                if writer.write_all(bytes_of(&message, 1).unwrap_or_default()).await.is_err() {
                    return;
                }
            }
            if messages.len() > QUESTION_BYTES_MAX {
                return;
            }
        }
    });
    let said = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        let mut piece = vec![0; PIECE_BYTES];
        let count = reader.read(&mut piece).await.unwrap_or_default();
        Some(match count {
            0 => (Ok(Frame::trailers(with_status(FINE))), None),
            _ => (Ok(Frame::data(framed(&Message::default().bytes(1, &piece[..count]).0))), Some(reader)),
        })
    });
    respond(StreamBody::new(said).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http_body_util::Full;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper_util::rt::TokioIo;
    use tokio::net::UnixListener;

    use super::*;

    /// An engine's side of a session.
    async fn session(lent: Lent) -> SendRequest<Full<Bytes>> {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(serve(TokioIo::new(ours), Arc::new(lent)));
        let (asks, connection) = handshake(TokioExecutor::new(), TokioIo::new(theirs)).await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        asks
    }

    /// The code of the answer, and its message.
    async fn ask(asks: &mut SendRequest<Full<Bytes>>, path: &str, message: &[u8]) -> (String, Vec<u8>) {
        let request = Request::post(format!("http://session{path}")).body(Full::new(framed(message))).expect("a request");
        let body = asks.send_request(request).await.expect("it answers").into_body().collect().await.expect("it ends");
        let code = body.trailers().map(|trailers| trailers["grpc-status"].to_str().unwrap_or_default().to_owned());
        let mut messages = Messages::default();
        messages.add(&body.to_bytes());
        let message = messages.next().ok().flatten().map(|message| message.to_vec()).unwrap_or_default();
        (code.unwrap_or_default(), message)
    }

    #[tokio::test]
    async fn a_build_gets_the_secrets_that_it_has_names_of_and_nothing_else() {
        let long = vec![b'x'; 100_000];
        let secrets = BTreeMap::from([("key".to_owned(), b"value".to_vec()), ("long".to_owned(), long.clone())]);
        let mut asks = session(Lent { secrets, ..Lent::default() }).await;
        let said = |code: &str, message: Vec<u8>| (code.to_owned(), message);
        assert_eq!(ask(&mut asks, GET_SECRET, b"\x0a\x03key").await, said("0", b"\x0a\x05value".to_vec()));
        let message = ask(&mut asks, GET_SECRET, b"\x0a\x04long").await.1;
        assert_eq!(bytes_of(&message, 1), Some(long.as_slice()));
        assert_eq!(ask(&mut asks, GET_SECRET, b"\x0a\x05other").await, said("5", Vec::new()));
        assert_eq!(ask(&mut asks, CHECK_AGENT, b"").await, said("5", Vec::new()));
        assert_eq!(ask(&mut asks, HEALTH, b"").await, said("0", vec![8, 1]));
        assert_eq!(ask(&mut asks, "/moby.filesync.v1.Auth/Credentials", b"").await, said("12", Vec::new()));
    }

    #[tokio::test]
    async fn what_is_said_to_an_agent_comes_to_it_and_its_answer_back() {
        let path = std::env::temp_dir().join(format!("mcompose-agent-{}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("the folder is writable");
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("somebody comes");
            let mut asked = [0; 5];
            connection.read_exact(&mut asked).await.expect("it is asked");
            connection.write_all(&asked.map(|byte| byte.to_ascii_uppercase())).await.expect("it answers");
        });
        let agents = BTreeMap::from([(DEFAULT_AGENT.to_owned(), path.clone())]);
        let mut asks = session(Lent { agents, ..Lent::default() }).await;
        assert_eq!(ask(&mut asks, CHECK_AGENT, b"").await.0, "0");
        assert_eq!(ask(&mut asks, FORWARD_AGENT, b"\x0a\x05hello").await, ("0".to_owned(), b"\x0a\x05HELLO".to_vec()));
        std::fs::remove_file(path).expect("it is ours");
    }
}
