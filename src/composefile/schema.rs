//! Which keys there are, and what each may be.

use super::locate::nearest;
use super::{Diagnostic, Node, Value};

const TOP: &[&str] = &["version", "name", "include", "services", "models", "networks", "volumes", "secrets", "configs"];
const SERVICE: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
];

/// Tells every key that is not known. Returns whether the document has the shape that later phases rely on.
pub(super) fn check(document: &Node, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let before = diagnostics.len();
    keys(document, "", TOP, diagnostics);
    if let Some(services) = document.get("services") {
        match &services.value {
            Value::Map(services) => {
                for (name, entry) in services {
                    match &entry.node.value {
                        Value::Map(_) => keys(&entry.node, &format!("services.{name}"), SERVICE, diagnostics),
                        _ => {
                            let message = format!("services.{name} must be a mapping");
                            diagnostics.push(Diagnostic::error(entry.node.span, message));
                        }
                    }
                }
            }
            Value::Null => {}
            _ => diagnostics.push(Diagnostic::error(services.span, "services must be a mapping")),
        }
    }
    diagnostics.len() == before
}

fn keys(node: &Node, path: &str, known: &[&str], diagnostics: &mut Vec<Diagnostic>) {
    let Value::Map(map) = &node.value else { return };
    for (key, entry) in map.iter().filter(|(key, _)| !known.contains(&key.as_str()) && !key.starts_with("x-")) {
        let message = if path.is_empty() { format!("`{key}` is not known") } else { format!("{path}.{key} is not known") };
        let diagnostic = Diagnostic::error(entry.key_span, message);
        diagnostics.push(match nearest(key, known.iter().copied()) {
            Some(near) => diagnostic.labelled(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
}
