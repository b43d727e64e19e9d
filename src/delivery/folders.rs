//! Folders of the project that services write to: volumes on hosts that are other machines than this one.
#![expect(clippy::disallowed_methods, reason = "it asks what there is")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::project::{Folder, MountVolume, Project, Volume, VolumeName};

/// Digits of the digest of a path that tell apart folders whose paths give the same name.
const DIGITS: usize = 8;

/// Makes a volume of every folder below the project's own that has something in it and that some service mounts to write to, and lets
/// all services that mount it have that. Folders that are empty or missing here, or were so and are known as folders for data, are left
/// as they are, and files.
pub fn adopt(project: &mut Project) {
    for source in written(project).difference(&project.data_folders.clone()).cloned() {
        let known = project.volumes.iter().find(|(_, volume)| volume.folder.as_ref().is_some_and(|folder| folder.path == source));
        let key = match known {
            Some((key, _)) => key.clone(),
            None => {
                let Some(key) = key(project, &source) else { continue };
                let folder = Folder { path: source.clone(), content: None };
                let volume = Volume { name: format!("{}_{key}", project.name), folder: Some(folder), ..Volume::default() };
                project.volumes.insert(key.clone(), volume);
                key
            }
        };
        let mounts = project.services.values_mut().flat_map(|service| &mut service.volumes);
        for mount in mounts.filter(|mount| mount.kind == "bind" && mount.source.as_deref() == Some(&source)) {
            mount.kind = "volume".to_owned();
            mount.source = Some(key.to_string());
            mount.volume = Some(MountVolume { nocopy: true, ..MountVolume::default() });
        }
    }
}

/// The sources of mounts to write to that have something in them here.
pub fn written(project: &Project) -> BTreeSet<String> {
    let base = Path::new(&project.working_dir);
    let has_something = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    let mounts = project.services.values().flat_map(|service| &service.volumes);
    let binds = mounts.filter(|mount| mount.kind == "bind" && !mount.read_only).filter_map(|mount| mount.source.as_deref());
    let below = binds.filter(|source| !project.working_dir.is_empty() && Path::new(source).starts_with(base));
    below.filter(|source| has_something(Path::new(source))).map(str::to_owned).collect()
}

/// A name that says which folder it is: its path below the project's, in the letters that a volume's name may have.
fn key(project: &Project, source: &str) -> Option<VolumeName> {
    let below = Path::new(source).strip_prefix(&project.working_dir).ok()?.to_str()?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let name: String = below.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect();
    let plain = VolumeName::new(format!("files-{name}"));
    let is_free = |key: &VolumeName| !below.is_empty() && name == below && !project.volumes.contains_key(key);
    if let Ok(key) = plain
        && is_free(&key)
    {
        return Some(key);
    }
    let digest: String = Sha256::digest(below).iter().map(|byte| format!("{byte:02x}")).take(DIGITS / 2).collect();
    VolumeName::new(format!("files-{name}-{digest}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{Mount, Service, ServiceName};

    fn bind(source: &Path, read_only: bool) -> Mount {
        Mount {
            kind: "bind".to_owned(),
            source: Some(source.display().to_string()),
            target: "/t".to_owned(),
            read_only,
            ..Mount::default()
        }
    }

    fn project(folder: &Path, services: &[(&str, Mount)]) -> Project {
        let bare = serde_json::json!({ "name": "shop", "working_dir": folder, "config_files": [], "services": {} });
        let mut project: Project = serde_json::from_value(bare).expect("it is a project");
        for (name, mount) in services {
            let service = Service { volumes: vec![mount.clone()], ..Service::default() };
            project.services.insert(ServiceName::new(*name).expect("a good name"), service);
        }
        project
    }

    /// `service: kind source` of each, and what the volumes are called.
    fn adopted(mut project: Project) -> (Vec<String>, Vec<String>) {
        adopt(&mut project);
        let once = project.clone();
        adopt(&mut project);
        assert_eq!(project, once, "it is done already");
        let base = format!("{}/", project.working_dir);
        let mounts = project.services.iter().map(|(name, service)| {
            let mount = &service.volumes[0];
            format!("{name}: {} {}", mount.kind, mount.source.as_deref().unwrap_or_default().trim_start_matches(&base))
        });
        (mounts.collect(), project.volumes.values().map(|volume| volume.name.clone()).collect())
    }

    #[test]
    fn what_is_written_to_is_a_volume_for_all_and_what_is_only_read_or_empty_or_a_file_is_not() {
        let folder = tempfile();
        for name in ["site", "site/a", "read", "empty", "odd name", "a/b"] {
            fs::create_dir_all(folder.join(name)).expect("it is ours");
        }
        for name in ["site/index", "read/x", "odd name/x", "a/b/x", "file"] {
            fs::write(folder.join(name), "x").expect("it is ours");
        }
        let mounts = [
            ("deep", bind(&folder.join("a/b"), false)),
            ("empty", bind(&folder.join("empty"), false)),
            ("file", bind(&folder.join("file"), false)),
            ("odd", bind(&folder.join("odd name"), false)),
            ("outside", bind(Path::new("/etc"), false)),
            ("reader", bind(&folder.join("site"), true)),
            ("reads", bind(&folder.join("read"), true)),
            ("writer", bind(&folder.join("site"), false)),
        ];
        let (mounts, volumes) = adopted(project(&folder, &mounts));
        let digest = |path: &str| -> String { Sha256::digest(path).iter().map(|byte| format!("{byte:02x}")).take(4).collect() };
        let (deep, odd) = (format!("files-a-b-{}", digest("a/b")), format!("files-odd-name-{}", digest("odd name")));
        let expected = [
            format!("deep: volume {deep}"),
            "empty: bind empty".to_owned(),
            "file: bind file".to_owned(),
            format!("odd: volume {odd}"),
            "outside: bind /etc".to_owned(),
            "reader: volume files-site".to_owned(),
            "reads: bind read".to_owned(),
            "writer: volume files-site".to_owned(),
        ];
        assert_eq!(mounts, expected);
        assert_eq!(volumes, [format!("shop_{deep}"), format!("shop_{odd}"), "shop_files-site".to_owned()]);
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    fn tempfile() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("mcompose-folders-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder is writable");
        folder
    }
}
