//! What goes wrong, and when: drawn from the seed before a history begins.

use mcompose::engine::fake::Link;

use mcompose::project::Availability;

use super::dice::Dice;

/// Nothing goes wrong before the first deployment had its time, and all is healed after the last.
const FIRST_MS: u64 = 6_000;
const LAST_MS: u64 = 20_000;
const HEALED_MS: u64 = 28_000;
/// A lock is another's after 30 s without a word of its holder; in some histories somebody is frozen for longer.
const LONG_FREEZE_MS_MIN: u64 = 32_000;
/// The host that joins the others.
pub const GUEST: &str = "guest";
/// Whoever deployed last.
pub const USER: &str = "user";

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Crash(String),
    SaveDisk(String),
    Boot(String, Disk),
    Freeze(String),
    Thaw(String),
    Cut(String),
    /// Its engine is not there for a while: whoever asks is told so at once.
    Refuse(String),
    Heal(String),
    /// Somebody edits the inventory: what a host may be given …
    Allow(String, Availability),
    /// … and a host that joins the others and leaves them.
    Join,
    Leave,
    /// The same of any other host: it is taken out of the file with all that is on it, and put back.
    Unlist(String),
    List(String),
    Link(String, String, Link),
    /// Something happens to a container that runs; the number says to which.
    Hurt(Hurt, u64),
    Trouble(u32),
    TroubleEvents(u32),
    Deploy(u64),
    KillUser,
    FreezeProcess(String),
    ThawProcess(String),
    KillProcess(String),
    StartProcess(String),
    HealAll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    Same,
    Old,
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hurt {
    Fails,
    Ends,
    IsKilled,
    IsRemoved,
    TurnsUnhealthy,
}

/// Acts in order of time; the last one is that all is healed.
pub fn draw(hosts: &[String], supervisors: &[String], seed: u64) -> Vec<(u64, Act)> {
    let dice = &mut Dice::new(seed, 2);
    let mut acts = Vec::new();
    for _ in 0..1 + dice.below(5) {
        let at_ms = FIRST_MS + dice.below(LAST_MS - FIRST_MS);
        let lasts_ms = if dice.one_in(2) { 500 + dice.below(4_000) } else { 4_000 + dice.below(18_000) };
        let until_ms = (at_ms + lasts_ms).min(HEALED_MS - 1);
        incident(at_ms, until_ms, hosts, supervisors, dice, &mut acts);
    }
    // By dice of its own, so that it changes no other throw.
    let long = long_freeze(supervisors, &mut Dice::new(seed, 6));
    acts.extend(refusal(hosts, &mut Dice::new(seed, 7)));
    acts.extend(edits(hosts, has_guest(seed), &mut Dice::new(seed, 8)));
    acts.extend(unlisted(hosts, &mut Dice::new(seed, 10)));
    let healed_ms = long.iter().map(|(at_ms, _)| at_ms + 1).max().unwrap_or_default().max(HEALED_MS);
    acts.extend(long);
    acts.push((healed_ms, Act::HealAll));
    acts.sort_by_key(|(at_ms, _)| *at_ms);
    acts
}

/// Now and then: somebody deploys, and who works on it is frozen until the lock is another's.
fn long_freeze(supervisors: &[String], dice: &mut Dice) -> Vec<(u64, Act)> {
    if !dice.one_in(6) {
        return Vec::new();
    }
    let at_ms = FIRST_MS + dice.below(LAST_MS - FIRST_MS);
    let frozen_ms = at_ms + dice.below(2_500);
    let who = if dice.one_in(2) { USER.to_owned() } else { dice.pick(supervisors).clone() };
    let until_ms = frozen_ms + LONG_FREEZE_MS_MIN + dice.below(10_000);
    let mut acts =
        vec![(at_ms, Act::Deploy(dice.next())), (frozen_ms, Act::FreezeProcess(who.clone())), (until_ms, Act::ThawProcess(who))];
    if dice.one_in(2) {
        acts.push((frozen_ms + dice.below(until_ms - frozen_ms), Act::Deploy(dice.next())));
    }
    acts
}

/// Whether a host joins the others in the course of a history.
pub fn has_guest(seed: u64) -> bool {
    Dice::new(seed, 9).one_in(6)
}

fn refusal(hosts: &[String], dice: &mut Dice) -> Vec<(u64, Act)> {
    if !dice.one_in(4) {
        return Vec::new();
    }
    let host = dice.pick(hosts).clone();
    let at_ms = FIRST_MS + dice.below(LAST_MS - FIRST_MS);
    let until_ms = (at_ms + 500 + dice.below(10_000)).min(HEALED_MS - 1);
    vec![(at_ms, Act::Refuse(host.clone())), (until_ms, Act::Heal(host))]
}

