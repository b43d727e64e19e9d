//! `mcompose attach`

use std::io::IsTerminal;

use super::attending::{Attending, attend};
use super::exec::replicas;
use super::{Failure, Globals, exit, load};
use crate::engine::Ending;
use crate::ui::Ui;

/// Attach local standard input, output, and error streams to a service's running container
#[derive(Debug, clap::Args)]
pub struct AttachArgs {
    /// Override the key sequence for detaching from a container
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    service: String,
}

/// The exit code is the container's, should it end meanwhile.
pub async fn run(args: &AttachArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "attach").await?;
    load::selection(std::slice::from_ref(&args.service), &project)?;
    let found = replicas(&session, &project, &args.service, args.index).await?;
    let Some((engine, container)) = found.first() else { return Ok(exit::FAILURE) };
    let seen = engine.inspect(container).await?;
    let takes_input = seen.raw["Config"]["OpenStdin"] == true;
    let attending = Attending {
        engine: engine.as_ref(),
        container,
        tty: seen.tty && std::io::stdout().is_terminal(),
        reads: takes_input && !args.no_stdin,
        detach_keys: args.detach_keys.as_deref(),
        proxies: args.sig_proxy,
    };
    attend(&session.interrupt, &attending, Ending::Stopped, async || Ok(exit::OK)).await
}
