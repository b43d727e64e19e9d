//! Why hosts cannot be, or not become, one swarm.

use std::collections::BTreeMap;

use super::address::NoAddress;
use crate::project::HostName;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    #[error("hosts `{first}` and `{second}` are one machine: both reach the engine `{engine}`")]
    OneMachine { first: HostName, second: HostName, engine: String },
    #[error("no host can be reached: {}", listed(.why))]
    NobodyReachable { why: BTreeMap<HostName, String> },
    /// Each swarm by its id where a manager told it, with the hosts in it.
    #[error("the hosts are in different swarms: {}", .swarms.iter().map(|(id, hosts)| format!("{} in {id}", names(hosts))).collect::<Vec<_>>().join("; "))]
    SeveralSwarms { swarms: Vec<(String, Vec<HostName>)> },
    #[error("the swarm of host `{host}` is {state}{}", with_colon(.error))]
    Pending { host: HostName, state: String, error: String },
    #[error("host `{host}` cannot be in a swarm: its engine has live-restore on")]
    LiveRestore { host: HostName },
    #[error("host `{host}` cannot be in a swarm: its engine is rootless, which has no overlay networks")]
    Rootless { host: HostName },
    #[error("a swarm cannot be formed now: {}", listed(.unreachable))]
    HostsAway { unreachable: BTreeMap<HostName, String> },
    #[error("no host may be a manager: all have `role = \"worker\"`")]
    AllWorkers,
    #[error("no manager of the swarm can be reached: its members are {}, its managers {}", names(.members), .managers.join(", "))]
    NoManager { members: Vec<HostName>, managers: Vec<String> },
    #[error("{} of the swarm's {known} managers answer ({}): they find a leader by themselves once they reach each other", .answering.len(), names(.answering))]
    EnoughManagers { answering: Vec<HostName>, known: usize },
    #[error("host `{host}` is the only manager of a swarm that has other members")]
    LastManager { host: HostName },
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
    #[error("hosts `{first}` and `{second}` would advertise one address, {address}")]
    SameAddress { first: HostName, second: HostName, address: String },
}

impl ClusterError {
    /// What helps, where something is known to.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::OneMachine { .. } => "list the machine once; for one engine under two names use labels".to_owned(),
            Self::NobodyReachable { .. } => "`mcompose hosts check` tries each host and says what is missing".to_owned(),
            Self::SeveralSwarms { .. } => {
                "let the hosts of one of them leave it (`docker swarm leave` there), or split the inventory".to_owned()
            }
            Self::Pending { state, .. } if state == "locked" => "unlock it on that host: `docker swarm unlock`".to_owned(),
            Self::Pending { .. } => "`docker swarm leave --force` on that host lets it start anew".to_owned(),
            Self::LiveRestore { .. } => {
                "take `\"live-restore\": true` out of /etc/docker/daemon.json there and restart docker, or set `[network] driver = \"bridge\"`".to_owned()
            }
            Self::Rootless { .. } => "set `[network] driver = \"bridge\"`, or use the engine of root there".to_owned(),
            Self::HostsAway { .. } => {
                "a host that does not answer may be in a swarm already: bring it back, or take it out of hosts.toml until it is".to_owned()
            }
            Self::AllWorkers => "give one host, better three, `role = \"manager\"`, or take the roles away".to_owned(),
            Self::NoManager { .. } => "bring a manager back, or add one to hosts.toml if it is missing there".to_owned(),
            Self::EnoughManagers { .. } => {
                "`mcompose hosts check` tries their ports; wait a minute if one of them was lost just now".to_owned()
            }
            Self::LastManager { .. } => {
                "give another host `role = \"manager\"` and run `mcompose hosts init`, then take this one out".to_owned()
            }
            Self::NoAddress(_) | Self::SameAddress { .. } => {
                "set `advertise` of that host to its address in the network that all hosts share".to_owned()
            }
        };
        Some(text)
    }
}

fn listed(why: &BTreeMap<HostName, String>) -> String {
    why.iter().map(|(host, why)| format!("`{host}`: {why}")).collect::<Vec<_>>().join("; ")
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>().join(", ")
}

fn with_colon(error: &str) -> String {
    if error.is_empty() { String::new() } else { format!(": {error}") }
}
