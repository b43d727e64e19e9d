//! `mcompose watch`, and `up --watch`: what is changed here reaches every replica on every host.
//!
//! Files are looked at anew twice a second, as a change comes to its end: that works wherever files can be read, network folders
//! included, and asks for nothing that is not there anyway. What a look costs is bounded: the pauses grow with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep};

use super::exec::replicas;
use super::session::{Keep, Session};
use super::trigger::{Action, Change, Todo, Trigger, todo, triggers};
use super::{Failure, Globals, exit, load, up};
use crate::delivery::{Ignore, Sighting, Stamp, scan, sync_in};
use crate::plan::{Goal, Selection};
use crate::project::{Mount, Project, ServiceName};
use crate::ui::Ui;

/// Between two looks at the files: changes that belong together come together, as with docker compose.
const PAUSE: Duration = Duration::from_millis(500);
/// A pause is so many times as long as the look before it, if that is more: looking takes a tenth of a core at most.
const PAUSE_FACTOR: u32 = 10;

/// Watch build context for service and rebuild/refresh containers when files are updated
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Do not build & start services before watching
    #[arg(long)]
    no_up: bool,
    /// Prune dangling images on rebuild: not done here, hosts keep what they have
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    prune: Option<bool>,
    /// Hide build output
    #[arg(long)]
    quiet: bool,
    services: Vec<String>,
}

pub async fn run(args: &WatchArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let loaded = load::project_file(globals, &args.services, ui)?;
    let selection = load::selection(&args.services, &loaded.project)?;
    let watching = Watching::of(&loaded.project, &selection)?;
    let building = if args.quiet { ui.quiet() } else { ui };
    if !args.no_up {
        let code = up::built(&args.services, globals, building, true).await?;
        if code != exit::OK {
            return Ok(code);
        }
    }
    if globals.dry_run {
        watching.paths().iter().for_each(|path| ui.data(&format!("would watch {}", path.display())));
        return Ok(exit::OK);
    }
    if args.prune == Some(true) {
        ui.note(
            "--prune: images that a rebuild leaves without a name stay on the hosts; `docker image prune` there removes them",
        );
    }
    let session = load::session(globals, ui, Some(&loaded.project), "watch").await?;
    let _attention = session.interrupt.attend();
    let rebuild = Rebuild { globals, ui: building };
    watching.run(&session, &loaded.project, &rebuild).await;
    Ok(exit::OK)
}

/// What a rebuild is made with.
pub struct Rebuild<'a> {
    pub globals: &'a Globals,
    pub ui: Ui,
}

/// The files that are watched, and what for.
pub struct Watching {
    triggers: Vec<Trigger>,
    /// What is not watched, since a bind mount brings it to the containers already.
    mounted: Vec<PathBuf>,
}

impl Watching {
    /// Refuses services without a rule, and rules that cannot be kept.
    pub fn of(project: &Project, services: &Selection) -> Result<Self, Failure> {
        let found = triggers(project, &|name| services.has(name.as_str()), &Ignore::of_context);
        let found = found.map_err(|error| Failure::said(error, None, exit::COMPOSE_FILE))?;
        let is_mounted = |trigger: &Trigger| {
            let mounts = project.services.get(&trigger.service).map(|service| service.volumes.as_slice()).unwrap_or_default();
            trigger.action.syncs() && mounts.iter().any(|mount| covers(mount, &trigger.path))
        };
        let (mounted, triggers): (Vec<Trigger>, Vec<Trigger>) = found.into_iter().partition(is_mounted);
        if triggers.is_empty() {
            let error = "none of the selected services is configured for watch, consider setting a 'develop' section";
            return Err(Failure::said(error, None, exit::USAGE));
        }
        Ok(Self { triggers, mounted: mounted.into_iter().map(|trigger| trigger.path).collect() })
    }

    /// The services that a change of files builds anew.
    pub fn rebuilds(&self) -> impl Iterator<Item = &ServiceName> {
        self.triggers.iter().filter(|trigger| trigger.action == Action::Rebuild).map(|trigger| &trigger.service)
    }

    fn paths(&self) -> BTreeSet<&Path> {
        self.triggers.iter().map(|trigger| trigger.path.as_path()).collect()
    }

    fn look(&self) -> Sighting {
        let mut found = Sighting::new();
        for path in self.paths() {
            scan(path, &|folder| self.triggers.iter().any(|trigger| trigger.enters(folder)), &mut found);
        }
        found
    }

