//! What `config` prints.

pub(super) mod json;
pub(super) mod yaml;

use super::{Model, Node, hash};

/// As `config --format json` of docker compose prints it, without a newline at the end.
pub fn to_json(model: &Model) -> String {
    if model.is_final { json::document(&model.document) } else { json::raw(&model.document) }
}

/// As YAML, which loads back to the same model.
pub fn to_yaml(model: &Model) -> String {
    yaml::document(&model.document, model.is_final)
}

/// Names of the entries of a top-level element, such as `services`.
pub fn names(model: &Model, section: &str) -> Vec<String> {
    model.document.entries(section).map(|(name, _)| name.to_owned()).collect()
}

/// The image of every service: its own, else `PROJECT-SERVICE`.
pub fn images(model: &Model) -> Vec<String> {
    let project = model.document.text_at("name").unwrap_or_default();
    let image = |name: &str, service: &Node| service.text_at("image").map_or_else(|| format!("{project}-{name}"), str::to_owned);
    model.document.entries("services").map(|(name, service)| image(name, service)).collect()
}

/// What each model runs.
pub fn models(model: &Model) -> Vec<String> {
    model.document.entries("models").filter_map(|(_, node)| node.text_at("model")).map(str::to_owned).collect()
}

/// Services with their `config-hash`, in order of name.
pub fn hashes(model: &Model) -> Vec<(String, String)> {
    let hash = |(name, service): (&str, &Node)| (name.to_owned(), hash::of_service(service));
    model.document.entries("services").map(hash).collect()
}
