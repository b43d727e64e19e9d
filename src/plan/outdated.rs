//! Networks that are not what the file says any more. A network cannot be changed, so it is removed and made again; the
//! containers on it leave before and are made again after, as docker compose does it.
//!
//! That is how a project passes from one host, with a bridge, to several, with an overlay.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::diff::{Action, Wake};
use super::draft::Draft;
use super::up::Rise;
use super::{Cause, Note, StepId, networks};
use crate::project::{HostName, NetworkName, NetworkSpec, SpecHash};
use crate::world::{Container, NetworkSeen, Swarm, keys};

/// The removals of outdated networks, by engine name and host.
#[derive(Debug, Default)]
pub(super) struct Outdated<'a> {
    removals: BTreeMap<(&'a str, &'a HostName), Removal<'a>>,
    /// Networks that cannot be made, since one of the same name and another kind has to stay.
    blocked: BTreeSet<&'a str>,
}

#[derive(Debug)]
struct Removal<'a> {
    removal: networks::Removal,
    /// The containers on it, all of which leave in this plan.
    users: Vec<User<'a>>,
}

pub(super) type User<'a> = (&'a HostName, &'a Container);

/// An outdated network as it was seen.
struct Found<'a> {
    key: &'a NetworkName,
    name: &'a str,
    seen: &'a NetworkSeen,
    /// Where it is to be removed: its own host, or a manager for one that crosses hosts.
    host: &'a HostName,
    keys: BTreeSet<String>,
    users: Vec<User<'a>>,
}

impl<'a> Outdated<'a> {
    /// Finds them, lets the turns of their containers make way first, and makes the steps that remove them. One whose
    /// containers cannot all leave is kept, with a remark.
    pub(super) fn find(compose: &Compose<'a>, rises: &mut [Rise<'a>], draft: &mut Draft, orphans_leave: bool) -> Self {
        let mut outdated = Self::default();
        let mut all = all(compose, rises);
        // One that is kept may keep containers where they are, and with them another.
        while let Some((index, reason)) = all
            .iter()
            .enumerate()
            .find_map(|(index, found)| kept_because(compose, rises, found, orphans_leave).map(|reason| (index, reason)))
        {
            outdated.keep(&all.remove(index), &reason, rises, draft);
        }
        for found in all {
            let cause = Cause::Changed { keys: found.keys.clone() };
            let removal = networks::remove(compose, draft, found.host, found.seen, &cause, Vec::new());
            make_way(rises, &found.users, "networks");
            outdated.removals.insert((found.name, found.host), Removal { removal, users: found.users });
        }
        outdated
    }

    /// A network of the same driver will do for now. One of another kind bars its name: no container can be made on it.
    fn keep(&mut self, found: &Found<'a>, reason: &str, rises: &mut [Rise<'a>], draft: &mut Draft) {
        let Found { name, host, .. } = found;
        if !found.keys.contains("driver") {
            let text = format!("network `{name}` on {host} is not as the file says, and is kept: {reason}");
            return draft.note(Note::Remark { text });
        }
        self.blocked.insert(name);
        draft.note(Note::Refused {
            subject: format!("networks.{}", found.key),
            attribute: "driver".to_owned(),
            why: format!("`{name}` on {host} is of another kind, and cannot be made again: {reason}"),
            hint: "remove what uses it (`--remove-orphans`), or give the network another name".to_owned(),
        });
        for rise in rises.iter_mut().filter(|rise| rise.wanted.service.networks.contains_key(found.key)) {
            rise.turns.retain(|turn| !turn.is_new());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.removals.is_empty()
    }

    pub(super) fn blocks(&self, name: &str) -> bool {
        self.blocked.contains(name)
    }

    /// What a network's creation waits for: its removal on the host, or on every host for one that crosses them. Nothing where
    /// it is not outdated.
    pub(super) fn removals(&self, name: &str, host: Option<&HostName>) -> Vec<StepId> {
        let same = |(network, on): &(&'a str, &'a HostName)| *network == name && host.is_none_or(|host| host == *on);
        self.removals.iter().filter(|(key, _)| same(key)).flat_map(|(_, removal)| &removal.removal.ends).copied().collect()
    }

    /// Each network is removed after its containers are.
    pub(super) fn wait_for_users(&self, draft: &mut Draft, removed: &BTreeMap<(&'a HostName, &'a str), StepId>) {
        for removal in self.removals.values() {
            let users = removal.users.iter().filter_map(|(host, user)| removed.get(&(*host, user.name.as_str())).copied());
            draft.wait_for(removal.removal.step, &users.collect::<Vec<_>>());
        }
    }
}

