//! Images on their way: pulled, built, and as archives from engine to engine.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hyper::Method;
use serde_json::Value;
use tokio::time::timeout;

use super::http::Call;
use super::streams::{self, Messages};
use super::{ARCHIVE_MAX, Docker, PULL_MAX, build, escape, escape_path, get};
use crate::engine::{EngineError, ErrorKind, ImageParts, Lent, Pieces};
use crate::project::ImageBuild;

/// Engines before 25 gather an image on disk before they send the first of it.
const SAVE_BEGINS_MAX: Duration = Duration::from_secs(600);

/// The engine asks the registry, which may be far and ask for a password first.
const REGISTRY_ANSWERS_MAX: Duration = Duration::from_secs(60);

impl Docker {
    pub(super) async fn import(&self, name: &str, tag: &str, archive: Bytes) -> Result<(), EngineError> {
        let what = format!("import image `{name}:{tag}`");
        let path = format!("/images/create?fromSrc=-&repo={}&tag={}", escape(name), escape(tag));
        let call = Call { what, method: Method::POST, path, body: None, bound: ARCHIVE_MAX };
        let pieces = stream::iter([Ok(archive)]).boxed();
        let response = self.http.send_archive(Some(self.version().await?), &call, pieces).await?;
        self.to_end(&call, streams::pull(response.into_body(), &|_| {})).await
    }

    pub(super) async fn pull_from_registry(
        &self,
        image: &str,
        platform: Option<&str>,
        login: Option<&str>,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        let what = format!("pull image `{image}`");
        // A reference without a tag would pull every tag.
        let last = image.rsplit('/').next().unwrap_or(image);
        let tag = if last.contains([':', '@']) { "" } else { "&tag=latest" };
        let platform = platform.map(|platform| format!("&platform={}", escape(platform))).unwrap_or_default();
        let path = format!("/images/create?fromImage={}{tag}{platform}", escape(image));
        let call = Call { what, method: Method::POST, path, body: None, bound: PULL_MAX };
        let response = self.http.send_with_login(Some(self.version().await?), &call, login).await?;
        self.to_end(&call, streams::pull(response.into_body(), progress)).await
    }

    pub(super) async fn digest_of_registry(&self, image: &str, login: Option<&str>) -> Result<String, EngineError> {
        let what = format!("ask for the digest of image `{image}`");
        let call = Call { bound: REGISTRY_ANSWERS_MAX, ..get(&what, &format!("/distribution/{}/json", escape_path(image))) };
        let answer = self.http.send_with_login(Some(self.version().await?), &call, login).await?;
        let bytes = self.http.collect(&call, answer).await?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let digest = answer["Descriptor"]["digest"].as_str().filter(|digest| !digest.is_empty());
        digest.map(str::to_owned).ok_or_else(|| self.http.error(&what, ErrorKind::Failed, "the answer has none"))
    }

    pub(super) async fn saved(&self, image: &str) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let what = format!("save image `{image}`");
        let call = Call { bound: SAVE_BEGINS_MAX, ..get(&what, &format!("/images/{}/get", escape_path(image))) };
        let response = self.http.send(Some(self.version().await?), &call).await?;
        let error = self.http.error(&what, ErrorKind::Unreachable, "");
        Ok(streams::pieces(response.into_body(), error))
    }

    pub(super) async fn take_archive(&self, image: &str, archive: Pieces) -> Result<(), EngineError> {
        let what = format!("load image `{image}`");
        let path = "/images/load?quiet=1".to_owned();
        let call = Call { what, method: Method::POST, path, body: None, bound: ARCHIVE_MAX };
        let response = self.http.send_archive(Some(self.version().await?), &call, archive).await?;
        self.to_end(&call, streams::pull(response.into_body(), &|_| {})).await
    }

    pub(super) async fn parts_of(&self, image: &str) -> Result<ImageParts, EngineError> {
        let answer: Value =
            self.get(&format!("look at image `{image}`"), &format!("/images/{}/json", escape_path(image))).await?;
        let layers = answer["RootFS"]["Layers"].as_array().into_iter().flatten();
        let layers = layers.filter_map(|layer| layer.as_str().map(str::to_owned)).collect();
        Ok(ImageParts { id: answer["Id"].as_str().unwrap_or_default().to_owned(), layers })
    }

    pub(super) async fn build_from(
        &self,
        build: &ImageBuild,
        dockerfile: &str,
        context: Option<Pieces>,
        lent: &Lent,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), EngineError> {
        let image = build.tags.first().map(String::as_str).unwrap_or_default();
        let what = format!("build image `{image}`");
        if build.asks_buildkit() || !lent.folders.is_empty() {
            return self.solve(&what, build, dockerfile, lent, progress).await;
        }
        let session = if lent.is_empty() { None } else { Some(self.lend(lent).await?) };
        let path = format!("/build?{}", build::query(build, dockerfile, session.as_ref().map(|session| session.id.as_str())));
        let call = Call { what, method: Method::POST, path, body: None, bound: ARCHIVE_MAX };
        let body = context.unwrap_or_else(|| stream::empty().boxed());
        let response = self.http.send_archive(Some(self.version().await?), &call, body).await?;
        self.to_end(&call, build::follow(Messages::new(response.into_body()), progress)).await
    }

    /// Reads an answer that goes on for as long as the call does.
    pub(super) async fn to_end(&self, call: &Call, answer: impl Future<Output = Result<(), String>>) -> Result<(), EngineError> {
        let ended = timeout(call.bound, answer).await;
        ended
            .map_err(|_| self.http.error(&call.what, ErrorKind::Timeout, format!("it takes longer than {:?}", call.bound)))?
            .map_err(|message| self.http.error(&call.what, ErrorKind::Failed, message))
    }
}
