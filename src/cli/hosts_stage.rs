//! `mcompose hosts …`: hands the verbs what they speak through.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::hosts::{HostsVerb, Stage, run as run_verb};
use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::apply::Outcome;
use crate::engine::Engines;
use crate::plan::Plan;
use crate::ui::Ui;

/// A command's terminal.
pub(super) struct Terminal<'a> {
    pub(super) session: &'a Session,
    /// An interruption ends one plan, and what then goes back is carried out all the same.
    pub(super) goes_back: bool,
}

impl Stage for Terminal<'_> {
    fn data(&self, text: &str) {
        self.session.ui.data(text);
    }

    fn table(&self, headings: &[&str], rows: &[Vec<String>]) {
        self.session.ui.table(headings, rows);
    }

    fn note(&self, text: &str) {
        self.session.ui.note(text);
    }

    fn keys(&self) -> BTreeSet<String> {
        self.session.cargo.keys().ids().map(str::to_owned).collect()
    }

    fn carry_out<'a>(
        &'a self,
        engines: &'a Engines,
        plan: &'a Plan,
        stop: Option<watch::Receiver<bool>>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if self.goes_back && self.session.interrupt.count() > 0 {
                return self.session.afresh().carry_out(engines, plan, stop).await;
            }
            self.session.carry_out(engines, plan, stop).await
        })
    }
}

pub async fn run(verb: &HostsVerb, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let begins = inventory_to_begin(verb, globals);
    let globals = &Globals { inventory: globals.inventory.clone().filter(|_| begins.is_none()), ..globals.clone() };
    let session = load::session(globals, ui, None, "hosts").await?;
    let mut fleet = load::fleet(globals, ui, None)?;
    if let Some(path) = begins {
        fleet.file = None;
        fleet.begins = path;
    }
    let good = run_verb(verb, &fleet, &Terminal { session: &session, goes_back: false }).await?;
    Ok(if good { exit::OK } else { exit::FAILURE })
}

/// The file that `hosts add` is to begin: `-i` names it and it is not there.
fn inventory_to_begin(verb: &HostsVerb, globals: &Globals) -> Option<PathBuf> {
    let named = globals.inventory.as_ref().filter(|_| matches!(verb, HostsVerb::Add(_)))?;
    Some(PathBuf::from(named)).filter(|path| !path.exists())
}
