//! `config --resolve-image-digests`: which digests registries have for images, as an engine is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Failure, Globals, exit, load};
use crate::composefile::Model;
use crate::engine::Engine;
use crate::image::{full_name, login};
use crate::ui::Ui;

/// Registries bound how often they are asked.
const AT_ONCE: usize = 8;

/// Puts the digest that its registry has now behind the name of every image. Fails at the first that is not told.
pub async fn pin(model: &mut Model, globals: &Globals, ui: Ui) -> Result<(), Failure> {
    let images: BTreeSet<String> = model.images_named().map(str::to_owned).collect();
    if images.is_empty() {
        return Ok(());
    }
    let engine = first_that_answers(globals, ui).await?;
    let pinned = images.into_iter().map(|image| {
        let engine = Arc::clone(&engine);
        async move {
            let full = full_name(&image)
                .ok_or_else(|| Failure::said(format!("`{image}` is no name of an image"), None, exit::COMPOSE_FILE))?;
            if full.contains('@') {
                return Ok((image, full));
            }
            let login = login(&image).await;
            let digest = engine.digest(&full, login.as_ref().map(|login| login.header())).await?;
            Ok::<_, Failure>((image, format!("{full}@{digest}")))
        }
    });
    let pinned: BTreeMap<String, String> =
        stream::iter(pinned.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await?;
    model.rename_images(&pinned);
    Ok(())
}

/// The engine that asks the registries: in the inventory's order, the first that can be reached.
async fn first_that_answers(globals: &Globals, ui: Ui) -> Result<Arc<dyn Engine>, Failure> {
    let session = load::session(globals, ui, None, "config").await?;
    let mut last = None;
    for host in &session.inventory.hosts {
        let Some(engine) = session.engines.get(&host.name) else { continue };
        match engine.ping().await {
            Ok(()) => return Ok(Arc::clone(engine)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| Failure::said("the inventory has no hosts".to_owned(), None, exit::INVENTORY), Failure::from))
}
