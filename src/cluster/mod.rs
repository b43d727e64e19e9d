//! The swarm under several hosts: used for networks that cross them and as a replicated store, never as a scheduler.
//!
//! What is to be done is decided here as a value; what is done here is asking: `resolve`, `probe_ports`, `with_leader`.

mod address;
mod check;
mod election;
mod error;
mod fabric;
mod form;
mod leader;
mod leave;
mod probe;
mod recover;
mod swarms;

pub use address::{Addresses, NoAddress, resolve};
pub use check::{Finding, Grade, check};
pub use error::ClusterError;
pub use fabric::{fabric, wants_swarm};
pub use form::{form, raced_to_swarm};
pub use leader::{LEADER_WAIT_MAX, Managers, with_leader};
pub use leave::leave;
pub use probe::{PortSign, Probe, Probes, probe_own_storage, probe_ports, probe_storage};
pub use recover::{lost_managers, recover};
pub use swarms::{SwarmSeen, swarms};

/// The port at which managers answer those that join (Docker's `--listen-addr` default).
const SWARM_PORT: u16 = 2377;
