//! What can go wrong with a call to an engine.

use crate::project::HostName;

/// A call that did not succeed: which, on which host, and what the engine or the way to it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed on host `{host}`: {message}")]
pub struct EngineError {
    pub host: HostName,
    /// In words, with its object: "create container `web-1`".
    pub call: String,
    pub kind: ErrorKind,
    /// The engine's own message, or the transport's.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The host or its engine cannot be reached now.
    Unreachable,
    /// The connection was refused for a reason that will not pass by itself: unknown host key, wrong credentials, wrong CA.
    Untrusted,
    /// No answer within the call's bound; it may still have been carried out.
    Timeout,
    NotFound,
    /// The name is taken, the version is another, or the object is in use.
    Conflict,
    /// The engine understood and refused (HTTP 400, 403, 501 …).
    Refused,
    /// The swarm has no leader now; worth trying again.
    NoLeader,
    /// The engine failed (HTTP 5xx).
    Failed,
    /// A wait can never come true: the container exited, is gone, or has no healthcheck.
    Hopeless,
    /// What is waited for did not come true within the time that it was given.
    Overdue,
}

impl EngineError {
    /// Whether the host manages no swarm, be it any more: it was demoted, left, or came back with another disk.
    pub fn is_no_manager(&self) -> bool {
        self.message.contains("is not a swarm manager")
    }

    /// Whether the same call may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::NoLeader)
    }
}
