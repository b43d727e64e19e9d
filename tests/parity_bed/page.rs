//! docs/compose-support.md: what mcompose does with each attribute, and how far it agrees with docker compose.

use std::fmt::Write;

use mcompose::composefile::{Support, support};

use super::containers::DIFFERENCES;
use super::differences::{DELIBERATE, Deliberate, LATER};
use super::script::Script;

pub fn of(scripts: &[Script]) -> String {
    let mut page = String::from(
        "# What of Compose is supported\n\n\
        Written by `MCOMPOSE_UPDATE=1 cargo test --test parity` from the loader's table of attributes (src/composefile/schema) and\n\
        the cases of tests/parity; a test fails when it is no longer true.\n\n",
    );
    attributes(&mut page);
    parity(&mut page, scripts);
    later(&mut page);
    containers(&mut page);
    page
}

fn attributes(page: &mut String) {
    let rows = support();
    let count = |is: fn(&Support) -> bool| rows.iter().filter(|row| is(&row.support)).count();
    let _ = write!(
        page,
        "## Attributes\n\n\
        Every attribute of the Compose Specification of August 2026 is read and checked. {} are applied. {} are translated: they have\n\
        their effect by other means than on a single engine. {} are inert: they have no effect on a plain container, for the reason\n\
        beside them. {} are refused: a service that has one is not deployed, and the message says why. `since` is the Engine API version\n\
        that an attribute needs, where that is a later one than 1.41 (Docker 20.10).\n\n\
        `mcompose config --support` prints the part of this table that the project at hand uses.\n\n\
        | attribute | | since | note |\n| --- | --- | --- | --- |\n",
        count(|support| *support == Support::Applied),
        count(|support| matches!(support, Support::Translated(_))),
        count(|support| matches!(support, Support::Inert(_))),
        count(|support| matches!(support, Support::Refused(_))),
    );
    for row in &rows {
        let word = match row.support {
            Support::Refused(_) => "**refused**",
            support => support.word(),
        };
        let note = row.remark();
        let _ = writeln!(page, "| `{}` | {word} | {} | {note} |", row.path, row.since);
    }
}

fn parity(page: &mut String, scripts: &[Script]) {
    page.push_str(
        "\n## Agreement with docker compose\n\n\
        Each case of tests/parity is a project of its own. What `mcompose config --format json` prints is compared by value with what\n\
        docker compose 2.40.3 prints, and what it refuses must be refused. What mcompose prints as YAML must load back to the same, by\n\
        mcompose and by docker compose.\n\n\
        | section | cases | equal | rate |\n| --- | ---: | ---: | ---: |\n",
    );
    let mut totals = (0, 0);
    let mut line = |name: &str, cases: usize, equal: usize| {
        let rate = 100.0 * equal as f64 / cases as f64;
        let _ = writeln!(page, "| {name} | {cases} | {equal} | {rate:.1} % |");
    };
    for script in scripts {
        let different = script.cases.iter().filter(|case| Deliberate::find(&script.section, &case.name).is_some()).count();
        let equal = script.cases.len() - different;
        totals = (totals.0 + script.cases.len(), totals.1 + equal);
        line(&script.section, script.cases.len(), equal);
    }
    line("all", totals.0, totals.1);
    page.push_str("\nWhere the two differ, it is on purpose:\n\n");
    for difference in DELIBERATE {
        let _ = writeln!(page, "- {}, “{}”: {}", difference.section, difference.case, difference.reason);
    }
}

fn later(page: &mut String) {
    page.push_str(
        "\n## Later versions of docker compose\n\n\
        2.40.3 is what is compared with, since its version stands in the labels of containers. Later ones differ from it in a few places:\n\n",
    );
    for (what, which) in LATER {
        let _ = writeln!(page, "- {what}: {which}");
    }
}

fn containers(page: &mut String) {
    page.push_str(
        "\n## Containers of docker compose and of mcompose\n\n\
        tests/fleet/same_container.rs makes containers, networks and volumes from files that use every attribute which an engine can\n\
        honour, with docker compose 2.40.3 and with mcompose, and compares all that the engine tells of them: on engines of API 1.41\n\
        and, by `tests/engine.sh`, 1.51.\n\
        tests/fleet/take_over.rs lets each program go on with what the other one made. What differs does so on purpose:\n\n",
    );
    let mut told: Vec<&str> = Vec::new();
    for difference in DIFFERENCES {
        if told.contains(&difference.reason) {
            continue;
        }
        told.push(difference.reason);
        let (attribute, reason, (major, minor)) = (difference.attribute, difference.reason, difference.since);
        let place = difference.path.split_once('.').map_or(difference.path, |(_, place)| place);
        let engines =
            if difference.since > (1, 41) { format!(" of engines of API {major}.{minor} and newer") } else { String::new() };
        let _ = writeln!(page, "- `{attribute}`, seen in `{place}`{engines}: {reason}.");
    }
}
