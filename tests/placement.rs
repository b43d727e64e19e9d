//! Placement's rules, one after the other.

mod placing;

use std::collections::BTreeSet;

use mcompose::placement::{Orphans, Request, place, rebalance, seats_to_remember};
use mcompose::project::{Host, Project};
use mcompose::world::{NetworkSeen, State, Swarm, SwarmMember, VolumeSeen, Way, World};
use placing::{at, bridge, check, counts, cut, empty, hosts, known, name, project, put, slot, told, volume};

const THREE: &[&str] = &["alpha", "beta", "gamma"];

#[test]
fn replicas_spread_over_hosts() {
    let hosts = hosts(THREE);
    let project = project("services: {web: {scale: 7}}");
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    let mut loads: Vec<String> = counts(&placement, "web").split(", ").map(|part| part[part.len() - 1..].to_owned()).collect();
    loads.sort();
    assert_eq!(loads, ["2", "2", "3"]);
}

#[test]
fn services_of_one_replica_spread_by_what_the_project_has_on_each_host() {
    let hosts = hosts(THREE);
    let project = project("services: {a: , b: , c: , d: , e: , f: }");
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    for host in THREE {
        assert_eq!(placement.seats.values().filter(|seat| seat.host.as_str() == *host).count(), 2, "{host}");
    }
}

#[test]
fn with_equal_replicas_the_host_with_fewer_strangers_then_the_smaller_reserved_share_is_taken() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "other", "");
    put(&mut world, "beta", "another", "created memory=1000000000");
    check(&project("services: {web: }"), &hosts, &world, &Request::default(), "web.1 gamma (best of 3/3)");
}

#[test]
fn another_seed_breaks_ties_in_another_way_and_the_same_seed_does_not() {
    let hosts = hosts(&["a", "b", "c", "d", "e", "f", "g", "h"]);
    let project = project("services: {web: }");
    let of_seed = |seed: u64| told(&place(&project, &hosts, &empty(&hosts), &Request { seed, ..Request::default() }));
    assert_eq!(of_seed(3), of_seed(3));
    let outcomes: std::collections::BTreeSet<String> = (0..20).map(of_seed).collect();
    assert!(outcomes.len() > 3, "{outcomes:?}");
}

