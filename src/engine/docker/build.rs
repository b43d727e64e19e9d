//! A build's request and what the engine tells of it.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use super::escape;
use super::proto::Fields;
use super::streams::Messages;
use crate::project::ImageBuild;

/// Lines of output that go with a failure.
const LINES_KEPT: usize = 10;

/// The parameters of `POST /build` (API 1.41) for BuildKit.
pub(super) fn query(build: &ImageBuild, dockerfile: &str, session: Option<&str>) -> String {
    let mut parameters: Vec<(&str, String)> = vec![("version", "2".to_owned()), ("rm", "1".to_owned())];
    let mut put = |key: &'static str, value: Option<String>| parameters.extend(value.map(|value| (key, value)));
    put("dockerfile", Some(dockerfile.to_owned()).filter(|name| !name.is_empty()));
    put("remote", build.is_remote().then(|| build.context.clone()));
    put("target", build.target.clone());
    put("networkmode", build.network.clone());
    put("platform", build.platform.clone());
    put("shmsize", build.shm_bytes.map(|bytes| bytes.to_string()));
    put("nocache", build.no_cache.then(|| "1".to_owned()));
    put("pull", build.pull.then(|| "1".to_owned()));
    put("session", session.map(str::to_owned));
    let mut args = build.args.clone();
    if build.inline_cache {
        args.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned());
    }
    put("buildargs", (!args.is_empty()).then(|| json!(args).to_string()));
    put("labels", (!build.labels.is_empty()).then(|| json!(build.labels).to_string()));
    put("cachefrom", (!build.cache_from.is_empty()).then(|| json!(build.cache_from).to_string()));
    put("extrahosts", (!build.extra_hosts.is_empty()).then(|| build.extra_hosts.join(",")));
    parameters.extend(build.tags.iter().map(|tag| ("t", tag.clone())));
    let pairs = parameters.into_iter().map(|(key, value)| format!("{key}={}", escape(&value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Reads a build to its end and tells its steps and their output. A failure comes with the last lines of output.
pub(super) async fn follow(mut messages: Messages, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), String> {
    let mut output = Output::new(progress);
    while let Some(message) = messages.next().await? {
        if let Some(error) = message["error"].as_str() {
            return Err(output.with(error));
        }
        output.tell(&told(&message));
    }
    Ok(())
}

/// What a build says, passed on line by line.
pub(super) struct Output<'p> {
    last: VecDeque<String>,
    progress: &'p (dyn Fn(String) + Send + Sync),
}

impl<'p> Output<'p> {
    pub(super) fn new(progress: &'p (dyn Fn(String) + Send + Sync)) -> Self {
        Self { last: VecDeque::new(), progress }
    }

    pub(super) fn tell(&mut self, text: &str) {
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            (self.progress)(line.to_owned());
            self.last.push_back(line.to_owned());
            if self.last.len() > LINES_KEPT {
                self.last.pop_front();
            }
        }
    }

    /// An error with the last lines behind it.
    pub(super) fn with(&self, error: &str) -> String {
        self.last.iter().fold(error.to_owned(), |text, line| text + "\n" + line)
    }
}

/// The text of a message: steps and output of BuildKit's trace, or plain text.
fn told(message: &Value) -> String {
    match (message["id"].as_str(), message["aux"].as_str(), message["stream"].as_str()) {
        (Some("moby.buildkit.trace"), Some(trace), _) => BASE64.decode(trace).map(|trace| trace_text(&trace)).unwrap_or_default(),
        (_, _, Some(text)) => text.to_owned(),
        _ => String::new(),
    }
}

/// Of a `moby.buildkit.v1.StatusResponse`: names of steps that began (vertexes 1: name 3, started 5, completed 6) and output (logs 3:
/// msg 4).
pub(super) fn trace_text(trace: &[u8]) -> String {
    let mut text = String::new();
    for (field, value) in Fields(trace) {
        match field {
            1 => {
                let has = |wanted: u64| Fields(value).any(|(field, _)| field == wanted);
                if let Some((_, name)) = Fields(value).find(|(field, _)| *field == 3).filter(|_| has(5) && !has(6)) {
                    text += &format!("{}\n", String::from_utf8_lossy(name));
                }
            }
            3 => Fields(value).filter(|(field, _)| *field == 4).for_each(|(_, output)| {
                text += &format!("{}\n", String::from_utf8_lossy(output));
            }),
            _ => {}
        }
    }
    text
}
