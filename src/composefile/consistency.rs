//! Rules between attributes. `--no-consistency` skips them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Diagnostic, Map, Node, Note, Span, Value};
use crate::project::nearest;

/// Checks a document in its final form; `disabled` are the services that no active profile wants.
pub(super) fn check(document: &Node, disabled: &Map, faults: &mut Vec<Diagnostic>) {
    let mut names: BTreeMap<&str, (&str, Span)> = BTreeMap::new();
    for (name, node) in document.entries("services") {
        let service = Service { document, disabled, name, node };
        service.check(faults);
        if let Some(container_name) = node.get("container_name")
            && let Some(text) = container_name.as_str()
            && let Some((other, span)) = names.insert(text, (name, container_name.span))
        {
            let message = format!("services.{name}: the container name `{text}` is that of service `{other}`, too");
            let mut found = Diagnostic::error(container_name.span, message);
            found.notes.push(Note { span, label: "first here".to_owned() });
            faults.push(found);
        }
    }
    for (name, secret) in document.entries("secrets") {
        let is_external = matches!(secret.get("external").map(|node| &node.value), Some(Value::Bool(true)));
        if !is_external && secret.get("file").is_none() && secret.get("environment").is_none() {
            faults.push(Diagnostic::error(secret.span, format!("secrets.{name} must have a `file` or an `environment`")));
        }
    }
    cycles(document, faults);
}

struct Service<'a> {
    document: &'a Node,
    disabled: &'a Map,
    name: &'a str,
    node: &'a Node,
}

impl<'a> Service<'a> {
    fn check(&self, faults: &mut Vec<Diagnostic>) {
        let node = self.node;
        if ["image", "build", "provider"].iter().all(|key| node.get(key).is_none()) {
            faults
                .push(Diagnostic::error(node.span, format!("service `{}` has neither an image nor a build context", self.name)));
        }
        if let Some(build) = node.get("build") {
            self.build(build, faults);
        }
        self.networks(faults);
        self.healthcheck(faults);
        self.dependencies(faults);
        self.sources(faults);
        self.scale(faults);
        self.resources(faults);
        self.watch(faults);
        self.mounts(faults);
        self.restart(faults);
    }

    /// docker compose takes a number that is none for zero, which is no limit.
    fn restart(&self, faults: &mut Vec<Diagnostic>) {
        let Some(node) = self.node.get("restart") else { return };
        if let Some(("on-failure", limit)) = node.as_str().and_then(|text| text.split_once(':'))
            && limit.parse::<u32>().is_err()
        {
            let message = format!("services.{}.restart: `{limit}` is no number of attempts; there is no limit", self.name);
            faults.push(Diagnostic::warning(Some(node.span), message));
        }
    }

    fn build(&self, build: &Node, faults: &mut Vec<Diagnostic>) {
        let name = self.name;
        if let (Some(_), Some(inline)) = (build.get("dockerfile"), build.get("dockerfile_inline")) {
            let message = format!("services.{name}.build: `dockerfile` and `dockerfile_inline` exclude each other");
            faults.push(Diagnostic::error(inline.span, message));
        }
        for (key, context) in build.entries("additional_contexts") {
            let Some(target) = context.as_str().and_then(|context| context.strip_prefix("service:")) else { continue };
            let why = match self.document.get("services").and_then(|services| services.get(target)) {
                None => "is not defined",
                Some(service) if service.get("build").is_none() => "is not built",
                Some(_) => continue,
            };
            let message = format!("services.{name}.build.additional_contexts.{key}: service `{target}` {why}");
            faults.push(Diagnostic::error(context.span, message));
        }
        let platforms = build.items("platforms");
        if let Some(platform) = self.node.get("platform")
            && !platforms.is_empty()
            && !platforms.contains(platform)
        {
            let message = format!("services.{name}.build.platforms must include the service's own `platform`");
            faults.push(Diagnostic::error(platform.span, message));
        }
    }

