//! What `develop.watch` asks for when files of this machine change. It decides, from values alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::delivery::Ignore;
use crate::project::{Hook, Project, ServiceName};

/// What editors leave for a moment, as docker compose knows it.
const PASSING: &str = "**/.*.swp\n**/.*.swx\n**/4913\n**/.#*\n**/#*#\n**/*~\n**/___jb_tmp___\n**/___jb_old___\n**/.git";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Action {
    #[serde(rename = "rebuild")]
    Rebuild,
    #[serde(rename = "sync")]
    Sync,
    #[serde(rename = "restart")]
    Restart,
    #[serde(rename = "sync+restart")]
    SyncRestart,
    #[serde(rename = "sync+exec")]
    SyncExec,
}

impl Action {
    pub fn syncs(self) -> bool {
        matches!(self, Self::Sync | Self::SyncRestart | Self::SyncExec)
    }
}

/// A rule of the file (Compose Develop Specification, `watch`).
#[derive(Debug, Deserialize)]
struct Rule {
    path: PathBuf,
    action: Action,
    #[serde(default)]
    target: String,
    #[serde(default)]
    include: Patterns,
    #[serde(default)]
    ignore: Patterns,
    #[serde(default)]
    initial_sync: bool,
    #[serde(default)]
    exec: Option<Hook>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Many(Vec<String>),
    Nothing(()),
}

impl Default for Patterns {
    fn default() -> Self {
        Self::Nothing(())
    }
}

impl Patterns {
    fn lines(&self) -> String {
        match self {
            Self::One(pattern) => pattern.clone(),
            Self::Many(patterns) => patterns.join("\n"),
            Self::Nothing(()) => String::new(),
        }
    }
}

/// A rule of a service, ready to be asked.
#[derive(Debug)]
pub struct Trigger {
    pub service: ServiceName,
    pub path: PathBuf,
    pub action: Action,
    pub initial_sync: bool,
    target: String,
    exec: Option<Hook>,
    /// Nothing: everything.
    include: Option<Ignore>,
    /// What is left out, with the folder that its patterns count from.
    ignores: Vec<(PathBuf, Ignore)>,
}

/// Whether a path of this machine is there after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Written,
    Gone,
}

/// What changes ask for, each once.
#[derive(Debug, Default, PartialEq)]
pub struct Todo {
    pub rebuild: BTreeSet<ServiceName>,
    /// By the path in the replicas; nothing: it goes there.
    pub sync: BTreeMap<ServiceName, BTreeMap<String, Option<PathBuf>>>,
    pub restart: BTreeSet<ServiceName>,
    pub exec: Vec<(ServiceName, Hook)>,
}

/// The triggers of a project's services. `ignored`: the .dockerignore of a build context. What cannot be watched is told by the error.
pub fn triggers(
    project: &Project,
    is_selected: &dyn Fn(&ServiceName) -> bool,
    ignored: &dyn Fn(&Path) -> Ignore,
) -> Result<Vec<Trigger>, String> {
    let mut triggers = Vec::new();
    for (name, service) in project.services.iter().filter(|(name, _)| is_selected(name)) {
        let rules = service.develop.as_ref().and_then(|develop| develop.get("watch")).cloned().unwrap_or(Value::Null);
        let rules: Option<Vec<Rule>> =
            serde_json::from_value(rules).map_err(|error| format!("service `{name}`: develop.watch: {error}"))?;
        let context = service.build.as_ref().and_then(|build| build.document.get("context")?.as_str().map(PathBuf::from));
        for rule in rules.unwrap_or_default() {
            if rule.action == Action::Rebuild && service.build.is_none() {
                return Err(format!("can't watch service \"{name}\" with action rebuild without a build context"));
            }
            let include = rule.include.lines();
            let mut ignores =
                vec![(PathBuf::from("/"), Ignore::parse(PASSING)), (rule.path.clone(), Ignore::parse(&rule.ignore.lines()))];
            ignores.extend(context.iter().map(|context| (context.clone(), ignored(context))));
            triggers.push(Trigger {
                service: name.clone(),
                path: rule.path,
                action: rule.action,
                initial_sync: rule.initial_sync && rule.action.syncs(),
                target: rule.target,
                exec: rule.exec.filter(|_| rule.action == Action::SyncExec),
                include: (!include.is_empty()).then(|| Ignore::parse(&include)),
                ignores,
            });
        }
    }
    Ok(triggers)
}

