//! What a container mounts, in the form docker compose chooses: `Binds` where they can say it, `Mounts` else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::contents;
use crate::project::{
    Content, FileGrant, FileObject, HostConfig, Mount, MountBind, MountSpec, MountVolume, Project, Service, grant_key,
};
use crate::world::MountSeen;

#[derive(Debug, Default, PartialEq)]
pub(super) struct Mounted {
    pub(super) binds: Vec<String>,
    pub(super) mounts: Vec<MountSpec>,
}

/// The host that something is mounted on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its files are this machine's.
    pub(super) is_local: bool,
    /// Where its engine keeps everything.
    pub(super) root_dir: &'a str,
}

/// `volumes`, and configs and secrets, in order of target.
pub(super) fn of_service(project: &Project, service: &Service, place: Place<'_>) -> Mounted {
    let mut by_target: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in &service.volumes {
        let mounted = match contents::of_bind(project, mount).filter(|_| !place.is_local) {
            Some(content) => delivered(content, mount.target.clone(), place),
            None => of_folder(project, mount, place).unwrap_or_else(|| mount.clone()),
        };
        by_target.insert(mount.target.clone(), mounted);
    }
    let secrets = service.secrets.iter().map(|grant| ("secret", secret_target(grant), grant, &project.secrets));
    let configs = service.configs.iter().map(|grant| ("config", config_target(grant), grant, &project.configs));
    for (kind, target, grant, objects) in secrets.chain(configs) {
        let file = objects.get(&grant.source).and_then(|object: &FileObject| object.file.clone());
        let content = project.contents.get(&grant_key(kind, grant)).filter(|_| !place.is_local || file.is_none());
        let mount = match (content, file) {
            (Some(content), _) => delivered(content, target.clone(), place),
            (None, Some(file)) => file_mount(file, target.clone()),
            (None, None) => continue,
        };
        by_target.entry(target).or_insert(mount);
    }
    let mut mounted = Mounted::default();
    for mount in by_target.values() {
        match bind_text(project, mount) {
            Some(text) => mounted.binds.push(text),
            None => {
                let mut spec = mount_spec(project, mount);
                if service.configs.iter().any(|grant| config_target(grant) == mount.target) {
                    // As docker compose has it; it says them of secrets only.
                    spec.options.remove("BindOptions");
                }
                mounted.mounts.push(spec);
            }
        }
    }
    mounted
}

/// A folder of the project that is written to: itself on this machine, its volume elsewhere. Nothing where it is no such mount.
fn of_folder(project: &Project, mount: &Mount, place: Place<'_>) -> Option<Mount> {
    let key = mount.source.as_deref().filter(|_| mount.kind == "volume")?;
    let folder = project.volumes.get(key)?.folder.as_ref()?;
    Some(match place.is_local {
        true => Mount { kind: "bind".to_owned(), source: Some(folder.path.clone()), volume: None, ..mount.clone() },
        false => Mount { bind: None, ..mount.clone() },
    })
}

/// A file of this machine, read only. Where it is missing the engine refuses, rather than make a folder in its place.
fn file_mount(source: String, target: String) -> Mount {
    let bind = MountBind { create_host_path: Some(false), ..MountBind::default() };
    Mount { kind: "bind".to_owned(), source: Some(source), target, read_only: true, bind: Some(bind), ..Mount::default() }
}

/// What was delivered: a folder as its volume, a file as the file in its volume, which engines before API 1.45 mount no other
/// way. Never written to: who else needs the same content has the same volume. What is encrypted there is mounted from the host's memory.
fn delivered(content: &Content, target: String, place: Place<'_>) -> Mount {
    if content.sealed.is_some() {
        return file_mount(content.unsealed_path(), target);
    }
    if !content.is_folder {
        let folder = format!("{}/volumes/{}/_data", place.root_dir.trim_end_matches('/'), content.volume());
        return file_mount(format!("{folder}/{}", Content::FILE), target);
    }
    Mount {
        kind: "volume".to_owned(),
        source: Some(content.volume()),
        target,
        read_only: true,
        volume: Some(MountVolume { nocopy: true, ..MountVolume::default() }),
        ..Mount::default()
    }
}

/// Hands the anonymous volumes of the replaced container on. A target that the service now mounts otherwise keeps to that.
pub(super) fn inherit(host_config: &mut HostConfig, inherited: &[MountSeen]) {
    for old in inherited {
        match host_config.mounts.iter_mut().find(|mount| mount.target == old.target) {
            Some(mount) => {
                if mount.kind == "volume" && mount.source.is_none() {
                    mount.source = Some(old.name.clone());
                }
            }
            None => {
                let is_bound = host_config.binds.iter().any(|bind| bind.split(':').nth(1) == Some(old.target.as_str()));
                if !is_bound {
                    host_config.mounts.push(MountSpec {
                        kind: "volume".to_owned(),
                        source: Some(old.name.clone()),
                        target: old.target.clone(),
                        ..MountSpec::default()
                    });
                }
            }
        }
    }
}

