//! Images from one engine to another, without a registry.

mod build;
mod convoy;
mod digests;
mod login;
mod reference;
mod saved;
mod ship;
mod stages;

pub use build::build;
pub use convoy::Harbour;
pub use digests::{Unpinned, pinned};
pub use login::{Login, login};
pub use reference::full_name;
pub use ship::{Shipment, ship};
