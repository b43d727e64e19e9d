//! `deploy.resources.reservations`: CPUs, memory, generic resources and GPUs against what is left on the host.

use std::collections::BTreeMap;

use super::Query;
use crate::placement::Misfit;
use crate::placement::scene::Scene;
use crate::project::{DeviceRequest, Service};
use crate::world::{EngineInfo, Reservation};

/// The kind under which GPUs are counted.
const GPU: &str = "gpu";
/// Every device there is.
const ALL: i64 = -1;

/// What one replica of the service reserves of its host, as its container's label is to say, so that later placements count
/// it: `deploy.resources.reservations` and `gpus`; GPUs are counted under `gpu`, and −1 of them means every one.
pub fn reservation(service: &Service) -> Reservation {
    let reserved = service.deploy.as_ref().and_then(|deploy| deploy.resources.reservations.as_ref());
    let cpus = reserved.and_then(|reserved| reserved.cpus).unwrap_or_default();
    let memory = reserved.and_then(|reserved| reserved.memory).or(service.mem_reservation);
    let mut kinds: BTreeMap<String, i64> = BTreeMap::new();
    let mut add = |kind: &str, count: i64| {
        let sum = kinds.entry(kind.to_owned()).or_default();
        *sum = if *sum < 0 || count < 0 { ALL } else { sum.saturating_add(count) };
    };
    for generic in reserved.map(|reserved| reserved.generic_resources.as_slice()).unwrap_or_default() {
        if let Some(spec) = generic.discrete_resource_spec.as_ref().filter(|spec| spec.value > 0) {
            add(&spec.kind, spec.value);
            if is_gpu(&spec.kind) && spec.kind != GPU {
                add(GPU, spec.value);
            }
        }
    }
    let devices = reserved.map(|reserved| reserved.devices.as_slice()).unwrap_or_default();
    let of_gpus = devices.iter().filter(|device| device.capabilities.iter().any(|capability| capability == GPU));
    for request in of_gpus.chain(&service.gpus) {
        add(GPU, count(request));
    }
    kinds.retain(|_, count| *count != 0);
    Reservation {
        nano_cpus: (cpus * 1e9).round().max(0.0) as i64,
        memory_bytes: memory.map_or(0, |size| size.bytes.max(0)),
        kinds,
    }
}

/// How many devices are asked for: all of them where neither count nor ids are given (Compose Specification, Deploy, "devices").
fn count(request: &DeviceRequest) -> i64 {
    match request.count {
        Some(count) => count.max(ALL),
        None if request.device_ids.is_empty() => ALL,
        None => i64::try_from(request.device_ids.len()).unwrap_or(i64::MAX),
    }
}

fn is_gpu(kind: &str) -> bool {
    kind.to_ascii_lowercase().ends_with(GPU)
}

/// How many GPUs an engine has: those among its generic resources. Nothing where it has a GPU runtime and tells no number.
fn gpus(engine: &EngineInfo) -> Option<i64> {
    let told: Vec<i64> = engine.generic_resources.iter().filter(|(kind, _)| is_gpu(kind)).map(|(_, count)| *count).collect();
    if told.is_empty() && engine.runtimes.iter().any(|runtime| runtime.contains("nvidia")) {
        return None;
    }
    Some(told.iter().sum())
}

/// What an engine has and what of it is reserved. What it does not tell is not limited.
#[derive(Debug, Clone, Default)]
pub(in crate::placement) struct Stock {
    nano_cpus: Option<i64>,
    memory_bytes: Option<i64>,
    kinds: BTreeMap<String, i64>,
    gpus: Option<i64>,
    reserved: Reservation,
    /// Of `reserved`, kept up to date since it is asked for more often than it changes.
    share: u32,
}

/// Parts of the whole in which a share is measured, so that it stays a whole number.
const SHARES: i128 = 1024;

impl Stock {
    pub(in crate::placement) fn of(engine: &EngineInfo) -> Self {
        Self {
            nano_cpus: (engine.cpus > 0).then(|| i64::from(engine.cpus) * 1_000_000_000),
            memory_bytes: (engine.memory_bytes > 0).then_some(engine.memory_bytes),
            kinds: engine.generic_resources.clone(),
            gpus: gpus(engine),
            reserved: Reservation::default(),
            share: 0,
        }
    }

    pub(in crate::placement) fn reserve(&mut self, amount: &Reservation) {
        self.change(amount, 1);
    }

    pub(in crate::placement) fn release(&mut self, amount: &Reservation) {
        self.change(amount, -1);
    }

    fn change(&mut self, amount: &Reservation, sign: i64) {
        let add = |sum: &mut i64, amount: i64| *sum = sum.saturating_add(amount.saturating_mul(sign));
        add(&mut self.reserved.nano_cpus, amount.nano_cpus);
        add(&mut self.reserved.memory_bytes, amount.memory_bytes);
        for (kind, count) in &amount.kinds {
            let count = self.resolved(*count);
            add(self.reserved.kinds.entry(kind.clone()).or_default(), count);
        }
        self.share = self.measured_share();
    }

    /// A number of devices, all of them resolved: one or more.
    fn resolved(&self, count: i64) -> i64 {
        if count < 0 { self.gpus.unwrap_or(1).max(1) } else { count }
    }

    /// The larger of the reserved shares of CPUs and memory, in 1024ths.
    pub(in crate::placement) fn share(&self) -> u32 {
        self.share
    }

    fn measured_share(&self) -> u32 {
        let share = |reserved: i64, whole: Option<i64>| match whole {
            Some(whole) => i128::from(reserved) * SHARES / i128::from(whole),
            None => 0,
        };
        let larger = share(self.reserved.nano_cpus, self.nano_cpus).max(share(self.reserved.memory_bytes, self.memory_bytes));
        u32::try_from(larger.max(0)).unwrap_or(u32::MAX)
    }

    /// What there is too little of, if anything.
    pub(in crate::placement) fn lack(&self, needs: &Reservation) -> Option<Misfit> {
        let free = |whole: i64, reserved: i64| whole.saturating_sub(reserved);
        let needed = needs.nano_cpus;
        if let Some(whole) = self.nano_cpus.filter(|_| needed > 0) {
            let free = free(whole, self.reserved.nano_cpus);
            if free < needed {
                return Some(Misfit::Cpus { needed, free });
            }
        }
        let needed_bytes = needs.memory_bytes;
        if let Some(whole) = self.memory_bytes.filter(|_| needed_bytes > 0) {
            let free_bytes = free(whole, self.reserved.memory_bytes);
            if free_bytes < needed_bytes {
                return Some(Misfit::Memory { needed_bytes, free_bytes });
            }
        }
        needs.kinds.iter().find_map(|(kind, count)| {
            let needed = self.resolved(*count);
            let whole = if kind == GPU { self.gpus? } else { self.kinds.get(kind).copied().unwrap_or_default() };
            let free = free(whole, self.reserved.kinds.get(kind).copied().unwrap_or_default());
            (free < needed).then(|| Misfit::Generic { kind: kind.clone(), needed, free })
        })
    }
}

pub(in crate::placement) fn misfit(scene: &Scene, query: Query) -> Option<Misfit> {
    let ask = &scene.asks[query.service];
    if ask.reserves_nothing { None } else { scene.sites[query.site].stock.lack(&ask.needs) }
}
