//! How hosts become one swarm, stay one, and leave it: as plans, from what was seen.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mcompose::apply::{Limits, apply};
use mcompose::cluster::{Addresses, ClusterError, fabric, form, leave, lost_managers, recover};
use mcompose::engine::Node;
use mcompose::engine::fake::Fake;
use mcompose::inventory::{Inventory, NetworkDriver, NetworkSettings, parse_address};
use mcompose::plan::{Op, Plan, Step};
use mcompose::project::{Host, HostName, ProjectName, Role};
use mcompose::world::{EngineInfo, SeenHost, Sight, Swarm, SwarmMember, World};

/// Hosts h1, h2 … as words: `-` in no swarm, `away`, `SWARM:m` manager or `SWARM:w` worker of a swarm, `SWARM:q` a manager without
/// a leader, `SWARM:gone` one that does not answer, `SWARM:wiped` one that came back with another disk, `SWARM:new` the same as a worker
/// by now,
/// `live` with live-restore, `locked`. A word may begin with `manager=` or `worker=` for the role in the inventory.
fn fleet(words: &str) -> (Vec<Host>, World) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let split = |word: &str| match word.split_once('=') {
        Some(("manager", rest)) => (Some(Role::Manager), rest.to_owned()),
        Some(("worker", rest)) => (Some(Role::Worker), rest.to_owned()),
        _ => (None, word.to_owned()),
    };
    let states: Vec<(Option<Role>, String)> = words.iter().map(|word| split(word)).collect();
    let managers_of = |swarm: &str| -> BTreeMap<String, String> {
        let kind_of = |state: &str| Some(state.strip_prefix(swarm)?.strip_prefix(':')?.to_owned());
        let node = |(index, (_, state)): (usize, &(Option<Role>, String))| {
            let letter = match kind_of(state)?.as_str() {
                "m" | "q" | "gone" => 'n',
                "wiped" | "new" => 'o',
                _ => return None,
            };
            Some((format!("{letter}{}", index + 1), format!("10.0.0.{}:2377", index + 1)))
        };
        states.iter().enumerate().filter_map(node).collect()
    };
    let mut hosts = Vec::new();
    let mut world = World::default();
    for (index, (role, state)) in states.iter().enumerate() {
        let host = host(index + 1, *role);
        let swarm = match state.split_once(':') {
            Some((_, "wiped")) => Swarm::Inactive,
            Some((swarm, kind)) => Swarm::Active(SwarmMember {
                cluster_id: if kind == "m" { swarm.to_owned() } else { String::new() },
                node_id: format!("n{}", index + 1),
                node_addr: format!("10.0.0.{}", index + 1),
                is_manager: matches!(kind, "m" | "q"),
                managers: managers_of(swarm),
                control_available: kind == "m",
                error: String::new(),
            }),
            None if state == "locked" => Swarm::Pending { state: "locked".to_owned(), error: String::new() },
            None => Swarm::Inactive,
        };
        let engine = EngineInfo { id: format!("e{index}"), live_restore: state == "live", ..EngineInfo::default() };
        let sight = match state.as_str() {
            state if state == "away" || state.ends_with(":gone") => Sight::Unreachable { why: "no route".to_owned() },
            _ => Sight::Seen(Arc::new(SeenHost { engine, swarm, ..SeenHost::default() })),
        };
        world.hosts.insert(host.name.clone(), sight);
        hosts.push(host);
    }
    (hosts, world)
}

fn host(number: usize, role: Option<Role>) -> Host {
    let address = parse_address(&format!("ssh://10.0.0.{number}"), &Default::default()).expect("a good URL");
    let mut host = Inventory::of_one(address).hosts.remove(0);
    host.name = HostName::new(format!("h{number}")).expect("a good name");
    host.role = role;
    host
}

fn addresses(hosts: &[Host]) -> Addresses {
    let address = |host: &Host| format!("10.0.0.{}", &host.name.as_str()[1..]).parse::<IpAddr>().expect("an address");
    hosts.iter().map(|host| (host.name.clone(), Ok(address(host)))).collect()
}

