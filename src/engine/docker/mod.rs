//! The real engine: Docker's API, 1.41 to 1.51, over the host's link.

mod build;
mod exec;
mod file_sync;
mod grpc;
mod http;
mod images;
mod lend;
mod look;
mod proto;
mod pulse;
mod session;
mod solve;
mod streams;
mod swarm;
mod waits;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::VolumeCreateRequest;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use self::http::{Call, Http};
use self::pulse::Pulse;
use self::streams::{Frames, Lines, Messages};
use self::wire::VersionAnswer;
use super::{
    Attached, Commit, ConfigObject, ContainerEvent, Ending, Engine, EngineError, ErrorKind, ExecCommand, ExecOutcome, ImageParts,
    Inspected, Lent, LogLine, LogQuery, Node, Pieces, Processes, Usage, df_command, free_of_df,
};
use crate::project::{ContainerSpec, Endpoint, Hook, Host, HostName, ImageBuild, NetworkSpec, Role, Until, VolumeSpec};
use crate::transport::{Connector, LinkOptions};
use crate::world::{Container, Pace, Question, SeenHost, Swarm};

/// Calls that only read, or only write something down.
const QUICK_MAX: Duration = Duration::from_secs(20);
const STORAGE_MAX: Duration = Duration::from_secs(5);
/// Who answers at all answers this at once.
const PING_MAX: Duration = Duration::from_secs(2);
/// Starts wait for networks: an overlay without a manager takes 20 s to say so.
const START_MAX: Duration = Duration::from_secs(60);
/// What a stop may take beyond its own timeout.
const STOP_SLACK: Duration = Duration::from_secs(20);
/// A stop without a timeout of its own leaves it to the container's, which is not known here.
const STOP_UNKNOWN_MAX: Duration = Duration::from_secs(3600);
const PULL_MAX: Duration = Duration::from_secs(3600);
const SWARM_MAX: Duration = Duration::from_secs(60);
/// An archive goes over the slowest of links.
const ARCHIVE_MAX: Duration = Duration::from_secs(3600);
const EXEC_MAX: Duration = Duration::from_secs(600);
const EXEC_OUTPUT_BYTES_MAX: usize = 64 * 1024;
const POLL: Duration = Duration::from_millis(150);
const API_MIN: (u32, u32) = (1, 41);
const API_MAX: (u32, u32) = (1, 51);

/// The engine of a host. Nothing is connected before the first call.
pub fn open(host: &Host, options: &LinkOptions) -> Arc<dyn Engine> {
    let connector = Connector::new(host, options);
    let pulse = Pulse::new(connector.clone());
    Arc::new(Docker { http: Http::new(host.name.clone(), connector), pulse, agreed: OnceCell::new() })
}

struct Docker {
    http: Http,
    pulse: Pulse,
    agreed: OnceCell<Agreed>,
}

/// What was agreed on with an engine, once: it runs programs to tell its version.
struct Agreed {
    /// The API version spoken with it: the newest that both know.
    spoken: String,
    answer: VersionAnswer,
}

impl Docker {
    async fn version(&self) -> Result<&str, EngineError> {
        self.agreed().await.map(|agreed| agreed.spoken.as_str())
    }

