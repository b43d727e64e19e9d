//! The goal `Build`: images of services with a `build`, made on one host.

use std::collections::BTreeMap;

use super::compose::Compose;
use super::draft::Draft;
use super::goal::Building;
use super::{Cause, Inputs, Note, Op, Plan, Selection, Subject, images, order};
use crate::project::ImageBuild;

/// With `missing_only`, those images that some host has are left as they are.
pub(super) fn plan(services: &Selection, building: &Building, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let mut draft = Draft::default();
    let builder = images::builders(inputs.hosts, compose.world).into_iter().next();
    let mut planned: BTreeMap<String, ()> = BTreeMap::new();
    for (name, service) in order::services(compose.project, services, building.deps) {
        let image = service.image_name(compose.project, name.as_str());
        let Some(build) = ImageBuild::of(service, &image) else { continue };
        let is_there = compose.meant(&image).is_some();
        if (building.missing_only && is_there && service.pull_policy.as_deref() != Some("build")) || planned.contains_key(&image)
        {
            continue;
        }
        let build = match build {
            Ok(build) => build,
            Err(unbuildable) => {
                draft.note(Note::Refused {
                    subject: name.to_string(),
                    attribute: unbuildable.attribute,
                    why: unbuildable.why.to_owned(),
                    hint: unbuildable.hint.to_owned(),
                });
                continue;
            }
        };
        let Some(builder) = builder else { continue };
        for (attribute, why) in ImageBuild::inert(service) {
            draft.note(Note::Inert { service: name.to_string(), attribute, why: why.to_owned() });
        }
        let mut build = ImageBuild { no_cache: build.no_cache || building.no_cache, pull: build.pull || building.pull, ..build };
        build.args.extend(building.args.clone());
        let cause = if is_there { Cause::Requested } else { Cause::Missing };
        draft.step(builder, Subject::Image(image.clone()), Op::Build(Box::new(build)), cause, Vec::new());
        planned.insert(image, ());
    }
    draft.finish(&compose.project.name)
}
