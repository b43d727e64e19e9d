//! `mcompose cp`

use std::path::{Path, PathBuf};

use super::exec::replicas;
use super::{Failure, Globals, exit, load};
use crate::delivery::{copy_in, copy_out};
use crate::ui::Ui;

/// Copy files/folders between a service container and the local filesystem
#[derive(Debug, clap::Args)]
pub struct CpArgs {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Index of the container if service has multiple replicas: without it, files go to every replica and come from the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// SERVICE:PATH or a path of this machine
    source: String,
    /// SERVICE:PATH or a path of this machine
    target: String,
}

pub async fn run(args: &CpArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (from, to) = (place(&args.source), place(&args.target));
    let (session, project) = load::known_project(globals, ui, "cp").await?;
    match (from, to) {
        (Place::Replica { service, path }, Place::Here(target)) => {
            load::selection(&[service.to_owned()], &project)?;
            let found = replicas(&session, &project, service, args.index).await?;
            for (engine, container) in found.iter().take(1) {
                copy_out(engine.as_ref(), container, path, &target).await.map_err(|error| Failure::Copy(Box::new(error)))?;
            }
        }
        (Place::Here(source), Place::Replica { service, path }) => {
            load::selection(&[service.to_owned()], &project)?;
            let found = replicas(&session, &project, service, args.index).await?;
            let copies = found.iter().map(|(engine, container)| copy_in(engine.as_ref(), &source, container, path, args.archive));
            futures_util::future::try_join_all(copies).await.map_err(|error| Failure::Copy(Box::new(error)))?;
        }
        _ => {
            let hint = "as in `mcompose cp web:/etc/app.conf .`, or `mcompose cp app.conf web:/etc/`".to_owned();
            return Err(Failure::said("one side is SERVICE:PATH, the other a path of this machine", hint, exit::USAGE));
        }
    }
    Ok(exit::OK)
}

enum Place<'a> {
    Replica { service: &'a str, path: &'a str },
    Here(PathBuf),
}

/// `SERVICE:PATH`, unless a slash or a dot stands before the colon.
fn place(text: &str) -> Place<'_> {
    match text.split_once(':') {
        Some((service, path)) if !service.is_empty() && !service.contains(['/', '.']) => Place::Replica { service, path },
        _ => Place::Here(Path::new(text).to_owned()),
    }
}
