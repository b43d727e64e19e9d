//! `mcompose port`

use super::{Failure, Globals, exit, load};
use crate::project::{Address, Protocol};
use crate::ui::Ui;

/// Print the public port for a port binding
#[derive(Debug, clap::Args)]
pub struct PortArgs {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// tcp or udp
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp", value_parser = ["tcp", "udp", "sctp"])]
    protocol: String,
    #[arg(value_name = "SERVICE")]
    service: String,
    #[arg(value_name = "PRIVATE_PORT")]
    port: u16,
}

/// A port of every address of a host is said with the host's own address, unless the host is this machine.
pub async fn run(args: &PortArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "port").await?;
    load::selection(std::slice::from_ref(&args.service), &project)?;
    let protocol = match args.protocol.as_str() {
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    let world = session.look_and_warn().await?;
    let mut replicas: Vec<_> = world
        .containers_of(&project.name)
        .filter(|(_, container)| container.state.is_up() && !container.labels.oneoff)
        .filter(|(_, container)| container.labels.service.as_deref() == Some(args.service.as_str()))
        .filter(|(_, container)| args.index == 0 || container.labels.number == Some(args.index))
        .collect();
    replicas.sort_by_key(|(_, container)| container.labels.number);
    let Some((host, container)) = replicas.first() else {
        let what = if args.index == 0 { args.service.clone() } else { format!("{}.{}", args.service, args.index) };
        return Err(Failure::said(
            format!("no replica of {what} runs"),
            "`mcompose ps` shows what does".to_owned(),
            exit::FAILURE,
        ));
    };
    let mut ports = container.ports.iter().filter(|port| port.container_port == args.port && port.protocol == protocol);
    let Some((ip, number)) = ports.find_map(|port| Some((port.host_ip.as_str(), port.host_port?))) else {
        let error = format!("port {}/{} of `{}` on {host} is not published", args.port, args.protocol, container.name);
        return Err(Failure::said(error, "`ports:` publishes ports".to_owned(), exit::FAILURE));
    };
    let address = session.inventory.host(host.as_str()).map(|host| &host.address);
    let ip = match address {
        Some(Address::Ssh { host, .. } | Address::Tcp { host, .. }) if matches!(ip, "0.0.0.0" | "::" | "") => host.as_str(),
        _ => ip,
    };
    ui.data(&if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") });
    Ok(exit::OK)
}
