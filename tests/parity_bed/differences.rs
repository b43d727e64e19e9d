//! Where mcompose differs from docker compose 2.40.3 on purpose: the one list.

pub struct Deliberate {
    pub section: &'static str,
    pub case: &'static str,
    pub reason: &'static str,
}

/// A case of this list that is no longer different fails the test.
pub const DELIBERATE: &[Deliberate] = &[
    Deliberate { section: "build", case: "ssh as a list", reason: SSH },
    Deliberate { section: "build", case: "ssh as a mapping", reason: SSH },
    Deliberate {
        section: "environment",
        case: "no environment resolution",
        reason: "2.40.3 ignores `--no-env-resolution`; later versions keep `env_file`, and so does mcompose.",
    },
    Deliberate {
        section: "include",
        case: "a service that is here, too",
        reason: "2.40.3 refuses it; later versions merge, and the including file wins, as here.",
    },
    Deliberate {
        section: "interpolation",
        case: "an error only in a default that is not used",
        reason: "2.40.3 looks at defaults that it does not need; later versions and mcompose do not.",
    },
    Deliberate {
        section: "yaml",
        case: "a number beyond what 63 bits hold",
        reason: "mcompose reads it as a number with an exponent; in quotes it stays as it is.",
    },
    Deliberate {
        section: "environment",
        case: "an env file whose last line has no value and no end",
        reason: "docker compose sets a variable without a name there; mcompose reads the line as with an end.",
    },
    Deliberate {
        section: "interpolation",
        case: "limits as variables, not replaced",
        reason: "docker compose fails at a variable in `ulimits` which it is told not to replace.",
    },
    Deliberate {
        section: "service",
        case: "memory as a decimal number",
        reason: "docker compose loses it, and the container has no limit; mcompose has the limit that was written.",
    },
    Deliberate {
        section: "service",
        case: "an option of logging that looks like an extension",
        reason: "docker compose hands the driver an option `#extensions`; mcompose hands it the one that was written.",
    },
    Deliberate {
        section: "yaml",
        case: "a directive of YAML 1.2",
        reason: "docker compose knows the directive of 1.1 only; both read the same files.",
    },
    Deliberate {
        section: "yaml",
        case: "an escaped slash",
        reason: "YAML 1.2 has it, as JSON does; docker compose's YAML is older.",
    },
    Deliberate {
        section: "yaml",
        case: "a number that no engine takes",
        reason: "docker compose makes a negative number of it; mcompose refuses it.",
    },
];

const SSH: &str = "docker compose loads it, but fails when it prints a key with a path as JSON.";

impl Deliberate {
    pub fn find(section: &str, case: &str) -> Option<&'static Self> {
        DELIBERATE.iter().find(|difference| difference.section == section && difference.case == case)
    }
}
