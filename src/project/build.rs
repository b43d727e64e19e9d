//! How an image is built, read from a service's `build`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Service;

/// One image to be built (`POST /build`, API 1.41, or BuildKit's `Solve`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageBuild {
    /// The image's name first, then `build.tags`.
    pub tags: Vec<String>,
    /// A folder of this machine, or a URL that the engine fetches.
    pub context: String,
    /// Within the context, or the path of a file elsewhere on this machine; of an inline one, the file in whose place it is, if any.
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
    /// `NAME=SOFT:HARD`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<String>,
    pub shm_bytes: Option<i64>,
    pub platform: Option<String>,
    pub no_cache: bool,
    /// Stages that are built anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_cache_filter: Vec<String>,
    /// Base images are pulled though they are there.
    pub pull: bool,
    /// The image tells of its layers, so that it can be a `cache_from`.
    pub inline_cache: bool,
    /// What the build may do that an engine does not allow without being asked, such as `security.insecure`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<String>,
    /// Further contexts by their names in the Dockerfile: a folder of this machine, a URL, `docker-image://IMAGE`, or `service:NAME` for the
    /// image that is built for another service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Naming::is_usual")]
    pub naming: Naming,
    /// What the Dockerfile calls a secret, and its name below the project's `secrets`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// What the Dockerfile calls an SSH agent, and the path of its socket; nothing: the agent of who builds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, Option<String>>,
}

/// How a Dockerfile comes to know further contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Naming {
    #[default]
    ByBuildKit,
    /// As stages, since the engine's BuildKit knows no names of contexts.
    ByStages,
}

impl Naming {
    /// The first API version of engines whose BuildKit knows names of contexts, and limits of a build (Docker 23).
    pub const SINCE: (u32, u32) = (1, 42);

    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

const DOCKER_IMAGE: &str = "docker-image://";
const OF_SERVICE: &str = "service:";

/// Chooses among the platforms of a build.
pub type Natives<'n> = dyn Fn(&[String]) -> BTreeSet<String> + 'n;

/// What of a `build` cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbuildable {
    /// `build.ssh` and the like.
    pub attribute: String,
    pub why: String,
    pub hint: &'static str,
}

/// Attributes of `build` whose result an engine's own store of images has no place for.
pub const NOT_KEPT: &[&str] = &["provenance", "sbom"];
/// Why they are refused.
pub const NO_ATTESTATIONS: &str = "an engine's own store of images keeps no attestations";

/// Attributes of `build` that are for Windows containers.
pub const FOR_WINDOWS: &[&str] = &["isolation"];
/// Why they are inert.
pub const LINUX_HAS_NONE: &str = "it is for Windows containers";

/// Attributes of a secret of a build, which BuildKit does not ask for.
pub const SECRET_OWNER: &[&str] = &["uid", "gid", "mode"];
/// Why they are inert.
pub const BUILDKIT_OWNS: &str = "BuildKit gives it to root with mode 0400";

