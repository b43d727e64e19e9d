//! `mcompose commit`

use super::exec::replicas;
use super::{Failure, Globals, exit, load};
use crate::engine::Commit;
use crate::ui::Ui;

/// Create a new image from a service container's changes, on the host where it is
#[derive(Debug, clap::Args)]
pub struct CommitArgs {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, default_value = "")]
    author: String,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Commit message
    #[arg(short, long, default_value = "")]
    message: String,
    /// Pause container during commit
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    service: String,
    /// What the image is to be called
    #[arg(value_name = "REPOSITORY[:TAG]", default_value = "")]
    image: String,
}

pub async fn run(args: &CommitArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "commit").await?;
    load::selection(std::slice::from_ref(&args.service), &project)?;
    let found = replicas(&session, &project, &args.service, args.index).await?;
    let commit = Commit {
        image: args.image.clone(),
        author: args.author.clone(),
        message: args.message.clone(),
        changes: args.change.clone(),
        pause: args.pause,
    };
    for (engine, container) in found.iter().take(1) {
        if session.dry_run {
            ui.note(&format!("would make an image of {container} on {}", engine.host()));
            continue;
        }
        let id = engine.commit(container, &commit).await?;
        ui.note(&format!("{container} on {} is image {id} there; `mcompose image ship` brings it to other hosts", engine.host()));
    }
    Ok(exit::OK)
}
