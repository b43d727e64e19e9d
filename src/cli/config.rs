//! `mcompose config`
#![expect(clippy::disallowed_methods, reason = "`-o` writes a file")]

use std::collections::BTreeMap;

use super::{Failure, Globals, digests, exit, load};
use crate::composefile::{self, LoadOptions, Used, Variable};
use crate::ui::Ui;

/// As docker compose's.
const CELL_WIDTH: usize = 20;

/// Parse, resolve and render compose file in canonical format
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", value_parser = ["yaml", "json"])]
    format: Option<String>,
    /// Print environment used for interpolation
    #[arg(long)]
    environment: bool,
    /// Print the service config hash, one per line
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the image names, one per line
    #[arg(long)]
    images: bool,
    /// Produces an override file with image digests
    #[arg(long)]
    lock_image_digests: bool,
    /// Print the model names, one per line
    #[arg(long)]
    models: bool,
    /// Print the network names, one per line
    #[arg(long)]
    networks: bool,
    /// Don't check model consistency
    #[arg(long)]
    no_consistency: bool,
    /// Don't resolve service env files
    #[arg(long)]
    no_env_resolution: bool,
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
    /// Pin image tags to digests
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print the service names, one per line
    #[arg(long)]
    services: bool,
    /// Print what becomes of the attributes that the file uses: applied, translated, inert or refused
    #[arg(long)]
    support: bool,
    /// Print model variables and default values
    #[arg(long)]
    variables: bool,
    /// Print the volume names, one per line
    #[arg(long)]
    volumes: bool,
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

pub async fn run(args: &ConfigArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    // Names can be told without env files that may not be there.
    let names_only = args.services || args.volumes || args.networks || args.profiles || args.models || args.images;
    let options = LoadOptions {
        interpolate: !args.no_interpolate && !args.variables,
        // docker compose hashes the names of env files rather than what is in them.
        env_resolution: !args.no_env_resolution && !names_only && args.hash.is_none(),
        normalize: !args.no_normalize && !globals.compatibility,
        resolve_paths: !args.no_path_resolution,
        consistency: !args.no_consistency,
        ..LoadOptions::default()
    };
    let mut model = load::model(&load::request(globals, &args.only, options)?, ui)?;
    let prints_model = !(args.quiet || names_only || args.support || args.variables || args.environment || args.hash.is_some());
    if prints_model && (args.lock_image_digests || args.resolve_image_digests) {
        digests::pin(&mut model, globals, ui).await?;
        if args.lock_image_digests {
            model.keep_only_images();
        }
    }
    let lines = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect::<String>();
    let text = match () {
        () if args.quiet => String::new(),
        () if args.services => lines(composefile::names(&model, "services")),
        () if args.volumes => lines(composefile::names(&model, "volumes")),
        () if args.networks => lines(composefile::names(&model, "networks")),
        () if args.profiles => lines(model.profiles.iter().cloned().collect()),
        () if args.models => lines(composefile::models(&model)),
        () if args.variables => variables(&composefile::variables(&model), args.format.as_deref()),
        () if args.support => support(&composefile::used(&model), args.format.as_deref()),
        () if args.images => lines(composefile::images(&model)),
        () if args.environment => lines(model.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        () if args.hash.is_some() => {
            let wanted = args.hash.as_deref().unwrap_or_default();
            let wanted = |name: &str| wanted == "*" || wanted.split(',').any(|one| one == name);
            let hashes = composefile::hashes(&model).into_iter().filter(|(name, _)| wanted(name));
            lines(hashes.map(|(name, hash)| format!("{name} {hash}")).collect())
        }
        () if args.format.as_deref() == Some("json") => composefile::to_json(&model) + "\n",
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

/// As a table, unless another format is asked for.
fn variables(variables: &BTreeMap<String, Variable>, format: Option<&str>) -> String {
    let rows = variables.iter().map(|(name, variable)| (name.as_str(), variable));
    match format {
        Some("json") => {
            let entry = |variable: &Variable, name: &str| {
                serde_json::json!({
                    "Name": name,
                    "DefaultValue": variable.default,
                    "PresenceValue": variable.alternate,
                    "Required": variable.is_required,
                })
            };
            let entries: serde_json::Map<_, _> = rows.map(|(name, one)| (name.to_owned(), entry(one, name))).collect();
            format!("{:#}\n", serde_json::Value::from(entries))
        }
        Some(_) => rows
            .map(|(name, one)| {
                let quoted = |text: &str| serde_json::Value::from(text).to_string();
                let (default, alternate) = (quoted(&one.default), quoted(&one.alternate));
                let required = one.is_required;
                format!("{name}:\n    name: {name}\n    defaultvalue: {default}\n    presencevalue: {alternate}\n    required: {required}\n")
            })
            .collect(),
        None => {
            let required = |variable: &Variable| if variable.is_required { "true" } else { "false" };
            let cells = rows.map(|(name, one)| [name, required(one), &one.default, &one.alternate].map(str::to_owned));
            columns(["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"], cells)
        }
    }
}

/// What becomes of each attribute that is used; as a table, or as a list of objects.
fn support(used: &[Used], format: Option<&str>) -> String {
    if format == Some("json") {
        let object = |one: &Used| {
            serde_json::json!({
                "path": one.attribute.path,
                "support": one.attribute.support.word(),
                "used_by": one.by,
                "since_api": one.attribute.since,
                "remark": one.attribute.remark(),
            })
        };
        return format!("{:#}\n", used.iter().map(object).collect::<serde_json::Value>());
    }
    let cells = used.iter().map(|one| {
        let since = one.attribute.since;
        let since = if since.is_empty() { String::new() } else { format!("API {since} or later") };
        let remark = [since, one.attribute.remark()].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        [one.attribute.path.clone(), one.attribute.support.word().to_owned(), one.by.join(", "), remark]
    });
    columns(["ATTRIBUTE", "SUPPORT", "USED BY", "REMARK"], cells)
}

/// Rows under their headings, as docker compose sets them.
fn columns<const COUNT: usize>(headings: [&str; COUNT], cells: impl Iterator<Item = [String; COUNT]>) -> String {
    let rows: Vec<[String; COUNT]> = std::iter::once(headings.map(str::to_owned)).chain(cells).collect();
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        CELL_WIDTH.max(widest + 3)
    };
    // Nothing follows the last one.
    let widths: [usize; COUNT] = std::array::from_fn(|column| if column + 1 < COUNT { width(column) } else { 0 });
    let cells = |row: &[String; COUNT]| row.iter().zip(widths).map(|(text, width)| format!("{text:<width$}")).collect::<String>();
    rows.iter().map(|row| cells(row) + "\n").collect()
}
