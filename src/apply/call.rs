//! One step, one call.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{Event, HostTurns, StepEnd};
use crate::delivery::{Cargo, Freight, carry, copy_volume, unseal, wipe};
use crate::engine::{Engine, EngineError, Engines, ErrorKind, LogQuery};
use crate::image::{Harbour, Login, Shipment, login, ship};
use crate::plan::{Op, Step, StepId};
use crate::project::{Endpoint, HostName};

/// A swarm that elects a leader, or has not told a host of a network yet, refuses calls for up to 25 s.
pub const SWARM_SETTLES_MAX: Duration = Duration::from_secs(40);
/// The first pause, and the longest; each is twice as long as the one before.
const SWARM_PAUSE: Duration = Duration::from_millis(300);
const SWARM_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A host learns within a second or two of an overlay that was made anew; one that is not there after this is not coming.
const NETWORK_COMES_MAX: Duration = Duration::from_secs(15);
/// Lines of a container's log that are shown with its failure.
const LOG_TAIL_LINES: u64 = 10;
const LOG_TAIL_WAIT_MAX: Duration = Duration::from_secs(5);

/// What steps are carried out with.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) engines: &'a Engines,
    pub(super) cargo: &'a Cargo,
    pub(super) harbour: &'a Harbour,
    pub(super) turns: &'a HostTurns,
}

/// Makes the step's call and returns how it ended. What a swarm refuses for a moment is tried again, for a bounded time.
/// A wait ends at once when `interrupt` becomes true; a call is never left half done.
pub(super) async fn carry_out(
    means: Means<'_>,
    step: &Step,
    id: StepId,
    events: &mpsc::UnboundedSender<Event>,
    mut interrupt: watch::Receiver<bool>,
) -> StepEnd {
    let called = insist(means, step, id, events, interrupt.clone());
    if !step.op.is_wait() {
        return called.await;
    }
    tokio::select! {
        biased;
        end = called => end,
        Ok(_) = interrupt.wait_for(|on| *on) => StepEnd::Skipped { because: None },
    }
}

/// Each attempt takes a turn of its host, if it needs one; whoever is interrupted before has not begun.
async fn insist(
    means: Means<'_>,
    step: &Step,
    id: StepId,
    events: &mpsc::UnboundedSender<Event>,
    mut interrupt: watch::Receiver<bool>,
) -> StepEnd {
    let begun = Instant::now();
    let mut endpoints = BTreeMap::new();
    let mut pause = SWARM_PAUSE;
    loop {
        let turn = tokio::select! {
            biased;
            turn = means.turns.take(step) => turn,
            Ok(_) = interrupt.wait_for(|on| *on) => return StepEnd::Skipped { because: None },
        };
        let called = call(means, step, id, events).await;
        drop(turn);
        let error = match called {
            Ok(()) => return StepEnd::Done,
            Err(error) => error,
        };
        let patience = patience(step, &error);
        if patience.is_none_or(|patience| begun.elapsed() + pause > patience) {
            let log_tail = log_tail(means.engines, step).await;
            return StepEnd::Failed { error, log_tail };
        }
        let _ = events.send(Event::Progress { step: id, text: format!("waiting for the swarm: {}", error.message) });
        sleep(pause).await;
        pause = (pause * 2).min(SWARM_PAUSE_MAX);
        if misses_a_network(step, &error) {
            rejoin(means.engines, step, &mut endpoints).await;
        }
    }
}

/// Takes the container off its networks and puts it on them anew. An engine keeps the id of a network, and the address on it, of
/// a start that failed, and asks for the same again at every further start, also when another network has the name now.
/// What fails here shows at the next start, and what was taken off is put on again before the try after it.
async fn rejoin(engines: &Engines, step: &Step, endpoints: &mut BTreeMap<String, Endpoint>) {
    let (Op::Start { container } | Op::Restart { container, .. }) = &step.op else { return };
    let Some(engine) = engines.get(&step.host) else { return };
    let Ok(seen) = engine.inspect(container.as_str()).await else { return };
    endpoints.extend(seen.networks);
    for (network, endpoint) in endpoints {
        let _ = engine.disconnect(network, container.as_str()).await;
        let _ = engine.connect(network, container.as_str(), endpoint).await;
    }
}

