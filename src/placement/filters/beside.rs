//! Shared namespaces and volumes: a replica goes where a replica of the other service is.

use super::{Query, Stance};
use crate::placement::Misfit;
use crate::placement::scene::Scene;

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    // What is there already may wait for the other to come to it.
    let may_come = |other: usize| query.stance == Stance::Keep && scene.undecided[other] > 0;
    let is_missing = |other: &&usize| scene.seated_at(**other, query.site) == 0 && !may_come(**other);
    let missing = scene.asks[query.service].beside.iter().find(is_missing)?;
    Some(Misfit::NotBeside { service: scene.asks[*missing].name.clone() })
}
