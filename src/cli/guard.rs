//! Who keeps the projects running, and what does not run: said beside `up -d` and `ps`.

use std::time::Duration;

use tokio::time::timeout;

use super::Failure;
use super::attached::now;
use super::happened::skew_ms;
use super::session::Session;
use crate::placement::{Request, place, unmet};
use crate::project::{HostName, ProjectName};
use crate::store::Supervisor;
use crate::world::{Fabric, SeenHost, Swarm, World};

/// A swarm without a leader answers late, and the answer is not worth the wait.
const READ_MAX: Duration = Duration::from_secs(3);
/// Further replicas that do not run are counted.
const LINES_MAX: usize = 10;

/// Says which replicas of a project do not run and why, and who supervises. Nothing on one engine without an inventory: there, its
/// own restarts do. What cannot be read now is no failure of the command.
pub async fn tell(session: &Session, world: &World, project: Option<&ProjectName>) {
    if session.file.is_none() {
        return;
    }
    let told = async {
        if let Some(project) = project {
            tell_unmet(session, world, project).await?;
        }
        tell_who(session, world).await
    };
    if !matches!(timeout(READ_MAX, told).await, Ok(Ok(()))) {
        session.ui.warning("who supervises these hosts cannot be told: no manager of the swarm answers with its records");
    }
}

async fn tell_who(session: &Session, world: &World) -> Result<(), Failure> {
    let fabric = session.fabric(world)?;
    if is_unformed(&fabric, world) {
        session.ui.note(&line(None, Duration::ZERO));
        return Ok(());
    }
    let supervisor = session.store(&fabric, world)?.supervisor().await?;
    let clock = match &fabric {
        Fabric::Overlay { managers } => managers.iter().find(|host| world.seen(host.as_str()).is_some()),
        Fabric::Bridge => None,
    };
    let skew_ms = clock.map_or(0, |host| skew_ms(world, host));
    let skew = Duration::from_millis(skew_ms.unsigned_abs());
    let by_its_clock = if skew_ms < 0 { now().saturating_sub(skew) } else { now() + skew };
    session.ui.note(&line(supervisor.as_ref(), by_its_clock));
    Ok(())
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

async fn tell_unmet(session: &Session, world: &World, project: &ProjectName) -> Result<(), Failure> {
    let fabric = session.fabric(world)?;
    if is_unformed(&fabric, world) {
        return Ok(());
    }
    let Some(record) = session.store(&fabric, world)?.latest(project).await? else { return Ok(()) };
    let meant = record.scaled();
    let request = Request { known: record.seats.clone(), fabric, ..Request::default() };
    let placement = place(&meant, &session.inventory.hosts, world, &request);
    let unmet = unmet(&meant, &placement, world);
    for (slot, why) in unmet.iter().take(LINES_MAX) {
        session.ui.note(&format!("{slot} {why}"));
    }
    if unmet.len() > LINES_MAX {
        session.ui.note(&format!("and {} more; `mcompose why SERVICE` tells all", unmet.len() - LINES_MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::line;
    use crate::store::{Holder, Supervisor};

    fn check(renewed_at: Option<&str>, expected: &str) {
        let holder = Holder { who: "ann@box".to_owned(), what: "supervise".to_owned(), ..Holder::default() };
        let supervisor = Supervisor { holder, renewed_at: renewed_at.map(str::to_owned) };
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
