//! The goal `Pull`: images on the hosts whose slots need them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::compose::Compose;
use super::draft::Draft;
use super::{Cause, Inputs, Note, Op, Plan, Selection, Subject, order};
use crate::project::{HostName, image_age_max, moment};
use crate::world::ImageSeen;

/// What is asked for, as the goal says it.
pub(super) struct Pulling<'a> {
    pub(super) services: &'a Selection,
    pub(super) always: bool,
    pub(super) include_deps: bool,
    pub(super) ignore_buildable: bool,
    pub(super) tolerant: bool,
    pub(super) now_secs: Option<u64>,
}

/// Whether a policy with an age wants the image pulled anew. One of which it is not known when it got its name is old.
fn is_old(policy: &str, image: &ImageSeen, now_secs: u64) -> bool {
    let Some(age_max) = image_age_max(policy) else { return false };
    let tagged = moment::parse(&image.tagged).unwrap_or_default();
    Duration::from_secs(now_secs).saturating_sub(tagged) >= age_max
}

/// With `always`, images that are there are pulled too; without it, only those whose service says `pull_policy: always`, and
/// those that are older than the policy has it, where it is known what time it is. What no registry gave is not pulled for its age.
/// Images that are built are no registry's: left out, unless the service names one.
pub(super) fn plan(asked: &Pulling<'_>, inputs: &Inputs<'_>) -> Plan {
    let Pulling { services, always, include_deps, ignore_buildable, tolerant, now_secs } = *asked;
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
        let image = service.image_name(compose.project, name.as_str());
        let hosts: BTreeSet<&HostName> = compose.seats(name).map(|(_, host)| host).collect();
        for host in hosts {
            let Some(seen) = compose.seen(host) else { continue };
            let is_there = seen.images.contains_key(&image);
            let cause = if is_there { Cause::Requested } else { Cause::Missing };
            let is_old = now_secs.is_some_and(|now| seen.images.get(&image).is_some_and(|has| is_old(policy, has, now)));
            if !is_there || always || policy == "always" || (is_old && compose.meant(&image).is_none()) {
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
