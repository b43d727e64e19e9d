//! How far the deployment of a record came.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// It goes on, or something is missing yet.
    #[default]
    Begun,
    /// It was carried out whole and well: what a rollback goes back to.
    Good,
    /// An update failed, or somebody paused it, and nothing is updated further until somebody says so.
    Paused,
    /// An update failed, and whoever has the lock next goes back to the last good record.
    Failing,
    /// An update failed, and a later record went back.
    RolledBack,
}

impl RecordState {
    /// As records keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Good => "good",
            Self::Paused => "paused",
            Self::Failing => "failing",
            Self::RolledBack => "rolled-back",
        }
    }

    /// What an older or newer mcompose wrote counts as begun.
    pub fn parse(text: &str) -> Self {
        let all = [Self::Good, Self::Paused, Self::Failing, Self::RolledBack];
        all.into_iter().find(|state| state.as_str() == text).unwrap_or_default()
    }
}
