//! `mcompose version`

use super::exit;
use crate::ui::Ui;

/// Show the version
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// Format the output
    #[arg(short, long, value_name = "FORMAT", default_value = "pretty", value_parser = ["pretty", "json"])]
    format: String,
    /// Shows only the version number
    #[arg(long)]
    short: bool,
}

pub fn run(args: &VersionArgs, ui: Ui) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    match (args.short, args.format.as_str()) {
        (true, _) => ui.data(version),
        (false, "json") => ui.data(&serde_json::json!({ "version": version }).to_string()),
        (false, _) => ui.data(&format!("mcompose version {version}")),
    }
    exit::OK
}
