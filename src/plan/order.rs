//! In which order services come up: each behind those that it needs. Down is the same order backwards.

use std::collections::{BTreeMap, BTreeSet};

use super::Selection;
use crate::project::{ImageBuild, Project, Service, ServiceName};

/// A service of the selection with what it is needed for.
pub(super) type Chosen<'a> = (&'a ServiceName, &'a Service);

/// The services of the selection, with `deps` those that they need too, each behind the ones that it needs; by name else.
/// A circle is cut where it is met: the loader refuses them.
pub(super) fn services<'a>(project: &'a Project, selection: &Selection, deps: bool) -> Vec<Chosen<'a>> {
    Order { project, deps, selection, bases: false, done: BTreeSet::new(), list: Vec::new() }.of_all()
}

/// As `services`, with those whose images a service's build has as contexts, too: each behind them.
pub(super) fn with_bases<'a>(project: &'a Project, selection: &Selection, deps: bool) -> Vec<Chosen<'a>> {
    Order { project, deps, selection, bases: true, done: BTreeSet::new(), list: Vec::new() }.of_all()
}

struct Order<'a, 's> {
    project: &'a Project,
    deps: bool,
    selection: &'s Selection,
    bases: bool,
    done: BTreeSet<&'a str>,
    list: Vec<Chosen<'a>>,
}

impl<'a> Order<'a, '_> {
    fn of_all(mut self) -> Vec<Chosen<'a>> {
        let (project, selection) = (self.project, self.selection);
        for (name, service) in project.services.iter().filter(|(name, _)| selection.has(name.as_str())) {
            self.visit(name, service);
        }
        self.list
    }

    /// Depth first, on a stack of its own: a chain of services may be longer than a thread's stack.
    fn visit(&mut self, name: &'a ServiceName, service: &'a Service) {
        let mut stack = vec![(name, service, false)];
        while let Some((name, service, needs_are_done)) = stack.pop() {
            if needs_are_done {
                self.list.push((name, service));
                continue;
            }
            if !self.done.insert(name.as_str()) {
                continue;
            }
            stack.push((name, service, true));
            let bases = if self.bases { ImageBuild::bases(service) } else { BTreeSet::new() };
            let needed: BTreeSet<&str> = needs(service).into_iter().chain(bases.iter().copied()).collect();
            for needed in needed.into_iter().rev() {
                let found = self.project.services.get_key_value(needed);
                let base = || self.project.bases.get_key_value(needed).filter(|_| bases.contains(needed));
                let Some((name, service)) = found.or_else(base) else { continue };
                let is_chosen = self.deps || self.selection.has(needed) || bases.contains(needed);
                if !self.done.contains(name.as_str()) && is_chosen {
                    stack.push((name, service, false));
                }
            }
        }
    }
}

/// Every service that this one names as needed: in `depends_on`, or since it shares something with it.
pub(super) fn needs(service: &Service) -> BTreeSet<&str> {
    let declared = service.depends_on.keys().map(ServiceName::as_str);
    declared.chain(shares(service)).collect()
}

/// Services whose replica on the same host a replica of this one shares namespaces or volumes with.
pub(super) fn shares(service: &Service) -> BTreeSet<&str> {
    let modes = [&service.network_mode, &service.ipc, &service.pid];
    let namespaces = modes.into_iter().filter_map(|mode| mode.as_deref()?.strip_prefix("service:"));
    let volumes = service.volumes_from.iter().filter(|entry| !entry.starts_with("container:"));
    namespaces.chain(volumes.map(|entry| entry.split(':').next().unwrap_or(entry))).collect()
}

/// For each service of the list: who in the list needs it.
pub(super) fn needed_by<'a>(services: &[Chosen<'a>]) -> BTreeMap<&'a str, Vec<&'a ServiceName>> {
    let mut needed_by: BTreeMap<&str, Vec<&ServiceName>> = BTreeMap::new();
    for (name, service) in services {
        for needed in needs(service) {
            needed_by.entry(needed).or_default().push(name);
        }
    }
    needed_by
}
