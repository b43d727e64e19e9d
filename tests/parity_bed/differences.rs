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
];

const SSH: &str = "docker compose loads it, but fails when it prints a key with a path as JSON.";

impl Deliberate {
    pub fn find(section: &str, case: &str) -> Option<&'static Self> {
        DELIBERATE.iter().find(|difference| difference.section == section && difference.case == case)
    }
}
