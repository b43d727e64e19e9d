//! Builds and shipped images of the fake. Its archives hold what an image is seen as.

use serde_json::{Value, json};

use super::state::{Cluster, Fail, FakeHostState};
use super::time::rfc3339;
use crate::engine::{ErrorKind, ImageParts};
use crate::project::{HostName, ImageBuild};
use crate::world::ImageSeen;

impl FakeHostState {
    /// What an image that came from no registry is given: nothing, but by containerd's store (seen with 28.5) its own id.
    fn digests_of(&self, image: &str, id: &str) -> Vec<String> {
        let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
        if self.info.storage_driver == "overlay2" { Vec::new() } else { vec![format!("{name}@{id}")] }
    }
}

impl Cluster {
    /// Each build is another image, of the time when it was made.
    pub(super) fn build(&mut self, host: &HostName, build: &ImageBuild) -> Result<(), Fail> {
        let (id, created) = (format!("sha256:{}", self.new_id()), rfc3339(self.now_ms));
        let state = self.host_mut(host)?;
        for tag in &build.tags {
            let digests = state.digests_of(tag, &id);
            let layers = vec![id.clone()];
            let seen = ImageSeen {
                id: id.clone(),
                digests,
                size_bytes: 5_000_000,
                created: created.clone(),
                tagged: created.clone(),
                layers,
            };
            state.images.insert(tag.clone(), seen);
        }
        Ok(())
    }

    /// The registry has from now on what it is given, as something that a host may be given back.
    pub(super) fn push(&mut self, host: &HostName, image: &str) -> Result<(), Fail> {
        self.image(host, image)?;
        self.registry.entry(image.to_owned()).or_default().get_or_insert(0);
        Ok(())
    }

    pub(super) fn save(&mut self, host: &HostName, image: &str) -> Result<Vec<u8>, Fail> {
        let seen = self.image(host, image)?;
        Ok(json!([image, seen.id, seen.size_bytes, seen.created]).to_string().into_bytes())
    }

    pub(super) fn load(&mut self, host: &HostName, archive: &[u8]) -> Result<(), Fail> {
        let damaged = || Fail::new(ErrorKind::Failed, "invalid tar header");
        let saved: Value = serde_json::from_slice(archive).map_err(|_| damaged())?;
        let text = |index: usize| saved[index].as_str().map(str::to_owned).ok_or_else(damaged);
        let (image, id, created) = (text(0)?, text(1)?, text(3)?);
        let tagged = rfc3339(self.now_ms);
        let state = self.host_mut(host)?;
        let digests = state.digests_of(&image, &id);
        let (size_bytes, layers) = (saved[2].as_i64().unwrap_or_default(), vec![id.clone()]);
        let seen = ImageSeen { id, digests, size_bytes, created, tagged, layers };
        state.images.insert(image, seen);
        Ok(())
    }

    pub(super) fn images(&mut self, host: &HostName) -> Result<Vec<String>, Fail> {
        Ok(self.host(host)?.images.values().map(|image| image.id.clone()).collect())
    }

    /// One layer, by the image's id.
    pub(super) fn image_parts(&mut self, host: &HostName, image: &str) -> Result<ImageParts, Fail> {
        let id = self.image(host, image)?.id.clone();
        Ok(ImageParts { layers: vec![id.clone()], id })
    }

    fn image(&self, host: &HostName, image: &str) -> Result<&ImageSeen, Fail> {
        let images = &self.host(host)?.images;
        let found = images.get(image).or_else(|| images.values().find(|seen| seen.id == image));
        found.ok_or_else(|| Fail::not_found(format!("No such image: {image}")))
    }
}
