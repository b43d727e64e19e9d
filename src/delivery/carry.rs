//! One content into one host's volume, from this machine or from another host that has it.
//!
//! The engine unpacks archives into containers only, also into such as never run: a carrier is made that mounts the volume, and
//! removed once the archive is in. A mark, made before the volume and removed last, says meanwhile that the volume is not whole.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::timeout;

use super::entries::{alone, noted};
use super::pack::{Owner, PackError, Source, Summary, pack};
use super::pipe::{Pipe, packed_into};
use super::survey::Cargo;
use crate::engine::{Engine, EngineError, Engines, ErrorKind, Pieces};
use crate::project::{ContainerSpec, Content, HostConfig, HostName, MountSpec, VolumeSpec, carriers_of};

/// An image with nothing in it: carriers never run.
const IMAGE: (&str, &str) = ("mcompose-carrier", "1");
/// Where a carrier has the volume.
pub(super) const MOUNTED_AT: &str = "/content";

/// The folder that `MOUNTED_AT` is in.
const ROOT: &str = "/";
/// An engine that does not remove a carrier within this waits for what is half of a delivery, and removes it when that has ended, asked
/// no more.
const LETS_GO_MAX: Duration = Duration::from_secs(2);

/// What is carried to where.
#[derive(Clone, Copy)]
pub struct Freight<'a> {
    pub to: &'a HostName,
    /// Nothing: from this machine's files.
    pub from: Option<&'a HostName>,
    pub content: &'a Content,
    pub volume: &'a VolumeSpec,
    /// Names of carriers and marks of deliveries that did not come to their end.
    pub left: &'a [String],
}

/// Puts a content into its volume. What earlier deliveries left undone is done again, also while the engine still waits for the rest of
/// them.
///
/// The marks go only when all is there, those that were left too. Another delivery of the same that begins meanwhile has a mark of its
/// own, and until it ends, the volume is not whole for those who look.
pub async fn carry(engines: &Engines, freight: Freight<'_>, cargo: &Cargo) -> Result<(), EngineError> {
    let Freight { to, content, volume, left, .. } = freight;
    let target = engine(engines, to, content)?;
    let carrier = carrier(&volume.name);
    target.create_volume(&mark(&carrier, &volume.name)).await?;
    let busy = let_go(target, left).await;
    if !left.is_empty() && volume.name != content.volume() {
        // What it was filled with then need not be what it is filled with now. One that is still held is filled over.
        let _ = target.remove_volume(&volume.name).await;
    }
    target.create_volume(volume).await?;
    hold(target, &carrier, &volume.name, &content.digest).await?;
    fill(engines, freight, target, &carrier, cargo).await?;
    // One that ended meanwhile may have written the last of it over what is there, by half.
    if let_go(target, &busy).await.len() < busy.len() {
        fill(engines, freight, target, &carrier, cargo).await?;
    }
    target.remove(&carrier, false, true).await?;
    for mark in left.iter().chain([&carrier]) {
        target.remove_volume(mark).await?;
    }
    Ok(())
}

/// A name for a container that holds a volume, and for the mark of it. Nobody else's.
pub(super) fn carrier(volume: &str) -> String {
    format!("{}{}", carriers_of(volume), word())
}

fn word() -> String {
    format!("{:016x}", RandomState::new().hash_one(0_u8))
}

pub(super) fn mark(name: &str, volume: &str) -> VolumeSpec {
    let labels = BTreeMap::from([(crate::world::keys::CONTENT_OF.to_owned(), volume.to_owned())]);
    VolumeSpec { name: name.to_owned(), labels, ..VolumeSpec::default() }
}

/// Removes carriers that were left. Returns those that the engine keeps to itself.
pub(super) async fn let_go(engine: &dyn Engine, carriers: &[String]) -> Vec<String> {
    let removals = carriers.iter().map(|name| async move {
        let removed = timeout(LETS_GO_MAX, engine.remove(name, false, true)).await;
        (!matches!(removed, Ok(Ok(())))).then(|| name.clone())
    });
    join_all(removals).await.into_iter().flatten().collect()
}

async fn fill(
    engines: &Engines,
    freight: Freight<'_>,
    target: &dyn Engine,
    carrier: &str,
    cargo: &Cargo,
) -> Result<(), EngineError> {
    let Freight { to, content, volume, .. } = freight;
    let Some(from) = freight.from else { return from_here(target, to, carrier, content, cargo).await };
    let source = engine(engines, from, content)?;
    let reader = format!("{}_to_{to}_{}", volume.name, word());
    hold(source, &reader, &volume.name, &content.digest).await?;
    // The dot: what is in the folder, without the folder.
    let carried = async {
        let archive = source.get_archive(&reader, &format!("{MOUNTED_AT}/.")).await?;
        unpack(target, carrier, archive.map(|piece| piece.map_err(io::Error::other)).boxed()).await
    };
    let carried = carried.await;
    let removed = source.remove(&reader, false, true).await;
    carried.and(removed)
}

