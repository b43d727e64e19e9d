//! What a verb asks for. Every verb that changes something is a goal.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::project::{Project, Service, ServiceName, Slot};
use crate::world::World;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Goal {
    /// The project as its file says: `up`, `create`, `scale`.
    Up(Up),
    /// Containers and networks gone; with `volumes`, the project's volumes and anonymous ones too.
    Down {
        services: Selection,
        volumes: bool,
        rmi: Option<Rmi>,
        remove_orphans: bool,
        timeout_secs: Option<u64>,
    },
    Start {
        services: Selection,
        /// `--wait`: the plan ends with waits until every replica runs, or is healthy where it has a healthcheck.
        wait_secs: Option<u64>,
    },
    Stop {
        services: Selection,
        timeout_secs: Option<u64>,
    },
    Restart {
        services: Selection,
        timeout_secs: Option<u64>,
        no_deps: bool,
    },
    Kill {
        services: Selection,
        signal: String,
        remove_orphans: bool,
    },
    Pause {
        services: Selection,
    },
    Unpause {
        services: Selection,
    },
    /// Stopped containers gone; with `stop`, running ones are stopped first.
    Remove {
        services: Selection,
        stop: bool,
        volumes: bool,
    },
    /// Images of services with a `build`, on one host.
    Build {
        services: Selection,
        building: Building,
    },
    /// Images only. `always` pulls what is there too.
    Pull {
        services: Selection,
        always: bool,
        include_deps: bool,
        /// `--ignore-buildable`: what can be built is not pulled.
        ignore_buildable: bool,
        /// What cannot be pulled is a warning.
        tolerant: bool,
        /// Seconds since 1970, for policies with an age, such as `daily`. Nothing: what is there stays.
        now_secs: Option<u64>,
    },
    /// One container beside a service's replicas.
    Run(Box<Run>),
    /// Images from hosts that have them to their registries.
    Push {
        services: Selection,
        include_deps: bool,
        /// What cannot be pushed is a warning.
        tolerant: bool,
    },
}

impl Goal {
    /// Whether there is nothing to do where nothing of the project is.
    pub fn needs_what_is_there(&self) -> bool {
        match self {
            Self::Down { rmi, .. } => rmi.is_none(),
            Self::Stop { .. }
            | Self::Restart { .. }
            | Self::Kill { .. }
            | Self::Remove { .. }
            | Self::Pause { .. }
            | Self::Unpause { .. } => true,
            _ => false,
        }
    }

    /// The project that is placed and planned for the goal: as it is, but for `Run`, whose container is the one slot of a service of
    /// its own.
    pub fn about<'a>(&self, project: &'a Project, world: &World) -> Cow<'a, Project> {
        match self {
            Self::Run(run) => Cow::Owned(run.joined(project, world)),
            _ => Cow::Borrowed(project),
        }
    }
}

/// `run`: a container of a service, made once, that fills none of its slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The service that it is of.
    pub service: ServiceName,
    /// What it is made from: that service with what was said otherwise, one replica of it.
    pub made_from: Service,
    /// The container's name.
    pub name: String,
    /// 64 hexadecimal digits that no other has (`com.docker.compose.slug`).
    pub slug: String,
    /// It waits for what the service depends on.
    pub deps: bool,
    /// Its plan ends with the start, or for those who attach to it first, before it.
    pub start: bool,
    /// The engine removes it, with its anonymous volumes, as soon as it ends.
    pub auto_remove: bool,
    /// `--use-aliases`: the service's names on its networks are its names too.
    pub use_aliases: bool,
}

/// Digits of a slug in names, as docker compose has them.
const SLUG_DIGITS: usize = 12;

impl Run {
    /// What docker compose calls such a container: `PROJECT-SERVICE-run-HEX`.
    pub fn default_name(project: &Project, service: &ServiceName, slug: &str) -> String {
        let separator = project.separator();
        format!("{}{separator}{service}{separator}run{separator}{}", project.name, short(slug))
    }

    /// The service whose one slot the container is while it is placed and planned.
    pub(super) fn key(&self) -> ServiceName {
        ServiceName::new(format!("{}-run-{}", self.service, short(&self.slug)))
            .expect("a service's name with more of such letters")
    }

