//! Archives of the fake, unpacked into volumes and packed from them as the engine does it: a folder is merged with one that is there,
//! all else takes the place of what has its name, a folder with all that is in it included. What of an archive came before it
//! broke off is unpacked.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use tar::{Archive, Builder, EntryType, Header};

use super::state::{Cluster, Fail, FakeVolume};
use super::storage::volume_of_folder;
use crate::project::HostName;
use crate::world::MountSeen;

/// The engine's name for a volume's own folder.
pub(super) const DATA: &str = "_data";
/// A folder of a host, and no name that a volume may have.
const MEMORY: &str = "/run/mcompose";

/// What is in the folder that the engine keeps for a volume, by path.
pub(super) type Files = BTreeMap<String, FakeFile>;

#[derive(Clone)]
pub(super) struct FakeFile {
    header: Header,
    target: String,
    pub(super) bytes: Vec<u8>,
}

impl FakeFile {
    pub(super) fn of(kind: EntryType, mode: u32, bytes: Vec<u8>) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        Self { header, target: String::new(), bytes }
    }

    pub(super) fn is_file(&self) -> bool {
        self.header.entry_type() == EntryType::Regular
    }
}

impl Cluster {
    pub(super) fn put_archive(&mut self, host: &HostName, container: &str, path: &str, archive: &[u8]) -> Result<(), Fail> {
        let mounts = self.host_mut(host)?.container(container)?.mounts.clone();
        let Some(state) = self.hosts.get_mut(host) else { return Ok(()) };
        unpack((&mut state.volumes, &mut state.memory), &mounts, path, archive).map_err(|error| Fail::failed(error.to_string()))
    }

    pub(super) fn get_archive(&mut self, host: &HostName, container: &str, path: &str) -> Result<Bytes, Fail> {
        let Some((volume, folder)) = self.volume_at(host, container, path)? else { return Ok(Bytes::new()) };
        let volume = self.hosts.get(host).and_then(|state| state.volumes.get(&volume));
        let Some(volume) = volume else { return Ok(Bytes::new()) };
        if !volume.files.contains_key(&folder) {
            return Err(Fail::not_found(format!("Could not find the file {path} in container {container}")));
        }
        pack(&volume.files, &folder).map(Bytes::from).map_err(|error| Fail::failed(error.to_string()))
    }

    /// The volume that a container mounts at a path or above it, and the path in the folder that the engine keeps for it.
    fn volume_at(&mut self, host: &HostName, container: &str, path: &str) -> Result<Option<(String, String)>, Fail> {
        Ok(place(&self.host_mut(host)?.container(container)?.mounts, path))
    }
}

