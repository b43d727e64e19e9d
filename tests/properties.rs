//! What holds for every project, every set of hosts and every world: plans converge, are the same for the same input, leave alone
//! what is not the project's, and touch no host that does not answer. Each case comes from a seed, which a failure names.

mod planning;

use std::collections::BTreeMap;
use std::time::Duration;

use mcompose::engine::fake::Behaviour;
use mcompose::plan::{Goal, Note, Op, Plan, Recreate, Selection, Subject, Up};
use mcompose::project::{ContainerSpec, Project, Slot};
use mcompose::world::{Container, Fabric, World};
use planning::{Bed, project};
use serde_json::{Value, json};

/// Seeds per property where `PROPTEST_CASES` does not say; a failure is replayed by putting its seed alone into `seeds`.
const CASES: u64 = 100;

#[expect(clippy::disallowed_methods, reason = "how long to try is asked of who runs the tests")]
fn seeds() -> std::ops::Range<u64> {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    0..cases.unwrap_or(CASES)
}

#[test]
fn an_applied_plan_leaves_nothing_to_do_and_the_checker_agrees() {
    for seed in seeds() {
        let mut bed = bed(seed);
        converge(&mut bed, seed, "at first");
        bed.project = any_project(&mut Dice::new(seed, 2));
        converge(&mut bed, seed, "after a change");
    }
}

#[test]
fn a_world_that_was_hurt_converges() {
    for seed in seeds() {
        let mut bed = bed(seed);
        converge(&mut bed, seed, "at first");
        let mut dice = Dice::new(seed, 3);
        for _ in 0..dice.below(6) {
            hurt(&mut bed, &mut dice);
        }
        if dice.one_in(3) {
            bed.project = any_project(&mut dice);
        }
        converge(&mut bed, seed, "after it was hurt");
    }
}

#[test]
fn an_update_takes_no_more_replicas_away_at_a_time_than_it_may() {
    let mut rolled = 0;
    for seed in seeds() {
        let mut bed = bed(seed);
        converge(&mut bed, seed, "at first");
        for service in bed.project.services.values_mut() {
            service.environment.insert("UPDATED".to_owned(), Some("yes".to_owned()));
        }
        let plan = bed.up();
        let told = |service: &str, words: &str| {
            let text = format!("update of {service}: {words}");
            plan.notes.iter().any(|note| matches!(note, Note::Remark { text: said } if said.starts_with(&text)))
        };
        for (name, service) in &bed.project.services {
            let Some(config) = service.deploy.as_ref().and_then(|deploy| deploy.update_config.as_ref()) else { continue };
            if told(name.as_str(), "all replicas are replaced at once") || config.parallelism == Some(0) {
                continue;
            }
            let is_start_first = config.order.as_deref() == Some("start-first") && !told(name.as_str(), "the old replica stops");
            let may = if is_start_first { 0 } else { config.parallelism.unwrap_or(1) };
            let most = most_down(&plan, name.as_str(), &mut Dice::new(seed, 9));
            assert!(most <= may, "seed {seed}: {most} of {name} down, {may} may\n{}", mcompose::plan::text(&plan));
            rolled += 1;
        }
        let outcome = bed.apply(&plan);
        assert!(outcome.is_success(), "seed {seed}: {:?}", outcome.failures().collect::<Vec<_>>());
    }
    assert!(rolled > 20, "{rolled} services were rolled");
}

