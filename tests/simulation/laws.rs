//! What must hold at every step, checked on what truly happened on the hosts and on what was truly sent to them.

use std::collections::{BTreeMap, BTreeSet};

use mcompose::engine::ContainerEvent;
use mcompose::engine::fake::Sent;
use mcompose::project::HostName;
use mcompose::store::RecordState;
use mcompose::supervise::machine::Notice;
use mcompose::world::keys;

use super::town::{CRASHES, Town, VOLUME};

/// A host that was well for this long is known to be so by every supervisor, and nothing that was planned before is under way.
const STEADY_MS: u64 = 12_000;
/// A supervisor that was cut off from most hosts for this long knows it, after a ping and its bound, and makes nothing new …
const SELF_DOUBT_MS: u64 = 4_000;
/// … and by then what was under way has ended.
const STANDS_STILL_MS: u64 = 6_500;
/// A host that is away for less time than this cannot be lost yet: five seconds from its last answer on.
const LOST_MS_MIN: u64 = 3_000;
/// The same of a host that refuses: half of that time is enough.
const REFUSING_LOST_MS_MIN: u64 = 500;
/// A host may go unheard between two troubles that are no further apart: a ping each second, and two for its answer.
const UNHEARD_MS: u64 = 3_500;
/// Who has lost the lease begins nothing new after this long.
const LEASE_LOST_MS: u64 = 3_500;
/// Who was frozen has this long to find out what it missed.
const AWAKE_MS: u64 = 2_000;
/// Starts of one container by one caller within a window, backed off.
const STARTS_MAX: usize = 10;
const STARTS_WINDOW_MS: u64 = 30_000;
/// Starts, within the same window, of what crashes all the time, after which somebody must have told so.
const UNTOLD_STARTS_MAX: usize = 7;

/// A replica that runs.
#[derive(Debug, Clone)]
struct Running {
    slot: (String, String),
    host: HostName,
    revision: u64,
    spec: String,
    is_unhealthy: bool,
}

/// One supervisor as it is from outside.
#[derive(Debug, Clone, Default)]
struct Watched {
    leads: bool,
    /// Since when it does not lead any more.
    stood_down_ms: u64,
    /// Killed or frozen, or how long it has been awake.
    is_away: bool,
    awake_since_ms: u64,
    /// Hosts that it cannot reach or hear, since when.
    cut_links: BTreeMap<String, u64>,
}

pub struct Laws {
    running: BTreeMap<String, Running>,
    /// When each host was last not well; the far future while it is not.
    unwell_ms: BTreeMap<String, u64>,
    /// Since when a supervisor may have heard nothing of a host.
    unheard_since_ms: BTreeMap<String, u64>,
    away_hosts: BTreeMap<String, u64>,
    /// Hosts that refused since they were last well.
    refusing: BTreeSet<String>,
    /// Hosts that were drained: what is updated start-first leaves them so.
    drained: BTreeSet<String>,
    /// Hosts that left the inventory, and those of them of which a supervisor that began later does not know.
    unlisted: BTreeSet<String>,
    unknown: BTreeSet<String>,
    /// Hosts that ever left: somebody may act with the file as it was then.
    left: BTreeSet<String>,
    supervisors: BTreeMap<String, Watched>,
    hosts: usize,
    pub start_first: bool,
    /// Nothing is said against it where a replica only changes hosts.
    pub moves_first: bool,
    /// Replicas are moved for the sake of evenness.
    pub rebalances: bool,
    /// Where the volume was first used.
    home: Option<String>,
    saved_homes: BTreeMap<String, Option<String>>,
    kept: Option<(u64, u64)>,
    starts: BTreeMap<(String, String), Vec<u64>>,
    /// When it was started that crashes all the time, and whether somebody told so.
    crashes: Vec<u64>,
    is_told: bool,
    /// The state of the newest record, and its revision.
    state: Option<(u64, RecordState)>,
    /// Since when an update to this revision is paused that may go back to a good one.
    paused: Option<(u64, u64)>,
    /// Specs of `web` and the first revision that had each; containers that have been started.
    specs: BTreeMap<String, u64>,
    born: BTreeSet<String>,
    pub last_change_ms: u64,
    pub broken: Option<String>,
}

impl Laws {
    pub fn new(hosts: usize) -> Self {
        Self {
            running: BTreeMap::new(),
            unwell_ms: BTreeMap::new(),
            unheard_since_ms: BTreeMap::new(),
            away_hosts: BTreeMap::new(),
            refusing: BTreeSet::new(),
            drained: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            unknown: BTreeSet::new(),
            left: BTreeSet::new(),
            supervisors: BTreeMap::new(),
            hosts,
            start_first: false,
            moves_first: false,
            rebalances: false,
            home: None,
            saved_homes: BTreeMap::new(),
            kept: None,
            starts: BTreeMap::new(),
            crashes: Vec::new(),
            is_told: false,
            state: None,
            paused: None,
            specs: BTreeMap::new(),
            born: BTreeSet::new(),
            last_change_ms: 0,
            broken: None,
        }
    }