    async fn agreed(&self) -> Result<&Agreed, EngineError> {
        let agree = || async {
            let answer: VersionAnswer = self.http.json(None, &get("ask for the version", "/version")).await?;
            let spoken = negotiate(&answer.api_version, &answer.min_api_version).ok_or_else(|| {
                let (api, min) = (&answer.api_version, &answer.min_api_version);
                let message = format!("it speaks API {min} to {api}; mcompose needs one of 1.41 to 1.51");
                self.http.error("agree on an API version", ErrorKind::Refused, message)
            })?;
            Ok(Agreed { spoken, answer })
        };
        self.agreed.get_or_try_init(agree).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, EngineError> {
        self.http.json(Some(self.version().await?), &get(what, path)).await
    }

    async fn send(&self, call: Call) -> Result<Bytes, EngineError> {
        self.http.bytes(Some(self.version().await?), &call).await
    }

    /// A POST without a body.
    async fn post(&self, what: String, path: String, bound: Duration) -> Result<(), EngineError> {
        self.send(Call { what, method: Method::POST, path, body: None, bound }).await.map(drop)
    }

    async fn post_json(&self, what: String, path: String, body: &Value, bound: Duration) -> Result<Bytes, EngineError> {
        let body = Some(Bytes::from(body.to_string()));
        self.send(Call { what, method: Method::POST, path, body, bound }).await
    }

    async fn delete(&self, what: String, path: String) -> Result<(), EngineError> {
        self.send(Call { what, method: Method::DELETE, path, body: None, bound: START_MAX }).await.map(drop)
    }

    async fn container_call(&self, verb: &str, container: &str, query: &str, bound: Duration) -> Result<(), EngineError> {
        let path = format!("/containers/{}/{verb}{query}", escape(container));
        self.post(format!("{verb} container `{container}`"), path, bound).await
    }

    /// Returns the new command's id; it does not run yet.
    async fn new_exec(&self, what: &str, container: &str, command: &ExecCommand, attach: bool) -> Result<String, EngineError> {
        let body = json!({
            "AttachStdin": attach && command.stdin, "AttachStdout": attach, "AttachStderr": attach, "Tty": command.tty,
            "Cmd": command.command, "Env": command.environment, "User": command.user, "WorkingDir": command.working_dir,
            "Privileged": command.privileged,
        });
        let path = format!("/containers/{}/exec", escape(container));
        let answer = self.post_json(what.to_owned(), path, &without_nulls(body), QUICK_MAX).await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(answer["Id"].as_str().unwrap_or_default().to_owned())
    }
}

fn stop_query(timeout_secs: Option<u64>) -> (String, Duration) {
    match timeout_secs {
        Some(secs) => (format!("?t={secs}"), Duration::from_secs(secs) + STOP_SLACK),
        None => (String::new(), STOP_UNKNOWN_MAX),
    }
}

/// A refusal that says that all is as asked for is no error.
fn already(done: Result<(), EngineError>, words: &str) -> Result<(), EngineError> {
    match done {
        Err(error) if error.message.contains(words) => Ok(()),
        end => end,
    }
}

/// What is gone already is no error.
fn gone(done: Result<(), EngineError>) -> Result<(), EngineError> {
    match done {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        end => end,
    }
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        map.retain(|_, value| !value.is_null());
    }
    value
}

fn get(what: &str, path: &str) -> Call {
    Call { what: what.to_owned(), method: Method::GET, path: path.to_owned(), body: None, bound: QUICK_MAX }
}

