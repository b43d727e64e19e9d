//! What `config` prints.

pub(super) mod json;
pub(super) mod yaml;

use std::collections::BTreeMap;

use super::{Model, Node, Value, hash};

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

/// The image of every service: its own, else `PROJECT-SERVICE`, or `PROJECT_SERVICE` with `--compatibility`.
pub fn images(model: &Model) -> Vec<String> {
    let project = model.document.text_at("name").unwrap_or_default();
    let separator = if model.compatibility { '_' } else { '-' };
    let built = |name: &str| format!("{project}{separator}{name}");
    let image = |name: &str, service: &Node| service.text_at("image").map_or_else(|| built(name), str::to_owned);
    model.document.entries("services").map(|(name, service)| image(name, service)).collect()
}

impl Model {
    /// The images that services name, as they are written.
    pub fn images_named(&self) -> impl Iterator<Item = &str> {
        self.document.entries("services").filter_map(|(_, service)| service.text_at("image"))
    }

    /// Puts other names in the place of images, by name.
    pub fn rename_images(&mut self, names: &BTreeMap<String, String>) {
        for (_, service) in self.document.entries_mut("services") {
            if let Some(name) = service.text_at("image").and_then(|image| names.get(image)) {
                service.set("image", Value::Text(name.clone()));
            }
        }
    }

    /// Leaves nothing but the services' images; what is printed then is a file to be laid over another.
    pub fn keep_only_images(&mut self) {
        if let Some(map) = self.document.as_map_mut() {
            map.retain(|key, _| key == "services");
        }
        for map in self.document.entries_mut("services").filter_map(|(_, service)| service.as_map_mut()) {
            map.retain(|key, _| key == "image");
        }
    }
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
