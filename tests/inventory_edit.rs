//! Edits of `hosts.toml`: what changes, and that all else stays as it was written.

use std::collections::BTreeMap;

use mcompose::inventory::edit::{EditError, LabelChange, NewHost, add, label, remove, set_availability, set_role};
use mcompose::project::{Availability, HostName, Role};

const FILE: &str = r#"# The fleet.

[defaults]
user = "root" # everywhere

# The old one.
[hosts.alpha]
address = "ssh://alpha"   # first floor
availability = "active" # for now
labels = { zone = "a" }

# East wing
# --------

# The new one.
[hosts.beta]
address = "ssh://beta"

[network]
driver = "overlay"
"#;

/// The lines that differ: those that went, marked −, then those that came, marked +.
fn check(edited: Result<String, EditError>, expect: &str) {
    let got = match edited {
        Ok(text) => difference(FILE, &text),
        Err(error) => error.to_string(),
    };
    assert_eq!(got.trim(), expect.trim());
}

fn difference(old: &str, new: &str) -> String {
    let (mut old, mut new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    for _ in 0..2 {
        let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        old.drain(..same);
        new.drain(..same);
        old.reverse();
        new.reverse();
    }
    let gone = old.iter().map(|line| format!("-{line}"));
    gone.chain(new.iter().map(|line| format!("+{line}"))).collect::<Vec<_>>().join("\n")
}

fn host(name: &str) -> NewHost {
    NewHost {
        name: HostName::new(name).expect("a good name"),
        address: format!("ssh://{name}"),
        role: None,
        labels: BTreeMap::new(),
        advertise: None,
        identity: None,
        jump: Vec::new(),
    }
}

#[test]
fn a_host_is_added_after_the_others() {
    let mut gamma = host("gamma");
    gamma.role = Some(Role::Manager);
    gamma.labels.insert("zone".to_owned(), "b".to_owned());
    gamma.jump = vec!["gate".to_owned(), "inner".to_owned()];
    check(
        add(FILE, &gamma),
        r#"
+[hosts.gamma]
+address = "ssh://gamma"
+role = "manager"
+jump = ["gate", "inner"]
+labels = { zone = "b" }
+
"#,
    );
    check(add(FILE, &host("beta")), "there is a host `beta` in the inventory already");
}

#[test]
fn the_first_host_makes_the_file() {
    assert_eq!(add("", &host("a")).expect("it is TOML"), "[hosts.a]\naddress = \"ssh://a\"\n");
    assert_eq!(
        add("hosts = { a = { address = \"ssh://a\" } }\n", &host("b")).expect("it is TOML"),
        "hosts = { a = { address = \"ssh://a\" } , b = { address = \"ssh://b\" } }\n"
    );
}

#[test]
fn a_host_goes_with_its_own_comment_and_no_other() {
    check(
        remove(FILE, "beta"),
        r#"
-# The new one.
-[hosts.beta]
-address = "ssh://beta"
-
"#,
    );
    check(remove(FILE, "betta"), "there is no host `betta` in the inventory; did you mean `beta`?");
}

#[test]
fn availability_keeps_the_comment_beside_it() {
    check(
        set_availability(FILE, "alpha", Availability::Drain),
        "-availability = \"active\" # for now\n+availability = \"drain\" # for now",
    );
    check(set_availability(FILE, "beta", Availability::Pause), "+availability = \"pause\"");
    check(set_availability(FILE, "beta", Availability::Active), "");
    check(set_role(FILE, "alpha", Some(Role::Worker)), "+role = \"worker\"");
    check(set_role(FILE, "alpha", None), "");
}

#[test]
fn labels_are_set_and_unset() {
    let change = |texts: &[&str]| texts.iter().map(|text| LabelChange::parse(text).expect("a good change")).collect::<Vec<_>>();
    check(label(FILE, "alpha", &change(&["disk=ssd", "zone-"])), "-labels = { zone = \"a\" }\n+labels = { disk = \"ssd\" }");
    check(label(FILE, "alpha", &change(&["zone-"])), "-labels = { zone = \"a\" }");
    check(label(FILE, "beta", &change(&["com.example.a=b=c"])), "+labels = { \"com.example.a\" = \"b=c\" }");
    check(LabelChange::parse("zone").map(|_| String::new()), "`zone` is no label: it is KEY=VALUE, or KEY- to take it away");
}
