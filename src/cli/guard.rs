//! Who keeps the projects running, and what does not run: said beside `up -d` and `ps`.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::Failure;
use super::attached::now;
use super::happened::skew_ms;
use super::session::Session;
use crate::placement::{Request, place, unmet};
use crate::project::{HostName, ProjectName, Slot};
use crate::store::Supervisor;
use crate::supervise::machine::MOVED;
use crate::world::{Fabric, SeenHost, Swarm, World};

/// A swarm without a leader answers late, and the answer is not worth the wait.
const READ_MAX: Duration = Duration::from_secs(3);
/// Further replicas that do not run are counted.
const LINES_MAX: usize = 10;

/// Who supervises, and what is to be said of replicas of a project.
#[derive(Debug, Default)]
pub struct Told {
    supervisor: Option<String>,
    /// Of replicas that do not run as they should, by slot: what is seen, and what the supervisor says.
    pub of_slots: BTreeMap<Slot, Vec<String>>,
    /// Where the supervisor says that slots came from.
    pub moved: BTreeMap<Slot, String>,
    /// What the supervisor says of the project beside that.
    others: Vec<String>,
}

/// Nothing on one engine without an inventory: there, its own restarts do; and nothing where no manager answers in time.
pub async fn ask(session: &Session, world: &World, project: Option<&ProjectName>) -> Option<Told> {
    session.file.as_ref()?;
    timeout(READ_MAX, asked(session, world, project)).await.ok()?.ok()
}

/// Says which replicas of a project do not run and why, and who supervises. What cannot be read now is no failure of the command.
pub async fn tell(session: &Session, world: &World, project: Option<&ProjectName>) {
    if session.file.is_none() {
        return;
    }
    let Some(told) = ask(session, world, project).await else {
        let text = "who supervises these hosts cannot be told: no manager of the swarm answers with its records";
        return session.ui.warning(text);
    };
    let of_slots = told.of_slots.iter().flat_map(|(slot, texts)| texts.iter().map(move |text| format!("{slot} {text}")));
    let lines: Vec<String> = of_slots.chain(told.others).collect();
    lines.iter().take(LINES_MAX).for_each(|line| session.ui.note(line));
    if lines.len() > LINES_MAX {
        session.ui.note(&format!("and {} more; `mcompose why SERVICE` tells all", lines.len() - LINES_MAX));
    }
    told.supervisor.iter().for_each(|line| session.ui.note(line));
}

async fn asked(session: &Session, world: &World, project: Option<&ProjectName>) -> Result<Told, Failure> {
    let fabric = session.fabric(world)?;
    if is_unformed(&fabric, world) {
        return Ok(Told { supervisor: Some(line(None, Duration::ZERO)), ..Told::default() });
    }
    let store = session.store(&fabric, world)?;
    let supervisor = store.supervisor().await?;
    let clock = match &fabric {
        Fabric::Overlay { managers } => managers.iter().find(|host| world.seen(host.as_str()).is_some()),
        Fabric::Bridge => None,
    };
    let skew_ms = clock.map_or(0, |host| skew_ms(world, host));
    let skew = Duration::from_millis(skew_ms.unsigned_abs());
    let by_its_clock = if skew_ms < 0 { now().saturating_sub(skew) } else { now() + skew };
    let mut told = Told { supervisor: Some(line(supervisor.as_ref(), by_its_clock)), ..Told::default() };
    let Some(project) = project else { return Ok(told) };
    let Some(record) = store.latest(project).await? else { return Ok(told) };
    let meant = record.scaled();
    let request = Request { known: record.seats.clone(), fabric, ..Request::default() };
    let placement = place(&meant, &session.inventory.hosts, world, &request);
    // What a verb stopped is as it should be.
    let unmet = unmet(&meant, &placement, world).into_iter().filter(|(slot, _)| !record.halted.contains(&slot.service));
    told.of_slots = unmet.map(|(slot, why)| (slot, vec![why.to_string()])).collect();
    // Who has been silent for long knows nothing of today.
    if let Some(supervisor) = supervisor.filter(|supervisor| supervisor.silent_for(by_its_clock).is_none()) {
        let slots: Vec<&Slot> = placement.seats.keys().chain(placement.refused.keys()).collect();
        for said in supervisor.says_of(project) {
            told.hear(&slots, said);
        }
    }
    Ok(told)
}

