//! A file of cases: read, laid out on disk, written with what is expected.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The marks at the begin of a line; a line of a file is indented.
const INDENT: &str = "    ";

pub struct Script {
    /// The name of the file without its ending.
    pub section: String,
    file: PathBuf,
    /// Up to the first case.
    head: String,
    pub cases: Vec<Case>,
}

#[derive(Clone)]
pub struct Case {
    pub name: String,
    /// Where it begins, from one.
    pub line: usize,
    /// Everything but what is expected, as it is written.
    text: String,
    pub(super) files: Vec<(String, String)>,
    /// Files whose last line has no end.
    unended: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// What stands behind `compose`.
    pub arguments: Vec<String>,
    /// Below the project's folder.
    pub folder: String,
    /// Why what is printed does not load back to the same, if it does not.
    once: Option<String>,
    /// As it is written, without its marks.
    pub expected: Option<String>,
}

impl Script {
    pub fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("a file of cases is readable");
        let section = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let mut script = Self { section, file: file.to_owned(), head: String::new(), cases: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            if let Some(name) = line.strip_prefix("== ") {
                script.cases.push(Case::new(name, index + 1));
            }
            match script.cases.last_mut() {
                Some(case) => case.add(line, &script.section),
                None => _ = writeln!(script.head, "{line}"),
            }
        }
        let mut names = BTreeSet::new();
        for case in &script.cases {
            assert!(names.insert(&case.name), "{}:{}: two cases are called `{}`", script.path(), case.line, case.name);
        }
        script
    }

    /// Cases that stand in no file.
    pub fn of(section: &str, cases: Vec<Case>) -> Self {
        Self { section: section.to_owned(), file: PathBuf::from(section), head: String::new(), cases }
    }

    pub fn path(&self) -> String {
        format!("tests/parity/{}", self.file.file_name().expect("a file has a name").to_string_lossy())
    }

    pub fn write(&self) {
        let mut out = self.head.clone();
        for case in &self.cases {
            out.push_str(case.text.trim_end());
            out.push('\n');
            for line in case.expected.as_deref().unwrap_or_default().lines() {
                let _ = writeln!(out, "> {line}");
            }
            out.push('\n');
        }
        std::fs::write(&self.file, out.trim_end().to_owned() + "\n").expect("a file of cases is writable");
    }
}

impl Case {
    fn new(name: &str, line: usize) -> Self {
        Self {
            name: name.to_owned(),
            line,
            text: String::new(),
            files: Vec::new(),
            unended: Vec::new(),
            environment: Vec::new(),
            arguments: vec!["config".to_owned()],
            folder: String::new(),
            once: None,
            expected: None,
        }
    }

    fn add(&mut self, line: &str, section: &str) {
        if let Some(expected) = line.strip_prefix("> ") {
            let all = self.expected.get_or_insert_default();
            let _ = writeln!(all, "{expected}");
            return;
        }
        let _ = writeln!(self.text, "{line}");
        if let Some(content) = line.strip_prefix(INDENT) {
            if self.files.is_empty() {
                self.files.push(("compose.yaml".to_owned(), String::new()));
            }
            let (_, text) = self.files.last_mut().expect("one was added");
            let _ = writeln!(text, "{content}");
            return;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "==" | "#" => {}
            // An empty line within a file is one of the file's.
            "" if self.expected.is_none() => self.files.iter_mut().last().into_iter().for_each(|(_, text)| text.push('\n')),
            "" => {}
            "file" => self.files.push((rest.to_owned(), String::new())),
            "unended" => self.unended.push(rest.to_owned()),
            "env" => {
                let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
                self.environment.push((key.to_owned(), value.to_owned()));
            }
            "compose" => self.arguments = rest.split_whitespace().map(str::to_owned).collect(),
            "in" => self.folder = rest.to_owned(),
            "once" => self.once = Some(rest.to_owned()),
            _ => panic!("tests/parity, {section}, case `{}`: what is `{line}`?", self.name),
        }
    }

    /// Writes the files of the case.
    pub fn lay_out(&self, folder: &Path) {
        let _ = std::fs::remove_dir_all(folder);
        let project = Self::project(folder);
        std::fs::create_dir_all(project.join(&self.folder)).expect("the folder can be made");
        for (name, text) in self.files.iter().filter(|(name, _)| name != "-") {
            let path = project.join(name);
            std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder can be made");
            if !name.ends_with('/') {
                let end = if self.unended.contains(name) { "" } else { "\n" };
                std::fs::write(path, self.filled(text.trim_end_matches('\n'), folder) + end).expect("the file can be written");
            }
        }
    }

    /// The project's folder; its name is the project's.
    pub fn project(folder: &Path) -> PathBuf {
        folder.join("project")
    }

    /// With the project's folder, and the one above it, in the placeholders' places.
    pub fn filled(&self, text: &str, folder: &Path) -> String {
        text.replace("@DIR@", &Self::project(folder).display().to_string()).replace("@UP@", &folder.display().to_string())
    }

    /// What is run, and on which files.
    pub fn told(&self) -> String {
        let files = self.files.iter().map(|(name, text)| format!("{name}:\n{text}")).collect::<String>();
        format!("{} (changed): compose {}\n{files}", self.name, self.arguments.join(" "))
    }

    pub fn standard_input(&self) -> Option<&str> {
        self.files.iter().find(|(name, _)| name == "-").map(|(_, text)| text.as_str())
    }

    /// Without interpolation `$` is not doubled, so what is printed is not meant to be loaded.
    pub fn loads_back(&self) -> bool {
        self.once.is_none() && !self.arguments.iter().any(|argument| argument == "--no-interpolate")
    }
}
