//! The goal `Pull`: images on the hosts whose slots need them.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::draft::Draft;
use super::{Cause, Inputs, Note, Op, Plan, Selection, Subject, order};
use crate::project::HostName;

/// What is asked for, as the goal says it.
pub(super) struct Pulling<'a> {
    pub(super) services: &'a Selection,
    pub(super) always: bool,
    pub(super) include_deps: bool,
    pub(super) ignore_buildable: bool,
    pub(super) tolerant: bool,
}

/// With `always`, images that are there are pulled too; without it, only those whose service says `pull_policy: always`.
/// Images that are built are no registry's: left out, unless the service names one.
pub(super) fn plan(asked: &Pulling<'_>, inputs: &Inputs<'_>) -> Plan {
    let Pulling { services, always, include_deps, ignore_buildable, tolerant } = *asked;
    let compose = Compose::new(inputs);
    let mut draft = Draft::default();
    for (host, why) in compose.world.unreachable_hosts() {
        draft.note(Note::HostUnreachable { host: host.clone(), why: why.to_owned() });
    }
    let mut pulls: BTreeMap<(&HostName, String, Option<&str>), Cause> = BTreeMap::new();
    for (name, service) in order::services(compose.project, services, include_deps) {
        let policy = service.pull_policy.as_deref().unwrap_or("missing");
        let is_built = service.build.is_some() && (ignore_buildable || service.image.is_none());
        if is_built || service.provider.is_some() || policy == "build" || (policy == "never" && !always) {
            continue;
        }
        let image = service.image_name(compose.project.name.as_str(), name.as_str());
        let hosts: BTreeSet<&HostName> = compose.seats(name).map(|(_, host)| host).collect();
        for host in hosts {
            let Some(seen) = compose.seen(host) else { continue };
            let is_there = seen.images.contains_key(&image);
            let cause = if is_there { Cause::Requested } else { Cause::Missing };
            if !is_there || always || policy == "always" {
                pulls.insert((host, image.clone(), service.platform.as_deref()), cause);
            }
        }
    }
    for ((host, image, platform), cause) in pulls {
        let op = Op::Pull { image: image.clone(), platform: platform.map(str::to_owned) };
        let step = draft.step(host, Subject::Image(image), op, cause, Vec::new());
        if tolerant {
            draft.tolerate(step);
        }
    }
    draft.finish(&compose.project.name)
}
