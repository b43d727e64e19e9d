//! `$NAME` and `${NAME…}` in every text value (Compose Specification, "Interpolation").

use std::collections::BTreeSet;

use super::schema::Path;
use super::{Diagnostic, Node, Value};

/// A template that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateError {
    pub(super) message: String,
    pub(super) is_missing: bool,
}

/// Braces within braces; nobody writes more, and each level of a template costs stack.
const NESTED_MAX: usize = 100;
/// A text is no longer once it is filled in; a Compose file itself is not.
const FILLED_BYTES_MAX: usize = 20 << 20;
/// As much of a template is shown that cannot be read.
const SHOWN_CHARS_MAX: usize = 200;

type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Fills in every text of a tree. Variables that are set nowhere count as empty and are told once each.
pub(super) fn interpolate(node: &mut Node, lookup: &Lookup<'_>, unset: &mut BTreeSet<String>, diagnostics: &mut Vec<Diagnostic>) {
    Walk { lookup, unset, diagnostics }.node(node, &Path::Root);
}

struct Walk<'a> {
    lookup: &'a Lookup<'a>,
    unset: &'a mut BTreeSet<String>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: &Path<'_>) {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let at = if matches!(path, Path::Root) { String::new() } else { format!("{path}: ") };
                let mut told = BTreeSet::new();
                match substitute(text, self.lookup, &mut |name| _ = (!told.contains(name)).then(|| told.insert(name.to_owned())))
                {
                    Ok(filled) => *text = filled,
                    Err(error) if error.is_missing => {
                        self.diagnostics.push(Diagnostic::error(node.span, format!("{at}{}", error.message)));
                    }
                    Err(error) => {
                        let found = Diagnostic::error(node.span, format!("{at}invalid interpolation format: {}", error.message));
                        self.diagnostics.push(found.hinted("a `$` that is meant as such is written `$$`"));
                    }
                }
                for name in told {
                    if self.unset.insert(name.clone()) {
                        let message = format!("{at}the variable `{name}` is not set, and counts as an empty text");
                        self.diagnostics.push(Diagnostic::warning(Some(node.span), message));
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.node(item, &Path::Item(path, index));
                }
            }
            Value::Map(map) => map.iter_mut().for_each(|(key, entry)| self.node(&mut entry.node, &Path::Key(path, key))),
            _ => {}
        }
    }
}

/// Fills in one template. `unset` is told the names that have neither value nor default.
pub(super) fn substitute(text: &str, lookup: &Lookup<'_>, unset: &mut dyn FnMut(&str)) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let name = name_at(rest);
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if !name.is_empty() {
            out.push_str(&plain(name, lookup, unset));
            rest = &rest[name.len()..];
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).map_err(|why| unbalanced(text, &why))?;
            out.push_str(&braced(&after[..end], lookup, unset)?);
            rest = &after[end + 1..];
        } else {
            out.push('$');
        }
        if out.len() > FILLED_BYTES_MAX {
            let message = format!("what its variables stand for has more than {} MiB: {}", FILLED_BYTES_MAX >> 20, shown(text));
            return Err(TemplateError { message, is_missing: false });
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// How a template asks for a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Plainly,
    WithDefault,
    WithAlternate,
    /// Without it loading fails.
    Insistently,
}

/// Tells every variable of a template, those of defaults among them, with the text behind its operator. What is no template ends it.
pub(super) fn asked(text: &str, tell: &mut dyn FnMut(&str, Asked, &str)) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        let name = name_at(rest);
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if !name.is_empty() {
            tell(name, Asked::Plainly, "");
            rest = &rest[name.len()..];
        } else if let Some(after) = rest.strip_prefix('{') {
            let Ok(end) = closing(after) else { return };
            let inner = &after[..end];
            let name = name_at(inner);
            let operators = [
                (":-", Asked::WithDefault),
                ("-", Asked::WithDefault),
                (":+", Asked::WithAlternate),
                ("+", Asked::WithAlternate),
            ];
            let operators = operators.into_iter().chain([(":?", Asked::Insistently), ("?", Asked::Insistently)]);
            let behind = &inner[name.len()..];
            let found = operators.into_iter().find_map(|(operator, what)| Some((what, behind.strip_prefix(operator)?)));
            let (what, text) = found.unwrap_or((Asked::Plainly, ""));
            if !name.is_empty() {
                tell(name, what, text);
                asked(text, tell);
            }
            rest = &after[end + 1..];
        }
    }
}

fn plain(name: &str, lookup: &Lookup<'_>, unset: &mut dyn FnMut(&str)) -> String {
    lookup(name).unwrap_or_else(|| {
        unset(name);
        String::new()
    })
}

/// The letters of a name at the beginning of a text; empty where there is none.
fn name_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

/// Why an opened brace has none that balances it.
enum Unbalanced {
    Never,
    /// One in too many others.
    TooDeep,
}

