//! `mcompose scale`

use std::collections::BTreeMap;

use super::session::Keep;
use super::{Failure, Globals, exit, load};
use crate::plan::{Goal, Selection, Up};
use crate::project::{Project, ServiceName};
use crate::ui::Ui;

/// Scale services
#[derive(Debug, clap::Args)]
pub struct ScaleArgs {
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    #[arg(value_name = "SERVICE=REPLICAS", required = true)]
    services: Vec<String>,
}

pub async fn run(args: &ScaleArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let mut loaded = load::project_file(globals, &[], ui)?;
    let scales = scale(&mut loaded.project, &args.services)?;
    let session = load::provisioned(globals, ui, &mut loaded, "scale").await?;
    let services = Selection::Only(scales.keys().cloned().collect());
    let goal = Goal::Up(Up { services, deps: !args.no_deps, ..Up::default() });
    session.change(&[goal], &loaded.project, &scales, Keep::Record).await
}

/// Sets the replicas that `SERVICE=REPLICAS` asks for. Returns them; an unknown service or a wrong number is an error.
pub fn scale(project: &mut Project, wanted: &[String]) -> Result<BTreeMap<ServiceName, u32>, Failure> {
    let mut scales = BTreeMap::new();
    for text in wanted {
        let wrong = || Failure::said(format!("`{text}` is not SERVICE=REPLICAS"), "as in `web=3`".to_owned(), exit::USAGE);
        let (name, count) = text.split_once('=').ok_or_else(wrong)?;
        let count: u32 = count.parse().map_err(|_| wrong())?;
        let Some((name, service)) = project.services.iter_mut().find(|(known, _)| known.as_str() == name) else {
            return Err(load::no_such_service(name, project));
        };
        service.scale = Some(count);
        if let Some(deploy) = &mut service.deploy {
            deploy.replicas = Some(count);
        }
        scales.insert(name.clone(), count);
    }
    Ok(scales)
}
