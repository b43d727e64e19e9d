//! Lines of containers' logs, each behind the name of its container.

use super::harmless;
use crate::engine::LogLine;

/// docker compose's order of colours.
const COLORS: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

/// Knows the names, so that all lines begin at one column.
pub struct LogPainter {
    prefixes: Vec<String>,
    timestamps: bool,
}

impl LogPainter {
    pub fn new(names: &[String], color: bool, prefix: bool, timestamps: bool) -> Self {
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        let painted = |(index, name): (usize, &String)| match (prefix, color) {
            (false, _) => String::new(),
            (true, false) => format!("{name:width$}  | "),
            (true, true) => format!("\x1b[{}m{name:width$}  |\x1b[0m ", COLORS[index % COLORS.len()]),
        };
        Self { prefixes: names.iter().enumerate().map(painted).collect(), timestamps }
    }

    /// The line of the container with this index. A container may colour its lines; what moves the cursor is made harmless.
    pub fn paint(&self, index: usize, line: &LogLine) -> String {
        let time = if self.timestamps { format!("{} ", line.time) } else { String::new() };
        let text = if self.prefixes[index].contains('\x1b') { line.text.clone() } else { harmless(&line.text) };
        format!("{}{time}{text}", self.prefixes[index])
    }
}
