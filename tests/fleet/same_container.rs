//! A container that mcompose makes is the one that docker compose 2.40.3 makes, as `docker inspect` shows it: from one file, on
//! one engine, first by one program and then by the other. The files use every attribute of a service that an engine can honour;
//! what only newer ones know is compared on those (`tests/engine.sh` fetches one) and is refused on others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::deliberate::DIFFERENCES;
use crate::harness::FleetHost;
use crate::local::Local;

/// What can be started here.
const STARTED: &str = r#"
name: same
services:
  plain:
    image: mcompose-demo:1
  words:
    image: mcompose-demo:1
    entrypoint: [run]
    command: demo serve
    working_dir: /data
    user: "0:0"
    group_add: [65534, 1000]
    hostname: wordy
    domainname: example.org
    tty: true
    stdin_open: true
    init: true
    platform: linux/amd64
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    environment: {Z: last, A: 1, EMPTY: "", UNSET: null}
    env_file: words.env
    labels: {org.example.one: "1", org.example.two: two words}
    label_file: words.labels
    healthcheck: {test: "true", interval: 10s, timeout: 2s, retries: 4, start_period: 1s}
    read_only: true
    tmpfs: [/run, "/scratch:size=4m,mode=1777"]
    restart: on-failure:3
    logging: {driver: json-file, options: {max-size: 1m, max-file: "2"}}
    container_name: same-words
    attach: false
    expose: ["7000", "7100-7102/udp"]
    ports: ["127.0.0.1:18080:80", "18081-18082:81-82/udp", 90, {target: 91, published: 18091, protocol: tcp, mode: host, host_ip: 127.0.0.1, name: web, app_protocol: http}]
    depends_on: {plain: {condition: service_started, restart: true}, unchecked: {condition: service_started, required: false}}
  unchecked:
    image: mcompose-demo:1
    healthcheck: {disable: true}
    restart: unless-stopped
    logging: {driver: none}
    init: false
  commandless:
    image: mcompose-demo:1
    entrypoint: []
    command: [demo, serve]
    healthcheck: {test: [CMD, "true"]}
    restart: "no"
  limits:
    image: mcompose-demo:1
    cpus: 0.29
    cpuset: "0"
    cpu_shares: 512
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: 96m
    mem_swappiness: 10
    pids_limit: 50
    oom_score_adj: 100
    shm_size: 8m
    ulimits: {nproc: 1000, nofile: {soft: 1000, hard: 2000}}
    cgroup: private
    runtime: runc
  shares:
    image: mcompose-demo:1
    cpu_period: 50000
    cpu_quota: 25000
    deploy:
      resources:
        limits: {memory: 70m, pids: 60}
        reservations: {memory: 20m, cpus: "0.1"}
      restart_policy: {condition: on-failure, max_attempts: 2}
      labels: {not.on: container}
  deployed:
    image: mcompose-demo:1
    deploy:
      replicas: 2
      resources: {limits: {cpus: "0.25"}}
      restart_policy: {condition: any}
  rights:
    image: mcompose-demo:1
    cap_add: [NET_ADMIN, SYS_TIME]
    cap_drop: [MKNOD]
    security_opt: ["no-new-privileges:true", "seccomp:unconfined"]
    devices: ["/dev/null:/dev/nothing", "/dev/zero:/dev/o:r"]
    device_cgroup_rules: ["c 1:3 mr"]
    sysctls: {net.ipv4.ip_unprivileged_port_start: 0}
    ipc: shareable
    uts: host
    userns_mode: host
    pid: host
  net:
    image: mcompose-demo:1
    hostname: nety
    dns: [10.0.0.53, 10.0.0.54]
    dns_opt: [use-vc]
    dns_search: [example.org, example.net]
    extra_hosts: ["one=10.0.0.1", "two:10.0.0.2", "gate=host-gateway", "six=::1"]
    links: ["plain:flat", "words"]
    external_links: [same-words, "same-words:other"]
    mac_address: 02:42:ac:11:65:43
    networks:
      default:
      fixed:
        aliases: [a, b]
        ipv4_address: 10.250.0.20
        ipv6_address: "fd00:250::20"
        link_local_ips: [169.254.8.8]
        priority: 100
  offline: {image: "mcompose-demo:1", network_mode: none}
  hosty: {image: "mcompose-demo:1", network_mode: host}
  bridged: {image: "mcompose-demo:1", network_mode: bridge, mac_address: "02:42:ac:11:65:44"}
  beside:
    image: mcompose-demo:1
    network_mode: service:plain
    depends_on: [words]
    ipc: service:rights
    pid: service:plain
    volumes_from: ["named:ro", "container:same-words"]
  named: {image: "mcompose-demo:1", volumes: ["named:/named", "/loose"]}
  mounts:
    image: mcompose-demo:1
    volumes:
      - named:/named
      - named:/named-ro:ro
      - /anonymous
      - ./src:/src
      - ./src:/src-z:ro,z
      - ./made:/made
      - {type: bind, source: ./src, target: /long, read_only: true, bind: {propagation: rprivate}}
      - {type: bind, source: ./src, target: /strict, bind: {create_host_path: false}}
      - {type: bind, source: ./src, target: /consistent, consistency: cached}
      - {type: volume, source: dressed, target: /dressed, volume: {nocopy: true}}
      - {type: volume, target: /anonymous-long}
      - {type: volume, source: named, target: /labelled, volume: {labels: {a: b}}}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o700}}
      - {type: tmpfs, target: /t-plain}
      - outside:/outside
    secrets: [file, {source: file, target: elsewhere, mode: 0400}, {source: file, target: /abs/file}]
    configs: [conf, {source: conf, target: /etc/conf.d}]
