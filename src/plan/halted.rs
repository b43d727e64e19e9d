//! Which services a verb leaves stopped, so that nobody starts them unasked.

use std::collections::BTreeSet;

use super::{Goal, Selection, order};
use crate::project::{Project, ServiceName};

/// Signals after which a process is meant to be gone; after any other it goes on.
const ENDING_SIGNALS: &[&str] = &["KILL", "TERM", "INT", "QUIT", "9", "15", "2", "3"];

impl Goal {
    /// The services of the project that stay stopped once the goal is reached. `before`: the project of the last record with
    /// those that were halted then; nothing for a project that was never brought up, none of whose services runs.
    pub fn halts(&self, project: &Project, before: Option<(&Project, &BTreeSet<ServiceName>)>) -> BTreeSet<ServiceName> {
        let was_halted = |name: &ServiceName| match before {
            Some((known, halted)) => halted.contains(name) || !known.services.contains_key(name),
            None => true,
        };
        let mut halted: BTreeSet<ServiceName> = project.services.keys().filter(|name| was_halted(name)).cloned().collect();
        let mut wake = |services: &Selection, deps: bool| {
            for (name, _) in order::services(project, services, deps) {
                halted.remove(name);
            }
        };
        match self {
            Self::Up(up) if up.start => wake(&up.services, up.deps),
            Self::Start { services } => wake(services, false),
            Self::Restart { services, .. } => wake(services, false),
            Self::Stop { services, .. } | Self::Down { services, .. } => halt(&mut halted, project, services),
            Self::Remove { services, stop: true, .. } => halt(&mut halted, project, services),
            Self::Kill { services, signal, .. } if ends(signal) => halt(&mut halted, project, services),
            Self::Up(_) | Self::Remove { .. } | Self::Kill { .. } => {}
            Self::Pause { .. } | Self::Unpause { .. } | Self::Pull { .. } | Self::Build { .. } => {}
            Self::Run(_) | Self::Push { .. } => {}
        }
        halted
    }
}

fn halt(halted: &mut BTreeSet<ServiceName>, project: &Project, services: &Selection) {
    halted.extend(project.services.keys().filter(|name| services.has(name.as_str())).cloned());
}

fn ends(signal: &str) -> bool {
    let signal = signal.to_ascii_uppercase();
    ENDING_SIGNALS.contains(&signal.strip_prefix("SIG").unwrap_or(&signal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Up;
    use crate::project::{Condition, Dependency, ProjectName, Service};

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).expect("a good name")
    }

    /// `web` needs `db`; `cron` stands alone.
    fn project() -> Project {
        let needs = Dependency { condition: Condition::ServiceStarted, restart: false, required: true };
        let web = Service { depends_on: [(name("db"), needs)].into(), ..Service::default() };
        let services = [(name("web"), web), (name("db"), Service::default()), (name("cron"), Service::default())];
        Project {
            name: ProjectName::new("shop").expect("a good name"),
            working_dir: "/".to_owned(),
            config_files: Vec::new(),
            environment_files: Vec::new(),
            services: services.into(),
            disabled_services: BTreeSet::new(),
            bases: Default::default(),
            networks: Default::default(),
            volumes: Default::default(),
            configs: Default::default(),
            secrets: Default::default(),
            contents: Default::default(),
            data_folders: Default::default(),
            config_hashes: Default::default(),
        }
    }

    fn only(services: &[&str]) -> Selection {
        Selection::Only(services.iter().map(|service| name(service)).collect())
    }

    /// Goes through the goals one after the other and says what is halted after each.
    fn check(goals: &[Goal], expect: &[&str]) {
        let project = project();
        let mut before: Option<BTreeSet<ServiceName>> = None;
        for (goal, expect) in goals.iter().zip(expect) {
            let halted = goal.halts(&project, before.as_ref().map(|halted| (&project, halted)));
            let names: Vec<&str> = halted.iter().map(ServiceName::as_str).collect();
            assert_eq!(names.join(" "), *expect, "after {goal:?}");
            before = Some(halted);
        }
    }

    #[test]
    fn what_was_never_brought_up_or_was_stopped_stays_down_until_a_verb_starts_it() {
        let up = |services| Goal::Up(Up { services, ..Up::default() });
        let create = |services| Goal::Up(Up { services, start: false, ..Up::default() });
        check(
            &[
                create(Selection::All),
                up(only(&["web"])),
                Goal::Stop { services: only(&["db"]), timeout_secs: None },
                Goal::Start { services: only(&["cron"]) },
                create(Selection::All),
                up(Selection::All),
            ],
            &["cron db web", "cron", "cron db", "db", "db", ""],
        );
    }

    #[test]
    fn a_signal_that_ends_a_process_halts_its_service_and_one_that_reloads_it_does_not() {
        let up = Goal::Up(Up::default());
        let kill = |signal: &str| Goal::Kill { services: only(&["web"]), signal: signal.to_owned(), remove_orphans: false };
        check(&[up.clone(), kill("SIGHUP"), kill("sigkill"), up.clone(), kill("9")], &["", "", "web", "", "web"]);
    }
}
