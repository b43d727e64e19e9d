//! Files of this machine on their way to hosts: what there is to bring, packed, and put into a host's volume.

mod carry;
mod context;
mod pack;
mod pipe;
mod survey;

pub use carry::carry;
pub use context::Context;
pub use pack::{Owner, PackError, Source, Summary, pack, summary};
pub use pipe::{Pipe, pipe};
pub use survey::{Cargo, Problem, Survey, survey};