    fn networks(&self, faults: &mut Vec<Diagnostic>) {
        if let Some(mode) = self.node.get("network_mode")
            && self.node.entries("networks").next().is_some()
        {
            let message = format!("services.{}: `network_mode` and `networks` exclude each other", self.name);
            faults.push(Diagnostic::error(mode.span, message));
        }
        let joined = self.node.get("networks").and_then(Node::as_map).into_iter().flatten();
        for (network, entry) in joined {
            self.known("networks", "network", network, entry.key_span, faults);
        }
        let shared = self.node.get("network_mode").and_then(|mode| Some((mode.as_str()?.strip_prefix("service:")?, mode.span)));
        if let Some((target, span)) = shared
            && self.document.get("services").and_then(|services| services.get(target)).is_none()
        {
            let message = format!("services.{}.network_mode: service `{target}` is not defined", self.name);
            faults.push(Diagnostic::error(span, message));
        }
    }

    fn healthcheck(&self, faults: &mut Vec<Diagnostic>) {
        let Some(first) = self.node.get("healthcheck").and_then(|check| check.items("test").first()) else { return };
        if !matches!(first.as_str(), Some("CMD" | "CMD-SHELL" | "NONE")) {
            let message = format!("services.{}.healthcheck.test must start with CMD, CMD-SHELL or NONE", self.name);
            faults.push(Diagnostic::error(first.span, message));
        }
    }

    fn dependencies(&self, faults: &mut Vec<Diagnostic>) {
        let services = self.document.get("services").and_then(Node::as_map);
        let entries = self.node.get("depends_on").and_then(Node::as_map).into_iter().flatten();
        for (target, entry) in entries.filter(|(target, _)| services.is_none_or(|services| !services.contains_key(*target))) {
            let is_required = !matches!(entry.node.get("required").map(|node| &node.value), Some(Value::Bool(false)));
            let is_disabled = self.disabled.contains_key(target);
            if is_disabled && !is_required {
                continue;
            }
            let mut found =
                Diagnostic::error(entry.key_span, format!("service `{}` depends on undefined service `{target}`", self.name));
            if is_disabled {
                found.hint = Some(format!("`{target}` is there, but none of its profiles is active; `--profile` activates one"));
            } else if let Some(near) = nearest(target, services.into_iter().flat_map(Map::keys).map(String::as_str)) {
                found.label = format!("did you mean `{near}`?");
            }
            faults.push(found);
        }
    }

    /// Volumes, secrets, configs and models that are used are defined.
    fn sources(&self, faults: &mut Vec<Diagnostic>) {
        let named = |items: &'a [Node]| items.iter().map(|item| item.get("source").unwrap_or(item));
        let mounts = self.node.items("volumes").iter().filter(|mount| mount.text_at("type") == Some("volume"));
        for source in mounts.filter_map(|mount| mount.get("source")) {
            self.known("volumes", "volume", source.as_str().unwrap_or_default(), source.span, faults);
        }
        let build = self.node.get("build").map(|build| build.items("secrets")).unwrap_or_default();
        let kinds = [
            ("secrets", "build secret", build),
            ("configs", "config", self.node.items("configs")),
            ("secrets", "secret", self.node.items("secrets")),
        ];
        for (section, kind, items) in kinds {
            for source in named(items) {
                self.known(section, kind, source.as_str().unwrap_or_default(), source.span, faults);
            }
        }
        for (model, entry) in self.node.get("models").and_then(Node::as_map).into_iter().flatten() {
            self.known("models", "model", model, entry.key_span, faults);
        }
    }

    fn known(&self, section: &str, kind: &str, name: &str, span: Span, faults: &mut Vec<Diagnostic>) {
        let defined = self.document.get(section).and_then(Node::as_map);
        if defined.is_some_and(|defined| defined.contains_key(name)) {
            return;
        }
        let mut found = Diagnostic::error(span, format!("service `{}` refers to undefined {kind} `{name}`", self.name));
        match nearest(name, defined.into_iter().flat_map(Map::keys).map(String::as_str)) {
            Some(near) => found.label = format!("did you mean `{near}`?"),
            None => found.hint = Some(format!("define it under the top-level `{section}`")),
        }
        faults.push(found);
    }

