//! Random projects, hosts and worlds: what must hold of every placement. `PROPTEST_CASES` says how many, 256 if it is not set.

#[path = "placing/checker.rs"]
mod checker;
mod placing;
#[path = "placing/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::sync::Arc;

use mcompose::placement::{Placement, Request, Why, place};
use mcompose::project::{Host, HostName, Project, Slot};
use mcompose::world::{Fabric, Sight, State, VolumeSeen, World};
use proptest::prelude::*;
use random::{HostDraft, Hurt, ServiceDraft, hosts, hurts, services};

fn project_of(drafts: &[ServiceDraft]) -> Project {
    placing::project(&random::yaml_of(drafts))
}

fn hosts_of(drafts: &[HostDraft]) -> (Vec<Host>, World) {
    let lines = random::lines_of(drafts);
    let hosts = placing::hosts(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let mut world = placing::empty(&hosts);
    for (host, draft) in hosts.iter().zip(drafts) {
        let seen = placing::at(&mut world, host.name.as_str());
        seen.engine.memory_bytes = i64::from(draft.gib) << 30;
        if draft.is_arm {
            seen.engine.arch = "arm64".to_owned();
        }
        let memory = i64::from(draft.stranger_gib) << 30;
        let port =
            if draft.stranger_port < 3 { format!("port={}", 8000 + u32::from(draft.stranger_port)) } else { String::new() };
        placing::put(&mut world, host.name.as_str(), "stranger", &format!("memory={memory} {port}"));
    }
    (hosts, world)
}

/// What applying a plan for this placement would leave: each seat has its container, nobody else has one; containers of
/// refused slots, and everything on silent hosts, are left alone.
fn carried_out(project: &Project, mut world: World, placement: &Placement) -> World {
    for (name, sight) in &mut world.hosts {
        let Sight::Seen(seen) = sight else { continue };
        Arc::make_mut(seen).containers.retain(|container| {
            match container.slot().filter(|_| container.labels.project.is_some()) {
                Some(slot) => placement.host_of(&slot) == Some(name) || placement.refused.contains_key(&slot),
                None => true,
            }
        });
    }
    for (slot, seat) in &placement.seats {
        if world.seen(seat.host.as_str()).is_none() {
            continue;
        }
        let container_name = format!("p-{}-{}", slot.service, slot.number);
        let exists = world
            .seen(seat.host.as_str())
            .is_some_and(|seen| seen.containers.iter().any(|other| other.slot().as_ref() == Some(slot)));
        if !exists {
            let service = &project.services[&slot.service];
            let mounts: Vec<String> =
                service.volumes.iter().filter_map(|mount| Some(format!("mount=p_{}", mount.source.as_ref()?))).collect();
            placing::put(&mut world, seat.host.as_str(), &container_name, &format!("revision=2 {}", mounts.join(" ")));
        }
    }
    world
}

fn hurt(hosts: &mut [Host], world: &mut World, request: &mut Request, hurts: &[Hurt]) {
    for hurt in hurts {
        let name = |index: &usize| hosts.get(index % hosts.len()).map(|host| host.name.clone()).expect("there is a host");
        match hurt {
            Hurt::Cut(host) => placing::cut(world, name(host).as_str()),
            Hurt::Lose(host) => {
                let name = name(host);
                placing::cut(world, name.as_str());
                request.lost.insert(name);
            }
            Hurt::Drain(host) => hosts[host % hosts.len()].availability = mcompose::project::Availability::Drain,
            Hurt::Pause(host) => hosts[host % hosts.len()].availability = mcompose::project::Availability::Pause,
            Hurt::Remove(host, which) => {
                if let Some(Sight::Seen(seen)) = world.hosts.get_mut(&name(host))
                    && *which < seen.containers.len()
                {
                    Arc::make_mut(seen).containers.remove(*which);
                }
            }
            Hurt::Copy(host, which, other) => {
                let (from, to) = (name(host), name(other));
                let copy = world.seen(from.as_str()).and_then(|seen| seen.containers.get(*which).cloned());
                if let (Some(mut copy), Some(Sight::Seen(seen))) = (copy, world.hosts.get_mut(&to))
                    && !seen.containers.iter().any(|container| container.name == copy.name)
                {
                    let seen = Arc::make_mut(seen);
                    copy.labels.revision = Some(1);
                    // What a container mounts is there.
                    for mount in &copy.mounts {
                        if !seen.volumes.iter().any(|volume| volume.name == mount.name) {
                            seen.volumes.push(VolumeSeen { name: mount.name.clone(), ..VolumeSeen::default() });
                        }
                    }
                    seen.containers.push(copy);
                }
            }
            Hurt::Stranger(host, port) => {
                let name = name(host);
                if world.seen(name.as_str()).is_some() {
                    placing::put(world, name.as_str(), &format!("late-{port}"), &format!("port={}", 8000 + u32::from(*port)));
                }
            }
        }
    }
}

fn homes(placement: &Placement) -> BTreeMap<Slot, HostName> {
    placement.seats.iter().map(|(slot, seat)| (slot.clone(), seat.host.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_placement_keeps_every_rule(
        services in services(), drafts in hosts(), hurts in hurts(), seed in any::<u64>(), is_bridge in prop::bool::weighted(0.2),
    ) {
        let project = project_of(&services);
        let (mut hosts, world) = hosts_of(&drafts);
        let fabric = if is_bridge { Fabric::Bridge } else { Fabric::Overlay { managers: Vec::new() } };
        let mut request = Request { seed, fabric, ..Request::default() };

        let first = place(&project, &hosts, &world, &request);
        prop_assert_eq!(checker::faults(&project, &hosts, &world, &request, &first), Vec::<String>::new(), "{}", placing::told(&first));
        prop_assert_eq!(format!("{first:?}"), format!("{:?}", place(&project, &hosts, &world, &request)), "the same input");

        let mut world = carried_out(&project, world, &first);
        request.known = homes(&first);
        let again = place(&project, &hosts, &world, &request);
        prop_assert_eq!(homes(&again), homes(&first), "placing again over the result");
        prop_assert!(again.seats.values().all(|seat| seat.why == Why::Stays), "{}", placing::told(&again));

        let mut more = hosts.clone();
        more.extend(placing::hosts(&["newcomer zone=z9"]));
        let mut wider = world.clone();
        wider.hosts.extend(placing::empty(&more).hosts.into_iter().filter(|(name, _)| name.as_str() == "newcomer"));
        let with_more = place(&project, &more, &wider, &request);
        for (slot, host) in homes(&first) {
            // The platform is no rule for the only host of an inventory, but it is one for the first of two; bridges of one host
            // become bridges of several.
            if hosts.len() > 1 {
                prop_assert_eq!(with_more.host_of(&slot), Some(&host), "{} with another host", slot);
            }
        }

        hurt(&mut hosts, &mut world, &mut request, &hurts);
        let hurt = place(&project, &hosts, &world, &request);
        let context = format!("before:\n{}after:\n{}", placing::told(&first), placing::told(&hurt));
        prop_assert_eq!(checker::faults(&project, &hosts, &world, &request, &hurt), Vec::<String>::new(), "{}", context);

        let healed = carried_out(&project, world, &hurt);
        request.known = homes(&hurt);
        let settled = place(&project, &hosts, &healed, &request);
        prop_assert_eq!(homes(&settled), homes(&hurt), "{}settled:\n{}", context, placing::told(&settled));
    }

    #[test]
    fn a_finished_job_is_not_placed_anew(services in services(), drafts in hosts()) {
        let project = project_of(&services);
        let (hosts, world) = hosts_of(&drafts);
        let request = Request::default();
        let first = place(&project, &hosts, &world, &request);
        let mut world = carried_out(&project, world, &first);
        for sight in world.hosts.values_mut() {
            let Sight::Seen(seen) = sight else { continue };
            for container in Arc::make_mut(seen).containers.iter_mut().filter(|container| container.labels.project.is_some()) {
                container.state = State::Exited { code: Some(0) };
            }
        }
        let drained: Vec<Host> = hosts.iter().cloned().map(|host| Host { availability: mcompose::project::Availability::Drain, ..host }).collect();
        let after = place(&project, &drained, &world, &request);
        for (slot, seat) in first.seats.iter().filter(|(slot, _)| project.services[&slot.service].mode().is_job()) {
            prop_assert_eq!(after.host_of(slot), Some(&seat.host));
        }
    }
}
