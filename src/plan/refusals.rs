//! What of a service cannot be honoured: refused, so that no replica runs as something else than the file says, or inert.

use std::collections::BTreeMap;

use super::compose::Compose;
use super::diff::Turn;
use super::draft::Draft;
use super::{Note, contents, networks, order, volumes};
use crate::project::{FileGrant, FileObject, HostName, Mount, Service, ServiceName, VolumeName, grant_key};
use crate::world::keys;

/// What keeps the replicas of one service from being made.
pub(super) struct Refusals<'c, 'a> {
    compose: &'c Compose<'a>,
    name: &'a ServiceName,
    service: &'a Service,
    /// On every host.
    everywhere: Vec<Note>,
    /// On hosts whose files are not this machine's.
    remote: Vec<Note>,
    /// Whether the service shares something with a replica of another.
    has_neighbours: bool,
    image: String,
    /// Verdicts of hosts that were asked about, by the host's place.
    verdicts: Vec<Option<bool>>,
}

impl<'c, 'a> Refusals<'c, 'a> {
    pub(super) fn new(compose: &'c Compose<'a>, name: &'a ServiceName, service: &'a Service) -> Self {
        let mut refusals = Self {
            compose,
            name,
            service,
            everywhere: Vec::new(),
            remote: Vec::new(),
            has_neighbours: !order::shares(service).is_empty(),
            image: service.image_name(compose.project, name.as_str()),
            verdicts: compose.for_each_place(None),
        };
        refusals.find_everywhere();
        refusals.find_files();
        refusals
    }

