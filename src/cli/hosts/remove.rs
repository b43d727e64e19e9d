//! `mcompose hosts rm`

use std::collections::BTreeMap;

use super::fleet::{carry_out, look, nodes};
use super::moving::LOCK_WAIT_MAX;
use super::rows::replicas_on;
use super::{Fleet, HostsError, Stage};
use crate::cluster::{fabric, leave, wants_swarm};
use crate::engine::Engines;
use crate::inventory::edit::remove;
use crate::project::{HostName, ProjectName, Slot};
use crate::store::{Holder, Record, Store, open, state_folder};
use crate::world::{Sight, World};

/// Take a host out of the inventory and let it leave the others
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// Also if it has replicas, or does not answer; then the data that it had is given up, and who owned it starts anew elsewhere
    #[arg(short, long)]
    force: bool,
}

pub async fn run(args: &RmArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let file = fleet.file()?;
    let host = match fleet.host(&args.name) {
        // It was taken out of the file by hand; the records may name it still.
        Err(error) if args.force => {
            let engines = fleet.engines();
            let world = look(&engines).await;
            let forgotten = forget(&args.name, fleet, &engines, &world, stage).await?;
            return if forgotten { Ok(true) } else { Err(error) };
        }
        host => host?,
    };
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
    if world.seen(host.name.as_str()).is_none() {
        // Where nobody keeps records now, the host is out of the file all the same.
        if let Err(error) = forget(&args.name, fleet, &engines, &world, stage).await {
            stage.note(&format!("records may name `{}` still ({error}): say this again once they can be read", host.name));
        }
    }
    stage.note(&format!("host `{}` is no more in {}", host.name, file.path.display()));
    Ok(true)
}

/// Gives up what records say to be on a host that is gone for good: slots with data there may start anew, empty, elsewhere. Whether
/// there were any.
async fn forget(name: &str, fleet: &Fleet, engines: &Engines, world: &World, stage: &dyn Stage) -> Result<bool, HostsError> {
    let hosts = &fleet.inventory.hosts;
    let fabric = fabric(hosts, &fleet.inventory.network, world)?;
    let store = open(&fabric, engines, world, &state_folder()?, &fleet.file()?.path.display().to_string())?;
    let mut is_known = false;
    for head in store.projects().await? {
        let project = head.project;
        let names_it = |record: &Record| record.seats.values().any(|host| host.as_str() == name);
        if !store.latest(&project).await?.is_some_and(|record| names_it(&record)) {
            continue;
        }
        let waiting = |other: Holder| stage.note(&format!("`{project}` is being changed by {other}: waiting for it to end"));
        let holder = Holder::this_process(&format!("hosts rm {name}"));
        let lock = store.lock(&project, &holder, LOCK_WAIT_MAX, &waiting).await?;
        let given_up = give_up(name, store.as_ref(), &project).await;
        lock.release().await;
        let slots = given_up?;
        is_known |= !slots.is_empty();
        stage.note(&format!("`{project}`: no more on `{name}` by its record: {}", slots.join(", ")));
    }
    Ok(is_known)
}

/// Under the project's lock; the slots that were there.
async fn give_up(name: &str, store: &dyn Store, project: &ProjectName) -> Result<Vec<String>, HostsError> {
    let Some(record) = store.latest(project).await? else { return Ok(Vec::new()) };
    let (there, elsewhere): (BTreeMap<Slot, HostName>, BTreeMap<Slot, HostName>) =
        record.seats.clone().into_iter().partition(|(_, host)| host.as_str() == name);
    if !there.is_empty() {
        store.put(record.redraft(elsewhere, record.halted.clone())).await?;
    }
    Ok(there.keys().map(ToString::to_string).collect())
}
