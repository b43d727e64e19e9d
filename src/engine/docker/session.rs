//! What somebody who sits at a container asks of the engine: its input and output, its end, its processes, what it uses.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::Method;
use serde_json::{Value, json};

use super::http::Call;
use super::streams::{self, Messages};
use super::{ARCHIVE_MAX, Docker, PULL_MAX, QUICK_MAX, escape, escape_path, exec, get};
use crate::engine::{Attached, Commit, Ending, EngineError, ErrorKind, Processes, Usage};

impl Docker {
    pub(super) async fn attach_to(
        &self,
        container: &str,
        stdin: bool,
        detach_keys: Option<&str>,
    ) -> Result<Attached, EngineError> {
        let what = format!("attach to container `{container}`");
        let tty = self.get::<Value>(&what, &format!("/containers/{}/json", escape(container))).await?["Config"]["Tty"] == true;
        let keys = detach_keys.map(|keys| format!("&detachKeys={}", escape(keys))).unwrap_or_default();
        let input = if stdin { "&stdin=1" } else { "" };
        let path = format!("/containers/{}/attach?stream=1&stdout=1&stderr=1{input}{keys}", escape(container));
        let call = Call { what: what.clone(), method: Method::POST, path, body: None, bound: QUICK_MAX };
        let connection = self.http.hijack(Some(self.version().await?), &call).await?;
        Ok(exec::attached(container.to_owned(), connection, tty, self.http.error(&what, ErrorKind::Unreachable, "")))
    }

    /// The answer's head comes at once, its body when the container has ended.
    pub(super) async fn ending_of(
        &self,
        container: &str,
        when: Ending,
    ) -> Result<BoxFuture<'static, Result<i64, EngineError>>, EngineError> {
        let condition = match when {
            Ending::Stopped => "not-running",
            Ending::Next => "next-exit",
            Ending::Removed => "removed",
        };
        let what = format!("wait for the end of container `{container}`");
        let path = format!("/containers/{}/wait?condition={condition}", escape(container));
        let call = Call { what: what.clone(), method: Method::POST, path, body: None, bound: QUICK_MAX };
        let response = self.http.send(Some(self.version().await?), &call).await?;
        let error = self.http.error(&what, ErrorKind::Unreachable, "the connection ended before the container did");
        let mut messages = Messages::new(response.into_body());
        let ended = async move {
            match messages.next().await {
                Ok(Some(answer)) => match (answer["StatusCode"].as_i64(), answer["Error"]["Message"].as_str()) {
                    (_, Some(message)) if !message.is_empty() => {
                        Err(EngineError { kind: ErrorKind::Failed, message: message.to_owned(), ..error })
                    }
                    (code, _) => Ok(code.unwrap_or(-1)),
                },
                Ok(None) => Err(error),
                Err(message) => Err(EngineError { message, ..error }),
            }
        };
        Ok(ended.boxed())
    }

    pub(super) async fn processes_of(&self, container: &str) -> Result<Processes, EngineError> {
        let what = format!("list the processes of container `{container}`");
        let answer: Value = self.get(&what, &format!("/containers/{}/top", escape(container))).await?;
        let texts = |row: &Value| -> Vec<String> {
            row.as_array().into_iter().flatten().map(|cell| cell.as_str().unwrap_or_default().to_owned()).collect()
        };
        let rows = answer["Processes"].as_array().into_iter().flatten().map(texts).collect();
        Ok(Processes { titles: texts(&answer["Titles"]), rows })
    }

    pub(super) async fn usage_of(
        &self,
        container: &str,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<Usage, EngineError>>, EngineError> {
        let what = format!("ask what container `{container}` uses");
        let path = format!("/containers/{}/stats?stream={}", escape(container), u8::from(follow));
        let response = self.http.send(Some(self.version().await?), &get(&what, &path)).await?;
        let error = self.http.error(&what, ErrorKind::Unreachable, "");
        let state = Some((Messages::new(response.into_body()), error));
        let usages = stream::unfold(state, |state| async move {
            let (mut messages, error) = state?;
            match messages.next().await {
                Ok(Some(sample)) => Some((Ok(usage(&sample)), Some((messages, error)))),
                Ok(None) => None,
                Err(message) => Some((Err(EngineError { message, ..error }), None)),
            }
        });
        Ok(usages.boxed())
    }

    /// What the engine tells of a path; nothing where there is none.
    pub(super) async fn stat(&self, container: &str, path: &str) -> Result<Option<Value>, EngineError> {
        let what = format!("look at `{path}` of container `{container}`");
        let path = format!("/containers/{}/archive?path={}", escape(container), escape(path));
        let call = Call { what: what.clone(), method: Method::HEAD, path, body: None, bound: QUICK_MAX };
        let response = match self.http.send(Some(self.version().await?), &call).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            answer => answer?,
        };
        let stat = response.headers().get("x-docker-container-path-stat").and_then(|stat| BASE64.decode(stat).ok());
        let stat: Option<Value> = stat.and_then(|stat| serde_json::from_slice(&stat).ok());
        let is_readable = |stat: &Value| stat["mode"].is_u64();
        stat.filter(is_readable).map(Some).ok_or_else(|| self.http.error(&what, ErrorKind::Failed, "the answer cannot be read"))
    }

    pub(super) async fn exported(&self, container: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let what = format!("export container `{container}`");
        let path = format!("/containers/{}/export", escape(container));
        let response = self.http.send(Some(self.version().await?), &get(&what, &path)).await?;
        let error = self.http.error(&what, ErrorKind::Unreachable, "");
        Ok(streams::pieces(response.into_body(), error))
    }

    pub(super) async fn committed(&self, container: &str, commit: &Commit) -> Result<String, EngineError> {
        let what = format!("make an image of container `{container}`");
        let (name, tag) = tagged(&commit.image);
        let mut path = format!("/commit?container={}&pause={}", escape(container), u8::from(commit.pause));
        let tag = if name.is_empty() { "" } else { tag };
        let parameters = [("repo", name), ("tag", tag), ("author", &commit.author), ("comment", &commit.message)];
        for (key, value) in parameters.into_iter().filter(|(_, value)| !value.is_empty()) {
            path += &format!("&{key}={}", escape(value));
        }
        for change in &commit.changes {
            path += &format!("&changes={}", escape(change));
        }
        let call = Call { what, method: Method::POST, path, body: None, bound: ARCHIVE_MAX };
        let answer: Value = self.http.json(Some(self.version().await?), &call).await?;
        Ok(answer["Id"].as_str().unwrap_or_default().to_owned())
    }

    pub(super) async fn push_to_registry(
        &self,
        image: &str,
        login: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        let (name, tag) = tagged(image);
        let what = format!("push image `{image}`");
        let path = format!("/images/{}/push?tag={}", escape_path(name), escape(tag));
        let call = Call { what, method: Method::POST, path, body: None, bound: PULL_MAX };
        // Without a login the engine still wants the header, and takes an empty one.
        let anonymous = json!({}).to_string();
        let anonymous = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE, anonymous);
        let response = self.http.send_with_login(Some(self.version().await?), &call, Some(login.unwrap_or(&anonymous))).await?;
        self.to_end(&call, streams::pull(response.into_body(), progress)).await
    }
}

