//! `mcompose volume mv`

use std::collections::BTreeSet;

use super::hosts_stage::Terminal;
use super::relocate::{RelocateError, Relocating};
use super::session::Session;
use super::volume::engine_name;
use super::{Failure, exit};
use crate::project::{HostName, Project};
use crate::world::World;

/// Move volumes to another host, and the replicas that use them with them
///
/// What is in them is copied while they are in use; then the replicas stop, what changed since is copied and checked, and the
/// replicas start on the other host. What was on the old host goes once they are ready. Where that fails, all is as it was; where it
/// is interrupted, the same command goes on, and with the old host as --to it goes back.
#[derive(Debug, clap::Args)]
pub struct MvArgs {
    /// The host that is to have them
    #[arg(long, value_name = "HOST")]
    to: String,
    /// The volumes, as the Compose file names them; those that one service uses move together
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

pub(super) async fn run(args: &MvArgs, session: &Session, project: &Project, world: &World) -> Result<u8, Failure> {
    let names = args.volumes.iter().map(|volume| engine_name(project, volume));
    let volumes: BTreeSet<String> = names.collect::<Result<_, _>>()?;
    let no_host = |_| Failure::said(format!("`{}` is no name of a host", args.to), None, exit::USAGE);
    let to = HostName::new(args.to.as_str()).map_err(no_host)?;
    let fabric = session.fabric(world)?;
    let store = session.store(&fabric, world)?;
    // From here on an end must let the lock go.
    let _attention = session.interrupt.attend();
    let relocating = Relocating {
        inventory: &session.inventory,
        engines: &session.engines,
        fabric: &fabric,
        store: store.as_ref(),
        stage: &Terminal { session, goes_back: true },
        project: &project.name,
        volumes: &volumes,
        to: &to,
    };
    let is_done = match session.dry_run {
        true => relocating.rehearse().await.map(|()| true)?,
        false => relocating.run(&session.command).await?,
    };
    Ok(match is_done {
        true => exit::OK,
        false if session.interrupt.count() > 0 => exit::INTERRUPTED,
        false => exit::FAILURE,
    })
}

impl From<RelocateError> for Failure {
    fn from(error: RelocateError) -> Self {
        match error {
            RelocateError::Hosts(error) => Self::Hosts(error),
            RelocateError::Store(error) => Self::Store(error),
            said @ (RelocateError::Unmovable(_) | RelocateError::NoRecord { .. }) => {
                Self::said(said.to_string(), said.hint(), exit::FAILURE)
            }
        }
    }
}
