//! The swarm as one of its members tells and changes it: joining, roles, and the configs that records are kept in.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bollard::models::{SwarmInitRequest, SwarmJoinRequest};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::streams::Messages;
use super::{Docker, POLL, SWARM_MAX, escape, get};
use crate::engine::{ConfigObject, EngineError, ErrorKind};
use crate::project::Role;

const SWARM_LISTEN: &str = "0.0.0.0:2377";
/// A node joins or leaves the managers' quorum within a second or two, or 20 s when that costs the leader, and more on a busy machine.
const ROLE_TAKEN_MAX: Duration = Duration::from_secs(60);

impl Docker {
    /// Waits until a node is in the managers' quorum, or out of it: the update only says that it is to be.
    async fn role_taken(&self, what: &str, path: &str, role: Role) -> Result<(), EngineError> {
        let deadline = Instant::now() + ROLE_TAKEN_MAX;
        loop {
            // Between two leaders, which this may bring about, there is no answer for a moment.
            let node: Value = match self.get(what, path).await {
                Err(error) if !error.is_passing() => return Err(error),
                answer => answer.unwrap_or_default(),
            };
            let taken = match role {
                Role::Manager => node["ManagerStatus"]["Reachability"] == "reachable",
                Role::Worker => node["ID"].is_string() && node["ManagerStatus"].is_null(),
            };
            if taken {
                return Ok(());
            }
            if Instant::now() + POLL > deadline {
                let message = format!("it did not become so within {} s", ROLE_TAKEN_MAX.as_secs());
                return Err(self.http.error(what, ErrorKind::Timeout, message));
            }
            sleep(POLL).await;
        }
    }

    /// The first thing that a new leader does is to doubt every node, which every manager tells as events.
    pub(super) async fn hear_of_leader(&self) -> Result<(), EngineError> {
        let what = "hear of a new leader of the swarm";
        let path = format!("/events?filters={}", escape(&json!({ "type": ["node"] }).to_string()));
        let response = self.http.send(Some(self.version().await?), &get(what, &path)).await?;
        let unheard = |message: &str| self.http.error(what, ErrorKind::Unreachable, message);
        match Messages::new(response.into_body()).next().await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(unheard("the engine's events ended")),
            Err(message) => Err(unheard(&message)),
        }
    }

    pub(super) async fn begin_swarm(&self, what: &str, advertise: &str, force_new_cluster: bool) -> Result<(), EngineError> {
        let request = SwarmInitRequest {
            listen_addr: Some(SWARM_LISTEN.to_owned()),
            advertise_addr: Some(advertise.to_owned()),
            force_new_cluster: Some(force_new_cluster),
            ..SwarmInitRequest::default()
        };
        self.post_json(what.to_owned(), "/swarm/init".to_owned(), &json!(request), SWARM_MAX).await.map(drop)
    }

    pub(super) async fn join(&self, advertise: &str, remote: &str, token: &str) -> Result<(), EngineError> {
        let request = SwarmJoinRequest {
            listen_addr: Some(SWARM_LISTEN.to_owned()),
            advertise_addr: Some(advertise.to_owned()),
            remote_addrs: Some(vec![remote.to_owned()]),
            join_token: Some(token.to_owned()),
            data_path_addr: None,
        };
        let body = json!(request);
        self.post_json(format!("join the swarm at {remote}"), "/swarm/join".to_owned(), &body, SWARM_MAX).await.map(drop)
    }

    pub(super) async fn token_of(&self, role: Role) -> Result<String, EngineError> {
        let answer: Value = self.get("ask for the swarm's join token", "/swarm").await?;
        let key = match role {
            Role::Manager => "Manager",
            Role::Worker => "Worker",
        };
        Ok(answer["JoinTokens"][key].as_str().unwrap_or_default().to_owned())
    }

    pub(super) async fn take_role(&self, node_id: &str, role: Role) -> Result<(), EngineError> {
        let what = format!("make a node of the swarm a {role}");
        let path = format!("/nodes/{}", escape(node_id));
        let node: Value = self.get(&what, &path).await?;
        let mut spec = node["Spec"].clone();
        spec["Role"] = json!(role.to_string());
        let version = node["Version"]["Index"].as_u64().unwrap_or_default();
        self.post_json(what.clone(), format!("{path}/update?version={version}"), &spec, SWARM_MAX).await?;
        self.role_taken(&what, &path, role).await
    }

    pub(super) async fn configs_of(&self, prefix: &str) -> Result<Vec<ConfigObject>, EngineError> {
        let filters = json!({ "name": [prefix] }).to_string();
        let rows: Vec<Value> = self.get("list the swarm's configs", &format!("/configs?filters={}", escape(&filters))).await?;
        Ok(rows.iter().map(read_config).filter(|config| config.name.starts_with(prefix)).collect())
    }

    pub(super) async fn new_config(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        data: &[u8],
    ) -> Result<String, EngineError> {
        let body = json!({ "Name": name, "Labels": labels, "Data": BASE64.encode(data) });
        let bytes = self.post_json(format!("create config `{name}`"), "/configs/create".to_owned(), &body, SWARM_MAX).await?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(answer["ID"].as_str().unwrap_or_default().to_owned())
    }

    pub(super) async fn relabel(&self, id: &str, version: u64, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let what = "change a config of the swarm".to_owned();
        let path = format!("/configs/{}", escape(id));
        let config: Value = self.get(&what, &path).await?;
        let mut spec = config["Spec"].clone();
        spec["Labels"] = json!(labels);
        let done = self.post_json(what, format!("{path}/update?version={version}"), &spec, SWARM_MAX).await;
        done.map(drop).map_err(|error| match error.message.contains("out of sequence") {
            true => EngineError { kind: ErrorKind::Conflict, ..error },
            false => error,
        })
    }
}

fn read_config(row: &Value) -> ConfigObject {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = row["Spec"]["Labels"].as_object().into_iter().flatten();
    ConfigObject {
        id: text(&row["ID"]),
        name: text(&row["Spec"]["Name"]),
        version: row["Version"]["Index"].as_u64().unwrap_or_default(),
        labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
        data: BASE64.decode(row["Spec"]["Data"].as_str().unwrap_or_default()).unwrap_or_default(),
        created_at: text(&row["CreatedAt"]),
        updated_at: text(&row["UpdatedAt"]),
    }
}
