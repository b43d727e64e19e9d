//! What a project needs of this machine's files, read and hashed.
#![expect(clippy::disallowed_methods, reason = "it asks what there is")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hmac::Hmac;
use sha2::Sha256;

use super::pack::{Owner, PackError, Source, Summary, summary};
use super::profile;
use super::seal::Keys;
use crate::project::{Content, FileGrant, FileObject, Project, ServiceName, VolumeName, bind_key, grant_key, seccomp_file};

/// Of the derivation of a secret's digest (PBKDF2-HMAC-SHA-256): it stands in labels and names, and must not serve to guess it.
const SECRET_ROUNDS: u32 = 100_000;

/// What is found, and what of it cannot be delivered.
#[derive(Debug, Default)]
pub struct Survey {
    /// For `Project::contents`.
    pub contents: BTreeMap<String, Content>,
    /// For `Volume::folder`, of volumes that stand for one.
    pub folders: BTreeMap<VolumeName, Content>,
    /// For `Project::data_folders`.
    pub data_folders: BTreeSet<String>,
    /// By entries of `security_opt` that name a seccomp profile: what takes their place, since engines want its text.
    pub profiles: BTreeMap<String, String>,
    pub cargo: Cargo,
    pub problems: Vec<Problem>,
}

/// What this machine can bring, by digest.
#[derive(Debug, Clone, Default)]
pub struct Cargo {
    parcels: BTreeMap<String, Parcel>,
    /// Where the values of the project's secrets are, by name.
    secrets: BTreeMap<String, Source>,
    /// The socket of the SSH agent of who runs this.
    agent: Option<PathBuf>,
    /// What secrets are encrypted with on hosts.
    keys: Keys,
}

#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) source: Source,
    /// SHA-256 of the archive as it was when it was read first.
    pub(super) archive_digest: String,
    pub(super) limit: u64,
}

impl Cargo {
    /// Nothing but these keys.
    pub fn of_keys(keys: Keys) -> Self {
        Self { keys, ..Self::default() }
    }

