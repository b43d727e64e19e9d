//! `mcompose wait`

use std::collections::BTreeMap;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::session::Keep;
use super::{Failure, Globals, exit, load};
use crate::engine::Ending;
use crate::plan::{Goal, Selection};
use crate::ui::Ui;

/// Block until containers of all (or specified) services stop, on whichever hosts they are
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// Drops project when the first container stops
    #[arg(long)]
    down_project: bool,
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

/// The exit code is that of the container that stopped last; with `--down-project`, first.
pub async fn run(args: &WaitArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "wait").await?;
    let services = load::selection(&args.services, &project)?;
    let world = session.look_and_warn().await?;
    let running: Vec<_> = world
        .containers_of(&project.name)
        .filter(|(_, container)| container.state.is_up() && !container.labels.oneoff)
        .filter(|(_, container)| services.has(container.labels.service.as_deref().unwrap_or_default()))
        .collect();
    if running.is_empty() {
        let error = format!("no container of {} runs", args.services.join(", "));
        return Err(Failure::said(error, "`mcompose ps -a` shows what there is".to_owned(), exit::FAILURE));
    }
    let mut ends = FuturesUnordered::new();
    for (host, container) in running {
        let Some(engine) = session.engines.get(host) else { continue };
        ends.push(async move {
            let code = engine.ending(container.id.as_str(), Ending::Stopped).await?.await?;
            Ok::<_, Failure>((container, code))
        });
    }
    let mut last = exit::OK;
    while let Some(ended) = ends.next().await {
        let (container, code) = ended?;
        ui.data(&format!("container \"{}\" exited with status code {code}", container.id.as_str()));
        last = u8::try_from(code).unwrap_or(exit::FAILURE);
        if args.down_project {
            let goal =
                Goal::Down { services: Selection::All, volumes: false, rmi: None, remove_orphans: false, timeout_secs: None };
            let code = session.change(&[goal], &project, &BTreeMap::new(), Keep::Nothing).await?;
            return Ok(if code == exit::OK { last } else { code });
        }
    }
    Ok(last)
}
