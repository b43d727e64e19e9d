//! Everything that filters look at: the services' wishes, the hosts, and what is placed so far.

use std::collections::{BTreeMap, BTreeSet};

use super::anchor::Anchor;
use super::bits::Bits;
use super::filters::constraint::Key;
use super::filters::plugin::Plugin;
use super::filters::ports::{self, PortAsk};
use super::filters::resources::reservation;
use super::rule::{Rule, Rules};
use super::score::Level;
use super::site::{Holder, Site};
use super::{beside, filters::Query};
use crate::project::{Mode, Project, Service, ServiceName};
use crate::world::Reservation;

/// What one service asks of a host.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) name: &'a ServiceName,
    pub(super) service: &'a Service,
    pub(super) mode: Mode,
    /// Replicas wanted; 0 for global services, whose number the hosts decide.
    pub(super) replicas: u32,
    /// Indexes into the scene's rules.
    pub(super) rules: Vec<usize>,
    /// Hosts that meet them all, available or not.
    pub(super) meets: Bits,
    pub(super) needs: Reservation,
    pub(super) reserves_nothing: bool,
    pub(super) ports: Vec<PortAsk<'a>>,
    pub(super) replicas_per_host_max: Option<u32>,
    /// Indexes into the scene's levels.
    pub(super) preferences: Vec<usize>,
    /// Services that a replica of each must be on the same host.
    pub(super) beside: Vec<usize>,
    /// Indexes into the scene's anchors.
    pub(super) anchors: Vec<usize>,
    /// How many services deep it stands behind those that it must be beside.
    pub(super) level: usize,
}

#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub(super) project: &'a Project,
    pub(super) asks: Vec<Ask<'a>>,
    pub(super) sites: Vec<Site<'a>>,
    pub(super) anchors: Vec<Anchor<'a>>,
    pub(super) rules: Rules<'a>,
    pub(super) levels: Vec<Level>,
    /// By service: how many replicas are on which host.
    pub(super) seated: Vec<BTreeMap<usize, u32>>,
    /// By service: how many replicas have no host yet.
    pub(super) undecided: Vec<u32>,
    /// Hosts that answer and take new replicas.
    pub(super) active: Bits,
}

impl<'a> Scene<'a> {
    /// Reads the services. Anchors come later, since where they are depends on what is placed already.
    pub(super) fn new(project: &'a Project, sites: Vec<Site<'a>>) -> Self {
        let names: BTreeSet<String> = sites.iter().map(|site| site.host.name.as_str().to_ascii_lowercase()).collect();
        let mut rules = Rules::default();
        let relations = beside::relations(project);
        let depths = beside::levels(&relations);
        let (mut levels, mut level_ids) = (Vec::new(), BTreeMap::new());
        let mut asks = Vec::with_capacity(project.services.len());
        for (index, (name, service)) in project.services.iter().enumerate() {
            let mut ids = Vec::new();
            let mut meets = Bits::all(sites.len());
            for rule in
                rules_of(project, service).into_iter().chain(relations[index].strangers.iter().map(|name| Rule::Container(name)))
            {
                let id = rules.intern(rule, &sites, |value| names.contains(&value.to_ascii_lowercase()));
                meets.keep(&rules.all[id].met);
                ids.push(id);
            }
            let placement = service.deploy.as_ref().map(|deploy| &deploy.placement);
            let preferences = placement.map(|placement| placement.preferences.as_slice()).unwrap_or_default();
            let keys = preferences.iter().filter_map(|preference| Key::parse(preference.spread.trim()));
            let needs = reservation(service);
            let mode = service.mode();
            asks.push(Ask {
                name,
                service,
                mode,
                replicas: if mode.is_global() { 0 } else { service.replicas() },
                rules: ids,
                meets,
                reserves_nothing: needs == Reservation::default(),
                needs,
                ports: ports::asked(service),
                replicas_per_host_max: placement.and_then(|placement| placement.max_replicas_per_node).filter(|limit| *limit > 0),
                preferences: keys
                    .map(|key| {
                        *level_ids.entry(key).or_insert_with(|| {
                            levels.push(Level::of(key, &sites));
                            levels.len() - 1
                        })
                    })
                    .collect(),
                beside: relations[index].services.clone(),
                anchors: Vec::new(),
                level: depths[index],
            });
        }
        let mut active = Bits::none(sites.len());
        for (index, site) in sites.iter().enumerate() {
            if super::filters::availability::of(site, super::filters::Stance::New).is_none() {
                active.set(index);
            }
        }
        let seated = vec![BTreeMap::new(); asks.len()];
        let undecided = vec![0; asks.len()];
        Self { project, asks, sites, anchors: Vec::new(), rules, levels, seated, undecided, active }
    }

