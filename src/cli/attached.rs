//! What an `up` without `-d` shows, what ends it, and how it then stops its containers, as docker compose does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::moment::api_text;
use super::session::{Keep, Session};
use super::supervise::supervision;
use super::watch::{Cascade, Ended, Subjects, Watch};
use super::{Failure, exit, load};
use crate::engine::LogQuery;
use crate::plan::{Goal, Selection};
use crate::project::{Project, ServiceName};
use crate::supervise::Scope;
use crate::supervise::machine::Notice;
use crate::ui::{LogStyle, Mode};
use crate::world::{Labels, State};

#[derive(Debug, Clone, clap::Args)]
pub struct AttachArgs {
    /// Stops all containers if any container was stopped. Incompatible with -d
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Stops all containers if any container exited with failure. Incompatible with -d
    #[arg(long, conflicts_with_all = ["detach", "abort_on_container_exit"])]
    abort_on_container_failure: bool,
    /// Return the exit code of the selected service container. Implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Restrict attaching to the specified services. Incompatible with --attach-dependencies
    #[arg(long, value_name = "SERVICE", conflicts_with_all = ["detach", "attach_dependencies"])]
    attach: Vec<String>,
    /// Automatically attach to log output of dependent services
    #[arg(long, conflicts_with = "detach")]
    attach_dependencies: bool,
    /// Do not attach (stream logs) to the specified services
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Show timestamps
    #[arg(long)]
    timestamps: bool,
}

/// What of a project is up and to be watched.
pub struct Upped<'a> {
    pub session: &'a Session,
    pub project: &'a Project,
    /// As named on the command line; with `deps`, what they depend on is up too.
    pub services: &'a Selection,
    pub deps: bool,
    /// For stopping.
    pub timeout_secs: Option<u64>,
    /// When it began, since 1970: lines from then on are shown.
    pub since: Duration,
}

impl AttachArgs {
    /// Refuses services that are not there, before anything is done.
    pub fn check(&self, project: &Project) -> Result<(), Failure> {
        let named = self.attach.iter().chain(&self.no_attach).chain(&self.exit_code_from);
        load::selection(&named.cloned().collect::<Vec<_>>(), project).map(drop)
    }

    fn cascade(&self) -> Cascade {
        match () {
            () if self.abort_on_container_failure => Cascade::OneFailed,
            () if self.abort_on_container_exit || self.exit_code_from.is_some() => Cascade::OneEnded,
            () => Cascade::Never,
        }
    }

    /// The services whose lines are shown.
    fn shown(&self, up: &Upped<'_>) -> BTreeSet<ServiceName> {
        let named: BTreeSet<ServiceName> = match self.attach.is_empty() {
            false => {
                up.project.services.keys().filter(|name| self.attach.iter().any(|one| one == name.as_str())).cloned().collect()
            }
            true => brought_up(up.project, up.services, self.attach_dependencies)
                .into_iter()
                .filter(|name| up.project.services[name].attach != Some(false))
                .collect(),
        };
        named.into_iter().filter(|name| !self.no_attach.iter().any(|other| other == name.as_str())).collect()
    }
}

/// Shows lines until all has ended, one container has that counts, or Ctrl-C, which stops them. Returns the exit code.
pub async fn attached(args: &AttachArgs, up: &Upped<'_>) -> Result<u8, Failure> {
    let (all, shown) = (brought_up(up.project, up.services, up.deps), args.shown(up));
    let has = |services: &BTreeSet<ServiceName>, labels: &Labels| {
        let service = labels.service.as_deref().unwrap_or_default();
        !labels.oneoff && services.iter().any(|name| name.as_str() == service)
    };
    let (watched, shown) = (|labels: &Labels| has(&all, labels), |labels: &Labels| has(&shown, labels));
    let subjects = Subjects { watched: &watched, shown: &shown, announce: true };
    let color = up.session.ui.color && !args.no_color;
    let style = LogStyle { color, prefix: !args.no_log_prefix, timestamps: args.timestamps };
    let query = LogQuery { follow: true, since: api_text(up.since), ..LogQuery::default() };
    let mut watch = Watch::open(up.session, up.project, subjects, style, &query).await?;
    let _attention = up.session.interrupt.attend();
    let supervising = Supervising::begin(up).await?;
    let ended = watch.run(args.cascade()).await;
    supervising.end().await;
    let first_code = match ended {
        Ended::ByItself => return Ok(exit::OK),
        Ended::Interrupted => None,
        Ended::Cascaded { exit_code } => Some(exit_code),
    };
    up.session.ui.note(match ended {
        Ended::Interrupted => "stopping, as asked; once more kills",
        _ => "one container has ended: stopping the others",
    });
    let stopped = stop(up, &mut watch).await?;
    let code = match &args.exit_code_from {
        Some(service) if first_code.is_some() => exit_code_of(up, service).await.or(first_code),
        _ => first_code,
    };
    Ok(match code {
        Some(code) => u8::try_from(code & 0xff).unwrap_or(exit::FAILURE),
        None if stopped == exit::OK => exit::INTERRUPTED,
        None => stopped,
    })
}

