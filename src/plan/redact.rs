//! A plan that may be shown: values of environment variables become short hashes.

use sha2::{Digest, Sha256};

use super::{Op, Plan};

/// Hexadecimal digits that stand for a value: enough to see that it changed.
const DIGITS: usize = 8;

/// The plan with every value of an environment variable, in containers and hooks, replaced by `sha256:` and eight digits.
pub fn redacted(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        match &mut step.op {
            Op::Create { spec, .. } => {
                let mut shown = spec.whole();
                shown.env.iter_mut().for_each(|entry| {
                    if let Some((key, value)) = entry.split_once('=') {
                        *entry = format!("{key}={}", digest(value));
                    }
                });
                **spec = shown.into();
            }
            Op::Build(build) => build.args.values_mut().for_each(|value| *value = digest(value)),
            Op::Exec { hook, .. } => hook.environment.values_mut().flatten().for_each(|value| *value = digest(value)),
            _ => {}
        }
    }
    plan
}

fn digest(value: &str) -> String {
    let digits: String = Sha256::digest(value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", &digits[..DIGITS])
}
