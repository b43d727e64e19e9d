//! The walls of the house: which room may use which, and which outside crate has which door.
//!
//! The table is DESIGN's, said once more in ARCHITECTURE.md. A room is a folder below src; `supervise` is two.
#![expect(clippy::disallowed_methods, reason = "it reads the sources")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room, the rooms that it may use, the outside crates that it may use beside `std` and `FREE`.
const WALLS: &[(&str, &[&str], &[&str])] = &[
    ("project", &[], &["serde_json", "sha2"]),
    ("inventory", &["project"], &["toml", "toml_edit", "annotate_snippets"]),
    (
        "composefile",
        &["project"],
        &["granit_parser", "serde_yaml", "docker_compose_types", "annotate_snippets", "indexmap", "serde_json", "sha2", "base64"],
    ),
    ("world", &["project"], &[]),
    ("placement", &["project", "world"], &[]),
    ("plan", &["project", "world", "placement"], &["serde_json", "sha2"]),
    (
        "transport",
        &["project"],
        &[
            "ssh2",
            "rustix",
            "hmac",
            "sha1",
            "base64",
            "rustls",
            "tokio_rustls",
            "hyper",
            "hyper_util",
            "tokio",
            "tower_service",
            "bytes",
            "futures_util",
        ],
    ),
    (
        "engine",
        &["project", "world", "transport"],
        &[
            "bollard",
            "base64",
            "tokio",
            "async_trait",
            "futures_util",
            "bytes",
            "hyper",
            "hyper_util",
            "http_body_util",
            "serde_json",
            // The fake unpacks archives into its volumes, as the real one does.
            "tar",
        ],
    ),
    ("cluster", &["project", "inventory", "world", "plan", "engine"], &["tokio", "futures_util"]),
    (
        "store",
        &["project", "world", "plan", "engine", "cluster"],
        &["tokio", "async_trait", "flate2", "serde_json", "sha2", "libc", "rustix"],
    ),
    (
        "delivery",
        &["project", "world", "engine"],
        &["tar", "glob", "sha2", "hmac", "pbkdf2", "ring", "tokio", "bytes", "futures_util", "serde", "serde_json"],
    ),
    (
        "image",
        &["project", "engine", "delivery"],
        &["docker_credential", "base64", "serde_json", "sha2", "tar", "tokio", "bytes", "futures_util"],
    ),
    ("apply", &["project", "world", "plan", "engine", "delivery", "image"], &["tokio", "futures_util"]),
    ("supervise/machine", &["project", "world", "placement", "plan"], &[]),
    (
        "supervise",
        &["project", "inventory", "world", "placement", "plan", "transport", "engine", "cluster", "store", "delivery", "apply"],
        &["tokio", "futures_util"],
    ),
    (
        "ui",
        &[
            "project",
            "world",
            "placement",
            "plan",
            "engine",
            "apply",
            "composefile",
            "inventory",
            "cluster",
            "store",
            "supervise",
        ],
        &["indicatif", "comfy_table", "serde_json", "annotate_snippets"],
    ),
    (
        "cli",
        &[
            "project",
            "inventory",
            "composefile",
            "world",
            "placement",
            "plan",
            "transport",
            "engine",
            "cluster",
            "store",
            "delivery",
            "image",
            "apply",
            "supervise",
            "ui",
        ],
        &["clap", "tokio", "futures_util", "serde_json", "rustix"],
    ),
];

/// Crates that any room may use: they do no IO and show nothing.
const FREE: &[&str] = &["serde", "thiserror", "mcompose"];

#[test]
fn every_room_uses_only_what_its_walls_let_through() {
    let source_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let dependencies = dependencies();
    let mut faults = Vec::new();
    for file in rust_files(&source_root) {
        let relative = file.strip_prefix(&source_root).expect("it was found below src");
        let Some(room) = room_of(relative) else { continue };
        let Some((_, rooms, crates)) = WALLS.iter().find(|(name, ..)| *name == room) else {
            faults.push(format!("src/{room} is no room of the table"));
            continue;
        };
        let text = fs::read_to_string(&file).expect("a source file is readable");
        let code = without_comments_and_tests(&text);
        for used in rooms_used(&code) {
            if used != room && !rooms.contains(&used.as_str()) {
                faults.push(format!("{}: room `{room}` may not use `{used}`", relative.display()));
            }
        }
        for dependency in &dependencies {
            let allowed = FREE.contains(&dependency.as_str()) || crates.contains(&dependency.as_str());
            if !allowed && uses_crate(&code, dependency) {
                faults.push(format!("{}: room `{room}` may not use the crate `{dependency}`", relative.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn some_crates_have_one_door() {
    let doors: BTreeMap<&str, &str> = BTreeMap::from([
        ("bollard", "engine/docker"),
        ("ssh2", "transport/ssh"),
        ("indicatif", "ui/"),
        ("clap", "cli/"),
        ("granit_parser", "composefile/yaml"),
        ("glob", "delivery/context"),
        ("ring", "delivery/seal"),
        ("docker_credential", "image/login"),
        ("docker_compose_types", "composefile/interop"),
    ]);
    let source_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for file in rust_files(&source_root) {
        let relative = file.strip_prefix(&source_root).expect("it was found below src").display().to_string();
        let code = without_comments_and_tests(&fs::read_to_string(&file).expect("a source file is readable"));
        for (dependency, door) in &doors {
            if uses_crate(&code, dependency) && !relative.starts_with(door) {
                faults.push(format!("{relative}: `{dependency}` is used outside of its door, {door}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Names of Cargo.toml's dependencies as code writes them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("Cargo.toml is readable");
    let section = manifest.split("[dependencies]").nth(1).expect("there are dependencies");
    let section = section.split("\n[").next().unwrap_or(section);
    section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim().replace('-', "_")).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("src is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The first folder of a path below src; main.rs and lib.rs are in none.
fn room_of(relative: &Path) -> Option<String> {
    let mut parts = relative.iter();
    let first = parts.next()?.to_str()?.to_owned();
    let second = parts.next()?.to_str()?;
    // What a supervisor decides and what it does are two rooms.
    if first == "supervise" && second == "machine" { Some("supervise/machine".to_owned()) } else { Some(first) }
}

fn without_comments_and_tests(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Rooms behind every `crate::`, with and without braces.
fn rooms_used(code: &str) -> BTreeSet<String> {
    code.match_indices("crate::").map(|(at, path)| word_at(&code[at + path.len()..])).filter(|word| !word.is_empty()).collect()
}

fn uses_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    }) || code.contains(&format!("use {name};"))
}

fn word_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