/// Unpacks an archive into the volume of a carrier, with owner and mode of the volume's folder itself, which an engine leaves as it is
/// where it unpacks into it. One that ends early is an error.
pub(super) async fn unpack(engine: &dyn Engine, carrier: &str, archive: Pieces) -> Result<(), EngineError> {
    let failed = |message: String| EngineError {
        host: engine.host().clone(),
        call: format!("unpack an archive into container `{carrier}`"),
        kind: ErrorKind::Failed,
        message,
    };
    let (archive, noting) = noted(archive);
    engine.put_archive(carrier, MOUNTED_AT, archive).await?;
    let passed = noting.await.map_err(io::Error::other).and_then(|passed| passed).map_err(|error| failed(error.to_string()))?;
    if !passed.is_whole {
        return Err(failed("the archive broke off before its end".to_owned()));
    }
    let Some(top) = passed.top else { return Ok(()) };
    let top = alone(&top, MOUNTED_AT.trim_start_matches('/').as_bytes()).map_err(|error| failed(error.to_string()))?;
    engine.put_archive(carrier, ROOT, stream::iter([Ok(Bytes::from(top))]).boxed()).await
}

fn engine<'a>(engines: &'a Engines, host: &HostName, content: &Content) -> Result<&'a dyn Engine, EngineError> {
    engines
        .get(host)
        .map(AsRef::as_ref)
        .ok_or_else(|| failed(host, content, ErrorKind::Unreachable, "the host is not in the inventory".to_owned()))
}

fn failed(host: &HostName, content: &Content, kind: ErrorKind, message: String) -> EngineError {
    EngineError { host: host.clone(), call: format!("deliver {}", content.name), kind, message }
}

/// Makes a container that never runs and mounts the volume. Its name begins with `mcompose_`: one of the name that is there already
/// is an interrupted delivery's, and nobody else's.
pub(super) async fn hold(engine: &dyn Engine, name: &str, volume: &str, label: &str) -> Result<(), EngineError> {
    hold_mount(engine, name, "volume", volume, label).await
}

/// As `hold`, of a volume or of a folder of the host.
pub(super) async fn hold_mount(
    engine: &dyn Engine,
    name: &str,
    kind: &str,
    source: &str,
    label: &str,
) -> Result<(), EngineError> {
    make(engine, name, &spec(kind, source, label)).await
}

/// Makes a carrier, and before that the image that it needs.
pub(super) async fn make(engine: &dyn Engine, name: &str, spec: &ContainerSpec) -> Result<(), EngineError> {
    for _ in 0..2 {
        match engine.create(name, spec).await {
            Err(error) if error.kind == ErrorKind::NotFound => engine.import_image(IMAGE.0, IMAGE.1, empty_archive()).await?,
            Err(error) if error.kind == ErrorKind::Conflict => engine.remove(name, false, true).await?,
            made => return made.map(drop),
        }
    }
    engine.create(name, spec).await.map(drop)
}

/// A carrier of a volume or of a folder of the host.
pub(super) fn spec(kind: &str, source: &str, label: &str) -> ContainerSpec {
    let mount = MountSpec {
        kind: kind.to_owned(),
        source: Some(source.to_owned()),
        target: MOUNTED_AT.to_owned(),
        ..MountSpec::default()
    };
    ContainerSpec {
        image: format!("{}:{}", IMAGE.0, IMAGE.1),
        cmd: Some(vec!["none".to_owned()]),
        labels: BTreeMap::from([(crate::world::keys::CONTENT.to_owned(), label.to_owned())]),
        host_config: HostConfig { mounts: vec![mount], network_mode: Some("none".to_owned()), ..HostConfig::default() },
        ..ContainerSpec::default()
    }
}

/// Two blocks of zeros end an archive.
fn empty_archive() -> Bytes {
    Bytes::from_static(&[0; 1024])
}