/// The name of an image, and its tag.
pub(super) fn tagged(image: &str) -> (&str, &str) {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        Some((_, tag)) => (&image[..image.len() - tag.len() - 1], tag),
        None => (image, "latest"),
    }
}

/// As docker's client computes it (docker/cli, `container/stats_helpers.go`): CPU time between two samples as a share of one CPU; memory
/// without the page cache that the kernel would give up first.
fn usage(sample: &Value) -> Usage {
    let number = |pointer: &str| sample.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let sum = |rows: Option<&Value>, wanted: &str| -> u64 {
        let rows = rows.and_then(Value::as_array).into_iter().flatten();
        let named = rows.filter(|row| row["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case(wanted)));
        named.filter_map(|row| row["value"].as_u64()).sum()
    };
    let networks = || sample["networks"].as_object().into_iter().flatten().map(|(_, network)| network);
    let since = |now: &str, before: &str| number(now).saturating_sub(number(before)) as f64;
    let used = since("/cpu_stats/cpu_usage/total_usage", "/precpu_stats/cpu_usage/total_usage");
    let passed = since("/cpu_stats/system_cpu_usage", "/precpu_stats/system_cpu_usage");
    let is_first = number("/precpu_stats/system_cpu_usage") == 0;
    let cpus = number("/cpu_stats/online_cpus").max(1) as f64;
    let memory = number("/memory_stats/usage");
    let cache = ["/memory_stats/stats/total_inactive_file", "/memory_stats/stats/inactive_file"].map(number);
    let cache = cache.into_iter().find(|bytes| *bytes > 0 && *bytes < memory).unwrap_or_default();
    let blocks = sample.pointer("/blkio_stats/io_service_bytes_recursive");
    Usage {
        cpu_percent: if is_first || passed <= 0.0 { 0.0 } else { used / passed * cpus * 100.0 },
        memory_bytes: memory - cache,
        memory_limit_bytes: number("/memory_stats/limit"),
        received_bytes: networks().filter_map(|network| network["rx_bytes"].as_u64()).sum(),
        sent_bytes: networks().filter_map(|network| network["tx_bytes"].as_u64()).sum(),
        read_bytes: sum(blocks, "read"),
        written_bytes: sum(blocks, "write"),
        processes: number("/pids_stats/current"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_cpu_is_that_of_the_time_between_two_samples() {
        let mut sample = json!({
            "precpu_stats": { "cpu_usage": { "total_usage": 100 }, "system_cpu_usage": 1000 },
            "cpu_stats": { "cpu_usage": { "total_usage": 150 }, "system_cpu_usage": 1200, "online_cpus": 2 },
            "memory_stats": { "usage": 900, "limit": 2000, "stats": { "inactive_file": 300 } },
            "networks": { "eth0": { "rx_bytes": 1, "tx_bytes": 2 }, "eth1": { "rx_bytes": 10, "tx_bytes": 20 } },
            "blkio_stats": { "io_service_bytes_recursive": [{ "op": "Read", "value": 5 }, { "op": "write", "value": 6 }] },
            "pids_stats": { "current": 4 },
        });
        let expect = Usage {
            cpu_percent: 50.0,
            memory_bytes: 600,
            memory_limit_bytes: 2000,
            received_bytes: 11,
            sent_bytes: 22,
            read_bytes: 5,
            written_bytes: 6,
            processes: 4,
        };
        assert_eq!(usage(&sample), expect);
        sample["precpu_stats"] = Value::Null;
        assert_eq!(usage(&sample).cpu_percent, 0.0, "one sample tells of no time");
    }
}
