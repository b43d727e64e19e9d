//! How a host is reached. Gives the HTTP client one byte stream after another; what the stream runs through is its own affair.

mod connect;

pub use connect::{Connector, Stream};

use std::path::PathBuf;
use std::time::Duration;

/// What reaching hosts depends on beside the inventory.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    pub home: PathBuf,
    pub connect_timeout: Duration,
}
