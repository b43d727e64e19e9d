//! The small languages within a Compose file and beside it, each from a grammar of its own that knows its words and what breaks
//! them: nothing panics, every refusal says why, and what loads is printed so that it loads back to the same.
//!
//! A run has a few thousand texts of each. `MCOMPOSE_FUZZ_SECONDS=600` makes each go on for that long,
//! `MCOMPOSE_FUZZ_SEED` begins it elsewhere; a failure names the text.

#![expect(clippy::disallowed_methods, reason = "a test reads its environment and the clock")]

mod memory;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use mcompose::composefile::{LoadFailure, LoadRequest, Model, model, render, to_json, to_yaml};
use mcompose::inventory::{Context, edit, parse};
use mcompose::project::Availability;
use memory::{Dice, Memory};

/// A second or two of a debug build.
const TEXTS: u64 = 3_000;
const SEED: u64 = 0x2545_f491_4f6c_dd1d;

const PORTS: &[&str] = &[
    "80",
    "8080",
    "0",
    "65535",
    "65536",
    "99999999999",
    "18446744073709551616",
    "8080-8090",
    "90-80",
    "8080-8081",
    "7000-7050",
    "127.0.0.1",
    "[::1]",
    "::1",
    "[",
    "]",
    "0.0.0.0",
    "localhost",
    "/tcp",
    "/udp",
    "/sctp",
    "/TCP",
    "/x",
    "/",
    ":",
    ":",
    ":",
    "${A}",
    "${E}",
    " ",
    "\u{e9}",
    "0x1F",
    "1e3",
    "+1",
    "\n",
    "\0",
    "%eth0",
];
const VOLUMES: &[&str] = &[
    "./a",
    "/a",
    "~/x",
    "~",
    "..",
    ".",
    "C:\\a",
    "c:/b",
    "named",
    ":",
    ":",
    ":",
    "ro",
    "rw",
    "z",
    "Z",
    ",",
    "nocopy",
    "rshared",
    "cached",
    "delegated",
    "/",
    " ",
    "\u{e9}",
    "${A}",
    "//",
    "\\",
    "\\\\server\\share",
    "\n",
    "\0",
    "volume-nocopy",
    "-",
];
const INTERPOLATED: &[&str] = &[
    "${",
    "}",
    "$",
    "$$",
    "A",
    "E",
    "U",
    ":-",
    "-",
    ":?",
    "?",
    ":+",
    "+",
    "${A:-",
    "${U:-${A}}",
    "${U:+",
    "${A?",
    "word",
    " ",
    "\n",
    "{",
    "\u{e9}",
    "1",
    "_",
    "$A",
    "$U",
    "${A}",
    "\0",
    ":",
    "\"",
    "'",
];
const VARIABLES: &[&str] = &[
    "A", "B", "FOO", " ", "=", "=", "\n", "\n", "export ", "'", "\"", "#", " #", "${A}", "$B", "${B:-", "}", "\\n", "\\",
    "\u{e9}", "\r\n", ":", "\t", "\0", "1", "_", ".", "-", "$$", "\u{feff}", "\\\"", "\\$",
];
const HOSTS: &[&str] = &[
    "[hosts.a]\n",
    "[hosts.\"\u{e9} b\"]\n",
    "[hosts]\n",
    "[defaults]\n",
    "[network]\n",
    "address = ",
    "\"ssh://a\"",
    "\"tcp://[::1]:1\"",
    "\"unix:///x\"",
    "labels = ",
    "{ ",
    " }",
    "zone = ",
    "\"a\"",
    "[",
    "]",
    ",",
    "\n",
    "# b\n",
    "role = \"manager\"\n",
    "tls = ",
    "availability = \"drain\"\n",
    "true",
    "7",
    "'",
    "\"\"\"",
    "\\",
    "=",
    ".",
    "\u{e9}",
    "1979-05-27",
    "\0",
];

/// Words of a language in any order, most often a few.
fn phrase(dice: &mut Dice, words: &[&str], most: usize) -> String {
    (0..dice.roll(most)).map(|_| words[dice.roll(words.len())]).collect()
}