async fn from_here(
    target: &dyn Engine,
    host: &HostName,
    carrier: &str,
    content: &Content,
    cargo: &Cargo,
) -> Result<(), EngineError> {
    let Some(parcel) = cargo.parcel(&content.digest).cloned() else {
        let message = "its content is not on this machine any more: run the command again".to_owned();
        return Err(failed(host, content, ErrorKind::Refused, message));
    };
    let (key, digest, keys) = (content.sealed.clone(), content.digest.clone(), cargo.keys().clone());
    let checked = move |found: Summary| match found.digest == parcel.archive_digest {
        true => Ok(()),
        false => Err(PackError::Changed { path: "it".to_owned() }),
    };
    let pack = move |writer: &mut Pipe| match &key {
        None => checked(pack(&parcel.source, parcel.limit, writer)?),
        Some(key) => {
            // In memory, since it is encrypted as one.
            let mut plain = Vec::new();
            checked(pack(&parcel.source, parcel.limit, &mut plain)?)?;
            let text = keys.seal(key, &digest, plain).map_err(PackError::Sealing)?;
            let owner = Owner { uid: Some(0), gid: Some(0), mode: Some(0o400) };
            pack(&Source::Text { text, owner }, u64::MAX, writer).map(drop)
        }
    };
    let sent = packed_into(pack, |pieces| unpack(target, carrier, pieces)).await;
    sent.unwrap_or_else(|error| Err(failed(host, content, ErrorKind::Refused, format!("{error}; run the command again"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::{Fake, Fault, FaultRule};
    use crate::world::{Question, SeenHost};

    const LIMIT: u64 = 1 << 20;

    fn content() -> Content {
        Content { name: "config app".to_owned(), digest: "c".repeat(64), bytes: 2048, is_folder: false, sealed: None }
    }

    fn host() -> HostName {
        HostName::new("h1").expect("a good name")
    }

    async fn deliver(fake: &Fake, left: &[String]) -> Result<(), EngineError> {
        let content = content();
        let mut cargo = Cargo::default();
        let source = Source::Text { text: b"text".to_vec(), owner: Owner::default() };
        cargo.add(content.digest.clone(), source, LIMIT).expect("a text is packed");
        let volume = VolumeSpec { name: content.volume(), ..VolumeSpec::default() };
        let to = host();
        let freight = Freight { to: &to, from: None, content: &content, volume: &volume, left };
        carry(&fake.engines(), freight, &cargo).await
    }

    async fn seen(fake: &Fake) -> SeenHost {
        fake.engines()[&host()].look(&Question::default()).await.expect("it answers")
    }

    fn fails(call: &str) -> FaultRule {
        FaultRule::once(call, Fault::Fail { kind: ErrorKind::Failed, message: "out of luck".to_owned() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_is_whole_only_when_it_has_come_to_its_end() {
        for call in ["create container", "unpack an archive", "remove container", "remove volume"] {
            let fake = Fake::new(&["h1"]);
            // The first is refused, for want of the empty image.
            let skip = u32::from(call == "create container");
            fake.fault(FaultRule { skip, ..fails(call) });
            assert!(deliver(&fake, &[]).await.is_err(), "{call}");
            let after = seen(&fake).await;
            assert!(!after.holds(&content()), "{call}");
            deliver(&fake, &after.unfinished(&content().volume())).await.expect("nothing fails any more");
            let after = seen(&fake).await;
            assert_eq!((after.holds(&content()), after.unfinished(&content().volume())), (true, Vec::new()), "{call}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_carrier_that_the_engine_keeps_to_itself_holds_up_nobody() {
        let fake = Fake::new(&["h1"]);
        fake.fault(fails("unpack an archive"));
        assert!(deliver(&fake, &[]).await.is_err());
        let left = seen(&fake).await.unfinished(&content().volume());
        assert_eq!(left.len(), 1, "a mark and a carrier of one name");
        let call = format!("remove container `{}`", left[0]);
        fake.fault(FaultRule { host: None, call, skip: 0, times: u32::MAX, fault: Fault::Hang });
        deliver(&fake, &left).await.expect("it is not waited for");
        let after = seen(&fake).await;
        assert!(after.holds(&content()), "{:?}", after.volumes);
        assert_eq!(after.unfinished(&content().volume()), left, "its carrier is there yet");
        assert_eq!(fake.host("h1").files(&content().volume())["file"], b"text");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_one_that_breaks_off_over_what_was_whole_says_so() {
        let fake = Fake::new(&["h1"]);
        deliver(&fake, &[]).await.expect("nothing fails");
        fake.fault(fails("unpack an archive"));
        // Its plan is older than the end of the first.
        assert!(deliver(&fake, &[]).await.is_err());
        assert!(!seen(&fake).await.holds(&content()));
    }
}