    fn scale(&self, faults: &mut Vec<Diagnostic>) {
        let name = self.name;
        let scale = self.node.get("scale");
        let replicas = self.node.get("deploy").and_then(|deploy| deploy.get("replicas"));
        if let (Some(scale), Some(replicas)) = (scale, replicas)
            && scale != replicas
        {
            let message = format!("services.{name}: can't set distinct values on 'scale' and 'deploy.replicas'");
            faults.push(Diagnostic::error(scale.span, message));
        }
        let Some(wanted) = scale.or(replicas) else { return };
        let Value::Int(count) = wanted.value else { return };
        if count < 0 {
            faults.push(Diagnostic::error(
                wanted.span,
                format!("services.{name}: the number of replicas must be 0 or more, is {count}"),
            ));
        }
        if count > 1
            && let Some(container_name) = self.node.get("container_name")
        {
            let message = format!("services.{name}: `container_name` allows one replica only, since names are unique");
            faults.push(Diagnostic::error(container_name.span, message));
        }
    }

    fn resources(&self, faults: &mut Vec<Diagnostic>) {
        let resources = self.node.get("deploy").and_then(|deploy| deploy.get("resources"));
        let pairs = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ];
        for (own, side, key) in pairs {
            if let Some(value) = self.node.get(own)
                && let Some(side_node) = resources.and_then(|resources| resources.get(side))
                && side_node.get(key) != Some(value)
            {
                let message =
                    format!("services.{}: can't set distinct values on '{own}' and 'deploy.resources.{side}.{key}'", self.name);
                faults.push(Diagnostic::error(value.span, message));
            }
        }
    }

    fn watch(&self, faults: &mut Vec<Diagnostic>) {
        let Some(develop) = self.node.get("develop") else { return };
        for (index, rule) in develop.items("watch").iter().enumerate() {
            let needs_target = !matches!(rule.text_at("action"), Some("rebuild" | "restart"));
            if needs_target && rule.get("target").is_none() {
                let message = format!("services.{}.develop.watch[{index}]: this action needs a `target`", self.name);
                faults.push(Diagnostic::error(rule.span, message));
            }
        }
    }

    fn mounts(&self, faults: &mut Vec<Diagnostic>) {
        let mut targets: BTreeMap<&str, (String, Span)> = BTreeMap::new();
        let tmpfs = self.node.items("tmpfs").iter().enumerate().filter_map(|(index, item)| {
            let target = item.as_str()?;
            Some((target.split(':').next().unwrap_or(target), format!("tmpfs[{index}]"), item.span))
        });
        let volumes = self.node.items("volumes").iter().enumerate().filter_map(|(index, mount)| {
            let target = mount.get("target")?;
            Some((target.as_str()?, format!("volumes[{index}]"), target.span))
        });
        for (target, place, span) in tmpfs.chain(volumes) {
            if let Some((other, first)) = targets.get(target) {
                let message = format!("services.{}.{place}: `{target}` is mounted already by {other}", self.name);
                let mut found = Diagnostic::error(span, message);
                found.notes.push(Note { span: *first, label: "first here".to_owned() });
                faults.push(found);
            } else {
                targets.insert(target, (place, span));
            }
        }
    }
}

/// Reports one cycle of dependencies, with every service on it.
fn cycles(document: &Node, faults: &mut Vec<Diagnostic>) {
    let edges: BTreeMap<&str, Vec<(&str, Span)>> = document
        .entries("services")
        .map(|(name, service)| {
            let entries = service.get("depends_on").and_then(Node::as_map).into_iter().flatten();
            (name, entries.map(|(target, entry)| (target.as_str(), entry.key_span)).collect())
        })
        .collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        // Each element: a service on the way and how many of its dependencies were followed.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_way: BTreeSet<&str> = BTreeSet::from([*start]);
        while let Some((name, next)) = way.last_mut() {
            let Some((target, span)) = edges.get(name).filter(|_| !done.contains(name)).and_then(|targets| targets.get(*next))
            else {
                done.insert(name);
                on_way.remove(name);
                way.pop();
                continue;
            };
            *next += 1;
            if on_way.contains(target) {
                let names = way.iter().map(|(name, _)| *name).skip_while(|name| name != target);
                let cycle = names.chain([*target]).collect::<Vec<_>>().join(" -> ");
                faults.push(Diagnostic::error(*span, format!("dependency cycle detected: {cycle}")));
                return;
            }
            if !done.contains(target) {
                on_way.insert(target);
                way.push((target, 0));
            }
        }
    }
}
