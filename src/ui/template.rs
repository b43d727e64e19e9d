//! `--format` with a template: the part of Go's that people write in docker's `--format`.

use std::fmt::Write;

use serde_json::Value;

/// A template that was read: `{{.Name}}`, `{{json .}}`, `{{json .Labels}}`, `{{upper .State}}`, text between, `\t` and `\n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// `table …`: with headings, in columns.
    pub is_table: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Nothing: the whole object.
    Field(Option<String>, Shape),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Json,
    Upper,
    Lower,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the format `{template}` cannot be used: {why}")]
pub struct TemplateError {
    template: String,
    why: String,
}

impl Template {
    /// Reads a template. `fields`: what the objects have, for a field that they do not.
    pub fn parse(text: &str, fields: &[&str]) -> Result<Self, TemplateError> {
        let fault = |why: String| TemplateError { template: text.to_owned(), why };
        let (is_table, body) = match text.strip_prefix("table ") {
            Some(body) => (true, body),
            None => (false, text),
        };
        let body = body.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = body.as_str();
        while let Some((before, behind)) = rest.split_once("{{") {
            let (action, after) = behind.split_once("}}").ok_or_else(|| fault("a `{{` has no `}}`".to_owned()))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(part(action, fields).map_err(fault)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts, is_table })
    }

    /// An object as the template shows it.
    pub fn render(&self, object: &Value) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::Field(field, shape) => {
                    let value = field.as_ref().map_or(object, |field| &object[field]);
                    // Writing to a text cannot fail.
                    let _ = match shape {
                        Shape::Json => write!(text, "{value}"),
                        Shape::Plain => write!(text, "{}", plain(value)),
                        Shape::Upper => write!(text, "{}", plain(value).to_uppercase()),
                        Shape::Lower => write!(text, "{}", plain(value).to_lowercase()),
                    };
                }
            }
        }
        text
    }

    /// The headings of a table's columns.
    pub fn headings(&self) -> String {
        let heading = |part: &Part| match part {
            Part::Text(words) => words.clone(),
            Part::Field(field, _) => field.as_deref().unwrap_or_default().to_uppercase(),
        };
        self.parts.iter().map(heading).collect()
    }
}

fn part(action: &str, fields: &[&str]) -> Result<Part, String> {
    let words: Vec<&str> = action.split_whitespace().collect();
    let (shape, path) = match words.as_slice() {
        [path] => (Shape::Plain, *path),
        ["json", path] => (Shape::Json, *path),
        ["upper", path] => (Shape::Upper, *path),
        ["lower", path] => (Shape::Lower, *path),
        _ => return Err(format!("`{}` is more than a field, `json`, `upper` or `lower` of one", action.trim())),
    };
    let name = path.strip_prefix('.').ok_or_else(|| format!("`{path}` is no field, which begin with a dot"))?;
    if name.is_empty() {
        return Ok(Part::Field(None, shape));
    }
    match fields.contains(&name) {
        true => Ok(Part::Field(Some(name.to_owned()), shape)),
        false => Err(format!("there is no field `{name}`; the fields are {}", fields.join(", "))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: &[&str] = &["Name", "State", "Ports"];

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let template = Template::parse(template, FIELDS).expect("it is a template");
        assert_eq!(template.render(&json!({ "Name": "web-1", "State": "running", "Ports": [80] })), expected);
    }

    #[test]
    fn fields_stand_between_text() {
        check("{{.Name}}", "web-1");
        check("{{ .Name }}\\t{{upper .State}}!", "web-1\tRUNNING!");
        check("{{json .Ports}} {{json .Name}}", "[80] \"web-1\"");
        check("{{json .}}", "{\"Name\":\"web-1\",\"Ports\":[80],\"State\":\"running\"}");
        check("plain", "plain");
    }

    #[test]
    fn a_table_has_headings() {
        let table = Template::parse("table {{.Name}}\\t{{.State}}", FIELDS).expect("it is a template");
        assert_eq!((table.is_table, table.headings().as_str()), (true, "NAME\tSTATE"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let why = |text: &str| Template::parse(text, FIELDS).expect_err("it is none").why;
        assert_eq!(why("{{.Name"), "a `{{` has no `}}`");
        assert_eq!(why("{{.Nmae}}"), "there is no field `Nmae`; the fields are Name, State, Ports");
        assert_eq!(why("{{Name}}"), "`Name` is no field, which begin with a dot");
        assert_eq!(why("{{if .Name}}x{{end}}"), "`if .Name` is more than a field, `json`, `upper` or `lower` of one");
    }
}
