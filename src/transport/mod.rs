//! How a host is reached. Gives the HTTP client one byte stream after another; what the stream runs through is its own affair.
#![expect(clippy::disallowed_methods, reason = "keys, certificates and known hosts are read from the disk")]

mod connect;
mod fated;
mod ssh;
mod tls;

pub use connect::{Connector, Stream};

use std::path::PathBuf;
use std::time::Duration;

/// What reaching hosts depends on beside the inventory.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Below it is `.ssh`.
    pub home: PathBuf,
    /// Who logs in where nobody is named.
    pub user: String,
    pub connect_timeout: Duration,
}

/// A connection that is refused for a reason that will not pass by itself: whom we met is not known, or does not know us.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Untrusted(pub String);
