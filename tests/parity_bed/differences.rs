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

/// Where docker compose 2.40.3 and the versions after it (5.5) differ in what `config` and the command line do, and which of them
/// mcompose follows.
pub const LATER: &[(&str, &str)] = &[
    ("`pre_start`, `build.no_cache_filter`", "2.40.3 refuses them; read, as later."),
    ("`ipam.options`", "2.40.3 loses them in what it prints; printed, as later."),
    (
        "`--no-env-resolution`, services that are included and here too, defaults that are not used",
        "as later: see the list above.",
    ),
    ("`include` and `extends`", "2.40.3 extends first; here as later, so that a service of an included file can be extended."),
    (
        "`bind.create_host_path`",
        "later versions print it only where it is false; printed where it is true, as 2.40.3 does, so that hashes are equal.",
    ),
    (
        "`config --hash`",
        "later versions have values of env files in it; not here, as in 2.40.3, whose version the containers' label names.",
    ),
    ("Aliases in YAML", "2.40.3 expands as many as there are; limited, as later: 250,000 values in all files."),
    ("A date as a label", "2.40.3 refuses it, as here; later versions print Go's text of it."),
    ("`.inf` and `.nan`", "2.40.3 cannot print them as JSON; refused as a number of a service, and a text elsewhere."),
    ("Quotes in YAML that is printed", "they differ; what is printed loads back to the same."),
    ("`run --no-TTY`", "`--no-tty` in later versions; both are understood."),
    ("`start --wait`, `--wait-timeout`", "in later versions only; understood."),
];