    fn breaks(&mut self, at_ms: u64, law: String) {
        self.broken.get_or_insert_with(|| format!("at {at_ms} ms: {law}"));
    }

    /// A host stops answering anybody.
    pub fn host_away(&mut self, host: &str, at_ms: u64) {
        self.away_hosts.entry(host.to_owned()).or_insert(at_ms);
        self.unwell(host, at_ms);
    }

    pub fn host_refuses(&mut self, host: &str, at_ms: u64) {
        self.refusing.insert(host.to_owned());
        self.host_away(host, at_ms);
    }

    pub fn host_drained(&mut self, host: &str) {
        self.drained.insert(host.to_owned());
    }

    pub fn host_joined(&mut self) {
        self.hosts += 1;
    }

    pub fn host_unlisted(&mut self, host: &str) {
        self.hosts -= 1;
        self.unlisted.insert(host.to_owned());
        self.left.insert(host.to_owned());
        self.host_drained(host);
    }

    /// What runs there is nobody's to see.
    pub fn host_unknown(&mut self, host: &str) {
        self.unknown.insert(host.to_owned());
        self.host_crashed(host);
    }

    pub fn host_listed(&mut self, host: &str) {
        self.hosts += 1;
        self.unlisted.remove(host);
        self.unknown.remove(host);
    }

    pub fn host_crashed(&mut self, host: &str) {
        self.running.retain(|_, running| running.host.as_str() != host);
    }

    pub fn host_well(&mut self, host: &str, at_ms: u64) {
        self.away_hosts.remove(host);
        self.refusing.remove(host);
        self.settle_host(host, at_ms);
    }

    pub fn link(&mut self, supervisor: &str, host: &str, is_whole: bool, at_ms: u64) {
        let watched = self.supervisors.entry(supervisor.to_owned()).or_default();
        if is_whole {
            watched.cut_links.remove(host);
        } else {
            watched.cut_links.entry(host.to_owned()).or_insert(at_ms);
            self.unwell(host, at_ms);
        }
        self.settle_host(host, at_ms);
    }

    fn unwell(&mut self, host: &str, at_ms: u64) {
        let well_ms = self.unwell_ms.insert(host.to_owned(), u64::MAX);
        let goes_on = well_ms.is_some_and(|well_ms| at_ms < well_ms.saturating_add(UNHEARD_MS));
        if !goes_on {
            self.unheard_since_ms.insert(host.to_owned(), at_ms);
        }
    }

    fn settle_host(&mut self, host: &str, at_ms: u64) {
        let is_cut = self.supervisors.values().any(|watched| watched.cut_links.contains_key(host));
        if !is_cut && !self.away_hosts.contains_key(host) && self.unwell_ms.get(host) == Some(&u64::MAX) {
            self.unwell_ms.insert(host.to_owned(), at_ms);
        }
    }

    pub fn disk_saved(&mut self, host: &str) {
        self.saved_homes.insert(host.to_owned(), self.home.clone());
    }

    /// A host came back with another disk: what it alone had is gone.
    pub fn disk_replaced(&mut self, host: &str, is_old: bool) {
        let has_volume = is_old && self.saved_homes.get(host).is_some_and(|home| home.as_deref() == Some(host));
        if self.home.as_deref() == Some(host) && !has_volume {
            self.home = None;
        }
    }

    pub fn process_away(&mut self, name: &str, is_dead: bool, at_ms: u64) {
        let watched = self.supervisors.entry(name.to_owned()).or_default();
        watched.is_away = true;
        if is_dead {
            (watched.leads, watched.stood_down_ms) = (false, at_ms);
        }
    }

    pub fn process_awake(&mut self, name: &str, at_ms: u64) {
        let watched = self.supervisors.entry(name.to_owned()).or_default();
        (watched.is_away, watched.awake_since_ms) = (false, at_ms);
    }

    pub fn kept(&mut self, revision: u64, at_ms: u64) {
        self.kept = Some((revision, at_ms));
        // Another record begins with a clean slate.
        self.starts.clear();
    }

