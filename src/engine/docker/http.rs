//! One pooled HTTP client per host, over whatever way there is to it.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::engine::{EngineError, ErrorKind, Pieces};
use crate::project::HostName;
use crate::transport::{Connector, Untrusted};

const JSON: (&str, &str) = ("content-type", "application/json");
/// Idle connections kept to one host.
const IDLE_MAX: usize = 8;
/// They end soon, since who watches a thousand hosts would have thousands of them; heartbeats have one of their own.
const IDLE_TIME_MAX: Duration = Duration::from_secs(2);
/// What is read at once of a stream that tells little for as long as it is followed. The head of its answer has to fit in.
const LISTEN_BYTES: usize = 4096;

type Caller = Client<Connector, UnsyncBoxBody<Bytes, std::io::Error>>;

pub(super) struct Http {
    host: HostName,
    connector: Connector,
    client: Caller,
    /// For streams that are followed for long.
    listener: Caller,
}

/// One request: what it is in words, for errors, and in HTTP.
pub(super) struct Call {
    pub(super) what: String,
    pub(super) method: Method,
    /// With query, without version.
    pub(super) path: String,
    pub(super) body: Option<Bytes>,
    pub(super) bound: Duration,
}

impl Http {
    pub(super) fn new(host: HostName, connector: Connector) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE_TIME_MAX).pool_timer(TokioTimer::new());
        let client = builder.build(connector.clone());
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(0).http1_read_buf_exact_size(LISTEN_BYTES);
        let listener = builder.build(connector.clone());
        Self { host, connector, client, listener }
    }

    pub(super) fn host(&self) -> &HostName {
        &self.host
    }

    /// What a command on the host itself says, where the way there runs commands.
    pub(super) async fn run(&self, command: &str, bound: Duration) -> Option<std::io::Result<String>> {
        self.connector.run(command, bound).await
    }

    pub(super) fn error(&self, what: &str, kind: ErrorKind, message: impl Into<String>) -> EngineError {
        EngineError { host: self.host.clone(), call: what.to_owned(), kind, message: message.into() }
    }

    /// The answer's head once it is there; a refusal becomes an error.
    pub(super) async fn send(&self, version: Option<&str>, call: &Call) -> Result<Response<Incoming>, EngineError> {
        let full = Full::new(call.body.clone().unwrap_or_default());
        let headers: &[_] = if call.body.is_some() { &[JSON] } else { &[] };
        self.exchange(&self.client, version, call, headers, full.map_err(|never| match never {}).boxed_unsync()).await
    }

    /// As `send`, for an answer that is read for as long as there is somebody to read it.
    pub(super) async fn listen(&self, version: Option<&str>, call: &Call) -> Result<Response<Incoming>, EngineError> {
        let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        self.exchange(&self.listener, version, call, &[], empty).await
    }

    /// As `send`, with what a registry asks for.
    pub(super) async fn send_with_login(
        &self,
        version: Option<&str>,
        call: &Call,
        login: Option<&str>,
    ) -> Result<Response<Incoming>, EngineError> {
        let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let headers: Vec<_> = login.map(|login| ("x-registry-auth", login)).into_iter().collect();
        self.exchange(&self.client, version, call, &headers, empty).await
    }

    /// As `send`, with an archive as the body, piece by piece.
    pub(super) async fn send_archive(
        &self,
        version: Option<&str>,
        call: &Call,
        archive: Pieces,
    ) -> Result<Response<Incoming>, EngineError> {
        let body = StreamBody::new(archive.map_ok(Frame::data)).boxed_unsync();
        self.exchange(&self.client, version, call, &[("content-type", "application/x-tar")], body).await
    }

    async fn exchange(
        &self,
        client: &Caller,
        version: Option<&str>,
        call: &Call,
        headers: &[(&str, &str)],
        body: UnsyncBoxBody<Bytes, std::io::Error>,
    ) -> Result<Response<Incoming>, EngineError> {
        let version = version.map(|version| format!("/v{version}")).unwrap_or_default();
        let mut request = Request::builder().method(call.method.clone()).uri(format!("http://engine{version}{}", call.path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).map_err(|error| self.error(&call.what, ErrorKind::Refused, error.to_string()))?;
        let response = timeout(call.bound, client.request(request))
            .await
            .map_err(|_| self.error(&call.what, ErrorKind::Timeout, format!("no answer within {:?}", call.bound)))?
            .map_err(|error| self.unreachable(&call.what, &error))?;
        let is_fine = [StatusCode::NOT_MODIFIED, StatusCode::SWITCHING_PROTOCOLS].contains(&response.status());
        if response.status().is_success() || is_fine {
            return Ok(response);
        }
        let status = response.status();
        let bytes = self.collect(call, response).await?;
        let message = serde_json::from_slice::<Value>(&bytes)
            .ok()
            .and_then(|answer| answer.get("message").and_then(Value::as_str).map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&bytes).trim().to_owned());
        Err(self.error(&call.what, kind_of(status, &message), message))
    }

    /// Makes a call whose connection is the caller's from then on.
    pub(super) async fn hijack(&self, version: Option<&str>, call: &Call) -> Result<Upgraded, EngineError> {
        self.hijack_as(version, call, "tcp", &[JSON]).await
    }

    /// As `hijack`, for what is spoken then.
    pub(super) async fn hijack_as(
        &self,
        version: Option<&str>,
        call: &Call,
        protocol: &str,
        headers: &[(&str, &str)],
    ) -> Result<Upgraded, EngineError> {
        let full = Full::new(call.body.clone().unwrap_or_default()).map_err(|never| match never {}).boxed_unsync();
        let headers = [headers, &[("connection", "Upgrade"), ("upgrade", protocol)]].concat();
        let response = self.exchange(&self.client, version, call, &headers, full).await?;
        let upgraded = timeout(call.bound, hyper::upgrade::on(response)).await;
        upgraded
            .map_err(|_| self.error(&call.what, ErrorKind::Timeout, format!("no answer within {:?}", call.bound)))?
            .map_err(|error| self.error(&call.what, ErrorKind::Unreachable, error.to_string()))
    }

    pub(super) async fn collect(&self, call: &Call, response: Response<Incoming>) -> Result<Bytes, EngineError> {
        let body = timeout(call.bound, response.into_body().collect())
            .await
            .map_err(|_| self.error(&call.what, ErrorKind::Timeout, format!("the answer did not end within {:?}", call.bound)))?
            .map_err(|error| self.error(&call.what, ErrorKind::Unreachable, error.to_string()))?;
        Ok(body.to_bytes())
    }

    pub(super) async fn bytes(&self, version: Option<&str>, call: &Call) -> Result<Bytes, EngineError> {
        let response = self.send(version, call).await?;
        self.collect(call, response).await
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, version: Option<&str>, call: &Call) -> Result<T, EngineError> {
        self.read(call, &self.bytes(version, call).await?)
    }

    /// As `json`; the connection ends with the answer, since nothing is asked soon.
    pub(super) async fn last_json<T: DeserializeOwned>(&self, version: Option<&str>, call: &Call) -> Result<T, EngineError> {
        let empty = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let response = self.exchange(&self.client, version, call, &[("connection", "close")], empty).await?;
        self.read(call, &self.collect(call, response).await?)
    }

    fn read<T: DeserializeOwned>(&self, call: &Call, bytes: &Bytes) -> Result<T, EngineError> {
        serde_json::from_slice(bytes)
            .map_err(|error| self.error(&call.what, ErrorKind::Failed, format!("the answer cannot be read: {error}")))
    }

    /// What a failed call's causes come to: the last of them says why.
    pub(super) fn unreachable(&self, what: &str, error: &(dyn Error + 'static)) -> EngineError {
        let mut kind = ErrorKind::Unreachable;
        let (mut message, mut next) = (error.to_string(), Some(error));
        while let Some(cause) = next {
            message = cause.to_string();
            let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            if cause.is::<Untrusted>() || inner.is_some_and(|inner| inner.is::<Untrusted>()) {
                kind = ErrorKind::Untrusted;
            }
            next = cause.source();
        }
        self.error(what, kind, message)
    }
}

fn kind_of(status: StatusCode, message: &str) -> ErrorKind {
    let leaderless = ["no leader", "not have a leader", "context deadline exceeded", "lost quorum", "lost leader status"];
    match status.as_u16() {
        _ if leaderless.iter().any(|words| message.contains(words)) => ErrorKind::NoLeader,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        400..=499 => ErrorKind::Refused,
        _ => ErrorKind::Failed,
    }
}
