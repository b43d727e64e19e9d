//! One image, built by one engine from this machine's files.

use crate::delivery::{Context, PackError, Pipe, packed_into};
use crate::engine::{Engine, EngineError, ErrorKind};
use crate::project::ImageBuild;

/// Sends the context, unless the engine fetches it, and waits for the image. `progress` is told each line of the build's output.
pub async fn build(
    engine: &dyn Engine,
    build: &ImageBuild,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    if build.is_remote() {
        return engine.build(build, &build.dockerfile, None, progress).await;
    }
    let refused = |message: String| EngineError {
        host: engine.host().clone(),
        call: format!("build image `{}`", build.tags.first().map(String::as_str).unwrap_or_default()),
        kind: ErrorKind::Refused,
        message,
    };
    let context = Context::of(build).map_err(|error| refused(chain(&error)))?;
    let dockerfile = context.dockerfile().to_owned();
    let pack = move |writer: &mut Pipe| context.pack(writer);
    let built = packed_into(pack, |pieces| engine.build(build, &dockerfile, Some(pieces), progress)).await;
    built.unwrap_or_else(|error| Err(refused(chain(&error))))
}

/// An error with its cause, in one line.
fn chain(error: &PackError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
