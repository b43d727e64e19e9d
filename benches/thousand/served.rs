//! An engine behind HTTP: what the fake says, in the API's words, on a TCP port of its own. It can fall silent, or refuse.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use mcompose::engine::fake::Fake;
use mcompose::engine::{ContainerEvent, Engine, EngineError, ErrorKind};
use mcompose::project::{ContainerSpec, Endpoint, NetworkSpec, VolumeSpec};
use mcompose::world::{Container, Pace, Question, SeenHost, State};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Between two attempts to have the port again.
const LISTEN_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Connections are taken, and nothing is answered.
    Silent,
    /// Nobody listens, and what was connected is reset.
    Refusing,
}

/// One host. Its fake is its own, so that a thousand of them do not wait for each other.
pub struct Served {
    pub name: String,
    pub address: SocketAddr,
    fake: Fake,
    mood: watch::Sender<Mood>,
}

#[derive(Clone)]
struct Host {
    name: String,
    fake: Fake,
    engine: Arc<dyn Engine>,
    mood: watch::Receiver<Mood>,
}

impl Served {
    pub async fn begin(name: &str, images: &[String]) -> std::io::Result<Self> {
        let fake = Fake::new(&[name]);
        images.iter().for_each(|image| fake.host(name).add_image(image));
        let engine = fake.engines().into_values().next().expect("the name is one");
        let (mood, heard) = watch::channel(Mood::Well);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let host = Host { name: name.to_owned(), fake: fake.clone(), engine, mood: heard };
        tokio::spawn(host.listen(listener, address));
        Ok(Self { name: name.to_owned(), address, fake, mood })
    }

    pub fn become_(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Slots whose replica runs here, by the replica's name.
    pub fn running(&self) -> Vec<String> {
        let containers = self.fake.host(&self.name).containers();
        containers.into_iter().filter(|container| container.state == State::Running).map(|container| container.name).collect()
    }
}

impl Host {
    async fn listen(mut self, listener: TcpListener, address: SocketAddr) {
        let mut listener = Some(listener);
        loop {
            if *self.mood.borrow_and_update() == Mood::Refusing {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(address).await.ok();
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await.ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.mood.changed() => if changed.is_err() { return },
                accepted = accepted => if let Some((stream, _)) = accepted {
                    tokio::spawn(self.clone().serve(stream));
                },
                () = tokio::time::sleep(LISTEN_PAUSE), if listener.is_none() => {}
            }
        }
    }

