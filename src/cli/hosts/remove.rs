//! `mcompose hosts rm`

use super::fleet::{carry_out, look, nodes};
use super::rows::replicas_on;
use super::{Fleet, HostsError, Stage};
use crate::cluster::{leave, wants_swarm};
use crate::inventory::edit::remove;
use crate::world::Sight;

/// Take a host out of the inventory and let it leave the others
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// Also if it has replicas, or does not answer
    #[arg(short, long)]
    force: bool,
}

pub async fn run(args: &RmArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let file = fleet.file()?;
    let host = fleet.host(&args.name)?;
    let text = remove(&file.text, &args.name)?;
    let engines = fleet.engines();
    let world = look(&engines).await;
    match world.hosts.get(&host.name) {
        Some(Sight::Seen(seen)) if replicas_on(seen) > 0 && !args.force => {
            return Err(HostsError::HasReplicas { host: host.name.clone(), count: replicas_on(seen) });
        }
        Some(Sight::Unreachable { why }) if !args.force => {
            return Err(HostsError::Unreachable { host: host.name.clone(), why: why.clone() });
        }
        _ => {}
    }
    if wants_swarm(&fleet.inventory.hosts, &fleet.inventory.network) {
        let steps = leave(host, &fleet.inventory.hosts, &world, &nodes(&engines, &world).await);
        let left = match steps {
            Ok(steps) => carry_out(stage, &engines, steps).await,
            Err(error) if !args.force => return Err(error.into()),
            Err(_) => false,
        };
        if !left && !args.force {
            return Err(HostsError::Incomplete { what: "leaving the swarm", file: "is unchanged" });
        }
    }
    file.replace(&text)?;
    stage.note(&format!("host `{}` is no more in {}", host.name, file.path.display()));
    Ok(true)
}
