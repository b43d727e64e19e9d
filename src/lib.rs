//! mcompose: an existing Compose file over many Docker hosts. Look, place, plan, apply.

#![forbid(unsafe_code)]

pub mod apply;
pub mod cli;
pub mod cluster;
pub mod composefile;
pub mod delivery;
pub mod engine;
pub mod image;
pub mod inventory;
pub mod placement;
pub mod plan;
pub mod project;
pub mod store;
pub mod supervise;
pub mod transport;
pub mod ui;
pub mod world;
