//! Host-local volumes: a service goes where its volume lives.

use super::Query;
use crate::placement::Misfit;
use crate::placement::anchor::Thing;
use crate::placement::scene::Scene;

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    scene.anchors_of(query.service).find_map(|anchor| {
        if anchor.allows(query.site) {
            return None;
        }
        let volume = match anchor.thing {
            Thing::Volume(volume) => volume,
            Thing::Folder(path) => {
                let host = scene.sites[anchor.somewhere()?].host.name.clone();
                return Some(Misfit::FolderElsewhere { folder: path.to_owned(), host });
            }
            Thing::Network(_) => return None,
        };
        let volume = volume.to_owned();
        Some(match anchor.somewhere() {
            Some(site) => Misfit::VolumeElsewhere { volume, host: scene.sites[site].host.name.clone() },
            None => Misfit::VolumeNowhere { volume },
        })
    })
}
