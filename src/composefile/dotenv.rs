//! `.env` and `env_file`: the grammar of docker compose's reader.

use std::collections::BTreeMap;

use super::interpolate::{TemplateError, substitute};

/// What went wrong, at which line from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DotenvError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// As much may the values of a file be, once filled in: each may have the one before it twice.
const FILLED_BYTES_MAX: usize = 20 << 20;

/// Reads a file. Values see `known` first, then the keys before them. A key without a value is taken from `known`, or left out.
pub(super) fn parse(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut rest = text.as_str();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let total = text.len();
    let mut filled_bytes = 0;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(pairs);
        }
        let at = total - rest.len();
        if rest.starts_with('#') {
            rest = rest.find('\n').map_or("", |at| &rest[at..]);
            continue;
        }
        let fail = |message: String| DotenvError { line: text[..at].matches('\n').count() + 1, message };
        if let Some(after) = rest.strip_prefix("export").filter(|after| after.starts_with([' ', '\t'])) {
            rest = after.trim_start_matches([' ', '\t']);
        }
        let key_end = rest.find(['=', ':', '\n']).unwrap_or(rest.len());
        let key = rest[..key_end].trim_end();
        let bad = |c: char| !(c.is_alphanumeric() || "_.-[]\t\r\u{b}\u{c}\u{85}\u{a0}".contains(c));
        if let Some(c) = key.chars().find(|c| bad(*c)) {
            return Err(fail(format!("unexpected character {c:?} in variable name {key:?}")));
        }
        if rest[key_end..].is_empty() || rest[key_end..].starts_with('\n') {
            if let Some(value) = known(key) {
                values.insert(key.to_owned(), value.clone());
                pairs.push((key.to_owned(), value));
            }
            rest = &rest[key_end..];
            continue;
        }
        let (value, after) = value(&rest[key_end + 1..]).map_err(&fail)?;
        let lookup = |name: &str| known(name).or_else(|| values.get(name).cloned());
        let value = match value {
            Quoted::Literal(text) => text,
            Quoted::Template(text) => substitute(&text, &lookup, &mut |_| {}).map_err(|error| fail(untold(error)))?,
        };
        filled_bytes += value.len();
        if filled_bytes > FILLED_BYTES_MAX {
            return Err(fail(format!("the values up to here have more than {} MiB", FILLED_BYTES_MAX >> 20)));
        }
        values.insert(key.to_owned(), value.clone());
        pairs.push((key.to_owned(), value));
        rest = after;
    }
}

enum Quoted {
    Literal(String),
    /// To be interpolated.
    Template(String),
}

/// The value that begins here, and what comes behind it.
fn value(text: &str) -> Result<(Quoted, &str), String> {
    let text = text.trim_start_matches([' ', '\t']);
    match text.chars().next() {
        Some('\'') => {
            let end = text[1..].find('\'').ok_or_else(unterminated)?;
            Ok((Quoted::Literal(text[1..=end].to_owned()), after_quote(&text[end + 2..])))
        }
        Some('"') => {
            let mut escaped = false;
            let end = text[1..].char_indices().find(|(_, c)| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            let end = end.ok_or_else(unterminated)?.0 + 1;
            Ok((Quoted::Template(unescape(&text[1..end])), after_quote(&text[end + 1..])))
        }
        _ => {
            let end = text.find('\n').unwrap_or(text.len());
            let line = &text[..end];
            let line = line.split_once(" #").map_or(line, |(value, _)| value);
            Ok((Quoted::Template(line.trim_end().to_owned()), &text[end..]))
        }
    }
}

/// A comment behind a quoted value.
fn after_quote(text: &str) -> &str {
    let trimmed = text.trim_start_matches([' ', '\t']);
    if trimmed.starts_with('#') { trimmed.find('\n').map_or("", |at| &trimmed[at..]) } else { text }
}

fn unterminated() -> String {
    "the quote of this value is never closed".to_owned()
}

/// Why a value cannot be filled in, without the value: it may be a password.
fn untold(error: TemplateError) -> String {
    if error.is_missing {
        error.message
    } else {
        "a `$` in this value begins no variable; in single quotes it is just that".to_owned()
    }
}

/// `\$` becomes `$$`, which interpolation then makes a `$`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            Some('$') => out.push_str("$$"),
            Some('0') => match octal(chars.as_str()) {
                Some(c) => {
                    out.push(c);
                    chars.by_ref().take(OCTAL_DIGITS).for_each(drop);
                }
                // What is no such number loses its zero.
                None => out.push('\\'),
            },
            Some(other @ ('\\' | '"')) => out.push(other),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

const OCTAL_DIGITS: usize = 3;

/// The character that a `\0` and three octal digits stand for.
fn octal(text: &str) -> Option<char> {
    let digits = text.get(..OCTAL_DIGITS)?;
    let is_octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let code = u32::from_str_radix(digits, 8).ok().filter(|code| is_octal && *code < 256)?;
    char::from_u32(code)
}

/// As `docker run --env-file` reads: no quotes, no interpolation. A name alone is looked up.
pub(super) fn raw(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| match line.split_once('=') {
            Some((key, value)) => Some((key.to_owned(), value.to_owned())),
            None => Some((line.to_owned(), known(line)?)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn values_that_double_each_time_are_an_error_before_they_fill_the_memory() {
        let doubled: String = (1..60).map(|n| format!("A{n}=$A{}$A{}\n", n - 1, n - 1)).collect();
        let error = parse(&format!("A0=x\n{doubled}"), &|_| None).expect_err("it is too much");
        assert_eq!((error.line, error.message.as_str()), (25, "the values up to here have more than 20 MiB"));
    }
}
