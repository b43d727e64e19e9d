//! What `hosts.toml` means, and what is said of one that means nothing.

use insta::assert_snapshot;
use mcompose::inventory::{Context, Inventory, parse};
use mcompose::project::Rebalancing;

const FILES: &[&str] = &["/etc/fleet/ca.pem", "/etc/fleet/cert.pem", "/etc/fleet/key.pem", "/home/me/.ssh/fleet"];

fn read(text: &str) -> Result<Inventory, String> {
    let context = Context { folder: "/etc/fleet", home: Some("/home/me"), exists: &|path| FILES.contains(&path) };
    parse("hosts.toml", text, &context).map_err(|failure| failure.render(false))
}

/// Hosts one by line, as JSON.
fn hosts(text: &str) -> String {
    match read(text) {
        Ok(inventory) => {
            let lines = inventory.hosts.iter().map(|host| serde_json::to_string(host).expect("a host is JSON"));
            lines.chain([format!("network: {:?}", inventory.network.driver)]).collect::<Vec<_>>().join("\n")
        }
        Err(rendered) => rendered,
    }
}

fn faults(text: &str) -> String {
    match read(text) {
        Ok(_) => "no fault".to_owned(),
        Err(rendered) => rendered,
    }
}

#[test]
fn hosts_stand_in_the_order_of_the_file_with_defaults_applied() {
    assert_snapshot!(hosts(
        r#"
        [defaults]
        user = "root"
        identity = "~/.ssh/fleet"
        jump = "gate"
        labels = { zone = "a", rack = 7 }

        [hosts.beta]
        address = "ssh://beta"
        role = "manager"

        [hosts.alpha]
        address = "ssh://me@alpha:2222"
        availability = "drain"
        advertise = "10.0.0.1"
        labels = { zone = "b", gpu = true }
        jump = []

        [network]
        driver = "overlay"
        "#,
    ), @r#"
    {"name":"beta","address":{"Ssh":{"user":"root","host":"beta","port":null}},"role":"manager","availability":"active","labels":{"rack":"7","zone":"a"},"advertise":null,"identity":"/home/me/.ssh/fleet","jump":["gate"]}
    {"name":"alpha","address":{"Ssh":{"user":"me","host":"alpha","port":2222}},"role":null,"availability":"drain","labels":{"gpu":"true","rack":"7","zone":"b"},"advertise":"10.0.0.1","identity":"/home/me/.ssh/fleet","jump":[]}
    network: Overlay
    "#);
}

#[test]
fn tls_files_are_found_beside_the_inventory() {
    assert_snapshot!(hosts(
        r#"
        [defaults.tls]
        ca = "ca.pem"
        cert = "cert.pem"
        key = "/etc/fleet/key.pem"

        [hosts.a]
        address = "tcp://10.0.0.1"
        [hosts.b]
        address = "tcp://10.0.0.2:4243"
        tls = { ca = "ca.pem" }
        [hosts.c]
        address = "unix:///run/docker.sock"
        "#,
    ), @r#"
    {"name":"a","address":{"Tcp":{"host":"10.0.0.1","port":2376,"tls":{"ca":"/etc/fleet/ca.pem","cert":"/etc/fleet/cert.pem","key":"/etc/fleet/key.pem"}}},"role":null,"availability":"active","labels":{},"advertise":null,"identity":null,"jump":[]}
    {"name":"b","address":{"Tcp":{"host":"10.0.0.2","port":4243,"tls":{"ca":"/etc/fleet/ca.pem","cert":null,"key":null}}},"role":null,"availability":"active","labels":{},"advertise":null,"identity":null,"jump":[]}
    {"name":"c","address":{"Unix":{"path":"/run/docker.sock"}},"role":null,"availability":"active","labels":{},"advertise":null,"identity":null,"jump":[]}
    network: Auto
    "#);
}

#[test]
fn unknown_keys_say_what_was_meant() {
    assert_snapshot!(faults("[hosts.a]\nadress = \"ssh://a\"\nlabel = {}\n[netwrok]\n"), @r#"
    error: hosts.a: `address` is missing
     --> hosts.toml:1:8
      |
    1 | [hosts.a]
      |        ^
      |
      = hint: address = "ssh://a"

    error: hosts.a.adress: unknown key
     --> hosts.toml:2:1
      |
    2 | adress = "ssh://a"
      | ^^^^^^ did you mean `address`?

    error: hosts.a.label: unknown key
     --> hosts.toml:3:1
      |
    3 | label = {}
      | ^^^^^ did you mean `labels`?

    error: netwrok: unknown key
     --> hosts.toml:4:2
      |
    4 | [netwrok]
      |  ^^^^^^^ did you mean `network`?
    "#);
}

#[test]
fn wrong_types_and_words_are_named_all_at_once() {
    assert_snapshot!(faults(
        "[defaults]\nport = 70000\nuser = \"a b\"\n[hosts.a]\naddress = 5\nrole = \"manger\"\nlabels = [\"zone=a\"]\njump = true\n",
    ), @r#"
    error: defaults.port: must be a whole number from 1 to 65535
     --> hosts.toml:2:8
      |
    2 | port = 70000
      |        ^^^^^ this is a whole number

    error: `a b` is not a user name
     --> hosts.toml:3:8
      |
    3 | user = "a b"
      |        ^^^^^

    error: hosts.a.address: must be a text
     --> hosts.toml:5:11
      |
    5 | address = 5
      |           ^ this is a whole number

    error: hosts.a.role: `manger` is none of `manager`, `worker`
     --> hosts.toml:6:8
      |
    6 | role = "manger"
      |        ^^^^^^^^ did you mean `manager`?

    error: hosts.a.labels: must be a table
     --> hosts.toml:7:10
      |
    7 | labels = ["zone=a"]
      |          ^^^^^^^^^^ this is a list

    error: hosts.a.jump: must be a text or a list of texts
     --> hosts.toml:8:8
      |
    8 | jump = true
      |        ^^^^ this is a boolean
    "#);
}

#[test]
fn two_hosts_at_one_address_are_refused() {
    assert_snapshot!(faults("[hosts.a]\naddress = \"ssh://me@box\"\n\n[hosts.b]\naddress = \"ssh://Box:22\"\n"), @r#"
    error: hosts `a` and `b` have one address
     --> hosts.toml:5:11
      |
    2 | address = "ssh://me@box"
      |           -------------- first here
    ...
    5 | address = "ssh://Box:22"
      |           ^^^^^^^^^^^^^^ `ssh://Box:22` again
      |
      = hint: a host is listed once; for one engine under two names use labels
    "#);
}

#[test]
fn names_and_addresses_are_checked() {
    assert_snapshot!(faults("[hosts.\"a b\"]\naddress = \"ssh://a\"\n[hosts.b]\naddress = \"http://b\"\n[hosts.c]\nrole = \"worker\"\n"), @r#"
    error: `a b` is not a valid host name: it must match [a-zA-Z0-9][a-zA-Z0-9._-]*
     --> hosts.toml:1:8
      |
    1 | [hosts."a b"]
      |        ^^^^^

    error: `http` is no scheme of an address: it is ssh://, tcp:// or unix://
     --> hosts.toml:4:11
      |
    4 | address = "http://b"
      |           ^^^^^^^^^^

    error: hosts.c: `address` is missing
     --> hosts.toml:5:8
      |
    5 | [hosts.c]
      |        ^
      |
      = hint: address = "ssh://c"
    "#);
}

#[test]
fn missing_files_and_half_tls_are_named() {
    assert_snapshot!(faults(
        "[hosts.a]\naddress = \"tcp://a\"\ntls = { ca = \"no.pem\", cert = \"cert.pem\" }\n[hosts.b]\naddress = \"ssh://b\"\nidentity = \"~/gone\"\ntls = { ca = \"ca.pem\" }\n",
    ), @r#"
    error: hosts.a.tls: `cert` and `key` belong together
     --> hosts.toml:3:1
      |
    3 | tls = { ca = "no.pem", cert = "cert.pem" }
      | ^^^

    error: hosts.a.tls.ca: there is no file `/etc/fleet/no.pem`
     --> hosts.toml:3:14
      |
    3 | tls = { ca = "no.pem", cert = "cert.pem" }
      |              ^^^^^^^^

    error: hosts.b.identity: there is no file `/home/me/gone`
     --> hosts.toml:6:12
      |
    6 | identity = "~/gone"
      |            ^^^^^^^^

    error: `tls` belongs to tcp:// addresses; `ssh://b` is none
     --> hosts.toml:7:1
      |
    5 | address = "ssh://b"
      |           ---------
    6 | identity = "~/gone"
    7 | tls = { ca = "ca.pem" }
      | ^^^
    "#);
}

#[test]
fn an_address_to_advertise_is_an_address() {
    assert_snapshot!(faults("[hosts.a]\naddress = \"ssh://a\"\nadvertise = \"10.0.0.1:2377\"\n"), @r#"
    error: `10.0.0.1:2377` is no address to advertise
     --> hosts.toml:3:13
      |
    3 | advertise = "10.0.0.1:2377"
      |             ^^^^^^^^^^^^^^^
      |
      = hint: the host's address in the network that all hosts share, without a port
    "#);
}

#[test]
fn an_inventory_without_hosts_is_refused() {
    assert_snapshot!(faults(""), @r#"
    error: the inventory lists no hosts
     --> hosts.toml:1:1
      = hint: a host is `[hosts.NAME]` with `address = "ssh://user@host"` below it
    "#);
    assert_snapshot!(faults("[hosts]\n"), @r#"
    error: the inventory lists no hosts
     --> hosts.toml:1:2
      |
    1 | [hosts]
      |  ^^^^^
      |
      = hint: a host is `[hosts.NAME]` with `address = "ssh://user@host"` below it
    "#);
}

#[test]
fn what_is_not_toml_is_shown_where_it_breaks() {
    assert_snapshot!(faults("[hosts.a]\naddress = ssh://a\n"), @r"
    error: not TOML: string values must be quoted, expected literal string
     --> hosts.toml:2:11
      |
    2 | address = ssh://a
      |           ^^^^^^^
    ");
    assert_snapshot!(faults("hosts:\n  a: ssh://a\n"), @r"
    error: not TOML: key with no value, expected `=`
     --> hosts.toml:1:7
      |
    1 | hosts:
      |       ^
    ");
}

#[test]
fn a_label_with_dots_has_to_be_quoted() {
    assert_snapshot!(faults("[hosts.a]\naddress = \"ssh://a\"\nlabels.com.example = \"x\"\n"), @r#"
    error: hosts.a.labels.com: a label cannot be a table
     --> hosts.toml:3:8
      |
    3 | labels.com.example = "x"
      |        ^^^
      |
      = hint: a label with dots in its name is written in quotes: "com.example.zone" = …
    "#);
}

#[test]
fn what_is_too_large_to_be_shown_is_named_by_its_place() {
    let long = format!("# one\n\na = [{}\n", "é".repeat(20_000));
    assert_snapshot!(faults(&long), @r"
    error: not TOML: unclosed array, expected `]`
     --> hosts.toml:3:20006
    ");
    assert_snapshot!(faults(&"a".repeat(50_000_000)), @r"
    error: the inventory is larger than 4 MiB
     --> hosts.toml:1:1
    ");
}

#[test]
fn hostile_texts_end_in_an_error() {
    for text in ["[".repeat(100_000), format!("a={}", "[".repeat(100_000)), "\u{0}".to_owned(), "é=".to_owned()] {
        assert!(read(&text).is_err(), "{}", &text[..text.len().min(20)]);
    }
}

#[test]
fn supervision_has_its_times_and_a_host_may_have_its_own() {
    let text = "[supervise]\nheartbeat = \"500ms\"\nlost_after = \"10s\"\n\n[hosts.edge]\naddress = \"ssh://edge\"\nlost_after = \"1m\"\n";
    let context = Context { folder: "/etc", home: None, exists: &|_| true };
    let supervise = parse("hosts.toml", text, &context).expect("it is right").supervise;
    assert_eq!((supervise.heartbeat_ms, supervise.lost_after_ms, supervise.look_every_ms), (500, 10_000, 30_000));
    assert_eq!(supervise.lost_after_ms_of.iter().map(|(host, ms)| (host.as_str(), *ms)).collect::<Vec<_>>(), [("edge", 60_000)]);

    let supervise =
        parse("hosts.toml", &text.replacen('\n', "\nrebalance = \"auto\"\n", 1), &context).expect("it is right").supervise;
    assert_eq!(supervise.rebalance, Rebalancing::Auto);

    let wrong = "[supervise]\nlost_after = \"soon\"\nlook_evry = \"1s\"\n\n[hosts.edge]\naddress = \"ssh://edge\"\nlost_after = \"1ms\"\n";
    let failure = parse("hosts.toml", wrong, &context).expect_err("three faults");
    let said: Vec<&str> = failure.faults.iter().map(|fault| fault.message.as_str()).collect();
    let expect = [
        "supervise.lost_after: `soon` is no duration that will do",
        "supervise.look_evry: unknown key",
        "hosts.edge.lost_after: `1ms` is no duration that will do",
    ];
    assert_eq!(said, expect);
}
