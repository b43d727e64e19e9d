//! The loader and texts that nobody wrote: nothing makes it panic, and what holds for every document holds for random ones.

#![expect(clippy::disallowed_methods, reason = "a test reads its seeds from disk")]

mod memory;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mcompose::composefile::{LoadFailure, LoadRequest, Model, model, render, to_json, to_yaml};
use memory::{Dice, Memory};
use proptest::prelude::*;

/// A few seconds of a debug build. `MCOMPOSE_MUTATIONS` sets another number.
const MUTATIONS: u64 = 6_000;

/// Loads files of the folder `/p`, merged in their order.
fn load(texts: &[&[u8]]) -> Result<Model, LoadFailure> {
    let names: Vec<String> = (0..texts.len()).map(|index| format!("{index}.yaml")).collect();
    let files = names.iter().zip(texts).map(|(name, text)| (Path::new("/p").join(name), text.to_vec()));
    let mut files: BTreeMap<PathBuf, Vec<u8>> = files.collect();
    files.insert("/p/x.env".into(), b"A=1\nB='two'\n".to_vec());
    let environment = [("A", "one"), ("E", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let request = LoadRequest { cwd: "/p".into(), environment: environment.into(), files: names, ..LoadRequest::default() };
    model(&request, &mut Memory(files))
}

/// The documents of tests/parity.
fn seeds() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is readable").path()).collect();
    files.sort();
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("it is readable"));
    let mut seeds = Vec::new();
    for text in texts {
        for case in text.split("\n== ").skip(1) {
            let lines = case.lines().skip_while(|line| !line.starts_with("    ")).take_while(|line| line.starts_with("    "));
            seeds.push(lines.map(|line| format!("{}\n", &line[4..])).collect());
        }
    }
    seeds
}

const TOKENS: &[&str] = &[
    "null",
    "[]",
    "{}",
    "''",
    "\"",
    "'",
    ": ",
    "- ",
    "\n",
    "  ",
    "*a",
    "&a ",
    "<<: ",
    "!reset ",
    "!override ",
    "$",
    "${",
    "}",
    "${A:-",
    "${E:?}",
    "0",
    "-1",
    "1e3",
    "0x",
    "~",
    "|",
    ">",
    ",",
    "[",
    "]",
    "{",
    "#",
    "\t",
    "\u{feff}",
    "é",
    "\u{0}",
    "---\n",
    "...\n",
    "?",
    "@",
    "2024-01-01",
    ".inf",
    "99999999999999999999",
    "extends: ",
    "include: ",
    "env_file: ",
    "x.env",
    "0.yaml",
    "services",
    "/",
    "..",
    ":",
];

fn mutated(seeds: &[String], dice: &mut Dice) -> Vec<u8> {
    let mut text = seeds[dice.roll(seeds.len())].clone().into_bytes();
    for _ in 0..=dice.roll(2) {
        let at = dice.roll(text.len() + 1);
        let end = (at + dice.roll(12)).min(text.len());
        match dice.roll(6) {
            0 => _ = text.splice(at..at, TOKENS[dice.roll(TOKENS.len())].bytes()),
            1 => _ = text.splice(at..end, TOKENS[dice.roll(TOKENS.len())].bytes()),
            2 => _ = text.drain(at..end),
            3 => text.truncate(at),
            4 => {
                let other = seeds[dice.roll(seeds.len())].as_bytes();
                let from = dice.roll(other.len());
                let part = &other[from..(from + dice.roll(60)).min(other.len())];
                _ = text.splice(at..at, part.iter().copied());
            }
            _ => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = u8::try_from(dice.roll(256)).expect("it is below 256");
                }
            }
        }
    }
    text
}

