//! Containers watched as they speak, end and begin again: `logs -f` and an attached `up`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Failure;
use super::happened::by_clock_of;
use super::session::Session;
use crate::engine::{ContainerEvent, LogLine, LogQuery};
use crate::project::{ContainerId, HostName, Project};
use crate::ui::{LogPainter, LogStyle};
use crate::world::{Labels, State};

/// Lines of different hosts are held this long, so that they come out in the order of their times.
const REORDER: Duration = Duration::from_millis(100);
/// Last lines of containers that were stopped are waited for this long.
const LAST_LINES_MAX: Duration = Duration::from_secs(3);
/// A container whose log has ended shows within this that it has ended itself, if it has: the engine takes it off its networks first.
const DEATH_SHOWS_MAX: Duration = Duration::from_secs(10);
const DEATH_POLL: Duration = Duration::from_millis(200);
const TOLD_QUEUED_MAX: usize = 4096;

/// What ends the watching before all containers have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cascade {
    Never,
    /// `--abort-on-container-exit`
    OneEnded,
    /// `--abort-on-container-failure`
    OneFailed,
}

/// Why watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every container has ended.
    ByItself,
    Interrupted,
    /// The one that the cascade waited for, with its exit code.
    Cascaded {
        exit_code: i64,
    },
}

/// Which containers are followed, and whose lines are shown.
#[derive(Clone, Copy)]
pub struct Subjects<'a> {
    pub watched: &'a (dyn Fn(&Labels) -> bool + Sync),
    pub shown: &'a (dyn Fn(&Labels) -> bool + Sync),
    /// Whether it is said which there are.
    pub announce: bool,
}

pub struct Watch<'a> {
    session: &'a Session,
    project: &'a Project,
    subjects: Subjects<'a>,
    painter: LogPainter,
    /// Each has the index of its name in the painter.
    containers: Vec<Watched>,
    sender: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    /// Lines by time, then by the order of coming.
    held: BTreeMap<(String, u64), (usize, LogLine)>,
    count: u64,
    flush_at: Instant,
}

struct Watched {
    host: HostName,
    id: ContainerId,
    is_shown: bool,
    /// Its log may have lines yet.
    is_read: bool,
    state: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Runs,
    /// Said once its last lines are shown.
    Died {
        exit_code: i64,
    },
    Ended,
}

/// What readers tell, containers by their index.
enum Told {
    Line(usize, LogLine),
    Broken(usize, String),
    LogEnd(usize),
    /// It was seen dead, with this exit code.
    Dead(usize, i64),
    Event(HostName, ContainerEvent),
    Blind(HostName, String),
}

impl<'a> Watch<'a> {
    /// Follows what is there and what comes. `query` is for the logs of what is there, its times by this machine's clock.
    pub async fn open(
        session: &'a Session,
        project: &'a Project,
        subjects: Subjects<'a>,
        style: LogStyle,
        query: &LogQuery,
    ) -> Result<Self, Failure> {
        let (sender, told) = mpsc::channel(TOLD_QUEUED_MAX);
        // Events first: nothing that happens after the look is missed.
        join_all(session.engines.keys().map(|host| follow_events(session, host, sender.clone()))).await;
        let world = session.look_and_warn().await?;
        let mut watch = Self {
            session,
            project,
            subjects,
            painter: LogPainter::new(style),
            containers: Vec::new(),
            sender,
            told,
            held: BTreeMap::new(),
            count: 0,
            flush_at: Instant::now() + REORDER,
        };
        for (host, container) in world.containers_of(&project.name).filter(|(_, found)| (subjects.watched)(&found.labels)) {
            let index = watch.add(host, container.id.clone(), &container.name, &container.labels);
            watch.containers[index].state = match container.state {
                State::Exited { code } => Life::Died { exit_code: code.unwrap_or_default() },
                State::Dead | State::Created => Life::Ended,
                _ => Life::Runs,
            };
            if container.state != State::Created {
                watch.read(index, LogQuery { since: by_clock_of(&world, host, &query.since), ..query.clone() });
            }
        }
        let mut names: Vec<&str> =
            watch.indices().filter(|at| watch.containers[*at].is_shown).map(|at| watch.painter.name(at)).collect();
        // Wherever they are.
        names.sort_unstable();
        if subjects.announce && !names.is_empty() {
            session.ui.data(&format!("Attaching to {}", names.join(", ")));
        }
        Ok(watch)
    }