async fn call(means: Means<'_>, step: &Step, id: StepId, events: &mpsc::UnboundedSender<Event>) -> Result<(), EngineError> {
    let Means { engines, cargo, harbour, .. } = means;
    let engine = engine_of(engines, &step.host, &step.op)?;
    match &step.op {
        Op::SwarmInit { advertise } => engine.swarm_init(advertise).await,
        Op::SwarmRecover { advertise } => engine.swarm_recover(advertise).await,
        Op::SwarmJoin { via, role, advertise, remote } => {
            let token = engine_of(engines, via, &step.op)?.join_token(*role).await?;
            engine.swarm_join(advertise, remote, &token).await
        }
        Op::SwarmLeave { force } => engine.swarm_leave(*force).await,
        Op::NodeRemove { node_id, force } => engine.node_remove(node_id, *force).await,
        Op::NodeRole { node_id, role } => engine.node_role(node_id, *role).await,
        Op::CreateNetwork(spec) => engine.create_network(spec).await,
        Op::RemoveNetwork { name } => engine.remove_network(name).await,
        Op::AwaitGone { network, at_most_secs } => engine.network_gone(network, Duration::from_secs(*at_most_secs)).await,
        Op::CreateVolume(spec) => engine.create_volume(spec).await,
        Op::RemoveVolume { name } => engine.remove_volume(name).await,
        Op::Ship { image, from, whole, .. } => {
            engine_of(engines, from, &step.op)?;
            let tell = |text: String| drop(events.send(Event::Progress { step: id, text }));
            ship(Shipment { image, whole: *whole, harbour }, &engines[from], engine, &tell).await
        }
        Op::Build(build) => {
            let tell = |text: String| drop(events.send(Event::Progress { step: id, text }));
            crate::image::build(engine, build, cargo, &tell).await
        }
        Op::Deliver { content, volume, from, left } => {
            carry(engines, Freight { to: &step.host, from: from.as_ref(), content, volume, left }, cargo).await
        }
        Op::Unseal { content } => unseal(engine, content, cargo.keys()).await,
        Op::Wipe { content } => wipe(engine, content).await,
        Op::CopyVolume { name, from, in_use } => {
            let source = engine_of(engines, from, &step.op)?;
            let tell = |text: String| drop(events.send(Event::Progress { step: id, text }));
            copy_volume(source, engine, name, *in_use, &tell).await
        }
        Op::Pull { image, platform } => {
            let tell = |text: String| drop(events.send(Event::Progress { step: id, text }));
            let login = login(image).await;
            engine.pull(image, platform.as_deref(), login.as_ref().map(Login::header), &tell).await
        }
        Op::Push { image } => {
            let tell = |text: String| drop(events.send(Event::Progress { step: id, text }));
            let login = login(image).await;
            engine.push(image, login.as_ref().map(Login::header), &tell).await
        }
        Op::RemoveImage { image } => engine.remove_image(image).await,
        Op::Create { name, spec } => {
            let mut ids = BTreeMap::new();
            for neighbour in spec.neighbours() {
                ids.insert(neighbour.to_owned(), engine.inspect(neighbour).await?.id);
            }
            engine.create(name, &spec.whole_beside(&ids)).await.map(drop)
        }
        Op::Connect { container, network, endpoint } => engine.connect(network, container.as_str(), endpoint).await,
        Op::Start { container } => engine.start(container.as_str()).await,
        Op::Stop { container, timeout_secs, quiet_ms } => {
            // What cannot be withdrawn, since it ended by itself, is stopped all the same.
            if let Some(quiet_ms) = quiet_ms
                && engine.withdraw(container.as_str()).await.is_ok()
            {
                sleep(Duration::from_millis(*quiet_ms)).await;
            }
            engine.stop(container.as_str(), *timeout_secs).await
        }
        Op::Restart { container, timeout_secs } => engine.restart(container.as_str(), *timeout_secs).await,
        Op::Kill { container, signal } => engine.kill(container.as_str(), signal).await,
        Op::Pause { container } => engine.pause(container.as_str()).await,
        Op::Unpause { container } => engine.unpause(container.as_str()).await,
        Op::Rename { container, to } => engine.rename(container.as_str(), to).await,
        Op::Remove { container, volumes, force } => engine.remove(container.as_str(), *volumes, *force).await,
        Op::Await { container, until, at_most_secs } => {
            engine.wait(container.as_str(), *until, Duration::from_secs(*at_most_secs)).await
        }
        Op::Exec { container, hook } => {
            let outcome = engine.exec(container.as_str(), hook).await?;
            if outcome.exit_code == 0 { Ok(()) } else { Err(hook_failed(step, outcome.exit_code, &outcome.output)) }
        }
        Op::Delay { millis } => {
            sleep(Duration::from_millis(*millis)).await;
            Ok(())
        }
        Op::Gate | Op::Tally { .. } => Ok(()),
    }
}

