//! Volumes on their way from one host to another, by the marks that say so.
//!
//! A volume's labels never change, so what may change is told by marks: empty volumes beside it, whose labels name it. A mark
//! `incoming` on the new host: the volumes of these names are not whole there. A mark `outgoing` on the old host: they live on the
//! new one now, and what is left on the old one is out of date. Setting that second mark is the moment at which a volume has moved.

use std::collections::{BTreeMap, BTreeSet};

use super::{SeenHost, World, keys};
use crate::project::{HostName, VolumeSpec};

/// Of the names of marks: the volume's own name may be as long as the engine allows.
const NAME_CHARS_MAX: usize = 200;

/// Which of the two marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Incoming,
    Outgoing,
}

impl Way {
    fn key(self) -> &'static str {
        match self {
            Self::Incoming => keys::INCOMING,
            Self::Outgoing => keys::OUTGOING,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }

    /// The engine's name of the mark for these volumes.
    pub fn mark_name(self, volumes: &BTreeSet<String>) -> String {
        let first: String = volumes.iter().next().into_iter().flat_map(|name| name.chars()).take(NAME_CHARS_MAX).collect();
        format!("mcompose_{}_{first}", self.word())
    }

    /// The request that sets the mark.
    pub fn mark(self, volumes: &BTreeSet<String>, from: &HostName, to: &HostName) -> VolumeSpec {
        let names: Vec<&str> = volumes.iter().map(String::as_str).collect();
        let labels = [(self.key(), names.join(",")), (keys::MOVED_FROM, from.to_string()), (keys::MOVED_TO, to.to_string())];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        VolumeSpec { name: self.mark_name(volumes), labels, ..VolumeSpec::default() }
    }
}

/// Volumes that move together, or have moved and left something behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// By the engines' names.
    pub volumes: BTreeSet<String>,
    pub from: HostName,
    pub to: HostName,
    /// They live on `to` now.
    pub has_moved: bool,
}

impl Moving {
    /// Where the volumes live.
    pub fn home(&self) -> &HostName {
        if self.has_moved { &self.to } else { &self.from }
    }

    /// Where what is called so is not whole, or out of date.
    pub fn stale(&self) -> &HostName {
        if self.has_moved { &self.from } else { &self.to }
    }
}

impl World {
    /// Every volume that the marks name, with what they say.
    pub fn moving(&self) -> BTreeMap<String, Moving> {
        moving(self.seen_hosts())
    }
}

/// As `World::moving`, of these hosts.
pub fn moving<'a>(hosts: impl Iterator<Item = (&'a HostName, &'a SeenHost)>) -> BTreeMap<String, Moving> {
    let mut marks: Vec<Moving> = hosts.flat_map(|(host, seen)| marks_on(host, seen)).collect();
    // That they have moved counts more than that they come.
    marks.sort_by_key(|mark| mark.has_moved);
    let mut moving = BTreeMap::new();
    for mark in marks {
        for volume in &mark.volumes {
            moving.insert(volume.clone(), mark.clone());
        }
    }
    moving
}

fn marks_on(host: &HostName, seen: &SeenHost) -> Vec<Moving> {
    let mut marks = Vec::new();
    for volume in &seen.volumes {
        let label = |key: &str| volume.labels.get(key).cloned();
        let host_at = |key: &str| label(key).and_then(|name| HostName::new(name).ok());
        for way in [Way::Incoming, Way::Outgoing] {
            let Some(names) = label(way.key()) else { continue };
            // The host that the mark is on may have another name by now; the mark is where it is.
            let (from, to) = match way {
                Way::Incoming => (host_at(keys::MOVED_FROM), Some(host.clone())),
                Way::Outgoing => (Some(host.clone()), host_at(keys::MOVED_TO)),
            };
            let (Some(from), Some(to)) = (from, to) else { continue };
            let volumes = names.split(',').map(str::to_owned).collect();
            marks.push(Moving { volumes, from, to, has_moved: way == Way::Outgoing });
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::world::{Sight, VolumeSeen};

    fn host(name: &str) -> HostName {
        HostName::new(name).expect("a good name")
    }

    fn check(marks: &[(&str, Way)], expected: Option<(&str, &str)>) {
        let volumes = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut world = World::default();
        for (name, way) in marks {
            let spec = way.mark(&volumes, &host("h1"), &host("h2"));
            let volume = VolumeSeen { name: spec.name, labels: spec.labels, ..VolumeSeen::default() };
            let seen = SeenHost { volumes: vec![volume], ..SeenHost::default() };
            world.hosts.insert(host(name), Sight::Seen(Arc::new(seen)));
        }
        for volume in ["a", "b"] {
            let moving = world.moving();
            let told = moving.get(volume).map(|moving| (moving.home().as_str(), moving.stale().as_str()));
            assert_eq!(told, expected, "{volume}");
        }
        assert!(!world.moving().contains_key("c"));
    }

    #[test]
    fn a_volume_lives_where_it_was_until_the_mark_on_its_old_host_says_that_it_has_moved() {
        check(&[], None);
        check(&[("h2", Way::Incoming)], Some(("h1", "h2")));
        check(&[("h2", Way::Incoming), ("h1", Way::Outgoing)], Some(("h2", "h1")));
        check(&[("h1", Way::Outgoing)], Some(("h2", "h1")));
    }
}
