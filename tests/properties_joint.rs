//! Placement, plan, apply and the fake together: random projects on random hosts, hurt, converge again.

#[path = "placing/checker.rs"]
mod checker;
mod placing;
mod planning;
#[path = "placing/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::time::Duration;

use mcompose::engine::fake::Behaviour;
use mcompose::placement::Request;
use mcompose::plan::{Goal, Plan, Up};
use mcompose::project::{Availability, ContainerSpec, Host, HostConfig, PortBinding, Project, Protocol};
use mcompose::world::{World, keys};
use planning::Bed;
use proptest::prelude::*;
use random::{HostDraft, Hurt, ServiceDraft, hosts, hurts, services};

fn bed_of(services: &[ServiceDraft], drafts: &[HostDraft], is_swarm: bool) -> Bed {
    let lines = random::lines_of(drafts);
    let hosts = placing::hosts(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    let mut bed = Bed::new(&names, project_of(services));
    for (host, draft) in hosts.iter().zip(drafts) {
        let fake = bed.fake.host(host.name.as_str());
        fake.set_info(|info| {
            info.memory_bytes = i64::from(draft.gib) << 30;
            if draft.is_arm {
                info.arch = "arm64".to_owned();
            }
        });
        let port = (draft.stranger_port < 3).then(|| 8000 + u16::from(draft.stranger_port));
        fake.run("stranger", &stranger(port, i64::from(draft.stranger_gib) << 30)).expect("the host is empty");
    }
    bed.hosts = hosts;
    if is_swarm {
        bed.form_swarm();
    }
    for (index, service) in services.iter().enumerate() {
        // Jobs are done after a while; so are the replicas of services that are none, were it not for their restart policy.
        let exits = service.mode == 1;
        let behaviour = Behaviour { exits: exits.then(|| (Duration::from_secs(2), 0)), ..Behaviour::default() };
        bed.fake.behave(&format!("app-{index}:1"), behaviour);
    }
    bed
}

fn project_of(services: &[ServiceDraft]) -> Project {
    planning::project(&random::yaml_of(services))
}

fn stranger(port: Option<u16>, memory: i64) -> ContainerSpec {
    let bindings = |port: u16| (format!("{port}/tcp"), vec![PortBinding { host_ip: String::new(), host_port: port.to_string() }]);
    let host_config = HostConfig { port_bindings: port.map(bindings).into_iter().collect(), ..HostConfig::default() };
    let labels = BTreeMap::from([(keys::RESERVATION.to_owned(), format!("nano_cpus=0,memory={memory}"))]);
    ContainerSpec { image: "stranger:1".to_owned(), labels, host_config, ..ContainerSpec::default() }
}

fn request(bed: &Bed, world: &World) -> Request {
    Request { known: bed.known.clone(), fabric: bed.fabric(world), ..Request::default() }
}

/// How many times `up` may have to be asked when there is not room for all: each time goes further with the room that was made.
const UPS_MAX: usize = 6;

/// One `up` brings about what is asked for, and the next has nothing to do; all judges agree. Where some replicas fit nowhere,
/// a few more come to rest.
fn converge(bed: &mut Bed, when: &str) -> Result<(), TestCaseError> {
    let mut story = format!("{when}\n");
    for ups in 1..=UPS_MAX {
        let world = bed.look();
        let placement = bed.place(&world);
        let plan: Plan = bed.plan_in(&Goal::Up(Up::default()), &world);
        story += &format!("up {ups}\n{}{}", placing::told(&placement), mcompose::plan::text(&plan));
        let faults = checker::faults(&bed.project, &bed.hosts, &world, &request(bed, &world), &placement);
        prop_assert_eq!(faults, Vec::<String>::new(), "placement {}", story);
        let outcome = bed.apply(&plan);
        let failures: Vec<String> =
            outcome.failures().map(|(step, error, _)| format!("{:?}: {error}", plan.steps[step.0].subject)).collect();
        prop_assert_eq!(failures, Vec::<String>::new(), "{}", story);
        bed.known = placement.seats.iter().map(|(slot, seat)| (slot.clone(), seat.host.clone())).collect();

        let world = bed.look();
        let settled = bed.place(&world);
        let again = bed.plan_in(&Goal::Up(Up::default()), &world);
        if !again.is_empty() {
            prop_assert!(!placement.refused.is_empty() && ups < UPS_MAX, "{}then\n{}", story, mcompose::plan::text(&again));
            continue;
        }
        for (slot, seat) in &placement.seats {
            prop_assert_eq!(settled.host_of(slot), Some(&seat.host), "{} moved\n{}", slot, story);
        }
        let faults = mcompose::plan::check(&bed.project, &settled, &world, &bed.fabric(&world));
        prop_assert!(faults.is_empty(), "{:?}\n{}", faults, story);
        return Ok(());
    }
    Ok(())
}

fn hurt(bed: &mut Bed, hurts: &[Hurt]) {
    for hurt in hurts {
        let count = bed.hosts.len();
        let name = |index: &usize| bed.hosts[index % count].name.to_string();
        match hurt {
            // The first host is the swarm's manager, without which nothing can be made.
            Hurt::Cut(host) | Hurt::Lose(host) if host % count > 0 => bed.fake.host(&name(host)).cut(),
            Hurt::Cut(host) | Hurt::Lose(host) => {
                bed.fake.host(&name(host)).crash();
                bed.fake.host(&name(host)).boot();
            }
            Hurt::Drain(host) => set(&mut bed.hosts[host % count], Availability::Drain),
            Hurt::Pause(host) => set(&mut bed.hosts[host % count], Availability::Pause),
            Hurt::Remove(host, which) => {
                let fake = bed.fake.host(&name(host));
                let ours = fake.containers().into_iter().filter(|container| container.labels.project.is_some()).nth(*which);
                if let Some(container) = ours {
                    fake.remove_container(&container.name);
                }
            }
            Hurt::Copy(host, which, other) => {
                let fake = bed.fake.host(&name(host));
                let ours = fake.containers().into_iter().filter(|container| container.labels.project.is_some()).nth(*which);
                if let Some((spec, container)) = ours.and_then(|container| Some((fake.spec_of(&container.name)?, container))) {
                    // It may be that the copy cannot start there; it is a copy nonetheless.
                    let _ = bed.fake.host(&name(other)).run(&container.name, &spec);
                }
            }
            Hurt::Stranger(host, port) => {
                let port = 8000 + u16::from(*port);
                let is_free = |port: u16| {
                    let containers = bed.fake.host(&name(host)).containers();
                    let taken = containers.iter().flat_map(|container| &container.ports);
                    !taken.into_iter().any(|seen| seen.host_port == Some(port) && seen.protocol == Protocol::Tcp)
                };
                if is_free(port) {
                    let _ = bed.fake.host(&name(host)).run(&format!("late-{port}"), &stranger(Some(port), 0));
                }
            }
        }
    }
}

fn set(host: &mut Host, availability: Availability) {
    host.availability = availability;
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_placed_can_be_planned_and_applied_and_leaves_nothing_to_do(
        services in services(), changed in services(), drafts in hosts(), hurts in hurts(), is_swarm in prop::bool::weighted(0.8),
        changes in any::<bool>(),
    ) {
        let mut bed = bed_of(&services, &drafts, is_swarm);
        converge(&mut bed, "at first")?;
        hurt(&mut bed, &hurts);
        if changes {
            bed.project = project_of(&changed);
            bed.revision += 1;
        }
        converge(&mut bed, "after it was hurt")?;
        for host in bed.hosts.clone() {
            bed.fake.host(host.name.as_str()).heal();
        }
        converge(&mut bed, "after all came back")?;
    }
}
