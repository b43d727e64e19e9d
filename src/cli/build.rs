//! `mcompose build`

use std::collections::BTreeMap;

use super::session::Keep;
use super::{Failure, Globals, exit, load};
use crate::plan::{Building, Goal};
use crate::ui::Ui;

/// Build or rebuild services
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// Set build-time variables for services; without a value, that of the environment
    #[arg(long, value_name = "KEY=VALUE")]
    build_arg: Vec<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pull: bool,
    /// Push service images
    #[arg(long)]
    push: bool,
    /// Don't print anything but errors
    #[arg(short, long)]
    quiet: bool,
    /// Also build dependencies (transitively)
    #[arg(long)]
    with_dependencies: bool,
    services: Vec<String>,
}

pub async fn run(args: &BuildArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let ui = if args.quiet { ui.quiet() } else { ui };
    let loaded = load::project_file(globals, &args.services, ui)?;
    let services = load::selection(&args.services, &loaded.project)?;
    let building = Building {
        missing_only: false,
        deps: args.with_dependencies,
        no_cache: args.no_cache,
        pull: args.pull,
        args: build_args(&args.build_arg, &loaded.environment)?,
    };
    let mut session = load::session(globals, ui, Some(&loaded.project), "build").await?;
    session.cargo.lend(&loaded.project, &loaded.environment);
    let mut goals = vec![Goal::Build { services: services.clone(), building }];
    if args.push {
        goals.push(Goal::Push { services, include_deps: args.with_dependencies, tolerant: false });
    }
    session.change(&goals, &loaded.project, &BTreeMap::new(), Keep::Same).await
}

fn build_args(args: &[String], environment: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    let entry = |text: &String| match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => environment.get(text).map(|value| (text.clone(), value.clone())).ok_or_else(|| {
            let hint = "write KEY=VALUE, or set the variable".to_owned();
            Failure::said(format!("--build-arg {text}: the environment has no such variable"), hint, exit::USAGE)
        }),
    };
    args.iter().map(entry).collect()
}
