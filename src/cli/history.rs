//! `mcompose history`

use serde_json::json;

use super::{Failure, Globals, exit, load};
use crate::store::RecordHead;
use crate::ui::Ui;

/// List the revisions of the project that are kept
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Format the output
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only display revisions
    #[arg(short, long)]
    quiet: bool,
}

pub async fn run(args: &HistoryArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "history").await?;
    let world = session.look_and_warn().await?;
    let fabric = session.fabric(&world)?;
    let heads = session.store(&fabric, &world)?.records(&project.name).await?;
    if args.quiet {
        heads.iter().for_each(|head| ui.data(&head.revision.to_string()));
    } else if args.format == "json" {
        ui.data(&serde_json::Value::from(heads.iter().map(row_json).collect::<Vec<_>>()).to_string());
    } else {
        let now = crate::store::now_secs();
        let row = |head: &RecordHead| {
            let state = head.state.as_str().to_owned();
            vec![head.revision.to_string(), state, age(now - head.created), head.by.clone(), head.command.clone()]
        };
        ui.table(&["REVISION", "STATE", "CREATED", "BY", "COMMAND"], &heads.iter().map(row).collect::<Vec<_>>());
    }
    Ok(exit::OK)
}

fn row_json(head: &RecordHead) -> serde_json::Value {
    json!({
        "Revision": head.revision, "State": head.state.as_str(), "Created": head.created, "By": head.by, "Command": head.command,
    })
}

/// How long ago, in the largest unit that fits.
fn age(secs: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    match units.iter().find(|(unit, _)| secs >= *unit) {
        Some((unit, name)) => format!("{} {name} ago", secs / unit),
        None => format!("{} s ago", secs.max(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_told_in_the_largest_unit_that_fits() {
        let ages = [-5, 0, 59, 60, 7_199, 7_200, 200_000].map(age);
        assert_eq!(ages, ["0 s ago", "0 s ago", "59 s ago", "1 min ago", "1 h ago", "2 h ago", "2 d ago"]);
    }
}
