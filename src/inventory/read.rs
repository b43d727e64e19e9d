//! The text of `hosts.toml` to an `Inventory`, or all of its faults at once.

mod table;

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use super::address::{AddressDefaults, checked_jump, identity_of, parse_address};
use super::failure::{Fault, InventoryFailure};
use super::{Inventory, NetworkDriver, NetworkSettings, SuperviseSettings};
use crate::project::nearest;
use crate::project::{Address, Availability, GoDuration, Host, HostName, Rebalancing, Role, Tls};
use table::{Table, Text};

/// An inventory larger than this is refused unread: ten thousand hosts take half of it.
pub const TEXT_BYTES_MAX: usize = 4 << 20;

/// What reading needs to know beside the text.
pub struct Context<'a> {
    /// Folder of the file: relative paths start here.
    pub folder: &'a str,
    /// For `~/`.
    pub home: Option<&'a str>,
    /// Whether a file of this path is there (`identity`, `tls`).
    pub exists: &'a dyn Fn(&str) -> bool,
}

const ROOT_KEYS: &[&str] = &["hosts", "defaults", "network", "supervise"];
const HOST_KEYS: &[&str] = &["address", "role", "availability", "labels", "advertise", "identity", "jump", "tls", "lost_after"];
const DEFAULT_KEYS: &[&str] = &["user", "port", "labels", "identity", "jump", "tls"];
const NETWORK_KEYS: &[&str] = &["driver"];
const SUPERVISE_KEYS: &[&str] = &["heartbeat", "lost_after", "look_every", "rebalance"];
const TLS_KEYS: &[&str] = &["ca", "cert", "key"];

/// Reads an inventory. `name` is the file as the user would write it; it stands in every message.
pub fn parse(name: &str, text: &str, context: &Context<'_>) -> Result<Inventory, InventoryFailure> {
    if text.len() > TEXT_BYTES_MAX {
        let fault = Fault::at(0..0, format!("the inventory is larger than {} MiB", TEXT_BYTES_MAX >> 20));
        return Err(InventoryFailure { name: name.to_owned(), text: String::new(), faults: vec![fault] });
    }
    let mut faults = Vec::new();
    let inventory = read(text, context, &mut faults);
    match inventory {
        Some(inventory) if faults.is_empty() => Ok(inventory),
        _ => {
            faults.sort_by_key(|fault| fault.span.start);
            Err(InventoryFailure { name: name.to_owned(), text: text.to_owned(), faults })
        }
    }
}

fn read(text: &str, context: &Context<'_>, faults: &mut Vec<Fault>) -> Option<Inventory> {
    let (root, errors) = DeTable::parse_recoverable(text);
    // Those after the first are mostly its consequences.
    if let Some(error) = errors.first() {
        faults.push(syntax_fault(text, error));
        return None;
    }
    let root = Table::new("", root.get_ref(), root.span());
    root.only(ROOT_KEYS, faults);
    let defaults = root.table("defaults", faults).map(|table| read_defaults(&table, context, faults)).unwrap_or_default();
    let network = root.table("network", faults).map(|table| read_network(&table, faults)).unwrap_or_default();
    let mut supervise = root.table("supervise", faults).map(|table| read_supervise(&table, faults)).unwrap_or_default();
    let Some(entries) = root.table("hosts", faults) else {
        faults.push(no_hosts(root.header()));
        return None;
    };
    let mut hosts: Vec<(Host, Range<usize>)> = Vec::new();
    for (key, key_span, table) in entries.tables(faults) {
        let host = read_host(&key, &key_span, &table, &defaults, context, faults);
        let lost_after_ms = read_duration(&table, "lost_after", LOST_AFTER_MS, faults);
        if let Some((host, lost_after_ms)) = host.as_ref().zip(lost_after_ms) {
            supervise.lost_after_ms_of.insert(host.0.name.clone(), lost_after_ms);
        }
        hosts.extend(host);
    }
    if entries.is_empty() {
        faults.push(no_hosts(entries.header()));
    }
    find_twins(&hosts, faults);
    Some(Inventory { hosts: hosts.into_iter().map(|(host, _)| host).collect(), network, supervise })
}

fn syntax_fault(text: &str, error: &toml::de::Error) -> Fault {
    let end = text.len();
    let span = error.span().unwrap_or(end..end);
    let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
    Fault { message: format!("not TOML: {message}"), span, label: String::new(), note: None, hint: None }
}

fn no_hosts(span: Range<usize>) -> Fault {
    Fault {
        message: "the inventory lists no hosts".to_owned(),
        span,
        label: String::new(),
        note: None,
        hint: Some("a host is `[hosts.NAME]` with `address = \"ssh://user@host\"` below it".to_owned()),
    }
}

/// `[defaults]`: what stands at no host of its own.
#[derive(Default)]
struct Defaults {
    address: AddressDefaults,
    labels: BTreeMap<String, String>,
    identity: Option<String>,
    jump: Vec<String>,
}

