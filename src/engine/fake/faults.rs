//! What goes wrong with calls: by rule, or by seed.

use super::state::mixed;
use crate::engine::ErrorKind;
use crate::project::HostName;

/// How a call goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The engine refuses it.
    Fail { kind: ErrorKind, message: String },
    /// It never arrives, and the caller's bound ends it.
    Lost,
    /// It is carried out, but the caller's bound ends before the answer comes.
    Unanswered,
    /// The host is cut off at this moment, before the call is carried out.
    Cut,
    /// It hangs until the faults are healed, and is carried out then.
    Hang,
}

/// Which calls go wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    /// Nothing: on every host.
    pub host: Option<String>,
    /// What the call in words begins with: "start", "create `shop-web-1`".
    pub call: String,
    /// How many matching calls go well first.
    pub skip: u32,
    /// How many go wrong then.
    pub times: u32,
    pub fault: Fault,
}

impl FaultRule {
    /// The next call that begins so, on any host, goes wrong once.
    pub fn once(call: &str, fault: Fault) -> Self {
        Self { host: None, call: call.to_owned(), skip: 0, times: 1, fault }
    }
}

#[derive(Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<FaultRule>,
    seed: u64,
    per_mille: u32,
    rolled: u64,
}

impl Faults {
    pub(super) fn roll(&mut self, seed: u64, per_mille: u32) {
        (self.seed, self.per_mille, self.rolled) = (seed, per_mille, 0);
    }

    /// The fault of this call, if it has one.
    pub(super) fn next(&mut self, host: &HostName, call: &str, is_change: bool) -> Option<Fault> {
        for rule in &mut self.rules {
            let matches = rule.host.as_deref().is_none_or(|name| name == host.as_str()) && call.starts_with(&rule.call);
            if !matches || rule.times == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault.clone());
        }
        if is_change { self.by_seed() } else { None }
    }

    fn by_seed(&mut self) -> Option<Fault> {
        if self.per_mille == 0 {
            return None;
        }
        self.rolled += 1;
        let dice = mixed(self.seed ^ mixed(self.rolled));
        if dice % 1000 >= u64::from(self.per_mille) {
            return None;
        }
        Some(match dice / 1000 % 4 {
            0 => Fault::Fail { kind: ErrorKind::Failed, message: "server error".to_owned() },
            1 => Fault::Lost,
            2 => Fault::Unanswered,
            _ => Fault::Cut,
        })
    }
}
