//! `mcompose hosts …`: hands the verbs what they speak through.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::hosts::{HostsVerb, Stage, run as run_verb};
use super::session::Session;
use super::{Failure, Globals, exit, load};
use crate::apply::Outcome;
use crate::engine::Engines;
use crate::plan::Plan;
use crate::ui::Ui;

struct Terminal<'a> {
    session: &'a Session,
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

    fn carry_out<'a>(
        &'a self,
        engines: &'a Engines,
        plan: &'a Plan,
        stop: Option<watch::Receiver<bool>>,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.session.carry_out(engines, plan, stop).await })
    }
}

pub async fn run(verb: &HostsVerb, globals: &Globals, ui: Ui) -> Result<u8, Failure> {
    let session = load::session(globals, ui, None, "hosts").await?;
    let fleet = load::fleet(globals, ui, None)?;
    let good = run_verb(verb, &fleet, &Terminal { session: &session }).await?;
    Ok(if good { exit::OK } else { exit::FAILURE })
}
