//! Rules between one service and one host that nothing else changes. Equal rules are answered once for all services.

use std::collections::BTreeMap;

use super::Misfit;
use super::bits::Bits;
use super::filters::Query;
use super::filters::constraint::Constraint;
use super::filters::plugin::Plugin;
use super::filters::{platform, plugin};
use super::scene::Scene;
use super::site::Site;
use crate::project::newer::Newer;

/// What is asked, as the project writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule<'a> {
    Constraint(&'a str),
    Platform(&'a str),
    Plugin(Plugin, &'a str),
    /// A network that is there before: one of the host itself or of its swarm.
    ExternalNetwork(&'a str),
    ExternalVolume(&'a str),
    /// A container of nobody here, to be joined.
    Container(&'a str),
    /// What only newer engines know.
    Newer(Newer),
}

/// Every rule of the project with the hosts that meet it.
#[derive(Debug, Default)]
pub(super) struct Rules<'a> {
    ids: BTreeMap<Rule<'a>, usize>,
    pub(super) all: Vec<Answered<'a>>,
}

#[derive(Debug)]
pub(super) struct Answered<'a> {
    rule: Rule<'a>,
    /// Only for constraints.
    constraint: Option<Constraint<'a>>,
    pub(super) met: Bits,
}

impl<'a> Rules<'a> {
    /// The rule's index; asks every host where it is new. `is_host`: whether the inventory has a host of this name.
    pub(super) fn intern(&mut self, rule: Rule<'a>, sites: &[Site], is_host: impl Fn(&str) -> bool) -> usize {
        if let Some(id) = self.ids.get(&rule) {
            return *id;
        }
        let constraint = match rule {
            Rule::Constraint(text) => Some(Constraint::parse(text, is_host)),
            _ => None,
        };
        let mut met = Bits::none(sites.len());
        // A swarm's network is everywhere, though a worker shows it only while it uses it.
        let is_swarm_wide = |name: &str| {
            let networks = sites.iter().filter_map(|site| site.seen).flat_map(|seen| &seen.networks);
            networks.into_iter().any(|network| network.name == name && network.scope == "swarm")
        };
        let is_everywhere = matches!(rule, Rule::ExternalNetwork(name) if is_builtin(name) || is_swarm_wide(name));
        for (index, site) in sites.iter().enumerate() {
            if is_everywhere || is_met(rule, constraint.as_ref(), site) {
                met.set(index);
            }
        }
        self.all.push(Answered { rule, constraint, met });
        self.ids.insert(rule, self.all.len() - 1);
        self.all.len() - 1
    }
}

fn is_builtin(network: &str) -> bool {
    matches!(network, "bridge" | "host" | "none")
}

fn is_met(rule: Rule, constraint: Option<&Constraint>, site: &Site) -> bool {
    let Some(seen) = site.seen else { return false };
    match rule {
        Rule::Constraint(_) => constraint.is_some_and(|constraint| constraint.is_met(site)),
        Rule::Platform(platform) => platform::is_met(platform, site),
        Rule::Plugin(kind, name) => plugin::is_met(kind, name, site),
        Rule::ExternalNetwork(name) => seen.networks.iter().any(|network| network.name == name || network.id == name),
        Rule::ExternalVolume(name) => seen.volumes.iter().any(|volume| volume.name == name),
        Rule::Container(name) => {
            site.strangers.contains(name) || seen.containers.iter().any(|container| container.id.as_str() == name)
        }
        Rule::Newer(newer) => seen.engine.speaks(newer.since),
    }
}

/// The first of the service's rules that the host does not meet.
pub(super) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    let rules = scene.asks[query.service].rules.iter().map(|id| &scene.rules.all[*id]);
    let site = &scene.sites[query.site];
    rules.into_iter().find(|answered| !answered.met.has(query.site)).map(|answered| match answered.rule {
        Rule::Constraint(text) => match &answered.constraint {
            Some(constraint) => constraint.misfit(text),
            None => Misfit::Constraint { constraint: text.to_owned() },
        },
        Rule::Platform(platform) => platform::misfit(platform, site),
        Rule::Plugin(kind, name) => plugin::misfit(kind, name),
        Rule::ExternalNetwork(name) => Misfit::NetworkMissing { network: name.to_owned() },
        Rule::ExternalVolume(name) => Misfit::VolumeMissing { volume: name.to_owned() },
        Rule::Container(name) => Misfit::ContainerMissing { name: name.to_owned() },
        Rule::Newer(newer) => Misfit::OldEngine { attribute: newer.attribute.to_owned(), needed: newer.since },
    })
}