    pub(super) fn anchors_of(&self, service: usize) -> impl Iterator<Item = &Anchor<'a>> {
        self.asks[service].anchors.iter().map(|anchor| &self.anchors[*anchor])
    }

    pub(super) fn seated_at(&self, service: usize, site: usize) -> u32 {
        self.seated[service].get(&site).copied().unwrap_or_default()
    }

    /// Counts a replica on a host: its ports, its reservation, its place.
    pub(super) fn seat(&mut self, query: Query) {
        let (ask, site) = (&self.asks[query.service], &mut self.sites[query.site]);
        *self.seated[query.service].entry(query.site).or_default() += 1;
        site.replicas += 1;
        if !ask.reserves_nothing {
            site.stock.reserve(&ask.needs);
        }
        if !ask.ports.is_empty() {
            // Where a port is taken nonetheless, the replica is held there and its ports are somebody else's.
            let chosen = ports::choose(site, &ask.ports).unwrap_or_default();
            site.bind(&ask.ports, &chosen, Holder::Replica(query.service, query.number));
        }
    }

    /// Takes it back.
    pub(super) fn unseat(&mut self, query: Query) {
        let (ask, site) = (&self.asks[query.service], &mut self.sites[query.site]);
        if let Some(count) = self.seated[query.service].get_mut(&query.site) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.seated[query.service].remove(&query.site);
            }
        }
        site.replicas = site.replicas.saturating_sub(1);
        site.stock.release(&ask.needs);
        if !ask.ports.is_empty() {
            site.unbind(Holder::Replica(query.service, query.number));
        }
    }

    /// Who holds a port, in words.
    pub(super) fn name_of(&self, holder: Holder) -> String {
        match holder {
            Holder::Stranger(name) => format!("container `{name}`"),
            Holder::Replica(service, number) => format!("`{}.{number}`", self.asks[service].name),
            Holder::Itself => "another port of the same service".to_owned(),
        }
    }
}

/// The rules of a service that depend on nothing but the host.
fn rules_of<'a>(project: &'a Project, service: &'a Service) -> Vec<Rule<'a>> {
    let placement = service.deploy.as_ref().map(|deploy| &deploy.placement);
    let constraints = placement.map(|placement| placement.constraints.as_slice()).unwrap_or_default();
    let mut rules: Vec<Rule> = constraints.iter().map(|text| Rule::Constraint(text.trim())).collect();
    rules.extend(service.platform.as_deref().filter(|platform| !platform.is_empty()).map(Rule::Platform));
    rules
        .extend(service.runtime.as_deref().filter(|runtime| !runtime.is_empty()).map(|name| Rule::Plugin(Plugin::Runtime, name)));
    rules.extend(service.must_be_known().map(Rule::Newer));
    let sources = service.volumes.iter().filter(|mount| mount.kind == "volume").filter_map(|mount| mount.source.as_deref());
    for volume in sources.filter_map(|key| project.volumes.get(key)) {
        if volume.external {
            rules.push(Rule::ExternalVolume(&volume.name));
        } else if let Some(driver) = volume.driver.as_deref().filter(|driver| *driver != "local") {
            rules.push(Rule::Plugin(Plugin::Volume, driver));
        }
    }
    for network in service.networks.keys().filter_map(|key| project.networks.get(key)) {
        if network.external {
            rules.push(Rule::ExternalNetwork(&network.name));
        } else if let Some(driver) =
            network.driver.as_deref().filter(|driver| !matches!(*driver, "default" | "bridge" | "overlay"))
        {
            rules.push(Rule::Plugin(Plugin::Network, driver));
        }
    }
    rules
}
