//! How an image is built, read from a service's `build`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Service;

/// One image to be built (`POST /build`, API 1.41).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageBuild {
    /// The image's name first, then `build.tags`.
    pub tags: Vec<String>,
    /// A folder of this machine, or a URL that the engine fetches.
    pub context: String,
    /// Within the context, or the path of a file elsewhere on this machine.
    pub dockerfile: String,
    /// The Dockerfile itself, in its place.
    pub dockerfile_inline: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    pub cache_from: Vec<String>,
    pub network: Option<String>,
    /// `HOST:IP`
    pub extra_hosts: Vec<String>,
    pub shm_bytes: Option<i64>,
    pub platform: Option<String>,
    pub no_cache: bool,
    /// Base images are pulled though they are there.
    pub pull: bool,
    /// The image tells of its layers, so that it can be a `cache_from`.
    pub inline_cache: bool,
    /// What the Dockerfile calls a secret, and its name below the project's `secrets`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// What the Dockerfile calls an SSH agent, and the path of its socket; nothing: the agent of who builds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, Option<String>>,
}

/// What of a `build` cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbuildable {
    /// `build.ssh` and the like.
    pub attribute: String,
    pub why: &'static str,
    pub hint: &'static str,
}

/// Attributes of `build` that need a client beside the engine for the whole time of the build.
pub const NEEDS_A_CLIENT: &[&str] = &["additional_contexts", "entitlements", "provenance", "sbom"];

/// Attributes of `build` that an engine's build has no parameter for.
pub const NOT_BUILT_WITH: &[&str] = &["isolation", "no_cache_filter", "privileged", "ulimits"];
/// Why they are inert.
pub const ENGINE_IS_NOT_TOLD: &str = "the engine's build is not told of it";

/// Attributes of a secret of a build, which BuildKit does not ask for.
pub const SECRET_OWNER: &[&str] = &["uid", "gid", "mode"];
/// Why they are inert.
pub const BUILDKIT_OWNS: &str = "BuildKit gives it to root with mode 0400";

impl ImageBuild {
    /// What of a service's `build` has no effect: the attribute, such as `build.ulimits`, and why.
    pub fn inert(service: &Service) -> Vec<(String, &'static str)> {
        let Some(build) = &service.build else { return Vec::new() };
        let is_set = |key: &&&str| build.document.get(**key).is_some_and(|value| !is_empty(value));
        let attributes = NOT_BUILT_WITH.iter().filter(is_set).map(|key| (format!("build.{key}"), ENGINE_IS_NOT_TOLD));
        let secrets = build.document.get("secrets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has = |key: &&&str| secrets.iter().any(|secret| secret.get(**key).is_some());
        let owners = SECRET_OWNER.iter().filter(has).map(|key| (format!("build.secrets[].{key}"), BUILDKIT_OWNS));
        attributes.chain(owners).collect()
    }

    /// The build of a service's image; nothing for a service without `build`.
    pub fn of(service: &Service, image: &str) -> Option<Result<Self, Unbuildable>> {
        let document = &service.build.as_ref()?.document;
        let is_set = |key: &&str| document.get(*key).is_some_and(|value| !is_empty(value));
        if let Some(key) = NEEDS_A_CLIENT.iter().copied().find(|key| is_set(key)) {
            let why = "it needs docker's own client during the build";
            let hint = "build it with `docker buildx build` and bring it to the hosts with `mcompose image ship`";
            return Some(Err(Unbuildable { attribute: format!("build.{key}"), why, hint }));
        }
        let cache_to = strings(document.get("cache_to"));
        if cache_to.iter().any(|entry| entry.trim() != "type=inline") {
            let (why, hint) = ("an engine keeps what it built in the image or not at all", "use `type=inline`");
            return Some(Err(Unbuildable { attribute: "build.cache_to".to_owned(), why, hint }));
        }
        let cache_from: Option<Vec<String>> = strings(document.get("cache_from")).iter().map(|entry| cached(entry)).collect();
        let Some(cache_from) = cache_from else {
            let (why, hint) = ("an engine takes layers out of images only", "name an image, or `type=registry,ref=IMAGE`");
            return Some(Err(Unbuildable { attribute: "build.cache_from".to_owned(), why, hint }));
        };
        let platforms = strings(document.get("platforms"));
        if platforms.len() > 1 {
            let (why, hint) = ("an engine builds for one platform", "name one, or build with `docker buildx build` and push it");
            return Some(Err(Unbuildable { attribute: "build.platforms".to_owned(), why, hint }));
        }
        let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
        let flag = |key: &str| document.get(key).and_then(Value::as_bool).unwrap_or_default();
        let tags = std::iter::once(image.to_owned()).chain(strings(document.get("tags"))).collect();
        let shm_size = document.get("shm_size");
        Some(Ok(Self {
            tags,
            context: text("context").unwrap_or_else(|| ".".to_owned()),
            dockerfile: text("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned()),
            dockerfile_inline: text("dockerfile_inline"),
            args: map(document.get("args")),
            labels: map(document.get("labels")),
            target: text("target").filter(|target| !target.is_empty()),
            cache_from,
            network: text("network"),
            extra_hosts: strings(document.get("extra_hosts")).into_iter().map(|entry| entry.replacen('=', ":", 1)).collect(),
            shm_bytes: shm_size.and_then(|size| size.as_i64().or_else(|| size.as_str()?.parse().ok())),
            platform: platforms.into_iter().next().or_else(|| service.platform.clone()),
            no_cache: flag("no_cache"),
            pull: flag("pull"),
            inline_cache: !cache_to.is_empty(),
            secrets: secrets(document.get("secrets")),
            agents: agents(document.get("ssh")),
        }))
    }

    /// Whether the engine fetches the context itself.
    pub fn is_remote(&self) -> bool {
        let prefixes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
        prefixes.iter().any(|prefix| self.context.starts_with(prefix))
    }
}

/// The image of a `cache_from`; nothing where it is none.
fn cached(entry: &str) -> Option<String> {
    if !entry.contains('=') {
        return Some(entry.to_owned());
    }
    let mut parts = entry.split(',').map(str::trim);
    let is_registry = parts.clone().any(|part| part == "type=registry");
    parts.find_map(|part| part.strip_prefix("ref=")).filter(|_| is_registry).map(str::to_owned)
}

/// `NAME`, or `source` with the `target` that the Dockerfile calls it.
fn secrets(value: Option<&Value>) -> BTreeMap<String, String> {
    let entry = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let source = entry.as_str().map(str::to_owned).or_else(|| text("source"))?;
        Some((text("target").unwrap_or_else(|| source.clone()), source))
    };
    value.and_then(Value::as_array).into_iter().flatten().filter_map(entry).collect()
}

/// `ID` or `ID=PATH`, or the same as a mapping.
fn agents(value: Option<&Value>) -> BTreeMap<String, Option<String>> {
    let named = |text: &str| match text.split_once('=') {
        Some((id, path)) => (id.to_owned(), Some(path.to_owned()).filter(|path| !path.is_empty())),
        None => (text.to_owned(), None),
    };
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(named).collect(),
        Some(Value::Object(map)) => {
            let path = |value: &Value| value.as_str().filter(|path| !path.is_empty()).map(str::to_owned);
            map.iter().map(|(id, value)| (id.clone(), path(value))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty() || text == "false",
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
}

/// A mapping; keys without a value are left out, as the engine has no environment to take them from.
fn map(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    entries.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
}