    /// Until the caller ends it, or the host refuses all.
    async fn serve(self, stream: TcpStream) {
        let mut mood = self.mood.clone();
        let service = service_fn(move |request| {
            let host = self.clone();
            async move { Ok::<_, Infallible>(host.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            _ = served => {}
            _ = mood.wait_for(|mood| *mood == Mood::Refusing) => {}
        }
    }

    async fn answer(mut self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let path = head.uri.path().trim_start_matches('/').to_owned();
        let words: Vec<String> = path.split('/').map(unescaped).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|word| word.starts_with("v1.")).collect();
        let query = query_of(head.uri.query().unwrap_or_default());
        let answer = self.carry_out(&head.method, &words, &query, &body).await;
        // Whether it was carried out or not, a silent host says nothing of it.
        let _ = self.mood.wait_for(|mood| *mood != Mood::Silent).await;
        answer.unwrap_or_else(|error| refusal(&error))
    }

    async fn carry_out(
        &self,
        method: &Method,
        words: &[&str],
        query: &BTreeMap<String, String>,
        body: &Bytes,
    ) -> Result<Response<Body>, EngineError> {
        let engine = &self.engine;
        let asked = |name: &str| query.get(name).cloned().unwrap_or_default();
        match (method.as_str(), words) {
            ("GET" | "HEAD", ["_ping"]) => engine.ping().await.map(|()| response(200, "OK".into())),
            ("GET", ["version"]) => Ok(shown(&version(&self.look([]).await?))),
            ("GET", ["info"]) => Ok(shown(&info(&self.look([]).await?))),
            ("GET", ["networks"]) => Ok(shown(&networks(&self.look([]).await?))),
            ("GET", ["volumes"]) => Ok(shown(&volumes(&self.look([]).await?))),
            ("GET", ["images", name @ .., "json"]) => {
                let name = name.join("/");
                let seen = self.look([name.clone()]).await?;
                let image = seen.images.get(&name).map(|image| {
                    json!({ "Id": image.id, "RepoDigests": image.digests, "Size": image.size_bytes, "Created": image.created })
                });
                image.map(|image| shown(&image)).ok_or_else(|| self.error(ErrorKind::NotFound, "No such image"))
            }
            ("GET", ["events"]) => self.events().await,
            ("GET", ["containers", "json"]) => {
                let rows: Vec<Value> =
                    engine.containers(Pace::AtOnce).await?.iter().map(|container| self.row(container)).collect();
                Ok(shown(&json!(rows)))
            }
            ("GET", ["containers", id, "json"]) => self.inspect(id).await,
            ("POST", ["containers", "create"]) => {
                let spec: ContainerSpec = self.read(body)?;
                engine
                    .create(&asked("name"), &spec)
                    .await
                    .map(|id| response(201, json!({ "Id": id, "Warnings": [] }).to_string()))
            }
            ("POST", ["containers", id, "start"]) => engine.start(id).await.map(done),
            ("POST", ["containers", id, "stop"]) => engine.stop(id, asked("t").parse().ok()).await.map(done),
            ("POST", ["containers", id, "rename"]) => engine.rename(id, &asked("name")).await.map(done),
            ("DELETE", ["containers", id]) => engine.remove(id, asked("v") == "true", asked("force") == "true").await.map(done),
            ("POST", ["networks", "create"]) => {
                let asked: Value = self.read(body)?;
                engine.create_network(&network_spec(&asked)).await.map(|()| response(201, json!({ "Id": "" }).to_string()))
            }
            ("POST", ["networks", name, "connect"]) => {
                let asked: Value = self.read(body)?;
                let endpoint: Endpoint = serde_json::from_value(asked["EndpointConfig"].clone()).unwrap_or_default();
                engine.connect(name, text(&asked["Container"]), &endpoint).await.map(done)
            }
            ("POST", ["volumes", "create"]) => {
                let asked: Value = self.read(body)?;
                let labels = serde_json::from_value(asked["Labels"].clone()).unwrap_or_default();
                let spec = VolumeSpec { name: text(&asked["Name"]).to_owned(), labels, ..VolumeSpec::default() };
                engine.create_volume(&spec).await.map(|()| response(201, asked.to_string()))
            }
            _ => Err(self.error(ErrorKind::Refused, format!("{method} /{} is not served here", words.join("/")))),
        }
    }

    async fn look(&self, images: impl IntoIterator<Item = String>) -> Result<SeenHost, EngineError> {
        self.engine.look(&Question::about(images.into_iter().collect())).await
    }

    async fn inspect(&self, id: &str) -> Result<Response<Body>, EngineError> {
        let seen = self.engine.inspect(id).await?;
        let mut raw = seen.raw;
        let health = json!({ "Status": format!("{:?}", seen.health).to_lowercase(), "Log": [] });
        raw["State"] = json!({
            "Status": seen.state.to_string(), "ExitCode": seen.exit_code, "Error": seen.error, "OOMKilled": seen.oom_killed,
            "StartedAt": seen.started_at, "FinishedAt": seen.finished_at, "Health": health,
        });
        raw["RestartCount"] = json!(seen.restart_count);
        Ok(shown(&raw))
    }

    /// They fall silent with the host.
    async fn events(&self) -> Result<Response<Body>, EngineError> {
        let events = self.engine.events("", "").await?;
        let mood = self.mood.clone();
        let frames = events.filter_map(move |event| {
            let mut mood = mood.clone();
            async move {
                let _ = mood.wait_for(|mood| *mood != Mood::Silent).await;
                event.ok().map(|event| Ok(Frame::data(Bytes::from(event_text(&event) + "\n"))))
            }
        });
        let body = StreamBody::new(frames.into_stream()).boxed_unsync();
        Ok(Response::new(body))
    }

    fn row(&self, container: &Container) -> Value {
        let labels = self.fake.host(&self.name).spec_of(container.id.as_str()).map(|spec| spec.labels).unwrap_or_default();
        let endpoints = container.networks.iter().map(|(name, address)| {
            let id = container.network_ids.get(name).cloned().unwrap_or_default();
            (name.clone(), json!({ "IPAddress": address, "NetworkID": id, "Aliases": null, "Links": null }))
        });
        let mounts = container
            .mounts
            .iter()
            .map(|mount| json!({ "Type": mount.kind, "Name": mount.name, "Source": mount.source, "Destination": mount.target }));
        json!({
            "Id": container.id, "Names": [format!("/{}", container.name)], "Image": container.image, "ImageID": container.image_id,
            "Command": container.command, "Created": container.created, "Ports": [], "Labels": labels,
            "State": container.state.to_string(), "Status": container.status, "HostConfig": { "NetworkMode": container.network_mode },
            "NetworkSettings": { "Networks": endpoints.collect::<BTreeMap<_, _>>() }, "Mounts": mounts.collect::<Vec<_>>(),
        })
    }

    fn read<T: serde::de::DeserializeOwned>(&self, body: &Bytes) -> Result<T, EngineError> {
        serde_json::from_slice(body).map_err(|error| self.error(ErrorKind::Refused, error.to_string()))
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> EngineError {
        EngineError { host: self.engine.host().clone(), call: "answer".to_owned(), kind, message: message.into() }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn response(status: u16, text: String) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(text)).boxed_unsync()).expect("the status is one")
}

fn shown(value: &Value) -> Response<Body> {
    response(200, value.to_string())
}

fn done((): ()) -> Response<Body> {
    response(204, String::new())
}

fn refusal(error: &EngineError) -> Response<Body> {
    let status = match error.kind {
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict => 409,
        ErrorKind::Refused => 400,
        _ => 500,
    };
    response(status, json!({ "message": error.message }).to_string())
}

fn version(seen: &SeenHost) -> Value {
    let engine = &seen.engine;
    json!({
        "Version": engine.version, "ApiVersion": engine.api_version, "MinAPIVersion": engine.min_api_version,
        "Os": engine.os, "Arch": engine.arch,
    })
}

fn info(seen: &SeenHost) -> Value {
    let engine = &seen.engine;
    let runtimes: BTreeMap<_, _> = engine.runtimes.iter().map(|name| (name, json!({ "path": name }))).collect();
    json!({
        "ID": engine.id, "Name": engine.hostname, "NCPU": engine.cpus, "MemTotal": engine.memory_bytes, "Labels": [],
        "Runtimes": runtimes, "Plugins": { "Volume": engine.volume_plugins, "Network": engine.network_plugins },
        "LiveRestoreEnabled": false, "SecurityOptions": ["name=apparmor"], "Driver": engine.storage_driver,
        "DockerRootDir": engine.root_dir, "Swarm": { "LocalNodeState": "inactive" }, "SystemTime": "",
    })
}

fn networks(seen: &SeenHost) -> Value {
    let row = |network: &mcompose::world::NetworkSeen| {
        json!({
            "Id": network.id, "Name": network.name, "Driver": network.driver, "Scope": network.scope,
            "Attachable": network.attachable, "Internal": network.internal, "Labels": network.labels,
        })
    };
    json!(seen.networks.iter().map(row).collect::<Vec<_>>())
}

fn volumes(seen: &SeenHost) -> Value {
    let row = |volume: &mcompose::world::VolumeSeen| json!({ "Name": volume.name, "Driver": volume.driver, "Options": volume.options, "Labels": volume.labels });
    json!({ "Volumes": seen.volumes.iter().map(row).collect::<Vec<_>>() })
}

fn network_spec(asked: &Value) -> NetworkSpec {
    NetworkSpec {
        name: text(&asked["Name"]).to_owned(),
        driver: asked["Driver"].as_str().map(str::to_owned),
        attachable: asked["Attachable"] == true,
        labels: serde_json::from_value(asked["Labels"].clone()).unwrap_or_default(),
        ..NetworkSpec::default()
    }
}

fn event_text(event: &ContainerEvent) -> String {
    let mut attributes: BTreeMap<&str, String> = event.labels.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    attributes.extend([("name", event.name.clone()), ("image", event.image.clone())]);
    attributes.extend(event.exit_code.map(|code| ("exitCode", code.to_string())));
    let actor = json!({ "ID": event.id, "Attributes": attributes });
    json!({ "Type": "container", "Action": event.action, "Actor": actor, "timeNano": event.time_ns }).to_string()
}

/// `%XX` as bytes.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code = text_of(others.get(..2)).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &others[2..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text_of(bytes: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(bytes?).ok()
}

fn query_of(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), unescaped(value))).collect()
}
