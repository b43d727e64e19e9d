//! Images from one engine to another, without a registry.

mod build;
mod saved;
mod ship;

pub use build::build;
pub use ship::{Shipment, ship};