/// The newest version within ours and the engine's; nothing where the two do not meet.
fn negotiate(newest: &str, oldest: &str) -> Option<String> {
    let parse = |text: &str| -> Option<(u32, u32)> {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let newest = parse(newest)?.min(API_MAX);
    let oldest = parse(oldest).unwrap_or(API_MIN).max(API_MIN);
    (newest >= oldest).then(|| format!("{}.{}", newest.0, newest.1))
}

/// A path segment or query value: everything but letters, digits and `-._~` as `%XX`.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An image reference keeps its slashes.
fn escape_path(text: &str) -> String {
    text.split('/').map(escape).collect::<Vec<_>>().join("/")
}

#[async_trait]
impl Engine for Docker {
    fn host(&self) -> &HostName {
        self.http.host()
    }

    async fn look(&self, question: &Question) -> Result<SeenHost, EngineError> {
        let seen = self.look_once(question).await?;
        let leaderless = matches!(&seen.swarm, Swarm::Active(member) if member.is_manager && !member.control_available);
        // The swarm's networks were missing in that look.
        if leaderless { self.look_once(question).await } else { Ok(seen) }
    }

    async fn look_again(&self, question: &Question, before: &SeenHost) -> Result<SeenHost, EngineError> {
        let seen = self.look_at_objects(question, before.engine.clone(), before.swarm.clone()).await?;
        // A swarm that lost its leader since then shows no networks of its own.
        let is_less = before.networks.iter().any(|network| network.scope == "swarm" && !seen.networks.contains(network));
        if is_less { self.look(question).await } else { Ok(seen) }
    }

    async fn containers(&self, pace: Pace) -> Result<Vec<Container>, EngineError> {
        self.list_containers(pace).await
    }

    async fn ping(&self) -> Result<(), EngineError> {
        let what = "ping the engine";
        let asked = timeout(PING_MAX, self.pulse.beat()).await;
        let late = |_| self.http.error(what, ErrorKind::Timeout, format!("no answer within {PING_MAX:?}"));
        match asked.map_err(late)? {
            Ok(true) => Ok(()),
            // Something between us and the engine may refuse this kind of question.
            Ok(false) => {
                let call = Call { bound: PING_MAX, ..get(what, "/_ping") };
                Box::pin(self.http.bytes(None, &call)).await.map(drop)
            }
            Err(error) => Err(self.http.unreachable(what, &error)),
        }
    }

    async fn storage_left(&self, folder: &str) -> Option<u64> {
        free_of_df(&self.http.run(&df_command(folder), STORAGE_MAX).await?.ok()?)
    }

    async fn events(
        &self,
        since: &str,
        until: &str,
    ) -> Result<BoxStream<'static, Result<ContainerEvent, EngineError>>, EngineError> {
        let filters = json!({ "type": ["container"] }).to_string();
        let mut path = format!("/events?filters={}", escape(&filters));
        for (key, value) in [("since", since), ("until", until)] {
            if !value.is_empty() {
                path += &format!("&{key}={}", escape(value));
            }
        }
        let what = "follow the engine's events";
        let response = self.http.listen(Some(self.version().await?), &get(what, &path)).await?;
        let host_error = self.http.error(what, ErrorKind::Unreachable, "");
        let messages = Messages::new(response.into_body());
        let events = stream::try_unfold(messages, |mut messages| async move {
            Ok(messages.next().await?.map(|message| (wire::event(&message), messages)))
        });
        Ok(events.map_err(move |message: String| EngineError { message, ..host_error.clone() }).boxed())
    }

    async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<String, EngineError> {
        let platform = spec.platform.as_ref().map(|platform| format!("&platform={}", escape(platform))).unwrap_or_default();
        let what = format!("create container `{name}`");
        let body = serde_json::to_value(spec).map_err(|error| self.http.error(&what, ErrorKind::Refused, error.to_string()))?;
        let path = format!("/containers/create?name={}{platform}", escape(name));
        let bytes = self.post_json(what, path, &body, START_MAX).await?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(answer["Id"].as_str().unwrap_or_default().to_owned())
    }

    async fn connect(&self, network: &str, container: &str, endpoint: &Endpoint) -> Result<(), EngineError> {
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        let what = format!("connect container `{container}` to network `{network}`");
        let done = self.post_json(what, format!("/networks/{}/connect", escape(network)), &body, START_MAX).await;
        match done {
            Err(error) if error.message.contains("already exists in network") => Ok(()),
            end => end.map(drop),
        }
    }

    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError> {
        let body = json!({ "Container": container, "Force": true });
        let what = format!("disconnect container `{container}` from network `{network}`");
        let done = self.post_json(what, format!("/networks/{}/disconnect", escape(network)), &body, START_MAX).await;
        already(gone(done.map(drop)), "is not connected to")
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.container_call("start", container, "", START_MAX).await
    }

    async fn stop(&self, container: &str, timeout_secs: Option<u64>) -> Result<(), EngineError> {
        let (query, bound) = stop_query(timeout_secs);
        self.container_call("stop", container, &query, bound).await
    }

    async fn restart(&self, container: &str, timeout_secs: Option<u64>) -> Result<(), EngineError> {
        let (query, bound) = stop_query(timeout_secs);
        self.container_call("restart", container, &query, bound + START_MAX).await
    }

    async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        self.container_call("kill", container, &format!("?signal={}", escape(signal)), QUICK_MAX).await
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        already(self.container_call("pause", container, "", QUICK_MAX).await, "already paused")
    }

    async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        already(self.container_call("unpause", container, "", QUICK_MAX).await, "is not paused")
    }

    async fn rename(&self, container: &str, to: &str) -> Result<(), EngineError> {
        let done = self.container_call("rename", container, &format!("?name={}", escape(to)), QUICK_MAX).await;
        already(done, "Renaming a container with the same name as its current name")
    }

    async fn remove(&self, container: &str, volumes: bool, force: bool) -> Result<(), EngineError> {
        let path = format!("/containers/{}?v={volumes}&force={force}", escape(container));
        match self.delete(format!("remove container `{container}`"), path).await {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            // The engine removes it already, for an earlier call.
            Err(error) if error.message.contains("already in progress") => Ok(()),
            end => end,
        }
    }

    async fn wait(&self, container: &str, until: Until, at_most: Duration) -> Result<(), EngineError> {
        self.wait_until(container, until, at_most).await
    }

    async fn inspect(&self, container: &str) -> Result<Inspected, EngineError> {
        let what = format!("inspect container `{container}`");
        let raw: Value = self.get(&what, &format!("/containers/{}/json", escape(container))).await?;
        Ok(wire::inspected(raw))
    }

    async fn exec(&self, container: &str, hook: &Hook) -> Result<ExecOutcome, EngineError> {
        let what = format!("run a command in container `{container}`");
        let environment = hook.environment.iter().map(|(key, value)| format!("{key}={}", value.as_deref().unwrap_or_default()));
        let command = ExecCommand {
            command: hook.command.clone().unwrap_or_default(),
            environment: environment.collect(),
            user: hook.user.clone(),
            working_dir: hook.working_dir.clone(),
            privileged: hook.privileged,
            tty: false,
            stdin: false,
        };
        let id = self.new_exec(&what, container, &command, true).await?;
        let body = Some(Bytes::from_static(b"{\"Detach\":false,\"Tty\":false}"));
        let path = format!("/exec/{}/start", escape(&id));
        let call = Call { what: what.clone(), method: Method::POST, path, body, bound: QUICK_MAX };
        let response = self.http.send(Some(self.version().await?), &call).await?;
        let frames = Frames::new(response.into_body(), false);
        let collected = timeout(EXEC_MAX, streams::output(frames, EXEC_OUTPUT_BYTES_MAX)).await;
        let output =
            collected.map_err(|_| self.http.error(&what, ErrorKind::Timeout, format!("it runs longer than {EXEC_MAX:?}")))?;
        Ok(ExecOutcome { exit_code: self.exec_code(&id).await?, output })
    }

    async fn exec_attached(&self, container: &str, command: &ExecCommand) -> Result<Attached, EngineError> {
        let what = format!("run a command in container `{container}`");
        let id = self.new_exec(&what, container, command, true).await?;
        let body = Bytes::from(json!({ "Detach": false, "Tty": command.tty }).to_string());
        let path = format!("/exec/{}/start", escape(&id));
        let call = Call { what: what.clone(), method: Method::POST, path, body: Some(body), bound: QUICK_MAX };
        let connection = self.http.hijack(Some(self.version().await?), &call).await?;
        Ok(exec::attached(id, connection, command.tty, self.http.error(&what, ErrorKind::Unreachable, "")))
    }

    async fn exec_detached(&self, container: &str, command: &ExecCommand) -> Result<(), EngineError> {
        let what = format!("run a command in container `{container}`");
        let id = self.new_exec(&what, container, command, false).await?;
        let body = json!({ "Detach": true, "Tty": command.tty });
        self.post_json(what, format!("/exec/{}/start", escape(&id)), &body, QUICK_MAX).await.map(drop)
    }

    async fn exec_code(&self, id: &str) -> Result<i64, EngineError> {
        let ended: Value = self.get("ask how a command ended", &format!("/exec/{}/json", escape(id))).await?;
        Ok(ended["ExitCode"].as_i64().unwrap_or(-1))
    }

    async fn exec_resize(&self, id: &str, columns: u16, rows: u16) -> Result<(), EngineError> {
        let path = format!("/exec/{}/resize?h={rows}&w={columns}", escape(id));
        self.post("resize a command's terminal".to_owned(), path, QUICK_MAX).await
    }

    async fn attach(&self, container: &str, stdin: bool, detach_keys: Option<&str>) -> Result<Attached, EngineError> {
        self.attach_to(container, stdin, detach_keys).await
    }

    async fn resize(&self, container: &str, columns: u16, rows: u16) -> Result<(), EngineError> {
        self.container_call("resize", container, &format!("?h={rows}&w={columns}"), QUICK_MAX).await
    }

    async fn ending(&self, container: &str, when: Ending) -> Result<BoxFuture<'static, Result<i64, EngineError>>, EngineError> {
        self.ending_of(container, when).await
    }

    async fn processes(&self, container: &str) -> Result<Processes, EngineError> {
        self.processes_of(container).await
    }

    async fn usage(&self, container: &str, follow: bool) -> Result<BoxStream<'static, Result<Usage, EngineError>>, EngineError> {
        self.usage_of(container, follow).await
    }

    async fn logs(
        &self,
        container: &str,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        let tty = self.inspect(container).await?.tty;
        let tail = query.tail.map_or("all".to_owned(), |count| count.to_string());
        let mut path = format!(
            "/containers/{}/logs?stdout=1&stderr=1&timestamps=1&follow={}&tail={tail}",
            escape(container),
            u8::from(query.follow)
        );
        for (key, value) in [("since", &query.since), ("until", &query.until)] {
            if !value.is_empty() {
                path += &format!("&{key}={}", escape(value));
            }
        }
        let what = format!("read the log of container `{container}`");
        let response = self.http.send(Some(self.version().await?), &get(&what, &path)).await?;
        let host_error = self.http.error(&what, ErrorKind::Unreachable, "");
        let frames = Frames::new(response.into_body(), tty);
        let lines =
            stream::try_unfold(Lines::new(frames), |mut lines| async move { Ok(lines.next().await?.map(|line| (line, lines))) });
        Ok(lines.map_err(move |message: String| EngineError { message, ..host_error.clone() }).boxed())
    }

    async fn put_archive(&self, container: &str, path: &str, archive: Pieces) -> Result<(), EngineError> {
        let what = format!("unpack an archive into container `{container}`");
        let path = format!("/containers/{}/archive?path={}", escape(container), escape(path));
        let call = Call { what, method: Method::PUT, path, body: None, bound: ARCHIVE_MAX };
        self.http.send_archive(Some(self.version().await?), &call, archive).await.map(drop)
    }

    async fn get_archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let what = format!("read an archive of container `{container}`");
        let path = format!("/containers/{}/archive?path={}", escape(container), escape(path));
        let response = self.http.send(Some(self.version().await?), &get(&what, &path)).await?;
        let error = self.http.error(&what, ErrorKind::Unreachable, "");
        Ok(streams::pieces(response.into_body(), error))
    }

    async fn export(&self, container: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        self.exported(container).await
    }

    async fn commit(&self, container: &str, commit: &Commit) -> Result<String, EngineError> {
        self.committed(container, commit).await
    }

    async fn link_target(&self, container: &str, path: &str) -> Result<Option<String>, EngineError> {
        let stat = self.stat(container, path).await?;
        let target = stat.and_then(|stat| stat["linkTarget"].as_str().map(str::to_owned));
        Ok(target.filter(|target| !target.is_empty()))
    }

    async fn is_folder(&self, container: &str, path: &str) -> Result<Option<bool>, EngineError> {
        /// Of Go's `os.FileMode`.
        const FOLDER: u64 = 1 << 31;
        let stat = self.stat(container, path).await?;
        Ok(stat.map(|stat| stat["mode"].as_u64().unwrap_or_default() & FOLDER != 0))
    }

    async fn import_image(&self, name: &str, tag: &str, archive: Bytes) -> Result<(), EngineError> {
        self.import(name, tag, archive).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let pools = spec.ipam.config.iter().map(|pool| {
            json!({ "Subnet": pool.subnet, "IPRange": pool.ip_range, "Gateway": pool.gateway, "AuxiliaryAddresses": pool.aux_addresses })
        });
        let mut body = json!({
            "Name": spec.name, "CheckDuplicate": true, "Driver": spec.driver.as_deref().unwrap_or("bridge"), "Internal": spec.internal,
            "Attachable": spec.attachable, "EnableIPv6": spec.enable_ipv6.unwrap_or(false), "Options": spec.driver_opts,
            "Labels": spec.labels,
        });
        if spec.enable_ipv4 == Some(false) {
            body["EnableIPv4"] = json!(false);
        }
        if spec.ipam != Default::default() {
            let driver = spec.ipam.driver.as_deref().unwrap_or("default");
            body["IPAM"] = json!({ "Driver": driver, "Config": pools.map(without_nulls).collect::<Vec<_>>() });
            if !spec.ipam.options.is_empty() {
                body["IPAM"]["Options"] = json!(spec.ipam.options);
            }
        }
        self.post_json(format!("create network `{}`", spec.name), "/networks/create".to_owned(), &body, SWARM_MAX).await.map(drop)
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        gone(self.delete(format!("remove network `{name}`"), format!("/networks/{}", escape(name))).await)
    }

    async fn network_gone(&self, name: &str, at_most: Duration) -> Result<(), EngineError> {
        self.wait_until_gone(name, at_most).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        let driver = spec.driver.as_deref().unwrap_or("local");
        let request = VolumeCreateRequest {
            name: Some(spec.name.clone()),
            driver: Some(driver.to_owned()),
            driver_opts: (!spec.driver_opts.is_empty()).then(|| spec.driver_opts.clone().into_iter().collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            cluster_volume_spec: None,
        };
        let body = json!(request);
        self.post_json(format!("create volume `{}`", spec.name), "/volumes/create".to_owned(), &body, START_MAX).await.map(drop)
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        gone(self.delete(format!("remove volume `{name}`"), format!("/volumes/{}", escape(name))).await)
    }

    async fn pull(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.pull_from_registry(image, platform, login, progress).await
    }

    async fn digest(&self, image: &str, login: Option<&str>) -> Result<String, EngineError> {
        self.digest_of_registry(image, login).await
    }

    async fn push(&self, image: &str, login: Option<&str>, progress: &(dyn Fn(String) + Send + Sync)) -> Result<(), EngineError> {
        self.push_to_registry(image, login, progress).await
    }

    async fn save(&self, image: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        self.saved(image).await
    }

    async fn load(&self, image: &str, archive: Pieces) -> Result<(), EngineError> {
        self.take_archive(image, archive).await
    }

    async fn images(&self) -> Result<Vec<String>, EngineError> {
        let rows: Vec<Value> = self.get("list images", "/images/json?all=1").await?;
        Ok(rows.iter().filter_map(|row| row["Id"].as_str().map(str::to_owned)).collect())
    }

    async fn image(&self, image: &str) -> Result<ImageParts, EngineError> {
        self.parts_of(image).await
    }

    async fn build(
        &self,
        build: &ImageBuild,
        dockerfile: &str,
        context: Option<Pieces>,
        lent: &Lent,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        self.build_from(build, dockerfile, context, lent, progress).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        gone(self.delete(format!("remove image `{image}`"), format!("/images/{}", escape_path(image))).await)
    }

    async fn swarm_init(&self, advertise: &str) -> Result<(), EngineError> {
        self.begin_swarm("begin a swarm", advertise, false).await
    }

    async fn swarm_recover(&self, advertise: &str) -> Result<(), EngineError> {
        self.begin_swarm("begin the swarm anew", advertise, true).await
    }

    async fn join_token(&self, role: Role) -> Result<String, EngineError> {
        self.token_of(role).await
    }

    async fn swarm_join(&self, advertise: &str, remote: &str, token: &str) -> Result<(), EngineError> {
        self.join(advertise, remote, token).await
    }

    async fn swarm_leave(&self, force: bool) -> Result<(), EngineError> {
        self.post("leave the swarm".to_owned(), format!("/swarm/leave?force={force}"), SWARM_MAX).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        let rows: Vec<Value> = self.get("list the swarm's nodes", "/nodes").await?;
        Ok(rows.iter().map(wire::node).collect())
    }

    async fn node_remove(&self, node_id: &str, force: bool) -> Result<(), EngineError> {
        gone(self.delete("take a node out of the swarm".to_owned(), format!("/nodes/{}?force={force}", escape(node_id))).await)
    }

    async fn node_role(&self, node_id: &str, role: Role) -> Result<(), EngineError> {
        self.take_role(node_id, role).await
    }

    async fn new_leader(&self) -> Result<(), EngineError> {
        self.hear_of_leader().await
    }

    async fn configs(&self, prefix: &str) -> Result<Vec<ConfigObject>, EngineError> {
        self.configs_of(prefix).await
    }

    async fn config_create(&self, name: &str, labels: &BTreeMap<String, String>, data: &[u8]) -> Result<String, EngineError> {
        self.new_config(name, labels, data).await
    }

    async fn config_relabel(&self, id: &str, version: u64, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        self.relabel(id, version, labels).await
    }

    async fn config_remove(&self, id: &str) -> Result<(), EngineError> {
        self.delete("remove a config of the swarm".to_owned(), format!("/configs/{}", escape(id))).await
    }
}