/// Supervision of the one project, beside its lines, for as long as somebody is attached.
struct Supervising {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Supervising {
    /// On one engine without an inventory nothing is begun: what ends there is its engine's matter, as with docker compose.
    async fn begin(up: &Upped<'_>) -> Result<Self, Failure> {
        let (stop, stopped) = watch::channel(false);
        let mut task = None;
        if up.session.file.is_some() {
            let supervision = supervision(up.session, Scope::Project(up.project.name.clone())).await?;
            let (_, changed) = mpsc::unbounded_channel();
            let ui = up.session.ui;
            let tell = move |notice| match notice {
                Notice::Leads | Notice::StandsBy | Notice::HostUp { .. } | Notice::Repaired { .. } => {}
                notice => ui.note(&notice.to_string()),
            };
            task = Some(tokio::spawn(crate::supervise::run(supervision, changed, tell, stopped)));
        }
        Ok(Self { stop, task })
    }

    /// Nothing is put right any more from here on.
    async fn end(self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task {
            let _ = task.await;
        }
    }
}

/// Stops, or when asked a second time kills, while lines are still shown.
async fn stop(up: &Upped<'_>, watch: &mut Watch<'_>) -> Result<u8, Failure> {
    let mut session = up.session.afresh();
    // What changes in place would be in the way of the lines.
    if session.ui.progress == Mode::Tty {
        session.ui.progress = Mode::Plain;
    }
    let nothing = BTreeMap::new();
    let goal = Goal::Stop { services: up.services.clone(), timeout_secs: up.timeout_secs };
    let stopped = watch.run_beside(session.change(&[goal], up.project, &nothing, Keep::Same)).await?;
    if session.interrupt.count() == 0 {
        return Ok(stopped);
    }
    let goal = Goal::Kill { services: up.services.clone(), signal: "SIGKILL".to_owned(), remove_orphans: false };
    let session = session.afresh();
    watch.run_beside(session.change(&[goal], up.project, &nothing, Keep::Same)).await
}

/// The services that an `up` of these brings up.
pub fn brought_up(project: &Project, services: &Selection, deps: bool) -> BTreeSet<ServiceName> {
    let mut open: Vec<&ServiceName> = project.services.keys().filter(|name| services.has(name.as_str())).collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !found.insert(name.clone()) || !deps {
            continue;
        }
        open.extend(project.services.get(name).into_iter().flat_map(|service| service.depends_on.keys()));
    }
    found.retain(|name| project.services.contains_key(name));
    found
}

/// Of the first replica that has ended.
async fn exit_code_of(up: &Upped<'_>, service: &str) -> Option<i64> {
    let world = up.session.look(None).await;
    let mut ended: Vec<_> = world
        .containers_of(&up.project.name)
        .filter(|(_, container)| container.labels.service.as_deref() == Some(service) && !container.labels.oneoff)
        .filter_map(|(_, container)| match container.state {
            State::Exited { code } => Some((container.labels.number, code)),
            _ => None,
        })
        .collect();
    ended.sort_unstable();
    ended.first().and_then(|(_, code)| *code)
}

/// This machine's clock, since 1970.
#[expect(clippy::disallowed_methods, reason = "lines are shown from the command's begin on")]
pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
