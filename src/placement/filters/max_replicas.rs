//! `deploy.placement.max_replicas_per_node`; 0 means no limit, as in Swarm.

use super::Query;
use crate::placement::Misfit;
use crate::placement::scene::Scene;

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    let limit = scene.asks[query.service].replicas_per_host_max?;
    (scene.seated_at(query.service, query.site) >= limit).then_some(Misfit::MaxReplicas { limit })
}
