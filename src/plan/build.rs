//! The goal `Build`: images of services with a `build`, made on one host.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::draft::Draft;
use super::goal::Building;
use super::images::Shipments;
use super::{Cause, Inputs, Note, Op, Plan, Selection, StepId, Subject, images, order};
use crate::placement::{native_of, runs_natively};
use crate::project::{HostName, ImageBuild, Naming, Service, ServiceName, Unbuildable};

/// With `missing_only`, those images that some host has are left as they are.
pub(super) fn plan(services: &Selection, building: &Building, inputs: &Inputs<'_>) -> Plan {
    let compose = Compose::new(inputs);
    let builders = images::builders(inputs.hosts, compose.world);
    let mut yard = Yard { compose: &compose, building, builders, bases: BTreeMap::new(), shipments: Shipments::default() };
    let mut draft = Draft::default();
    for (name, service) in order::with_bases(compose.project, services, building.deps) {
        if let Err(unbuildable) = yard.add(&mut draft, name, service) {
            draft.note(Note::Refused {
                subject: name.to_string(),
                attribute: unbuildable.attribute,
                why: unbuildable.why,
                hint: unbuildable.hint.to_owned(),
            });
        }
    }
    draft.finish(&compose.project.name)
}

/// How a build that needs an image comes by it.
#[derive(Clone, Copy)]
enum Base {
    BuiltBy(StepId),
    /// Some host has it.
    There,
}

struct Yard<'c, 'a> {
    compose: &'c Compose<'a>,
    building: &'c Building,
    builders: Vec<&'a HostName>,
    /// By image, those that were passed.
    bases: BTreeMap<String, Base>,
    shipments: Shipments<'a>,
}

impl<'a> Yard<'_, 'a> {
    fn add(&mut self, draft: &mut Draft, name: &ServiceName, service: &Service) -> Result<(), Unbuildable> {
        let image = self.image(name, service);
        if self.bases.contains_key(&image) {
            return Ok(());
        }
        let Some(build) = ImageBuild::of(service, &image, &|platforms| self.natives(platforms)) else { return Ok(()) };
        let is_there = self.compose.meant(&image).is_some();
        if self.building.missing_only && is_there && service.pull_policy.as_deref() != Some("build") {
            self.bases.insert(image, Base::There);
            return Ok(());
        }
        let mut build = build?;
        // Where none runs it, the first may emulate it.
        let native = build.platform.as_deref().and_then(|platform| self.native(platform));
        let Some(builder) = native.or(self.builders.first().copied()) else { return Ok(()) };
        build.no_cache |= self.building.no_cache;
        build.pull |= self.building.pull;
        build.args.extend(self.building.args.clone());
        let unsuited = self.suit(&mut build, builder);
        let after = self.take_bases(draft, &mut build, builder)?;
        for (attribute, why) in ImageBuild::inert(service) {
            draft.note(Note::Inert { service: name.to_string(), attribute, why: why.to_owned() });
        }
        for (attribute, why) in unsuited {
            draft.note(Note::Inert { service: name.to_string(), attribute: format!("build.{attribute}"), why });
        }
        let cause = if is_there { Cause::Requested } else { Cause::Missing };
        let step = draft.step(builder, Subject::Image(image.clone()), Op::Build(Box::new(build)), cause, after);
        self.bases.insert(image, Base::BuiltBy(step));
        Ok(())
    }

    /// Makes the build one that the builder's engine can do. Returns what has no effect there, and why.
    fn suit(&self, build: &mut ImageBuild, builder: &HostName) -> Vec<(&'static str, String)> {
        let mut inert = Vec::new();
        if self.compose.seen(builder).is_some_and(|seen| !seen.engine.speaks(Naming::SINCE)) {
            build.naming = Naming::ByStages;
            let (major, minor) = Naming::SINCE;
            let why = format!("the engine on {builder} is older than API {major}.{minor}; its builds have the engine's own");
            let limits = [("shm_size", build.shm_bytes.is_some()), ("ulimits", !build.ulimits.is_empty())];
            inert.extend(limits.into_iter().filter(|(_, is_set)| *is_set).map(|(attribute, _)| (attribute, why.clone())));
        }
        if build.pull && build.has_own_images() {
            build.pull = false;
            inert.push((
                "pull",
                "among its contexts are images that no registry has, and BuildKit would pull these, too".to_owned(),
            ));
        }
        inert
    }

    /// Sees to it that the builder has the images that are contexts of the build, and names them there. Returns what it waits for.
    fn take_bases(
        &mut self,
        draft: &mut Draft,
        build: &mut ImageBuild,
        builder: &'a HostName,
    ) -> Result<Vec<StepId>, Unbuildable> {
        let mut after = Vec::new();
        for (context, needed) in build.services() {
            let found = self.compose.project.built(&needed);
            let image = found.map(|(name, service)| self.image(name, service)).unwrap_or_default();
            let refused = |why: String, hint: &'static str| Unbuildable {
                attribute: format!("build.additional_contexts.{context}"),
                why,
                hint,
            };
            after.extend(match self.bases.get(&image).copied() {
                Some(Base::BuiltBy(step)) if draft.host_of(step).as_ref() == Some(builder) => Some(step),
                Some(Base::BuiltBy(_)) => {
                    let hint = "give both the same `platform`";
                    return Err(refused(format!("the image of `{needed}` is built for another platform, on another host"), hint));
                }
                Some(Base::There) => self.bring(draft, &image, builder),
                None => {
                    let hint = "see what is said of that service; images cannot be made of each other";
                    return Err(refused(format!("the image of `{needed}` is not built before it"), hint));
                }
            });
            build.contexts.insert(context, ImageBuild::image_context(&image));
        }
        Ok(after)
    }

    /// The step that brings an image to the builder; nothing where it is there.
    fn bring(&mut self, draft: &mut Draft, image: &str, builder: &'a HostName) -> Option<StepId> {
        let seen = self.compose.seen(builder)?;
        if images::is_there(self.compose, seen, image) {
            return None;
        }
        self.shipments.require(self.compose, draft, image, builder)
    }

    fn image(&self, name: &ServiceName, service: &Service) -> String {
        service.image_name(self.compose.project, name.as_str())
    }

    /// Of several platforms, the best one of each host that answers.
    fn natives(&self, platforms: &[String]) -> BTreeSet<String> {
        let seen = self.builders.iter().filter_map(|host| self.compose.seen(host));
        seen.filter_map(|seen| native_of(platforms, &seen.engine)).cloned().collect()
    }

    /// The first builder that runs images of this platform.
    fn native(&self, platform: &str) -> Option<&'a HostName> {
        let runs = |host: &&HostName| self.compose.seen(host).is_some_and(|seen| runs_natively(platform, &seen.engine));
        self.builders.iter().copied().find(runs)
    }
}
