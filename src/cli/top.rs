//! `mcompose top`

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{Failure, Globals, exit, load};
use crate::engine::Processes;
use crate::ui::Ui;
use crate::world::State;

/// Display the running processes, with their hosts
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    services: Vec<String>,
}

/// Processes of one replica.
struct Replica {
    service: String,
    number: String,
    host: String,
    processes: Processes,
}

pub async fn run(args: &TopArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "top").await?;
    let services = load::selection(&args.services, &project)?;
    let world = session.look_and_warn().await?;
    let mut running: Vec<_> = world
        .containers_of(&project.name)
        .filter(|(_, container)| container.state == State::Running)
        .filter(|(_, container)| services.has(container.labels.service.as_deref().unwrap_or_default()))
        .collect();
    running.sort_by_key(|(_, container)| (container.labels.service.clone(), container.labels.number, container.name.clone()));
    let asked = running.into_iter().filter_map(|(host, container)| Some((host, container, session.engines.get(host)?)));
    let asked = asked.map(|(host, container, engine)| async move {
        let processes = engine.processes(container.id.as_str()).await?;
        let number = container.labels.number.map(|number| number.to_string());
        let service = container.labels.service.clone().unwrap_or_default();
        Ok(Replica { service, number: number.unwrap_or_default(), host: host.to_string(), processes })
    });
    let mut code = exit::OK;
    let mut replicas = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(replica) => replicas.push(replica),
            Err(error) => code = Failure::Engine(error).tell(&ui),
        }
    }
    if !replicas.is_empty() {
        let (headings, rows) = table(&replicas);
        ui.table(&headings, &rows);
    }
    Ok(code)
}

/// A column for each title that some host's `ps` has, in the order in which they come up.
fn table(replicas: &[Replica]) -> (Vec<&str>, Vec<Vec<String>>) {
    let mut headings = vec!["SERVICE", "#", "HOST"];
    let own = headings.len();
    for title in replicas.iter().flat_map(|replica| &replica.processes.titles) {
        if !headings[own..].contains(&title.as_str()) {
            headings.push(title);
        }
    }
    let mut rows = Vec::new();
    for Replica { service, number, host, processes } in replicas {
        for row in &processes.rows {
            let cells: BTreeMap<&str, &String> = processes.titles.iter().map(String::as_str).zip(row).collect();
            let cell = |title: &&str| cells.get(title).map(|cell| (*cell).clone()).unwrap_or_default();
            rows.push([service, number, host].into_iter().cloned().chain(headings[own..].iter().map(cell)).collect());
        }
    }
    (headings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_whose_ps_differs_share_the_columns_that_both_have() {
        let replica = |host: &str, titles: &[&str], row: &[&str]| Replica {
            service: "web".to_owned(),
            number: "1".to_owned(),
            host: host.to_owned(),
            processes: Processes {
                titles: titles.iter().map(|title| (*title).to_owned()).collect(),
                rows: vec![row.iter().map(|cell| (*cell).to_owned()).collect()],
            },
        };
        let replicas =
            [replica("a", &["PID", "CMD"], &["7", "httpd"]), replica("b", &["PID", "USER", "CMD"], &["8", "root", "sh"])];
        let (headings, rows) = table(&replicas);
        assert_eq!(headings, ["SERVICE", "#", "HOST", "PID", "CMD", "USER"]);
        assert_eq!(rows, [["web", "1", "a", "7", "httpd", ""], ["web", "1", "b", "8", "sh", "root"]]);
    }
}