    /// What the records say now; returns it where it is news.
    pub fn records(&mut self, records: &[(u64, RecordState)], at_ms: u64) -> Option<String> {
        let newest = *records.first()?;
        if self.state.replace(newest) == Some(newest) {
            return None;
        }
        let (revision, state) = newest;
        let has_good = records.iter().any(|(earlier, state)| *state == RecordState::Good && *earlier < revision);
        self.paused = (state == RecordState::Paused && has_good).then_some((revision, at_ms));
        Some(format!("revision {revision} is {}", state.as_str()))
    }

    pub fn is_paused(&self) -> bool {
        self.state.is_some_and(|(_, state)| state == RecordState::Paused)
    }

    pub fn said(&mut self, who: &str, notice: &Notice, at_ms: u64) {
        match notice {
            Notice::Leads => {
                let others = self.supervisors.iter().filter(|(name, other)| *name != who && other.leads && !other.is_away);
                let other = others.map(|(name, other)| (name.clone(), other.awake_since_ms)).next();
                if let Some((other, awake_since_ms)) = other
                    && awake_since_ms + AWAKE_MS < at_ms
                {
                    self.breaks(at_ms, format!("{who} takes the lease while {other} has it"));
                }
                self.supervisors.entry(who.to_owned()).or_default().leads = true;
            }
            Notice::StandsBy => {
                let watched = self.supervisors.entry(who.to_owned()).or_default();
                (watched.leads, watched.stood_down_ms) = (false, at_ms);
            }
            Notice::Unmet { text, .. } if text.contains("crash loop") => self.is_told = true,
            _ => {}
        }
    }

    /// A call left its caller.
    pub fn sent(&mut self, sent: &Sent, at_ms: u64) {
        if sent.call.contains("config") {
            return;
        }
        self.last_change_ms = at_ms;
        let by = sent.by.as_str();
        let awake_since_ms = self.supervisors.get(by).map_or(0, |watched| watched.awake_since_ms);
        let is_awake = awake_since_ms + AWAKE_MS < at_ms || awake_since_ms == 0;
        if let Some((revision, (newest, kept_ms))) = sent.revision.zip(self.kept)
            && revision < newest
            && kept_ms < at_ms
            && is_awake
        {
            self.breaks(at_ms, format!("{by} makes a container of revision {revision}, though {newest} was kept at {kept_ms}"));
        }
        if by.starts_with("user") {
            return;
        }
        let Some(watched) = self.supervisors.get(by).cloned() else {
            return self.breaks(at_ms, format!("{by} acts and never had the lease"));
        };
        if !watched.leads && watched.stood_down_ms + LEASE_LOST_MS < at_ms && is_awake {
            self.breaks(at_ms, format!("{by} acts without the lease: {} on {}", sent.call, sent.host));
        }
        let is_listed = |host: &String| !self.unlisted.contains(host);
        let away = self.away_hosts.iter().filter(|(host, _)| is_listed(host));
        let mut deaf: BTreeMap<&String, u64> = away.map(|(host, since)| (host, *since)).collect();
        for (host, since) in watched.cut_links.iter().filter(|(host, _)| is_listed(host)) {
            deaf.entry(host).and_modify(|known| *known = (*known).min(*since)).or_insert(*since);
        }
        let patience_ms = if sent.call.starts_with("create ") { SELF_DOUBT_MS } else { STANDS_STILL_MS };
        let long = deaf.values().filter(|since| **since + patience_ms < at_ms).count();
        if long * 2 > self.hosts && watched.awake_since_ms + patience_ms < at_ms {
            self.breaks(at_ms, format!("{by} acts though it hears {long} of {} hosts no more: {}", self.hosts, sent.call));
        }
        if sent.call.starts_with("start ") {
            let starts = self.starts.entry((by.to_owned(), format!("{} on {}", sent.call, sent.host))).or_default();
            starts.retain(|start_ms| start_ms + STARTS_WINDOW_MS > at_ms);
            starts.push(at_ms);
            if starts.len() > STARTS_MAX {
                self.breaks(at_ms, format!("{by} makes the same start more than {STARTS_MAX} times: {}", sent.call));
            }
        }
    }

    /// Something happened to a container on a host.
    pub fn happened(&mut self, town: &Town, host: &HostName, event: &ContainerEvent, at_ms: u64) {
        if town.foreign.contains(&event.name) {
            // A host that comes back has none of them started: they have no restart policy.
            return self.breaks(at_ms, format!("{} of the foreign container {} on {host}", event.action, event.name));
        }
        match event.action.as_str() {
            "start"
                if self.unknown.contains(host.as_str()) && event.labels.get(keys::SERVICE).is_none_or(|name| name != "store") => {
            }
            "die" | "destroy" => drop(self.running.remove(&event.id)),
            "start" => self.started(host, event, at_ms),
            "health_status: unhealthy" => self.running.get_mut(&event.id).into_iter().for_each(|one| one.is_unhealthy = true),
            "health_status: healthy" => self.running.get_mut(&event.id).into_iter().for_each(|one| one.is_unhealthy = false),
            _ => {}
        }
    }

