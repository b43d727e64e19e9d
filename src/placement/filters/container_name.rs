//! Names are unique on an engine: a stranger's container may have the replica's, or another replica of the same `container_name`.

use super::{Query, Stance};
use crate::placement::Misfit;
use crate::placement::scene::Scene;

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    let (ask, site) = (&scene.asks[query.service], &scene.sites[query.site]);
    if let Some(name) = ask.service.container_name.as_deref() {
        let is_taken = site.strangers.contains(name) || scene.seated_at(query.service, query.site) > 0;
        return is_taken.then(|| Misfit::ContainerName { name: name.to_owned() });
    }
    // Only a stranger whose name begins as the project's do can be in the way.
    if query.stance == Stance::Keep || !site.has_similar_stranger {
        return None;
    }
    let name = scene.project.replica_name(ask.name, query.number);
    site.strangers.contains(name.as_str()).then_some(Misfit::ContainerName { name })
}
