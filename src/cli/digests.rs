//! `config --resolve-image-digests` and `--lock-image-digests`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Failure, Globals, exit, load};
use crate::composefile::Model;
use crate::engine::Engine;
use crate::image::{Unpinned, pinned};
use crate::ui::Ui;

/// Puts the digest that its registry has now behind the name of every image.
pub async fn pin(model: &mut Model, globals: &Globals, ui: Ui) -> Result<(), Failure> {
    let images: BTreeSet<String> = model.images_named().map(str::to_owned).collect();
    if images.is_empty() {
        return Ok(());
    }
    let engine = first_that_answers(globals, ui).await?;
    let names = pinned(engine.as_ref(), images).await.map_err(|unpinned| match unpinned {
        Unpinned::NoName(_) => Failure::said(unpinned.to_string(), None, exit::COMPOSE_FILE),
        Unpinned::Engine(error) => Failure::from(error),
    })?;
    model.rename_images(&names);
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