fn read_defaults(table: &Table<'_>, context: &Context<'_>, faults: &mut Vec<Fault>) -> Defaults {
    table.only(DEFAULT_KEYS, faults);
    let user = table.text("user", faults).and_then(|user| {
        let checked = parse_address(&format!("ssh://{}@host", user.value), &AddressDefaults::default());
        match checked {
            Ok(_) => Some(user.value.to_owned()),
            Err(_) => {
                faults.push(user.fault(format!("`{}` is not a user name", user.value), None));
                None
            }
        }
    });
    let port = table.integer("port", 1..=i64::from(u16::MAX), faults).and_then(|port| u16::try_from(port).ok());
    let tls = read_tls(table, context, faults).map(|(tls, _)| tls);
    Defaults {
        address: AddressDefaults { user, port, tls },
        labels: read_labels(table, faults),
        identity: read_file(table, "identity", context, faults),
        jump: read_jump(table, faults).unwrap_or_default(),
    }
}

fn read_network(table: &Table<'_>, faults: &mut Vec<Fault>) -> NetworkSettings {
    table.only(NETWORK_KEYS, faults);
    let words = [("auto", NetworkDriver::Auto), ("bridge", NetworkDriver::Bridge), ("overlay", NetworkDriver::Overlay)];
    NetworkSettings { driver: table.word("driver", &words, faults).unwrap_or_default() }
}

/// A host that is lost sooner than it can be asked twice is lost by chance.
const LOST_AFTER_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;

fn read_supervise(table: &Table<'_>, faults: &mut Vec<Fault>) -> SuperviseSettings {
    table.only(SUPERVISE_KEYS, faults);
    let default = SuperviseSettings::default();
    let words = [("off", Rebalancing::Off), ("plan", Rebalancing::Plan), ("auto", Rebalancing::Auto)];
    SuperviseSettings {
        rebalance: table.word("rebalance", &words, faults).unwrap_or_default(),
        heartbeat_ms: read_duration(table, "heartbeat", 100..=60_000, faults).unwrap_or(default.heartbeat_ms),
        lost_after_ms: read_duration(table, "lost_after", LOST_AFTER_MS, faults).unwrap_or(default.lost_after_ms),
        look_every_ms: read_duration(table, "look_every", 1_000..=3_600_000, faults).unwrap_or(default.look_every_ms),
        ..default
    }
}

/// A duration as Compose files write them, in milliseconds.
fn read_duration(table: &Table<'_>, key: &str, range: std::ops::RangeInclusive<u64>, faults: &mut Vec<Fault>) -> Option<u64> {
    let text = table.text(key, faults)?;
    let parsed = GoDuration::parse(text.value).and_then(|duration| u64::try_from(duration.to_std().as_millis()).ok());
    let found = parsed.filter(|millis| range.contains(millis));
    if found.is_none() {
        let message = format!("{}: `{}` is no duration that will do", table.path_of(key), text.value);
        let seconds = |millis: &u64| *millis as f64 / 1000.0;
        let hint = format!("from {}s to {}s, as in `5s` or `1m30s`", seconds(range.start()), seconds(range.end()));
        faults.push(text.fault(message, Some(hint)));
    }
    found
}

/// The host and where its address stands.
fn read_host(
    key: &str,
    key_span: &Range<usize>,
    table: &Table<'_>,
    defaults: &Defaults,
    context: &Context<'_>,
    faults: &mut Vec<Fault>,
) -> Option<(Host, Range<usize>)> {
    table.only(HOST_KEYS, faults);
    let name = HostName::new(key);
    if let Err(error) = &name {
        faults.push(Fault::at(key_span.clone(), error.to_string()));
    }
    let tls = read_tls(table, context, faults);
    let address = table.text("address", faults);
    if address.is_none() && !table.has("address") {
        let hint = Some(format!("address = \"ssh://{key}\""));
        faults.push(Fault { hint, ..Fault::at(table.header(), format!("hosts.{key}: `address` is missing")) });
    }
    let parsed = address.as_ref().and_then(|address| read_address(address, tls.as_ref(), defaults, faults));
    let roles = [("manager", Role::Manager), ("worker", Role::Worker)];
    let availabilities = [("active", Availability::Active), ("pause", Availability::Pause), ("drain", Availability::Drain)];
    let mut labels = defaults.labels.clone();
    labels.extend(read_labels(table, faults));
    let host = Host {
        role: table.word("role", &roles, faults),
        availability: table.word("availability", &availabilities, faults).unwrap_or_default(),
        labels,
        advertise: read_advertise(table, faults),
        identity: read_file(table, "identity", context, faults).or_else(|| defaults.identity.clone()),
        jump: read_jump(table, faults).unwrap_or_else(|| defaults.jump.clone()),
        name: name.ok()?,
        address: parsed?,
    };
    Some((host, address.map(|text| text.span).unwrap_or_default()))
}

