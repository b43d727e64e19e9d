//! Images from one engine to another, without a registry.

mod build;
mod convoy;
mod login;
mod saved;
mod ship;

pub use build::build;
pub use convoy::Harbour;
pub use login::{Login, login};
pub use ship::{Shipment, ship};
