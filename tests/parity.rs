//! Whether `mcompose config` prints what docker compose prints, and refuses what it refuses: each file of tests/parity is a
//! section of cases, written for this project; what is expected was printed by docker compose 2.40.3.
//!
//! ```text
//! == NAME                      a case begins
//! in FOLDER                    where the command runs; the project's folder if not said
//! env KEY=VALUE                one of the process's environment
//! compose ARGUMENTS            the command, if it is another than `compose config`
//! once WHY                     what is printed does not load back to the same
//!     services: …              compose.yaml, indented by four
//! file NAME                    another file, indented below; `-` is standard input
//! unended NAME                 a file whose last line has no end
//! > {"name": …}                what is expected, by JSON value, or `refused`
//! ```
//!
//! `@DIR@` is the project's folder, `@UP@` the one above it. `MCOMPOSE_UPDATE=1 MCOMPOSE_TEST_DOCKER_COMPOSE=… cargo test --test parity` asks docker compose
//! anew for everything that is expected; `tests/run.sh` fetches that program.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test reads its cases from disk, and tells what it is asked for"
)]

mod memory;
mod parity_bed;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use memory::Dice;
use parity_bed::chance::changed;
use parity_bed::differences::{DELIBERATE, Deliberate};
use parity_bed::run::{Outcome, Program};
use parity_bed::script::{Case, Script};
use parity_bed::{json, page};

/// Documents of a run, and where their chance begins.
const CHANGED: usize = 120;
const SEED: u64 = 0x1f3d_5b79_97b5_d3f1;

#[test]
fn config_prints_what_docker_compose_prints() {
    let mut scripts = scripts();
    let reference = Program::reference();
    if std::env::var("MCOMPOSE_UPDATE").is_ok() {
        let reference = reference.as_ref().expect("MCOMPOSE_TEST_DOCKER_COMPOSE names docker compose 2.40.3");
        update(&mut scripts, reference);
    }
    let results = for_each_case(&scripts, &|case, folder| check(case, folder, reference.as_ref()));
    let mut faults = Vec::new();
    for (script, results) in scripts.iter().zip(&results) {
        for (case, result) in script.cases.iter().zip(results) {
            let reason = Deliberate::find(&script.section, &case.name);
            match (result, reason) {
                (Err(fault), None) => faults.push(format!("{}:{}: {}\n{fault}", script.path(), case.line, case.name)),
                (Err(fault), Some(_)) if fault.starts_with(BROKE) => {
                    faults.push(format!("{}:{}: {}\n{fault}", script.path(), case.line, case.name));
                }
                (Ok(()), Some(_)) => faults.push(format!("{}: `{}` is no longer different", script.path(), case.name)),
                _ => {}
            }
        }
    }
    let known: BTreeSet<(&str, &str)> =
        scripts.iter().flat_map(|script| script.cases.iter().map(|case| (script.section.as_str(), case.name.as_str()))).collect();
    let gone = DELIBERATE.iter().filter(|difference| !known.contains(&(difference.section, difference.case)));
    faults.extend(gone.map(|difference| format!("no case `{}` is in section {}", difference.case, difference.section)));
    let cases: usize = scripts.iter().map(|script| script.cases.len()).sum();
    assert!(faults.is_empty(), "{} of {cases} cases\n\n{}", faults.len(), faults.join("\n\n"));
}

/// Documents that are changed by chance, beside docker compose at once: about one in a hundred is read otherwise (a date as a key, numbers
/// of more than 63 bits and the like), and where it is one in twenty, something is wrong.
///
/// `MCOMPOSE_BESIDE=4000 MCOMPOSE_FUZZ_SEED=7 cargo test --test parity by_chance -- --nocapture` tries others, and tells what differs.
#[test]
fn documents_changed_by_chance_are_read_as_docker_compose_reads_them() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let reference =
        Program::reference().expect("MCOMPOSE_TEST_DOCKER_COMPOSE names docker compose 2.40.3; tests/run.sh fetches it");
    let count = number("MCOMPOSE_BESIDE").map_or(CHANGED, |count| usize::try_from(count).unwrap_or(CHANGED));
    let mut dice = Dice(number("MCOMPOSE_FUZZ_SEED").unwrap_or(SEED).max(1));
    let changed = [changed(&scripts(), count, &mut dice)];
    let results = for_each_case(&changed, &|case, folder| beside(case, folder, &reference));
    let told = changed[0].cases.iter().zip(&results[0]).filter_map(|(case, result)| {
        let (is_broken, fault) = result.as_ref().err()?;
        Some((*is_broken, format!("{}{fault}\n", case.told())))
    });
    let (broken, different): (Vec<_>, Vec<_>) = told.partition(|(is_broken, _)| *is_broken);
    let list = |faults: &[(bool, String)]| faults.iter().map(|(_, fault)| fault.as_str()).collect::<Vec<_>>().join("\n");
    assert!(broken.is_empty(), "{}", list(&broken));
    let differences = list(&different);
    assert!(different.len() * 20 <= count, "{} of {count} are read otherwise:\n\n{differences}", different.len());
    if number("MCOMPOSE_BESIDE").is_some() {
        eprintln!("{} of {count} are read otherwise:\n\n{differences}", different.len());
    }
}

