//! `SOURCE[:TARGET[:PERMISSIONS]]`

use super::super::access::{map_of, text};
use super::super::{Span, Value};

/// Returns the long form, or what is wrong.
pub(in crate::composefile) fn parse(short: &str, span: Span) -> Result<Value, String> {
    let fields: Vec<&str> = short.split(':').collect();
    let (source, target, permissions) = match fields[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return Err(format!("`{short}` has more than three fields; use the long form with `source` and `target`")),
    };
    let target = if target.is_empty() { source } else { target };
    Ok(map_of(span, [("source", text(source)), ("target", text(target)), ("permissions", text(permissions))]))
}