    fn started(&mut self, host: &HostName, event: &ContainerEvent, at_ms: u64) {
        let label = |key: &str| event.labels.get(key).cloned().unwrap_or_default();
        let started = Running {
            slot: (label(keys::SERVICE), label(keys::NUMBER)),
            host: host.clone(),
            revision: label(keys::REVISION).parse().unwrap_or_default(),
            spec: label(keys::SPEC),
            is_unhealthy: false,
        };
        if started.slot.0 == CRASHES {
            self.crashes.retain(|start_ms| start_ms + STARTS_WINDOW_MS > at_ms);
            self.crashes.push(at_ms);
            if self.crashes.len() > UNTOLD_STARTS_MAX && !self.is_told {
                self.breaks(at_ms, format!("{} crashes all the time, and nobody says so", event.name));
            }
        }
        if started.slot.0 == "store" {
            match &self.home {
                None => self.home = Some(host.to_string()),
                Some(home) if home == host.as_str() => {}
                Some(home) => {
                    let law = format!("{} starts on {host}, and {VOLUME} is on {home}", event.name);
                    self.breaks(at_ms, law);
                }
            }
        }
        let is_first = self.born.insert(event.id.clone());
        let first_of_spec = *self.specs.entry(started.spec.clone()).or_insert(started.revision);
        if let Some((revision, since_ms)) = self.paused.filter(|_| is_first && started.slot.0 == "web")
            && first_of_spec == revision
            && since_ms + STANDS_STILL_MS < at_ms
        {
            self.breaks(at_ms, format!("{} starts on {host}, and the update to revision {revision} is paused", event.name));
        }
        let given_up = self.running.values().find(|other| {
            let is_away = self.away_hosts.contains_key(other.host.as_str());
            let since_ms = self.unheard_since_ms.get(other.host.as_str());
            let least_ms = if self.refusing.contains(other.host.as_str()) { REFUSING_LOST_MS_MIN } else { LOST_MS_MIN };
            // From a drained host its slots go while it answers, and after it: nobody has given it up.
            let is_left = self.drained.contains(other.host.as_str());
            other.slot == started.slot && is_away && !is_left && since_ms.is_some_and(|since_ms| at_ms < since_ms + least_ms)
        });
        if let Some(other) = given_up
            && !self.away_hosts.contains_key(host.as_str())
            && other.host != *host
        {
            let law = format!("{} starts on {host}, and {} is silent for a moment only", event.name, other.host);
            return self.breaks(at_ms, law);
        }
        let is_steady = |host: &HostName| {
            self.unwell_ms.get(host.as_str()).is_none_or(|unwell_ms| unwell_ms.saturating_add(STEADY_MS) < at_ms)
        };
        let others: Vec<&Running> = self
            .running
            .iter()
            .filter(|(id, other)| **id != event.id && other.slot == started.slot && is_steady(&other.host))
            .map(|(_, other)| other)
            .collect();
        let is_web = started.slot.0 == "web";
        let is_update = |other: &Running| {
            let is_newer = other.spec != started.spec && other.revision < started.revision;
            self.start_first && is_web && (is_newer || other.host == started.host)
        };
        // Who says nothing of how it is updated is moved start-first too.
        let is_moved = |other: &Running| {
            let moves = self.rebalances || self.drained.contains(other.host.as_str());
            let starts_first = if is_web { self.moves_first } else { started.slot.0 == CRASHES };
            moves && starts_first && other.host != *host
        };
        // Whoever deploys with the shortened file does not see it; it is put right by who does.
        let is_unseen = |other: &Running| started.slot.0 != "store" && self.left.contains(other.host.as_str());
        // Who is unhealthy goes when the next one is ready, unless both would write to one volume.
        let is_repair = |other: &Running| other.is_unhealthy && started.slot.0 != "store";
        let seen: Vec<&Running> = others.iter().copied().filter(|other| !is_unseen(other)).collect();
        let is_doubled = match seen.as_slice() {
            [] => false,
            [other] => !is_update(other) && !is_moved(other) && !is_repair(other) && is_steady(host),
            _ => is_steady(host),
        };
        let on: Vec<String> = others.iter().map(|other| other.host.to_string()).collect();
        if is_doubled {
            self.breaks(at_ms, format!("{} starts on {host} while it runs on {}", event.name, on.join(", ")));
        }
        self.running.insert(event.id.clone(), started);
    }
}