impl Told {
    /// What the supervisor says of a slot begins with it. What is held or fits nowhere was seen here as well.
    fn hear(&mut self, slots: &[&Slot], said: &str) {
        if ["held: ", "unplaced: "].iter().any(|word| said.starts_with(word)) {
            return;
        }
        let of_slot =
            |said: &str| slots.iter().find_map(|slot| Some((*slot, said.strip_prefix(&format!("{slot} "))?.to_owned())));
        if let Some(moved) = said.strip_prefix(MOVED) {
            self.moved.extend(of_slot(moved).map(|(slot, text)| (slot.clone(), text)));
            return;
        }
        match of_slot(said) {
            Some((slot, text)) => self.of_slots.entry(slot.clone()).or_default().push(text),
            None => self.others.push(said.to_owned()),
        }
    }
}

/// Whether the hosts have no swarm yet, and so nothing that could be read.
fn is_unformed(fabric: &Fabric, world: &World) -> bool {
    let is_alone = |(_, seen): (&HostName, &SeenHost)| seen.swarm == Swarm::Inactive;
    matches!(fabric, Fabric::Overlay { .. }) && world.seen_hosts().all(is_alone)
}

/// `now`: since 1970, by the clock that the lease is stamped with.
fn line(supervisor: Option<&Supervisor>, now: Duration) -> String {
    let nobody = "what dies or loses its host is not replaced until `mcompose supervise` runs";
    let Some(supervisor) = supervisor else { return format!("nobody supervises these hosts: {nobody}") };
    let holder = &supervisor.holder;
    match supervisor.silent_for(now) {
        Some(silent) => format!("the supervisor {holder} has been silent for {} s: {nobody}", silent.as_secs()),
        None => format!("supervised by {holder}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Told, line};
    use crate::project::{ServiceName, Slot};
    use crate::store::{Holder, Supervisor};

    #[test]
    fn what_the_supervisor_says_of_a_replica_stands_with_it_and_nothing_is_said_twice() {
        let slots = [1, 11].map(|number| Slot::new(ServiceName::new("web").expect("a name"), number).expect("not 0"));
        let mut told = Told::default();
        let came = "moved: web.1 came from h3, which was lost: no answer";
        for said in ["web.11 is in a crash loop", "held: web.1 on h1: its host does not answer", "refused: web: build: no", came]
        {
            told.hear(&slots.iter().collect::<Vec<_>>(), said);
        }
        assert_eq!(told.of_slots.into_iter().collect::<Vec<_>>(), [(slots[1].clone(), vec!["is in a crash loop".to_owned()])]);
        assert_eq!(told.others, ["refused: web: build: no"]);
        assert_eq!(told.moved.get(&slots[0]).map(String::as_str), Some("came from h3, which was lost: no answer"));
    }

    fn check(renewed_at: Option<&str>, expected: &str) {
        let holder = Holder { who: "ann@box".to_owned(), what: "supervise".to_owned(), ..Holder::default() };
        let supervisor = Supervisor { holder, renewed_at: renewed_at.map(str::to_owned), says: String::new() };
        // 2013-01-02T13:23:37Z
        assert_eq!(line(Some(&supervisor), Duration::from_secs(1_357_133_017)), expected);
    }

    #[test]
    fn a_lease_that_is_renewed_has_a_supervisor_and_one_that_is_not_had_one() {
        check(Some("2013-01-02T13:23:35.5Z"), "supervised by ann@box (`supervise`)");
        check(Some("2013-01-02T13:23:40Z"), "supervised by ann@box (`supervise`)");
        check(None, "supervised by ann@box (`supervise`)");
        check(
            Some("2013-01-02T13:20:37Z"),
            "the supervisor ann@box (`supervise`) has been silent for 180 s: what dies or loses its host is not replaced until \
             `mcompose supervise` runs",
        );
    }
}
