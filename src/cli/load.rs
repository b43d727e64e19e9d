//! From the command line to a project, an inventory and engines.
#![expect(clippy::disallowed_methods, reason = "the command line's surroundings are read here and handed on as values")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::files::Disk;
use super::hosts::{Fleet, InventoryFile};
use super::session::Session;
use super::settings::Settings;
use super::{Failure, Globals, exit, keys, signals};
use crate::apply::Limits;
use crate::composefile::{self, LoadFailure, LoadOptions, LoadRequest, Loaded, Model};
use crate::delivery::{Cargo, PackError, adopt, survey, written};
use crate::engine::{Engine, Engines, docker};
use crate::inventory::{Context, Found, Inventory, Places, find, parse};
use crate::plan::Selection;
use crate::project::{Address, Content, Host, HostName, Project, ProjectName, ServiceName};
use crate::transport::LinkOptions;
use crate::ui::{Report, Ui};
use crate::world::World;

/// The first interruption lets what runs end, the second does not.
const PATIENCE: u8 = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the command line asks the loader for.
pub fn request(globals: &Globals, services: &[String], options: LoadOptions) -> Result<LoadRequest, Failure> {
    let cwd = std::env::current_dir()
        .map_err(|error| Failure::said(format!("the working directory cannot be used: {error}"), None, exit::FAILURE))?;
    let environment =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect();
    Ok(LoadRequest {
        cwd,
        environment,
        files: globals.file.clone(),
        project_name: globals.project_name.clone(),
        project_directory: globals.project_directory.clone().or_else(|| globals.workdir.clone()),
        env_files: globals.env_file.clone(),
        profiles: globals.profile.clone(),
        services: services.to_vec(),
        options: LoadOptions { compatibility: globals.compatibility, all_resources: globals.all_resources, ..options },
    })
}

/// Loads what the request names; warnings are told.
pub fn load(request: &LoadRequest, ui: Ui) -> Result<Loaded, Failure> {
    model(request, ui)?.bind().map_err(|failure| refused(&failure, ui))
}

/// As `load`, up to what `config` prints.
pub fn model(request: &LoadRequest, ui: Ui) -> Result<Model, Failure> {
    let model = composefile::model(request, &mut Disk).map_err(|failure| refused(&failure, ui))?;
    if !model.warnings.is_empty() {
        ui.excerpt(&composefile::render(&model.warnings, &model.sources, ui.color));
    }
    Ok(model)
}

fn refused(failure: &LoadFailure, ui: Ui) -> Failure {
    Failure::Compose(composefile::render(&failure.diagnostics, &failure.sources, ui.color))
}

/// The project of the Compose files.
pub fn project_file(globals: &Globals, services: &[String], ui: Ui) -> Result<Loaded, Failure> {
    load(&request(globals, services, LoadOptions::default())?, ui)
}

/// The hosts, ready to be talked to.
pub async fn session(globals: &Globals, ui: Ui, project: Option<&Project>, verb: &str) -> Result<Session, Failure> {
    let fleet = fleet(globals, ui, project)?;
    let engines = fleet.engines();
    let keys = keys::read(fleet.file.as_ref())?;
    let settings = Settings::of(globals);
    let total = globals.parallel.or_else(|| settings.text("COMPOSE_PARALLEL_LIMIT")?.parse().ok());
    let total = total.and_then(|total| usize::try_from(total).ok()).filter(|count| *count > 0);
    let limits = Limits::default();
    let limits = Limits { total: total.unwrap_or(limits.total), ..limits };
    Ok(Session {
        ui,
        inventory: fleet.inventory,
        file: fleet.file,
        engines,
        limits,
        dry_run: globals.dry_run,
        cargo: Cargo::of_keys(keys),
        command: verb.to_owned(),
        interrupt: signals::Interrupt::listen(),
        patience: PATIENCE,
    })
}

fn link_options() -> LinkOptions {
    LinkOptions {
        home: PathBuf::from(std::env::var("HOME").unwrap_or_default()),
        user: std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned()),
        connect_timeout: CONNECT_TIMEOUT,
    }
}

