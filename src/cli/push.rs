//! `mcompose push`

use std::collections::BTreeMap;

use super::session::Keep;
use super::{Failure, Globals, load};
use crate::plan::Goal;
use crate::ui::Ui;

/// Push service images: from a host that has them to the registries of their names
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// Push what it can and ignores images with push failures
    #[arg(long)]
    ignore_push_failures: bool,
    /// Also push images of services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Push without printing progress information
    #[arg(short, long)]
    quiet: bool,
    services: Vec<String>,
}

pub async fn run(args: &PushArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let ui = if args.quiet { ui.quiet() } else { ui };
    let loaded = load::project_file(globals, &args.services, ui)?;
    let services = load::selection(&args.services, &loaded.project)?;
    let session = load::session(globals, ui, Some(&loaded.project), "push").await?;
    let goal = Goal::Push { services, include_deps: args.include_deps, tolerant: args.ignore_push_failures };
    session.change(&[goal], &loaded.project, &BTreeMap::new(), Keep::Same).await
}
