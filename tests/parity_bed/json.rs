//! JSON compared by value, and written so that it can be read.

use serde_json::Value;

const WIDTH_MAX: usize = 118;
const FAULTS_MAX: usize = 8;

pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON, {error}: {text}"))
}

/// What differs, a line each.
pub fn compare(expected: &Value, actual: &Value, who: &str) -> Result<(), String> {
    let mut faults = Vec::new();
    differences("", expected, actual, &mut faults);
    if faults.is_empty() {
        return Ok(());
    }
    let rest = faults.len().saturating_sub(FAULTS_MAX);
    faults.truncate(FAULTS_MAX);
    if rest > 0 {
        faults.push(format!("and {rest} more"));
    }
    Err(format!("  {who}:\n{}", faults.iter().map(|fault| format!("    {fault}")).collect::<Vec<_>>().join("\n")))
}

fn differences(path: &str, expected: &Value, actual: &Value, faults: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                let path = format!("{path}.{key}");
                match actual.get(key) {
                    Some(other) => differences(&path, value, other, faults),
                    None => faults.push(format!("{path}: {value} is missing")),
                }
            }
            for (key, value) in actual.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                faults.push(format!("{path}.{key}: {value} is too much"));
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                differences(&format!("{path}[{index}]"), expected, actual, faults);
            }
        }
        (Value::Number(expected), Value::Number(actual)) if expected.as_f64() == actual.as_f64() => {}
        (expected, actual) if expected == actual => {}
        (expected, actual) => faults.push(format!("{path}: {actual} instead of {expected}")),
    }
}

/// What fits on a line stands on one.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, 0, &mut out);
    out
}

fn write(value: &Value, indent: usize, before: usize, out: &mut String) {
    let line = inline(value);
    if indent + before + line.len() <= WIDTH_MAX {
        out.push_str(&line);
        return;
    }
    let next = format!("\n{}", " ".repeat(indent + 2));
    match value {
        Value::Object(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(&next);
                let key = format!("{}: ", Value::from(key.as_str()));
                out.push_str(&key);
                write(value, indent + 2, key.len(), out);
            }
            out.push_str(&next[..next.len() - 2]);
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(&next);
                write(value, indent + 2, 0, out);
            }
            out.push_str(&next[..next.len() - 2]);
            out.push(']');
        }
        _ => out.push_str(&line),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), inline(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        _ => value.to_string(),
    }
}
