//! `mcompose config`
#![expect(clippy::disallowed_methods, reason = "`-o` writes a file")]

use super::{Failure, Globals, exit, load};
use crate::composefile::{self, LoadOptions};
use crate::ui::Ui;

/// Parse, resolve and render compose file in canonical format
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "yaml", value_parser = ["yaml", "json"])]
    format: String,
    /// Print environment used for interpolation
    #[arg(long)]
    environment: bool,
    /// Print the service config hash, one per line
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the image names, one per line
    #[arg(long)]
    images: bool,
    /// Print the network names, one per line
    #[arg(long)]
    networks: bool,
    /// Don't check model consistency
    #[arg(long)]
    no_consistency: bool,
    /// Don't interpolate environment variables
    #[arg(long)]
    no_interpolate: bool,
    /// Don't normalize compose model
    #[arg(long)]
    no_normalize: bool,
    /// Don't resolve file paths
    #[arg(long)]
    no_path_resolution: bool,
    /// Save to file (default to stdout)
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// Print the profile names, one per line
    #[arg(long)]
    profiles: bool,
    /// Only validate the configuration, don't print anything
    #[arg(short, long)]
    quiet: bool,
    /// Print the service names, one per line
    #[arg(long)]
    services: bool,
    /// Print the volume names, one per line
    #[arg(long)]
    volumes: bool,
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

pub fn run(args: &ConfigArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let options = LoadOptions {
        interpolate: !args.no_interpolate,
        normalize: !args.no_normalize && !globals.compatibility,
        resolve_paths: !args.no_path_resolution,
        consistency: !args.no_consistency,
        ..LoadOptions::default()
    };
    let model = load::model(&load::request(globals, &args.only, options)?, ui)?;
    let lines = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect::<String>();
    let text = match () {
        () if args.quiet => String::new(),
        () if args.services => lines(composefile::names(&model, "services")),
        () if args.volumes => lines(composefile::names(&model, "volumes")),
        () if args.networks => lines(composefile::names(&model, "networks")),
        () if args.profiles => lines(model.profiles.iter().cloned().collect()),
        () if args.images => lines(composefile::images(&model)),
        () if args.environment => lines(model.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        () if args.hash.is_some() => {
            let wanted = args.hash.as_deref().unwrap_or_default();
            let wanted = |name: &str| wanted == "*" || wanted.split(',').any(|one| one == name);
            let hashes = composefile::hashes(&model).into_iter().filter(|(name, _)| wanted(name));
            lines(hashes.map(|(name, hash)| format!("{name} {hash}")).collect())
        }
        () if args.format == "json" => composefile::to_json(&model) + "\n",
        () => composefile::to_yaml(&model),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failure::said(format!("cannot write `{path}`: {error}"), None, exit::FAILURE))?,
        None if text.is_empty() => {}
        None => ui.data(&text),
    }
    Ok(exit::OK)
}