    /// What is here: the digests of what can be delivered, and the ids of the keys.
    pub fn has(&self) -> impl Iterator<Item = &str> {
        self.parcels.keys().map(String::as_str).chain(self.keys.ids())
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Takes something in, under the digest that it is asked for by. `limit`: bytes.
    pub fn add(&mut self, digest: String, source: Source, limit: u64) -> Result<Summary, PackError> {
        let found = summary(&source, limit)?;
        self.parcels.insert(digest, Parcel { source, archive_digest: found.digest.clone(), limit });
        Ok(found)
    }

    /// Notes what builds may ask for: the project's secrets, and the SSH agent that the environment names. Nothing of it is read yet.
    pub fn lend(&mut self, project: &Project, environment: &BTreeMap<String, String>) {
        for (name, object) in &project.secrets {
            let owner = Owner::default();
            let value = match (&object.file, &object.content, &object.environment) {
                _ if object.external || object.driver.is_some() => continue,
                (Some(file), ..) => Source::Path { path: file.into(), within: None, owner },
                (None, Some(content), _) => Source::Text { text: content.clone().into_bytes(), owner },
                (None, None, Some(variable)) => match environment.get(variable) {
                    Some(value) => Source::Text { text: value.clone().into_bytes(), owner },
                    None => continue,
                },
                (None, None, None) => continue,
            };
            self.secrets.insert(name.clone(), value);
        }
        self.agent = environment.get("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
    }

    /// A secret's value, for a build alone; nothing where none of the name is known here.
    pub fn secret(&self, name: &str) -> Option<io::Result<Vec<u8>>> {
        self.secrets.get(name).map(|source| match source {
            Source::Text { text, .. } => Ok(text.clone()),
            Source::Path { path, .. } => fs::read(path),
        })
    }

    /// The socket of the SSH agent of who runs this.
    pub fn agent(&self) -> Option<&Path> {
        self.agent.as_deref()
    }

    pub(super) fn parcel(&self, digest: &str) -> Option<&Parcel> {
        self.parcels.get(digest)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("service `{service}`: {attribute} cannot be brought to its hosts")]
pub struct Problem {
    pub service: ServiceName,
    pub attribute: String,
    pub source: PackError,
}

/// Reads what the services need: bind mounts of what is below the project's folder, and configs and secrets. With `to_others`,
/// some host is another machine than this one; without, only what is no file here has to be brought. `limit`: bytes of each. Where there
/// are keys, secrets are encrypted on their way.
pub fn survey(project: &Project, to_others: bool, environment: &BTreeMap<String, String>, limit: u64, keys: &Keys) -> Survey {
    let found = Survey { cargo: Cargo::of_keys(keys.clone()), ..Survey::default() };
    let mut surveyor = Surveyor { project, environment, limit, found };
    for (name, service) in &project.services {
        for (option, path) in service.security_opt.iter().filter_map(|option| Some((option, seccomp_file(option)?))) {
            match profile::text(&Path::new(&project.working_dir).join(path)) {
                Ok(text) => drop(surveyor.found.profiles.insert(option.clone(), format!("seccomp={text}"))),
                Err(source) => {
                    let attribute = "the seccomp profile of security_opt".to_owned();
                    surveyor.found.problems.push(Problem { service: name.clone(), attribute, source });
                }
            }
        }
        if to_others {
            let binds = service.volumes.iter().filter(|mount| mount.kind == "bind");
            let binds = binds.filter_map(|mount| Some((mount.source.as_deref()?, mount.read_only)));
            binds.for_each(|(source, is_read_only)| surveyor.bind(name, source, is_read_only));
            let named = service.volumes.iter().filter(|mount| mount.kind == "volume");
            for (key, volume) in named.filter_map(|mount| project.volumes.get_key_value(mount.source.as_deref()?)) {
                if let Some(folder) = &volume.folder {
                    surveyor.folder(name, key, &folder.path);
                }
            }
        }
        let kinds = [("config", &service.configs, &project.configs), ("secret", &service.secrets, &project.secrets)];
        for (kind, grants, objects) in kinds {
            for grant in grants {
                let object = objects.get(&grant.source);
                if let Some(object) = object.filter(|object| to_others || object.file.is_none()) {
                    surveyor.grant(name, kind, grant, object);
                }
            }
        }
    }
    surveyor.found
}

struct Surveyor<'a> {
    project: &'a Project,
    environment: &'a BTreeMap<String, String>,
    limit: u64,
    found: Survey,
}

impl Surveyor<'_> {
    fn bind(&mut self, service: &ServiceName, source: &str, is_read_only: bool) {
        let base = Path::new(&self.project.working_dir);
        let path = Path::new(source);
        // A folder that is missing, or empty, is one for data: the host's own.
        let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if self.project.working_dir.is_empty() || !path.starts_with(base) {
            return;
        }
        let is_known = self.project.data_folders.contains(source);
        if is_known || !path.exists() || is_empty() {
            if !is_read_only {
                self.found.data_folders.insert(source.to_owned());
            }
            return;
        }
        let (name, source_of) = self.below(path);
        self.add(service, bind_key(source), name, source_of, None);
    }

    /// A folder that is written to. Where it is gone, what hosts have of it is all there is.
    fn folder(&mut self, service: &ServiceName, key: &VolumeName, path: &str) {
        let path = Path::new(path);
        if self.found.folders.contains_key(key) || !path.exists() {
            return;
        }
        let (name, source) = self.below(path);
        if let Some(content) = self.read(service, name, source, None) {
            self.found.folders.insert(key.clone(), content);
        }
    }

    /// What something below the project's folder is called, and how it is read.
    fn below(&self, path: &Path) -> (String, Source) {
        let base = Path::new(&self.project.working_dir);
        let name = path
            .strip_prefix(base)
            .ok()
            .filter(|rest| !rest.as_os_str().is_empty())
            .map_or(".".to_owned(), |rest| format!("./{}", rest.display()));
        let within = Some(PathBuf::from(base));
        (name, Source::Path { path: path.to_owned(), within, owner: Owner::default() })
    }

    fn grant(&mut self, service: &ServiceName, kind: &str, grant: &FileGrant, object: &FileObject) {
        if object.external || object.driver.is_some() || object.template_driver.is_some() {
            return;
        }
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let mode = grant.mode.as_deref().and_then(|mode| u32::from_str_radix(mode.trim_start_matches("0o"), 8).ok());
        let owner = Owner { uid: number(&grant.uid), gid: number(&grant.gid), mode };
        let source = match (&object.file, &object.content, &object.environment) {
            (Some(file), ..) => Source::Path { path: file.into(), within: None, owner },
            (None, Some(content), _) => Source::Text { text: content.clone().into_bytes(), owner },
            (None, None, Some(variable)) => {
                let text = self.environment.get(variable).cloned().unwrap_or_default();
                Source::Text { text: text.into_bytes(), owner }
            }
            (None, None, None) => return,
        };
        let salt = (kind == "secret").then(|| format!("mcompose {} {}", self.project.name, grant.source));
        self.add(service, grant_key(kind, grant), format!("{kind} {}", grant.source), source, salt.as_deref());
    }

    fn add(&mut self, service: &ServiceName, key: String, name: String, source: Source, salt: Option<&str>) {
        if self.found.contents.contains_key(&key) {
            return;
        }
        if let Some(content) = self.read(service, name, source, salt) {
            self.found.contents.insert(key, content);
        }
    }

    /// Takes something in; nothing where it cannot be delivered, which is told.
    fn read(&mut self, service: &ServiceName, name: String, source: Source, salt: Option<&str>) -> Option<Content> {
        let limit = self.limit;
        match summary(&source, limit) {
            Ok(found) => {
                let keyed = salt.and_then(|salt| self.found.cargo.keys.digest(&found.digest, salt));
                let (sealed, digest) = match (keyed, salt) {
                    (Some((key, digest)), _) => (Some(key), digest),
                    (None, Some(salt)) => (None, derived(&found.digest, salt)),
                    (None, None) => (None, found.digest.clone()),
                };
                self.found.cargo.parcels.insert(digest.clone(), Parcel { source, archive_digest: found.digest, limit });
                Some(Content { name, digest, bytes: found.bytes, is_folder: found.is_folder, sealed })
            }
            Err(source) => {
                self.found.problems.push(Problem { service: service.clone(), attribute: name, source });
                None
            }
        }
    }
}

/// Another digest of what has this one, for each salt another.
fn derived(digest: &str, salt: &str) -> String {
    let mut key = [0_u8; 32];
    pbkdf2::pbkdf2::<Hmac<Sha256>>(digest.as_bytes(), salt.as_bytes(), SECRET_ROUNDS, &mut key)
        .expect("a hash takes keys of any length");
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
