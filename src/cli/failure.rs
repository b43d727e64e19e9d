//! Why a command ends badly: converted once, printed once.

use super::{exit, hints};
use crate::cli::hosts::HostsError;
use crate::cluster::ClusterError;
use crate::delivery::CopyError;
use crate::engine::{EngineError, ErrorKind};
use crate::project::HostName;
use crate::store::StoreError;
use crate::ui::{Report, TemplateError, Ui};

/// Hosts that are named one by one; with a thousand the first ones tell enough.
const CAUSES_MAX: usize = 10;

/// A failure on its way to the printer.
#[derive(Debug)]
pub enum Failure {
    /// Excerpts of the files at fault, rendered.
    Compose(String),
    Inventory(String),
    Hosts(HostsError),
    Cluster(ClusterError),
    Store(StoreError),
    Engine(EngineError),
    Copy(Box<CopyError>),
    /// No host answers: each with its address and what it, or the way to it, said.
    NoHost(Vec<(HostName, String, String)>),
    /// In words: what, advice, exit code.
    Said {
        error: String,
        hint: Option<String>,
        code: u8,
    },
    /// All was said already.
    Told(u8),
}

impl Failure {
    pub fn said(error: impl Into<String>, hint: impl Into<Option<String>>, code: u8) -> Self {
        Self::Said { error: error.into(), hint: hint.into(), code }
    }

    /// Prints what is to be said and returns the exit code.
    pub fn tell(&self, ui: &Ui) -> u8 {
        match self {
            Self::Compose(text) => ui.excerpt(text),
            Self::Inventory(text) => ui.excerpt(text),
            Self::Hosts(error) => match error.excerpts(ui.color) {
                Some(text) => ui.excerpt(&text),
                None => ui.error(&Report::of(error, error.hint())),
            },
            Self::Cluster(error) => ui.error(&Report::of(error, error.hint())),
            Self::Store(error) => ui.error(&Report::of(error, error.hint())),
            Self::Engine(error) => ui.error(&Report::of(error, hints::of(error))),
            Self::Copy(error) => match error.as_ref() {
                CopyError::Engine(error) => ui.error(&Report::of(error, hints::of(error))),
                other => ui.error(&Report::of(other, None)),
            },
            Self::NoHost(reasons) => ui.error(&no_host(reasons)),
            Self::Said { error, hint, .. } => {
                ui.error(&Report { error: error.clone(), hint: hint.clone(), ..Report::default() });
            }
            Self::Told(_) => {}
        }
        self.code()
    }

    fn code(&self) -> u8 {
        match self {
            Self::Compose(_) => exit::COMPOSE_FILE,
            Self::Inventory(_) | Self::Hosts(HostsError::Inventory(_)) => exit::INVENTORY,
            Self::NoHost(_) | Self::Cluster(ClusterError::NobodyReachable { .. }) => exit::UNREACHABLE,
            Self::Engine(error) if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Untrusted) => exit::UNREACHABLE,
            Self::Store(StoreError::Held { .. }) => exit::LOCKED,
            Self::Hosts(_) | Self::Cluster(_) | Self::Store(_) | Self::Engine(_) | Self::Copy(_) => exit::FAILURE,
            Self::Said { code, .. } | Self::Told(code) => *code,
        }
    }
}

fn no_host(reasons: &[(HostName, String, String)]) -> Report {
    let mut causes: Vec<String> =
        reasons.iter().take(CAUSES_MAX).map(|(host, address, why)| format!("{host} at {address}: {why}")).collect();
    if reasons.len() > CAUSES_MAX {
        causes.push(format!("and {} hosts more", reasons.len() - CAUSES_MAX));
    }
    let hint = reasons.first().and_then(|(host, _, why)| hints::of_unreachable(host, why));
    Report { error: "no host answers".to_owned(), causes, hint, ..Report::default() }
}

impl From<HostsError> for Failure {
    fn from(error: HostsError) -> Self {
        Self::Hosts(error)
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        Self::said(error.to_string(), "as in `table {{.Name}}\\t{{.State}}`, or `{{json .}}`".to_owned(), exit::USAGE)
    }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
