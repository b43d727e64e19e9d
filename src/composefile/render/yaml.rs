//! YAML as `config` prints it. Every text is written so that YAML 1.1 and 1.2 both read it as that text.

use super::super::go;
use super::super::scalar::resolve;
use super::super::schema::{Form, SERVICE};
use super::super::{Map, Node, Value};

/// The document in its own order with `$` doubled; one that was not made final in order of the alphabet, with `$` as it is.
pub(in crate::composefile) fn document(document: &Node, is_final: bool) -> String {
    let mut out = Writer { text: String::new(), is_final };
    match &document.value {
        Value::Map(map) if !map.is_empty() => out.map(map, 0),
        _ => out.inline(document, 0),
    }
    out.text
}

struct Writer {
    text: String,
    is_final: bool,
}

impl Writer {
    /// The entries, a line each; the first one continues the line that was begun.
    fn map(&mut self, map: &Map, indent: usize) {
        let mut entries: Vec<_> = map.iter().collect();
        if !self.is_final {
            entries.sort_by_key(|(key, _)| key.as_str());
        }
        for (index, (key, entry)) in entries.into_iter().enumerate() {
            if index > 0 {
                self.line(indent);
            }
            let key_text = one_line(key);
            self.text.push_str(&key_text);
            self.text.push(':');
            match &entry.node.value {
                Value::Map(map) if !map.is_empty() => {
                    self.line(indent + 2);
                    self.map(map, indent + 2);
                }
                // A list stands as deep as its key.
                Value::List(items) if !items.is_empty() => {
                    self.line(indent);
                    self.list(items, indent);
                }
                // The engine's `no limit` is a number below zero, which as a text would be no size.
                Value::Text(text) if text.starts_with('-') && is_size(key) => {
                    self.text.push(' ');
                    self.text.push_str(text);
                    self.text.push('\n');
                }
                _ => {
                    self.text.push(' ');
                    self.inline(&entry.node, indent + 2);
                }
            }
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.line(indent);
            }
            self.text.push_str("- ");
            match &item.value {
                Value::Map(map) if !map.is_empty() => self.map(map, indent + 2),
                Value::List(items) if !items.is_empty() => self.list(items, indent + 2),
                _ => self.inline(item, indent + 2),
            }
        }
    }

    /// Begins a line where none is begun.
    fn line(&mut self, indent: usize) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    /// What has no entries, with the end of its line. `indent` is that of further lines.
    fn inline(&mut self, node: &Node, indent: usize) {
        let written = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) if number.is_nan() => ".nan".to_owned(),
            Value::Float(number) if number.is_infinite() => if *number > 0.0 { ".inf" } else { "-.inf" }.to_owned(),
            Value::Float(number) => go::float(*number),
            Value::Text(text) => {
                let text = if self.is_final { text.replace('$', "$$") } else { text.clone() };
                block(&text, indent).unwrap_or_else(|| one_line(&text))
            }
            // As it was written, so that it stays a date.
            Value::Timestamp(text) => text.clone(),
            Value::List(_) => "[]".to_owned(),
            Value::Map(_) => "{}".to_owned(),
        };
        self.text.push_str(&written);
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

fn is_size(key: &str) -> bool {
    SERVICE.field(key).is_some_and(|field| matches!(field.form, Form::Bytes))
}

/// Several lines as they are, where YAML can tell where they begin.
fn block(text: &str, indent: usize) -> Option<String> {
    let is_plain = |c: char| c == '\n' || c == '\t' || is_printable(c);
    if !text.contains('\n') || text.starts_with([' ', '\n', '\t']) || text.ends_with([' ', '\t']) || !text.chars().all(is_plain) {
        return None;
    }
    let chomp = match (text.ends_with("\n\n"), text.ends_with('\n')) {
        (true, _) => "+",
        (false, true) => "",
        (false, false) => "-",
    };
    let mut out = format!("|{chomp}\n");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
        out.push('\n');
    }
    Some(out)
}

/// A text on one line: bare where nothing else could be meant, else in quotes.
fn one_line(text: &str) -> String {
    use std::fmt::Write as _;
    if is_bare(text) {
        return text.to_owned();
    }
    if text.chars().all(is_printable) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c => _ = write!(out, "\\U{:08x}", u32::from(c)),
        }
    }
    out.push('"');
    out
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Whether a text may stand without quotes: it begins as a word or a path, and no version of YAML takes it for something else.
fn is_bare(text: &str) -> bool {
    const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let first_is_safe = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '$' | '\\' | '('));
    // YAML 1.1 reads `1:30` as a number.
    let is_time = text.starts_with(|c: char| c.is_ascii_digit()) && text.contains(':');
    first_is_safe
        && !is_time
        && text.chars().all(is_printable)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        && matches!(resolve(text), Value::Text(_))
}

#[cfg(test)]
mod tests {
    use super::{block, one_line};

    #[test]
    fn what_could_be_read_as_something_else_is_quoted() {
        for bare in ["web", "./a b", "/x:/y", "nginx:1.25", "a'b", "1.2.3"] {
            assert_eq!(one_line(bare), bare);
        }
        for quoted in
            ["", "yes", "N", "null", "~", "1", "0x1f", "1_000", "2024-01-31", "1:30", "a: b", "a #b", "- a", "*", "=", "a:"]
        {
            assert_eq!(one_line(quoted), format!("'{quoted}'"));
        }
        assert_eq!(one_line("it's: so"), "'it''s: so'");
        assert_eq!(one_line("a\tb\u{1}"), "\"a\\tb\\U00000001\"");
    }

    #[test]
    fn lines_are_kept() {
        assert_eq!(block("a\nb", 2).as_deref(), Some("|-\n  a\n  b\n"));
        assert_eq!(block("a\n\nb\n", 1).as_deref(), Some("|\n a\n\n b\n"));
        assert_eq!(block("a\n\n", 1).as_deref(), Some("|+\n a\n\n"));
        assert_eq!(block(" a\nb", 1), None);
    }
}