fn read_address(
    address: &Text<'_>,
    tls: Option<&(Tls, Range<usize>)>,
    defaults: &Defaults,
    faults: &mut Vec<Fault>,
) -> Option<Address> {
    let own = AddressDefaults {
        tls: tls.map(|(tls, _)| tls.clone()).or_else(|| defaults.address.tls.clone()),
        ..defaults.address.clone()
    };
    match parse_address(address.value, &own) {
        Ok(parsed) => {
            if let (Some((_, span)), false) = (tls, matches!(parsed, Address::Tcp { .. })) {
                let message = format!("`tls` belongs to tcp:// addresses; `{}` is none", address.value);
                faults.push(Fault { note: Some((address.span.clone(), String::new())), ..Fault::at(span.clone(), message) });
            }
            Some(parsed)
        }
        Err(error) => {
            faults.push(address.fault(error.message, error.hint));
            None
        }
    }
}

/// An address or a name, as other hosts reach this one; never an interface, which they would not know.
fn read_advertise(table: &Table<'_>, faults: &mut Vec<Fault>) -> Option<String> {
    let text = table.text("advertise", faults)?;
    let bracketed = if text.value.contains(':') { format!("[{}]", text.value) } else { text.value.to_owned() };
    match parse_address(&format!("ssh://{bracketed}"), &AddressDefaults::default()) {
        Ok(Address::Ssh { host, .. }) => Some(host),
        _ => {
            let hint = "the host's address in the network that all hosts share, without a port".to_owned();
            faults.push(text.fault(format!("`{}` is no address to advertise", text.value), Some(hint)));
            None
        }
    }
}

fn read_labels(table: &Table<'_>, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    table.table("labels", faults).map(|labels| labels.scalars(faults)).unwrap_or_default()
}

fn read_jump(table: &Table<'_>, faults: &mut Vec<Fault>) -> Option<Vec<String>> {
    let mut jump = Vec::new();
    for text in table.texts("jump", faults)? {
        for part in text.value.split(',') {
            match checked_jump(part) {
                Ok(host) => jump.push(host),
                Err(error) => faults.push(text.fault(error.message, error.hint)),
            }
        }
    }
    Some(jump)
}

/// The TLS files and where they are named.
fn read_tls(table: &Table<'_>, context: &Context<'_>, faults: &mut Vec<Fault>) -> Option<(Tls, Range<usize>)> {
    let tls = table.table("tls", faults)?;
    tls.only(TLS_KEYS, faults);
    let cert = read_file(&tls, "cert", context, faults);
    let key = read_file(&tls, "key", context, faults);
    if tls.has("cert") != tls.has("key") {
        let message = format!("{}: `cert` and `key` belong together", tls.path());
        faults.push(Fault::at(tls.header(), message));
    }
    if !tls.has("ca") {
        faults.push(Fault::at(tls.header(), format!("{}: `ca` is missing", tls.path())));
    }
    let ca = read_file(&tls, "ca", context, faults)?;
    Some((Tls { ca, cert, key }, tls.header()))
}

/// A path to a file that exists, made absolute.
fn read_file(table: &Table<'_>, key: &str, context: &Context<'_>, faults: &mut Vec<Fault>) -> Option<String> {
    let text = table.text(key, faults)?;
    let path = match text.value.strip_prefix("~/") {
        Some(below) => match context.home {
            Some(home) => format!("{}/{below}", home.trim_end_matches('/')),
            None => {
                faults.push(text.fault(format!("`{}`: there is no home folder", text.value), None));
                return None;
            }
        },
        None if text.value.starts_with('/') => text.value.to_owned(),
        None => format!("{}/{}", context.folder.trim_end_matches('/'), text.value),
    };
    if text.value.is_empty() || !(context.exists)(&path) {
        faults.push(text.fault(format!("{}: there is no file `{path}`", table.path_of(key)), None));
        return None;
    }
    Some(path)
}

fn find_twins(hosts: &[(Host, Range<usize>)], faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<String, &(Host, Range<usize>)> = BTreeMap::new();
    for entry in hosts {
        let (host, span) = entry;
        if let Some((first, first_span)) = seen.get(&identity_of(&host.address)) {
            faults.push(Fault {
                message: format!("hosts `{}` and `{}` have one address", first.name, host.name),
                span: span.clone(),
                label: format!("`{}` again", host.address),
                note: Some((first_span.clone(), "first here".to_owned())),
                hint: Some("a host is listed once; for one engine under two names use labels".to_owned()),
            });
            continue;
        }
        seen.insert(identity_of(&host.address), entry);
    }
}

impl Fault {
    fn at(span: Range<usize>, message: String) -> Self {
        Self { message, span, label: String::new(), note: None, hint: None }
    }
}

/// Words for an unknown one among known ones.
fn did_you_mean(word: &str, known: &[&str]) -> String {
    nearest(word, known.iter().copied()).map(|near| format!("did you mean `{near}`?")).unwrap_or_default()
}