impl ImageBuild {
    /// What of a service's `build` has no effect: the attribute, such as `build.ulimits`, and why.
    pub fn inert(service: &Service) -> Vec<(String, &'static str)> {
        let Some(build) = &service.build else { return Vec::new() };
        let is_set = |key: &&&str| build.document.get(**key).is_some_and(|value| !is_empty(value));
        let attributes = FOR_WINDOWS.iter().filter(is_set).map(|key| (format!("build.{key}"), LINUX_HAS_NONE));
        let secrets = build.document.get("secrets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has = |key: &&&str| secrets.iter().any(|secret| secret.get(**key).is_some());
        let owners = SECRET_OWNER.iter().filter(has).map(|key| (format!("build.secrets[].{key}"), BUILDKIT_OWNS));
        attributes.chain(owners).collect()
    }

    /// What the image of a service's build is called.
    pub fn tags_of(service: &Service, image: &str) -> Vec<String> {
        let tags = service.build.as_ref().map(|build| strings(build.document.get("tags"))).unwrap_or_default();
        std::iter::once(image.to_owned()).chain(tags).collect()
    }

    /// The services whose images are contexts of a service's build.
    pub fn bases(service: &Service) -> BTreeSet<&str> {
        let contexts = service.build.as_ref().and_then(|build| build.document.get("additional_contexts")?.as_object());
        let contexts = contexts.into_iter().flatten().map(|(_, context)| context);
        contexts.filter_map(|context| context.as_str()?.strip_prefix(OF_SERVICE)).collect()
    }

    /// The build of a service's image; nothing for a service without `build`. `natives`: those of several platforms that hosts have.
    pub fn of(service: &Service, image: &str, natives: &Natives<'_>) -> Option<Result<Self, Unbuildable>> {
        let document = &service.build.as_ref()?.document;
        let is_set = |key: &&str| document.get(*key).is_some_and(|value| !is_empty(value));
        if let Some(key) = NOT_KEPT.iter().copied().find(|key| is_set(key)) {
            let hint = "leave it out, or build with `docker buildx build --push` by a builder of another driver";
            return Some(Err(Unbuildable { attribute: format!("build.{key}"), why: NO_ATTESTATIONS.to_owned(), hint }));
        }
        let contexts = map(document.get("additional_contexts"));
        if contexts.values().any(|context| context.starts_with("oci-layout://")) {
            let why = "a folder with an image's layout is not sent to a host";
            let hint = "load the image into an engine, and name it with `docker-image://`";
            return Some(Err(Unbuildable { attribute: "build.additional_contexts".to_owned(), why: why.to_owned(), hint }));
        }
        let cache_to = strings(document.get("cache_to"));
        if cache_to.iter().any(|entry| entry.trim() != "type=inline") {
            let (why, hint) = ("an engine keeps what it built in the image or not at all", "use `type=inline`");
            return Some(Err(Unbuildable { attribute: "build.cache_to".to_owned(), why: why.to_owned(), hint }));
        }
        let cache_from: Option<Vec<String>> = strings(document.get("cache_from")).iter().map(|entry| cached(entry)).collect();
        let Some(cache_from) = cache_from else {
            let (why, hint) = ("an engine takes layers out of images only", "name an image, or `type=registry,ref=IMAGE`");
            return Some(Err(Unbuildable { attribute: "build.cache_from".to_owned(), why: why.to_owned(), hint }));
        };
        let platform = match platform(service, &strings(document.get("platforms")), natives) {
            Ok(platform) => platform,
            Err(unbuildable) => return Some(Err(unbuildable)),
        };
        let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
        let flag = |key: &str| document.get(key).and_then(Value::as_bool).unwrap_or_default();
        // Insecure steps are all that `privileged` allows, as with docker compose.
        let insecure = flag("privileged").then(|| "security.insecure".to_owned());
        let entitlements: BTreeSet<String> = strings(document.get("entitlements")).into_iter().chain(insecure).collect();
        let dockerfile = text("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned());
        let dockerfile_inline = text("dockerfile_inline");
        let shm_size = document.get("shm_size");
        Some(Ok(Self {
            tags: Self::tags_of(service, image),
            context: text("context").unwrap_or_else(|| ".".to_owned()),
            dockerfile: if dockerfile_inline.is_some() { String::new() } else { dockerfile },
            dockerfile_inline,
            args: map(document.get("args")),
            labels: map(document.get("labels")),
            target: text("target").filter(|target| !target.is_empty()),
            cache_from,
            network: text("network"),
            extra_hosts: strings(document.get("extra_hosts")).into_iter().map(|entry| entry.replacen('=', ":", 1)).collect(),
            ulimits: ulimits(document.get("ulimits")),
            shm_bytes: shm_size.and_then(|size| size.as_i64().or_else(|| size.as_str()?.parse().ok())),
            platform,
            no_cache: flag("no_cache"),
            no_cache_filter: strings(document.get("no_cache_filter")),
            pull: flag("pull"),
            inline_cache: !cache_to.is_empty(),
            entitlements: entitlements.into_iter().collect(),
            contexts,
            naming: Naming::default(),
            secrets: secrets(document.get("secrets")),
            agents: agents(document.get("ssh")),
        }))
    }

    /// Whether the engine fetches the context itself.
    pub fn is_remote(&self) -> bool {
        is_url(&self.context)
    }

    /// Whether one of `contexts` is a folder of this machine.
    pub fn is_folder(context: &str) -> bool {
        !is_url(context) && !context.starts_with(DOCKER_IMAGE) && !context.starts_with(OF_SERVICE)
    }

    /// What BuildKit calls the folder of one of `contexts`: its name, unless the build itself has a folder of that name.
    pub fn local_name(context_name: &str) -> String {
        let is_taken = matches!(context_name, "context" | "dockerfile");
        if is_taken { format!("_{context_name}") } else { context_name.to_owned() }
    }

    /// Contexts that are images of services: what the Dockerfile calls one, and the service.
    pub fn services(&self) -> Vec<(String, String)> {
        let service = |context: &String| context.strip_prefix(OF_SERVICE).map(str::to_owned);
        self.contexts.iter().filter_map(|(name, context)| Some((name.clone(), service(context)?))).collect()
    }

    /// Whether some of its contexts are images that this project makes.
    pub fn has_own_images(&self) -> bool {
        let is_made = |context: &String| match self.naming {
            Naming::ByBuildKit => context.starts_with(OF_SERVICE),
            Naming::ByStages => !context.starts_with(DOCKER_IMAGE),
        };
        self.contexts.values().any(is_made)
    }

    /// The image that a context is.
    pub fn image_of(context: &str) -> Option<&str> {
        context.strip_prefix(DOCKER_IMAGE)
    }

    /// An image as a context.
    pub fn image_context(image: &str) -> String {
        format!("{DOCKER_IMAGE}{image}")
    }

    /// Whether it asks for what an engine's `POST /build` has no parameter for, and BuildKit's own API has.
    pub fn asks_buildkit(&self) -> bool {
        let lists = [&self.ulimits, &self.no_cache_filter, &self.entitlements];
        // The engine would take the Dockerfile that it fetches.
        let has_own_dockerfile = self.is_remote() && self.dockerfile_inline.is_some();
        let names_contexts = !self.contexts.is_empty() && self.naming == Naming::ByBuildKit;
        has_own_dockerfile || names_contexts || lists.iter().any(|list| !list.is_empty())
    }
}

fn is_url(context: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@", "github.com/"].iter().any(|prefix| context.starts_with(prefix))
}

/// `NAME: 5`, or with `soft` and `hard`.
fn ulimits(value: Option<&Value>) -> Vec<String> {
    let entry = |(name, limit): (&String, &Value)| {
        let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let (soft, hard) = match number(limit) {
            Some(both) => (both, both),
            None => (number(&limit["soft"])?, number(&limit["hard"])?),
        };
        Some(format!("{name}={soft}:{hard}"))
    };
    value.and_then(Value::as_object).into_iter().flatten().filter_map(entry).collect()
}

/// The one platform to build for: the service's own, or that of several which the hosts have.
fn platform(service: &Service, platforms: &[String], natives: &Natives<'_>) -> Result<Option<String>, Unbuildable> {
    let own = service.platform.clone().filter(|platform| !platform.is_empty());
    let (why, hint) = match platforms {
        [] => return Ok(own),
        [one] => return Ok(Some(one.clone())),
        _ if own.is_some() => return Ok(own),
        _ => match natives(platforms).into_iter().collect::<Vec<_>>().as_slice() {
            [one] => return Ok(Some(one.clone())),
            [] => {
                ("no host that answers runs any of them".to_owned(), "name one of them alone, which the builder then may emulate")
            }
            several => {
                let hint = "say with `platform:` which one the service is for, or push an image that was built with `docker buildx build`";
                (format!("an image is built for one platform, and hosts run {}", several.join(" and ")), hint)
            }
        },
    };
    Err(Unbuildable { attribute: "build.platforms".to_owned(), why, hint })
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
