//! `mcompose hosts add`

use super::fleet::{carry_out, look, steps_to_form};
use super::{Fleet, HostsError, Stage};
use crate::inventory::edit::{LabelChange, NewHost, add};
use crate::project::{HostName, Role};
use crate::world::Sight;

/// Add a host to the inventory and let it join the others
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    #[arg(value_name = "NAME")]
    name: String,
    /// ssh://[user@]host[:port], tcp://host:port or unix:///path
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Its part in the swarm; mcompose chooses where nothing is said
    #[arg(long, value_name = "ROLE", value_parser = ["manager", "worker"])]
    role: Option<String>,
    /// Label for placement constraints, KEY=VALUE
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// The address at which other hosts reach it, where ADDRESS is another
    #[arg(long, value_name = "IP")]
    advertise: Option<String>,
    /// SSH private key file
    #[arg(long, value_name = "FILE")]
    identity: Option<String>,
    /// SSH jump host, [user@]host[:port]; the outermost first
    #[arg(long, value_name = "HOST")]
    jump: Vec<String>,
    /// Add it though it does not answer; it joins at the next `up` or `hosts init`
    #[arg(long)]
    force: bool,
}

pub async fn run(args: &AddArgs, fleet: &Fleet, stage: &dyn Stage) -> Result<bool, HostsError> {
    let file = fleet.file_or_new();
    let host = new_host(args)?;
    let text = add(&file.text, &host)?;
    let inventory = file.meaning_of(&text)?;
    let engines = (fleet.open)(&inventory.hosts);
    let world = look(&engines).await;
    let away = match world.hosts.get(&host.name) {
        Some(Sight::Unreachable { why }) => Some(why.clone()),
        _ => None,
    };
    if let Some(why) = away.clone().filter(|_| !args.force) {
        return Err(HostsError::Unreachable { host: host.name, why });
    }
    let steps = if away.is_none() { steps_to_form(&inventory, &world).await? } else { Vec::new() };
    file.replace(&text)?;
    if !carry_out(stage, &engines, steps).await {
        return Err(HostsError::Incomplete { what: "joining the swarm", file: "lists the host already" });
    }
    stage.note(&format!("host `{}` is in {}", host.name, file.path.display()));
    Ok(true)
}

fn new_host(args: &AddArgs) -> Result<NewHost, HostsError> {
    let mut labels = std::collections::BTreeMap::new();
    for text in &args.labels {
        match LabelChange::parse(text)? {
            LabelChange::Set { key, value } => drop(labels.insert(key, value)),
            LabelChange::Unset { .. } => return Err(HostsError::NothingToUnset { text: text.clone() }),
        }
    }
    let role = args.role.as_deref().map(|role| if role == "manager" { Role::Manager } else { Role::Worker });
    Ok(NewHost {
        name: HostName::new(args.name.as_str())?,
        address: args.address.clone(),
        role,
        labels,
        advertise: args.advertise.clone(),
        identity: args.identity.clone(),
        jump: args.jump.clone(),
    })
}
