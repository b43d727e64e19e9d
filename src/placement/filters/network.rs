//! Networks that do not cross hosts: services that share one go where the others are.

use super::Query;
use crate::placement::Misfit;
use crate::placement::anchor::Thing;
use crate::placement::scene::Scene;

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    scene.anchors_of(query.service).find_map(|anchor| {
        if !matches!(anchor.thing, Thing::Network(_)) || anchor.allows(query.site) {
            return None;
        }
        let host = scene.sites[anchor.somewhere()?].host.name.clone();
        let other = anchor.users.iter().find(|user| **user != query.service)?;
        Some(Misfit::NetworkElsewhere { service: scene.asks[*other].name.clone(), host })
    })
}
