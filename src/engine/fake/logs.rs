//! Log lines and events as streams.

use futures_util::stream::{self, BoxStream, StreamExt};

use super::Fake;
use super::state::Reach;
use crate::engine::{ContainerEvent, Ending, EngineError, ErrorKind, LogLine, LogQuery};
use crate::project::HostName;

/// Lines from where `next` points on; with `follow` until the container is removed.
struct Reader {
    fake: Fake,
    host: HostName,
    id: String,
    next: usize,
    follow: bool,
}

pub(super) fn stream_of(
    fake: Fake,
    host: HostName,
    id: String,
    query: &LogQuery,
) -> BoxStream<'static, Result<LogLine, EngineError>> {
    let length = fake.lock().hosts.get(&host).and_then(|host| host.containers.get(&id)).map_or(0, |found| found.lines.len());
    let tail = query.tail.map_or(length, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
    let reader = Reader { fake, host, id, next: length.saturating_sub(tail), follow: query.follow };
    stream::unfold(reader, |mut reader| async move {
        let line = reader.next_line().await?;
        Some((Ok(line), reader))
    })
    .boxed()
}

impl Reader {
    async fn next_line(&mut self) -> Option<LogLine> {
        let fake = self.fake.clone();
        loop {
            let changed = fake.changes.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let line = {
                let cluster = self.fake.lock();
                cluster.hosts.get(&self.host)?.containers.get(&self.id)?.lines.get(self.next).cloned()
            };
            if line.is_some() {
                self.next += 1;
                return line;
            }
            if !self.follow {
                return None;
            }
            changed.await;
        }
    }
}

/// Events of a host from the `next` one on. Those of a host that cannot be reached come when it can be again, as over a
/// connection that outlives a short cut; a crash ends the stream.
pub(super) fn events_of(
    fake: Fake,
    host: HostName,
    next: usize,
    follow: bool,
) -> BoxStream<'static, Result<ContainerEvent, EngineError>> {
    stream::unfold((fake, host, next, follow), |(fake, host, mut next, follow)| async move {
        let changes = fake.changes.clone();
        loop {
            let changed = changes.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let found = next_event(&fake, &host, &mut next);
            match found {
                Some(event) => return Some((event, (fake, host, next, follow))),
                None if !follow => return None,
                None => changed.await,
            }
        }
    })
    .boxed()
}

fn next_event(fake: &Fake, host: &HostName, next: &mut usize) -> Option<Result<ContainerEvent, EngineError>> {
    let cluster = fake.lock();
    match cluster.hosts.get(host)?.reach {
        Reach::Up => {}
        Reach::Cut | Reach::Frozen => return None,
        Reach::Crashed | Reach::Refusing => {
            let (call, message) = ("follow the engine's events".to_owned(), "connection reset by peer".to_owned());
            return Some(Err(EngineError { host: host.clone(), call, kind: ErrorKind::Unreachable, message }));
        }
    }
    let rest = cluster.events.get(*next..).unwrap_or_default();
    let skipped = rest.iter().take_while(|(on, _)| on != host).count();
    *next += skipped;
    let (_, event) = rest.get(skipped)?;
    *next += 1;
    Some(Ok(event.clone()))
}

/// The exit code of a container once it ends after the `from`th event; an unpaced cluster's clock is moved to what happens next.
pub(super) async fn end_of(fake: Fake, host: HostName, id: String, when: Ending, from: usize) -> i64 {
    loop {
        let changed = fake.changes.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let ended = {
            let cluster = fake.lock();
            let events = cluster.events.iter().skip(from).filter(|(on, event)| *on == host && event.id == id);
            let code = events.clone().find(|(_, event)| event.action == "die").and_then(|(_, event)| event.exit_code);
            let is_gone = events.clone().any(|(_, event)| event.action == "destroy");
            code.filter(|_| when != Ending::Removed || is_gone)
        };
        if let Some(code) = ended {
            return code;
        }
        let has_moved = fake.change(|cluster| {
            let due_ms = cluster.next_due_ms().filter(|_| cluster.pace.is_none());
            due_ms.map(|due_ms| cluster.advance(due_ms.saturating_sub(cluster.now_ms))).is_some()
        });
        if !has_moved {
            changed.await;
        }
    }
}
