//! The digests that registries have for images now, as an engine is told.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{full_name, login};
use crate::engine::{Engine, EngineError};

/// Registries bound how often they are asked.
const AT_ONCE: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum Unpinned {
    #[error("`{0}` is no name of an image")]
    NoName(String),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// For each image its name in full, with its digest behind. Fails at the first that is not told.
pub async fn pinned(engine: &dyn Engine, images: BTreeSet<String>) -> Result<BTreeMap<String, String>, Unpinned> {
    let pinned = images.into_iter().map(|image| async move {
        let full = full_name(&image).ok_or_else(|| Unpinned::NoName(image.clone()))?;
        if full.contains('@') {
            return Ok((image, full));
        }
        let login = login(&image).await;
        let digest = engine.digest(&full, login.as_ref().map(|login| login.header())).await?;
        Ok((image, format!("{full}@{digest}")))
    });
    stream::iter(pinned.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
}
