//! The trait, call by call: faults first, then the cluster's own rules, then the error with host and call.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::time::{Instant, sleep};

use super::Fake;
use super::faults::Fault;
use super::logs::{end_of, events_of, stream_of};
use super::pace::{Caller, paced_events};
use super::state::{Call, Cluster, Fail, FakeHostState, Reach};
use crate::engine::{
    Attached, Commit, ConfigObject, ContainerEvent, Ending, Engine, EngineError, ErrorKind, ExecCommand, ExecOutcome, ImageParts,
    Inspected, Lent, LogLine, LogQuery, Node, Piece, Pieces, Processes, Usage,
};
use crate::project::{ContainerSpec, Endpoint, Hook, HostName, ImageBuild, NetworkSpec, Role, Until, VolumeSpec};
use crate::world::{Container, Health, Pace, Question, SeenHost, State, keys};

/// One host's engine.
pub(super) struct FakeEngine {
    pub(super) fake: Fake,
    pub(super) host: HostName,
    /// Nothing: calls take no time.
    pub(super) caller: Option<Caller>,
}

/// Whether a call changes something; faults by seed hit only such calls.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Reads,
    Changes,
}

/// Between two questions of a wait where calls take time.
const WAIT_POLL: Duration = Duration::from_millis(150);
/// What each call adds to the clock.
const CALL_MS: u64 = 1;

impl FakeEngine {
    async fn call<T>(
        &self,
        kind: Kind,
        call: String,
        run: impl FnOnce(&mut Cluster, &HostName) -> Result<T, Fail>,
    ) -> Result<T, EngineError> {
        if let Some(caller) = &self.caller {
            let result = self.paced(caller, kind, &call, run).await;
            return result.map_err(|fail| self.error(call, fail));
        }
        self.in_flight(1);
        // Others get their turn, so that calls of one plan overlap as they do in life.
        tokio::task::yield_now().await;
        let result = self.with_faults(kind, &call, run).await;
        self.in_flight(-1);
        let failed = result.is_err();
        self.fake.lock().calls.push(Call { host: self.host.clone(), call: call.clone(), failed });
        result.map_err(|fail| self.error(call, fail))
    }