volumes:
  named:
  dressed: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m"}, labels: {volume.label: v}, name: same-dressed-up}
  outside: {external: true, name: outside}
networks:
  default:
  fixed:
    driver: bridge
    driver_opts: {com.docker.network.bridge.name: mcfixed0}
    enable_ipv6: true
    internal: true
    attachable: true
    labels: {network.label: n}
    ipam: {driver: default, config: [{subnet: 10.250.0.0/24, gateway: 10.250.0.1, ip_range: 10.250.0.0/25, aux_addresses: {printer: 10.250.0.9}}, {subnet: "fd00:250::/64"}]}
secrets: {file: {file: ./src/file}}
configs: {conf: {file: ./src/file}}
"#;

/// What the engine takes in a request, and this machine's kernel need not be able to run.
const CREATED: &str = r#"
name: same
services:
  all-powerful:
    image: mcompose-demo:1
    privileged: true
    security_opt: ["systempaths=unconfined", "label:disable"]
    ipc: private
    cgroup: host
    stop_grace_period: 0s
    cap_add: [ALL]
  blocks:
    image: mcompose-demo:1
    blkio_config:
      weight: 300
      weight_device: [{path: /dev/vda, weight: 400}]
      device_read_bps: [{path: /dev/vda, rate: 12mb}]
      device_read_iops: [{path: /dev/vda, rate: 120}]
      device_write_bps: [{path: /dev/vda, rate: 1024k}]
      device_write_iops: [{path: /dev/vda, rate: 30}]
    oom_kill_disable: true
    mem_limit: 64m
    cgroup_parent: elsewhere
    mem_swappiness: 0
  profiled: {image: "mcompose-demo:1", security_opt: ["seccomp=src/profile.json", "apparmor=unconfined"]}
  given:
    image: mcompose-demo:1
    configs: [{source: text, target: /etc/text, uid: "3", gid: "4", mode: 0440}, variable]
    secrets: [variable]
  windows:
    image: mcompose-demo:1
    cpu_count: 2
    cpu_percent: 50
    isolation: default
  modes:
    image: mcompose-demo:1
    restart: always
    deploy: {resources: {limits: {memory: 30m, cpus: "0.1"}}}
    mem_limit: 30m
    cpus: "0.1"
  extremes:
    image: mcompose-demo:1
    memswap_limit: -1
    mem_limit: 20m
    pids_limit: -1
    ulimits: {core: -1}
    init: false
    logging: {options: {max-size: 1k}}
    healthcheck: {interval: 3s}
    entrypoint: ""
    command: demo serve
  bridged:
    image: mcompose-demo:1
    command: []
    healthcheck: {test: NONE}
    env_file: [{path: absent.env, required: false}]
    ports: ["19000-19001:80"]
    network_mode: bridge
    extra_hosts: {a: 1.2.3.4, b: [1.2.3.5, "::2"]}
    dns: 1.1.1.1
    tmpfs: /x
    user: nobody
    userns_mode: ""
    restart: ""
    external_links: []
    annotations: {}
  every-gpu: {image: "mcompose-demo:1", gpus: all}
  gpus:
    image: mcompose-demo:1
    gpus: [{driver: nvidia, count: 2, capabilities: [utility], options: {virtualization: "false"}}, {device_ids: ["0", GPU-1]}]
  reserved:
    image: mcompose-demo:1
    deploy:
      resources:
        reservations:
          devices: [{capabilities: [gpu, compute], driver: nvidia, count: all, options: {a: b}}, {device_ids: ["1"], capabilities: [gpu]}]
