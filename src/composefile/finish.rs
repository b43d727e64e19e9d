//! The phases after the last merge, in their order: the merged document to its final form, and that to a Project.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::PairFiles;
use super::load::LoadOptions;
use super::salvage::salvage;
use super::{Diagnostic, Map, Node, Severity};
use super::{cast, consistency, defaults, environment, normalise, profiles, validate};

/// What the phases need beside the document.
pub(super) struct Request<'a> {
    pub project_name: &'a str,
    /// The project's environment: that of the process over the env files'.
    pub environment: &'a BTreeMap<String, String>,
    pub profiles: &'a BTreeSet<String>,
    /// Services by name; none: all.
    pub selection: &'a [String],
    pub options: LoadOptions,
    /// How many of the faults the document was rid of already.
    pub salvaged: usize,
}

/// A document in its final form.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub document: Node,
    /// Services that are left out, by profile or by selection.
    pub disabled: Map,
    /// Secrets that only images of services that are left out are built with.
    pub base_secrets: Map,
    /// What each service's `label_file` named, by service: merged into `labels`, and part of docker compose's hash.
    pub label_files: Map,
    /// Every profile that a service names, the ones left out among them.
    pub profiles: BTreeSet<String>,
}

/// Runs the options. Returns nothing when an error was found; warnings are added to the faults, too.
pub(super) fn finish(
    mut document: Node,
    request: &Request<'_>,
    files: &mut dyn PairFiles,
    faults: &mut Vec<Diagnostic>,
) -> Option<Finished> {
    let options = request.options;
    defaults::fill(&mut document);
    validate::check(&document, faults);
    // As docker compose has it, what is not filled in is not looked up either.
    let nothing = BTreeMap::new();
    let environment = if options.interpolate { request.environment } else { &nothing };
    normalise::look_up_listed(&mut document, environment);
    if !salvage(&mut document, faults.get(request.salvaged..).unwrap_or_default()) {
        return None;
    }
    if options.normalize {
        normalise::normalise(&mut document, request.project_name, environment);
    }
    if options.normalize || options.interpolate {
        document.set("name", super::Value::Text(request.project_name.to_owned()));
    }
    if !options.interpolate {
        let profiles = profiles::names(&document);
        let (disabled, base_secrets, label_files) = Default::default();
        return Some(Finished { profiles, document, disabled, base_secrets, label_files });
    }
    for section in ["networks", "volumes"] {
        for (_, object) in document.entries_mut(section).filter(|(_, object)| object.is_null()) {
            object.value = super::Value::Map(Map::new());
        }
    }
    let mut document = cast::cast(document, faults);
    document.set_default("services", super::Value::Map(Map::new()));
    let all_profiles = profiles::names(&document);
    let mut disabled = profiles::disable(&mut document, request.profiles);
    if options.consistency {
        consistency::check(&document, &disabled, faults);
    }
    profiles::enable_selected(&mut document, &mut disabled, request.profiles, request.selection);
    if !options.env_resolution {
        environment::keep_env_files(&mut document);
    } else {
        environment::merge_env_files(&mut document, request.environment, files, faults);
    }
    let label_files = environment::label_files(&document);
    environment::merge_label_files(&mut document, request.environment, files, faults);
    profiles::select(&mut document, &mut disabled, request.selection, faults);
    let base_secrets = if options.all_resources { Map::new() } else { profiles::prune(&mut document, &disabled) };
    let finished = Finished { document, disabled, base_secrets, label_files, profiles: all_profiles };
    if has_errors(faults) { None } else { Some(finished) }
}

fn has_errors(faults: &[Diagnostic]) -> bool {
    faults.iter().any(|fault| fault.severity == Severity::Error)
}
