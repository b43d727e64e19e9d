//! One step, one call.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{Event, StepEnd};
use crate::engine::{Engine, EngineError, Engines, ErrorKind, LogQuery};
use crate::plan::{Op, Step, StepId};
use crate::project::HostName;

/// A swarm that elects a leader, or has not told a host of a network yet, refuses calls for up to 25 s.
pub const SWARM_SETTLES_MAX: Duration = Duration::from_secs(40);
const SWARM_PAUSE: Duration = Duration::from_millis(300);
/// Lines of a container's log that are shown with its failure.
const LOG_TAIL_LINES: u64 = 10;
const LOG_TAIL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Makes the step's call and returns how it ended. What a swarm refuses for a moment is tried again, for a bounded time.
/// A wait ends at once when `interrupt` becomes true; a call is never left half done.
pub(super) async fn carry_out(
    engines: &Engines,
    step: &Step,
    id: StepId,
    events: &mpsc::UnboundedSender<Event>,
    mut interrupt: watch::Receiver<bool>,
) -> StepEnd {
    let called = insist(engines, step, id, events);
    if !matches!(step.op, Op::Await { .. } | Op::Delay { .. }) {
        return called.await;
    }
    tokio::select! {
        end = called => end,
        Ok(_) = interrupt.wait_for(|on| *on) => StepEnd::Skipped { because: None },
    }
}

async fn insist(engines: &Engines, step: &Step, id: StepId, events: &mpsc::UnboundedSender<Event>) -> StepEnd {
    let deadline = Instant::now() + SWARM_SETTLES_MAX;
    loop {
        let error = match call(engines, step, id, events).await {
            Ok(()) => return StepEnd::Done,
            Err(error) => error,
        };
        if !passes_with_the_swarm(step, &error) || Instant::now() + SWARM_PAUSE > deadline {
            let log_tail = log_tail(engines, step).await;
            return StepEnd::Failed { error, log_tail };
        }
        let _ = events.send(Event::Progress { step: id, text: format!("waiting for the swarm: {}", error.message) });
        sleep(SWARM_PAUSE).await;
    }
}

async fn call(engines: &Engines, step: &Step, id: StepId, events: &mpsc::UnboundedSender<Event>) -> Result<(), EngineError> {
    let engine = engine_of(engines, &step.host, &step.op)?;
    match &step.op {
        Op::SwarmInit { advertise } => engine.swarm_init(advertise).await,
        Op::SwarmJoin { via, role, advertise, remote } => {
            let token = engine_of(engines, via, &step.op)?.join_token(*role).await?;
            engine.swarm_join(advertise, remote, &token).await
        }
        Op::SwarmLeave { force } => engine.swarm_leave(*force).await,
        Op::NodeRemove { node_id, force } => engine.node_remove(node_id, *force).await,
        Op::NodeRole { node_id, role } => engine.node_role(node_id, *role).await,
        Op::CreateNetwork(spec) => engine.create_network(spec).await,
        Op::RemoveNetwork { name } => engine.remove_network(name).await,
        Op::CreateVolume(spec) => engine.create_volume(spec).await,
        Op::RemoveVolume { name } => engine.remove_volume(name).await,
        Op::Pull { image, platform } => {
            let tell = |text: String| drop(events.send(Event::Progress { step: id, text }));
            engine.pull(image, platform.as_deref(), &tell).await
        }
        Op::RemoveImage { image } => engine.remove_image(image).await,
        Op::Create { name, spec } => engine.create(name, spec).await.map(drop),
        Op::Connect { container, network, endpoint } => engine.connect(network, container.as_str(), endpoint).await,
        Op::Start { container } => engine.start(container.as_str()).await,
        Op::Stop { container, timeout_secs } => engine.stop(container.as_str(), *timeout_secs).await,
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

/// What is refused only because the swarm is between two leaders, or its networks are on their way to the host.
fn passes_with_the_swarm(step: &Step, error: &EngineError) -> bool {
    let on_network = matches!(step.op, Op::Create { .. } | Op::Start { .. } | Op::Connect { .. });
    let words = ["attach to network", "attaching to network", "context deadline exceeded"];
    // The managers learn a moment later than the hosts that the last container has left a network.
    let is_leaving = matches!(step.op, Op::RemoveNetwork { .. });
    let leaving = ["in use by task", "has active endpoints"];
    let says = |words: &[&str]| words.iter().any(|words| error.message.to_lowercase().contains(words));
    error.kind == ErrorKind::NoLeader || on_network && says(&words) || is_leaving && says(&leaving)
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
