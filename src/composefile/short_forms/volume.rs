//! `[SOURCE:]TARGET[:OPTIONS]`

use super::super::access::{entry, map_of, text};
use super::super::{Map, Span, Value};

/// Beside propagations.
pub(in crate::composefile) const OPTIONS: [&str; 5] = ["ro", "rw", "nocopy", "z", "Z"];
/// Which docker takes and does nothing for, on Linux.
const WITHOUT_EFFECT: [&str; 4] = ["", "cached", "consistent", "delegated"];
const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// Returns the long form, or what is wrong. A source that starts as a path is a bind mount, any other the name of a volume.
pub(in crate::composefile) fn parse(short: &str, span: Span) -> Result<Value, String> {
    if short.is_empty() {
        return Err("a volume must not be empty".to_owned());
    }
    // So short a text is a target even when it holds a colon, without the usual empty `volume`.
    if short.chars().count() <= 2 && short.len() <= 2 {
        return Ok(map_of(span, [("type", text("volume")), ("target", text(short))]));
    }
    let sections = sections(short);
    if sections.iter().any(|section| section.is_empty()) {
        return Err(format!("`{short}` has an empty part between its colons"));
    }
    let (source, target, options) = match sections[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(format!("`{short}` has too many colons")),
    };
    Ok(long_form(source, target, options, span))
}

/// The target that a short form names, if it names one.
pub(in crate::composefile) fn target(short: &str) -> Option<String> {
    let Value::Map(long) = parse(short, Span::default()).ok()? else { return None };
    long.get("target")?.node.as_str().map(super::super::paths::clean)
}

fn long_form(source: Option<&str>, target: &str, options: &str, span: Span) -> Value {
    let mut bind = Map::new();
    let mut volume = Map::new();
    let mut is_read_only = false;
    let mut has_volume = false;
    for option in options.split(',') {
        match option {
            "ro" => is_read_only = true,
            "rw" => is_read_only = false,
            "nocopy" => {
                has_volume = true;
                volume.insert("nocopy".to_owned(), entry(span, Value::Bool(true)));
            }
            "z" | "Z" => {
                bind.insert("selinux".to_owned(), entry(span, text(option)));
            }
            propagation if PROPAGATIONS.contains(&propagation) => {
                bind.insert("propagation".to_owned(), entry(span, text(option)));
            }
            // Docker ignores what it does not know here; `unknown_options` finds it.
            _ => {}
        }
    }
    let is_bind = source.is_some_and(is_path);
    if is_bind {
        bind.insert("create_host_path".to_owned(), entry(span, Value::Bool(true)));
    }
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), entry(span, value));
    put("type", text(if is_bind { "bind" } else { "volume" }));
    if let Some(source) = source {
        put("source", text(source));
    }
    put("target", text(target));
    if is_read_only {
        put("read_only", Value::Bool(true));
    }
    if !bind.is_empty() {
        put("bind", Value::Map(bind));
    }
    if has_volume || !is_bind {
        put("volume", Value::Map(volume));
    }
    Value::Map(map)
}

/// Options of a short form that mean nothing to docker.
pub(in crate::composefile) fn unknown_options(short: &str) -> Vec<&str> {
    let options = match sections(short)[..] {
        [_, _, options] => options,
        _ => "",
    };
    let is_known = |option: &&str| OPTIONS.contains(option) || WITHOUT_EFFECT.contains(option) || PROPAGATIONS.contains(option);
    options.split(',').filter(|option| !is_known(option)).collect()
}

/// Whether a short form is meant as a volume of one letter, and read as a target on a drive of Windows, which no engine for Linux takes.
pub(in crate::composefile) fn is_read_as_drive(short: &str) -> bool {
    sections(short) == [short]
        && short.chars().next().is_some_and(char::is_alphabetic)
        && short.get(1..).is_some_and(|rest| rest.starts_with(":/"))
}

/// The parts between colons; one letter before a colon is a drive of Windows and stays with what follows.
fn sections(short: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let mut start = 0;
    for (at, _) in short.match_indices(':') {
        let section = &short[start..at];
        let is_drive = section.chars().count() == 1 && section.chars().all(char::is_alphabetic);
        if !is_drive {
            sections.push(section);
            start = at + 1;
        }
    }
    sections.push(&short[start..]);
    sections
}

fn is_path(source: &str) -> bool {
    let mut chars = source.chars();
    let is_drive = chars.next().is_some_and(char::is_alphabetic) && chars.next() == Some(':');
    source.starts_with(['.', '/', '~']) || source.starts_with("\\\\") || is_drive
}

#[cfg(test)]
mod tests {
    use super::super::super::{Span, Value};
    use super::{is_read_as_drive, parse, unknown_options};

    fn shown(value: &Value) -> String {
        match value {
            Value::Map(map) => {
                let parts: Vec<String> = map.iter().map(|(key, entry)| format!("{key}={}", shown(&entry.node.value))).collect();
                format!("{{{}}}", parts.join(" "))
            }
            Value::Text(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            other => format!("{other:?}"),
        }
    }

    fn check(short: &str, expect: &str) {
        let found = parse(short, Span::default()).map_or_else(|why| why, |value| shown(&value));
        assert_eq!(found, expect, "{short}");
    }

    #[test]
    fn a_source_that_starts_as_a_path_is_a_bind() {
        check("./a:/b", "{type=bind source=./a target=/b bind={create_host_path=true}}");
        check("~/a:/b:ro,z", "{type=bind source=~/a target=/b read_only=true bind={selinux=z create_host_path=true}}");
        check("C:\\a:/b", "{type=bind source=C:\\a target=/b bind={create_host_path=true}}");
        check("/a:/b:rshared", "{type=bind source=/a target=/b bind={propagation=rshared create_host_path=true}}");
    }

    #[test]
    fn any_other_source_is_a_volume() {
        check("data:/b", "{type=volume source=data target=/b volume={}}");
        check("data:/b:nocopy,bogus", "{type=volume source=data target=/b volume={nocopy=true}}");
        check("/data", "{type=volume target=/data volume={}}");
        check("/d", "{type=volume target=/d}");
    }

    #[test]
    fn one_letter_before_a_colon_is_a_drive_as_docker_compose_reads_it() {
        check("a:/b", "{type=volume target=a:/b volume={}}");
        assert!(is_read_as_drive("a:/b"));
        for other in ["a:\\b", "c:/a:/b", "ab:/c", "/a", "a", "é:/b:ro"] {
            assert!(!is_read_as_drive(other), "{other}");
        }
    }

    #[test]
    fn options_that_mean_nothing_are_found() {
        assert_eq!(unknown_options("ab:/b:r0,z,cached,rslave,x"), ["r0", "x"]);
        assert!(unknown_options("./a:/b").is_empty() && unknown_options("/b").is_empty());
    }

    #[test]
    fn what_cannot_be_is_told() {
        check("", "a volume must not be empty");
        check("aa::/b", "`aa::/b` has an empty part between its colons");
        check("aa:/b:ro:x", "`aa:/b:ro:x` has too many colons");
    }
}