configs: {text: {content: words}, variable: {environment: HOME}}
secrets: {variable: {environment: HOME}}
"#;

/// What engines know from this API version on.
const NEWER_API: (u32, u32) = (1, 49);
const NEWER_STARTED: &str = r#"
name: same
services:
  notes:
    image: mcompose-demo:1
    annotations: {org.example.note: one}
    networks: [default, second]
    healthcheck: {test: "true", interval: 20s, start_period: 10s, start_interval: 2s}
  net:
    image: mcompose-demo:1
    networks:
      default: {interface_name: eth7, mac_address: "02:42:ac:11:65:45", driver_opts: {com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1}}
      second: {gw_priority: 5, priority: 10}
networks:
  default:
  second: {enable_ipv4: true, enable_ipv6: true}
"#;
/// What is below a volume or in an image is looked for at the start.
const NEWER_CREATED: &str = r#"
name: same
services:
  tools: {image: "mcompose-demo:1", volumes: [{type: image, source: "mcompose-demo:1", target: /image}]}
  mounts:
    image: mcompose-demo:1
    volumes:
      - {type: bind, source: ./src, target: /shallow, bind: {recursive: disabled}}
      - {type: bind, source: ./src, target: /writable, read_only: true, bind: {recursive: writable}}
      - {type: bind, source: ./src, target: /readonly, read_only: true, bind: {recursive: readonly, propagation: rprivate}}
      - {type: volume, source: part, target: /part, volume: {subpath: below/here}}
      - {type: image, source: "mcompose-demo:1", target: /image-part, image: {subpath: bin}}
volumes:
  part:
"#;
const FILES: [(&str, &str); 4] = [
    ("src/file", "content\n"),
    ("src/profile.json", "{\n  \"syscalls\": [],\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}\n"),
    ("words.env", "FROM_FILE=1\n"),
    ("words.labels", "file.label=yes\n"),
];

#[test]
fn started_containers_networks_and_volumes_are_those_of_docker_compose() {
    check(STARTED, &["up", "-d"], &["net", "plain", "bridged", "words", "beside"]);
}

#[test]
fn created_containers_are_those_of_docker_compose() {
    check(CREATED, &["create"], &["given"]);
}

#[test]
fn what_only_newer_engines_know_is_that_of_docker_compose_or_refused() {
    let (started, created) = (local(NEWER_STARTED), local(NEWER_CREATED));
    if api_of(started.host()) >= NEWER_API {
        compare(&started, &["up", "-d"], &[]);
        compare(&created, &["create"], &[]);
        return;
    }
    let said = started.mcompose_fails(&["create"]) + &created.mcompose_fails(&["create"]);
    for attribute in
        ["volumes[].bind.recursive` (API 1.44)", "volumes[].image` (API 1.48)", "networks.*.interface_name` (API 1.49)"]
    {
        assert!(said.contains(attribute), "{attribute}: {said}");
    }
    for inert in ["annotations", "healthcheck.start_interval", "enable_ipv4"] {
        assert!(said.contains(inert), "{inert}: {said}");
    }
}

