//! `mcompose export`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::exec::replicas;
use super::{Failure, Globals, exit, load};
use crate::delivery::CopyError;
use crate::engine::Engine;
use crate::ui::Ui;

/// Export a service container's filesystem as a tar archive
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    service: String,
}

pub async fn run(args: &ExportArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    if args.output.is_none() && std::io::stdout().is_terminal() {
        let hint = "`-o FILE`, or send it into another program".to_owned();
        return Err(Failure::said("an archive is nothing for a terminal", hint, exit::USAGE));
    }
    let (session, project) = load::known_project(globals, ui, "export").await?;
    load::selection(std::slice::from_ref(&args.service), &project)?;
    let found = replicas(&session, &project, &args.service, args.index).await?;
    for (engine, container) in found.iter().take(1) {
        match &args.output {
            Some(file) => into_file(engine.as_ref(), container, file).await?,
            None => write(engine.as_ref(), container, &mut tokio::io::stdout(), Path::new("standard output")).await?,
        }
    }
    Ok(exit::OK)
}

/// A file of the name is there only once it is whole.
async fn into_file(engine: &dyn Engine, container: &str, file: &Path) -> Result<(), Failure> {
    let unwritable = |source| Failure::from(CopyError::Unwritable { path: file.display().to_string(), source });
    let part = file.with_file_name(format!("{}.part", file.file_name().unwrap_or_default().to_string_lossy()));
    let mut out = tokio::fs::File::create(&part).await.map_err(unwritable)?;
    let written = write(engine, container, &mut out, file).await;
    if written.is_err() {
        let _ = tokio::fs::remove_file(&part).await;
        return written;
    }
    tokio::fs::rename(&part, file).await.map_err(unwritable)
}

async fn write(engine: &dyn Engine, container: &str, out: &mut (impl AsyncWrite + Unpin), name: &Path) -> Result<(), Failure> {
    let unwritable = |source| Failure::from(CopyError::Unwritable { path: name.display().to_string(), source });
    let mut archive = engine.export(container).await?;
    while let Some(piece) = archive.next().await {
        out.write_all(&piece?).await.map_err(unwritable)?;
    }
    out.flush().await.map_err(unwritable)
}
