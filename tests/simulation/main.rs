//! Histories of faults: hosts crash, freeze, vanish and come back, calls and events go wrong, containers die, supervisors are
//! killed and frozen, and users deploy meanwhile. Nothing is ever doubled or lost, and once all is well again, all is put right.
//!
//! The supervisors are the real loop, its store and its plans included, on the fake engines, each in a runtime of its own with
//! paused time. A history follows from its seed. docs/testing.md says more.

mod chaos;
mod dice;
mod found;
mod history;
mod laws;
mod leaving;
mod people;
#[path = "../planning/mod.rs"]
mod planning;
mod policies;
mod stuck;
mod town;
mod unlucky;

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Histories in an ordinary run: each takes a fifth of a second of one core in a debug build.
const SEEDS: u64 = 2_000;
/// How many to play (`500`, or `500..900`), and which one to play alone.
const SEEDS_VARIABLE: &str = "MCOMPOSE_SIMULATIONS";
const SEED_VARIABLE: &str = "MCOMPOSE_SIMULATION";
/// Failed seeds of which the story is told; of the others the number.
const STORIES_MAX: usize = 2;
/// After this many no more are played.
const FAILED_MAX: usize = 10;

#[test]
fn nothing_is_doubled_or_lost_and_what_is_healed_is_put_right() {
    let seeds = match (asked(SEED_VARIABLE), asked(SEEDS_VARIABLE)) {
        (Some((seed, _)), _) => seed..seed + 1,
        (None, Some((first, Some(end)))) => first..end,
        (None, Some((count, None))) => 0..count,
        (None, None) => 0..SEEDS,
    };
    let mut failed = play(seeds);
    failed.sort_unstable();
    let mut text = String::new();
    for seed in failed.iter().take(STORIES_MAX) {
        let (story, broken) = history::tell(*seed);
        let broken = broken.unwrap_or_else(|| "nothing, told a second time".to_owned());
        writeln!(text, "{story}seed {seed}: {broken}\n").expect("a text");
        writeln!(text, "replay: {SEED_VARIABLE}={seed} cargo test --test simulation\n").expect("a text");
    }
    assert!(failed.is_empty(), "{text}{} seeds failed: {failed:?}", failed.len());
}

/// Plays histories on all cores; returns the seeds of those in which a law was broken.
fn play(seeds: std::ops::Range<u64>) -> Vec<u64> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().expect("nobody panics with it").len() >= FAILED_MAX {
                        return;
                    }
                    if history::play(seed).is_some() {
                        failed.lock().expect("nobody panics with it").push(seed);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("nobody panics with it")
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..6 {
        let (first, second) = (history::tell(seed), history::tell(seed));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.0.contains("leads"), "somebody acts:\n{}", first.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "how many to play is asked of who runs the tests")]
fn asked(variable: &str) -> Option<(u64, Option<u64>)> {
    let text = std::env::var(variable).ok()?;
    match text.split_once("..") {
        Some((first, end)) => Some((first.parse().ok()?, end.parse().ok())),
        None => Some((text.parse().ok()?, None)),
    }
}
