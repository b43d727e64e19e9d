//! `mcompose volume`

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::delivery::{CopyError, load_volume, save_volume};
use crate::plan::volume_spec;
use crate::project::{HostName, Project, carriers_of};
use crate::store::now_secs;
use crate::ui::{Template, Ui};
use crate::world::{Container, Moving, SeenHost, VolumeSeen, Way, World, keys};

/// Volumes on the hosts
#[derive(Debug, clap::Subcommand)]
pub enum VolumeVerb {
    Ls(LsArgs),
    Mv(super::volume_mv::MvArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Rm(RmArgs),
}

/// List the project's volumes with their hosts and who uses them
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// Those of every project, and of none
    #[arg(short, long)]
    all: bool,
    /// Format the output: table, json, or a template such as `{{.Name}}`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// Only display names
    #[arg(short, long)]
    quiet: bool,
    /// Only those of these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Write what is in a volume into an archive (tar)
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The host to read it from, where several have it
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The volume, as the Compose file names it
    volume: String,
    /// The file to write
    file: PathBuf,
}

/// Make a volume on a host out of an archive that `backup` wrote; the replica that owns it then starts there
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// The host that is to have it
    #[arg(long, value_name = "HOST")]
    host: String,
    /// The volume, as the Compose file names it
    volume: String,
    /// The file to read
    file: PathBuf,
}

/// Remove a volume that no container uses, with all that is in it
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Don't ask to confirm removal
    #[arg(short, long)]
    force: bool,
    /// Only on this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The volume, as the Compose file names it
    volume: String,
}

/// No copy takes a day.
const LEFT_SECS_MIN: i64 = 24 * 3600;
const FIELDS: [&str; 6] = ["Name", "Host", "Project", "Driver", "UsedBy", "Volume"];

/// `mcompose volumes`, as docker compose calls `volume ls`.
pub async fn run_list(args: &LsArgs, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "volumes").await?;
    list(args, &project, &session.look_and_warn().await?, ui)
}

pub async fn run(verb: &VolumeVerb, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let (session, project) = load::known_project(globals, ui, "volume").await?;
    let world = session.look_and_warn().await?;
    match verb {
        VolumeVerb::Ls(args) => list(args, &project, &world, ui),
        VolumeVerb::Mv(args) => super::volume_mv::run(args, &session, &project, &world).await,
        VolumeVerb::Backup(args) => {
            let name = engine_name(&project, &args.volume)?;
            let (host, seen) = one_host(&world, &name, args.host.as_deref())?;
            collect(&session, host, seen, &name).await;
            if let Some(user) = users(seen, &name).first() {
                ui.note(&format!(
                    "{user} uses the volume: what it writes meanwhile may be in the archive by half. `mcompose stop` first"
                ));
            }
            let bytes = save_volume(engine(&session, host)?, &name, &args.file).await?;
            ui.note(&format!("{bytes} bytes of `{name}` on {host} written to {}", args.file.display()));
            Ok(exit::OK)
        }
        VolumeVerb::Restore(args) => {
            let name = engine_name(&project, &args.volume)?;
            let Some((host, seen)) = world.seen_hosts().find(|(host, _)| host.as_str() == args.host) else {
                return Err(Failure::said(format!("host `{}` does not answer, or is none", args.host), None, exit::USAGE));
            };
            // Half of it that is there already is of a restore that was cut off: this one begins anew.
            let is_half = seen.is_half(&name);
            if let Some((taken, _)) = holders(&world, &name).into_iter().find(|(holder, _)| *holder != host || !is_half) {
                let hint = format!("`mcompose volume rm {}` removes it first", args.volume);
                return Err(Failure::said(format!("there is a volume `{name}` on {taken} already"), hint, exit::FAILURE));
            }
            let (key, volume) =
                project.volumes.iter().find(|(_, volume)| volume.name == name).ok_or_else(|| unknown(&project, &args.volume))?;
            let left = if is_half { seen.unfinished(&name) } else { Vec::new() };
            load_volume(engine(&session, host)?, &volume_spec(&project.name, key, volume), &args.file, &left).await?;
            ui.note(&format!("`{name}` is on {host} now; `mcompose up` starts what owns it there"));
            Ok(exit::OK)
        }
        VolumeVerb::Rm(args) => remove(args, &session, &project, &world).await,
    }
}

