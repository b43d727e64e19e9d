//! The cases changed by chance, a word here and there: what nobody thought of when writing them.

use super::script::{Case, Script};
use crate::memory::Dice;

const TOKENS: &[&str] = &[
    "null",
    "~",
    "true",
    "no",
    "0",
    "1",
    "-1",
    "1.5",
    "1e3",
    "0x1f",
    "0777",
    "''",
    "\"",
    "'",
    "[]",
    "{}",
    "[a, b]",
    "{a: b}",
    "{a: }",
    "- ",
    ": ",
    ", ",
    "#",
    " # c",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "!reset ",
    "!override ",
    "$A",
    "${A}",
    "${B:-x}",
    "${B?m}",
    "$$",
    "1s",
    "1m30s",
    "64k",
    "80",
    "8080:80",
    "127.0.0.1:80:80/udp",
    "./x:/y",
    "/a:/b:ro",
    "a=b",
    "service:a",
    "host",
    "none",
    "x-a",
    "2001-01-01",
    "é",
    "\t",
    "\n  ",
];
/// Words that are changed in one document at most.
const CHANGES_MAX: usize = 2;

/// As many cases as are asked for, each one of these with one of its files changed.
pub fn changed(scripts: &[Script], count: usize, dice: &mut Dice) -> Script {
    let cases: Vec<&Case> = scripts.iter().flat_map(|script| &script.cases).filter(|case| !case.files.is_empty()).collect();
    let changed = (0..count).map(|line| {
        let mut case = cases[dice.roll(cases.len())].clone();
        case.line = line;
        let file = dice.roll(case.files.len());
        for _ in 0..=dice.roll(CHANGES_MAX) {
            let other = cases[dice.roll(cases.len())];
            let (_, text) = &mut case.files[file];
            *text = change(text, &other.files[0].1, dice);
        }
        case
    });
    Script::of("chance", changed.collect())
}

fn change(text: &str, other: &str, dice: &mut Dice) -> String {
    let (words, others) = (words(text), words(other));
    if words.is_empty() || others.is_empty() {
        return text.to_owned();
    }
    let (start, end) = words[dice.roll(words.len())];
    let (before, word, after) = (&text[..start], &text[start..end], &text[end..]);
    let (start, end) = others[dice.roll(others.len())];
    let token = TOKENS[dice.roll(TOKENS.len())];
    match dice.roll(5) {
        0 => format!("{before}{token}{word}{after}"),
        1 => format!("{before}{after}"),
        2 => format!("{before}{}{after}", &other[start..end]),
        _ => format!("{before}{token}{after}"),
    }
}

/// Where words begin and end: letters, digits, and what names and paths have beside them.
fn words(text: &str) -> Vec<(usize, usize)> {
    let is_word = |c: char| c.is_alphanumeric() || "_./-".contains(c);
    let mut words = Vec::new();
    let mut begin = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (begin, is_word(c)) {
            (None, true) => begin = Some(at),
            (Some(start), false) => {
                words.push((start, at));
                begin = None;
            }
            _ => {}
        }
    }
    words
}
