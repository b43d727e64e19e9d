//! A build through BuildKit's own API, which an engine passes on (`POST /grpc`): for what `POST /build` has no parameter for.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use tokio::time::timeout;

use super::build::{Output, trace_text};
use super::grpc::Channel;
use super::http::Call;
use super::lend::random_id;
use super::proto::{Fields, Message, bytes_of};
use super::session::tagged;
use super::{ARCHIVE_MAX, Docker, QUICK_MAX};
use crate::engine::{EngineError, Lent};
use crate::project::ImageBuild;

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const STATUS: &str = "/moby.buildkit.v1.Control/Status";
const WORKERS: &str = "/moby.buildkit.v1.Control/ListWorkers";

/// The Dockerfile is read by what BuildKit has built in.
const FRONTEND: &str = "dockerfile.v0";
/// The image goes to the engine's own store.
const EXPORTER: &str = "moby";
/// How long the last output may come behind a build's end.
const OUTPUT_ENDS_MAX: Duration = Duration::from_secs(3);

/// What docker's client writes in the place of an address of the engine's host.
const HOST_GATEWAY: &str = "host-gateway";
/// Under which label BuildKit tells that address.
const GATEWAY_LABEL: &[u8] = b"org.mobyproject.buildkit.worker.moby.host-gateway-ip";

impl Docker {
    /// The build is cancelled when this is dropped.
    pub(super) async fn solve(
        &self,
        what: &str,
        build: &ImageBuild,
        dockerfile: &str,
        lent: &Lent,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        let session = self.lend(lent).await?;
        let call = Call { what: what.to_owned(), method: Method::POST, path: "/grpc".to_owned(), body: None, bound: QUICK_MAX };
        let connection = self.http.hijack_as(Some(self.version().await?), &call, "h2c", &[]).await?;
        let channel = Channel::over(connection).await.map_err(|error| self.http.unreachable(what, &error))?;
        let solved = async {
            let gateway = gateway(&channel, build).await?;
            let reference = random_id();
            let request = Solve { build, dockerfile, gateway: &gateway, session: &session.id, reference: &reference }.encoded();
            carry_out(&channel, &request, &reference, Output::new(progress)).await
        };
        let call = Call { bound: ARCHIVE_MAX, ..call };
        self.to_end(&call, solved).await
    }
}

/// Waits for the build's end and tells what it says meanwhile.
async fn carry_out(channel: &Channel, request: &[u8], reference: &str, mut output: Output<'_>) -> Result<(), String> {
    let solved = async {
        let mut replies = channel.call(SOLVE, request).await?;
        while replies.next().await?.is_some() {}
        Ok::<_, String>(())
    };
    let told = async {
        let mut replies = channel.call(STATUS, &Message::default().text(1, reference).0).await?;
        while let Some(status) = replies.next().await? {
            output.tell(&trace_text(&status));
        }
        Ok::<_, String>(())
    };
    // Whether the output ends well is of no interest, as long as the build does.
    let outcome = {
        tokio::pin!(solved, told);
        tokio::select! {
            outcome = &mut solved => {
                let _ = timeout(OUTPUT_ENDS_MAX, &mut told).await;
                outcome
            }
            _ = &mut told => solved.await,
        }
    };
    outcome.map_err(|error| output.with(&error))
}

/// The address that `host-gateway` stands for; empty where nothing asks for it.
async fn gateway(channel: &Channel, build: &ImageBuild) -> Result<String, String> {
    if !build.extra_hosts.iter().any(|entry| entry.ends_with(HOST_GATEWAY)) {
        return Ok(String::new());
    }
    let mut replies = channel.call(WORKERS, &[]).await?;
    let workers = replies.next().await?.unwrap_or_default();
    let labels =
        Fields(&workers).filter(|(field, _)| *field == 1).flat_map(|(_, worker)| Fields(worker).filter(|(field, _)| *field == 2));
    let mut addresses =
        labels.filter(|(_, label)| bytes_of(label, 1) == Some(GATEWAY_LABEL)).filter_map(|(_, label)| bytes_of(label, 2));
    let address = addresses.next().map(|address| String::from_utf8_lossy(address).into_owned());
    address.ok_or_else(|| format!("the engine does not tell the address that `{HOST_GATEWAY}` of `build.extra_hosts` stands for"))
}

/// `moby.buildkit.v1.SolveRequest`
struct Solve<'a> {
    build: &'a ImageBuild,
    dockerfile: &'a str,
    gateway: &'a str,
    session: &'a str,
    reference: &'a str,
}

