//! `mcompose plan`

use super::load::{self, project_file};
use super::settings::{OrphanRule, Settings};
use super::{Failure, Globals, exit};
use crate::plan::{Goal, Up};
use crate::ui::Ui;

/// Show what `up` would do; the exit code is 2 when something would change
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    services: Vec<String>,
}

pub async fn run(args: &PlanArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let mut loaded = project_file(globals, &[], ui)?;
    let session = load::provisioned(globals, ui, &mut loaded, "plan").await?;
    let services = load::selection(&args.services, &loaded.project)?;
    let OrphanRule { remove: remove_orphans, ignore: ignore_orphans } = Settings::of(globals).orphans(args.remove_orphans)?;
    let goal = Goal::Up(Up { services, remove_orphans, ignore_orphans, ..Up::default() });
    let planned = session.planned(&goal, &loaded.project).await?;
    session.show(&planned.plan, args.format == "json");
    Ok(match () {
        () if planned.plan.is_partial() => exit::FAILURE,
        () if planned.plan.is_empty() => exit::OK,
        () => exit::WOULD_CHANGE,
    })
}
