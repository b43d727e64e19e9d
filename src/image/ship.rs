//! One image from a host that has it to one that does not.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::convoy::{Berth, Harbour, alone};
use crate::engine::{Engine, EngineError, ErrorKind, ImageParts};

/// Images of a host that are asked for their layers at once.
const ASKED_AT_ONCE: usize = 8;

/// What is to go where.
#[derive(Clone, Copy)]
pub struct Shipment<'a> {
    /// A reference that both engines will know it by.
    pub image: &'a str,
    /// All layers, also those that the target has: a containerd image store takes no less.
    pub whole: bool,
    /// Where others that get the same image are met.
    pub harbour: &'a Harbour,
}

/// Brings an image from one engine to another, only the layers that are missing there, and sees that it has arrived as it was.
/// `progress` is told a line now and then.
pub async fn ship(
    shipment: Shipment<'_>,
    source: &Arc<dyn Engine>,
    target: &dyn Engine,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), EngineError> {
    let image = shipment.image;
    let ticket = shipment.harbour.ticket(image, source.host());
    let sent = source.image(image).await?;
    let layers = &sent.layers;
    let known = if shipment.whole { 0 } else { known_layers(target, layers).await? };
    progress(format!("{known} of {} layers are there", layers.len()));
    let mut shipped = load(target, image, ticket.join(source, layers, known).await).await;
    if known > 0 && shipped.as_ref().is_err_and(|error| !error.is_passing()) {
        // Layers that another image of the target went with in between, or a layout of archive that is not known here.
        shipped = load(target, image, alone(source, image, layers, 0)).await;
    }
    shipped?;
    let arrived = target.image(image).await?;
    // Two kinds of stores name one image by different ids.
    if arrived.layers == *layers && (shipment.whole || arrived.id == sent.id) {
        return Ok(());
    }
    let host = target.host().clone();
    let message = format!("it arrived as {}, with other layers or another configuration than it was sent with", arrived.id);
    Err(EngineError { host, call: format!("ship image `{image}`"), kind: ErrorKind::Failed, message })
}

/// How many of these layers, from the lowest on, some image of the target has too.
async fn known_layers(target: &dyn Engine, layers: &[String]) -> Result<usize, EngineError> {
    let images = target.images().await?;
    let in_common = stream::iter(images).map(|image| async move {
        // One that was removed in between has none.
        let ImageParts { layers: theirs, .. } = target.image(&image).await.unwrap_or_default();
        theirs.iter().zip(layers).take_while(|(theirs, ours)| theirs == ours).count()
    });
    Ok(in_common.buffer_unordered(ASKED_AT_ONCE).fold(0, |most, count| async move { most.max(count) }).await)
}

async fn load(target: &dyn Engine, image: &str, berth: Berth) -> Result<(), EngineError> {
    let (pieces, failure) = berth.split();
    target.load(image, pieces).await.map_err(|error| Berth::blame(&failure, error))
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::engine::Lent;
    use crate::engine::fake::{Fake, Fault, FaultRule};
    use crate::project::{HostName, ImageBuild};

    const IMAGE: &str = "app:1";

    /// Ships from `a` to all others at once. Returns how each fared, and how often the image was read.
    fn ship_to_all(prepare: impl FnOnce(&Fake)) -> (Vec<String>, usize) {
        let fake = Fake::new(&["a", "b", "c", "d"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let ends = runtime.expect("a runtime can be built").block_on(async {
            let engines = fake.engines();
            let name = |host: &str| HostName::new(host).expect("a good name");
            let build = ImageBuild { tags: vec![IMAGE.to_owned()], context: "http://x".to_owned(), ..ImageBuild::default() };
            engines["a"].build(&build, "", None, &Lent::default(), &|_| {}).await.expect("the fake builds");
            prepare(&fake);
            let source = name("a");
            let harbour = Harbour::expecting(["b", "c", "d"].iter().map(|_| (IMAGE, &source)));
            let shipments = ["b", "c", "d"].map(|host| {
                let shipment = Shipment { image: IMAGE, whole: false, harbour: &harbour };
                ship(shipment, &engines["a"], engines[host].as_ref(), &|_| {})
            });
            join_all(shipments).await
        });
        let told = |(host, end): (&str, Result<(), EngineError>)| match end {
            Ok(()) => format!("{host}: ok"),
            Err(error) => format!("{host}: {} on {}", error.message, error.host),
        };
        let ends = ["b", "c", "d"].into_iter().zip(ends).map(told).collect();
        let reads = fake.calls().iter().filter(|call| call.call.starts_with("save image")).count();
        (ends, reads)
    }

    fn failing(host: &str, call: &str) -> FaultRule {
        let fault = Fault::Fail { kind: ErrorKind::Failed, message: "out of luck".to_owned() };
        FaultRule { host: Some(host.to_owned()), call: call.to_owned(), skip: 0, times: 9, fault }
    }

    #[test]
    fn all_that_get_an_image_together_share_one_read_of_it() {
        assert_eq!(ship_to_all(|_| {}), (vec!["b: ok".to_owned(), "c: ok".to_owned(), "d: ok".to_owned()], 1));
    }

    #[test]
    fn who_fails_before_or_after_it_sets_off_does_not_keep_the_others() {
        let (ends, reads) = ship_to_all(|fake| {
            fake.host("b").cut();
            fake.fault(failing("c", "load image"));
        });
        assert_eq!(ends, ["b: no route to host on b", "c: out of luck on c", "d: ok"]);
        assert_eq!(reads, 1);
    }

    #[test]
    fn who_hangs_is_not_waited_for_longer_than_the_others_bear() {
        let fault = Fault::Hang;
        let rule = FaultRule { host: Some("b".to_owned()), call: "list images".to_owned(), skip: 0, times: 1, fault };
        let fake_heals = |fake: &Fake| {
            fake.fault(rule);
            let fake = fake.clone();
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                fake.heal_faults();
            });
        };
        let (ends, reads) = ship_to_all(fake_heals);
        assert_eq!((ends.len(), ends.iter().all(|end| end.ends_with("ok")), reads), (3, true, 2));
    }

    #[test]
    fn where_the_source_fails_all_are_told_so() {
        let (ends, _) = ship_to_all(|fake| fake.fault(failing("a", "save image")));
        assert_eq!(ends, ["b: out of luck on a", "c: out of luck on a", "d: out of luck on a"]);
    }
}
