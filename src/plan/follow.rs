//! What follows for the replicas of one service from what becomes of another's.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::Compose;
use super::diff::{Action, Turn, Wake};
use super::draft::Draft;
use super::up::Rise;
use super::{Cause, Note, Recreate, order};
use crate::project::ServiceName;
use crate::world::Container;

/// What becomes of a service that others may follow.
#[derive(Default)]
struct Decided<'a> {
    /// A container of it makes way.
    is_replaced: bool,
    /// Slots that have a container when the plan is done, and those of them whose container is another one then.
    present: BTreeSet<u32>,
    new: BTreeSet<u32>,
    /// The containers that fill its slots now.
    fillers: BTreeMap<u32, &'a Container>,
}

/// Replicas that share namespaces or volumes with one that gets another container get another themselves; those that only
/// depend on it with `restart: true` are stopped before and started after. A replica whose neighbour is left out is left out.
/// Services stand behind those that they need, so one pass is enough.
pub(super) fn let_dependents_follow<'a>(compose: &Compose<'a>, rises: &mut [Rise<'a>], starts: bool, draft: &mut Draft) {
    let mut decided: BTreeMap<&'a str, Decided<'a>> = BTreeMap::new();
    let shared: BTreeSet<&'a str> = rises.iter().flat_map(|rise| order::shares(rise.wanted.service)).collect();
    for rise in rises {
        let shares = order::shares(rise.wanted.service);
        if !shares.is_empty() {
            let is_alone = |turn: &Turn<'a>| turn.is_new() && lacks_neighbour(compose, &decided, &shares, turn);
            let before = rise.turns.len();
            rise.turns.retain(|turn| !is_alone(turn));
            if rise.turns.len() < before {
                draft.note(left_out(rise.wanted.name, &shares));
            }
        }
        let restarting = rise.wanted.service.depends_on.iter().filter(|(_, dependency)| dependency.restart);
        let mut replaced = restarting.map(|(needed, _)| needed).filter(|needed| is_replaced(&decided, needed));
        let replaced = replaced.next();
        for index in 0..rise.turns.len() {
            let beside = shares.iter().find(|needed| is_beside_another(compose, &decided, rise, &rise.turns[index], needed));
            let beside = beside.and_then(|needed| compose.project.services.get_key_value(*needed));
            let turn = &mut rise.turns[index];
            if let (Action::Keep(_), Some((needed, _)), false) = (&turn.action, beside, turn.is_newer) {
                turn.action = Action::Replace(Cause::DependencyReplaced { service: needed.clone() });
            }
            let runs = turn.filler.is_some_and(|filler| filler.container.state.is_up());
            if let (Action::Keep(Wake::Nothing), Some(needed)) = (&turn.action, replaced)
                && runs
                && starts
            {
                turn.action = Action::Keep(Wake::Bounce(Cause::DependencyReplaced { service: needed.clone() }));
            }
        }
        let name = rise.wanted.name.as_str();
        decided.insert(name, Decided::of(rise, shared.contains(name)));
    }
}

impl<'a> Decided<'a> {
    /// Slot by slot only where other services share something with them.
    fn of(rise: &Rise<'a>, is_shared: bool) -> Self {
        let is_replaced = rise.turns.iter().any(Turn::is_replaced);
        if !is_shared {
            return Self { is_replaced, ..Self::default() };
        }
        Self {
            is_replaced,
            present: rise.turns.iter().map(|turn| turn.number).collect(),
            new: rise.turns.iter().filter(|turn| turn.is_new()).map(|turn| turn.number).collect(),
            fillers: rise.turns.iter().filter_map(|turn| Some((turn.number, turn.filler?.container))).collect(),
        }
    }
}

fn is_replaced(decided: &BTreeMap<&str, Decided<'_>>, service: &ServiceName) -> bool {
    decided.get(service.as_str()).is_some_and(|decided| decided.is_replaced)
}

/// A neighbour has no container, and gets none: its service is left out.
fn lacks_neighbour(
    compose: &Compose<'_>,
    decided: &BTreeMap<&str, Decided<'_>>,
    shares: &BTreeSet<&str>,
    turn: &Turn<'_>,
) -> bool {
    shares.iter().any(|needed| {
        let Some((name, number)) = compose.neighbour(needed, turn.number, turn.host) else { return true };
        let is_present = decided.get(name.as_str()).is_some_and(|decided| decided.present.contains(&number));
        !is_present && compose.view.container(name, number, turn.host).is_none()
    })
}

fn left_out(name: &ServiceName, shares: &BTreeSet<&str>) -> Note {
    let shares: Vec<&str> = shares.iter().copied().collect();
    Note::Refused {
        subject: name.to_string(),
        attribute: "network_mode".to_owned(),
        why: format!("no replica of `{}` is there to be beside", shares.join("`, `")),
        hint: format!("see what is said of `{}`", shares.join("`, `")),
    }
}

/// The neighbour gets another container, or already is another one than the replica was made beside.
fn is_beside_another<'a>(
    compose: &Compose<'a>,
    decided: &BTreeMap<&str, Decided<'a>>,
    rise: &Rise<'a>,
    turn: &Turn<'a>,
    needed: &str,
) -> bool {
    let Some((name, number)) = compose.neighbour(needed, turn.number, turn.host) else { return false };
    let decided = decided.get(name.as_str());
    if decided.is_some_and(|decided| decided.new.contains(&number)) {
        return true;
    }
    if !matches!(rise.wanted.recreate, Recreate::Changed | Recreate::Specified) {
        return false;
    }
    let chosen = decided.and_then(|decided| decided.fillers.get(&number).copied());
    let neighbour = chosen.or_else(|| compose.view.container(name, number, turn.host));
    let own = turn.filler.map(|filler| filler.container);
    own.zip(neighbour).is_some_and(|(own, neighbour)| rise.wanted.is_beside_another(needed, own, neighbour))
}