fn api_of(host: &FleetHost) -> (u32, u32) {
    let version = host.get("/version");
    let (major, minor) = version["ApiVersion"].as_str().and_then(|text| text.split_once('.')).expect("it tells its API version");
    (major.parse().expect("it is a number"), minor.parse().expect("it is a number"))
}

fn local(compose: &str) -> Local {
    let files = [&[("compose.yaml", compose)], FILES.as_slice()].concat();
    Local::new(&files)
}

fn check(compose: &str, verb: &[&str], deliberate: &[&str]) {
    let count = compare(&local(compose), verb, deliberate);
    assert!(count > 500, "only {count} values were compared");
}

/// `deliberate`: services that differ on purpose. Returns how many values docker compose's containers, networks and volumes have.
fn compare(local: &Local, verb: &[&str], deliberate: &[&str]) -> usize {
    let host = local.host();
    let made = host.api("POST", "/volumes/create", Some(&serde_json::json!({ "Name": "outside" })));
    assert!(made.is_success(), "{}", made.text());
    local.docker_compose(verb);
    let theirs = seen(host);
    local.docker_compose(&["down", "-v", "-t", "0"]);
    local.mcompose(verb);
    let ours = seen(host);
    local.mcompose(&["down", "-v", "-t", "0"]);
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let different: Vec<&String> = keys.into_iter().filter(|key| theirs.get(*key) != ours.get(*key)).collect();
    let is_meant = |path: &str| DIFFERENCES.iter().any(|difference| path.starts_with(difference.path));
    let show = |path: &&&String| {
        let value = |side: &BTreeMap<String, String>| side.get(**path).cloned().unwrap_or_else(|| "nothing".to_owned());
        format!("{path}: docker compose {}, mcompose {}", value(&theirs), value(&ours))
    };
    let faults: Vec<String> = different.iter().filter(|path| !is_meant(path)).map(|path| show(&path)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let is_there = |path: &str| different.iter().any(|found| found.starts_with(path));
    let api = api_of(host);
    let expected = DIFFERENCES
        .iter()
        .filter(|one| one.since <= api && deliberate.iter().any(|service| one.path.starts_with(&format!("{service}."))))
        .map(|one| one.path);
    let gone: Vec<&str> = expected.filter(|path| !is_there(path)).collect();
    assert!(gone.is_empty(), "no longer different: {gone:?}");
    theirs.len()
}

/// Everything that the engine tells of the project's containers, networks and volumes, by path: `web.Config.Tty`.
fn seen(host: &FleetHost) -> BTreeMap<String, String> {
    let containers = host.containers_of(PROJECT);
    let containers: Vec<Value> = containers.iter().map(|name| host.get(&format!("/containers/{name}/json"))).collect();
    let networks: Vec<Value> = host.networks_of(PROJECT).iter().map(|name| host.get(&format!("/networks/{name}"))).collect();
    let volumes: Vec<Value> = host.volumes_of(PROJECT).iter().map(|name| host.get(&format!("/volumes/{name}"))).collect();
    let all = containers.iter().map(|one| &one["Name"]).chain(networks.iter().map(|one| &one["Name"]));
    let ids: Vec<(&str, &str)> = containers
        .iter()
        .chain(&networks)
        .zip(all)
        .filter_map(|(one, name)| Some((one["Id"].as_str()?, name.as_str()?)))
        .collect();
    let mut picture = Picture { ids, values: BTreeMap::new() };
    for container in &containers {
        let service = container["Config"]["Labels"]["com.docker.compose.service"].as_str().expect("it has its labels");
        let number = container["Config"]["Labels"]["com.docker.compose.container-number"].as_str().expect("it has its labels");
        let name = if number == "1" { service.to_owned() } else { format!("{service}-{number}") };
        for part in ["Name", "Path", "Args", "Config", "HostConfig", "NetworkSettings", "Mounts", "Platform", "Driver"] {
            picture.add(&format!("{name}.{part}"), part, &container[part]);
        }
    }
    for (kind, objects) in [("network", &networks), ("volume", &volumes)] {
        for object in objects {
            picture.add(&format!("{kind} {}", object["Name"].as_str().unwrap_or_default()), kind, object);
        }
    }
    picture.values
}

const PROJECT: &str = "same";
/// What the engine chooses, or no two containers share.
const THE_ENGINES_OWN: [&str; 17] = [
    "Id",
    "Created",
    "CreatedAt",
    "EndpointID",
    "NetworkID",
    "SandboxID",
    "SandboxKey",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "MacAddress",
    "Containers",
    "Subnet",
    "Mountpoint",
];
/// Lists in which the order means nothing: docker compose's own is that of Go's maps, another at each run.
const SETS: [&str; 8] = ["Aliases", "Binds", "Env", "ExtraHosts", "Links", "Mounts", "Ulimits", "Devices"];

struct Picture<'a> {
    /// Of containers and networks, with their names.
    ids: Vec<(&'a str, &'a str)>,
    values: BTreeMap<String, String>,
}