/// Tries texts for as long, or as often, as is asked for.
fn try_texts(words: &[&str], most: usize, check: impl Fn(&str)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let duration = number("MCOMPOSE_FUZZ_SECONDS").map(Duration::from_secs);
    let mut dice = Dice(number("MCOMPOSE_FUZZ_SEED").unwrap_or(SEED).max(1));
    let begun = Instant::now();
    let mut count = 0;
    while duration.map_or(count < TEXTS, |duration| begun.elapsed() < duration) {
        let text = phrase(&mut dice, words, most);
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&text)));
        assert!(outcome.is_ok(), "with this text: {text:?}");
        count += 1;
    }
}

fn load(document: &str, variables: &str) -> Result<Model, LoadFailure> {
    let files = [("compose.yaml", document), ("x.env", variables)];
    let files: BTreeMap<_, _> = files.iter().map(|(name, text)| (Path::new("/p").join(name), text.as_bytes().to_vec())).collect();
    let environment = [("A", "one"), ("E", ""), ("HOME", "/home/user")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let files_named = vec!["compose.yaml".to_owned()];
    let request = LoadRequest { cwd: "/p".into(), environment: environment.into(), files: files_named, ..LoadRequest::default() };
    model(&request, &mut Memory(files))
}

/// What loads is printed so that it loads back; what does not says why.
fn check(document: &str, variables: &str) {
    match load(document, variables) {
        Ok(loaded) => {
            let (json, yaml) = (to_json(&loaded), to_yaml(&loaded));
            // A variable without a name, which `=B` in an env file sets with docker compose, too, cannot be written down.
            if json.contains("\"\": \"") {
                return;
            }
            let again = load(&yaml, "");
            let again =
                again.unwrap_or_else(|failure| panic!("{}\n{yaml}", render(&failure.diagnostics, &failure.sources, false)));
            assert_eq!(to_json(&again), json, "{yaml}");
            assert_eq!(to_yaml(&again), yaml);
            let _ = loaded.bind();
        }
        Err(failure) => {
            assert!(!failure.diagnostics.is_empty(), "a failure says why");
            assert!(!render(&failure.diagnostics, &failure.sources, true).is_empty());
        }
    }
}

fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}

#[test]
fn short_forms_of_ports_are_read_or_refused() {
    try_texts(PORTS, 9, |text| check(&format!("services: {{a: {{image: i, ports: [{}]}}}}\n", quoted(text)), ""));
}

#[test]
fn short_forms_of_volumes_are_read_or_refused() {
    let document = |text: &str| format!("services: {{a: {{image: i, volumes: [{}]}}}}\nvolumes: {{named: }}\n", quoted(text));
    try_texts(VOLUMES, 9, |text| check(&document(text), ""));
}

#[test]
fn variables_are_replaced_or_refused() {
    try_texts(INTERPOLATED, 12, |text| check(&format!("services: {{a: {{image: i, labels: {{k: {}}}}}}}\n", quoted(text)), ""));
}

#[test]
fn env_files_are_read_or_refused() {
    let document = "services: {a: {image: i, env_file: [x.env, {path: x.env, format: raw}], label_file: x.env}}\n";
    try_texts(VARIABLES, 20, |text| check(document, text));
}

#[test]
fn inventories_are_read_or_refused_and_edits_end() {
    let context = Context { folder: "/etc", home: None, exists: &|_| true };
    try_texts(HOSTS, 20, |text| {
        if let Err(failure) = parse("hosts.toml", text, &context) {
            assert!(!failure.render(true).is_empty(), "a failure says why");
        }
        let _ = edit::remove(text, "a");
        if let Ok(drained) = edit::set_availability(text, "a", Availability::Drain) {
            // What was an inventory still is one.
            assert!(parse("hosts.toml", text, &context).is_err() || parse("hosts.toml", &drained, &context).is_ok(), "{drained}");
        }
    });
}