    /// Of the other services there are as many slots as have a container: nothing is kept free for those that have none.
    fn joined(&self, project: &Project, world: &World) -> Project {
        let mut joined = project.clone();
        let mut last: BTreeMap<ServiceName, u32> = BTreeMap::new();
        for slot in world.containers_of(&project.name).filter_map(|(_, container)| container.slot()) {
            let last = last.entry(slot.service).or_default();
            *last = slot.number.get().max(*last);
        }
        for (name, service) in joined.services.iter_mut().filter(|(_, service)| !service.mode().is_global()) {
            service.scale = Some(last.get(name).copied().unwrap_or_default());
        }
        let image = self.made_from.image_name(project, self.service.as_str());
        let mut made = Service { image: Some(image), container_name: Some(self.name.clone()), ..self.made_from.clone() };
        if !self.deps {
            made.depends_on.clear();
        }
        let hash = project.config_hashes.get(&self.service).cloned();
        joined.config_hashes.extend(hash.map(|hash| (self.key(), hash)));
        joined.services.insert(self.key(), made);
        joined
    }
}

fn short(slug: &str) -> &str {
    slug.get(..SLUG_DIGITS).unwrap_or(slug)
}

/// Which services a verb is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Selection {
    #[default]
    All,
    Only(BTreeSet<ServiceName>),
}

impl Selection {
    pub fn has(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(services) => services.contains(service),
        }
    }
}

/// How images are built, beside what their services say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Building {
    /// Only those that no host has.
    pub missing_only: bool,
    /// Those of the services that the named ones depend on, too.
    pub deps: bool,
    pub no_cache: bool,
    pub pull: bool,
    /// `--build-arg`
    pub args: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Up {
    /// With `deps`, the services that these depend on are brought up too.
    pub services: Selection,
    pub deps: bool,
    pub recreate: Recreate,
    /// `--always-recreate-deps`
    pub recreate_deps: Recreate,
    /// `-V`: anonymous volumes are made anew instead of handed on to the next container.
    pub renew_anonymous_volumes: bool,
    /// It goes back to an earlier record: `deploy.rollback_config` counts instead of `update_config`.
    pub rollback: bool,
    /// `--yes`: consent that volumes whose definition changed are made anew, empty. Without it they are kept.
    pub renew_volumes: bool,
    /// `--no-start` and `create`: false.
    pub start: bool,
    pub remove_orphans: bool,
    /// Orphans are left without a word.
    pub ignore_orphans: bool,
    /// `--timeout`, for containers that are replaced.
    pub timeout_secs: Option<u64>,
    /// `--wait`: the plan ends with waits until every replica runs, or is healthy where it has a healthcheck.
    pub wait_secs: Option<u64>,
    /// `--pull`: nothing leaves each service's `pull_policy`.
    pub pull: Option<String>,
    /// Where a service says nothing of how it is updated, replicas that get another host do so a few at a time, each ready before the
    /// old one stops.
    pub gently: bool,
    /// Slots that are left as they are, running or not: what supervision holds back.
    pub rest: BTreeSet<Slot>,
    /// Services whose replicas stay as they are, of this record or another, since their update is stuck: what died of either is
    /// started as it was, what is gone is made as the project has it, nothing else is replaced.
    pub keep: BTreeSet<ServiceName>,
    /// Slots that get another container though theirs is as it should be: it runs and is unhealthy.
    pub renew: BTreeSet<Slot>,
    /// Slots whose container is stopped: its engine starts it again and again, more often than its policy says.
    pub halt: BTreeSet<Slot>,
}

impl Default for Up {
    fn default() -> Self {
        Self {
            services: Selection::All,
            deps: true,
            recreate: Recreate::Changed,
            recreate_deps: Recreate::Changed,
            renew_anonymous_volumes: false,
            rollback: false,
            renew_volumes: false,
            start: true,
            remove_orphans: false,
            ignore_orphans: false,
            timeout_secs: None,
            wait_secs: None,
            pull: None,
            gently: false,
            rest: BTreeSet::new(),
            keep: BTreeSet::new(),
            renew: BTreeSet::new(),
            halt: BTreeSet::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recreate {
    Changed,
    /// As `Changed`, but not because the image's tag stands for another image by now.
    Specified,
    Always,
    Never,
}

/// `down --rmi`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rmi {
    All,
    /// Only images without a custom tag.
    Local,
}