/// A host is drained, or gets nothing new, for a while; the guest comes, and goes in half of the histories, drained before or not.
fn edits(hosts: &[String], has_guest: bool, dice: &mut Dice) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    if dice.one_in(4) {
        let (host, at_ms) = (dice.pick(hosts).clone(), FIRST_MS + dice.below(LAST_MS - FIRST_MS));
        let less = if dice.one_in(3) { Availability::Pause } else { Availability::Drain };
        let until_ms = (at_ms + 500 + dice.below(15_000)).min(HEALED_MS - 1);
        acts.extend([(at_ms, Act::Allow(host.clone(), less)), (until_ms, Act::Allow(host, Availability::Active))]);
    }
    if has_guest {
        let at_ms = FIRST_MS + dice.below(LAST_MS - FIRST_MS);
        acts.push((at_ms, Act::Join));
        if dice.one_in(2) {
            let drained_ms = at_ms + dice.below(HEALED_MS - at_ms - 2);
            if dice.one_in(2) {
                acts.push((drained_ms, Act::Allow(GUEST.to_owned(), Availability::Drain)));
            }
            acts.push((drained_ms + 1 + dice.below(HEALED_MS - drained_ms - 1), Act::Leave));
        }
    }
    acts
}

/// Somebody takes a host out of the file and moves nothing before; half of them are listed again.
fn unlisted(hosts: &[String], dice: &mut Dice) -> Vec<(u64, Act)> {
    if !dice.one_in(5) {
        return Vec::new();
    }
    let (host, at_ms) = (dice.pick(hosts).clone(), FIRST_MS + dice.below(LAST_MS - FIRST_MS));
    let mut acts = vec![(at_ms, Act::Unlist(host.clone()))];
    if dice.one_in(2) {
        acts.push((at_ms + dice.below(HEALED_MS - at_ms), Act::List(host)));
    }
    acts
}

fn incident(at_ms: u64, until_ms: u64, hosts: &[String], supervisors: &[String], dice: &mut Dice, acts: &mut Vec<(u64, Act)>) {
    let host = dice.pick(hosts).clone();
    let supervisor = dice.pick(supervisors).clone();
    let mut during = |first: Act, last: Act| acts.extend([(at_ms, first), (until_ms, last)]);
    match dice.below(16) {
        0 | 1 => {
            let disk = *dice.pick(&[Disk::Same, Disk::Same, Disk::Old, Disk::Empty]);
            during(Act::Crash(host.clone()), Act::Boot(host.clone(), disk));
            acts.push((FIRST_MS.saturating_sub(dice.below(4_000)), Act::SaveDisk(host)));
        }
        2 => during(Act::Freeze(host.clone()), Act::Thaw(host)),
        3 => during(Act::Cut(host.clone()), Act::Heal(host)),
        4 => {
            let link = Link { there: dice.one_in(2), back: dice.one_in(3) };
            during(Act::Link(supervisor.clone(), host.clone(), link), Act::Link(supervisor, host, Link::WHOLE));
        }
        5 => {
            // Its own network: it is the one that is away.
            let away = Link { there: false, back: false };
            for host in hosts.iter().filter(|_| !dice.one_in(5)) {
                let link = |link| Act::Link(supervisor.clone(), host.clone(), link);
                acts.extend([(at_ms, link(away)), (until_ms, link(Link::WHOLE))]);
            }
        }
        6 => {
            // Half of the fleet or more.
            for host in hosts.iter().filter(|_| !dice.one_in(3)) {
                acts.extend([(at_ms, Act::Cut(host.clone())), (until_ms, Act::Heal(host.clone()))]);
            }
        }
        7 | 8 => {
            for _ in 0..1 + dice.below(3) {
                let all = [Hurt::Fails, Hurt::Ends, Hurt::IsKilled, Hurt::IsRemoved, Hurt::TurnsUnhealthy];
                acts.push((at_ms + dice.below(2_000), Act::Hurt(*dice.pick(&all), dice.next())));
            }
        }
        9 => during(Act::Trouble(50 + u32::try_from(dice.below(250)).expect("it is small")), Act::Trouble(0)),
        10 => during(Act::TroubleEvents(100 + u32::try_from(dice.below(200)).expect("it is small")), Act::TroubleEvents(0)),
        11 | 12 => acts.push((at_ms, Act::Deploy(dice.next()))),
        13 => acts.extend([(at_ms, Act::Deploy(dice.next())), (at_ms + dice.below(4_000), Act::KillUser)]),
        14 => during(Act::FreezeProcess(supervisor.clone()), Act::ThawProcess(supervisor)),
        _ => during(Act::KillProcess(supervisor.clone()), Act::StartProcess(supervisor)),
    }
}
