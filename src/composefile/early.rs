//! Texts where docker compose wants a number or a flag as soon as a file is read: before another file can override them.

use super::cast::flag_of;
use super::{Diagnostic, Node, Tag, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Int,
    Float,
    Flag,
}

/// Paths within a service; `*` is any key or item.
const OF_SERVICES: &[(&str, Wanted)] = &[
    ("cpu_count", Wanted::Int),
    ("cpu_percent", Wanted::Float),
    ("cpu_period", Wanted::Int),
    ("cpu_quota", Wanted::Int),
    ("cpu_rt_period", Wanted::Int),
    ("cpu_rt_runtime", Wanted::Int),
    ("cpu_shares", Wanted::Int),
    ("cpus", Wanted::Float),
    ("depends_on.*.required", Wanted::Flag),
    ("depends_on.*.restart", Wanted::Flag),
    ("deploy.placement.max_replicas_per_node", Wanted::Int),
    ("deploy.replicas", Wanted::Int),
    ("deploy.restart_policy.max_attempts", Wanted::Int),
    ("deploy.rollback_config.max_failure_ratio", Wanted::Float),
    ("deploy.rollback_config.parallelism", Wanted::Int),
    ("deploy.update_config.max_failure_ratio", Wanted::Float),
    ("deploy.update_config.parallelism", Wanted::Int),
    ("healthcheck.disable", Wanted::Flag),
    ("healthcheck.retries", Wanted::Int),
    ("init", Wanted::Flag),
    ("oom_kill_disable", Wanted::Flag),
    ("oom_score_adj", Wanted::Int),
    ("pids_limit", Wanted::Int),
    ("ports.*.target", Wanted::Int),
    ("privileged", Wanted::Flag),
    ("read_only", Wanted::Flag),
    ("scale", Wanted::Int),
    ("stdin_open", Wanted::Flag),
    ("tty", Wanted::Flag),
    ("ulimits.*", Wanted::Int),
    ("ulimits.*.hard", Wanted::Int),
    ("ulimits.*.soft", Wanted::Int),
    ("volumes.*.read_only", Wanted::Flag),
    ("volumes.*.volume.nocopy", Wanted::Flag),
];

/// Tells of every text at one of these paths that is no such value.
pub(super) fn check(document: &Node, faults: &mut Vec<Diagnostic>) {
    let Some(Value::Map(services)) = document.get("services").map(|node| &node.value) else { return };
    for (name, service) in services {
        for (path, wanted) in OF_SERVICES {
            let steps: Vec<&str> = path.split('.').collect();
            walk(&service.node, &steps, &mut format!("services.{name}"), *wanted, faults);
        }
    }
}

fn walk(node: &Node, steps: &[&str], path: &mut String, wanted: Wanted, faults: &mut Vec<Diagnostic>) {
    if node.tag == Tag::Reset {
        return;
    }
    let Some((step, rest)) = steps.split_first() else { return hold(node, path, wanted, faults) };
    let mut below = |name: &str, node: &Node| {
        let length = path.len();
        path.push_str(name);
        walk(node, rest, path, wanted, faults);
        path.truncate(length);
    };
    match &node.value {
        Value::Map(map) if *step == "*" => map.iter().for_each(|(key, entry)| below(&format!(".{key}"), &entry.node)),
        Value::Map(map) => map.get(*step).into_iter().for_each(|entry| below(&format!(".{step}"), &entry.node)),
        Value::List(items) if *step == "*" => {
            items.iter().enumerate().for_each(|(index, item)| below(&format!("[{index}]"), item));
        }
        _ => {}
    }
}

fn hold(node: &Node, path: &str, wanted: Wanted, faults: &mut Vec<Diagnostic>) {
    let Value::Text(text) = &node.value else { return };
    let (fits, what) = match wanted {
        Wanted::Int => (text.parse::<i64>().is_ok(), "a whole number"),
        Wanted::Float => (text.parse::<f64>().is_ok(), "a number"),
        Wanted::Flag => (flag_of(text).is_some(), "true or false"),
    };
    if !fits {
        faults.push(Diagnostic::error(node.span, format!("{path} must be {what}, is `{text}`")));
    }
}