impl Trigger {
    /// Whether a change of this path is its matter.
    pub fn takes(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.path) else { return false };
        let is_included = rest.as_os_str().is_empty() || self.include.as_ref().is_none_or(|include| include.names(rest));
        let is_ignored = |(folder, ignore): &(PathBuf, Ignore)| path.strip_prefix(folder).is_ok_and(|rest| ignore.names(rest));
        is_included && !self.ignores.iter().any(is_ignored)
    }

    /// Whether something in this folder may be its matter.
    pub fn enters(&self, folder: &Path) -> bool {
        let may_keep = |(top, ignore): &(PathBuf, Ignore)| folder.strip_prefix(top).map_or(true, |rest| ignore.enters(rest));
        folder.starts_with(&self.path) && self.ignores.iter().all(may_keep)
    }

    /// Where a path of this machine is in the replicas.
    fn target_of(&self, path: &Path) -> String {
        let rest = path.strip_prefix(&self.path).unwrap_or(path);
        Path::new(&self.target).join(rest).display().to_string().trim_end_matches('/').to_owned()
    }
}

/// What these changes ask for. `only_sync`: files as they are at the begin, which nothing has to be built or restarted for.
pub fn todo(triggers: &[Trigger], changes: &BTreeMap<PathBuf, Change>, only_sync: bool) -> Todo {
    let mut todo = Todo::default();
    for trigger in triggers.iter().filter(|trigger| !only_sync || trigger.initial_sync) {
        let service = &trigger.service;
        let taken: Vec<(&PathBuf, &Change)> = changes.iter().filter(|(path, _)| trigger.takes(path)).collect();
        if taken.is_empty() {
            continue;
        }
        if trigger.action.syncs() {
            let files = todo.sync.entry(service.clone()).or_default();
            for (path, change) in taken {
                files.insert(trigger.target_of(path), (*change == Change::Written).then(|| path.clone()));
            }
        }
        if only_sync {
            continue;
        }
        match trigger.action {
            Action::Rebuild => drop(todo.rebuild.insert(service.clone())),
            Action::Restart | Action::SyncRestart => drop(todo.restart.insert(service.clone())),
            Action::SyncExec => todo.exec.extend(trigger.exec.clone().map(|hook| (service.clone(), hook))),
            Action::Sync => {}
        }
    }
    todo
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::project::{Build, ProjectName, Service};

    fn project(rules: Value) -> Project {
        let build = Build { document: json!({"context": "/src"}).as_object().cloned().unwrap_or_default() };
        let develop = Some(json!({ "watch": rules }));
        let service = Service { image: Some("demo".to_owned()), build: Some(build), develop, ..Service::default() };
        let name = ServiceName::new("web").expect("a good name");
        Project {
            name: ProjectName::new("shop").expect("a good name"),
            working_dir: "/src".to_owned(),
            config_files: Vec::new(),
            environment_files: Vec::new(),
            services: BTreeMap::from([(name, service)]),
            disabled_services: BTreeSet::new(),
            bases: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            configs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            contents: BTreeMap::new(),
            data_folders: BTreeSet::new(),
            config_hashes: BTreeMap::new(),
        }
    }

    /// What is done after the paths changed, those with a minus being gone; /src/.dockerignore leaves `out` out.
    #[track_caller]
    fn check(rules: Value, changed: &[&str], only_sync: bool, expect: &str) {
        let triggers = triggers(&project(rules), &|_| true, &|_| Ignore::parse("out")).expect("good rules");
        let change = |text: &&str| match text.strip_prefix('-') {
            Some(path) => (PathBuf::from(path), Change::Gone),
            None => (PathBuf::from(text), Change::Written),
        };
        let todo = todo(&triggers, &changed.iter().map(change).collect(), only_sync);
        let mut told: Vec<String> = todo.rebuild.iter().map(|service| format!("rebuild {service}")).collect();
        for (service, files) in &todo.sync {
            let file = |(to, from): (&String, &Option<PathBuf>)| format!("{}{to}", if from.is_some() { "" } else { "-" });
            told.push(format!("sync {service} {}", files.iter().map(file).collect::<Vec<_>>().join(" ")));
        }
        told.extend(todo.restart.iter().map(|service| format!("restart {service}")));
        told.extend(todo.exec.iter().map(|(service, hook)| format!("exec {service} {:?}", hook.command)));
        assert_eq!(told.join("; "), expect);
    }

    #[test]
    fn each_action_asks_for_its_own_once_for_all_that_changed() {
        let rule =
            |action: &str| json!([{"path": "/src/web", "action": action, "target": "/app", "exec": {"command": ["reload"]}}]);
        let changed = ["/src/web/a", "-/src/web/sub/b", "/src/other"];
        check(rule("sync"), &changed, false, "sync web /app/a -/app/sub/b");
        check(rule("rebuild"), &changed, false, "rebuild web");
        check(rule("restart"), &changed, false, "restart web");
        check(rule("sync+restart"), &changed, false, "sync web /app/a -/app/sub/b; restart web");
        check(rule("sync+exec"), &changed, false, "sync web /app/a -/app/sub/b; exec web Some([\"reload\"])");
        check(rule("sync"), &["/src/webbing/a"], false, "");
    }

    #[test]
    fn what_is_ignored_or_not_included_changes_nothing() {
        let rule =
            json!([{"path": "/src", "action": "sync", "target": "/app/", "ignore": ["node_modules/"], "include": "**/*.js"}]);
        let changed = ["/src/a.js", "/src/sub/b.js", "/src/a.css", "/src/node_modules/c.js", "/src/out/d.js", "/src/.git/e.js"];
        check(rule, &changed, false, "sync web /app/a.js /app/sub/b.js");
        let all = json!([{"path": "/src", "action": "sync", "target": "/app"}]);
        check(all, &["/src/.a.swp", "/src/a~", "/src/4913", "/src/sub/.#x", "/src/b"], false, "sync web /app/b");
    }

    #[test]
    fn a_rule_may_name_a_file() {
        let rule = json!([{"path": "/src/app.conf", "action": "sync+restart", "target": "/etc/app.conf", "include": []}]);
        check(rule, &["/src/app.conf", "/src/app.conf.new"], false, "sync web /etc/app.conf; restart web");
    }

    #[test]
    fn at_the_begin_files_are_synced_where_that_is_asked_for_and_nothing_else_is_done() {
        let rule = |initial: bool| json!([{"path": "/src", "action": "sync+restart", "target": "/app", "initial_sync": initial}]);
        check(rule(true), &["/src/a"], true, "sync web /app/a");
        check(rule(false), &["/src/a"], true, "");
    }

    #[test]
    fn folders_that_are_left_out_are_not_entered() {
        let rule = json!([{"path": "/src", "action": "sync", "target": "/app", "ignore": ["node_modules/"]}]);
        let triggers = triggers(&project(rule), &|_| true, &|_| Ignore::parse("out\n!out/kept")).expect("good rules");
        let entered =
            ["/src/sub", "/src/node_modules", "/src/.git", "/src/out", "/other"].map(|path| triggers[0].enters(Path::new(path)));
        assert_eq!(entered, [true, false, false, true, false]);
    }

    #[test]
    fn a_rebuild_needs_something_to_build() {
        let mut project = project(json!([{"path": "/src", "action": "rebuild"}]));
        project.services.values_mut().for_each(|service| service.build = None);
        let refused = triggers(&project, &|_| true, &|_| Ignore::parse("")).map(drop);
        assert_eq!(refused, Err("can't watch service \"web\" with action rebuild without a build context".to_owned()));
    }
}
