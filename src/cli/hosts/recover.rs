//! `mcompose hosts recover`

use super::fleet::{carry_out, look};
use super::{Fleet, HostsError, Stage};
use crate::cluster::{lost_managers, recover, wants_swarm};

/// Give the swarm a leader again after most of its managers were lost
///
/// One manager that is left begins it anew with all that it knows: networks, records and members stay, and what runs goes on. Lost
/// managers are managers again when they come back. Only for managers that are really gone: while they run elsewhere, cut off from
/// here, there would be two swarms.
#[derive(Debug, clap::Args)]
pub struct RecoverArgs {}

pub async fn run(_: &RecoverArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let inventory = &fleet.inventory;
    if !wants_swarm(&inventory.hosts, &inventory.network) {
        stage.note("one host, or `[network] driver = \"bridge\"`: there is no swarm to recover");
        return Ok(true);
    }
    let engines = fleet.engines();
    let world = look(&engines).await;
    let steps = recover(&inventory.hosts, &world)?;
    if steps.is_empty() {
        stage.note("the swarm has a leader: there is nothing to recover");
        return Ok(true);
    }
    let lost: Vec<String> = lost_managers(&inventory.hosts, &world).into_iter().collect();
    if !carry_out(stage, &engines, steps).await {
        return Err(HostsError::Incomplete { what: "recovering the swarm", file: "is unchanged" });
    }
    stage.note(&format!(
        "the swarm goes on without {}: they manage again when they are back; `hosts rm --force` takes out what does not come back",
        lost.join(", ")
    ));
    Ok(true)
}
