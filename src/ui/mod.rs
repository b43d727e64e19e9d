//! What people and programs get to read. The only room that prints: answers to standard output, the rest to standard error.

mod harmless;
mod logs;
mod progress;
mod template;

pub use harmless::harmless;
pub use logs::{LogPainter, LogStyle};
pub use progress::Progress;
pub use template::{Template, TemplateError};

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};

/// How to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ui {
    pub color: bool,
    pub progress: Mode,
    /// Progress goes to standard output in the place of standard error.
    pub status_on_stdout: bool,
}

/// `--progress`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A line per replica that changes in place.
    Tty,
    Plain,
    Json,
    Quiet,
}

/// `--ansi`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ansi {
    Auto,
    Always,
    Never,
}

/// Something to say of a failure: what failed, the causes behind it, advice, the last words of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub error: String,
    pub causes: Vec<String>,
    pub hint: Option<String>,
    pub log_tail: Vec<String>,
}

impl Ui {
    /// `progress` as given to `--progress`; nothing or `auto` asks the terminal.
    pub fn new(ansi: Ansi, progress: Option<&str>, no_color: bool, status_on_stdout: bool) -> Self {
        let terminal = if status_on_stdout { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() };
        let color = match ansi {
            Ansi::Always => true,
            Ansi::Never => false,
            Ansi::Auto => terminal && std::io::stdout().is_terminal() && !no_color,
        };
        let progress = match progress {
            Some("tty") => Mode::Tty,
            Some("plain") => Mode::Plain,
            Some("json") => Mode::Json,
            Some("quiet") => Mode::Quiet,
            _ if terminal && ansi != Ansi::Never => Mode::Tty,
            _ => Mode::Plain,
        };
        Self { color, progress, status_on_stdout }
    }

    /// The answer. A reader that has gone away ends the program quietly.
    pub fn data(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
        if write!(out, "{text}{newline}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Columns as docker prints them, without lines.
    pub fn table(&self, headings: &[&str], rows: &[Vec<String>]) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
        for row in rows {
            table.add_row(row.iter().map(|cell| harmless(cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 3));
        }
        self.data(&table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n"));
    }

    /// Objects as a template shows them, one a line.
    pub fn listed(&self, template: &Template, objects: &[serde_json::Value]) {
        let lines = objects.iter().map(|object| template.render(object));
        if !template.is_table {
            return lines.for_each(|line| self.data(&harmless(&line)));
        }
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let headings = template.headings();
        let rows: Vec<_> = lines.map(|line| cells(&line)).collect();
        self.table(&headings.split('\t').collect::<Vec<_>>(), &rows);
    }

    /// What else is to be said.
    pub fn note(&self, text: &str) {
        if self.progress != Mode::Quiet {
            say(&harmless(text));
        }
    }

    pub fn warning(&self, text: &str) {
        let (on, off) = if self.color { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
        say(&format!("{on}warning{off}: {}", harmless(text)));
    }

    /// The one printer of failures.
    pub fn error(&self, report: &Report) {
        let (on, off) = if self.color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let first = format!("{on}error{off}: {}", harmless(&report.error));
        let causes = report.causes.iter().map(|cause| format!("caused by: {}", harmless(cause)));
        let tail = report.log_tail.iter().map(|line| format!("    | {}", harmless(line)));
        let hint = report.hint.iter().map(|hint| format!("hint: {}", harmless(hint)));
        say(&[first].into_iter().chain(causes).chain(tail).chain(hint).collect::<Vec<_>>().join("\n"));
    }

    /// The same, but silent about progress.
    pub fn quiet(self) -> Self {
        Self { progress: Mode::Quiet, ..self }
    }

    /// Asks at the terminal; no terminal means no.
    pub fn confirm(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        let _ = write!(std::io::stderr(), "{question} [yN] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    /// A line of progress.
    pub(super) fn status(&self, line: &str) {
        if self.status_on_stdout { self.data(line) } else { say(line) }
    }

    /// Text that was rendered for people already: excerpts of files.
    pub fn excerpt(&self, text: &str) {
        say(text);
    }
}

/// To standard error. Where nobody reads it any more there is nobody to be told, and the work goes on.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Report {
    /// An error with its chain of sources, those that only repeat what stands before left out.
    pub fn of(error: &dyn std::error::Error, hint: Option<String>) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        let error = error.to_string();
        causes.retain(|cause| !error.contains(cause.as_str()));
        Self { error, causes, hint, log_tail: Vec::new() }
    }
}