fn list(args: &LsArgs, project: &Project, world: &World, ui: Ui) -> Result<u8, Failure> {
    let template = match args.format.as_str() {
        "table" | "json" => None,
        text => Some(Template::parse(text, &FIELDS)?),
    };
    let is_ours = |volume: &VolumeSeen| {
        let label = volume.labels.get(keys::PROJECT).map(String::as_str) == Some(project.name.as_str());
        label || project.volumes.values().any(|declared| declared.name == volume.name)
    };
    let services = load::selection(&args.services, project)?;
    let declared =
        project.services.iter().filter(|(name, _)| services.has(name.as_str())).flat_map(|(_, service)| &service.volumes);
    let declared: BTreeSet<&str> =
        declared.filter_map(|mount| project.volumes.get(mount.source.as_deref()?)).map(|volume| volume.name.as_str()).collect();
    let is_theirs = |seen: &SeenHost, volume: &str| {
        let is_of_them = |container: &Container| container.slot().is_some_and(|slot| services.has(slot.service.as_str()));
        args.services.is_empty() || declared.contains(volume) || using(seen, volume).any(is_of_them)
    };
    let rows = world.seen_hosts().flat_map(|(host, seen)| seen.volumes.iter().map(move |volume| (host, seen, volume)));
    let marks = world.moving();
    let object = |(host, seen, volume): (&HostName, &SeenHost, &VolumeSeen)| {
        let moving = marks.get(&volume.name).filter(|moving| moving.stale() == host);
        object((host, seen, volume), moving.map(stale).or_else(|| seen.is_half(&volume.name).then(|| HALF.to_owned())))
    };
    let mut objects: Vec<Value> =
        rows.filter(|(_, seen, volume)| (args.all || is_ours(volume)) && is_theirs(seen, &volume.name)).map(object).collect();
    objects.sort_by_key(|object| (text(object, "Name"), text(object, "Host")));
    match template {
        _ if args.quiet => objects.iter().for_each(|object| ui.data(&text(object, "Name"))),
        Some(template) => ui.listed(&template, &objects),
        None if args.format == "json" => objects.iter().for_each(|object| ui.data(&object.to_string())),
        None => {
            let row = |object: &Value| FIELDS[..5].iter().map(|field| text(object, field)).collect();
            ui.table(&["NAME", "HOST", "PROJECT", "DRIVER", "USED BY"], &objects.iter().map(row).collect::<Vec<_>>());
        }
    }
    Ok(exit::OK)
}

/// Of a volume that somebody began to fill.
const HALF: &str = "not whole: was not filled to the end";

/// What of a move a volume is left from, in words.
fn stale(moving: &Moving) -> String {
    match moving.has_moved {
        true => format!("out of date: moved to {}", moving.to),
        false => format!("not whole: comes from {}", moving.from),
    }
}

/// `stale`: why what is in it is nobody's data.
fn object((host, seen, volume): (&HostName, &SeenHost, &VolumeSeen), stale: Option<String>) -> Value {
    let label = |key: &str| volume.labels.get(key).cloned().unwrap_or_default();
    json!({
        "Name": volume.name, "Host": host, "Project": label(keys::PROJECT), "Volume": label(keys::VOLUME), "Driver": volume.driver,
        "UsedBy": stale.into_iter().chain(users(seen, &volume.name)).collect::<Vec<_>>().join(", "),
    })
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

/// The containers on a host that mount a volume, running or not, but for those that never run.
fn using<'a>(seen: &'a SeenHost, volume: &str) -> impl Iterator<Item = &'a Container> {
    let mounts =
        move |container: &&Container| container.mounts.iter().any(|mount| mount.kind == "volume" && mount.name == volume);
    seen.containers.iter().filter(mounts).filter(|container| !container.labels.rest.contains_key(keys::CONTENT))
}

/// Their names.
fn users(seen: &SeenHost, volume: &str) -> Vec<String> {
    using(seen, volume).map(|container| container.name.clone()).collect()
}

/// What the engines call a volume of the project.
pub(super) fn engine_name(project: &Project, volume: &str) -> Result<String, Failure> {
    let declared = project.volumes.iter().find(|(key, declared)| key.as_str() == volume || declared.name == volume);
    declared.map(|(_, declared)| declared.name.clone()).ok_or_else(|| unknown(project, volume))
}

fn unknown(project: &Project, volume: &str) -> Failure {
    let names: Vec<&str> = project.volumes.keys().map(|key| key.as_str()).collect();
    let hint = format!("the project's volumes are {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    Failure::said(format!("no such volume: {volume}"), hint, exit::USAGE)
}

fn holders<'a>(world: &'a World, name: &str) -> Vec<(&'a HostName, &'a SeenHost)> {
    world.seen_hosts().filter(|(_, seen)| seen.volumes.iter().any(|volume| volume.name == name)).collect()
}

