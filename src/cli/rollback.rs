//! `mcompose rollback`

use super::session::Keep;
use super::settings::{OrphanRule, Settings};
use super::{Failure, Globals, exit, load};
use crate::plan::{Goal, Up};
use crate::project::ProjectName;
use crate::store::{Record, Store};
use crate::supervise::updates::last_good;
use crate::ui::Ui;

/// Go back to an earlier revision of the project
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The revision to go back to, as `history` lists them (default: the last one that was deployed well)
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    /// Remove containers for services not defined in that revision
    #[arg(long)]
    remove_orphans: bool,
    /// Use this timeout in seconds for containers that are replaced
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub async fn run(args: &RollbackArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (mut session, current) = load::known_project(globals, ui, "rollback").await?;
    let world = session.look_and_warn().await?;
    let fabric = session.fabric(&world)?;
    let store = session.store(&fabric, &world)?;
    let record = target(store.as_ref(), &current.name, args.to).await?;
    session.command = format!("rollback to {}", record.head.revision);
    ui.note(&format!("going back to revision {} (`{}` by {})", record.head.revision, record.head.command, record.head.by));
    let OrphanRule { remove: remove_orphans, ignore: ignore_orphans } = Settings::of(globals).orphans(args.remove_orphans)?;
    let up = Up { rollback: true, remove_orphans, ignore_orphans, timeout_secs: args.timeout, ..Up::default() };
    session.change(&[Goal::Up(up)], &record.whole(&current), &record.scales, Keep::Record).await
}

/// The record that is asked for, else the last good one before the newest.
async fn target(store: &dyn Store, project: &ProjectName, to: Option<u64>) -> Result<Record, Failure> {
    let heads = store.records(project).await?;
    let Some(newest) = heads.first().map(|head| head.revision) else {
        let hint = "`mcompose ls` shows which projects there are".to_owned();
        return Err(Failure::said(format!("no revision of `{project}` is kept in {}", store.place()), hint, exit::FAILURE));
    };
    let found = match to {
        Some(revision) => store.record(project, revision).await?,
        None => last_good(store, project, newest).await?,
    };
    found.ok_or_else(|| {
        let kept = heads.iter().map(|head| format!("{} ({})", head.revision, head.state.as_str())).collect::<Vec<_>>().join(", ");
        let error = match to {
            Some(revision) => format!("revision {revision} of `{project}` is not kept"),
            None => format!("no revision of `{project}` before {newest} was deployed well"),
        };
        Failure::said(error, format!("kept are {kept}; `--to` chooses one"), exit::FAILURE)
    })
}