/// Before what a program said that neither printed nor refused: it panicked, or took too long.
const BROKE: &str = "  it broke: ";

/// What differs for one case, and whether it is because mcompose breaks. What breaks docker compose proves nothing.
fn beside(case: &Case, folder: &Path, reference: &Program) -> Result<(), (bool, String)> {
    let expected = reference.config(case, folder);
    match (&expected, Program::mcompose().config(case, folder)) {
        (_, Outcome::Broken(said)) => Err((true, format!("  it broke: {said}"))),
        (Outcome::Broken(_), _) | (Outcome::Refused(_), Outcome::Refused(_)) => Ok(()),
        (Outcome::Refused(said), Outcome::Printed(_)) => {
            Err((false, format!("  docker compose refuses it, mcompose does not: {said}")))
        }
        (Outcome::Printed(_), Outcome::Refused(said)) => Err((false, format!("  mcompose refuses it: {said}"))),
        (Outcome::Printed(expected), Outcome::Printed(actual)) => {
            json::compare(&json::parse(expected), &json::parse(&actual), "mcompose").map_err(|fault| (false, fault))?;
            let (theirs, ours) = (reference.hashes(case, folder), Program::mcompose().hashes(case, folder));
            if theirs == ours { Ok(()) } else { Err((false, format!("  hashes: docker compose {theirs:?}, mcompose {ours:?}"))) }
        }
    }
}

#[test]
fn the_support_page_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compose-support.md");
    let page = page::of(&scripts());
    if std::env::var("MCOMPOSE_UPDATE").is_ok() {
        std::fs::write(&path, page).expect("the page is writable");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == written, "docs/compose-support.md is out of date: MCOMPOSE_UPDATE=1 cargo test --test parity writes it");
}

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it is readable").path()).collect();
    files.sort();
    files.iter().map(|file| Script::read(file)).collect()
}

/// What docker compose prints for every case becomes what is expected.
fn update(scripts: &mut [Script], reference: &Program) {
    let outcomes = for_each_case(scripts, &|case, folder| reference.config(case, folder));
    for (script, outcomes) in scripts.iter_mut().zip(outcomes) {
        for (case, outcome) in script.cases.iter_mut().zip(outcomes) {
            case.expected = Some(outcome.written(&case.name));
        }
        script.write();
    }
}

/// One case with a folder of its own: what is printed, and whether the YAML loads back to the same.
fn check(case: &Case, folder: &Path, reference: Option<&Program>) -> Result<(), String> {
    let expected = case.expected.as_deref().map(str::trim_end).ok_or("nothing is expected yet: run it with MCOMPOSE_UPDATE=1")?;
    let mcompose = Program::mcompose();
    let actual = mcompose.config(case, folder);
    let (expected, text) = match (expected, &actual) {
        (_, Outcome::Broken(said)) => return Err(format!("{BROKE}{said}")),
        ("refused", Outcome::Refused(_)) => return Ok(()),
        ("refused", Outcome::Printed(_)) => return Err("  docker compose refuses it, mcompose does not".to_owned()),
        (_, Outcome::Refused(said)) => return Err(format!("  mcompose refuses it: {said}")),
        (expected, Outcome::Printed(text)) => (json::parse(expected), text),
    };
    json::compare(&expected, &json::parse(text), "mcompose")?;
    if !case.loads_back() {
        return Ok(());
    }
    let yaml = mcompose.yaml(case, folder);
    for (program, who) in
        [(Some(&mcompose), "mcompose's YAML, loaded again"), (reference, "mcompose's YAML, loaded by docker compose")]
    {
        let Some(program) = program else { continue };
        match program.load_back(case, folder, &yaml) {
            Outcome::Printed(text) => json::compare(&expected, &json::parse(&text), who)?,
            Outcome::Refused(said) | Outcome::Broken(said) => return Err(format!("  {who}, is refused: {said}\n{yaml}")),
        }
    }
    Ok(())
}

/// Every case in its own folder, on as many threads as there are processors; results in the order of the cases.
fn for_each_case<T: Send>(scripts: &[Script], work: &(dyn Fn(&Case, &Path) -> T + Sync)) -> Vec<Vec<T>> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parity");
    let jobs: Vec<(usize, &Case, PathBuf)> = scripts
        .iter()
        .enumerate()
        .flat_map(|(index, script)| script.cases.iter().map(move |case| (index, &script.section, case)))
        .map(|(index, section, case)| (index, case, root.join(section).join(case.line.to_string())))
        .collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    while let Some((at, (_, case, folder))) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, jobs.get(at)?)))
                    {
                        case.lay_out(folder);
                        done.push((at, work(case, folder)));
                        let _ = std::fs::remove_dir_all(folder);
                    }
                    done
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    let mut results: Vec<Vec<T>> = scripts.iter().map(|_| Vec::new()).collect();
    for (at, result) in done {
        results[jobs[at].0].push(result);
    }
    results
}
