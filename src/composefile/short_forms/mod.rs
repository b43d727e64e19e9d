//! The short forms of ports, volumes and devices, and words as a shell splits them.

pub(super) mod device;
pub(super) mod port;
pub(super) mod size;
pub(super) mod volume;
pub(super) mod words;
