//! One image, built by one engine from this machine's files.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::stages::{Staged, names_its_reader, staged};
use crate::delivery::{Cargo, Context, PackError, Pipe, dockerfile_text, lent_folders, packed_into};
use crate::engine::{Engine, EngineError, ErrorKind, Lent};
use crate::project::{ImageBuild, Naming};

/// Builds an image, with what it needs of this machine. `progress` is told each line of the build's output.
pub async fn build(
    engine: &dyn Engine,
    build: &ImageBuild,
    cargo: &Cargo,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    let lent = lent(build, cargo).map_err(|message| refused(engine, build, message))?;
    if build.naming == Naming::ByBuildKit || build.contexts.is_empty() {
        return once(engine, build, lent, progress).await;
    }
    if build.is_remote() && build.dockerfile_inline.is_none() {
        return Err(refused(engine, build, format!("{TOO_OLD}, and the Dockerfile is not on this machine")));
    }
    let text = dockerfile_text(build).map_err(|error| refused(engine, build, chain(&error)))?;
    let text = String::from_utf8_lossy(&text);
    if names_its_reader(&text) {
        return once(engine, &ImageBuild { naming: Naming::ByBuildKit, ..build.clone() }, lent, progress).await;
    }
    let staged = staged(build, &text).map_err(|why| refused(engine, build, format!("{TOO_OLD}, and {why}")))?;
    let built = in_turn(engine, &staged, lent, progress).await;
    for image in staged.contexts.iter().flat_map(|context| &context.tags) {
        // One that was not built is not there, and one that is left is overwritten by the next build.
        let _ = engine.remove_image(image).await;
    }
    built
}

const TOO_OLD: &str = "the engine's BuildKit knows no `additional_contexts` (Docker 23 and newer do)";

async fn in_turn(
    engine: &dyn Engine,
    staged: &Staged,
    lent: Lent,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    for context in &staged.contexts {
        once(engine, context, Lent::default(), progress).await?;
    }
    once(engine, &staged.build, lent, progress).await
}

/// Sends the context, lends it, or leaves it to the engine to fetch it, and waits for the image.
async fn once(
    engine: &dyn Engine,
    build: &ImageBuild,
    mut lent: Lent,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    if build.is_remote() && !build.asks_buildkit() {
        return engine.build(build, &build.dockerfile, None, &lent, progress).await;
    }
    let unreadable = |error| refused(engine, build, chain(&error));
    let context = if build.asks_buildkit() { None } else { Context::of(build).map_err(unreadable)? };
    let Some(context) = context else {
        let (folders, dockerfile) = lent_folders(build).map_err(unreadable)?;
        lent.folders = folders;
        lent.folders_key = Some(key(build));
        return engine.build(build, &dockerfile, None, &lent, progress).await;
    };
    let dockerfile = context.dockerfile().to_owned();
    let pack = move |writer: &mut Pipe| context.pack(writer);
    let built = packed_into(pack, |pieces| engine.build(build, &dockerfile, Some(pieces), &lent, progress)).await;
    built.unwrap_or_else(|error| Err(unreadable(error)))
}

fn refused(engine: &dyn Engine, build: &ImageBuild, message: String) -> EngineError {
    EngineError {
        host: engine.host().clone(),
        call: format!("build image `{}`", build.tags.first().map(String::as_str).unwrap_or_default()),
        kind: ErrorKind::Refused,
        message,
    }
}

/// The same for each build of one image from one place.
fn key(build: &ImageBuild) -> String {
    let text = format!("{}\0{}", build.context, build.tags.first().map(String::as_str).unwrap_or_default());
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// BuildKit takes no larger secret.
const SECRET_BYTES_MAX: usize = 500 * 1024;

/// What the build may ask for; the error says what of it is not here.
fn lent(build: &ImageBuild, cargo: &Cargo) -> Result<Lent, String> {
    let mut lent = Lent::default();
    for (id, name) in &build.secrets {
        let value = match cargo.secret(name) {
            Some(Ok(value)) if value.len() > SECRET_BYTES_MAX => Err(format!("it has more than {SECRET_BYTES_MAX} bytes")),
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no file, and no variable that is set, is named for it".to_owned()),
        };
        let value = value.map_err(|why| format!("secret `{name}` cannot be given to the build: {why}"))?;
        lent.secrets.insert(id.clone(), value);
    }
    for (id, path) in &build.agents {
        let socket = match path {
            Some(path) => Some(PathBuf::from(path)),
            None => cargo.agent().map(Path::to_owned),
        };
        let no_agent = "there is no SSH agent: SSH_AUTH_SOCK names none";
        let socket = socket.ok_or_else(|| format!("ssh `{id}` cannot be given to the build: {no_agent}"))?;
        if !is_socket(&socket) {
            let why = "is no agent's socket; `ssh-add` puts a key into an agent";
            return Err(format!("ssh `{id}` cannot be given to the build: `{}` {why}", socket.display()));
        }
        lent.agents.insert(id.clone(), socket);
    }
    Ok(lent)
}

#[expect(clippy::disallowed_methods, reason = "it asks what there is")]
fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// An error with its cause, in one line.
fn chain(error: &PackError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