fn place(mounts: &[MountSeen], path: &str) -> Option<(String, String)> {
    let path = format!("/{}", normal(path));
    mounts.iter().find_map(|mount| {
        let rest = path.strip_prefix(mount.target.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        let (volume, folder) = match mount.kind.as_str() {
            "volume" => (mount.name.clone(), DATA),
            _ if in_memory(&mount.source).is_some() => (MEMORY.to_owned(), mount.source.as_str()),
            _ => (volume_of_folder(&mount.source)?, ""),
        };
        Some((volume, normal(&format!("{folder}{rest}"))))
    })
}

/// The path in a host's memory of something that is mounted from there.
pub(super) fn in_memory(source: &str) -> Option<String> {
    source.starts_with(&format!("{MEMORY}/")).then(|| normal(source))
}

fn normal(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/")
}

fn joined(folder: &str, path: &str) -> String {
    normal(&format!("{folder}/{path}"))
}

/// What is not for a volume is the container's own, and passed over.
fn unpack(
    (volumes, memory): (&mut BTreeMap<String, FakeVolume>, &mut Files),
    mounts: &[MountSeen],
    folder: &str,
    archive: &[u8],
) -> std::io::Result<()> {
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = normal(&String::from_utf8_lossy(&entry.path_bytes()));
        let Some((volume, path)) = place(mounts, &joined(folder, &name)) else { continue };
        let files = match volume.as_str() {
            MEMORY => Some(&mut *memory),
            volume => volumes.get_mut(volume).map(|volume| &mut volume.files),
        };
        let Some(files) = files else { continue };
        let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()).unwrap_or_default();
        let mut file = FakeFile { header: entry.header().clone(), target, bytes: Vec::new() };
        let kind = file.header.entry_type();
        entry.read_to_end(&mut file.bytes)?;
        let is_folder = |file: &FakeFile| file.header.entry_type() == EntryType::Directory;
        let has_folder = files.get(&path).is_some_and(is_folder);
        // The engine leaves the folder that it unpacks into as it is.
        if name.is_empty() && has_folder {
            continue;
        }
        if !(has_folder && kind == EntryType::Directory) {
            let below = format!("{path}/");
            files.retain(|other, _| *other != path && !other.starts_with(&below));
        }
        if kind == EntryType::Link {
            let target = place(mounts, &joined(folder, &file.target)).map(|(_, path)| path).unwrap_or_default();
            file = files
                .get(&target)
                .cloned()
                .ok_or_else(|| std::io::Error::other(format!("link {target}: no such file or directory")))?;
        }
        insert(files, path, file);
    }
    Ok(())
}

/// With the folders above it.
fn insert(files: &mut Files, path: String, file: FakeFile) {
    for (at, _) in path.match_indices('/') {
        files.entry(path[..at].to_owned()).or_insert_with(|| FakeFile::of(EntryType::Directory, 0o777, Vec::new()));
    }
    files.insert(path, file);
}

fn pack(files: &Files, folder: &str) -> std::io::Result<Vec<u8>> {
    let mut out = Builder::new(Vec::new());
    let mut paths: Vec<&String> =
        files.keys().filter(|path| *path == folder || path.starts_with(&format!("{folder}/"))).collect();
    paths.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    for path in paths {
        let file = &files[path];
        let mut header = file.header.clone();
        let name = path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/');
        let name = match (name, file.header.entry_type()) {
            ("", EntryType::Directory) => "./",
            ("", _) => folder.rsplit('/').next().unwrap_or(folder),
            (name, _) => name,
        };
        match header.entry_type() {
            EntryType::Symlink => out.append_link(&mut header, name, &file.target)?,
            _ => out.append_data(&mut header, name, file.bytes.as_slice())?,
        }
    }
    out.into_inner()
}

impl super::FakeHost {
    /// The regular files of a volume with what is in them, by path.
    pub fn files(&self, volume: &str) -> BTreeMap<String, Vec<u8>> {
        let files =
            self.with(|host, _| host.volumes.get(volume).map(|volume| volume.files.clone())).flatten().unwrap_or_default();
        let named = |(path, file): (String, FakeFile)| Some((path.strip_prefix("_data/")?.to_owned(), file.bytes));
        files.into_iter().filter(|(_, file)| file.is_file()).filter_map(named).collect()
    }

    /// The regular files in the host's memory with what is in them, by path.
    pub fn memory(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.with(|host, _| host.memory.clone()).unwrap_or_default();
        files.into_iter().filter(|(_, file)| file.is_file()).map(|(path, file)| (path, file.bytes)).collect()
    }

    /// Something on the host writes a file into a volume, or without bytes removes it.
    pub fn write_file(&self, volume: &str, path: &str, bytes: Option<&[u8]>) {
        self.with(|host, _| {
            let Some(volume) = host.volumes.get_mut(volume) else { return };
            let path = format!("{DATA}/{path}");
            match bytes {
                Some(bytes) => insert(&mut volume.files, path, FakeFile::of(EntryType::Regular, 0o644, bytes.to_vec())),
                None => drop(volume.files.remove(&path)),
            }
        });
    }
}