fn all<'a>(compose: &Compose<'a>, rises: &[Rise<'a>]) -> Vec<Found<'a>> {
    let used: BTreeSet<_> =
        rises.iter().filter(|rise| !rise.turns.is_empty()).flat_map(|rise| rise.wanted.service.networks.keys()).collect();
    let mut found = Vec::new();
    for (key, network) in used.into_iter().filter_map(|key| compose.project.networks.get_key_value(key)) {
        if network.external {
            continue;
        }
        let wanted = networks::spec(compose, key, network);
        let mut shared_is_done = false;
        for (host, seen) in networks::sightings(compose, &network.name) {
            let keys = differences(&wanted, seen, compose);
            let is_shared = seen.scope == "swarm";
            if keys.is_empty() || (is_shared && shared_is_done) {
                continue;
            }
            shared_is_done |= is_shared;
            let on = if is_shared { None } else { Some(host) };
            let remover = if is_shared { manager(compose, host) } else { host };
            found.push(Found { key, name: &network.name, seen, host: remover, keys, users: users(compose, &network.name, on) });
        }
    }
    found
}

/// What differs. A network of another project, or of nobody, is used as it is; one of docker compose's own making is taken as
/// right while its driver is.
fn differences(wanted: &NetworkSpec, seen: &NetworkSeen, compose: &Compose<'_>) -> BTreeSet<String> {
    if seen.labels.get(keys::PROJECT).map(String::as_str) != Some(compose.project.name.as_str()) {
        return BTreeSet::new();
    }
    let is_overlay = wanted.driver.as_deref() == Some("overlay");
    // Right after an overlay is made, the engine lists it without a driver for a moment.
    if !seen.driver.is_empty() && is_overlay != (seen.driver == "overlay") {
        return BTreeSet::from(["driver".to_owned()]);
    }
    let hash = |labels: &BTreeMap<String, String>| labels.get(keys::SPEC).cloned().map(SpecHash::from);
    match (hash(&seen.labels), hash(&wanted.labels)) {
        (Some(seen), Some(wanted)) => seen.changed(&wanted),
        _ => BTreeSet::new(),
    }
}

fn manager<'a>(compose: &Compose<'a>, host: &'a HostName) -> &'a HostName {
    let is_manager = |swarm: &Swarm| matches!(swarm, Swarm::Active(member) if member.is_manager);
    let managers = compose.world.seen_hosts().find(|(_, seen)| is_manager(&seen.swarm));
    managers.map_or(host, |(manager, _)| manager)
}

fn users<'a>(compose: &Compose<'a>, network: &str, on: Option<&HostName>) -> Vec<User<'a>> {
    let hosts = compose.world.seen_hosts().filter(|(host, _)| on.is_none_or(|on| on == *host));
    let containers = hosts.flat_map(|(host, seen)| seen.containers.iter().map(move |container| (host, container)));
    containers.filter(|(_, container)| container.networks.contains_key(network)).collect()
}

fn kept_because(compose: &Compose<'_>, rises: &[Rise<'_>], found: &Found<'_>, orphans_leave: bool) -> Option<String> {
    if found.seen.scope == "swarm"
        && let Some((away, _)) = compose.world.unreachable_hosts().next()
    {
        return Some(format!("{away} does not answer and may use it"));
    }
    who_stays(compose, rises, &found.users, orphans_leave)
}

/// One of the users that cannot leave in this plan, in words.
pub(super) fn who_stays(compose: &Compose<'_>, rises: &[Rise<'_>], users: &[User<'_>], orphans_leave: bool) -> Option<String> {
    let leaves = |container: &Container| {
        let fillers = |rise: &Rise<'_>| {
            let of_turns = rise.turns.iter().flat_map(|turn| turn.filler.iter().chain(&turn.extras));
            of_turns.chain(&rise.surplus).any(|filler| filler.container.id == container.id)
        };
        if compose.is_newer(container) {
            return false;
        }
        let is_orphan = orphans_leave && compose.is_orphan(container);
        is_orphan || rises.iter().filter(|rise| rise.wanted.name.as_str() == service_of(container)).any(fillers)
    };
    let stays = users.iter().find(|(_, container)| !leaves(container));
    stays.map(|(host, container)| format!("{} on {host} uses it", container.name))
}

fn service_of(container: &Container) -> &str {
    container.labels.service.as_deref().unwrap_or_default()
}

/// The containers that use it leave before anything else happens to their slots.
pub(super) fn make_way(rises: &mut [Rise<'_>], users: &[User<'_>], attribute: &str) {
    for rise in rises {
        for turn in &mut rise.turns {
            let is_user = |container: &Container| users.iter().any(|(_, user)| user.id == container.id);
            if !turn.filler.is_some_and(|filler| is_user(filler.container)) {
                continue;
            }
            let cause = match &turn.action {
                Action::Replace(cause) | Action::Remake(cause) => cause.clone(),
                Action::Move => Cause::Moved { to: turn.host.clone() },
                Action::Keep(Wake::Nothing | Wake::Start(_) | Wake::Unpause(_) | Wake::Halt(_) | Wake::Bounce(_))
                | Action::Create => Cause::Changed { keys: BTreeSet::from([attribute.to_owned()]) },
            };
            turn.action = Action::Remake(cause);
        }
    }
}