    /// Until it is interrupted. What fails is told, and tried again with the next change.
    pub async fn run(&self, session: &Session, project: &Project, rebuild: &Rebuild<'_>) {
        for path in &self.mounted {
            let path = path.display();
            session.ui.warning(&format!("path '{path}' also declared by a bind mount volume, this path won't be monitored!"));
        }
        let doer = Doer { session, project, rebuild };
        let mut seen = self.look();
        let files = seen.iter().filter(|(_, stamp)| **stamp != Stamp::Folder);
        let first = files.map(|(path, _)| (path.clone(), Change::Written)).collect();
        doer.act(&todo(&self.triggers, &first, true)).await;
        session.ui.note("Watch enabled");
        let mut pending = BTreeMap::new();
        let mut pause = PAUSE;
        loop {
            tokio::select! {
                () = session.interrupt.asked(1) => break,
                () = sleep(pause) => {}
            }
            let begun = Instant::now();
            let now = tokio::task::block_in_place(|| self.look());
            pause = PAUSE.max(begun.elapsed() * PAUSE_FACTOR);
            let changes = between(&seen, &now);
            seen = now;
            if changes.is_empty() {
                continue;
            }
            pending.extend(changes);
            if doer.act(&todo(&self.triggers, &pending, false)).await {
                pending.clear();
            }
        }
        session.ui.note("Watch disabled");
    }
}

/// Whether a bind mount brings a path into the containers already.
fn covers(mount: &Mount, path: &Path) -> bool {
    mount.kind == "bind" && mount.source.as_deref().is_some_and(|source| path.starts_with(source))
}

fn between(before: &Sighting, now: &Sighting) -> BTreeMap<PathBuf, Change> {
    let written = now.iter().filter(|(path, stamp)| before.get(*path) != Some(*stamp));
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    let written = written.map(|(path, _)| (path.clone(), Change::Written));
    written.chain(gone.map(|path| (path.clone(), Change::Gone))).collect()
}

struct Doer<'a> {
    session: &'a Session,
    project: &'a Project,
    rebuild: &'a Rebuild<'a>,
}

impl Doer<'_> {
    /// Returns whether all went well; what did not is told.
    async fn act(&self, todo: &Todo) -> bool {
        match self.try_to(todo).await {
            Ok(is_done) => is_done,
            Err(failure) => {
                failure.tell(&self.session.ui);
                false
            }
        }
    }

    async fn try_to(&self, todo: &Todo) -> Result<bool, Failure> {
        let ui = self.session.ui;
        if !todo.rebuild.is_empty() {
            ui.note(&format!("Rebuilding service(s) {} after changes were detected...", list(&todo.rebuild)));
            let names: Vec<String> = todo.rebuild.iter().map(ToString::to_string).collect();
            if Box::pin(up::built(&names, self.rebuild.globals, self.rebuild.ui, false)).await? != exit::OK {
                return Ok(false);
            }
            ui.note(&format!("service(s) {} successfully built", list(&todo.rebuild)));
        }
        for (service, files) in &todo.sync {
            ui.note(&format!("Syncing service \"{service}\" after {} changes were detected", files.len()));
            let found = replicas(self.session, self.project, service.as_str(), 0).await?;
            let synced = found.iter().map(|(engine, container)| sync_in(engine.as_ref(), container, files));
            try_join_all(synced).await?;
        }
        if !todo.restart.is_empty() {
            let goal = Goal::Restart { services: Selection::Only(todo.restart.clone()), timeout_secs: None, no_deps: false };
            let code = self.session.afresh().change(&[goal], self.project, &BTreeMap::new(), Keep::Same).await?;
            if code != exit::OK {
                return Ok(false);
            }
            ui.note(&format!("service(s) {} restarted", list(&todo.restart)));
        }
        let mut is_done = true;
        for (service, hook) in &todo.exec {
            let found = replicas(self.session, self.project, service.as_str(), 0).await?;
            let ran = found.iter().map(|(engine, container)| async move { (engine.host(), engine.exec(container, hook).await) });
            for (host, outcome) in join_all(ran).await {
                let outcome = outcome?;
                if !outcome.output.is_empty() {
                    ui.data(&outcome.output);
                }
                if outcome.exit_code != 0 {
                    is_done = false;
                    ui.warning(&format!("the command of `{service}` on {host} ended with code {}", outcome.exit_code));
                }
            }
        }
        Ok(is_done)
    }
}

fn list(services: &BTreeSet<ServiceName>) -> String {
    format!("[{}]", services.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" "))
}