    /// A call that an engine carries out also where its caller does not wait for the answer any more.
    async fn change<T: Send + 'static>(
        &self,
        call: String,
        revision: Option<u64>,
        run: impl FnOnce(&mut Cluster, &HostName) -> Result<T, Fail> + Send + 'static,
    ) -> Result<T, EngineError> {
        match &self.caller {
            Some(caller) => self.send(caller, &call, revision, run).await.map_err(|fail| self.error(call, fail)),
            None => self.call(Kind::Changes, call, run).await,
        }
    }

    fn error(&self, call: String, fail: Fail) -> EngineError {
        EngineError { host: self.host.clone(), call, kind: fail.kind, message: fail.message }
    }

    async fn with_faults<T>(
        &self,
        kind: Kind,
        call: &str,
        run: impl FnOnce(&mut Cluster, &HostName) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        let fault = self.fake.change(|cluster| cluster.faults.next(&self.host, call, kind == Kind::Changes));
        let timeout = || Fail::new(ErrorKind::Timeout, "no answer in time");
        match fault {
            None => {}
            Some(Fault::Fail { kind, message }) => return Err(Fail::new(kind, message)),
            Some(Fault::Lost) => return Err(timeout()),
            Some(Fault::Unanswered) => {
                self.run(run)?;
                return Err(timeout());
            }
            Some(Fault::Cut) => self.fake.change(|cluster| {
                if let Some(host) = cluster.hosts.get_mut(&self.host) {
                    host.reach = Reach::Cut;
                }
            }),
            Some(Fault::Hang) => self.until_healed().await,
        }
        self.run(run)
    }

    fn run<T>(&self, run: impl FnOnce(&mut Cluster, &HostName) -> Result<T, Fail>) -> Result<T, Fail> {
        self.fake.change(|cluster| {
            cluster.reach(&self.host)?;
            cluster.advance(CALL_MS);
            run(cluster, &self.host)
        })
    }

    /// Asks again and again, as the real engine has to be asked.
    async fn wait_paced(&self, container: &str, until: Until, at_most: Duration) -> Result<(), EngineError> {
        let deadline = Instant::now() + at_most;
        loop {
            let call = format!("wait for container `{container}`");
            let holds =
                self.call(Kind::Reads, call.clone(), |cluster, host| holds(cluster.host(host)?, container, until)).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            match (holds, until) {
                (true, _) => return Ok(()),
                (false, Until::Lasting) if left.is_zero() => return Ok(()),
                (false, Until::Lasting) => sleep(WAIT_POLL.min(left)).await,
                (false, _) if left < WAIT_POLL => {
                    let fail = Fail::new(ErrorKind::Overdue, format!("not so within {} s", at_most.as_secs()));
                    return Err(self.error(call, fail));
                }
                (false, _) => sleep(WAIT_POLL).await,
            }
        }
    }

    /// Until somebody heals the faults: an empty list of rules says so.
    async fn until_healed(&self) {
        loop {
            let changed = self.fake.changes.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.fake.lock().faults.rules.is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn in_flight(&self, by: i32) {
        let mut cluster = self.fake.lock();
        if let Some(host) = cluster.hosts.get_mut(&self.host) {
            host.in_flight = host.in_flight.saturating_add_signed(by);
            host.most_in_flight = host.most_in_flight.max(host.in_flight);
        }
    }
}

impl Cluster {
    /// Moves the clock from one thing that happens to the next until the condition holds or cannot hold any more.
    fn wait(&mut self, host: &HostName, container: &str, until: Until, at_most: Duration) -> Result<(), Fail> {
        let deadline_ms = self.now_ms.saturating_add(u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX));
        loop {
            if holds(self.host(host)?, container, until)? {
                return Ok(());
            }
            if until == Until::Lasting && self.now_ms >= deadline_ms {
                return Ok(());
            }
            match self.next_due_ms().filter(|due_ms| *due_ms <= deadline_ms) {
                Some(due_ms) => self.advance(due_ms.saturating_sub(self.now_ms)),
                None if until == Until::Lasting => self.advance(deadline_ms.saturating_sub(self.now_ms)),
                None => {
                    self.advance(deadline_ms.saturating_sub(self.now_ms));
                    return Err(Fail::new(ErrorKind::Overdue, format!("not so within {} s", at_most.as_secs())));
                }
            }
        }
    }

    fn exec(&mut self, host: &HostName, container: &str, hook: &Hook) -> Result<ExecOutcome, Fail> {
        let found = self.host_mut(host)?.container(container)?;
        if found.state != State::Running {
            return Err(Fail::conflict(format!("Container {} is not running", found.id)));
        }
        let (image, command) = (found.spec.image.clone(), hook.command.clone().unwrap_or_default().join(" "));
        let (exit_code, output) = self.behaviour(&image).exec.get(&command).cloned().unwrap_or_default();
        Ok(ExecOutcome { exit_code, output })
    }
}

/// Whether the condition holds, or an error when it never can.
fn holds(host: &FakeHostState, container: &str, until: Until) -> Result<bool, Fail> {
    let hopeless = |message: String| Err(Fail::new(ErrorKind::Hopeless, message));
    let found = host.find(container).ok_or_else(|| Fail::not_found(format!("No such container: {container}")))?;
    if let State::Exited { code } = found.state {
        let code = code.unwrap_or_default();
        return match until {
            Until::Completed if code == 0 => Ok(true),
            _ => hopeless(format!("container {} exited ({code})", found.name)),
        };
    }
    if found.state == State::Created {
        return Ok(false);
    }
    match until {
        Until::Lasting if found.state == State::Restarting => hopeless(format!("container {} restarts", found.name)),
        Until::Lasting if found.health == Health::Unhealthy => hopeless(format!("container {} is unhealthy", found.name)),
        Until::Lasting | Until::Completed => Ok(false),
        Until::Running => Ok(found.state == State::Running),
        Until::Healthy if !found.has_healthcheck => hopeless(format!("container {} has no healthcheck configured", found.name)),
        Until::Ready if !found.has_healthcheck => Ok(found.state == State::Running),
        Until::Healthy | Until::Ready => match found.health {
            Health::Healthy => Ok(true),
            Health::Unhealthy => hopeless(format!("container {} is unhealthy", found.name)),
            Health::None | Health::Starting => Ok(false),
        },
    }
}

