//! The swarm under several hosts: used for networks that cross them and as a replicated store, never as a scheduler.
//!
//! What is to be done is decided here as a value; `with_leader` is the one thing that is done here.

mod address;
mod error;
mod fabric;
mod form;
mod leader;
mod leave;
mod swarms;

pub use address::{Addresses, NoAddress, resolve};
pub use error::ClusterError;
pub use fabric::{fabric, wants_swarm};
pub use form::form;
pub use leader::{LEADER_WAIT_MAX, Managers, with_leader};
pub use leave::leave;
pub use swarms::{SwarmSeen, swarms};

/// The port at which managers answer those that join (Docker's `--listen-addr` default).
const SWARM_PORT: u16 = 2377;