impl Solve<'_> {
    fn encoded(&self) -> Vec<u8> {
        let build = self.build;
        let tags: Vec<String> = build.tags.iter().map(|tag| tagged(tag)).map(|(name, tag)| format!("{name}:{tag}")).collect();
        let names = BTreeMap::from([("name".to_owned(), tags.join(","))]);
        let message = Message::default().text(1, self.reference).text(3, EXPORTER).map(4, &names);
        let mut message = message.text(5, self.session).text(6, FRONTEND).map(7, &self.attributes());
        if build.inline_cache {
            message = message.bytes(8, &Message::default().bytes(4, &Message::default().text(1, "inline").0).0);
        }
        let host = (build.network.as_deref() == Some("host")).then_some("network.host");
        let entitlements = build.entitlements.iter().map(String::as_str).chain(host);
        entitlements.fold(message, |message, entitlement| message.text(9, entitlement)).0
    }

    /// What the reader of Dockerfiles is told, in the words of docker's buildx.
    fn attributes(&self) -> BTreeMap<String, String> {
        let build = self.build;
        let mut attributes = BTreeMap::new();
        let mut put = |key: &str, value: Option<String>| {
            attributes.extend(value.map(|value| (key.to_owned(), value)));
        };
        let list = |list: &[String]| Some(list.join(",")).filter(|text| !text.is_empty());
        put("filename", Some(self.dockerfile.to_owned()).filter(|name| !name.is_empty()));
        put("context", build.is_remote().then(|| build.context.clone()));
        put("dockerfilekey", build.dockerfile_inline.as_ref().map(|_| "dockerfile".to_owned()));
        put("target", build.target.clone());
        put("platform", build.platform.clone());
        put("force-network-mode", build.network.clone().filter(|mode| mode != "default"));
        put("shm-size", build.shm_bytes.map(|bytes| bytes.to_string()));
        put("ulimit", list(&build.ulimits));
        put("image-resolve-mode", Some(if build.pull { "pull" } else { "local" }.to_owned()));
        put("no-cache", if build.no_cache { Some(String::new()) } else { list(&build.no_cache_filter) });
        put("cache-from", list(&build.cache_from));
        let hosts: Vec<String> = build.extra_hosts.iter().map(|entry| self.extra_host(entry)).collect();
        put("add-hosts", list(&hosts));
        if build.inline_cache {
            put("build-arg:BUILDKIT_INLINE_CACHE", Some("1".to_owned()));
        }
        if !build.contexts.is_empty() {
            put("frontend.caps", Some("moby.buildkit.frontend.contexts+forward".to_owned()));
        }
        for (name, context) in &build.contexts {
            let local = ImageBuild::local_name(name);
            put(
                &format!("context:{name}"),
                Some(if ImageBuild::is_folder(context) { format!("local:{local}") } else { context.clone() }),
            );
        }
        for (prefix, pairs) in [("build-arg:", &build.args), ("label:", &build.labels)] {
            pairs.iter().for_each(|(key, value)| put(&format!("{prefix}{key}"), Some(value.clone())));
        }
        attributes
    }

    /// `HOST=IP` of `HOST:IP`
    fn extra_host(&self, entry: &str) -> String {
        let (host, address) = entry.split_once(':').unwrap_or((entry, ""));
        let address = if address == HOST_GATEWAY { self.gateway } else { address };
        format!("{host}={}", address.trim_start_matches('[').trim_end_matches(']'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(build: &ImageBuild) -> BTreeMap<String, String> {
        Solve { build, dockerfile: "Dockerfile", gateway: "172.17.0.1", session: "s", reference: "r" }.attributes()
    }

    #[track_caller]
    fn check(build: ImageBuild, expected: &[(&str, &str)]) {
        let found = attributes(&build);
        let found: Vec<(&str, &str)> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let usual = [("filename", "Dockerfile"), ("image-resolve-mode", "local")];
        let mut expected: Vec<(&str, &str)> = expected.iter().copied().chain(usual).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_build_is_told_in_the_words_of_buildx() {
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let contexts = pairs(&[("more", "/srv/more"), ("base", "docker-image://busybox:1"), ("context", "/srv/other")]);
        check(
            ImageBuild { contexts, ..ImageBuild::default() },
            &[
                ("context:base", "docker-image://busybox:1"),
                ("context:context", "local:_context"),
                ("context:more", "local:more"),
                ("frontend.caps", "moby.buildkit.frontend.contexts+forward"),
            ],
        );
        check(
            ImageBuild {
                ulimits: texts(&["nofile=1:2", "nproc=3:3"]),
                no_cache_filter: texts(&["one", "two"]),
                extra_hosts: texts(&["one:10.0.0.1", "six:[fd00::1]", "here:host-gateway"]),
                args: pairs(&[("A", "1")]),
                labels: pairs(&[("l", "")]),
                network: Some("none".to_owned()),
                ..ImageBuild::default()
            },
            &[
                ("add-hosts", "one=10.0.0.1,six=fd00::1,here=172.17.0.1"),
                ("build-arg:A", "1"),
                ("force-network-mode", "none"),
                ("label:l", ""),
                ("no-cache", "one,two"),
                ("ulimit", "nofile=1:2,nproc=3:3"),
            ],
        );
    }

    #[test]
    fn no_cache_at_all_is_more_than_none_of_a_stage() {
        let build = ImageBuild { no_cache: true, no_cache_filter: texts(&["one"]), ..ImageBuild::default() };
        check(build, &[("no-cache", "")]);
    }

    #[test]
    fn a_request_names_the_image_and_what_it_may() {
        let build = ImageBuild {
            tags: texts(&["a", "b.example:5000/c:2"]),
            entitlements: texts(&["security.insecure"]),
            network: Some("host".to_owned()),
            inline_cache: true,
            ..ImageBuild::default()
        };
        let request = Solve { build: &build, dockerfile: "", gateway: "", session: "s", reference: "r" }.encoded();
        let text = |field| bytes_of(&request, field).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
        assert_eq!(
            (text(1), text(3), text(5), text(6)),
            ("r".to_owned(), "moby".to_owned(), "s".to_owned(), FRONTEND.to_owned())
        );
        let name = bytes_of(&request, 4).and_then(|entry| bytes_of(entry, 2)).unwrap_or_default();
        assert_eq!(name, b"a:latest,b.example:5000/c:2");
        let may: Vec<&[u8]> = Fields(&request).filter(|(field, _)| *field == 9).map(|(_, value)| value).collect();
        assert_eq!(may, [b"security.insecure".as_slice(), b"network.host"]);
        let kind = bytes_of(&request, 8).and_then(|cache| bytes_of(cache, 4)).and_then(|entry| bytes_of(entry, 1));
        assert_eq!(kind, Some(b"inline".as_slice()));
    }
}
