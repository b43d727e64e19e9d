//! `HostConfig`: resources, capabilities, namespaces and the long tail, as docker compose fills them in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::project::{ByteSize, DeviceRequest, EngineRestartPolicy, HostConfig, Limits, Service, Ulimit};

/// Everything of a service that goes into `HostConfig` but ports, mounts and networks.
pub(super) fn host_config(service: &Service) -> HostConfig {
    let resources = service.deploy.as_ref().map(|deploy| &deploy.resources);
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let reservations = resources.and_then(|resources| resources.reservations.as_ref());
    let mut rest = BTreeMap::new();
    let mut put = |key: &str, value: Value| {
        if !is_empty(&value) {
            rest.insert(key.to_owned(), value);
        }
    };
    put("Annotations", json!(service.annotations));
    put("CapAdd", capabilities(&service.cap_add));
    put("CapDrop", capabilities(&service.cap_drop));
    put("CgroupParent", json!(service.cgroup_parent));
    put("CgroupnsMode", json!(service.cgroup));
    put("CpuCount", json!(service.cpu_count));
    put("CpuPercent", json!(service.cpu_percent.map(|percent| (percent * 100.0) as i64)));
    put("CpuPeriod", json!(service.cpu_period));
    put("CpuQuota", json!(service.cpu_quota));
    put("CpuRealtimePeriod", json!(service.cpu_rt_period));
    put("CpuRealtimeRuntime", json!(service.cpu_rt_runtime));
    put("CpuShares", json!(service.cpu_shares));
    put("CpusetCpus", json!(service.cpuset));
    put("DeviceCgroupRules", json!(service.device_cgroup_rules));
    put("DeviceRequests", device_requests(service, reservations));
    put("Devices", devices(service));
    put("Dns", json!(service.dns));
    put("DnsOptions", json!(service.dns_opt));
    put("DnsSearch", json!(service.dns_search));
    put("GroupAdd", json!(service.group_add));
    put("IpcMode", json!(service.ipc));
    put("Isolation", json!(service.isolation));
    put("LogConfig", log_config(service));
    put("MemoryReservation", bytes(reservations.and_then(|side| side.memory).or(service.mem_reservation)));
    put("MemorySwap", bytes(service.memswap_limit));
    put("MemorySwappiness", json!(service.mem_swappiness.map(|percent| percent.bytes)));
    put("OomKillDisable", json!(service.oom_kill_disable));
    put("OomScoreAdj", json!(service.oom_score_adj));
    put("PidMode", json!(service.pid));
    put("PidsLimit", json!(limits.and_then(|side| side.pids).filter(|pids| *pids > 0).or(service.pids_limit)));
    put("Privileged", json!(service.privileged));
    put("ReadonlyRootfs", json!(service.read_only));
    put("Runtime", json!(service.runtime));
    put("SecurityOpt", security_options(service).collect());
    put("ShmSize", bytes(service.shm_size));
    put("StorageOpt", json!(service.storage_opt));
    put("Sysctls", json!(service.sysctls));
    put("Tmpfs", tmpfs(service));
    put("UTSMode", json!(service.uts));
    put("Ulimits", ulimits(service));
    put("UsernsMode", json!(service.userns_mode));
    // Docker compose sends an empty list where others send none, and the engine shows which it was.
    rest.insert("ExtraHosts".to_owned(), service.extra_hosts.iter().map(|entry| entry.replacen('=', ":", 1)).collect());
    if let Some(init) = service.init {
        rest.insert("Init".to_owned(), init.into());
    }
    if service.security_opt.iter().any(|option| option == UNCONFINED_PATHS) {
        // Empty lists, where absent ones would stand for the engine's defaults.
        rest.insert("MaskedPaths".to_owned(), json!([]));
        rest.insert("ReadonlyPaths".to_owned(), json!([]));
    }
    rest.extend(blkio(service));
    let cpus = limits.and_then(|side| side.cpus).or(service.cpus);
    HostConfig {
        restart_policy: restart_policy(service),
        memory: limits.and_then(|side| side.memory).or(service.mem_limit).map(|size| size.bytes).filter(|bytes| *bytes != 0),
        nano_cpus: cpus.map(nano_cpus).filter(|nanos| *nanos != 0),
        rest,
        ..HostConfig::default()
    }
}

/// `systempaths=unconfined` is docker's own word for two empty lists.
const UNCONFINED_PATHS: &str = "systempaths=unconfined";

fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

/// As docker's own client spells them, in order: `net_admin` is `CAP_NET_ADMIN`.
fn capabilities(names: &[String]) -> Value {
    let spelled = |name: &String| match name.trim().to_ascii_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    names.iter().map(spelled).collect::<BTreeSet<_>>().into_iter().map(Value::from).collect()
}

