//! Lines of containers' logs, each behind the name of its container.

use super::harmless;
use crate::engine::LogLine;

/// docker compose's order of colours.
const COLORS: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

/// How lines are shown.
#[derive(Debug, Clone, Copy)]
pub struct LogStyle {
    pub color: bool,
    pub prefix: bool,
    pub timestamps: bool,
}

/// Knows the names, so that all lines begin at one column.
pub struct LogPainter {
    style: LogStyle,
    names: Vec<String>,
    width: usize,
}

impl LogPainter {
    pub fn new(style: LogStyle) -> Self {
        Self { style, names: Vec::new(), width: 0 }
    }

    /// Returns the name's index.
    pub fn add(&mut self, name: String) -> usize {
        self.width = self.width.max(name.chars().count());
        self.add_silent(name)
    }

    /// As `add`, for one whose lines are not shown.
    pub fn add_silent(&mut self, name: String) -> usize {
        self.names.push(name);
        self.names.len() - 1
    }

    pub fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// The line of the container with this index. A container may colour its lines; what moves the cursor is made harmless.
    pub fn paint(&self, index: usize, line: &LogLine) -> String {
        let time = if self.style.timestamps { format!("{} ", line.time) } else { String::new() };
        let text = if self.style.color { colours_only(&line.text) } else { harmless(&line.text) };
        let (name, width) = (&self.names[index], self.width);
        match (self.style.prefix, self.style.color) {
            (false, _) => format!("{time}{text}"),
            (true, false) => format!("{name:width$}  | {time}{text}"),
            (true, true) => format!("{}{time}{text}", self.coloured(index, &format!("{name:width$}  | "))),
        }
    }

    /// Something said of the container with this index: `web-1 exited with code 0`.
    pub fn remark(&self, index: usize, text: &str) -> String {
        let name = &self.names[index];
        let name = if self.style.color { self.coloured(index, name) } else { name.clone() };
        format!("{name} {text}")
    }

    fn coloured(&self, index: usize, text: &str) -> String {
        format!("\x1b[{}m{text}\x1b[0m", COLORS[index % COLORS.len()])
    }
}

/// `ESC [ digits m` stays, any other control character becomes visible. Colours end with the line.
fn colours_only(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_coloured = false;
    while let Some(at) = rest.find('\x1b') {
        shown += &harmless(&rest[..at]);
        let after = &rest[at + 1..];
        let length = after.strip_prefix('[').and_then(|code| code.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':'));
        match length.filter(|length| after[1 + length..].starts_with('m')) {
            Some(length) => {
                shown += &rest[at..at + length + 3];
                rest = &rest[at + length + 3..];
                is_coloured = true;
            }
            None => {
                shown += "\\u{1b}";
                rest = after;
            }
        }
    }
    shown += &harmless(rest);
    if is_coloured {
        shown += "\x1b[0m";
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{LogPainter, LogStyle, colours_only};
    use crate::engine::LogLine;

    #[test]
    fn colours_pass_and_the_cursor_stays() {
        assert_eq!(colours_only("\x1b[1;31mred\x1b[0m"), "\x1b[1;31mred\x1b[0m\x1b[0m");
        assert_eq!(colours_only("\x1b[2Jgone\x1b"), "\\u{1b}[2Jgone\\u{1b}");
        assert_eq!(colours_only("a\x1b["), "a\\u{1b}[");
        assert_eq!(colours_only("a\rb"), "a\\rb");
    }

    #[test]
    fn lines_begin_at_one_column() {
        let mut painter = LogPainter::new(LogStyle { color: false, prefix: true, timestamps: false });
        let (web, api) = (painter.add("web-1".to_owned()), painter.add("longer-10".to_owned()));
        let line = LogLine { time: String::new(), is_stderr: false, text: "hello".to_owned() };
        assert_eq!(painter.paint(web, &line), "web-1      | hello");
        assert_eq!(painter.paint(api, &line), "longer-10  | hello");
    }
}
