//! `mcompose cp`

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::try_unfold;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Stdin};

use super::exec::running;
use super::{Failure, Globals, exit, load};
use crate::delivery::{copy_in, copy_out};
use crate::engine::{Engine, Pieces};
use crate::ui::Ui;

const PIECE_BYTES: usize = 64 * 1024;

/// Copy files/folders between a service container and the local filesystem
#[derive(Debug, clap::Args)]
pub struct CpArgs {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Include containers created by the run command
    #[arg(long)]
    all: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Index of the container if service has multiple replicas: without it, files go to every replica and come from the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// SERVICE:PATH, a path of this machine, or - for an archive (tar) on standard input
    source: String,
    /// SERVICE:PATH, a path of this machine, or - for an archive (tar) to standard output
    target: String,
}

pub async fn run(args: &CpArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (from, to) = (place(&args.source), place(&args.target));
    let (session, project) = load::known_project(globals, ui, "cp").await?;
    let (service, index) = match (&from, &to) {
        (Place::Replica { service, .. }, Place::Here(_) | Place::Stream)
        | (Place::Here(_) | Place::Stream, Place::Replica { service, .. }) => (*service, args.index),
        _ => {
            let hint = "as in `mcompose cp web:/etc/app.conf .`, or `mcompose cp app.conf web:/etc/`".to_owned();
            return Err(Failure::said("one side is SERVICE:PATH, the other a path of this machine", hint, exit::USAGE));
        }
    };
    load::selection(&[service.to_owned()], &project)?;
    let found = running(&session, &project, service, index, args.all).await?;
    let copy_failed = |error| Failure::Copy(Box::new(error));
    match (from, to) {
        (Place::Replica { path, .. }, Place::Here(target)) => {
            for (engine, container) in found.iter().take(1) {
                let link = followed(args, engine.as_ref(), container, path).await?;
                // It keeps the link's name.
                let target = match (&link, Path::new(path).file_name()) {
                    (Some(_), Some(name)) if target.is_dir() => target.join(name),
                    _ => target.clone(),
                };
                copy_out(engine.as_ref(), container, link.as_deref().unwrap_or(path), &target).await.map_err(copy_failed)?;
            }
        }
        (Place::Replica { path, .. }, _) => {
            for (engine, container) in found.iter().take(1) {
                let link = followed(args, engine.as_ref(), container, path).await?;
                print_archive(engine.as_ref(), container, link.as_deref().unwrap_or(path)).await?;
            }
        }
        (Place::Here(source), Place::Replica { path, .. }) => {
            let copies = found.iter().map(|(engine, container)| copy_in(engine.as_ref(), &source, container, path, args.archive));
            // One replica that cannot take it keeps nothing from the others.
            let ends = join_all(copies).await.into_iter().filter_map(Result::err);
            if let Some(code) = ends.map(|error| copy_failed(error).tell(&ui)).max() {
                return Ok(code);
            }
        }
        (_, Place::Replica { path, .. }) => {
            let [(engine, container)] = found.as_slice() else {
                let error = format!("standard input is read once, and service `{service}` has {} replicas", found.len());
                return Err(Failure::said(error, "`--index` names one".to_owned(), exit::USAGE));
            };
            engine.put_archive(container, path, typed()).await?;
        }
        _ => {}
    }
    Ok(exit::OK)
}

/// What a link leads to, if it is to be followed. Links of this machine always are.
async fn followed(args: &CpArgs, engine: &dyn Engine, container: &str, path: &str) -> Result<Option<String>, Failure> {
    if args.follow_link { Ok(engine.link_target(container, path).await?) } else { Ok(None) }
}

/// Writes the archive (tar) of a path to standard output.
async fn print_archive(engine: &dyn Engine, container: &str, path: &str) -> Result<(), Failure> {
    let mut archive = engine.get_archive(container, path).await?;
    let mut stdout = tokio::io::stdout();
    while let Some(piece) = archive.next().await {
        // Nobody reads any more.
        if stdout.write_all(&piece?).await.is_err() {
            return Ok(());
        }
    }
    let _ = stdout.flush().await;
    Ok(())
}

/// What comes on standard input.
fn typed() -> Pieces {
    let read = async |mut stdin: Stdin| {
        let mut piece = vec![0; PIECE_BYTES];
        let count = stdin.read(&mut piece).await?;
        piece.truncate(count);
        Ok((count > 0).then(|| (piece.into(), stdin)))
    };
    try_unfold(tokio::io::stdin(), read).boxed()
}

enum Place<'a> {
    Replica {
        service: &'a str,
        path: &'a str,
    },
    Here(PathBuf),
    /// `-`: an archive on standard input or output.
    Stream,
}

/// `SERVICE:PATH`, unless what stands before the colon has a slash or begins with a dot.
fn place(text: &str) -> Place<'_> {
    match text.split_once(':') {
        _ if text == "-" => Place::Stream,
        Some((service, path)) if !service.is_empty() && !service.contains('/') && !service.starts_with('.') => {
            Place::Replica { service, path }
        }
        _ => Place::Here(Path::new(text).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_stands_before_a_colon() {
        let told = |text| match place(text) {
            Place::Replica { service, path } => format!("{path} of {service}"),
            Place::Here(path) => path.display().to_string(),
            Place::Stream => "stream".to_owned(),
        };
        for (text, expected) in [
            ("web:/etc", "/etc of web"),
            ("my.app:", " of my.app"),
            ("./a:b", "./a:b"),
            ("/a:b", "/a:b"),
            ("a/b:c", "a/b:c"),
            (":a", ":a"),
            ("a", "a"),
            ("-", "stream"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