impl Picture<'_> {
    fn add(&mut self, path: &str, key: &str, value: &Value) {
        match value {
            // No address is asked for.
            Value::Null if key == "IPAMConfig" => self.put(path, "{}"),
            Value::String(text) if key == "Source" && text.contains("/overlay2/") => self.put(path, "an image"),
            Value::Object(map) if map.is_empty() => self.put(path, "{}"),
            Value::Object(map) => self.entries(path, map),
            Value::Array(items) if items.is_empty() => self.put(path, "[]"),
            Value::Array(items) if SETS.contains(&key) => {
                for item in items {
                    let place = ["Target", "Destination"].iter().find_map(|key| item[key].as_str());
                    match place {
                        Some(place) => self.add(&format!("{path}[{place}]"), "", item),
                        None => self.put(&format!("{path}[{}]", self.plain(&item.to_string())), "there"),
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(&format!("{path}[{index}]"), "", item);
                }
            }
            Value::String(text) if key == "com.docker.compose.depends_on" => {
                let parts: BTreeSet<&str> = text.split(',').collect();
                self.put(path, &format!("{parts:?}"));
            }
            Value::String(text) if key == "HostPort" && text.parse().is_ok_and(|port: u16| port >= 32768) => {
                self.put(path, "of the engine's choice");
            }
            Value::String(text) if key == "Name" && is_anonymous(text) => self.put(path, "anonymous"),
            value => self.put(path, &self.plain(&value.to_string())),
        }
    }

    fn entries(&mut self, path: &str, map: &Map<String, Value>) {
        for (key, value) in map {
            // The address that is asked for counts; those that the engine gave do not.
            let is_asked_for = path.ends_with("Config") || path.contains("fixed.IPAM");
            let is_given = THE_ENGINES_OWN.contains(&key.as_str()) && !is_asked_for;
            if !is_given && !key.starts_with("io.mcompose.") {
                self.add(&format!("{path}.{key}"), key, value);
            }
        }
    }

    fn put(&mut self, path: &str, value: &str) {
        self.values.insert(path.to_owned(), value.to_owned());
    }

    /// With names in the places of ids.
    fn plain(&self, text: &str) -> String {
        let named = |text: String, (id, name): &(&str, &str)| text.replace(id, name).replace(&id[..12], name);
        let text = self.ids.iter().fold(text.to_owned(), named);
        anonymous(&text)
    }
}

/// Without the name of an anonymous volume, which is as long as a hash.
fn anonymous(text: &str) -> String {
    let is_name = |word: &&str| is_anonymous(word);
    let words = text.split(['/', '"', ':']).filter(is_name);
    words.filter(|_| text.contains("/volumes/")).fold(text.to_owned(), |text, word| text.replace(word, "anonymous"))
}

fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
