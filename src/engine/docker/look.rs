//! What an engine shows: one look at its host.
#![expect(clippy::disallowed_methods, reason = "the clock skew is told from this machine's clock")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::time::timeout;

use super::http::Call;
use super::wire::{ContainerRow, ImageAnswer, InfoAnswer, NetworkRow, VolumeList, restarts};
use super::{Agreed, Docker, escape_path, get};
use crate::engine::{EngineError, ErrorKind};
use crate::project::moment;
use crate::world::{Container, EngineInfo, ImageSeen, Pace, Question, SeenHost, Swarm};

/// A manager asks its leader for what it shows; without one it says so after 20 s, about when the next one is elected.
const SWARM_SHOWS_MAX: Duration = Duration::from_secs(30);
const IMAGES_AT_ONCE: usize = 8;
/// Questions about the engine's own restarts at once, and how long a look waits for all of them.
const RESTARTS_AT_ONCE: usize = 8;
const RESTARTS_WAIT_MAX: Duration = Duration::from_secs(2);

impl Docker {
    /// Everything that an engine shows, at the pace that is asked for.
    pub(super) async fn look_once(&self, question: &Question) -> Result<SeenHost, EngineError> {
        let Agreed { spoken, answer } = self.agreed().await?;
        let of_info = shown("ask for the engine's info", "/info");
        let info = async {
            let info: Value = self.http.json(Some(spoken), &of_info).await?;
            // Told at once: other answers may take their time.
            let clock_skew_ms = skew_ms(info["SystemTime"].as_str().unwrap_or_default());
            Ok((info, clock_skew_ms))
        };
        let objects = self.look_at_objects(question, EngineInfo::default(), Swarm::default());
        let ((info, clock_skew_ms), seen) = match question.pace {
            Pace::AtOnce => tokio::try_join!(info, objects)?,
            Pace::OneByOne => (info.await?, objects.await?),
        };
        let unread =
            |error: serde_json::Error| self.http.error("ask for the engine's info", ErrorKind::Failed, error.to_string());
        let info: InfoAnswer = serde_json::from_value(info).map_err(unread)?;
        Ok(SeenHost { engine: info.engine(answer, spoken, clock_skew_ms), swarm: info.swarm(), ..seen })
    }

    /// Everything but the engine itself and its swarm, which the caller knows.
    pub(super) async fn look_at_objects(
        &self,
        question: &Question,
        engine: EngineInfo,
        swarm: Swarm,
    ) -> Result<SeenHost, EngineError> {
        let spoken = self.version().await?;
        let of_networks = shown("list networks", "/networks");
        let networks = self.http.json::<Vec<NetworkRow>>(Some(spoken), &of_networks);
        let volumes = self.get::<VolumeList>("list volumes", "/volumes");
        let (containers, images) = (self.list_containers(question.pace), self.images_asked_for(question));
        let (containers, networks, volumes, images) = match question.pace {
            Pace::AtOnce => tokio::try_join!(containers, networks, volumes, images)?,
            Pace::OneByOne => {
                let (networks, volumes, images) = (networks.await?, volumes.await?, images.await?);
                (containers.await?, networks, volumes, images)
            }
        };
        // The engine lists both in any order; one state of a host is one value.
        let mut networks: Vec<_> = networks.into_iter().map(NetworkRow::read).collect();
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let mut volumes: Vec<_> = volumes.volumes.into_iter().map(|row| row.read()).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(SeenHost { engine, swarm, containers, networks, volumes, images })
    }

    /// By name.
    pub(super) async fn list_containers(&self, pace: Pace) -> Result<Vec<Container>, EngineError> {
        let (version, call) = (Some(self.version().await?), get("list containers", "/containers/json?all=1"));
        let rows: Vec<ContainerRow> = match pace {
            Pace::AtOnce => self.http.json(version, &call).await?,
            // What such a look asks last.
            Pace::OneByOne => self.http.last_json(version, &call).await?,
        };
        let mut containers: Vec<_> = rows.into_iter().filter_map(ContainerRow::read).collect();
        // A supervisor keeps them for long.
        containers.shrink_to_fit();
        containers.sort_by(|a, b| (&a.name, a.id.as_str()).cmp(&(&b.name, b.id.as_str())));
        // Who asks for containers is kept waiting no longer by what is good to know besides.
        let _ = timeout(RESTARTS_WAIT_MAX, self.add_restarts(&mut containers, pace)).await;
        Ok(containers)
    }

    /// What the engine's own restarts came to, of replicas that do not run: a question each. One that is not answered is left out.
    async fn add_restarts(&self, containers: &mut [Container], pace: Pace) {
        let at_once = if pace == Pace::AtOnce { RESTARTS_AT_ONCE } else { 1 };
        let ended = containers.iter_mut().filter(|container| container.may_have_restarted());
        let asked = ended.map(|container| async move {
            let path = format!("/containers/{}/json", container.id);
            let answer: Result<Value, _> = self.get("ask for the engine's restarts", &path).await;
            container.restarts = answer.ok().map(|raw| restarts(&raw));
        });
        let asked: Vec<_> = asked.collect();
        stream::iter(asked).buffer_unordered(at_once).collect::<()>().await;
    }

    /// The images that were asked about, those that are here.
    async fn images_asked_for(&self, question: &Question) -> Result<BTreeMap<String, ImageSeen>, EngineError> {
        let asked = question.images.iter().cloned().map(|reference| async move {
            let image = self.image_answer(&reference).await?;
            Ok(image.map(|image| (reference, image.read())))
        });
        let asked: Vec<_> = asked.collect();
        let at_once = if question.pace == Pace::AtOnce { IMAGES_AT_ONCE } else { 1 };
        let found: Vec<Option<_>> = stream::iter(asked).buffer_unordered(at_once).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn image_answer(&self, reference: &str) -> Result<Option<ImageAnswer>, EngineError> {
        match self.get("look at an image", &format!("/images/{}/json", escape_path(reference))).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The engine's clock (RFC 3339) minus this machine's, in milliseconds; 0 where it cannot be read.
fn skew_ms(system_time: &str) -> i64 {
    let Some(theirs) = moment::parse(system_time) else { return 0 };
    let ours = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    theirs.as_millis() as i64 - ours.as_millis() as i64
}

/// Of what a manager asks its leader for.
fn shown(what: &str, path: &str) -> Call {
    Call { bound: SWARM_SHOWS_MAX, ..get(what, path) }
}