    /// Whether no replica of the service can be made on this host; if so the reasons are noted.
    pub(super) fn refuses(&mut self, (host, place): (&'a HostName, usize), number: u32, draft: &mut Draft) -> bool {
        if let Some(verdict) = self.verdicts[place] {
            return verdict || self.has_no_neighbour(host, number, draft);
        }
        let mut notes = self.everywhere.clone();
        if notes.is_empty() {
            notes.extend(self.on_host(host));
        }
        if notes.is_empty() && !self.compose.is_local(host) {
            notes.clone_from(&self.remote);
        }
        let verdict = !notes.is_empty();
        notes.into_iter().for_each(|note| draft.note(note));
        self.verdicts[place] = Some(verdict);
        verdict || self.has_no_neighbour(host, number, draft)
    }

    fn refused(&self, attribute: &str, why: impl Into<String>, hint: &str) -> Note {
        Note::Refused { subject: self.name.to_string(), attribute: attribute.to_owned(), why: why.into(), hint: hint.to_owned() }
    }

    fn find_everywhere(&mut self) {
        let service = self.service;
        let mut found = Vec::new();
        if service.provider.is_some() {
            found.push(self.refused("provider", "providers are programs beside docker compose", "run the provider by hand"));
        }
        if !service.models.is_empty() {
            found.push(self.refused("models", "models are not supported", "run the model as a service with an image"));
        }
        if service.use_api_socket {
            let hint = "mount /var/run/docker.sock under `volumes`";
            found.push(self.refused("use_api_socket", "the credentials it hands over stay on this machine", hint));
        }
        for (attribute, mode) in [("uts", &service.uts), ("cgroup", &service.cgroup)] {
            if mode.as_deref().is_some_and(|mode| mode.starts_with("service:")) {
                found.push(self.refused(attribute, "the engine shares this namespace with the host only", "use `host`"));
            }
        }
        self.everywhere.extend(found);
    }

    /// Configs and secrets: files are mounted where this machine is the host, other sources need delivery.
    fn find_files(&mut self) {
        let project = self.compose.project;
        let service = self.service;
        let kinds: [(&str, &[FileGrant], &BTreeMap<String, FileObject>); 2] =
            [("configs", &service.configs, &project.configs), ("secrets", &service.secrets, &project.secrets)];
        for (kind, grants, objects) in kinds {
            for grant in grants {
                let source = &grant.source;
                let attribute = format!("{kind}.{source}");
                let Some(object) = objects.get(source) else { continue };
                if object.external || object.driver.is_some() || object.template_driver.is_some() {
                    let why = "external and driver-made ones belong to swarm services";
                    self.everywhere.push(self.refused(&attribute, why, "give it a `file`"));
                } else if !project.contents.contains_key(&grant_key(kind.trim_end_matches('s'), grant)) {
                    let why = "its content is not known here";
                    let note = self.refused(&attribute, why, "run `mcompose up` where the project's files are");
                    if object.file.is_none() { self.everywhere.push(note) } else { self.remote.push(note) }
                }
            }
        }
    }

    fn on_host(&self, host: &'a HostName) -> Vec<Note> {
        let compose = self.compose;
        let Some(seen) = compose.seen(host) else { return Vec::new() };
        let mut notes: Vec<Note> = contents::lacking(compose, self.name, self.service, host, seen).into_iter().collect();
        notes.extend(contents::half(compose, self.name, self.service, host, seen));
        let volumes = volumes::of_service(compose.project, self.service).filter(|(_, volume)| volume.external);
        for (key, volume) in volumes.filter(|(_, volume)| !seen.volumes.iter().any(|other| other.name == volume.name)) {
            let why = format!("the external volume `{}` is not on {host}", volume.name);
            notes.push(self.refused(&format!("volumes.{key}"), why, "create it there with `docker volume create`"));
        }
        for (key, network) in self.service.networks.keys().filter_map(|key| compose.project.networks.get_key_value(key)) {
            let is_on_host = seen.networks.iter().any(|other| other.name == network.name);
            let is_in_swarm = || networks::sightings(compose, &network.name).values().any(|other| other.scope == "swarm");
            if network.external && !is_on_host && !is_in_swarm() {
                let why = format!("the external network `{}` is not on {host}", network.name);
                notes.push(self.refused(&format!("networks.{key}"), why, "create it there with `docker network create`"));
            }
        }
        let image = &self.image;
        if !seen.images.contains_key(image) && compose.meant(image).is_none() {
            let policy = self.service.pull_policy.as_deref();
            if self.service.build.is_some() && (self.service.image.is_none() || policy == Some("build")) {
                let why = format!("image `{image}` is on no host that answers");
                notes.push(self.refused("build", why, "run `mcompose build`, or `up` without --no-build"));
            } else if policy == Some("never") {
                let why = format!("image `{image}` is not on {host}, and `never` forbids to pull it");
                notes.push(self.refused("pull_policy", why, "load the image on the host, or allow to pull it"));
            }
        }
        notes
    }

    /// A slot that shares something with another service's replica needs one on its host.
    fn has_no_neighbour(&self, host: &HostName, number: u32, draft: &mut Draft) -> bool {
        if !self.has_neighbours {
            return false;
        }
        let alone = order::shares(self.service).into_iter().find(|needed| self.compose.neighbour(needed, number, host).is_none());
        if let Some(needed) = alone {
            let why = format!("no replica of `{needed}` is on {host} for {}.{number} to be beside", self.name);
            draft.note(self.refused("network_mode", why, "give both services as many replicas"));
        }
        alone.is_some()
    }

    /// What is not honoured without harm, said once per service.
    pub(super) fn note_inert(&self, turns: &[Turn<'a>], draft: &mut Draft) {
        if turns.is_empty() {
            return;
        }
        for (attribute, why) in inert(self.service) {
            draft.note(Note::Inert { service: self.name.to_string(), attribute: attribute.to_owned(), why: why.to_owned() });
        }
        for (newer, instead) in self.service.better_known() {
            let Some(turn) = turns.iter().find(|turn| self.compose.api_is_before(turn.host, newer.since)) else { continue };
            let (major, minor) = newer.since;
            draft.note(Note::Inert {
                service: self.name.to_string(),
                attribute: newer.attribute.to_owned(),
                why: format!("the engine on {} is older than API {major}.{minor}; {instead}", turn.host),
            });
        }
        self.note_owners(turns, draft);
        self.remark_on_paths(turns, draft);
        self.remark_on_folders(turns, draft);
    }

    /// What is delivered has the owner and mode that is asked for; a file of this machine on this machine is mounted as it is.
    fn note_owners(&self, turns: &[Turn<'a>], draft: &mut Draft) {
        let Some(turn) = turns.iter().find(|turn| self.compose.is_local(turn.host)) else { return };
        let project = self.compose.project;
        for (attribute, grants, objects) in
            [("configs", &self.service.configs, &project.configs), ("secrets", &self.service.secrets, &project.secrets)]
        {
            let is_file = |grant: &FileGrant| objects.get(&grant.source).is_some_and(|object| object.file.is_some());
            let has_owner = |grant: &FileGrant| grant.uid.is_some() || grant.gid.is_some() || grant.mode.is_some();
            if grants.iter().any(|grant| has_owner(grant) && is_file(grant)) {
                draft.note(Note::Inert {
                    service: self.name.to_string(),
                    attribute: attribute.to_owned(),
                    why: format!("{} is this machine, where a file keeps the owner and mode that it has", turn.host),
                });
            }
        }
    }

    /// A path below the project's folder is on this machine; on another host it is that host's own path of the same name.
    fn remark_on_paths(&self, turns: &[Turn<'a>], draft: &mut Draft) {
        let Some(remote) = turns.iter().find(|turn| turn.is_new() && !self.compose.is_local(turn.host)) else { return };
        let base = self.compose.project.working_dir.trim_end_matches('/');
        let is_below = |path: &str| path == base || path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        let binds = self.service.volumes.iter().filter(|mount| mount.kind == "bind");
        for mount in binds {
            let Some(source) = mount.source.as_deref().filter(|source| !base.is_empty() && is_below(source)) else { continue };
            let text = match contents::of_bind(self.compose.project, mount) {
                Some(_) if mount.read_only => continue,
                Some(content) => format!(
                    "{}: {} is delivered to hosts and read-only there; what is to be written to belongs in a volume",
                    self.name, content.name
                ),
                None if mount.read_only
                    || self.service.mode().is_global()
                    || !self.compose.project.data_folders.contains(source) =>
                {
                    format!(
                        "{}: `{source}` is empty or missing here, so it is meant as the path on {} itself",
                        self.name, remote.host
                    )
                }
                None => format!(
                    "{}: `{source}` is empty or missing here, so it is meant as the path on {} itself, which keeps the service \
                     from now on: no other host has what is written there",
                    self.name, remote.host
                ),
            };
            draft.note(Note::Remark { text });
        }
    }
}

impl<'a> Refusals<'_, 'a> {
    /// What is said of folders of the project that are written to: where they are from now on, and that a change here stays here.
    fn remark_on_folders(&self, turns: &[Turn<'a>], draft: &mut Draft) {
        let writes = |key: &VolumeName| {
            let is_it = |mount: &&Mount| mount.kind == "volume" && mount.source.as_deref() == Some(key.as_str());
            self.service.volumes.iter().filter(is_it).any(|mount| !mount.read_only)
        };
        let folders = volumes::of_service(self.compose.project, self.service);
        for (_, volume) in folders.filter(|(key, volume)| volume.folder.is_some() && writes(key)) {
            let mut remote = turns.iter().filter(|turn| !self.compose.is_local(turn.host));
            let Some((turn, seen)) = remote.find_map(|turn| Some((turn, self.compose.seen(turn.host)?))) else { continue };
            let host = turn.host;
            let Some(content) = volume.folder.as_ref().and_then(|folder| folder.content.as_ref()) else { continue };
            let (service, name) = (self.name, &volume.name);
            let text = match seen.volumes.iter().find(|other| other.name == *name && !seen.is_half(name)) {
                Some(there) => match there.labels.get(keys::FOLDER).is_some_and(|digest| *digest != content.digest) {
                    true => format!(
                        "{service}: {} has changed here since volume `{name}` on {host} was made of it; what is in the volume stays, \
                         and `mcompose cp` brings files there",
                        content.name
                    ),
                    false => continue,
                },
                None if !turn.is_new() => continue,
                None if self.service.mode().is_global() => format!(
                    "{service}: {} may be written to, so each host gets it once, into volume `{name}`; later changes here do not reach \
                     it. Mounted with `:ro`, it follows them",
                    content.name
                ),
                None => format!(
                    "{service}: {} may be written to, so {host} gets it once, into volume `{name}`, and keeps the service from now on: no \
                     other host has what is written there, and later changes here do not reach it. Mounted with `:ro`, it goes to \
                     every host and follows them",
                    content.name
                ),
            };
            draft.note(Note::Remark { text });
        }
    }
}

/// Attributes that have no effect on a plain container, with the reason; those that the service sets.
fn inert(service: &Service) -> Vec<(&'static str, &'static str)> {
    let table = inert_attributes(service);
    table.into_iter().filter(|(_, is_set, _)| *is_set).map(|(attribute, _, why)| (attribute, why)).collect()
}

/// All of them, and whether the service sets them.
fn inert_attributes(service: &Service) -> [(&'static str, bool, &'static str); 7] {
    let deploy = service.deploy.as_ref();
    let policy = deploy.and_then(|deploy| deploy.restart_policy.as_ref());
    let delays = policy.is_some_and(|policy| policy.delay.is_some() || policy.window.is_some());
    let counts = policy.is_some_and(|policy| policy.max_attempts.is_some() && policy.condition.as_deref() != Some("on-failure"));
    [
        ("credential_spec", service.credential_spec.is_some(), "it is for Windows containers"),
        ("deploy.endpoint_mode", deploy.is_some_and(|d| d.endpoint_mode.is_some()), "a name stands for all replicas' addresses"),
        ("deploy.labels", deploy.is_some_and(|d| !d.labels.is_empty()), "there is no swarm service to label"),
        (
            "deploy.restart_policy.delay",
            delays,
            "the host's engine restarts with a delay of its own; a supervisor keeps to it for what it starts",
        ),
        (
            "deploy.restart_policy.max_attempts",
            counts,
            "the host's engine counts for `on-failure` only; a supervisor stops what is started more often",
        ),
        (
            "pull_policy",
            service.pull_policy.as_deref() == Some("refresh"),
            "it says no age; `pull` refreshes images, and `daily`, `weekly` and `every_…` have one",
        ),
        ("pull_refresh_after", service.pull_refresh_after.is_some(), "`pull` refreshes images; `up` pulls missing ones"),
    ]
}

#[cfg(test)]
mod tests {
    use super::inert_attributes;
    use crate::composefile::{Support, support};
    use crate::project::Service;

    #[test]
    fn what_is_inert_here_is_so_in_the_table_of_attributes() {
        let rows = support();
        for (attribute, _, why) in inert_attributes(&Service::default()) {
            let row =
                rows.iter().find(|row| row.path == format!("services.*.{attribute}")).expect("the table has every attribute");
            assert!(row.support == Support::Inert(why) || !row.note.is_empty(), "{attribute}: {row:?}");
        }
    }
}