fn told(steps: Result<Vec<Step>, ClusterError>) -> String {
    let steps = match steps {
        Ok(steps) => steps,
        Err(error) => return format!("{error}\nhint: {}", error.hint().unwrap_or_default()),
    };
    let line = |(index, step): (usize, &Step)| {
        let op = match &step.op {
            Op::SwarmInit { advertise } => format!("init {advertise}"),
            Op::SwarmJoin { via, role, advertise, remote } => format!("join as {role} {advertise} via {via} {remote}"),
            Op::SwarmRecover { advertise } => format!("recover {advertise}"),
            Op::SwarmLeave { force } => format!("leave{}", if *force { " by force" } else { "" }),
            Op::NodeRemove { node_id, .. } => format!("remove {node_id}"),
            Op::NodeRole { node_id, role } => format!("{node_id} becomes {role}"),
            other => format!("{other:?}"),
        };
        let after: Vec<String> = step.after.iter().map(|id| id.0.to_string()).collect();
        let after = if after.is_empty() { String::new() } else { format!(" (after {})", after.join(", ")) };
        format!("{index} {}: {op}{after}", step.host)
    };
    steps.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

fn check_form(words: &str, expect: &str) {
    let (hosts, world) = fleet(words);
    let got = told(form(&hosts, &NetworkSettings::default(), &world, &addresses(&hosts)));
    assert_eq!(got.trim(), unindented(expect), "{words}");
}

fn check_recover(words: &str, expect: &str) {
    let (hosts, world) = fleet(words);
    assert_eq!(told(recover(&hosts, &world)).trim(), unindented(expect), "{words}");
}

#[test]
fn a_manager_that_is_left_begins_the_swarm_anew_where_most_are_lost() {
    check_recover("a:gone a:gone a:q a:w", "0 h3: recover 10.0.0.3");
    check_recover("a:gone a:q", "0 h2: recover 10.0.0.2");
    check_recover("a:gone a:m a:m a:w", "");
    check_recover("- -", "");
    check_recover(
        "a:q a:q a:gone a:w",
        "2 of the swarm's 3 managers answer (`h1`, `h2`): they find a leader by themselves once they reach each other
         hint: `mcompose hosts check` tries their ports; wait a minute if one of them was lost just now",
    );
    check_recover(
        "a:gone a:gone a:gone a:w",
        "no manager of the swarm can be reached: its members are `h4`, its managers 10.0.0.1:2377, 10.0.0.2:2377, 10.0.0.3:2377
         hint: bring a manager back, or add one to hosts.toml if it is missing there",
    );
    let (hosts, world) = fleet("a:gone a:gone a:q a:w");
    assert_eq!(lost_managers(&hosts, &world).into_iter().collect::<Vec<_>>(), ["h1", "h2"]);
}

fn check_leave(words: &str, leaving: usize, nodes: usize, expect: &str) {
    let (hosts, world) = fleet(words);
    let node = |number: usize| Node {
        id: format!("n{number}"),
        addr: format!("10.0.0.{number}"),
        is_manager: words.split_whitespace().nth(number - 1).is_some_and(|word| word.ends_with(":m") || word == "away"),
        ..Node::default()
    };
    let nodes: Vec<Node> = (1..=nodes).map(node).collect();
    let got = told(leave(&hosts[leaving - 1], &hosts, &world, &nodes));
    assert_eq!(got.trim(), unindented(expect), "{words}");
}

fn check_fabric(words: &str, driver: NetworkDriver, expect: &str) {
    let (hosts, world) = fleet(words);
    let got = match fabric(&hosts, &NetworkSettings { driver }, &world) {
        Ok(fabric) => format!("{fabric:?}").replace("HostName(", "").replace(')', ""),
        Err(error) => format!("{error}\nhint: {}", error.hint().unwrap_or_default()),
    };
    assert_eq!(got, unindented(expect), "{words}");
}

fn unindented(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[test]
fn one_host_needs_no_swarm() {
    check_form("-", "");
    check_fabric("-", NetworkDriver::Auto, "Bridge");
    check_fabric("-", NetworkDriver::Overlay, "Bridge");
    check_fabric("- -", NetworkDriver::Bridge, "Bridge");
}

#[test]
fn two_hosts_have_one_manager_and_three_have_three() {
    check_form(
        "- -",
        "0 h1: init 10.0.0.1
         1 h2: join as worker 10.0.0.2 via h1 10.0.0.1:2377 (after 0)",
    );
    check_form(
        "- - - - -",
        "0 h1: init 10.0.0.1
         1 h2: join as manager 10.0.0.2 via h1 10.0.0.1:2377 (after 0)
         2 h3: join as manager 10.0.0.3 via h1 10.0.0.1:2377 (after 1)
         3 h4: join as worker 10.0.0.4 via h1 10.0.0.1:2377 (after 0)
         4 h5: join as worker 10.0.0.5 via h1 10.0.0.1:2377 (after 0)",
    );
}

#[test]
fn roles_of_the_inventory_decide_where_they_are_given() {
    check_form(
        "worker=- - manager=-",
        "0 h3: init 10.0.0.3
         1 h1: join as worker 10.0.0.1 via h3 10.0.0.3:2377 (after 0)
         2 h2: join as worker 10.0.0.2 via h3 10.0.0.3:2377 (after 0)",
    );
    // Of the two that are left, one is a manager: two would halt when either is away.
    check_form(
        "- - worker=-",
        "0 h1: init 10.0.0.1
         1 h2: join as worker 10.0.0.2 via h1 10.0.0.1:2377 (after 0)
         2 h3: join as worker 10.0.0.3 via h1 10.0.0.1:2377 (after 0)",
    );
    check_form(
        "worker=- worker=-",
        "no host may be a manager: all have `role = \"worker\"`
         hint: give one host, better three, `role = \"manager\"`, or take the roles away",
    );
}

#[test]
fn a_swarm_that_is_there_is_used_as_it_is() {
    check_form("A:w A:m A:w A:w", "");
    check_form("A:m away A:w", "");
    check_fabric("A:w A:m A:m", NetworkDriver::Auto, "Overlay { managers: [\"h2\", \"h3\"] }");
    check_fabric("A:m away A:w", NetworkDriver::Auto, "Overlay { managers: [\"h1\"] }");
}

#[test]
fn before_the_swarm_is_formed_its_managers_are_those_that_will_be() {
    check_fabric("- - -", NetworkDriver::Auto, "Overlay { managers: [\"h1\", \"h2\", \"h3\"] }");
}

#[test]
fn hosts_outside_join_the_swarm_that_is_there() {
    check_form("A:m A:m A:m -", "0 h4: join as worker 10.0.0.4 via h1 10.0.0.1:2377");
    // From two hosts to three: one manager becomes three, never two.
    check_form(
        "A:m A:w -",
        "0 h1: n2 becomes manager
         1 h3: join as manager 10.0.0.3 via h1 10.0.0.1:2377 (after 0)",
    );
    check_form("A:m manager=A:w", "0 h1: n2 becomes manager");
    check_form("A:m away -", "0 h3: join as manager 10.0.0.3 via h1 10.0.0.1:2377");
}

#[test]
fn a_manager_whose_host_came_back_with_another_disk_is_followed_by_another() {
    check_form(
        "A:m A:wiped A:m A:w",
        "0 h1: o2 becomes worker
         1 h1: remove o2 (after 0)
         2 h2: join as manager 10.0.0.2 via h1 10.0.0.1:2377 (after 1)",
    );
    check_form(
        "A:m A:m A:new A:w",
        "0 h1: o3 becomes worker
         1 h1: remove o3 (after 0)
         2 h1: n3 becomes manager (after 1)",
    );
    check_form(
        "manager=A:m manager=A:m manager=A:m A:wiped",
        "0 h1: o4 becomes worker
         1 h1: remove o4 (after 0)
         2 h4: join as worker 10.0.0.4 via h1 10.0.0.1:2377 (after 1)",
    );
    // Who only does not answer may come back.
    check_form("A:m A:m A:gone -", "0 h4: join as worker 10.0.0.4 via h1 10.0.0.1:2377");
}

#[test]
fn two_swarms_are_an_error_that_names_hosts_and_swarms() {
    check_form(
        "A:m B:m A:w B:w -",
        "the hosts are in different swarms: `h1`, `h3` in swarm A; `h2`, `h4` in swarm B
         hint: let the hosts of one of them leave it (`docker swarm leave` there), or split the inventory",
    );
}

#[test]
fn a_worker_alone_says_who_manages_it() {
    let (hosts, mut world) = fleet("A:w A:w");
    for sight in world.hosts.values_mut() {
        let Sight::Seen(seen) = sight else { continue };
        let Swarm::Active(member) = &mut Arc::make_mut(seen).swarm else { continue };
        member.managers.insert("x".to_owned(), "10.9.9.9:2377".to_owned());
    }
    let error = fabric(&hosts, &NetworkSettings::default(), &world).expect_err("no manager is in the inventory");
    assert_eq!(
        error.to_string(),
        "no manager of the swarm can be reached: its members are `h1`, `h2`, its managers 10.9.9.9:2377"
    );
}

#[test]
fn what_cannot_be_in_a_swarm_is_refused_with_a_remedy() {
    check_form(
        "- live",
        "host `h2` cannot be in a swarm: its engine has live-restore on
         hint: take `\"live-restore\": true` out of /etc/docker/daemon.json there and restart docker, or set `[network] driver = \"bridge\"`",
    );
    check_form(
        "A:m locked",
        "the swarm of host `h2` is locked
         hint: unlock it on that host: `docker swarm unlock`",
    );
}

#[test]
fn no_swarm_is_formed_while_a_host_is_away_since_it_may_be_in_one() {
    check_form(
        "- away -",
        "a swarm cannot be formed now: `h2`: no route
         hint: a host that does not answer may be in a swarm already: bring it back, or take it out of hosts.toml until it is",
    );
    check_fabric(
        "away away",
        NetworkDriver::Auto,
        "no host can be reached: `h1`: no route; `h2`: no route
         hint: `mcompose hosts check` tries each host and says what is missing",
    );
}

#[test]
fn one_machine_under_two_names_is_refused() {
    let (hosts, mut world) = fleet("- -");
    for sight in world.hosts.values_mut() {
        let Sight::Seen(seen) = sight else { continue };
        Arc::make_mut(seen).engine.id = "same".to_owned();
    }
    let error = fabric(&hosts, &NetworkSettings::default(), &world).expect_err("they are one");
    assert_eq!(error.to_string(), "hosts `h1` and `h2` are one machine: both reach the engine `same`");
}

#[test]
fn a_worker_leaves_and_is_taken_off_the_list() {
    check_leave(
        "A:m A:w A:w",
        3,
        3,
        "0 h3: leave
         1 h1: remove n3 (after 0)",
    );
    check_leave("- - -", 3, 0, "");
}

#[test]
fn a_manager_is_demoted_first_and_the_rule_for_managers_holds_after() {
    check_leave(
        "A:m A:m A:m A:w",
        1,
        4,
        "0 h2: n4 becomes manager
         1 h2: n1 becomes worker (after 0)
         2 h1: leave by force (after 1)
         3 h2: remove n1 (after 2)",
    );
    check_leave(
        "A:m A:m A:m",
        3,
        3,
        "0 h1: n3 becomes worker
         1 h3: leave by force (after 0)
         2 h1: remove n3 (after 1)
         3 h1: n2 becomes worker (after 2)",
    );
}

#[test]
fn a_lost_host_is_only_taken_off_the_list() {
    check_leave(
        "A:m A:m away A:m",
        3,
        4,
        "0 h1: n3 becomes worker
         1 h1: remove n3 (after 0)",
    );
    check_leave("A:m away", 2, 1, "");
}

#[test]
fn the_last_manager_does_not_leave_the_others_alone() {
    check_leave(
        "A:m A:w",
        1,
        2,
        "host `h1` is the only manager of a swarm that has other members
         hint: give another host `role = \"manager\"` and run `mcompose hosts init`, then take this one out",
    );
    check_leave("A:m", 1, 1, "0 h1: leave by force");
}

/// Forms the swarm of a fake fleet and returns the world after that.
async fn formed(fake: &Fake, hosts: &[Host]) -> World {
    let world = fake.snapshot();
    let addresses: Addresses = fake_addresses(hosts);
    let steps = form(hosts, &NetworkSettings::default(), &world, &addresses).expect("it can be formed");
    carried_out(fake, steps).await;
    fake.snapshot()
}

fn fake_addresses(hosts: &[Host]) -> Addresses {
    let address = |number: usize| format!("10.0.0.{}", number + 2).parse().expect("an address");
    hosts.iter().enumerate().map(|(number, host)| (host.name.clone(), Ok(address(number)))).collect()
}

async fn carried_out(fake: &Fake, steps: Vec<Step>) {
    let plan = Plan { project: ProjectName::new("hosts").expect("a good name"), steps, notes: Vec::new() };
    let (events, _) = tokio::sync::mpsc::unbounded_channel();
    let (_stop, interrupt) = tokio::sync::watch::channel(false);
    let outcome = apply(&fake.engines(), &plan, &Limits::default(), &Default::default(), events, interrupt).await;
    assert!(outcome.is_success(), "{:?}", outcome.failures().collect::<Vec<_>>());
}

fn three_hosts() -> (Fake, Vec<Host>) {
    (Fake::new(&["h1", "h2", "h3"]), (1..=3).map(|number| host(number, None)).collect())
}

#[tokio::test]
async fn a_swarm_that_was_formed_needs_nothing_more() {
    let (fake, hosts) = three_hosts();
    let world = formed(&fake, &hosts).await;
    let again = form(&hosts, &NetworkSettings::default(), &world, &fake_addresses(&hosts)).expect("it is formed");
    assert_eq!(again, []);
    let fabric = fabric(&hosts, &NetworkSettings::default(), &world).expect("it is formed");
    assert_eq!(format!("{fabric:?}"), "Overlay { managers: [HostName(\"h1\"), HostName(\"h2\"), HostName(\"h3\")] }");
}

#[tokio::test]
async fn a_swarm_that_was_formed_in_part_is_completed() {
    let (fake, hosts) = three_hosts();
    let steps = form(&hosts, &NetworkSettings::default(), &fake.snapshot(), &fake_addresses(&hosts)).expect("it can be formed");
    carried_out(&fake, steps[..1].to_vec()).await;
    let world = formed(&fake, &hosts).await;
    let managers = world.seen_hosts().filter(|(_, seen)| matches!(&seen.swarm, Swarm::Active(member) if member.is_manager));
    assert_eq!(managers.count(), 3);
}

#[tokio::test]
async fn a_host_that_left_is_in_no_list_and_in_no_swarm() {
    let (fake, hosts) = three_hosts();
    let world = formed(&fake, &hosts).await;
    let nodes = fake.engines()["h1"].nodes().await.expect("it answers");
    carried_out(&fake, leave(&hosts[2], &hosts, &world, &nodes).expect("it can leave")).await;
    let nodes = fake.engines()["h1"].nodes().await.expect("it answers");
    let roles: BTreeMap<&str, bool> = nodes.iter().map(|node| (node.hostname.as_str(), node.is_manager)).collect();
    assert_eq!(roles, BTreeMap::from([("h1", true), ("h2", false)]));
    assert_eq!(fake.snapshot().seen("h3").expect("it is up").swarm, Swarm::Inactive);
}
