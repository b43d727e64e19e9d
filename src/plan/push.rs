//! The goal `Push`: images that are built, from a host that has them to the registries that their names say.

use std::collections::BTreeSet;

use super::compose::Compose;
use super::draft::Draft;
use super::{Cause, Inputs, Note, Op, Plan, Selection, Subject, order};
use crate::project::ImageBuild;

/// As docker compose does, only services with both a `build` and an `image` have something to push; tags of the build too.
pub(super) fn plan(services: &Selection, include_deps: bool, tolerant: bool, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let mut draft = Draft::default();
    for (host, why) in compose.world.unreachable_hosts() {
        draft.note(Note::HostUnreachable { host: host.clone(), why: why.to_owned() });
    }
    let mut pushed: BTreeSet<String> = BTreeSet::new();
    for (name, service) in order::services(compose.project, services, include_deps) {
        let Some(image) = service.image.as_ref().filter(|_| service.build.is_some()) else {
            let why = if service.build.is_some() { "its image has no name of its own: `image:`" } else { "it is not built" };
            draft.note(Note::Remark { text: format!("{name}: nothing to push, {why}") });
            continue;
        };
        let Some(meant) = compose.meant(image) else {
            draft.note(Note::Refused {
                subject: name.to_string(),
                attribute: "image".to_owned(),
                why: format!("image `{image}` is on no host that answers"),
                hint: "run `mcompose build`".to_owned(),
            });
            continue;
        };
        for image in ImageBuild::tags_of(service, image) {
            if pushed.insert(image.clone()) {
                let subject = Subject::Image(image.clone());
                let step = draft.step(meant.host, subject, Op::Push { image }, Cause::Requested, Vec::new());
                if tolerant {
                    draft.tolerate(step);
                }
            }
        }
    }
    draft.finish(&compose.project.name)
}
