//! `mcompose logs`

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;

use super::moment::moment;
use super::session::Session;
use super::watch::{Cascade, Subjects, Watch, short_name};
use super::{Failure, Globals, exit, load};
use crate::engine::{EngineError, LogLine, LogQuery};
use crate::project::{HostName, Project};
use crate::ui::{LogPainter, LogStyle, Ui};
use crate::world::{Container, Labels};

/// View output from containers
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes). Without a zone it is UTC
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs for each container
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes). Without a zone it is UTC
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    services: Vec<String>,
}

pub async fn run(args: &LogsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "logs").await?;
    load::selection(&args.services, &project)?;
    let query = query(args)?;
    let style = LogStyle { color: ui.color && !args.no_color, prefix: !args.no_log_prefix, timestamps: args.timestamps };
    let wanted = |labels: &Labels| {
        let service = labels.service.as_deref().unwrap_or_default();
        (args.services.is_empty() || args.services.iter().any(|name| name == service))
            && (args.index == 0 || labels.number == Some(args.index))
            && !labels.oneoff
    };
    if args.follow && args.until.is_none() {
        let subjects = Subjects { watched: &wanted, shown: &wanted, announce: false };
        let mut watch = Watch::open(&session, &project, subjects, style, &query).await?;
        watch.run(Cascade::Never).await;
        return Ok(exit::OK);
    }
    let world = session.look_and_warn().await?;
    let containers: Vec<_> = world.containers_of(&project.name).filter(|(_, container)| wanted(&container.labels)).collect();
    merged(&session, &project, &containers, &query, LogPainter::new(style)).await;
    Ok(exit::OK)
}

#[expect(clippy::disallowed_methods, reason = "relative times start from now")]
fn query(args: &LogsArgs) -> Result<LogQuery, Failure> {
    let tail = match args.tail.as_str() {
        "all" => None,
        // As docker: less than nothing is all.
        text if text.parse::<i64>().is_ok_and(|count| count < 0) => None,
        text => Some(text.parse().map_err(|_| {
            Failure::said(format!("`--tail {text}` is no number"), "a number of lines, or `all`".to_owned(), exit::USAGE)
        })?),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (since, until) = (moment(args.since.as_deref(), now)?, moment(args.until.as_deref(), now)?);
    Ok(LogQuery { follow: args.follow, tail, since, until })
}

/// Prints the lines of all containers in the order of their times, holding one line of each.
async fn merged(
    session: &Session,
    project: &Project,
    containers: &[(&HostName, &Container)],
    query: &LogQuery,
    mut painter: LogPainter,
) {
    let opened = join_all(containers.iter().map(|(host, container)| async {
        let engine = session.engines.get(*host)?;
        Some(engine.logs(container.id.as_str(), query).await)
    }));
    let mut readers: Vec<Reader> = Vec::new();
    for ((_, container), stream) in containers.iter().zip(opened.await) {
        let name = short_name(project, &container.name);
        match stream {
            Some(Ok(stream)) => readers.push(Reader { index: painter.add(name), stream }),
            Some(Err(error)) => session.ui.warning(&format!("the log of `{name}` cannot be read: {}", error.message)),
            None => {}
        }
    }
    let mut heads: BTreeMap<(String, usize), LogLine> = BTreeMap::new();
    let firsts = join_all(readers.iter_mut().map(Reader::next)).await;
    for (at, first) in firsts.into_iter().enumerate() {
        heads.extend(said(session, &painter, at, first).map(|line| ((line.time.clone(), at), line)));
    }
    while let Some(((_, at), line)) = heads.pop_first() {
        session.ui.data(&painter.paint(readers[at].index, &line));
        let next = readers[at].next().await;
        heads.extend(said(session, &painter, readers[at].index, next).map(|line| ((line.time.clone(), at), line)));
    }
}

struct Reader {
    index: usize,
    stream: BoxStream<'static, Result<LogLine, EngineError>>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<LogLine, EngineError>> {
        self.stream.next().await
    }
}

/// The next line; a broken log is told and ends.
fn said(session: &Session, painter: &LogPainter, index: usize, next: Option<Result<LogLine, EngineError>>) -> Option<LogLine> {
    match next? {
        Ok(line) => Some(line),
        Err(error) => {
            session.ui.warning(&format!("the log of `{}` ends: {}", painter.name(index), error.message));
            None
        }
    }
}
