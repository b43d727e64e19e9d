//! On one host only so many containers are made and started at once, of however many plans the steps are: a supervisor carries out
//! those of all projects side by side, and a host that comes back must not be overrun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plan::{Op, Step};
use crate::project::HostName;

/// Whose turn it is on which host. Copies share their turns.
#[derive(Debug, Clone)]
pub struct HostTurns {
    at_once: usize,
    hosts: Arc<Mutex<BTreeMap<HostName, Arc<Semaphore>>>>,
}

/// One that was taken; its end is the next one's.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl HostTurns {
    /// So many on each host.
    pub fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1), hosts: Arc::default() }
    }

    /// Waits for a turn where the step makes or starts a container; any other step needs none.
    pub(super) async fn take(&self, step: &Step) -> Turn {
        if !matches!(step.op, Op::Create { .. } | Op::Start { .. } | Op::Restart { .. }) {
            return None;
        }
        let host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.at_once));
            Arc::clone(hosts.entry(step.host.clone()).or_insert_with(new))
        };
        // An error would say that nobody has a turn any more, and nobody says so.
        host.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::sync::{mpsc, watch};

    use super::*;
    use crate::apply::{Limits, apply_in_turns};
    use crate::delivery::Cargo;
    use crate::engine::fake::Fake;
    use crate::plan::{Cause, Plan, Subject, Tolerance};
    use crate::project::{ContainerSpec, ProjectName};

    /// Makes so many containers on a host, which wait for nothing.
    fn plan(project: usize, containers: usize) -> Plan {
        let step = |number: usize| {
            let spec = ContainerSpec { image: "web:1".to_owned(), ..ContainerSpec::default() };
            let name = format!("p{project}-web-{number}");
            Step {
                host: HostName::new("h1").expect("a host name"),
                subject: Subject::Container(name.clone()),
                op: Op::Create { name: name.into(), spec: Box::new(spec.into()) },
                cause: Cause::Missing,
                after: Vec::new(),
                tolerance: Tolerance::Strict,
            }
        };
        let project = ProjectName::new(format!("p{project}")).expect("a name");
        Plan { project, steps: (0..containers).map(step).collect(), notes: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn plans_of_many_projects_share_the_turns_of_a_host() {
        let fake = Fake::new(&["h1"]);
        fake.host("h1").add_image("web:1");
        let (engines, turns) = (fake.engines(), HostTurns::new(3));
        let (_keep, interrupt) = watch::channel(false);
        let plans: Vec<Plan> = (0..20).map(|project| plan(project, 6)).collect();
        let all = plans.iter().map(|plan| {
            let (events, _unread) = mpsc::unbounded_channel();
            let (engines, turns, interrupt) = (&engines, &turns, interrupt.clone());
            async move { apply_in_turns(engines, plan, &Limits::default(), turns, &Cargo::default(), events, interrupt).await }
        });
        assert!(join_all(all).await.iter().all(super::super::Outcome::is_success));
        assert_eq!((fake.host("h1").containers().len(), fake.most_in_flight("h1")), (120, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_turn_begins_nothing_once_it_is_interrupted() {
        let fake = Fake::new(&["h1"]).paced(1);
        fake.host("h1").add_image("web:1");
        fake.host("h1").freeze();
        let (engines, turns) = (fake.engines_of("s1"), HostTurns::new(1));
        let (interrupt, interrupted) = watch::channel(false);
        let (events, _unread) = mpsc::unbounded_channel();
        let (plan, limits, cargo) = (plan(1, 3), Limits::default(), Cargo::default());
        let walk = apply_in_turns(&engines, &plan, &limits, &turns, &cargo, events, interrupted);
        let thaw = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            interrupt.send_replace(true);
            fake.host("h1").thaw();
        };
        let (outcome, ()) = tokio::join!(walk, thaw);
        assert!(outcome.interrupted);
        assert_eq!(fake.host("h1").containers().len(), 1);
    }
}