    /// Shows lines until every container has ended, one has that the cascade waits for, or Ctrl-C.
    pub async fn run(&mut self, cascade: Cascade) -> Ended {
        let already: Vec<usize> = self.indices().filter(|index| !self.containers[*index].is_read).collect();
        for index in already {
            if let Some(exit_code) = self.settle(index).await.filter(|code| cascade.is_met(*code)) {
                return Ended::Cascaded { exit_code };
            }
        }
        while self.containers.iter().any(|container| container.state != Life::Ended || container.is_read) {
            let ended = tokio::select! {
                told = self.told.recv() => match told {
                    Some(told) => self.hear(told).await,
                    None => break,
                },
                () = sleep_until(self.flush_at) => {
                    self.flush();
                    None
                }
                () = self.session.interrupt.asked(1) => {
                    self.flush();
                    return Ended::Interrupted;
                }
            };
            if let Some(exit_code) = ended.filter(|code| cascade.is_met(*code)) {
                return Ended::Cascaded { exit_code };
            }
        }
        self.flush();
        Ended::ByItself
    }

    /// Shows lines while something else is done, and the last ones of what it ended.
    pub async fn run_beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut done = None;
        let mut until = Instant::now();
        loop {
            let is_over = self.containers.iter().all(|container| container.state == Life::Ended && !container.is_read);
            if let Some(done) = done.take_if(|_| is_over || Instant::now() >= until) {
                self.flush();
                return done;
            }
            tokio::select! {
                end = &mut work, if done.is_none() => {
                    done = Some(end);
                    until = Instant::now() + LAST_LINES_MAX;
                }
                Some(told) = self.told.recv() => drop(self.hear(told).await),
                () = sleep_until(self.flush_at) => self.flush(),
            }
        }
    }

    fn indices(&self) -> std::ops::Range<usize> {
        0..self.containers.len()
    }

    fn add(&mut self, host: &HostName, id: ContainerId, name: &str, labels: &Labels) -> usize {
        let is_shown = (self.subjects.shown)(labels);
        let short = short_name(self.project, name);
        self.containers.push(Watched { host: host.clone(), id, is_shown, is_read: false, state: Life::Runs });
        if is_shown { self.painter.add(short) } else { self.painter.add_silent(short) }
    }

    /// Begins to read the log of a container that is shown.
    fn read(&mut self, index: usize, query: LogQuery) {
        let container = &mut self.containers[index];
        let Some(engine) = self.session.engines.get(&container.host).cloned().filter(|_| container.is_shown) else { return };
        container.is_read = true;
        let (sender, id) = (self.sender.clone(), container.id.clone());
        tokio::spawn(async move {
            match engine.logs(id.as_str(), &query).await {
                Err(error) => drop(sender.send(Told::Broken(index, error.message)).await),
                Ok(mut lines) => {
                    while let Some(line) = lines.next().await {
                        let told = line.map_or_else(|error| Told::Broken(index, error.message), |line| Told::Line(index, line));
                        if sender.send(told).await.is_err() {
                            return;
                        }
                    }
                }
            }
            let _ = sender.send(Told::LogEnd(index)).await;
        });
    }

    /// Returns the exit code of a container that has ended with it.
    async fn hear(&mut self, told: Told) -> Option<i64> {
        match told {
            Told::Line(index, line) => {
                self.count += 1;
                self.held.insert((line.time.clone(), self.count), (index, line));
                None
            }
            Told::Broken(index, why) => {
                self.session.ui.warning(&format!("the log of `{}` ends: {why}", self.painter.name(index)));
                None
            }
            Told::LogEnd(index) => {
                self.containers[index].is_read = false;
                self.look_after(index);
                self.settle(index).await
            }
            Told::Dead(index, exit_code) => {
                let container = &mut self.containers[index];
                // Its event may have come by now, or it may be about a later life.
                if container.state == Life::Runs && !container.is_read {
                    container.state = Life::Died { exit_code };
                }
                self.settle(index).await
            }
            Told::Blind(host, why) => {
                self.session.ui.warning(&format!("host `{host}` tells no more of what happens there: {why}"));
                None
            }
            Told::Event(host, event) => self.happened(&host, &event).await,
        }
    }

    /// A log that ends may be the only sign of a death: an engine answers that events are followed a moment before it listens for
    /// them itself, and on a busy host one gets lost in between.
    fn look_after(&self, index: usize) {
        let container = &self.containers[index];
        let engine = self.session.engines.get(&container.host).cloned();
        let Some(engine) = engine.filter(|_| container.state == Life::Runs) else { return };
        let (sender, id) = (self.sender.clone(), container.id.clone());
        tokio::spawn(async move {
            let deadline = Instant::now() + DEATH_SHOWS_MAX;
            while Instant::now() < deadline {
                match engine.inspect(id.as_str()).await {
                    Ok(seen) if seen.state.is_up() => sleep(DEATH_POLL).await,
                    Ok(seen) => return drop(sender.send(Told::Dead(index, seen.exit_code)).await),
                    Err(_) => return,
                }
            }
        });
    }

    async fn happened(&mut self, host: &HostName, event: &ContainerEvent) -> Option<i64> {
        let labels = Labels::decode(event.labels.clone());
        if labels.project.as_deref() != Some(self.project.name.as_str()) || !(self.subjects.watched)(&labels) {
            return None;
        }
        let known = self.indices().find(|index| self.containers[*index].id.as_str() == event.id);
        match (event.action.as_str(), known) {
            ("start", known) => {
                let id = ContainerId::new(event.id.clone()).ok()?;
                let index = known.unwrap_or_else(|| self.add(host, id, &event.name, &labels));
                // A look that was later than the event has told it already.
                if known.is_none() || self.containers[index].state != Life::Runs {
                    self.containers[index].state = Life::Runs;
                    let since = format!("{}.{:09}", event.time_ns / 1_000_000_000, event.time_ns % 1_000_000_000);
                    self.read(index, LogQuery { follow: true, since, ..LogQuery::default() });
                }
                None
            }
            ("die", Some(index)) if self.containers[index].state == Life::Runs => {
                self.containers[index].state = Life::Died { exit_code: event.exit_code.unwrap_or_default() };
                self.settle(index).await
            }
            _ => None,
        }
    }

    /// Says that a container has ended, once its last lines were read. Returns its exit code, unless its engine starts it again.
    async fn settle(&mut self, index: usize) -> Option<i64> {
        let container = &self.containers[index];
        let Life::Died { exit_code } = container.state else { return None };
        if container.is_read {
            return None;
        }
        let engine = self.session.engines.get(&container.host)?;
        let again = engine.inspect(container.id.as_str()).await.is_ok_and(|seen| seen.state.is_up());
        let is_shown = container.is_shown;
        self.containers[index].state = if again { Life::Runs } else { Life::Ended };
        self.flush();
        if is_shown {
            let again = if again { " (restarting)" } else { "" };
            self.session.ui.data(&self.painter.remark(index, &format!("exited with code {exit_code}{again}")));
        }
        (!again).then_some(exit_code)
    }

    fn flush(&mut self) {
        for (index, line) in std::mem::take(&mut self.held).into_values() {
            self.session.ui.data(&self.painter.paint(index, &line));
        }
        self.flush_at = Instant::now() + REORDER;
    }
}

impl Cascade {
    fn is_met(self, exit_code: i64) -> bool {
        match self {
            Self::Never => false,
            Self::OneEnded => true,
            Self::OneFailed => exit_code != 0,
        }
    }
}

/// A host that does not answer is told by the look.
async fn follow_events(session: &Session, host: &HostName, sender: mpsc::Sender<Told>) {
    let Some(engine) = session.engines.get(host) else { return };
    let Ok(mut events) = engine.events("", "").await else { return };
    let host = host.clone();
    tokio::spawn(async move {
        let why = loop {
            match events.next().await {
                Some(Ok(event)) => {
                    if sender.send(Told::Event(host.clone(), event)).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => break error.message,
                None => break "its engine ended".to_owned(),
            }
        };
        let _ = sender.send(Told::Blind(host, why)).await;
    });
}

/// `web-1`, as docker compose names a container in its logs.
pub fn short_name(project: &Project, container: &str) -> String {
    let prefix = format!("{}-", project.name);
    container.strip_prefix(&prefix).unwrap_or(container).to_owned()
}
