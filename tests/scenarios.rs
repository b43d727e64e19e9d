//! Stories of plans: each file of tests/scenarios is a script with the text of every plan in it.
//!
//! A line is a command; what it prints stands below it behind `> `. An indented block below `file` is the Compose file in
//! canonical form. `MCOMPOSE_ACCEPT=1 cargo test --test scenarios` writes what is printed now.

#![expect(clippy::disallowed_methods, reason = "a test reads its scenarios from disk")]

mod planning;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use mcompose::apply::StepEnd;
use mcompose::delivery::{Cargo, Keys, Owner, Source};
use mcompose::engine::fake::{Behaviour, Fault, FaultRule};
use mcompose::plan::{Building, Goal, Plan, Recreate, Rmi, Run, Selection, Up};
use mcompose::project::{
    Availability, ContainerSpec, Content, HostName, ImageBuild, OneOff, Ports, ServiceName, Slot, VolumeSpec,
};
use planning::{Bed, project};

#[test]
fn every_scenario_goes_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is readable").path()).collect();
    files.sort();
    let mut faults = Vec::new();
    for file in files {
        let expected = std::fs::read_to_string(&file).expect("a scenario is readable");
        let actual = play(&expected);
        if actual == expected {
            continue;
        }
        if std::env::var("MCOMPOSE_ACCEPT").is_ok() {
            std::fs::write(&file, actual).expect("a scenario is writable");
        } else {
            faults.push(format!("{}:\n{}", file.display(), difference(&expected, &actual)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// No story, since the name of what is left is another each time.
#[test]
fn a_carrier_that_wiping_left_goes_with_the_volume() {
    let told = play(
        "hosts alpha
file
  services: {web: {image: web:1, secrets: [{source: key}]}}
  secrets: {key: {name: shop_key, file: /srv/shop/key}}
key
content sealed secret-key a secret key ::
up
apply
fails remove container `mcompose_
down
apply
down
apply
ps
",
    );
    assert!(told.contains("> failed: wipe secret-key on alpha: unused: out of luck"), "{told}");
    assert!(told.contains("> remove container mcompose_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_carrier_"), "{told}");
    assert!(told.ends_with("apply\nps\n"), "{told}");
}

fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
    let part =
        |lines: &[&str]| lines[same.min(lines.len())..].iter().take(12).map(|line| format!("  {line}\n")).collect::<String>();
    format!("line {}, expected:\n{}printed:\n{}", same + 1, part(&expected), part(&actual))
}

/// Plays a script and returns it with what its commands print now.
fn play(script: &str) -> String {
    let mut stage = Stage { bed: None, plan: None, volumes: Vec::new() };
    let mut out = String::new();
    let lines: Vec<&str> = script.lines().filter(|line| !line.starts_with("> ")).collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let _ = writeln!(out, "{line}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let block: Vec<&str> = lines[at..].iter().take_while(|line| line.starts_with("  ")).copied().collect();
        for line in &block {
            let _ = writeln!(out, "{line}");
        }
        at += block.len();
        let printed = stage.command(line, &block.join("\n"));
        for line in printed.lines() {
            let _ = writeln!(out, "> {line}");
        }
    }
    out
}

struct Stage {
    bed: Option<Bed>,
    plan: Option<Plan>,
    volumes: Vec<String>,
}

impl Stage {
    fn command(&mut self, line: &str, block: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["hosts", names @ ..] => {
                self.bed = Some(Bed::new(names, project("services: {}")));
                return String::new();
            }
            ["file"] => {
                self.bed().project = project(block);
                return String::new();
            }
            ["compatibility"] => self.bed().project.compatibility = true,
            ["swarm"] => self.bed().form_swarm(),
            ["apply"] => return self.apply(),
            ["ps"] => return self.ps(),
            ["revision", number] => self.bed().revision = number.parse().expect("a number"),
            ["cut", host] => self.bed().fake.host(host).cut(),
            ["heal", host] => self.bed().fake.host(host).heal(),
            ["local", host] => {
                let host = self.bed().hosts.iter_mut().find(|known| known.name.as_str() == *host).expect("a host");
                host.address = mcompose::project::Address::Unix { path: "/var/run/docker.sock".to_owned() };
            }
            ["drain", host] => {
                let host = self.bed().hosts.iter_mut().find(|known| known.name.as_str() == *host).expect("a host");
                host.availability = Availability::Drain;
            }
            ["mounts", host, container] => return self.mounts(host, container),
            ["exit", host, container, code] => {
                self.bed().fake.host(host).exit_container(container, code.parse().expect("a code"));
            }
            ["rm-network", host, name] => {
                let name_of_host =
                    self.bed().hosts.iter().find(|known| known.name.as_str() == *host).expect("a host").name.clone();
                let engine = self.bed().fake.engines()[&name_of_host].clone();
                planning::run(engine.remove_network(name)).expect("nothing that runs is on it");
                planning::run(engine.network_gone(name, std::time::Duration::from_secs(1))).expect("it fades");
            }
            ["rm", host, container] => self.bed().fake.host(host).remove_container(container),
            ["content", shape, name, digest, key @ ..] => self.content(shape, name, digest, &key.join(" ")),
            ["folder", key, name, digest] => self.folder(key, name, digest),
            ["half", host, name] => {
                let labels = [(mcompose::world::keys::CONTENT_OF.to_owned(), (*name).to_owned())].into();
                let mark = format!("{}0", mcompose::project::carriers_of(name));
                let spec = VolumeSpec { name: mark, labels, ..VolumeSpec::default() };
                let host = self.bed().hosts.iter().find(|known| known.name.as_str() == *host).expect("a host").name.clone();
                let engine = self.bed().fake.engines()[&host].clone();
                planning::run(engine.create_volume(&spec)).expect("it is made");
            }
            ["local-image", host, image] => {
                let build =
                    ImageBuild { tags: vec![(*image).to_owned()], context: "http://x".to_owned(), ..ImageBuild::default() };
                self.bed().fake_build(host, &build);
            }
            ["containerd", host] => {
                self.bed().fake.host(host).set_info(|info| info.storage_driver = "overlayfs".to_owned());
            }
            ["arch", host, arch] => {
                let arch = (*arch).to_owned();
                self.bed().fake.host(host).set_info(|info| info.arch = arch);
            }
            ["keeps", digests @ ..] => {
                self.bed().kept = Some(digests.iter().map(|digest| digest.repeat(40)).collect());
            }
            ["elsewhere"] => self.bed().cargo = Default::default(),
            // This machine has nothing but the key of what is sealed.
            ["key"] => self.bed().cargo = Cargo::of_keys(Keys::parse(&"0123456789abcdef".repeat(4)).expect("a key")),
            ["crash", host] => self.bed().fake.host(host).crash(),
            ["boot", host] => self.bed().fake.host(host).boot(),
            ["memory", host] => return self.bed().fake.host(host).memory().into_keys().map(|path| format!("{path}\n")).collect(),
            ["publish", image] => self.bed().fake.publish(image),
            ["image", host, image] => self.bed().fake.host(host).add_image(image),
            ["volume", host, name] => self.bed().fake.host(host).add_volume(name),
            ["completes", image] => {
                let behaviour = Behaviour { exits: Some((std::time::Duration::from_secs(1), 0)), ..Behaviour::default() };
                self.bed().fake.behave(image, behaviour);
            }
            ["dies", image, secs] => {
                let after = std::time::Duration::from_secs(secs.parse().expect("a number"));
                self.bed().fake.behave(image, Behaviour { exits: Some((after, 1)), ..Behaviour::default() });
            }
            ["unhealthy", image] => {
                self.bed().fake.behave(image, Behaviour { health: mcompose::world::Health::Unhealthy, ..Behaviour::default() });
            }
            ["steps"] => return self.steps(),
            ["run", host, name, image, network @ ..] => {
                let mut spec = ContainerSpec { image: (*image).to_owned(), ..ContainerSpec::default() };
                spec.host_config.network_mode = network.first().map(|network| (*network).to_owned());
                self.bed().fake.host(host).run(name, &spec).expect("it runs");
            }
            ["fails", call @ ..] => {
                let fault = Fault::Fail { kind: mcompose::engine::ErrorKind::Failed, message: "out of luck".to_owned() };
                self.bed().fake.fault(FaultRule::once(&call.join(" "), fault));
            }
            ["once", service, options @ ..] => {
                let goal = self.once(service, options);
                return self.show(&goal);
            }
            [verb, options @ ..] => return self.plan(verb, options),
            [] => {}
        }
        String::new()
    }

    /// The project comes with a content, and this machine has it.
    fn content(&mut self, shape: &str, name: &str, digest: &str, key: &str) {
        let content = self.brought(shape, name, digest);
        self.bed().project.contents.insert(key.to_owned(), content);
    }

    /// A volume stands for a folder of this machine that has something in it.
    fn folder(&mut self, key: &str, name: &str, digest: &str) {
        let content = self.brought("folder", name, digest);
        let mut volumes = self.bed().project.volumes.iter_mut().filter(|(other, _)| other.as_str() == key);
        let folder = volumes.next().and_then(|(_, volume)| volume.folder.as_mut()).expect("the file has such a volume");
        folder.content = Some(content);
    }

    fn brought(&mut self, shape: &str, name: &str, digest: &str) -> Content {
        let source = Source::Text { text: digest.into(), owner: Owner::default() };
        let found = self.bed().cargo.add(digest.repeat(40), source, 1 << 20).expect("a text is packed");
        let sealed = self.bed().cargo.keys().ids().next().filter(|_| shape == "sealed").map(str::to_owned);
        Content { name: name.to_owned(), digest: digest.repeat(40), bytes: found.bytes, is_folder: shape == "folder", sealed }
    }

    fn bed(&mut self) -> &mut Bed {
        self.bed.as_mut().expect("`hosts` comes first")
    }

    fn plan(&mut self, verb: &str, options: &[&str]) -> String {
        self.show(&goal(verb, options))
    }

    /// `run` is a container of nobody here, so the verb is `once`. Its slug is the same each time, so that its name can be written.
    fn once(&mut self, service: &str, options: &[&str]) -> Goal {
        let has = |flag: &str| options.contains(&flag);
        let project = &self.bed().project;
        let (service, declared) = project.services.get_key_value(service).expect("a service of the file");
        let host = options.iter().find_map(|option| HostName::new(option.strip_prefix("--on=")?).ok());
        let ports = if has("--service-ports") { Ports::OfTheService } else { Ports::default() };
        let slug = "0123456789abcdef".repeat(4);
        Goal::Run(Box::new(Run {
            service: service.clone(),
            made_from: OneOff { host, ports, ..OneOff::default() }.of(declared),
            name: Run::default_name(project, service, &slug),
            slug,
            deps: !has("--no-deps"),
            start: !has("--no-start"),
            auto_remove: has("--rm"),
            use_aliases: has("--use-aliases"),
        }))
    }

    fn show(&mut self, goal: &Goal) -> String {
        let plan = self.bed().plan(goal);
        let text = mcompose::plan::text(&plan);
        self.plan = Some(plan);
        if text.is_empty() { "nothing to do\n".to_owned() } else { text }
    }

    /// Prints nothing when all goes well.
    fn apply(&mut self) -> String {
        let plan = self.plan.take().expect("a plan comes first");
        let outcome = self.bed().apply(&plan);
        let mut text = String::new();
        for (id, end) in &outcome.ends {
            let step = mcompose::plan::step_text(&plan.steps[id.0]);
            match end {
                StepEnd::Done => {}
                StepEnd::Failed { error, .. } => writeln!(text, "failed: {step}: {}", error.message).expect("a text"),
                StepEnd::Skipped { .. } => writeln!(text, "skipped: {step}").expect("a text"),
            }
        }
        text
    }

    /// Every step of the plan by itself, with those that it waits for.
    fn steps(&mut self) -> String {
        let steps = self.plan.as_ref().map(|plan| plan.steps.as_slice()).unwrap_or_default();
        let line = |(number, step): (usize, &mcompose::plan::Step)| {
            let after: Vec<String> = step.after.iter().map(|id| id.0.to_string()).collect();
            let after = if after.is_empty() { String::new() } else { format!(" (after {})", after.join(", ")) };
            format!("{number}: {}{after}\n", mcompose::plan::step_text(step))
        };
        steps.iter().enumerate().map(|(number, step)| line((number, step))).collect()
    }

    /// The volumes of a container in the order in which this scenario first saw them.
    fn mounts(&mut self, host: &str, container: &str) -> String {
        let containers = self.bed().fake.host(host).containers();
        let found = containers.into_iter().find(|other| other.name == container).expect("the container is there");
        let mut text = String::new();
        for mount in found.mounts {
            if mount.kind == "bind" {
                writeln!(text, "{}: {}", mount.target, mount.source).expect("a text");
                continue;
            }
            let known = self.volumes.iter().position(|name| *name == mount.name);
            let number = known.unwrap_or(self.volumes.len());
            if known.is_none() {
                self.volumes.push(mount.name);
            }
            writeln!(text, "{}: volume {}", mount.target, number + 1).expect("a text");
        }
        text
    }

    fn ps(&mut self) -> String {
        let world = self.bed().fake.snapshot();
        let lines = world.seen_hosts().flat_map(|(host, seen)| {
            seen.containers.iter().map(move |container| {
                let networks: Vec<&str> = container.networks.keys().map(String::as_str).collect();
                format!("{} on {host}: {}, {}\n", container.name, container.state, networks.join(" "))
            })
        });
        lines.collect()
    }
}

/// `up web --no-start`: a verb, services, and flags as the command line has them.
fn goal(verb: &str, options: &[&str]) -> Goal {
    let has = |flag: &str| options.contains(&flag);
    let number = |flag: &str| options.iter().find_map(|option| option.strip_prefix(flag)?.parse().ok());
    let names = options.iter().filter(|option| !option.starts_with('-'));
    let names: std::collections::BTreeSet<ServiceName> =
        names.map(|name| ServiceName::new(*name).expect("a service name")).collect();
    let services = if names.is_empty() { Selection::All } else { Selection::Only(names) };
    let timeout_secs = number("--timeout=");
    // As a supervisor asks it of single slots: `--renew=web.1`.
    let slots = |flag: &str| {
        let named = options.iter().filter_map(|option| option.strip_prefix(flag)?.split_once('.'));
        let slot = |(service, number): (&str, &str)| Slot::new(ServiceName::new(service).ok()?, number.parse().ok()?);
        named.filter_map(slot).collect()
    };
    match verb {
        "up" => Goal::Up(Up {
            services,
            deps: !has("--no-deps"),
            recreate: match (has("--force-recreate"), has("--no-recreate")) {
                (true, _) => Recreate::Always,
                (_, true) => Recreate::Never,
                _ => Recreate::Changed,
            },
            start: !has("--no-start"),
            remove_orphans: has("--remove-orphans"),
            ignore_orphans: has("--ignore-orphans"),
            renew_anonymous_volumes: has("-V"),
            renew_volumes: has("--yes"),
            timeout_secs,
            wait_secs: has("--wait").then_some(0),
            // What a supervisor asks for.
            keep: options.iter().filter_map(|option| ServiceName::new(option.strip_prefix("--keep=")?).ok()).collect(),
            renew: slots("--renew="),
            halt: slots("--halt="),
            gently: has("--gently"),
            ..Up::default()
        }),
        "down" => Goal::Down {
            services,
            volumes: has("-v"),
            rmi: has("--rmi").then_some(Rmi::All),
            remove_orphans: has("--remove-orphans"),
            timeout_secs,
        },
        "start" => Goal::Start { services, wait_secs: has("--wait").then_some(60) },
        "stop" => Goal::Stop { services, timeout_secs },
        "restart" => Goal::Restart { services, timeout_secs, no_deps: has("--no-deps") },
        "kill" => Goal::Kill { services, signal: "SIGKILL".to_owned(), remove_orphans: has("--remove-orphans") },
        "pause" => Goal::Pause { services },
        "unpause" => Goal::Unpause { services },
        "remove" => Goal::Remove { services, stop: has("--stop"), volumes: has("-v") },
        "build" => {
            let building = Building { missing_only: has("--missing"), ..Building::default() };
            Goal::Build { services, building }
        }
        "push" => Goal::Push { services, include_deps: has("--include-deps"), tolerant: false },
        "pull" => Goal::Pull {
            services,
            always: has("--always"),
            include_deps: has("--include-deps"),
            ignore_buildable: has("--ignore-buildable"),
            tolerant: has("--ignore-pull-failures"),
            now_secs: number("--now="),
        },
        _ => panic!("`{verb}` is no command of a scenario"),
    }
}
