//! `mcompose hosts init`

use super::fleet::{carry_out, look, steps_to_form};
use super::{Fleet, HostsError, Stage};
use crate::cluster::wants_swarm;

/// Make one swarm of the hosts, for networks that cross them
#[derive(Debug, clap::Args)]
pub struct InitArgs {}

pub async fn run(_: &InitArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    if !wants_swarm(&fleet.inventory.hosts, &fleet.inventory.network) {
        stage.note("one host, or `[network] driver = \"bridge\"`: no swarm is needed");
        return Ok(true);
    }
    let engines = fleet.engines();
    let steps = steps_to_form(&fleet.inventory, &look(&engines).await).await?;
    if steps.is_empty() {
        stage.note("the hosts are in one swarm already");
        return Ok(true);
    }
    if !carry_out(stage, &engines, steps).await {
        return Err(HostsError::Incomplete { what: "forming the swarm", file: "is unchanged" });
    }
    Ok(true)
}
