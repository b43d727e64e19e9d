//! `mcompose image`

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use super::hosts::look_for;
use super::{Failure, Globals, exit, load};
use crate::plan::{Cause, Op, Plan, Step, Subject, Tolerance, takes_parts};
use crate::project::{HostName, ProjectName};
use crate::ui::Ui;
use crate::world::{Question, SeenHost};

/// What this machine's own engine is called where it is none of the hosts.
const THIS_MACHINE: &str = "this-machine";

/// Images on the hosts
#[derive(Debug, clap::Subcommand)]
pub enum ImageVerb {
    Ship(ShipArgs),
}

/// Bring an image to hosts without a registry: from a host that has it, else from this machine's own engine
#[derive(Debug, clap::Args)]
pub struct ShipArgs {
    /// A host that is to have it (default: all)
    #[arg(long, value_name = "HOST")]
    to: Vec<String>,
    /// The host to take it from (default: the first that has it)
    #[arg(long, value_name = "HOST")]
    from: Option<String>,
    image: String,
}

pub async fn run(verb: &ImageVerb, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let ImageVerb::Ship(args) = verb;
    let session = load::session(globals, ui, None, "image ship").await?;
    let mut engines = session.engines.clone();
    let unknown = |name: &String| !engines.keys().any(|host| host.as_str() == name);
    if let Some(name) = args.to.iter().chain(&args.from).find(|name| unknown(name)) {
        let names: Vec<&str> = engines.keys().map(HostName::as_str).collect();
        return Err(Failure::said(format!("no such host: {name}"), format!("the hosts are {}", names.join(", ")), exit::USAGE));
    }
    let this_machine = HostName::new(THIS_MACHINE).expect("it is a host name");
    if session.inventory.hosts.iter().all(|host| !host.is_local()) && args.from.is_none() {
        engines.insert(this_machine.clone(), load::local_engine(&this_machine));
    }
    let question = Question::about(BTreeSet::from([args.image.clone()]));
    let world = look_for(&engines, &question).await;
    let seen: BTreeMap<&HostName, &SeenHost> = world.seen_hosts().collect();
    let copy = |host: &HostName| seen.get(host).and_then(|seen| seen.images.get(&args.image));
    let mut holders: Vec<&HostName> = seen.keys().copied().filter(|host| copy(host).is_some()).collect();
    holders.sort_by_key(|host| **host == this_machine);
    let asked = |host: &&HostName| args.from.as_ref().is_none_or(|from| host.as_str() == from);
    let Some((from, image)) = holders.into_iter().find(asked).and_then(|host| Some((host, copy(host)?))) else {
        let hint = "build it with `mcompose build` or `docker build`, or pull it on one of them".to_owned();
        let error = format!("image `{}` is on none of the hosts that answer, nor in this machine's own engine", args.image);
        return Err(Failure::said(error, hint, exit::FAILURE));
    };
    let wanted = |host: &HostName| match args.to.is_empty() {
        true => *host != this_machine,
        false => args.to.iter().any(|name| host.as_str() == name),
    };
    let away: Vec<_> = world.unreachable_hosts().filter(|(host, _)| wanted(host)).collect();
    for (host, why) in &away {
        ui.warning(&format!("host `{host}` does not answer and does not get the image: {why}"));
    }
    let lacks = |host: &HostName| copy(host).is_none_or(|theirs| theirs.id != image.id);
    let takes_parts = |host: &HostName| seen.get(host).is_some_and(|seen| takes_parts(&seen.engine.storage_driver));
    let step = |host: &HostName| Step {
        host: host.clone(),
        subject: Subject::Image(args.image.clone()),
        op: Op::Ship {
            image: args.image.clone(),
            from: from.clone(),
            bytes: image.size_bytes,
            whole: !(takes_parts(from) && takes_parts(host)),
        },
        cause: Cause::Requested,
        after: Vec::new(),
        tolerance: Tolerance::Strict,
    };
    let steps = seen.keys().filter(|host| wanted(host) && **host != from && lacks(host)).map(|host| step(host)).collect();
    let plan = Plan { project: ProjectName::new("images").expect("a plain word is a project name"), steps, notes: Vec::new() };
    if globals.dry_run || plan.is_empty() {
        session.show(&plan, false);
        return Ok(if away.is_empty() { exit::OK } else { exit::FAILURE });
    }
    let (_never, stop) = watch::channel(false);
    let outcome = session.carry_out(&engines, &plan, Some(stop)).await;
    Ok(if outcome.is_success() && away.is_empty() { exit::OK } else { exit::FAILURE })
}