fn engine_of<'a>(engines: &'a Engines, host: &HostName, op: &Op) -> Result<&'a dyn Engine, EngineError> {
    engines.get(host).map(AsRef::as_ref).ok_or_else(|| EngineError {
        host: host.clone(),
        call: format!("{op:?}").split([' ', '(']).next().unwrap_or_default().to_lowercase(),
        kind: ErrorKind::Unreachable,
        message: "the host is not in the inventory".to_owned(),
    })
}

fn hook_failed(step: &Step, exit_code: i64, output: &str) -> EngineError {
    let last_line = output.lines().last().unwrap_or_default();
    EngineError {
        host: step.host.clone(),
        call: "run hook".to_owned(),
        kind: ErrorKind::Failed,
        message: format!("it exited with code {exit_code}: {last_line}"),
    }
}

/// How long to go on with what is refused only because the swarm is between two leaders, or its networks are on their way to the
/// host; nothing for what will not pass by itself.
fn patience(step: &Step, error: &EngineError) -> Option<Duration> {
    let on_network = matches!(step.op, Op::Create { .. } | Op::Start { .. } | Op::Restart { .. } | Op::Connect { .. });
    let words = ["attach to network", "attaching to network", "context deadline exceeded"];
    // The managers learn a moment later than the hosts that the last container has left a network.
    let is_leaving = matches!(step.op, Op::RemoveNetwork { .. });
    let leaving = ["in use by task", "has active endpoints"];
    let says = |words: &[&str]| words.iter().any(|words| error.message.to_lowercase().contains(words));
    if error.kind == ErrorKind::NoLeader || on_network && says(&words) || is_leaving && says(&leaving) {
        return Some(SWARM_SETTLES_MAX);
    }
    misses_a_network(step, error).then_some(NETWORK_COMES_MAX)
}

/// `network NAME not found`: an overlay that has gone from the host, by name or by the id that it had.
fn misses_a_network(step: &Step, error: &EngineError) -> bool {
    let is_on_networks = matches!(step.op, Op::Start { .. } | Op::Restart { .. } | Op::Connect { .. });
    let message = error.message.to_lowercase();
    let named = message.find("network ").and_then(|at| message.get(at..)).is_some_and(|rest| rest.contains("not found"));
    is_on_networks && named
}

/// The last lines of a container that did not start, or did not become what was waited for.
async fn log_tail(engines: &Engines, step: &Step) -> Vec<String> {
    let (Op::Start { container } | Op::Await { container, .. }) = &step.op else { return Vec::new() };
    let Some(engine) = engines.get(&step.host) else { return Vec::new() };
    let query = LogQuery { tail: Some(LOG_TAIL_LINES), ..LogQuery::default() };
    let read = async {
        use futures_util::StreamExt;
        let lines = engine.logs(container.as_str(), &query).await.ok()?;
        let lines: Vec<_> = lines.take(LOG_TAIL_LINES as usize).collect().await;
        Some(lines.into_iter().flatten().map(|line| line.text).collect())
    };
    tokio::time::timeout(LOG_TAIL_WAIT_MAX, read).await.ok().flatten().unwrap_or_default()
}