/// As `session`, for verbs that make replicas: with the files that the project's services need, read and hashed.
pub async fn provisioned(globals: &Globals, ui: Ui, loaded: &mut Loaded, verb: &str) -> Result<Session, Failure> {
    let mut session = session(globals, ui, Some(&loaded.project), verb).await?;
    remember_folders(&session, &mut loaded.project).await;
    provide(globals, &mut session, loaded)?;
    Ok(session)
}

/// Reads and hashes the files that the project's services need.
pub fn provide(globals: &Globals, session: &mut Session, loaded: &mut Loaded) -> Result<(), Failure> {
    let to_others = session.inventory.hosts.iter().any(|host| !host.is_local());
    let limit = globals.deliver_max.saturating_mul(1 << 20);
    adopt_folders(session, &mut loaded.project);
    let found = survey(&loaded.project, to_others, &loaded.environment, limit, session.cargo.keys());
    if !found.problems.is_empty() {
        for problem in &found.problems {
            let hint = match &problem.source {
                PackError::TooLarge { .. } => "`--deliver-max` sets how much may be; data belongs in a volume",
                PackError::LeadsOut { .. } => "name the file itself, by its absolute path, where it is on the hosts",
                PackError::Changed { .. } => "run the command again",
                _ => "correct it, or mount an absolute path that is on the hosts",
            };
            session.ui.error(&Report::of(problem, Some(hint.to_owned())));
        }
        return Err(Failure::Told(exit::COMPOSE_FILE));
    }
    let is_open = |content: &Content| content.sealed.is_none();
    if to_others && found.contents.iter().any(|(key, content)| key.starts_with("secret ") && is_open(content)) {
        session.ui.note(
            "secrets lie on the hosts as they are: `mcompose secret init` makes a key, with which they are encrypted there",
        );
    }
    loaded.project.contents = found.contents;
    for (key, content) in found.folders {
        if let Some(folder) = loaded.project.volumes.get_mut(&key).and_then(|volume| volume.folder.as_mut()) {
            folder.content = Some(content);
        }
    }
    loaded.project.data_folders = found.data_folders;
    for option in loaded.project.services.values_mut().flat_map(|service| &mut service.security_opt) {
        if let Some(profile) = found.profiles.get(option) {
            option.clone_from(profile);
        }
    }
    session.cargo = found.cargo;
    session.cargo.lend(&loaded.project, &loaded.environment);
    Ok(())
}

/// A folder for data stays one when something comes to be in it here as well: what is written on its host is not to be out of sight. The
/// last record says which ones are.
async fn remember_folders(session: &Session, project: &mut Project) {
    let written = written(project);
    if written.is_empty() || session.inventory.hosts.iter().all(|host| host.is_local()) {
        return;
    }
    let world = session.look(None).await;
    let Ok(fabric) = session.fabric(&world) else { return };
    let Ok(store) = session.store(&fabric, &world) else { return };
    if let Ok(Some(record)) = store.latest(&project.name).await {
        project.data_folders = record.project.data_folders.intersection(&written).cloned().collect();
    }
}

/// Where some host is another machine, folders of the project that services write to are volumes.
fn adopt_folders(session: &Session, project: &mut Project) {
    if session.inventory.hosts.iter().any(|host| !host.is_local()) {
        adopt(project);
    }
}