#[test]
fn what_is_somewhere_stays_there() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    for number in 1..=3 {
        put(&mut world, "alpha", &format!("p-web-{number}"), "");
    }
    let expect = "web.1 alpha (stays)\nweb.2 alpha (stays)\nweb.3 alpha (stays)\n";
    check(&project("services: {web: {scale: 3}}"), &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_paused_host_keeps_what_it_has_and_takes_nothing_new() {
    let hosts = hosts(&["alpha pause", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "");
    let expect = "web.1 alpha (stays)\nweb.2 beta (best of 1/2)\nweb.3 beta (best of 1/2)\n";
    check(&project("services: {web: {scale: 3}}"), &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_drained_host_is_left() {
    let hosts = hosts(&["alpha drain", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "");
    check(&project("services: {web: }"), &hosts, &world, &Request::default(), "web.1 beta (best of 1/2)");
}

#[test]
fn a_slot_on_an_unreachable_host_is_held_when_the_record_knows_it() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    cut(&mut world, "alpha");
    let project = project("services: {web: {scale: 2}}");
    let request = known(&[("web.1", "alpha")]);
    check(&project, &hosts, &world, &request, "web.1 alpha (held: its host does not answer)\nweb.2 beta (best of 1/2)\n");
    let request = Request { lost: [name("alpha")].into(), ..request };
    check(&project, &hosts, &world, &request, "web.1 beta (best of 1/2)\nweb.2 beta (best of 1/2)\n");
    check(&project, &hosts, &world, &Request::default(), "web.1 beta (best of 1/2)\nweb.2 beta (best of 1/2)\n");
}

#[test]
fn a_container_that_a_slot_left_behind_is_not_started_while_its_host_is_silent() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    cut(&mut world, "alpha");
    put(&mut world, "beta", "p-web-1", "");
    let request = known(&[("web.1", "alpha")]);
    let project = project("services: {web: }");
    check(&project, &hosts, &world, &request, "web.1 beta (stays)");
    at(&mut world, "beta").containers[0].state = State::Exited { code: Some(0) };
    check(&project, &hosts, &world, &request, "web.1 alpha (held: its host does not answer)");
    let request = Request { lost: [name("alpha")].into(), ..request };
    check(&project, &hosts, &world, &request, "web.1 beta (stays)");
}

#[test]
fn a_container_that_is_seen_counts_more_than_the_record() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    cut(&mut world, "alpha");
    put(&mut world, "beta", "p-web-1", "");
    check(&project("services: {web: }"), &hosts, &world, &known(&[("web.1", "alpha")]), "web.1 beta (stays)");
}

#[test]
fn of_two_containers_for_one_slot_the_newest_revision_counts_then_the_one_that_runs_then_health_then_youth() {
    let hosts = hosts(&["alpha", "beta"]);
    let project = project("services: {web: }");
    let cases = [
        ("revision=1 healthy", "revision=2 exited=1", "beta"),
        ("exited=0 healthy", "unhealthy", "beta"),
        ("unhealthy created_at=9", "healthy created_at=1", "beta"),
        ("created_at=1", "created_at=2", "beta"),
        ("", "", "alpha"),
    ];
    for (on_alpha, on_beta, winner) in cases {
        let mut world = empty(&hosts);
        put(&mut world, "alpha", "p-web-1", on_alpha);
        put(&mut world, "beta", "p-web-1", on_beta);
        check(&project, &hosts, &world, &Request::default(), &format!("web.1 {winner} (stays)"));
    }
}

#[test]
fn a_better_container_on_a_drained_host_gives_way_to_one_that_may_stay() {
    let hosts = hosts(&["alpha drain", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "revision=2");
    put(&mut world, "beta", "p-web-1", "revision=1");
    check(&project("services: {web: }"), &hosts, &world, &Request::default(), "web.1 beta (stays)");
}

#[test]
fn constraints_choose_hosts() {
    let hosts = hosts(&["alpha manager zone=a advertise=10.1.0.1", "beta worker zone=b", "gamma worker"]);
    let mut world = empty(&hosts);
    at(&mut world, "gamma").engine.labels.insert("disk".to_owned(), "ssd".to_owned());
    at(&mut world, "gamma").engine.arch = "arm64".to_owned();
    let cases = [
        ("node.hostname == beta", "beta 1"),
        ("node.hostname==gamma.local", "gamma 1"),
        ("node.hostname != alpha", "beta 1, gamma 1"),
        ("node.labels.zone == A", "alpha 1"),
        ("node.labels.zone != a", "beta 1, gamma 1"),
        ("node.role == manager", "alpha 1"),
        ("node.role!=manager", "beta 1, gamma 1"),
        ("engine.labels.disk == ssd", "gamma 1"),
        ("node.platform.arch == aarch64", "gamma 1"),
        ("node.platform.os == linux", "alpha 1, beta 1, gamma 1"),
        ("node.id == engine-of-beta", "beta 1"),
        ("node.ip == 10.1.0.0/16", "alpha 1"),
        ("node.ip == beta.example", "beta 1"),
    ];
    for (constraint, expect) in cases {
        let yaml = format!(r#"services: {{web: {{deploy: {{mode: global, placement: {{constraints: ["{constraint}"]}}}}}}}}"#);
        let placement = place(&project(&yaml), &hosts, &world, &Request::default());
        assert_eq!(counts(&placement, "web"), expect, "{constraint}");
    }
}

#[test]
fn a_constraint_that_is_none_is_refused_on_every_host() {
    let hosts = hosts(&["alpha", "beta"]);
    let yaml = |constraint: &str| format!(r#"services: {{web: {{deploy: {{placement: {{constraints: ["{constraint}"]}}}}}}}}"#);
    let world = empty(&hosts);
    let request = Request::default();
    let expect = "web.1 nowhere: 2 hosts cannot be asked `node.rule==manager` (`node.rule` is no attribute of a host)";
    check(&project(&yaml("node.rule==manager")), &hosts, &world, &request, expect);
    let expect = "web.1 nowhere: 2 hosts cannot be asked `node.role=manager` (it must be KEY==VALUE or KEY!=VALUE)";
    check(&project(&yaml("node.role=manager")), &hosts, &world, &request, expect);
}

#[test]
fn a_constraint_that_is_no_longer_met_moves_a_replica() {
    let hosts = hosts(&["alpha zone=a", "beta zone=b"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "");
    let project = project(r#"services: {web: {deploy: {placement: {constraints: ["node.labels.zone==b"]}}}}"#);
    check(&project, &hosts, &world, &Request::default(), "web.1 beta (best of 1/2)");
}

#[test]
fn roles_are_those_that_forming_the_swarm_will_give() {
    let hosts = hosts(&["a", "b", "c", "d"]);
    let project = project(r#"services: {web: {deploy: {mode: global, placement: {constraints: ["node.role==manager"]}}}}"#);
    let mut world = empty(&hosts);
    assert_eq!(counts(&place(&project, &hosts, &world, &Request::default()), "web"), "a 1, b 1, c 1");
    assert_eq!(counts(&place(&project, &hosts[..2], &world, &Request::default()), "web"), "a 1");
    for host in ["a", "b", "c", "d"] {
        at(&mut world, host).swarm = Swarm::Active(SwarmMember { is_manager: host == "d", ..SwarmMember::default() });
    }
    assert_eq!(counts(&place(&project, &hosts, &world, &Request::default()), "web"), "d 1");
}

#[test]
fn preferences_divide_replicas_evenly_over_values() {
    let hosts = hosts(&["a1 zone=a", "a2 zone=a", "a3 zone=a", "b1 zone=b"]);
    let project = project("services: {web: {scale: 6, deploy: {placement: {preferences: [{spread: node.labels.zone}]}}}}");
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    assert_eq!(counts(&placement, "web"), "a1 1, a2 1, a3 1, b1 3");
}

#[test]
fn preferences_are_a_hierarchy_and_hosts_without_the_label_a_branch() {
    let hosts = hosts(&["a1 zone=a rack=1", "a2 zone=a rack=2", "a3 zone=a rack=2", "b1 zone=b rack=1", "none"]);
    let project = project(
        "services: {web: {scale: 12, deploy: {placement: {preferences: [{spread: node.labels.zone}, {spread: node.labels.rack}]}}}}",
    );
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    assert_eq!(counts(&placement, "web"), "a1 2, a2 1, a3 1, b1 4, none 4");
}

#[test]
fn a_branch_that_is_full_gives_way_to_the_others() {
    let hosts = hosts(&["a1 zone=a", "b1 zone=b", "b2 zone=b"]);
    let project = project(
        "services: {web: {scale: 5, deploy: {placement: {max_replicas_per_node: 2, preferences: [{spread: node.labels.zone}]}}}}",
    );
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    assert_eq!(placement.refused.len(), 0);
    assert_eq!(placement.seats.values().filter(|seat| seat.host.as_str() == "a1").count(), 2);
}

#[test]
fn max_replicas_per_node_refuses_the_rest() {
    let hosts = hosts(&["alpha", "beta"]);
    let project = project("services: {web: {scale: 3, deploy: {placement: {max_replicas_per_node: 1}}}}");
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    assert_eq!(counts(&placement, "web"), "alpha 1, beta 1");
    let refusal = placement.refused[&slot("web.3")].to_string();
    assert_eq!(refusal, "2 hosts have one replica already (max_replicas_per_node)");
}

#[test]
fn reservations_count_what_all_projects_reserved() {
    let hosts = hosts(&["alpha", "beta", "gamma drain"]);
    let mut world = empty(&hosts);
    for host in ["alpha", "beta"] {
        at(&mut world, host).engine.memory_bytes = 1 << 30;
        put(&mut world, host, &format!("stranger-on-{host}"), "memory=700000000");
    }
    put(&mut world, "alpha", "ended", "exited=0 memory=700000000");
    let project = project(
        "services: {web: {scale: 3, deploy: {resources: {reservations: {memory: 300M}}}}, db: }"
            .replace("300M", "\"314572800\"")
            .as_str(),
    );
    let placement = place(&project, &hosts, &world, &Request::default());
    assert_eq!(counts(&placement, "web"), "alpha 1, beta 1");
    assert_eq!(placement.refused[&slot("web.3")].to_string(), "2 hosts lack memory (need 300 MiB), 1 is drained");
    assert!(placement.host_of(&slot("db.1")).is_some(), "the rest of the project is placed");
}

#[test]
fn cpus_and_generic_resources_are_counted() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    at(&mut world, "beta").engine.generic_resources.insert("SSD".to_owned(), 2);
    let cpus = project("services: {web: {scale: 5, deploy: {resources: {reservations: {cpus: 3.5}}}}}");
    let placement = place(&cpus, &hosts, &world, &Request::default());
    assert_eq!(counts(&placement, "web"), "alpha 2, beta 2");
    assert_eq!(placement.refused[&slot("web.5")].to_string(), "2 hosts lack CPUs (need 3.5)");
    let generic = project(
        "services: {web: {scale: 3, deploy: {resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: SSD, value: 1}}]}}}}}",
    );
    let placement = place(&generic, &hosts, &world, &Request::default());
    assert_eq!(counts(&placement, "web"), "beta 2");
    assert_eq!(placement.refused[&slot("web.3")].to_string(), "2 hosts lack SSD (need 1)");
}

#[test]
fn gpus_are_those_that_the_engine_tells_or_those_behind_its_gpu_runtime() {
    let hosts = hosts(&["alpha", "beta", "gamma"]);
    let mut world = empty(&hosts);
    at(&mut world, "beta").engine.generic_resources.insert("NVIDIA-GPU".to_owned(), 2);
    let one = project("services: {ai: {scale: 3, gpus: [{count: 1}]}}");
    let placement = place(&one, &hosts, &world, &Request::default());
    assert_eq!(counts(&placement, "ai"), "beta 2");
    assert_eq!(placement.refused[&slot("ai.3")].to_string(), "3 hosts lack gpu (need 1)");
    let all = project("services: {ai: {scale: 2, gpus: [{count: -1}]}}");
    let placement = place(&all, &hosts, &world, &Request::default());
    assert_eq!(counts(&placement, "ai"), "beta 1");
    put(&mut world, "beta", "stranger", "gpu=-1");
    assert_eq!(counts(&place(&one, &hosts, &world, &Request::default()), "ai"), "");
    at(&mut world, "gamma").engine.runtimes.insert("nvidia".to_owned());
    assert_eq!(counts(&place(&one, &hosts, &world, &Request::default()), "ai"), "gamma 3");
}

#[test]
fn what_only_newer_engines_know_goes_to_those() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    for (host, version) in [("alpha", "1.41"), ("beta", "1.45"), ("gamma", "1.49")] {
        at(&mut world, host).engine.api_version = version.to_owned();
        at(&mut world, host).engine.volume_plugins.insert("shared".to_owned());
    }
    let of = |mount: &str| {
        project(&format!("{{services: {{web: {{scale: 2, volumes: [{mount}]}}}}, volumes: {{data: {{driver: shared}}}}}}"))
    };
    let part = of("{type: volume, source: data, target: /d, volume: {subpath: part}}");
    assert_eq!(counts(&place(&part, &hosts, &world, &Request::default()), "web"), "beta 1, gamma 1");
    let image = of("{type: image, source: tools, target: /tools}");
    assert_eq!(counts(&place(&image, &hosts, &world, &Request::default()), "web"), "gamma 2");
    let placement = place(&image, &hosts[..2], &world, &Request::default());
    assert_eq!(placement.refused[&slot("web.1")].to_string(), "2 hosts have engines too old for `volumes[].image` (API 1.48)");
}

#[test]
fn a_grown_reservation_moves_what_no_longer_fits() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "memory=1");
    put(&mut world, "alpha", "p-web-2", "memory=1");
    let project = project("services: {web: {scale: 2, deploy: {resources: {reservations: {memory: \"10737418240\"}}}}}");
    check(&project, &hosts, &world, &Request::default(), "web.1 alpha (stays)\nweb.2 beta (best of 2/2)");
}

#[test]
fn platforms_choose_hosts_and_the_only_host_is_always_tried() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    at(&mut world, "beta").engine.arch = "arm64".to_owned();
    let arm = project("services: {web: {platform: linux/arm64/v8}}");
    check(&arm, &hosts, &world, &Request::default(), "web.1 beta (best of 1/2)");
    check(&arm, &hosts[..1], &world, &Request::default(), "web.1 alpha (best of 1/1)");
    let power = project("services: {web: {platform: linux/ppc64le}}");
    check(&power, &hosts, &world, &Request::default(), "web.1 nowhere: 2 hosts are not linux/ppc64le");
}

#[test]
fn a_published_port_is_used_once_on_a_host() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    let web = project("services: {web: {scale: 3, ports: [{target: 80, published: \"8080\"}]}}");
    let placement = place(&web, &hosts, &world, &Request::default());
    assert_eq!(counts(&placement, "web"), "alpha 1, beta 1");
    assert_eq!(placement.refused[&slot("web.3")].to_string(), "2 hosts have port 8080/tcp taken");
    put(&mut world, "alpha", "stranger", "port=8080");
    put(&mut world, "beta", "p-web-1", "port=8080");
    let expect = "
        web.1 beta (stays)
        web.2 nowhere: 2 hosts have port 8080/tcp taken
        web.3 nowhere: 2 hosts have port 8080/tcp taken";
    check(&web, &hosts, &world, &Request::default(), expect);
}

#[test]
fn an_orphan_keeps_its_port_unless_it_is_to_go() {
    let hosts = hosts(&["alpha"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-old-1", "port=8080");
    let mut project = project("services: {web: {ports: [{target: 80, published: \"8080\"}]}}");
    let refused = "web.1 nowhere: 1 host has port 8080/tcp taken by container `p-old-1`";
    check(&project, &hosts, &world, &Request::default(), refused);
    let leaving = Request { orphans: Orphans::Leave, ..Request::default() };
    check(&project, &hosts, &world, &leaving, "web.1 alpha (best of 1/1)");
    project.disabled_services.insert("old".to_owned().try_into().expect("it is a service name"));
    check(&project, &hosts, &world, &leaving, refused);
}

#[test]
fn ports_collide_only_on_a_common_address_and_protocol() {
    let hosts = hosts(&["alpha"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "stranger", "port=10.0.0.1:53");
    let fits = |port: &str| {
        let project = project(&format!("services: {{dns: {{ports: [{{target: 53, published: \"53\", {port}}}]}}}}"));
        place(&project, &hosts, &world, &Request::default()).refused.is_empty()
    };
    assert!(!fits("protocol: tcp"));
    assert!(fits("protocol: udp"));
    assert!(!fits("host_ip: 10.0.0.1"));
    assert!(fits("host_ip: 10.0.0.2"));
    assert!(fits("host_ip: \"::1\""));
}

#[test]
fn a_range_of_ports_gives_each_replica_one() {
    let hosts = hosts(&["alpha"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "stranger", "port=8001");
    let project = project(
        "services: {web: {scale: 3, ports: [{target: 80, published: 8000-8002}]}}".replace("8000-8002", "\"8000-8002\"").as_str(),
    );
    let expect = "
        web.1 alpha (best of 1/1)
        web.2 alpha (best of 1/1)
        web.3 nowhere: 1 host has port 8000/tcp taken by `web.1`";
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn ports_of_a_service_in_the_hosts_own_network_are_not_published() {
    let hosts = hosts(&["alpha"]);
    let yaml = "services: {web: {scale: 2, network_mode: host, ports: [{target: 80, published: \"80\"}]}}";
    assert!(place(&project(yaml), &hosts, &empty(&hosts), &Request::default()).refused.is_empty());
}

const WITH_VOLUME: &str = "
services:
  db: {scale: 2, volumes: [{type: volume, source: data, target: /data}]}
  backup: {volumes: [{type: volume, source: data, target: /data}]}
  web: {scale: 2}
volumes: {data: {}}
";

#[test]
fn services_that_share_a_host_local_volume_share_its_host() {
    let hosts = hosts(THREE);
    let placement = place(&project(WITH_VOLUME), &hosts, &empty(&hosts), &Request::default());
    let home = placement.host_of(&slot("db.1")).expect("it is placed");
    for other in ["db.2", "backup.1"] {
        assert_eq!(placement.host_of(&slot(other)), Some(home), "{other}");
    }
    assert!(placement.seats.iter().filter(|(slot, _)| slot.service.as_str() == "web").all(|(_, seat)| seat.host != *home));
}

#[test]
fn a_service_goes_where_its_volume_is() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    volume(&mut world, "beta", "p_data");
    let expect = "
        backup.1 beta (volume p_data)
        db.1 beta (volume p_data)
        db.2 beta (volume p_data)";
    let project = project(&WITH_VOLUME.replace("web: {scale: 2}", ""));
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_container_tells_which_of_two_volumes_of_one_name_counts() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    volume(&mut world, "alpha", "p_data");
    put(&mut world, "gamma", "p-db-1", "mount=p_data exited=0");
    let expect = "
        backup.1 gamma (volume p_data)
        db.1 gamma (stays)
        db.2 gamma (volume p_data)";
    check(&project(&WITH_VOLUME.replace("web: {scale: 2}", "")), &hosts, &world, &Request::default(), expect);
}

#[test]
fn with_two_volumes_of_one_name_and_nothing_to_tell_one_of_them_is_taken() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    volume(&mut world, "alpha", "p_data");
    volume(&mut world, "gamma", "p_data");
    let project = project(&WITH_VOLUME.replace("web: {scale: 2}", ""));
    let placement = place(&project, &hosts, &world, &Request::default());
    let home = placement.host_of(&slot("db.1")).expect("it is placed");
    assert_ne!(home.as_str(), "beta");
    assert!(placement.seats.values().all(|seat| seat.host == *home));
    check(
        &project,
        &hosts,
        &world,
        &known(&[("db.1", "gamma")]),
        "
        backup.1 gamma (volume p_data)
        db.1 gamma (volume p_data)
        db.2 gamma (volume p_data)",
    );
}

#[test]
fn a_volume_on_a_drained_host_holds_what_runs_there_and_refuses_what_does_not() {
    let hosts = hosts(&["alpha drain", "beta", "gamma"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-db-1", "mount=p_data");
    let expect = "
        backup.1 nowhere: 2 hosts do not have volume `p_data`, which lives on `alpha`, 1 is drained
        db.1 alpha (held: host `alpha` is drained, but volume `p_data` lives there)
        db.2 nowhere: 2 hosts do not have volume `p_data`, which lives on `alpha`, 1 is drained";
    check(&project(&WITH_VOLUME.replace("web: {scale: 2}", "")), &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_volume_on_an_unreachable_host_is_never_started_empty_elsewhere() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    cut(&mut world, "alpha");
    let project = project(&WITH_VOLUME.replace("web: {scale: 2}", ""));
    let request = known(&[("db.1", "alpha"), ("db.2", "alpha")]);
    let expect = "
        backup.1 nowhere: 1 host is unreachable, 1 does not have volume `p_data`, which lives on `alpha`
        db.1 alpha (held: its host does not answer)
        db.2 alpha (held: its host does not answer)";
    check(&project, &hosts, &world, &request, expect);
    let request = Request { lost: [name("alpha")].into(), ..request };
    check(
        &project,
        &hosts,
        &world,
        &request,
        &expect.replace("its host does not answer", "host `alpha` is lost, and volume `p_data` with it"),
    );
}

#[test]
fn who_wrote_into_a_folder_of_a_host_stays_there_with_all_that_write_to_it() {
    let hosts = hosts(&["alpha", "beta"]);
    let bind = "{type: bind, source: /srv/p/data, target: /data}";
    let text = format!(
        "services:\n  db: {{volumes: [{bind}]}}\n  backup: {{volumes: [{bind}]}}\n  reader: {{volumes: [{{type: bind, source: \
         /srv/p/data, target: /data, read_only: true}}]}}\n"
    );
    let mut project = project(&text);
    project.data_folders = ["/srv/p/data".to_owned()].into();
    let mut world = empty(&hosts);
    put(&mut world, "beta", "p-db-1", "bind=/srv/p/data");
    let expect = "
        backup.1 beta (folder /srv/p/data)
        db.1 beta (stays)
        reader.1 alpha (best of 2/2)";
    check(&project, &hosts, &world, &Request::default(), expect);

    let drained = placing::hosts(&["alpha", "beta drain"]);
    let expect = "
        backup.1 nowhere: 1 host is drained, 1 does not have what was written to `/srv/p/data`, which is on `beta`
        db.1 beta (held: host `beta` is drained, but what it wrote to `/srv/p/data` is there)
        reader.1 alpha (best of 1/2)";
    check(&project, &drained, &world, &Request::default(), expect);

    // Without a container the record knows, also of a host that is lost.
    let request = known(&[("db.1", "beta")]);
    let expect = "
        backup.1 beta (folder /srv/p/data)
        db.1 beta (folder /srv/p/data)
        reader.1 alpha (best of 2/2)";
    check(&project, &hosts, &empty(&hosts), &request, expect);
    cut(&mut world, "beta");
    let request = Request { lost: [name("beta")].into(), ..request };
    let expect = "
        backup.1 nowhere: 1 host is unreachable, 1 does not have what was written to `/srv/p/data`, which is on `beta`
        db.1 beta (held: host `beta` is lost, and what was written to its `/srv/p/data` with it)
        reader.1 alpha (best of 1/2)";
    check(&project, &hosts, &world, &request, expect);

    // A folder that is none for data binds nobody.
    project.data_folders.clear();
    let ended = told(&place(&project, &drained, &empty(&hosts), &Request::default()));
    assert_eq!(ended.matches("alpha (best of 1/2)").count(), 3, "{ended}");
}

#[test]
fn a_volume_that_moves_lives_where_its_marks_say() {
    let hosts = hosts(&["alpha", "beta", "gamma"]);
    let project = project("services: {db: {volumes: [{type: volume, source: data, target: /d}]}}\nvolumes: {data: {}}");
    let volumes = ["p_data".to_owned()].into();
    let mark = |world: &mut mcompose::world::World, host: &str, way: Way| {
        let spec = way.mark(&volumes, &name("alpha"), &name("beta"));
        let seen = VolumeSeen { name: spec.name, labels: spec.labels, ..VolumeSeen::default() };
        at(world, host).volumes.push(seen);
    };
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-db-1", "exited=0 mount=p_data");
    volume(&mut world, "beta", "p_data");
    mark(&mut world, "beta", Way::Incoming);
    check(&project, &hosts, &world, &Request::default(), "db.1 alpha (stays)");
    // The host where it lives does not answer: neither the half copy nor an empty volume elsewhere will do.
    let mut away = world.clone();
    cut(&mut away, "alpha");
    let expect = "db.1 nowhere: 2 hosts do not have volume `p_data`, which lives on `alpha`, 1 is unreachable";
    check(&project, &hosts, &away, &Request::default(), expect);
    check(&project, &hosts, &away, &known(&[("db.1", "alpha")]), "db.1 alpha (held: its host does not answer)");
    // It has moved.
    mark(&mut world, "alpha", Way::Outgoing);
    check(&project, &hosts, &world, &known(&[("db.1", "alpha")]), "db.1 beta (volume p_data)");
    let mut away = world.clone();
    cut(&mut away, "beta");
    let expect = "db.1 nowhere: 2 hosts do not have volume `p_data`, which lives on `beta`, 1 is unreachable";
    check(&project, &hosts, &away, &Request::default(), expect);
    // And is gone where it moved to: what is left on the old host is out of date.
    at(&mut world, "beta").volumes.clear();
    let expect = "db.1 nowhere: 3 hosts do not have volume `p_data` whole, which was being moved (`mcompose volume mv` goes on)";
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_replica_moves_to_the_volume_that_its_service_now_shares() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-db-1", "mount=p_data");
    put(&mut world, "alpha", "p-db-2", "mount=p_data");
    put(&mut world, "beta", "p-backup-1", "");
    let expect = "
        backup.1 alpha (volume p_data)
        db.1 alpha (stays)
        db.2 alpha (stays)";
    check(&project(&WITH_VOLUME.replace("web: {scale: 2}", "")), &hosts, &world, &Request::default(), expect);
}

#[test]
fn volumes_that_are_apart_cannot_be_shared_by_one_service() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    volume(&mut world, "alpha", "p_one");
    volume(&mut world, "beta", "p_two");
    let project = project(
        "
services:
  a: {volumes: [{type: volume, source: one, target: /a}]}
  b: {volumes: [{type: volume, source: two, target: /b}]}
  both: {volumes: [{type: volume, source: one, target: /a}, {type: volume, source: two, target: /b}]}
volumes: {one: {}, two: {}}",
    );
    let expect = "
        a.1 alpha (volume p_one)
        b.1 beta (volume p_two)
        both.1 nowhere: 1 host does not have volume `p_one`, which lives on `alpha`, 1 does not have volume `p_two`, which lives on `beta`";
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn an_external_volume_is_used_where_it_is() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    let project = project(
        "
services: {db: {scale: 2, volumes: [{type: volume, source: data, target: /data}]}}
volumes: {data: {external: true, name: shared}}",
    );
    check(
        &project,
        &hosts,
        &world,
        &Request::default(),
        "
        db.1 nowhere: 3 hosts do not have the external volume `shared`
        db.2 nowhere: 3 hosts do not have the external volume `shared`",
    );
    volume(&mut world, "alpha", "shared");
    volume(&mut world, "gamma", "shared");
    assert_eq!(counts(&place(&project, &hosts, &world, &Request::default()), "db"), "alpha 1, gamma 1");
}

#[test]
fn a_volume_of_a_plugin_or_on_a_server_binds_nothing_but_needs_its_plugin() {
    let hosts = hosts(THREE);
    let mut world = empty(&hosts);
    at(&mut world, "beta").engine.volume_plugins.insert("rexray:latest".to_owned());
    let of = |volume: &str| {
        project(&format!(
            "
services: {{db: {{scale: 3, volumes: [{{type: volume, source: data, target: /data}}]}}}}
volumes: {{data: {volume}}}"
        ))
    };
    let request = Request::default();
    assert_eq!(counts(&place(&of("{driver: rexray}"), &hosts, &world, &request), "db"), "beta 3");
    let nfs = of("{driver: local, driver_opts: {type: nfs, o: addr=nas, device: \":/x\"}}");
    assert_eq!(counts(&place(&nfs, &hosts, &world, &request), "db"), "alpha 1, beta 1, gamma 1");
    let placement = place(&of("{driver: ceph}"), &hosts, &world, &request);
    assert_eq!(placement.refused[&slot("db.1")].to_string(), "3 hosts lack the volume plugin `ceph`");
}

#[test]
fn a_global_service_has_a_volume_of_its_own_on_each_host() {
    let hosts = hosts(THREE);
    let project = project(
        "
services: {agent: {deploy: {mode: global}, volumes: [{type: volume, source: cache, target: /c}]}}
volumes: {cache: {}}",
    );
    let expect = "agent.1 alpha (global)\nagent.2 beta (global)\nagent.3 gamma (global)";
    check(&project, &hosts, &empty(&hosts), &Request::default(), expect);
}

#[test]
fn a_service_in_anothers_namespace_is_beside_it() {
    let hosts = hosts(&["alpha", "beta", "gamma zone=x"]);
    let beside = |how: &str| {
        let project = project(&format!(
            "
services:
  vpn: {{scale: 2, deploy: {{placement: {{constraints: [node.labels.zone!=x]}}}}}}
  torrent: {{scale: 2, {how}}}"
        ));
        let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
        (1..=2).all(|number| {
            let host = |service: &str| placement.host_of(&slot(&format!("{service}.{number}")));
            host("vpn").is_some() && host("vpn") == host("torrent")
        })
    };
    for how in [
        "network_mode: \"service:vpn\"",
        "ipc: \"service:vpn\"",
        "pid: \"service:vpn\"",
        "volumes_from: [\"vpn:ro\"]",
        "links: [\"vpn:v\"]",
        "network_mode: \"container:p-vpn-1\"",
    ] {
        assert!(beside(how), "{how}");
    }
}

#[test]
fn those_beside_each_other_go_where_all_of_them_fit() {
    let hosts = hosts(&["alpha", "beta ssd=1", "gamma ssd=1"]);
    let mut world = empty(&hosts);
    put(&mut world, "beta", "stranger", "port=80");
    let project = project(
        "
services:
  app: {}
  helper: {network_mode: \"service:app\", deploy: {placement: {constraints: [node.labels.ssd==1]}}}
  proxy: {ipc: \"service:helper\", ports: [{target: 80, published: \"80\"}]}",
    );
    let expect = "
        app.1 gamma (best of 3/3)
        helper.1 gamma (with app)
        proxy.1 gamma (with helper)";
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_leader_comes_to_the_follower_that_is_there_already() {
    let hosts = hosts(&["alpha", "beta", "gamma"]);
    let mut world = empty(&hosts);
    put(&mut world, "beta", "p-helper-1", "");
    let project = project("services: {app: {}, helper: {network_mode: \"service:app\"}}");
    check(&project, &hosts, &world, &Request::default(), "app.1 beta (best of 3/3)\nhelper.1 beta (stays)");
}

#[test]
fn a_follower_moves_after_its_leader() {
    let hosts = hosts(&["alpha drain", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-app-1", "");
    put(&mut world, "alpha", "p-helper-1", "");
    let project = project("services: {app: {}, helper: {network_mode: \"service:app\"}}");
    check(&project, &hosts, &world, &Request::default(), "app.1 beta (best of 1/2)\nhelper.1 beta (with app)");
}

#[test]
fn a_follower_that_fits_nowhere_does_not_take_its_leader_with_it() {
    let hosts = hosts(&["alpha", "beta"]);
    let project = project(
        "
services:
  app: {}
  helper: {network_mode: \"service:app\", deploy: {placement: {constraints: [node.labels.gpu==1]}}}",
    );
    let placement = place(&project, &hosts, &empty(&hosts), &Request::default());
    assert!(placement.host_of(&slot("app.1")).is_some());
    assert_eq!(placement.refused[&slot("helper.1")].to_string(), "2 hosts do not meet `node.labels.gpu==1`");
}

#[test]
fn a_container_of_nobody_here_is_gone_to() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "beta", "wireguard", "");
    let project = project("services: {app: {network_mode: \"container:wireguard\"}, lost: {pid: \"container:gone\"}}");
    let expect = "
        app.1 beta (best of 1/2)
        lost.1 nowhere: 2 hosts do not have the container `gone`";
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn with_bridges_services_of_one_network_are_together_and_others_are_not() {
    let hosts = hosts(THREE);
    let project = project(
        "
services:
  db: {networks: {default: }}
  web: {scale: 3, networks: {default: }}
  lone: {scale: 3, networks: {other: }}
networks: {default: {}, other: {}}",
    );
    let placement = place(&project, &hosts, &empty(&hosts), &bridge());
    assert_eq!(counts(&placement, "lone"), "alpha 1, beta 1, gamma 1");
    let home = placement.host_of(&slot("db.1")).expect("it is placed");
    assert_eq!(counts(&placement, "web"), format!("{home} 3"));
    let crossing = place(&project, &hosts, &empty(&hosts), &Request::default());
    assert_eq!(counts(&crossing, "web"), "alpha 1, beta 1, gamma 1");
}

#[test]
fn with_bridges_what_cannot_be_together_is_refused_with_the_reason() {
    let hosts = hosts(&["alpha disk=1", "beta gpu=1"]);
    let project = project(
        "
services:
  db: {networks: {default: }, deploy: {placement: {constraints: [node.labels.disk==1]}}}
  ml: {networks: {default: }, deploy: {placement: {constraints: [node.labels.gpu==1]}}}
networks: {default: {}}",
    );
    let expect = "
        db.1 alpha (best of 1/2)
        ml.1 nowhere: 1 host does not meet `node.labels.gpu==1`, 1 shares no network with `db` on `alpha`";
    check(&project, &hosts, &empty(&hosts), &bridge(), expect);
}

#[test]
fn a_container_name_is_used_once_on_an_engine() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "cache", "");
    let named = project("services: {redis: {container_name: cache}}");
    check(&named, &hosts, &world, &Request::default(), "redis.1 beta (best of 2/2)");
    check(&named, &hosts[..1], &world, &Request::default(), "redis.1 nowhere: 1 host has another container named `cache`");
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "");
    at(&mut world, "alpha").containers[0].labels = Default::default();
    check(&project("services: {web: }"), &hosts, &world, &Request::default(), "web.1 beta (best of 2/2)");
}

#[test]
fn an_external_network_is_on_the_hosts_that_show_it_or_on_all_of_its_swarm() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    let project = project(
        "
services: {web: {networks: {front: }}}
networks: {front: {external: true, name: proxy}}",
    );
    let request = Request::default();
    check(&project, &hosts, &world, &request, "web.1 nowhere: 2 hosts do not have the external network `proxy`");
    let network = NetworkSeen { name: "proxy".to_owned(), scope: "local".to_owned(), ..NetworkSeen::default() };
    at(&mut world, "beta").networks.push(network);
    check(&project, &hosts, &world, &request, "web.1 beta (best of 1/2)");
    at(&mut world, "beta").networks[0].scope = "swarm".to_owned();
    let placement = place(&project, &hosts, &world, &request);
    assert!(told(&placement).ends_with("(best of 2/2)\n"), "{}", told(&placement));
}

#[test]
fn a_global_service_keeps_numbers_and_gives_new_hosts_the_next_free_one() {
    let hosts = hosts(&["alpha", "beta", "gamma", "delta"]);
    let mut world = empty(&hosts);
    put(&mut world, "beta", "p-agent-1", "");
    put(&mut world, "gamma", "p-agent-3", "");
    let project = project("services: {agent: {deploy: {mode: global}}}");
    let expect = "
        agent.1 beta (stays)
        agent.2 alpha (global)
        agent.3 gamma (stays)
        agent.4 delta (global)";
    check(&project, &hosts, &world, &Request::default(), expect);
    cut(&mut world, "gamma");
    let request = known(&[("agent.3", "gamma"), ("agent.7", "delta")]);
    let expect = "
        agent.1 beta (stays)
        agent.2 alpha (global)
        agent.3 gamma (held: its host does not answer)
        agent.7 delta (global)";
    check(&project, &hosts, &world, &request, expect);
}

#[test]
fn the_number_of_a_global_service_on_a_lost_host_is_given_to_nobody_else() {
    let four = hosts(&["alpha", "beta", "gamma", "delta"]);
    let three = &four[..3];
    let project = project("services: {agent: {deploy: {mode: global}}}");
    let mut world = empty(&four);
    cut(&mut world, "beta");
    let lost = [name("beta")];
    let known = known(&[("agent.1", "alpha"), ("agent.2", "beta"), ("agent.3", "gamma")]).known;
    let without =
        place(&project, three, &world, &Request { known: known.clone(), lost: lost.clone().into(), ..Request::default() });
    assert_eq!(told(&without), "agent.1 alpha (global)\nagent.3 gamma (global)\n");
    let known = seats_to_remember(&project, &without, &known);
    let with = place(&project, &four, &world, &Request { known: known.clone(), lost: lost.into(), ..Request::default() });
    assert_eq!(told(&with), "agent.1 alpha (global)\nagent.3 gamma (global)\nagent.4 delta (global)\n");
    // Back, it has its number again, and of each host one number is remembered.
    let world = empty(&four);
    let back = place(&project, &four, &world, &Request { known: known.clone(), ..Request::default() });
    assert!(told(&back).contains("agent.2 beta"), "{}", told(&back));
    assert_eq!(seats_to_remember(&project, &back, &known).len(), 4);
}

#[test]
fn a_global_service_leaves_out_hosts_by_rule_and_refuses_those_without_room() {
    let hosts = hosts(&["alpha", "beta drain", "gamma", "delta pause"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "stranger", "port=9100");
    put(&mut world, "delta", "p-agent-2", "");
    let project = project("services: {agent: {deploy: {mode: global}, ports: [{target: 9100, published: \"9100\"}]}}");
    let expect = "
        agent.1 nowhere: 1 host has port 9100/tcp taken by container `stranger`
        agent.2 delta (stays)
        agent.3 gamma (global)";
    check(&project, &hosts, &world, &Request::default(), expect);
}

#[test]
fn a_global_service_that_no_host_is_meant_for_is_no_fault_but_one_that_none_can_take_is() {
    let hosts = hosts(&["alpha drain", "beta drain"]);
    let of = |constraint: &str| {
        project(&format!(r#"services: {{agent: {{deploy: {{mode: global, placement: {{constraints: ["{constraint}"]}}}}}}}}"#))
    };
    let active = placing::hosts(&["alpha", "beta"]);
    check(&of("node.labels.gpu==1"), &active, &empty(&active), &Request::default(), "");
    check(&of("node.labels.gpu!=1"), &hosts, &empty(&hosts), &Request::default(), "agent.1 nowhere: 2 hosts are drained");
}

#[test]
fn a_job_that_is_done_stays_done_where_it_was() {
    let hosts = hosts(&["alpha drain", "beta"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-migrate-1", "exited=0");
    put(&mut world, "alpha", "p-migrate-2", "exited=1");
    let job = project("services: {migrate: {scale: 2, deploy: {mode: replicated-job}}}");
    check(&job, &hosts, &world, &Request::default(), "migrate.1 alpha (stays)\nmigrate.2 beta (best of 1/2)");
    let job = project("services: {migrate: {deploy: {mode: global-job}}}");
    check(&job, &hosts, &world, &Request::default(), "migrate.1 alpha (stays)\nmigrate.3 beta (global)");
}

#[test]
fn what_is_unseen_or_no_host_at_all_is_said() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    cut(&mut world, "alpha");
    world.hosts.remove("beta");
    let web = project("services: {web: }");
    check(&web, &hosts, &world, &Request::default(), "web.1 nowhere: 2 hosts are unreachable");
    check(&web, &[], &world, &Request::default(), "web.1 nowhere: there is no host");
}

#[test]
fn scaling_to_nothing_places_nothing() {
    let hosts = hosts(&["alpha"]);
    let mut world = empty(&hosts);
    put(&mut world, "alpha", "p-web-1", "");
    check(&project("services: {web: {scale: 0}}"), &hosts, &world, &Request::default(), "");
}

#[test]
fn on_bridges_a_host_that_joins_moves_nobody() {
    // `gpu` fits nowhere until the newcomer comes; `web` must not be torn from where it is then, to be with it.
    let project = project(
        "services: {web: {scale: 2, networks: {n: }}, \
         gpu: {networks: {n: }, deploy: {placement: {constraints: [\"node.labels.gpu==yes\"]}}}}\nnetworks: {n: {}}",
    );
    let few = hosts(&["alpha", "beta"]);
    let first = place(&project, &few, &empty(&few), &bridge());
    let homes: Vec<String> = first.seats.values().map(|seat| seat.host.to_string()).collect();
    assert_eq!(homes, [homes[0].clone(), homes[0].clone()], "{}", told(&first));
    let more = hosts(&["alpha", "beta", "gamma gpu=yes"]);
    let mut world = empty(&more);
    for number in 1..=2 {
        put(&mut world, &homes[0], &format!("p-web-{number}"), "");
    }
    let then = place(&project, &more, &world, &bridge());
    let stays = then.seats.values().map(|seat| seat.host.to_string()).collect::<Vec<_>>();
    assert_eq!(stays, homes, "{}", told(&then));
}

#[test]
fn a_service_that_lost_its_container_comes_back_to_those_that_are_beside_it() {
    // There is no room left there for the fourth follower, which must not drive it away from the other three.
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    for host in ["alpha", "beta"] {
        at(&mut world, host).engine.memory_bytes = 3 << 30;
    }
    for number in 1..=3 {
        put(&mut world, "alpha", &format!("p-side-{number}"), "memory=1073741824 mount=p_v");
    }
    let project = project(
        "services: {main: {}, side: {scale: 4, network_mode: \"service:main\", volumes: [{type: volume, source: v, target: /v}], \
         deploy: {resources: {reservations: {memory: \"1073741824\"}}}}}\nvolumes: {v: {}}",
    );
    let placement = place(&project, &hosts, &world, &Request::default());
    let alpha = placement.seats.values().filter(|seat| seat.host.as_str() == "alpha").count();
    assert_eq!((placement.seats.len(), alpha, placement.refused.len()), (4, 4, 1), "{}", told(&placement));
}

#[test]
fn data_is_found_again_after_nobody_asked_for_it_for_a_while() {
    let hosts = hosts(THREE);
    let db = |scale: u32| {
        project(&format!(
            "services: {{db: {{scale: {scale}, volumes: [{{type: volume, source: v, target: /v}}]}}, web: }}\nvolumes: {{v: {{}}}}"
        ))
    };
    let mut world = empty(&hosts);
    volume(&mut world, "beta", "p_v");
    let beta = known(&[("db.1", "beta"), ("web.1", "alpha")]).known;
    // Scaled to nothing, and later refused while the host is away: the record still says where the data is.
    let nothing = place(&db(0), &hosts, &world, &Request { known: beta.clone(), ..Request::default() });
    let seats = seats_to_remember(&db(0), &nothing, &beta);
    cut(&mut world, "beta");
    let again = place(&db(1), &hosts, &world, &Request { known: seats.clone(), ..Request::default() });
    assert!(told(&again).starts_with("db.1 beta (held: its host does not answer)"), "{}", told(&again));
    // Without a volume there is nothing to come back to.
    assert_eq!(seats.keys().map(|slot| slot.service.as_str()).collect::<Vec<_>>(), ["db", "web"]);
    let without = project("services: {web: {scale: 0}}");
    let placement = place(&without, &hosts, &world, &Request { known: seats.clone(), ..Request::default() });
    assert_eq!(seats_to_remember(&without, &placement, &seats).len(), 0);
}

/// Moves, and the fullest and emptiest host before and after.

#[test]
fn a_volume_on_a_host_that_is_no_more_in_the_inventory_holds_its_slot() {
    let hosts = hosts(&["alpha", "beta"]);
    let project = project("services: {db: {volumes: [{type: volume, source: data, target: /data}]}, web: }\nvolumes: {data: }");
    let request = known(&[("db.1", "gamma"), ("web.1", "gamma")]);
    let mut world = empty(&hosts);
    let expect = "db.1 gamma (held: host `gamma` is no more in the inventory, and volume `p_data` is there; list the host again, or \
                  give up what it has with `mcompose hosts rm --force`)\nweb.1 beta (best of 2/2)";
    check(&project, &hosts, &world, &request, expect);
    volume(&mut world, "beta", "p_data");
    check(&project, &hosts, &world, &request, "db.1 beta (volume p_data)\nweb.1 alpha (best of 2/2)");
}

fn check_rebalance(services: &str, hosts_text: &[&str], there: &[(&str, &str)], max: usize, expect: &str) {
    let hosts = hosts(hosts_text);
    let mut world = empty(&hosts);
    for (host, container) in there {
        put(&mut world, host, container, "");
    }
    let better = rebalance(&project(services), &hosts, &world, &Request::default(), &BTreeSet::new(), max);
    let moves: Vec<String> = better.moves.iter().map(|one| format!("{} {}→{}", one.slot, one.from, one.to)).collect();
    let (now, then) = (better.now, better.then);
    assert_eq!(format!("{}; {}–{} → {}–{}", moves.join(", "), now.1, now.0, then.1, then.0), expect);
}

#[test]
fn rebalancing_gives_a_host_that_was_added_its_share_and_no_more_than_asked_for() {
    let on_two: Vec<(String, String)> =
        (1..=6).map(|number| (["alpha", "beta"][number % 2].to_owned(), format!("p-web-{number}"))).collect();
    let there: Vec<(&str, &str)> = on_two.iter().map(|(host, name)| (host.as_str(), name.as_str())).collect();
    let services = "services: {web: {scale: 6}}";
    check_rebalance(services, THREE, &there, 10, "web.5 beta→gamma, web.6 alpha→gamma; 0–3 → 2–2");
    check_rebalance(services, THREE, &there, 1, "web.6 alpha→gamma; 0–3 → 1–3");
    check_rebalance(services, &["alpha", "beta", "gamma pause"], &there, 10, "; 3–3 → 3–3");
}

#[test]
fn rebalancing_leaves_alone_what_is_to_stay() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    for number in 1..=4 {
        put(&mut world, "alpha", &format!("p-web-{number}"), "");
    }
    let stay = ["web.4", "web.3", "web.2"].map(slot).into();
    let better = rebalance(&project("services: {web: {scale: 4}}"), &hosts, &world, &Request::default(), &stay, 10);
    assert_eq!(better.moves.iter().map(|one| one.slot.to_string()).collect::<Vec<_>>(), ["web.1"]);
}

#[test]
fn rebalancing_counts_all_that_a_host_has_where_services_are_even() {
    let there = [("alpha", "p-a-1"), ("alpha", "p-b-1"), ("alpha", "p-c-1"), ("alpha", "p-d-1")];
    let services = "services: {a: , b: , c: , d: }";
    check_rebalance(services, &["alpha", "beta"], &there, 10, "c.1 alpha→beta, d.1 alpha→beta; 0–4 → 2–2");
}

#[test]
fn rebalancing_leaves_alone_what_has_its_data_on_its_host_or_is_tied_to_another() {
    let hosts = hosts(&["alpha", "beta"]);
    let mut world = empty(&hosts);
    for number in 1..=2 {
        put(&mut world, "alpha", &format!("p-db-{number}"), "mount=p_data");
    }
    put(&mut world, "alpha", "p-app-1", "");
    put(&mut world, "alpha", "p-side-1", "");
    let project = project(
        "{services: {db: {scale: 2, volumes: [{type: volume, source: data, target: /data}]}, app: , side: {network_mode: service:app}}, volumes: {data: }}",
    );
    let better = rebalance(&project, &hosts, &world, &Request::default(), &BTreeSet::new(), 10);
    assert_eq!(better.moves, Vec::new());
}

/// What `ps` says beside the list.
fn unmet_texts(project: &Project, hosts: &[Host], world: &World) -> Vec<String> {
    let placement = place(project, hosts, world, &known(&[("db.1", "beta"), ("web.1", "beta")]));
    mcompose::placement::unmet(project, &placement, world).iter().map(|(slot, why)| format!("{slot} {why}")).collect()
}

#[test]
fn replicas_that_wait_for_a_host_or_cannot_leave_it_are_told_with_the_reason() {
    let project =
        project("services: {db: {volumes: [{type: volume, source: data, target: /data}]}, web: {}}\nvolumes: {data: {}}");
    let mut world = empty(&hosts(&["alpha", "beta"]));
    put(&mut world, "beta", "p-db-1", "mount=p_data");
    put(&mut world, "beta", "p-web-1", "restarting=7");
    let drained = unmet_texts(&project, &hosts(&["alpha", "beta drain"]), &world);
    assert!(drained[0].starts_with("db.1 is held on beta: ") && drained[0].contains("p_data"), "{drained:?}");
    let active = unmet_texts(&project, &hosts(&["alpha", "beta"]), &world);
    assert_eq!(active, ["web.1 is started again by its engine on beta, 7 times so far"]);
    cut(&mut world, "beta");
    let silent = unmet_texts(&project, &hosts(&["alpha", "beta"]), &world);
    assert_eq!(
        silent,
        ["db.1 is held on beta, which does not answer: its volume `p_data` is there", "web.1 is on beta, which does not answer"]
    );
}