/// Where the brace that balances the opened one is; behind a line's end is none.
fn closing(text: &str) -> Result<usize, Unbalanced> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' if depth == NESTED_MAX => return Err(Unbalanced::TooDeep),
            '{' => depth += 1,
            '}' if depth == 0 => return Ok(at),
            '}' => depth -= 1,
            '\n' => break,
            _ => {}
        }
    }
    Err(Unbalanced::Never)
}

fn braced(inner: &str, lookup: &Lookup<'_>, unset: &mut dyn FnMut(&str)) -> Result<String, TemplateError> {
    let name = name_at(inner);
    if name.is_empty() {
        return Err(invalid(&format!("${{{inner}}}")));
    }
    let rest = &inner[name.len()..];
    let value = lookup(name);
    let filled = value.as_deref().is_some_and(|value| !value.is_empty());
    let operators = [":-", "-", ":+", "+", ":?", "?"];
    let Some(operator) = operators.into_iter().find(|operator| rest.starts_with(operator)) else {
        return if rest.is_empty() { Ok(plain(name, lookup, unset)) } else { Err(invalid(&format!("${{{inner}}}"))) };
    };
    let text = &rest[operator.len()..];
    let is_there = if operator.starts_with(':') { filled } else { value.is_some() };
    match (operator.trim_start_matches(':'), is_there) {
        ("-", false) | ("+", true) => substitute(text, lookup, unset),
        ("?", false) => {
            let text = substitute(text, lookup, unset)?;
            let colon = if text.is_empty() { "" } else { ": " };
            let message = format!("required variable {name} is missing a value{colon}{text}");
            Err(TemplateError { message, is_missing: true })
        }
        _ => Ok(value.unwrap_or_default()),
    }
}

fn invalid(text: &str) -> TemplateError {
    TemplateError { message: shown(text), is_missing: false }
}

fn unbalanced(text: &str, why: &Unbalanced) -> TemplateError {
    let why = match why {
        Unbalanced::Never => String::new(),
        Unbalanced::TooDeep => format!("more than {NESTED_MAX} templates stand within each other: "),
    };
    TemplateError { message: format!("{why}{}", shown(text)), is_missing: false }
}

/// The beginning of a template.
fn shown(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("`{shown}{rest}`")
}

#[cfg(test)]
mod tests {
    use super::substitute;

    fn check(template: &str, expected: Result<&str, &str>) {
        let lookup = |name: &str| match name {
            "A" => Some("aval".to_owned()),
            "E" => Some(String::new()),
            "B" => Some("$C".to_owned()),
            _ => None,
        };
        let filled = substitute(template, &lookup, &mut |_| {});
        assert_eq!(filled.as_deref().map_err(|error| error.message.as_str()), expected, "{template}");
    }

    #[test]
    fn names_stand_for_their_values() {
        check("$A ${A} x", Ok("aval aval x"));
        check("x${A}y${E:-z}${U-q}", Ok("xavalyzq"));
        check("$A.b $A-b", Ok("aval.b aval-b"));
        check("${B}", Ok("$C"));
    }

    #[test]
    fn a_dollar_that_is_none_stays() {
        check("$$A $$$A", Ok("$A $aval"));
        check("$1 $(x) $", Ok("$1 $(x) $"));
    }

    #[test]
    fn operators_look_at_set_and_empty() {
        check("${E:-d}${E-d}${U-d}", Ok("dd"));
        check("${A:+p}${E:+p}${E+p}${U+p}", Ok("pp"));
        check("${U:-${V:-w}} ${U:-$$A} ${U:-a-b:-c}", Ok("w $A a-b:-c"));
        check("${U:-{\"a\":{\"b\":1}}}", Ok("{\"a\":{\"b\":1}}"));
        check("${A:-${B:?x}}", Ok("aval"));
    }

    #[test]
    fn what_is_required_is_an_error_when_missing() {
        check("${U:?msg}", Err("required variable U is missing a value: msg"));
        check("${E:?}", Err("required variable E is missing a value"));
        check("${E?msg}", Ok(""));
    }

    #[test]
    fn a_template_in_a_hundred_others_is_filled_in_and_one_in_more_is_an_error() {
        let nested = |levels: usize| format!("{}x{}", "${U:-".repeat(levels), "}".repeat(levels));
        check(&nested(100), Ok("x"));
        let message = substitute(&nested(100_000), &|_| None, &mut |_| {}).expect_err("it is too deep").message;
        assert!(message.ends_with("…`") && message.len() < 1_000, "{message}");
    }

    #[test]
    fn what_is_no_template_is_an_error() {
        for text in ["${", "${1}", "${A/x/y}", "${A.B}", "${U:=d}", "${U: -d}"] {
            assert!(substitute(text, &|_| None, &mut |_| {}).is_err(), "{text}");
        }
    }
}
