//! Whether the host answers, and what the inventory allows it to take.

use super::{Query, Stance};
use crate::placement::Misfit;
use crate::placement::scene::Scene;
use crate::placement::site::Site;
use crate::project::Availability;

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    of(&scene.sites[query.site], query.stance)
}

pub(in crate::placement) fn of(site: &Site, stance: Stance) -> Option<Misfit> {
    match (site.seen, site.host.availability, stance) {
        (None, _, _) => Some(Misfit::Unreachable),
        (Some(_), Availability::Drain, _) => Some(Misfit::Drained),
        (Some(_), Availability::Pause, Stance::New) => Some(Misfit::Paused),
        (Some(_), Availability::Pause, Stance::Keep) | (Some(_), Availability::Active, _) => None,
    }
}