/// How many of a service's replicas are down at once at most, with the steps in some order that their edges allow.
fn most_down(plan: &Plan, service: &str, dice: &mut Dice) -> u64 {
    let mut up: BTreeMap<u32, i64> = BTreeMap::new();
    let is_of = |subject: &Subject| matches!(subject, Subject::Slot(slot) if slot.service.as_str() == service);
    let number = |subject: &Subject| if let Subject::Slot(slot) = subject { slot.number.get() } else { 0 };
    for step in plan.steps.iter().filter(|step| is_of(&step.subject) && matches!(step.op, Op::Stop { .. })) {
        *up.entry(number(&step.subject)).or_default() += 1;
    }
    let mut done = vec![false; plan.steps.len()];
    let mut most = 0;
    loop {
        let is_free = |index: &usize| !done[*index] && plan.steps[*index].after.iter().all(|after| done[after.0]);
        let free: Vec<usize> = (0..plan.steps.len()).filter(is_free).collect();
        if free.is_empty() {
            return most;
        }
        let next = *dice.pick(&free);
        done[next] = true;
        let step = &plan.steps[next];
        if is_of(&step.subject)
            && let Some(count) = up.get_mut(&number(&step.subject))
        {
            match step.op {
                Op::Stop { .. } => *count -= 1,
                Op::Start { .. } => *count += 1,
                _ => {}
            }
        }
        most = most.max(up.values().filter(|count| **count < 1).count() as u64);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for seed in seeds() {
        let bed = bed(seed);
        let world = bed.look();
        let bytes = || serde_json::to_string(&bed.plan_in(&Goal::Up(Up::default()), &world)).expect("a plan is JSON");
        assert_eq!(bytes(), bytes(), "seed {seed}");
    }
}

#[test]
fn what_is_not_the_projects_is_left_alone() {
    for seed in seeds() {
        let mut bed = bed(seed);
        let mut dice = Dice::new(seed, 4);
        for number in 0..3 {
            let host = dice.pick(&bed.hosts).name.clone();
            let mut spec = ContainerSpec { image: "foreign:1".to_owned(), ..ContainerSpec::default() };
            if number > 0 {
                spec.labels.insert("com.docker.compose.project".to_owned(), "other".to_owned());
                spec.labels.insert("com.docker.compose.service".to_owned(), "s0".to_owned());
                spec.labels.insert("com.docker.compose.container-number".to_owned(), number.to_string());
            }
            bed.fake.host(host.as_str()).run(&format!("foreign-{number}"), &spec).expect("it runs");
        }
        let foreign = |bed: &Bed| containers(&bed.fake.snapshot(), |container| container.name.starts_with("foreign-"));
        let before = foreign(&bed);
        converge(&mut bed, seed, "beside foreign containers");
        let remove_all =
            Goal::Down { services: Selection::All, volumes: true, rmi: None, remove_orphans: true, timeout_secs: None };
        let down = bed.plan(&remove_all);
        let outcome = bed.apply(&down);
        assert!(outcome.is_success(), "seed {seed}: {:?}", outcome.failures().collect::<Vec<_>>());
        assert_eq!(foreign(&bed), before, "seed {seed}");
        let rest = containers(&bed.fake.snapshot(), |container| !container.name.starts_with("foreign-"));
        assert_eq!(rest, BTreeMap::new(), "seed {seed}: down leaves nothing");
        let networks: Vec<String> =
            bed.fake.snapshot().seen_hosts().flat_map(|(_, seen)| seen.networks.clone()).map(|n| n.name).collect();
        assert!(!networks.iter().any(|network| network.starts_with("shop_")), "seed {seed}: {networks:?}");
    }
}

#[test]
fn a_host_that_does_not_answer_is_not_emptied_nor_its_slots_filled_elsewhere() {
    for seed in seeds() {
        let mut bed = bed(seed);
        converge(&mut bed, seed, "at first");
        let mut dice = Dice::new(seed, 5);
        // The manager stays: without one nothing can be made on networks that cross hosts.
        let away = bed.hosts[dice.below(bed.hosts.len() as u64 - 1) as usize + 1].name.clone();
        let there = |bed: &Bed| {
            let containers = bed.fake.host(away.as_str()).containers();
            containers.into_iter().map(|c| (c.id.clone(), c.name.clone(), c.slot())).collect::<Vec<_>>()
        };
        let before = there(&bed);
        bed.fake.host(away.as_str()).cut();
        if dice.one_in(2) {
            bed.project = any_project(&mut dice);
        }
        // A service that has become global is numbered anew, one for each host.
        let is_global = |slot: &Slot| bed.project.services.get(&slot.service).is_some_and(|service| service.mode().is_global());
        let known: Vec<_> = before.iter().filter_map(|(.., slot)| slot.clone()).filter(|slot| !is_global(slot)).collect();
        let plan = bed.up();
        assert!(plan.steps.iter().all(|step| step.host != away), "seed {seed}: no step on {away}");
        bed.apply(&plan);
        let world = bed.fake.snapshot();
        let elsewhere = world.containers_of(&bed.project.name).filter_map(|(_, container)| container.slot());
        for slot in elsewhere {
            assert!(
                !known.contains(&slot),
                "seed {seed}: {slot} is on {away} and was made a second time:\n{}",
                mcompose::plan::text(&plan)
            );
        }
        bed.fake.host(away.as_str()).heal();
        assert_eq!(there(&bed), before, "seed {seed}");
        converge(&mut bed, seed, "after it came back");
    }
}

#[test]
fn a_plan_that_was_interrupted_anywhere_is_picked_up_by_the_next() {
    for seed in seeds().take(20) {
        let setting = || {
            let mut bed = bed(seed);
            converge(&mut bed, seed, "at first");
            bed.project = any_project(&mut Dice::new(seed, 2));
            if seed % 2 == 0 {
                hurt(&mut bed, &mut Dice::new(seed, 6));
            }
            bed
        };
        let steps = setting().up().steps.len();
        for done in 0..=steps {
            let mut bed = setting();
            let mut plan = bed.up();
            plan.steps.truncate(done);
            bed.apply(&plan);
            converge(&mut bed, seed, &format!("after {done} of {steps} steps"));
        }
    }
}

#[test]
fn engines_that_fail_now_and_then_delay_and_do_not_prevent_convergence() {
    for seed in seeds() {
        let mut bed = bed(seed);
        converge(&mut bed, seed, "at first");
        bed.project = any_project(&mut Dice::new(seed, 2));
        bed.fake.faults_by_seed(seed, 100);
        for _ in 0..3 {
            let plan = bed.up();
            bed.apply(&plan);
        }
        bed.fake.heal_faults();
        for host in &bed.hosts {
            bed.fake.host(host.name.as_str()).heal();
        }
        converge(&mut bed, seed, "after faults");
    }
}

#[test]
fn recreating_everything_keeps_slots_where_they_are_and_volumes_as_they_are() {
    for seed in seeds() {
        let mut bed = bed(seed);
        converge(&mut bed, seed, "at first");
        let seats = |bed: &Bed| {
            let world = bed.fake.snapshot();
            let all = world.containers_of(&bed.project.name);
            all.filter_map(|(host, container)| {
                let mut mounts = container.mounts.clone();
                mounts.sort();
                Some((container.slot()?, (host.clone(), mounts)))
            })
            .collect::<BTreeMap<_, _>>()
        };
        let before = seats(&bed);
        let plan = bed.plan(&Goal::Up(Up { recreate: Recreate::Always, recreate_deps: Recreate::Always, ..Up::default() }));
        let outcome = bed.apply(&plan);
        assert!(outcome.is_success(), "seed {seed}: {:?}", outcome.failures().collect::<Vec<_>>());
        assert_eq!(seats(&bed), before, "seed {seed}");
    }
}

/// Applies plans until there is nothing to do: at once when all goes well. What is left must be what the project asks for.
fn converge(bed: &mut Bed, seed: u64, when: &str) {
    let plan = bed.up();
    order_is_sound(&plan, seed);
    let outcome = bed.apply(&plan);
    let told = || format!("seed {seed}, {when}\n{}", mcompose::plan::text(&plan));
    // A job that ends by itself before its pre_stop hook could run gives a warning.
    let failures: Vec<_> = outcome.failures().map(|(step, error, _)| format!("{:?}: {error}", plan.steps[step.0].op)).collect();
    assert!(outcome.is_success(), "{}\n{}", failures.join("\n"), told());
    let mut again = bed.up();
    if bed.fabric(&bed.look()) == Fabric::Bridge {
        // Replicas that need each other over bridges may be brought together by a second placement.
        for _ in 0..2 {
            bed.apply(&again);
            again = bed.up();
        }
    }
    assert!(again.is_empty(), "then\n{}\n{}", mcompose::plan::text(&again), told());
    let world = bed.look();
    // What is refused need not be there, nor be as it should be.
    if again.notes.iter().any(|note| matches!(note, Note::Refused { .. })) {
        return;
    }
    let faults = mcompose::plan::check(&bed.project, &bed.place(&world), &world, &bed.fabric(&world));
    assert!(faults.is_empty(), "{faults:?}\n{}", told());
}

fn order_is_sound(plan: &Plan, seed: u64) {
    for (index, step) in plan.steps.iter().enumerate() {
        assert!(step.after.iter().all(|after| after.0 < index), "seed {seed}: step {index} stands before one it waits for");
    }
}

fn containers(world: &World, which: impl Fn(&Container) -> bool) -> BTreeMap<String, (String, String)> {
    let all = world.seen_hosts().flat_map(|(host, seen)| seen.containers.iter().map(move |container| (host, container)));
    let chosen = all.filter(|(_, container)| which(container));
    chosen.map(|(host, container)| (container.id.to_string(), (host.to_string(), container.state.to_string()))).collect()
}

fn bed(seed: u64) -> Bed {
    let mut dice = Dice::new(seed, 1);
    let names = ["alpha", "beta", "gamma", "delta"];
    let count = 2 + dice.below(3) as usize;
    let bed = Bed::new(&names[..count], any_project(&mut dice));
    for number in 0..6 {
        let completes = Behaviour { exits: Some((Duration::from_secs(2), 0)), ..Behaviour::default() };
        for version in 1..4 {
            bed.fake.behave(&format!("job-{number}:{version}"), completes.clone());
            let volumes = Behaviour { volumes: vec!["/cache".to_owned()], ..Behaviour::default() };
            bed.fake.behave(&format!("app-{number}:{version}"), volumes);
        }
    }
    if dice.one_in(2) {
        bed.form_swarm();
    }
    bed
}

/// Up to five services, each needing some of those before it.
fn any_project(dice: &mut Dice) -> Project {
    let count = 1 + dice.below(5);
    let mut services: BTreeMap<String, Value> = BTreeMap::new();
    let mut completing = Vec::new();
    for number in 0..count {
        let name = format!("s{number}");
        let is_job = dice.one_in(6);
        let image = if is_job { "job" } else { "app" };
        let mut service = json!({
            "image": format!("{image}-{number}:{}", 1 + dice.below(3)),
            "scale": dice.below(4),
            "environment": { "LEVEL": dice.below(2).to_string() },
        });
        if is_job {
            completing.push(number);
            service["deploy"] = json!({ "mode": "replicated-job" });
        } else if dice.one_in(2) {
            service["healthcheck"] = json!({ "test": ["CMD", "check"] });
        }
        if dice.one_in(5) && !is_job {
            service["ports"] = json!([{ "target": 80, "published": (8000 + number).to_string(), "protocol": "tcp" }]);
        }
        if dice.one_in(4) {
            service["volumes"] = json!([{ "type": "volume", "source": format!("data{}", dice.below(2)), "target": "/data" }]);
        } else if dice.one_in(4) {
            service["volumes"] = json!([{ "type": "volume", "target": "/anonymous" }]);
        }
        if dice.one_in(5) {
            service["networks"] = json!({ "default": null, "back": { "aliases": ["behind"] } });
        } else if dice.one_in(8) {
            service["network_mode"] = json!("host");
            service.as_object_mut().expect("it is an object").remove("ports");
        }
        if dice.one_in(8) && !is_job {
            service["deploy"] = json!({ "mode": "global" });
            service.as_object_mut().expect("it is an object").remove("scale");
            service.as_object_mut().expect("it is an object").remove("volumes");
        }
        // A job may end before its hook could run in it.
        if dice.one_in(8) && !is_job {
            service["post_start"] = json!([{ "command": ["warm", "up"] }]);
            service["pre_stop"] = json!([{ "command": ["cool", "down"] }]);
        }
        if dice.one_in(3) && !is_job {
            service["deploy"]["update_config"] = json!({
                "parallelism": dice.below(3),
                "order": if dice.one_in(2) { "start-first" } else { "stop-first" },
                "delay": if dice.one_in(2) { "2s" } else { "0s" },
                "monitor": if dice.one_in(2) { "1s" } else { "0s" },
            });
        }
        if dice.one_in(8) && service.get("scale").is_some() {
            service["scale"] = json!(1);
            service["container_name"] = json!(format!("the-{name}"));
        }
        let mut depends_on = serde_json::Map::new();
        for needed in 0..number {
            if !dice.one_in(3) {
                continue;
            }
            let other = &services[&format!("s{needed}")];
            let condition = if completing.contains(&needed) {
                "service_completed_successfully"
            } else if other.get("healthcheck").is_some() && dice.one_in(2) {
                "service_healthy"
            } else {
                "service_started"
            };
            let needs = json!({ "condition": condition, "restart": dice.one_in(3), "required": !dice.one_in(4) });
            depends_on.insert(format!("s{needed}"), needs);
        }
        if number > 0 && dice.one_in(6) {
            let needed = number - 1;
            let other = &services[&format!("s{needed}")];
            let scale = other.get("scale").and_then(Value::as_u64);
            let runs =
                !completing.contains(&needed) && other.get("network_mode").is_none() && scale.is_some_and(|scale| scale > 0);
            if runs && !is_job {
                service["network_mode"] = json!(format!("service:s{needed}"));
                service["scale"] = json!(scale);
                let map = service.as_object_mut().expect("it is an object");
                for key in ["ports", "networks", "deploy", "volumes", "container_name"] {
                    map.remove(key);
                }
                depends_on
                    .insert(format!("s{needed}"), json!({ "condition": "service_started", "restart": true, "required": true }));
            }
        }
        service["depends_on"] = Value::Object(depends_on);
        services.insert(name, service);
    }
    let networks = json!({ "back": { "internal": dice.one_in(3) } });
    project(&json!({ "services": services, "networks": networks }).to_string())
}

/// Something goes wrong with one container, or somebody meddles.
fn hurt(bed: &mut Bed, dice: &mut Dice) {
    let world = bed.fake.snapshot();
    let all: Vec<_> = world.containers_of(&bed.project.name).collect();
    let Some((host, container)) = (!all.is_empty()).then(|| *dice.pick(&all)) else { return };
    let fake = bed.fake.host(host.as_str());
    let id = container.id.as_str();
    match dice.below(8) {
        0 => fake.exit_container(id, 1),
        1 => fake.remove_container(id),
        2 => fake.kill_container(id),
        3 => {
            // Another one claims the slot on some host.
            let other = dice.pick(&bed.hosts).name.clone();
            if let Some(spec) = fake.spec_of(id) {
                let _ = bed.fake.host(other.as_str()).run("a-second-one", &spec);
            }
        }
        4 => {
            let engines = bed.fake.engines();
            let _ = planning::run(engines[host].rename(id, "misnamed"));
        }
        5 => {
            let engines = bed.fake.engines();
            let _ = planning::run(engines[host].pause(id));
        }
        6 => bed.form_swarm(),
        _ => bed.fake.host(host.as_str()).remove_image(&container.image),
    }
}

/// Numbers that look random, the same for the same seed and stream.
struct Dice {
    state: u64,
}

impl Dice {
    fn new(seed: u64, stream: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03) }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}
