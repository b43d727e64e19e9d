//! Files of this machine on their way to hosts: what there is to bring, packed, and put into a host's volume.

mod backup;
mod carry;
mod context;
mod copy;
mod entries;
mod folders;
mod lent_folder;
mod pack;
mod pipe;
mod profile;
mod scan;
mod seal;
mod survey;
mod unseal;
mod volume;

pub use backup::{load_volume, save_volume};
pub use carry::{Freight, carry};
pub use context::{Context, Ignore, LentFolders, dockerfile_text, lent_folders};
pub use copy::{CopyError, copy_in, copy_out, sync_in};
pub use folders::{adopt, written};
pub use pack::{Owner, PackError, Source, Summary, pack, summary};
pub use pipe::{Pipe, Reader, packed_into, pipe};
pub use scan::{Sighting, Stamp, scan};
pub use seal::{Keys, SealError};
pub use survey::{Cargo, Problem, Survey, survey};
pub use unseal::{unseal, wipe};
pub use volume::copy_volume;
