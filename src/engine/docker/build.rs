//! A build's request and what the engine tells of it.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

use super::escape;
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
    let mut lines: VecDeque<String> = VecDeque::new();
    while let Some(message) = messages.next().await? {
        if let Some(error) = message["error"].as_str() {
            let output = lines.into_iter().map(|line| format!("\n{line}")).collect::<String>();
            return Err(format!("{error}{output}"));
        }
        for line in told(&message) {
            progress(line.clone());
            lines.push_back(line);
            if lines.len() > LINES_KEPT {
                lines.pop_front();
            }
        }
    }
    Ok(())
}

/// The lines of a message: steps and output of BuildKit's trace, or plain text.
fn told(message: &Value) -> Vec<String> {
    let text = match (message["id"].as_str(), message["aux"].as_str(), message["stream"].as_str()) {
        (Some("moby.buildkit.trace"), Some(trace), _) => BASE64.decode(trace).map(|trace| trace_text(&trace)).unwrap_or_default(),
        (_, _, Some(text)) => text.to_owned(),
        _ => String::new(),
    };
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Of a `moby.buildkit.v1.StatusResponse`: names of steps that began (vertexes 1: name 3, started 5, completed 6) and output (logs 3:
/// msg 4).
fn trace_text(trace: &[u8]) -> String {
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

/// The fields of a protobuf message that have a length; others are passed over, and a damaged message ends.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// The key of a field that has a length.
pub(super) fn key_of(field: u8) -> u8 {
    field << 3 | 2
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.0.len())?;
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.varint()?;
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                5 => drop(self.take(4)?),
                2 => {
                    let count = self.varint()?;
                    return Some((key >> 3, self.take(count)?));
                }
                _ => return None,
            }
        }
    }
}