/// The bytes of an archive, and whether it ended well.
async fn all_that_comes(mut archive: Pieces) -> (Vec<u8>, Result<(), Fail>) {
    let mut came = Vec::new();
    while let Some(piece) = archive.next().await {
        match piece {
            Ok(piece) => came.extend_from_slice(&piece),
            Err(error) => return (came, Err(Fail::new(ErrorKind::Unreachable, error.to_string()))),
        }
    }
    (came, Ok(()))
}

async fn whole(archive: Pieces) -> Result<Vec<u8>, Fail> {
    let pieces: Result<Vec<_>, _> = archive.try_collect().await;
    pieces.map(|pieces| pieces.concat()).map_err(|error| Fail::new(ErrorKind::Unreachable, error.to_string()))
}

#[async_trait]
impl Engine for FakeEngine {
    fn host(&self) -> &HostName {
        &self.host
    }

    async fn look(&self, question: &Question) -> Result<SeenHost, EngineError> {
        let call = "look at the host".to_owned();
        self.call(Kind::Reads, call, |cluster, host| Ok(cluster.seen(cluster.host(host)?, Some(question)))).await
    }

    async fn look_again(&self, question: &Question, before: &SeenHost) -> Result<SeenHost, EngineError> {
        let (engine, swarm) = (before.engine.clone(), before.swarm.clone());
        Ok(SeenHost { engine, swarm, ..self.look(question).await? })
    }

    async fn containers(&self, _pace: Pace) -> Result<Vec<Container>, EngineError> {
        let call = "list containers".to_owned();
        self.call(Kind::Reads, call, |cluster, host| Ok(cluster.containers(cluster.host(host)?))).await
    }

    async fn ping(&self) -> Result<(), EngineError> {
        self.call(Kind::Reads, "ping the engine".to_owned(), |_, _| Ok(())).await
    }

    async fn storage_left(&self, _folder: &str) -> Option<u64> {
        None
    }