fn one_host<'a>(world: &'a World, name: &str, host: Option<&str>) -> Result<(&'a HostName, &'a SeenHost), Failure> {
    let marks = world.moving();
    let mut holders = holders(world, name);
    // A copy that is not whole, or out of date, is nobody's data.
    holders.retain(|(holder, seen)| marks.get(name).is_none_or(|moving| moving.stale() != *holder) && !seen.is_half(name));
    let wanted: Vec<_> = holders.iter().filter(|(holder, _)| host.is_none_or(|host| holder.as_str() == host)).collect();
    match wanted.as_slice() {
        [one] => Ok(**one),
        [] => Err(Failure::said(format!("no host that answers has a volume `{name}`"), None, exit::FAILURE)),
        several => {
            let names: Vec<&str> = several.iter().map(|(host, _)| host.as_str()).collect();
            let hint = format!("`--host` says which: {}", names.join(", "));
            Err(Failure::said(format!("several hosts have a volume `{name}`"), hint, exit::USAGE))
        }
    }
}

fn engine<'a>(session: &'a Session, host: &HostName) -> Result<&'a dyn crate::engine::Engine, Failure> {
    let engine = session.engines.get(host).map(AsRef::as_ref);
    engine.ok_or_else(|| Failure::said(format!("`{host}` is not in the inventory"), None, exit::FAILURE))
}

/// What copies of a volume that were cut off left on a host. Younger ones may be those of a copy under way, and never hurt.
async fn collect(session: &Session, host: &HostName, seen: &SeenHost, name: &str) {
    let carriers = carriers_of(name);
    let is_left = |container: &&Container| {
        container.name.starts_with(&carriers) && now_secs().saturating_sub(container.created) > LEFT_SECS_MIN
    };
    for carrier in seen.containers.iter().filter(is_left) {
        if let Some(engine) = session.engines.get(host) {
            let _ = engine.remove(&carrier.name, false, true).await;
        }
    }
}

async fn remove(args: &RmArgs, session: &Session, project: &Project, world: &World) -> Result<u8, Failure> {
    let name = engine_name(project, &args.volume)?;
    let chosen =
        holders(world, &name).into_iter().filter(|(host, _)| args.host.as_deref().is_none_or(|only| host.as_str() == only));
    let chosen: Vec<_> = chosen.collect();
    if chosen.is_empty() {
        return Err(Failure::said(format!("no host that answers has a volume `{name}`"), None, exit::FAILURE));
    }
    for (host, seen) in &chosen {
        if let Some(user) = users(seen, &name).first() {
            let hint = "`mcompose rm -s` removes the container first; `mcompose down -v` removes both".to_owned();
            return Err(Failure::said(format!("volume `{name}` on {host} is used by {user}"), hint, exit::FAILURE));
        }
    }
    let hosts: Vec<&str> = chosen.iter().map(|(host, _)| host.as_str()).collect();
    let question = format!("Going to remove volume `{name}` on {} with all that is in it. Are you sure?", hosts.join(", "));
    if !args.force && !session.ui.confirm(&question) {
        return Err(Failure::said("nothing was removed", "--force removes without asking".to_owned(), exit::FAILURE));
    }
    let left = holders(world, &name).len() - chosen.len();
    for (host, seen) in chosen {
        let engine = engine(session, host)?;
        let unfinished = seen.unfinished(&name);
        for carrier in seen.containers.iter().filter(|container| unfinished.contains(&container.name)) {
            engine.remove(&carrier.name, false, true).await?;
        }
        engine.remove_volume(&name).await?;
        // The marks last: without them, what is left of it would count.
        for mark in seen.volumes.iter().filter(|volume| unfinished.contains(&volume.name)) {
            engine.remove_volume(&mark.name).await?;
        }
        session.ui.note(&format!("volume `{name}` on {host} is removed"));
    }
    // With the last of them goes what an interrupted move says of them.
    if let Some(moving) = world.moving().get(&name).filter(|moving| left == 0 && moving.volumes.len() == 1) {
        for (way, host) in [(Way::Incoming, &moving.to), (Way::Outgoing, &moving.from)] {
            engine(session, host)?.remove_volume(&way.mark_name(&moving.volumes)).await?;
        }
    }
    Ok(exit::OK)
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::Copy(Box::new(error))
    }
}
