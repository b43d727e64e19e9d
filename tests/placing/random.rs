//! Random projects and hosts, as drafts that shrink well.

use std::fmt::Write as _;

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub struct ServiceDraft {
    pub replicas: u32,
    /// 0: global, 1: a job, else replicated.
    pub mode: u8,
    pub constraint: u8,
    pub spreads: bool,
    pub limit: u32,
    pub gib: u32,
    pub port: u8,
    pub volume: u8,
    pub beside: u8,
    pub is_named: bool,
    pub network: u8,
    pub is_arm: bool,
}

#[derive(Debug, Clone)]
pub struct HostDraft {
    pub zone: u8,
    /// 0: drained, 1: paused, else active.
    pub availability: u8,
    pub is_arm: bool,
    pub gib: u32,
    pub stranger_port: u8,
    pub stranger_gib: u32,
}

/// What happens to a world after it was as asked for.
#[derive(Debug, Clone)]
pub enum Hurt {
    Cut(usize),
    Drain(usize),
    Pause(usize),
    /// The n-th container of a host is gone.
    Remove(usize, usize),
    /// The n-th container of a host appears on another, too, older by a revision.
    Copy(usize, usize, usize),
    Stranger(usize, u8),
    Lose(usize),
}

pub fn services() -> impl Strategy<Value = Vec<ServiceDraft>> {
    let service = (
        (0..5u32, 0..8u8, 0..8u8, any::<bool>(), 0..4u32, 0..4u32),
        (0..10u8, 0..8u8, 0..12u8, prop::bool::weighted(0.1), 0..3u8, prop::bool::weighted(0.1)),
    );
    let service =
        service.prop_map(
            |((replicas, mode, constraint, spreads, limit, gib), (port, volume, beside, is_named, network, is_arm))| {
                ServiceDraft { replicas, mode, constraint, spreads, limit, gib, port, volume, beside, is_named, network, is_arm }
            },
        );
    prop::collection::vec(service, 1..6)
}

pub fn hosts() -> impl Strategy<Value = Vec<HostDraft>> {
    let host = (0..3u8, 0..10u8, prop::bool::weighted(0.2), 2..9u32, 0..8u8, 0..3u32).prop_map(
        |(zone, availability, is_arm, gib, stranger_port, stranger_gib)| HostDraft {
            zone,
            availability,
            is_arm,
            gib,
            stranger_port,
            stranger_gib,
        },
    );
    prop::collection::vec(host, 1..6)
}

pub fn hurts() -> impl Strategy<Value = Vec<Hurt>> {
    let hurt = (0..7u8, 0..6usize, 0..6usize, 0..6usize).prop_map(|(kind, host, other, which)| match kind {
        0 => Hurt::Cut(host),
        1 => Hurt::Drain(host),
        2 => Hurt::Pause(host),
        3 => Hurt::Remove(host, which),
        4 => Hurt::Copy(host, which, other),
        5 => Hurt::Stranger(host, u8::try_from(which).unwrap_or_default()),
        _ => Hurt::Lose(host),
    });
    prop::collection::vec(hurt, 0..5)
}

/// Canonical YAML of a project.
pub fn yaml_of(drafts: &[ServiceDraft]) -> String {
    let mut yaml =
        "volumes: {v0: {}, v1: {}, v2: {}, g0: {}, g1: {}, g2: {}}\nnetworks: {n0: {}, n1: {}}\nservices:\n".to_owned();
    for (index, draft) in drafts.iter().enumerate() {
        let mode = ["global", "replicated-job"].get(usize::from(draft.mode)).unwrap_or(&"replicated");
        let _ = write!(
            yaml,
            "  s{index}: {{image: \"app-{index}:1\", scale: {}, deploy: {{mode: {mode}, placement: {{",
            draft.replicas
        );
        let constraint = ["node.labels.zone==z0", "node.labels.zone!=z1", "node.hostname==h0", "node.hostname!=h1"];
        if let Some(constraint) = constraint.get(usize::from(draft.constraint)) {
            let _ = write!(yaml, "constraints: [\"{constraint}\"], ");
        }
        if draft.spreads {
            yaml.push_str("preferences: [{spread: node.labels.zone}], ");
        }
        let _ = write!(yaml, "max_replicas_per_node: {}}}", draft.limit);
        if draft.gib > 0 {
            let bytes = i64::from(draft.gib) << 30;
            let _ = write!(yaml, ", resources: {{reservations: {{memory: \"{bytes}\"}}}}");
        }
        yaml.push('}');
        // Nobody can be beside a job that ends.
        let beside = usize::from(draft.beside);
        let beside = if drafts.get(beside).is_some_and(|leader| leader.mode == 1) { usize::MAX } else { beside };
        if draft.port < 3 && beside >= index {
            let _ = write!(yaml, ", ports: [{{target: 80, published: \"{}\"}}]", 8000 + u32::from(draft.port));
        }
        if draft.volume < 3 {
            // One volume for all of a replicated service, one on each host for a global one: the two do not mix.
            let kind = if draft.mode == 0 { "g" } else { "v" };
            let _ = write!(yaml, ", volumes: [{{type: volume, source: {kind}{}, target: /v}}]", draft.volume);
        }
        if beside < index {
            // The loader adds the dependency.
            let needs = "condition: service_started, restart: true, required: true";
            let _ = write!(yaml, ", network_mode: \"service:s{beside}\", depends_on: {{s{beside}: {{{needs}}}}}");
        } else if draft.network < 2 {
            let _ = write!(yaml, ", networks: {{n{}: }}", draft.network);
        }
        if draft.is_named {
            let _ = write!(yaml, ", container_name: named-{index}");
        }
        if draft.is_arm {
            yaml.push_str(", platform: linux/arm64");
        }
        yaml.push_str("}\n");
    }
    yaml
}

/// Hosts as lines of `placing::hosts`.
pub fn lines_of(drafts: &[HostDraft]) -> Vec<String> {
    let line = |(index, draft): (usize, &HostDraft)| {
        let availability = ["drain", "pause"].get(usize::from(draft.availability)).unwrap_or(&"");
        format!("h{index} {availability} zone=z{}", draft.zone)
    };
    drafts.iter().enumerate().map(line).collect()
}