/// An anonymous volume's name is 64 hexadecimal digits of the engine's choice.
pub(super) fn is_anonymous(mount: &MountSeen) -> bool {
    mount.kind == "volume" && mount.name.len() == 64 && mount.name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn secret_target(grant: &FileGrant) -> String {
    absolute("/run/secrets/", grant)
}

fn config_target(grant: &FileGrant) -> String {
    absolute("/", grant)
}

fn absolute(base: &str, grant: &FileGrant) -> String {
    match grant.target.as_deref().filter(|target| !target.is_empty()) {
        Some(target) if target.starts_with('/') => target.to_owned(),
        Some(target) => format!("{base}{target}"),
        None => format!("{base}{}", grant.source),
    }
}

/// The name by which the engine knows a named volume.
pub(super) fn volume_name<'a>(project: &'a Project, key: &'a str) -> &'a str {
    project.volumes.get(key).map_or(key, |volume| volume.name.as_str())
}

/// `SOURCE:TARGET:OPTIONS` for what docker compose says in this form: the engine makes a missing host path for it, which `Mounts`
/// does not before API 1.42, and it knows SELinux labels.
fn bind_text(project: &Project, mount: &Mount) -> Option<String> {
    let source = mount.source.as_deref()?;
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    let source = match mount.kind.as_str() {
        "bind" => {
            if let Some(bind) = &mount.bind {
                // Only this form has labels, and propagation, too.
                let propagates = bind.propagation.is_some() && bind.selinux.is_none();
                if bind.create_host_path == Some(false) || bind.recursive.is_some() || propagates {
                    return None;
                }
                options.extend(bind.selinux.as_deref());
                options.extend(bind.propagation.as_deref());
            }
            source
        }
        "volume" => {
            let is_for_mounts = |volume: &MountVolume| !volume.labels.is_empty() || volume.subpath.is_some() || volume.nocopy;
            if mount.volume.as_ref().is_some_and(is_for_mounts) {
                return None;
            }
            volume_name(project, source)
        }
        _ => return None,
    };
    Some(format!("{source}:{}:{}", mount.target, options.join(",")))
}

fn mount_spec(project: &Project, mount: &Mount) -> MountSpec {
    let source = mount.source.as_deref().map(|source| match mount.kind.as_str() {
        "volume" => volume_name(project, source).to_owned(),
        _ => source.to_owned(),
    });
    let mut options = BTreeMap::new();
    let mut put = |key: &str, value: Value| {
        // Those that were written stay, also when nothing is in them, as in docker compose's request.
        if value.is_object() {
            options.insert(key.to_owned(), value);
        }
    };
    put("BindOptions", without_empty(mount.bind.as_ref().map(bind_options)));
    put(
        "VolumeOptions",
        without_empty(
            mount
                .volume
                .as_ref()
                .map(|volume| json!({ "NoCopy": volume.nocopy, "Labels": volume.labels, "Subpath": volume.subpath })),
        ),
    );
    put(
        "TmpfsOptions",
        without_empty(
            mount.tmpfs.as_ref().map(|tmpfs| json!({ "SizeBytes": tmpfs.size.map(|size| size.bytes), "Mode": tmpfs.mode })),
        ),
    );
    put("ImageOptions", without_empty(mount.image.as_ref().map(|image| json!({ "Subpath": image.subpath }))));
    if let Some(consistency) = &mount.consistency {
        options.insert("Consistency".to_owned(), consistency.as_str().into());
    }
    MountSpec { kind: mount.kind.clone(), source, target: mount.target.clone(), read_only: mount.read_only, options }
}

fn bind_options(bind: &MountBind) -> Value {
    let recursive = bind.recursive.as_deref();
    json!({
        "Propagation": bind.propagation,
        "CreateMountpoint": bind.create_host_path == Some(true),
        "NonRecursive": recursive == Some("disabled"),
        "ReadOnlyNonRecursive": recursive == Some("writable"),
        "ReadOnlyForceRecursive": recursive == Some("readonly"),
    })
}

/// Leaves out what is null, false, zero or empty.
fn without_empty(value: Option<Value>) -> Value {
    let Some(Value::Object(map)) = value else { return Value::Null };
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(true) | Value::Array(_) => false,
    };
    Value::Object(map.into_iter().filter(|(_, value)| !is_empty(value)).collect())
}