/// The inventory that is meant, or the local engine.
pub fn fleet(globals: &Globals, ui: Ui, project: Option<&Project>) -> Result<Fleet, Failure> {
    let home = std::env::var("HOME").ok();
    let config = std::env::var("XDG_CONFIG_HOME").ok().or_else(|| home.as_ref().map(|home| format!("{home}/.config")));
    let beside = project.map(|project| project.working_dir.clone()).unwrap_or_else(|| ".".to_owned());
    let places = Places {
        flag: globals.inventory.as_deref(),
        environment: None,
        project_folder: Some(&beside),
        config_folder: config.as_deref(),
    };
    let found = find(&places, &|path| Path::new(path).exists())
        .map_err(|missing| Failure::said(missing.to_string(), "`mcompose hosts add` begins one".to_owned(), exit::INVENTORY))?;
    let options = link_options();
    let open =
        move |hosts: &[Host]| -> Engines { hosts.iter().map(|host| (host.name.clone(), docker::open(host, &options))).collect() };
    match found {
        Found::Nowhere => Ok(Fleet::new(Inventory::of_one(local_address()), None, Box::new(open))),
        Found::File { path, .. } => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Failure::said(format!("cannot read the inventory `{path}`: {error}"), None, exit::INVENTORY))?;
            let folder = Path::new(&path).parent().map(|folder| folder.display().to_string()).unwrap_or_default();
            let folder = if folder.is_empty() { ".".to_owned() } else { folder };
            let context = Context { folder: &folder, home: home.as_deref(), exists: &|path| Path::new(path).is_file() };
            let inventory = parse(&path, &text, &context).map_err(|failure| Failure::Inventory(failure.render(ui.color)))?;
            Ok(Fleet::new(inventory, Some(InventoryFile { path: path.into(), text }), Box::new(open)))
        }
    }
}

/// The engine that docker would talk to, under a name of its own.
pub fn local_engine(name: &HostName) -> Arc<dyn Engine> {
    let mut host = Inventory::of_one(local_address()).hosts.remove(0);
    host.name = name.clone();
    docker::open(&host, &link_options())
}

/// The engine that docker would talk to.
fn local_address() -> Address {
    let docker_host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let path = docker_host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    Address::Unix { path: path.to_owned() }
}

/// The project for verbs that work without a Compose file: of the files where there are some, else of `-p` by its record or
/// its containers.
pub async fn known_project(globals: &Globals, ui: Ui, verb: &str) -> Result<(Session, Project), Failure> {
    let request = request(globals, &[], LoadOptions::default())?;
    match (composefile::load(&request, &mut Disk), &globals.project_name) {
        (Err(failure), Some(name)) if failure.is_not_found() && globals.file.is_empty() => {
            let session = session(globals, ui, None, verb).await?;
            let name = ProjectName::new(name.clone()).map_err(|error| Failure::said(error.to_string(), None, exit::USAGE))?;
            let project = project_by_name(&session, &name).await?;
            Ok((session, project))
        }
        _ => {
            let mut loaded = load(&request, ui)?;
            let session = session(globals, ui, Some(&loaded.project), verb).await?;
            adopt_folders(&session, &mut loaded.project);
            Ok((session, loaded.project))
        }
    }
}

async fn project_by_name(session: &Session, name: &ProjectName) -> Result<Project, Failure> {
    let world = session.look(None).await;
    let fabric = session.fabric(&world)?;
    if let Some(record) = session.store(&fabric, &world)?.latest(name).await? {
        return Ok(record.scaled());
    }
    Ok(project_of_containers(name, &world))
}

/// What the containers' labels tell of a project that has no record: its name and its services, bare.
fn project_of_containers(name: &ProjectName, world: &World) -> Project {
    let services: BTreeSet<ServiceName> =
        world.containers_of(name).filter_map(|(_, container)| Some(container.slot()?.service)).collect();
    let services = services.into_iter().map(|service| (service, Default::default())).collect();
    Project { services, ..Project::bare(name.clone(), String::new()) }
}

/// The services named on a command line; none is all of them.
pub fn selection(services: &[String], project: &Project) -> Result<Selection, Failure> {
    if services.is_empty() {
        return Ok(Selection::All);
    }
    let known = |name: &String| {
        let found = project.services.keys().find(|known| known.as_str() == name).cloned();
        found.ok_or_else(|| no_such_service(name, project))
    };
    Ok(Selection::Only(services.iter().map(known).collect::<Result<_, _>>()?))
}

pub fn no_such_service(name: &str, project: &Project) -> Failure {
    let names: Vec<&str> = project.services.keys().map(ServiceName::as_str).collect();
    Failure::said(format!("no such service: {name}"), format!("the services are {}", names.join(", ")), exit::FAILURE)
}