#[test]
fn no_text_makes_the_loader_panic() {
    let seeds = seeds();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let count = std::env::var("MCOMPOSE_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(MUTATIONS);
    let mut loaded = 0_u64;
    for _ in 0..count {
        let (first, second) = (mutated(&seeds, &mut dice), mutated(&seeds, &mut dice));
        let texts: &[&[u8]] = if dice.roll(4) == 0 { &[&first, &second] } else { &[&first] };
        let outcome = std::panic::catch_unwind(|| match load(texts) {
            Ok(model) => {
                let _ = (to_json(&model), to_yaml(&model));
                // What loads need not have every name and type right.
                let _ = model.bind();
                true
            }
            Err(failure) => {
                assert!(!failure.diagnostics.is_empty(), "a failure says why");
                let _ = render(&failure.diagnostics, &failure.sources, false);
                false
            }
        });
        let text = texts.iter().map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>().join("\n===\n");
        loaded += u64::from(outcome.unwrap_or_else(|_| panic!("this text:\n{text}")));
    }
    assert!(loaded > count / 50, "only {loaded} of {count} mutations loaded, which tests little");
}

#[test]
fn an_empty_file_over_or_under_a_document_changes_nothing() {
    for seed in seeds() {
        let Ok(alone) = load(&[seed.as_bytes()]) else { continue };
        let with = load(&[seed.as_bytes(), b"{}"]).expect("an empty mapping adds nothing that could be wrong");
        assert_eq!(to_json(&alone), to_json(&with), "{seed}");
        let over = load(&[b"{}", seed.as_bytes()]).expect("an empty mapping adds nothing that could be wrong");
        assert_eq!(to_json(&alone), to_json(&over), "{seed}");
    }
}

/// A document with one label; JSON is YAML, too.
fn with_label(key: &str, value: &str) -> String {
    let text = serde_json::Value::from(value.replace('$', "$$"));
    format!("services: {{a: {{image: i, labels: {{{}: {text}}}}}}}\n", serde_json::Value::from(key))
}

fn label(model: &Model, key: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(&to_json(model)).expect("it is JSON");
    json["services"]["a"]["labels"][key].as_str().expect("the label is there").to_owned()
}

proptest! {
    #[test]
    fn any_text_is_printed_so_that_it_loads_back(key in "[a-z]{1,9}|[ -~]{1,12}", value in "[ -~\n]{0,24}|\\PC{0,12}|[ \n:#'\"-]{0,9}") {
        let Ok(first) = load(&[with_label(&key, &value).as_bytes()]) else { return Ok(()) };
        let yaml = to_yaml(&first);
        let again = load(&[yaml.as_bytes()]).map_err(|failure| TestCaseError::fail(format!("{:?}\n{yaml}", failure.diagnostics)))?;
        prop_assert_eq!(to_json(&first), to_json(&again), "{}", yaml);
        prop_assert_eq!(yaml.clone(), to_yaml(&again));
    }

    #[test]
    fn a_text_without_a_dollar_is_not_touched(value in "[^$\\p{Cc}]{0,30}") {
        let loaded = load(&[with_label("k", &value).as_bytes()]).map_err(|failure| TestCaseError::fail(format!("{:?}", failure.diagnostics)))?;
        prop_assert_eq!(label(&loaded, "k"), value);
    }
}

/// What is told of a document first.
fn first_fault(text: &str) -> String {
    load(&[text.as_bytes()]).expect_err("it is refused").diagnostics.remove(0).message
}

#[test]
fn what_would_grow_beyond_measure_is_an_error() {
    let row: String = (0..20_000).map(|n| format!("  s{n}: {{extends: s{}}}\n", n + 1)).collect();
    let message = first_fault(&format!("services:\n{row}  s20000: {{image: i}}\n"));
    assert_eq!(message, "more than 100 services extend each other in a row");
    let ports: String = (0..2_000).map(|n| format!("  s{n}: {{image: i, ports: ['1-65535:1-65535']}}\n")).collect();
    assert_eq!(first_fault(&format!("services:\n{ports}")), "services.s1.ports: the project has more than 70000 ports");
    let values = format!("services: {{a: {{image: i, cap_add: [{}]}}}}", "a,".repeat(500_001));
    assert_eq!(first_fault(&values), "here the project's files together have more values than any project has");
    let template = format!("{}x{}", "${U:-".repeat(100_000), "}".repeat(100_000));
    let message = first_fault(&format!("services: {{a: {{image: '{template}'}}}}"));
    let deep = "services.a.image: invalid interpolation format: more than 100 templates stand within each other: `${U:-${U:-";
    assert!(message.starts_with(deep), "{message}");
}