    async fn events(
        &self,
        since: &str,
        until: &str,
    ) -> Result<BoxStream<'static, Result<ContainerEvent, EngineError>>, EngineError> {
        let count = |cluster: &mut Cluster, _: &HostName| Ok(cluster.events.len());
        let length = self.call(Kind::Reads, "follow the engine's events".to_owned(), count).await?;
        let from = if since.is_empty() { length } else { 0 };
        if let Some(caller) = self.caller.clone().filter(|_| until.is_empty()) {
            return Ok(paced_events(self.fake.clone(), self.host.clone(), caller, from));
        }
        Ok(events_of(self.fake.clone(), self.host.clone(), from, until.is_empty()))
    }

    async fn create(&self, name: &str, spec: &ContainerSpec) -> Result<String, EngineError> {
        let call = format!("create container `{name}`");
        let revision = spec.labels.get(keys::REVISION).and_then(|text| text.parse().ok());
        let (name, spec) = (name.to_owned(), spec.clone());
        self.change(call, revision, move |cluster, host| cluster.create(host, &name, &spec)).await
    }

    async fn connect(&self, network: &str, container: &str, endpoint: &Endpoint) -> Result<(), EngineError> {
        let call = format!("connect container `{container}` to network `{network}`");
        let (network, container, endpoint) = (network.to_owned(), container.to_owned(), endpoint.clone());
        self.change(call, None, move |cluster, host| cluster.connect(host, &network, &container, &endpoint)).await
    }

    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError> {
        let call = format!("disconnect container `{container}` from network `{network}`");
        let (network, container) = (network.to_owned(), container.to_owned());
        self.change(call, None, move |cluster, host| cluster.disconnect(host, &network, &container)).await
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let call = format!("start container `{container}`");
        let container = container.to_owned();
        self.change(call, None, move |cluster, host| cluster.start(host, &container)).await
    }

    async fn stop(&self, container: &str, timeout_secs: Option<u64>) -> Result<(), EngineError> {
        let call = format!("stop container `{container}`");
        let container = container.to_owned();
        self.change(call, None, move |cluster, host| cluster.stop(host, &container, timeout_secs)).await
    }

    async fn restart(&self, container: &str, timeout_secs: Option<u64>) -> Result<(), EngineError> {
        let call = format!("restart container `{container}`");
        let container = container.to_owned();
        let run = move |cluster: &mut Cluster, host: &HostName| {
            cluster.stop(host, &container, timeout_secs)?;
            cluster.start(host, &container)
        };
        self.change(call, None, run).await
    }

    async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        let call = format!("kill container `{container}`");
        let (container, signal) = (container.to_owned(), signal.to_owned());
        self.change(call, None, move |cluster, host| cluster.kill(host, &container, &signal)).await
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        let call = format!("pause container `{container}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.pause(host, container)).await
    }

    async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        let call = format!("unpause container `{container}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.unpause(host, container)).await
    }

    async fn rename(&self, container: &str, to: &str) -> Result<(), EngineError> {
        let call = format!("rename container `{container}` to `{to}`");
        let (container, to) = (container.to_owned(), to.to_owned());
        self.change(call, None, move |cluster, host| cluster.rename(host, &container, &to)).await
    }

    async fn remove(&self, container: &str, volumes: bool, force: bool) -> Result<(), EngineError> {
        let call = format!("remove container `{container}`");
        let container = container.to_owned();
        self.change(call, None, move |cluster, host| cluster.remove(host, &container, volumes, force)).await
    }

    async fn wait(&self, container: &str, until: Until, at_most: Duration) -> Result<(), EngineError> {
        let call = format!("wait for container `{container}`");
        if self.caller.is_some() {
            return self.wait_paced(container, until, at_most).await;
        }
        self.call(Kind::Reads, call, |cluster, host| cluster.wait(host, container, until, at_most)).await
    }

    async fn inspect(&self, container: &str) -> Result<Inspected, EngineError> {
        let call = format!("inspect container `{container}`");
        self.call(Kind::Reads, call, |cluster, host| cluster.inspect(host, container)).await
    }

    async fn exec(&self, container: &str, hook: &Hook) -> Result<ExecOutcome, EngineError> {
        let call = format!("run a command in container `{container}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.exec(host, container, hook)).await
    }

    async fn exec_attached(&self, container: &str, command: &ExecCommand) -> Result<Attached, EngineError> {
        let hook = Hook { command: Some(command.command.clone()), ..Hook::default() };
        let outcome = self.exec(container, &hook).await?;
        let piece = Piece { is_stderr: false, bytes: outcome.output.into() };
        let input = Box::new(tokio::io::sink());
        Ok(Attached { id: outcome.exit_code.to_string(), input, output: stream::iter([Ok(piece)]).boxed() })
    }

    async fn exec_detached(&self, container: &str, command: &ExecCommand) -> Result<(), EngineError> {
        let hook = Hook { command: Some(command.command.clone()), ..Hook::default() };
        self.exec(container, &hook).await.map(drop)
    }

    /// The id of a fake's command is its code.
    async fn exec_code(&self, id: &str) -> Result<i64, EngineError> {
        Ok(id.parse().unwrap_or(-1))
    }

    async fn exec_resize(&self, _id: &str, _columns: u16, _rows: u16) -> Result<(), EngineError> {
        Ok(())
    }

    async fn attach(&self, container: &str, _stdin: bool, _detach_keys: Option<&str>) -> Result<Attached, EngineError> {
        let call = format!("attach to container `{container}`");
        let find = |cluster: &mut Cluster, host: &HostName| Ok(cluster.host_mut(host)?.container(container)?.id.clone());
        let id = self.call(Kind::Reads, call, find).await?;
        let query = LogQuery { follow: true, tail: Some(0), ..LogQuery::default() };
        let lines = stream_of(self.fake.clone(), self.host.clone(), id.clone(), &query);
        let piece = |line: LogLine| Piece { is_stderr: line.is_stderr, bytes: (line.text + "\n").into() };
        Ok(Attached { id, input: Box::new(tokio::io::sink()), output: lines.map_ok(piece).boxed() })
    }

    async fn resize(&self, _container: &str, _columns: u16, _rows: u16) -> Result<(), EngineError> {
        Ok(())
    }

    async fn ending(&self, container: &str, when: Ending) -> Result<BoxFuture<'static, Result<i64, EngineError>>, EngineError> {
        let call = format!("wait for the end of container `{container}`");
        let find = |cluster: &mut Cluster, host: &HostName| {
            let from = cluster.events.len();
            let found = cluster.host_mut(host)?.container(container)?;
            Ok((found.id.clone(), (!found.state.is_up()).then_some(found.exit_code), from))
        };
        let (id, ended, from) = self.call(Kind::Reads, call, find).await?;
        match ended.filter(|_| when == Ending::Stopped) {
            Some(code) => Ok(std::future::ready(Ok(code)).boxed()),
            None => Ok(end_of(self.fake.clone(), self.host.clone(), id, when, from).map(Ok).boxed()),
        }
    }

    async fn processes(&self, container: &str) -> Result<Processes, EngineError> {
        let call = format!("list the processes of container `{container}`");
        self.call(Kind::Reads, call, |cluster, host| cluster.processes(host, container)).await
    }

    async fn usage(&self, container: &str, _follow: bool) -> Result<BoxStream<'static, Result<Usage, EngineError>>, EngineError> {
        let call = format!("ask what container `{container}` uses");
        let find = |cluster: &mut Cluster, host: &HostName| cluster.host_mut(host)?.container(container).map(drop);
        self.call(Kind::Reads, call, find).await?;
        Ok(stream::iter([Ok(Usage::default())]).boxed())
    }

    async fn logs(
        &self,
        container: &str,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, EngineError>>, EngineError> {
        let call = format!("read the log of container `{container}`");
        let find = |cluster: &mut Cluster, host: &HostName| Ok(cluster.host_mut(host)?.container(container)?.id.clone());
        let id = self.call(Kind::Reads, call, find).await?;
        Ok(stream_of(self.fake.clone(), self.host.clone(), id, query))
    }

    async fn put_archive(&self, container: &str, path: &str, archive: Pieces) -> Result<(), EngineError> {
        let call = format!("unpack an archive into container `{container}`");
        let (came, end) = all_that_comes(archive).await;
        let run = |cluster: &mut Cluster, host: &HostName| cluster.put_archive(host, container, path, &came).and(end);
        self.call(Kind::Changes, call, run).await
    }

    async fn get_archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let call = format!("read an archive of container `{container}`");
        let archive = self.call(Kind::Reads, call, |cluster, host| cluster.get_archive(host, container, path)).await?;
        Ok(stream::iter([Ok(archive)]).boxed())
    }

    async fn export(&self, container: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let call = format!("export container `{container}`");
        // What it mounts is left out, and files that it has of its own are none of the fake's.
        let run = |cluster: &mut Cluster, host: &HostName| cluster.host_mut(host)?.container(container).map(|_| vec![0; 1024]);
        let archive = self.call(Kind::Reads, call, run).await?;
        Ok(stream::iter([Ok(archive.into())]).boxed())
    }

    async fn commit(&self, container: &str, commit: &Commit) -> Result<String, EngineError> {
        let call = format!("make an image of container `{container}`");
        let run = |cluster: &mut Cluster, host: &HostName| {
            cluster.host_mut(host)?.container(container)?;
            cluster.put_image(host, &commit.image);
            Ok(cluster.host(host)?.images.get(&commit.image).map(|image| image.id.clone()).unwrap_or_default())
        };
        self.call(Kind::Changes, call, run).await
    }

    async fn link_target(&self, container: &str, path: &str) -> Result<Option<String>, EngineError> {
        let call = format!("look at a path of container `{container}`");
        let run = |cluster: &mut Cluster, host: &HostName| cluster.get_archive(host, container, path).map(|_| None);
        self.call(Kind::Reads, call, run).await
    }

    async fn is_folder(&self, container: &str, path: &str) -> Result<Option<bool>, EngineError> {
        let call = format!("look at a path of container `{container}`");
        let run = |cluster: &mut Cluster, host: &HostName| cluster.get_archive(host, container, path).map(|_| Some(true));
        self.call(Kind::Reads, call, run).await
    }

    async fn import_image(&self, name: &str, tag: &str, _archive: Bytes) -> Result<(), EngineError> {
        let call = format!("import image `{name}:{tag}`");
        let run = |cluster: &mut Cluster, host: &HostName| {
            cluster.put_image(host, &format!("{name}:{tag}"));
            Ok(())
        };
        self.call(Kind::Changes, call, run).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        let call = format!("create network `{}`", spec.name);
        self.call(Kind::Changes, call, |cluster, host| cluster.create_network(host, spec)).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        let call = format!("remove network `{name}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.remove_network(host, name)).await
    }

    async fn network_gone(&self, name: &str, at_most: Duration) -> Result<(), EngineError> {
        let call = format!("wait until network `{name}` is gone");
        let deadline = Instant::now() + at_most;
        while self.caller.is_some() && Instant::now() < deadline {
            if !self.call(Kind::Reads, call.clone(), |cluster, host| Ok(cluster.shows_network(host, name))).await? {
                return Ok(());
            }
            sleep(WAIT_POLL).await;
        }
        let at_most_ms = if self.caller.is_some() { 0 } else { at_most.as_millis().try_into().unwrap_or(u64::MAX) };
        self.call(Kind::Reads, call, |cluster, host| cluster.network_gone(host, name, at_most_ms)).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        let call = format!("create volume `{}`", spec.name);
        self.call(Kind::Changes, call, |cluster, host| cluster.create_volume(host, spec)).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let call = format!("remove volume `{name}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.remove_volume(host, name)).await
    }

    async fn pull(
        &self,
        image: &str,
        _platform: Option<&str>,
        _login: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        progress(format!("Pulling from {image}"));
        let call = format!("pull image `{image}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.pull(host, image)).await
    }

    async fn digest(&self, image: &str, _login: Option<&str>) -> Result<String, EngineError> {
        let call = format!("ask for the digest of image `{image}`");
        self.call(Kind::Reads, call, |cluster, host| cluster.digest(host, image)).await
    }

    async fn push(
        &self,
        image: &str,
        _login: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        progress(format!("Pushing {image}"));
        self.call(Kind::Changes, format!("push image `{image}`"), |cluster, host| cluster.push(host, image)).await
    }

    async fn save(&self, image: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let call = format!("save image `{image}`");
        let archive = self.call(Kind::Reads, call, |cluster, host| cluster.save(host, image)).await?;
        Ok(stream::iter([Ok(archive.into())]).boxed())
    }

    async fn load(&self, image: &str, archive: Pieces) -> Result<(), EngineError> {
        let whole = whole(archive).await;
        self.call(Kind::Changes, format!("load image `{image}`"), |cluster, host| cluster.load(host, &whole?)).await
    }

    async fn images(&self) -> Result<Vec<String>, EngineError> {
        self.call(Kind::Reads, "list images".to_owned(), |cluster, host| cluster.images(host)).await
    }

    async fn image(&self, image: &str) -> Result<ImageParts, EngineError> {
        self.call(Kind::Reads, format!("look at image `{image}`"), |cluster, host| cluster.image_parts(host, image)).await
    }

    async fn build(
        &self,
        build: &ImageBuild,
        _dockerfile: &str,
        context: Option<Pieces>,
        _lent: &Lent,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        progress("building".to_owned());
        if let Some(context) = context {
            let _ = whole(context).await;
        }
        let call = format!("build image `{}`", build.tags.first().map(String::as_str).unwrap_or_default());
        self.call(Kind::Changes, call, |cluster, host| cluster.build(host, build)).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        let call = format!("remove image `{image}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.remove_image(host, image)).await
    }

    async fn swarm_init(&self, advertise: &str) -> Result<(), EngineError> {
        let call = "form a swarm".to_owned();
        self.call(Kind::Changes, call, |cluster, host| cluster.swarm_init(host, advertise)).await
    }

    async fn swarm_recover(&self, _advertise: &str) -> Result<(), EngineError> {
        let call = "begin the swarm anew".to_owned();
        self.call(Kind::Changes, call, |cluster, host| cluster.swarm_recover(host)).await
    }

    async fn join_token(&self, role: Role) -> Result<String, EngineError> {
        let call = format!("ask for the token of a {role}");
        self.call(Kind::Reads, call, |cluster, host| cluster.join_token(host, role)).await
    }

    async fn swarm_join(&self, advertise: &str, remote: &str, token: &str) -> Result<(), EngineError> {
        let call = format!("join the swarm at {remote}");
        self.call(Kind::Changes, call, |cluster, host| cluster.swarm_join(host, advertise, remote, token)).await
    }

    async fn swarm_leave(&self, force: bool) -> Result<(), EngineError> {
        let call = "leave the swarm".to_owned();
        self.call(Kind::Changes, call, |cluster, host| cluster.swarm_leave(host, force)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        let call = "list the swarm's nodes".to_owned();
        self.call(Kind::Reads, call, |cluster, host| cluster.nodes(host)).await
    }

    async fn node_remove(&self, node_id: &str, force: bool) -> Result<(), EngineError> {
        let call = format!("remove node `{node_id}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.node_remove(host, node_id, force)).await
    }

    async fn node_role(&self, node_id: &str, role: Role) -> Result<(), EngineError> {
        let call = format!("make node `{node_id}` a {role}");
        self.call(Kind::Changes, call, |cluster, host| cluster.node_role(host, node_id, role)).await
    }

    /// A fake's swarm needs no time for an election: it has a leader as long as most of its managers are there.
    async fn new_leader(&self) -> Result<(), EngineError> {
        loop {
            let call = "hear of a new leader of the swarm".to_owned();
            match self.call(Kind::Reads, call, |cluster, host| cluster.manager_of(host).map(drop)).await {
                Err(error) if error.kind == ErrorKind::NoLeader => sleep(WAIT_POLL).await,
                end => return end,
            }
        }
    }

    async fn configs(&self, prefix: &str) -> Result<Vec<ConfigObject>, EngineError> {
        let call = format!("list configs `{prefix}*`");
        self.call(Kind::Reads, call, |cluster, host| cluster.configs(host, prefix)).await
    }

    async fn config_create(&self, name: &str, labels: &BTreeMap<String, String>, data: &[u8]) -> Result<String, EngineError> {
        let call = format!("create config `{name}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.config_create(host, name, labels, data)).await
    }

    async fn config_relabel(&self, id: &str, version: u64, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let call = format!("relabel config `{id}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.config_relabel(host, id, version, labels)).await
    }

    async fn config_remove(&self, id: &str) -> Result<(), EngineError> {
        let call = format!("remove config `{id}`");
        self.call(Kind::Changes, call, |cluster, host| cluster.config_remove(host, id)).await
    }
}
