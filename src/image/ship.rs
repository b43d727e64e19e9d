//! One image from a host that has it to one that does not.

use std::io;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::saved::without_layers;
use crate::delivery::{Reader, pipe};
use crate::engine::{Engine, EngineError, ErrorKind, Pieces};

/// Images of a host that are asked for their layers at once.
const ASKED_AT_ONCE: usize = 8;

/// What is to go where.
#[derive(Debug, Clone, Copy)]
pub struct Shipment<'a> {
    /// A reference that both engines will know it by.
    pub image: &'a str,
    /// All layers, also those that the target has: a containerd image store takes no less.
    pub whole: bool,
}

/// Brings an image from one engine to another, only the layers that are missing there, and sees that it has arrived as it was.
/// `progress` is told a line now and then.
pub async fn ship(
    shipment: Shipment<'_>,
    source: &dyn Engine,
    target: &dyn Engine,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    let image = shipment.image;
    let layers = source.layers(image).await?;
    let known = if shipment.whole { 0 } else { known_layers(target, &layers).await? };
    progress(format!("{known} of {} layers are there", layers.len()));
    let mut shipped = load(source, target, image, &layers, known).await;
    if known > 0 && shipped.as_ref().is_err_and(|error| !error.is_passing()) {
        // Layers that another image of the target went with in between, or a layout of archive that is not known here.
        shipped = load(source, target, image, &layers, 0).await;
    }
    shipped?;
    let arrived = target.layers(image).await?;
    if arrived == layers {
        return Ok(());
    }
    let host = target.host().clone();
    let message = "it arrived with other layers than it was sent with".to_owned();
    Err(EngineError { host, call: format!("ship image `{image}`"), kind: ErrorKind::Failed, message })
}

/// How many of these layers, from the lowest on, some image of the target has too.
async fn known_layers(target: &dyn Engine, layers: &[String]) -> Result<usize, EngineError> {
    let images = target.images().await?;
    let in_common = stream::iter(images).map(|image| async move {
        // One that was removed in between has none.
        let theirs = target.layers(&image).await.unwrap_or_default();
        theirs.iter().zip(layers).take_while(|(theirs, ours)| theirs == ours).count()
    });
    Ok(in_common.buffer_unordered(ASKED_AT_ONCE).fold(0, |most, count| async move { most.max(count) }).await)
}

async fn load(source: &dyn Engine, target: &dyn Engine, image: &str, layers: &[String], known: usize) -> Result<(), EngineError> {
    let saved: Pieces = source.save(image).await?.map_err(io::Error::other).boxed();
    if known == 0 {
        return target.load(image, saved).await;
    }
    let (mut writer, pieces) = pipe();
    let (sender, reader) = Reader::fed();
    let layers = layers.to_vec();
    let filtering = tokio::task::spawn_blocking(move || {
        let end = without_layers(reader, &mut writer, &layers, known);
        writer.finish(end);
    });
    let feeding = async {
        let mut saved = saved;
        while let Some(piece) = saved.next().await {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let (loaded, ()) = tokio::join!(target.load(image, pieces), feeding);
    let _ = filtering.await;
    loaded
}