/// `restart`, unless `deploy.restart_policy` is there. The engine counts attempts for `on-failure` only.
fn restart_policy(service: &Service) -> Option<EngineRestartPolicy> {
    let (condition, attempts) = match service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref()) {
        Some(policy) => {
            let attempts = policy.max_attempts.and_then(|count| i64::try_from(count).ok()).unwrap_or_default();
            (policy.condition.as_deref().unwrap_or("any"), attempts)
        }
        None => {
            let text = service.restart.as_deref()?;
            let (name, attempts) = text.split_once(':').unwrap_or((text, "0"));
            (name, attempts.parse().unwrap_or_default())
        }
    };
    let name = match condition {
        "none" | "no" => "no",
        "any" | "always" => "always",
        other => other,
    };
    // A job that ended well is done; the engine must not start it again.
    let name = if service.mode().is_job() && name != "no" { "on-failure" } else { name };
    let maximum_retry_count = if name == "on-failure" { attempts } else { 0 };
    Some(EngineRestartPolicy { name: name.to_owned(), maximum_retry_count })
}

fn device_requests(service: &Service, reservations: Option<&Limits>) -> Value {
    let request = |request: &DeviceRequest, extra: Option<&str>| {
        let mut capabilities = request.capabilities.clone();
        capabilities.extend(extra.map(str::to_owned));
        json!({
            "Driver": request.driver.as_deref().unwrap_or_default(),
            "Count": request.count.unwrap_or_default(),
            "DeviceIDs": (!request.device_ids.is_empty()).then_some(&request.device_ids),
            "Capabilities": [capabilities],
            "Options": (!request.options.is_empty()).then_some(&request.options),
        })
    };
    let reserved = reservations.into_iter().flat_map(|side| &side.devices).map(|device| request(device, None));
    let cdi: Vec<&str> = service.devices.iter().filter(|device| is_cdi(device)).map(|device| device.source.as_str()).collect();
    let cdi = (!cdi.is_empty()).then(|| json!({ "Driver": "cdi", "DeviceIDs": cdi }));
    let gpus = service.gpus.iter().map(|gpu| request(gpu, Some("gpu")));
    reserved.chain(cdi).chain(gpus).collect()
}

/// A name of the Container Device Interface, `vendor.com/class=name`, rather than a path.
fn is_cdi(device: &crate::project::Device) -> bool {
    let is_name = !device.source.starts_with('/') && device.source.contains('/') && device.source.contains('=');
    is_name && device.source == device.target
}

fn devices(service: &Service) -> Value {
    let device = |device: &crate::project::Device| {
        json!({
            "PathOnHost": device.source,
            "PathInContainer": device.target,
            "CgroupPermissions": device.permissions,
        })
    };
    service.devices.iter().filter(|entry| !is_cdi(entry)).map(device).collect()
}

fn log_config(service: &Service) -> Value {
    match &service.logging {
        Some(logging) => json!({ "Type": logging.driver.as_deref().unwrap_or_default(), "Config": logging.options }),
        None => Value::Null,
    }
}

fn security_options(service: &Service) -> impl Iterator<Item = &str> {
    service.security_opt.iter().map(String::as_str).filter(|option| *option != UNCONFINED_PATHS)
}

/// `tmpfs: [/run:size=64m]` by path.
fn tmpfs(service: &Service) -> Value {
    let entry = |text: &String| {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        (path.to_owned(), Value::from(options))
    };
    Value::Object(service.tmpfs.iter().map(entry).collect())
}

fn ulimits(service: &Service) -> Value {
    let entry = |(name, limit): (&String, &Ulimit)| {
        let (soft, hard) = match *limit {
            Ulimit::Single(both) => (both, both),
            Ulimit::Pair { soft, hard } => (soft, hard),
        };
        json!({ "Name": name, "Soft": soft, "Hard": hard })
    };
    service.ulimits.iter().map(entry).collect()
}

/// `blkio_config` by the API's names. Its lists' keys are upper or lower case, by who printed the document.
fn blkio(service: &Service) -> Vec<(String, Value)> {
    let Some(Value::Object(config)) = &service.blkio_config else { return Vec::new() };
    let names = [
        ("device_read_bps", "BlkioDeviceReadBps"),
        ("device_read_iops", "BlkioDeviceReadIOps"),
        ("device_write_bps", "BlkioDeviceWriteBps"),
        ("device_write_iops", "BlkioDeviceWriteIOps"),
        ("weight_device", "BlkioWeightDevice"),
    ];
    let limit = |entry: &Value| {
        let get = |key: &str| entry.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
        let mut limit = serde_json::Map::new();
        limit.insert("Path".to_owned(), get("path").cloned().unwrap_or_default());
        for (key, name) in [("rate", "Rate"), ("weight", "Weight")] {
            if let Some(value) = get(key) {
                limit.insert(name.to_owned(), number(value));
            }
        }
        Value::Object(limit)
    };
    let lists = names.iter().filter_map(|(key, name)| {
        let entries: Vec<Value> = config.get(*key)?.as_array()?.iter().map(limit).collect();
        Some(((*name).to_owned(), Value::from(entries)))
    });
    let weight = config.get("weight").map(|weight| ("BlkioWeight".to_owned(), number(weight)));
    lists.chain(weight).collect()
}

/// A number that may stand as text.
fn number(value: &Value) -> Value {
    value.as_str().and_then(|text| text.parse::<i64>().ok()).map_or_else(|| value.clone(), Value::from)
}

fn bytes(size: Option<ByteSize>) -> Value {
    size.filter(|size| size.bytes != 0).map_or(Value::Null, |size| size.bytes.into())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}
