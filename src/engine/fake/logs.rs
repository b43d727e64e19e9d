//! Log lines as a stream.

use futures_util::stream::{self, BoxStream, StreamExt};

use super::Fake;
use crate::engine::{EngineError, LogLine, LogQuery};
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
        let mut changes = self.fake.changes.subscribe();
        loop {
            changes.mark_unchanged();
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
            changes.changed().await.ok()?;
        }
    }
}
