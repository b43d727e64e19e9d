//! Advice for failures of engines, by what they say.

use crate::engine::{EngineError, ErrorKind};

/// What helps against an error, where something is known to.
pub fn of(error: &EngineError) -> Option<String> {
    let host = &error.host;
    let message = error.message.to_lowercase();
    let hint = match error.kind {
        _ if message.contains("port is already allocated") || message.contains("address already in use") => {
            format!("`mcompose ps --all` and `docker ps` on {host} show who holds the port")
        }
        ErrorKind::NotFound if message.contains("no such image") => {
            format!("no registry gave it and {host} does not have it: load it there with `docker load`")
        }
        _ if error.call.starts_with("pull") => {
            format!("an image that no registry has must be on {host} already; `pull_policy: never` says so")
        }
        ErrorKind::Unreachable | ErrorKind::Timeout => format!("`mcompose hosts check {host}` tells what is wrong"),
        ErrorKind::NoLeader => "the swarm has no leader: are most of its managers up? `mcompose hosts ls` shows them".to_owned(),
        _ if message.contains("could not attach to network") || message.contains("not manually attachable") => {
            "the network is not attachable: networks made by others need `--attachable`".to_owned()
        }
        _ => return None,
    };
    Some(hint)
}
