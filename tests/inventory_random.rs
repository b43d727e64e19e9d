//! Whatever stands in hosts.toml, reading and editing end, and edits say what they were to say.

use std::collections::BTreeMap;

use mcompose::inventory::edit::{LabelChange, NewHost, add, label, remove, set_availability};
use mcompose::inventory::{Context, Inventory, parse};
use mcompose::project::{Availability, HostName};
use proptest::prelude::*;

fn read(text: &str) -> Option<Inventory> {
    let context = Context { folder: "/etc", home: None, exists: &|_| true };
    match parse("hosts.toml", text, &context) {
        Ok(inventory) => Some(inventory),
        Err(failure) => {
            assert!(!failure.render(true).is_empty());
            None
        }
    }
}

/// Pieces that inventories are made of, and pieces that break them.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[hosts.a]\n".to_owned()),
        Just("[hosts.\"é b\"]\n".to_owned()),
        Just("address = \"ssh://a\"\n".to_owned()),
        Just("address = \"tcp://[::1]:1\" # é\n".to_owned()),
        Just("[defaults]\n".to_owned()),
        Just("tls = { ca = 1 }\n".to_owned()),
        Just("labels.zone = 'a'\n".to_owned()),
        Just("jump = [ \"x\", 3, ]\n".to_owned()),
        Just("hosts = 7\n".to_owned()),
        "[a-zé\\[\\]{}=\"'#,. \n\t0-9]{0,12}",
    ]
}

/// An inventory that means something: hosts with comments, labels and empty lines in between.
fn inventory() -> impl Strategy<Value = String> {
    let host = |number: usize| {
        (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(move |(comment, labels, inline)| {
            let above = if comment { "# about the next\n" } else { "" };
            let labels = if labels { "labels = { zone = \"a\" } # where\n" } else { "" };
            match inline {
                true => {
                    format!("{above}[hosts]\nh{number} = {{ address = \"ssh://h{number}\" }}\n").replace("[hosts]\n", "hosts.")
                }
                false => format!("\n{above}[hosts.h{number}]\naddress = \"ssh://h{number}\"\n{labels}"),
            }
        })
    };
    // Dotted keys belong to the root, which ends at the first header.
    (1_usize..6).prop_flat_map(move |count| (0..count).map(host).collect::<Vec<_>>()).prop_map(|mut parts| {
        parts.sort_by_key(|part| !part.contains("hosts.h") || part.contains("[hosts"));
        parts.concat()
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..12)) {
        let text = pieces.concat();
        let _ = read(&text);
        let _ = remove(&text, "a");
        let _ = set_availability(&text, "a", Availability::Drain);
        let _ = label(&text, "a", &[LabelChange::Set { key: "k".to_owned(), value: "v".to_owned() }]);
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else(text in inventory(), pick in any::<prop::sample::Index>()) {
        let before = read(&text).expect("it means something");
        let chosen = pick.get(&before.hosts).clone();
        let name = chosen.name.as_str();
        let others = |inventory: &Inventory| -> BTreeMap<String, String> {
            let others = inventory.hosts.iter().filter(|host| host.name != chosen.name);
            others.map(|host| (host.name.to_string(), format!("{host:?}"))).collect()
        };

        let drained = read(&set_availability(&text, name, Availability::Drain).expect("the host is there")).expect("it is still good");
        prop_assert_eq!(drained.host(name).map(|host| host.availability), Some(Availability::Drain));
        prop_assert_eq!(others(&drained), others(&before));

        let changes = [LabelChange::Set { key: "a.b".to_owned(), value: "x \"y\"".to_owned() }, LabelChange::Unset { key: "zone".to_owned() }];
        let labelled = read(&label(&text, name, &changes).expect("the host is there")).expect("it is still good");
        let labels = labelled.host(name).map(|host| host.labels.clone()).unwrap_or_default();
        prop_assert_eq!(labels, BTreeMap::from([("a.b".to_owned(), "x \"y\"".to_owned())]));
        prop_assert_eq!(others(&labelled), others(&before));

        let removed = remove(&text, name).expect("the host is there");
        match read(&removed) {
            Some(inventory) => prop_assert_eq!(others(&inventory), others(&before)),
            None => prop_assert_eq!(before.hosts.len(), 1),
        }
        let new = NewHost {
            name: HostName::new("new").expect("a good name"),
            address: "ssh://new".to_owned(),
            role: None,
            labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            advertise: None,
            identity: None,
            jump: Vec::new(),
        };
        let added = read(&add(&removed, &new).expect("it is not there")).expect("it is still good");
        prop_assert_eq!(added.hosts.len(), before.hosts.len());
        prop_assert!(added.host("new").is_some());
    }
}
