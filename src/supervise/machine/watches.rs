//! The watches of all hosts, and what a step asks of them without going through a thousand of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Settings, State, Watch};
use crate::project::HostName;

pub(super) struct Watches {
    settings: Settings,
    /// Hosts that count as lost after another time.
    lost_after_ms_of: BTreeMap<HostName, u64>,
    all: BTreeMap<HostName, Entry>,
    /// When something is to be done about each.
    dues: BTreeSet<(u64, HostName)>,
    /// Those that the eyes are not open for yet, with until when they are waited for.
    awaited: BTreeMap<HostName, u64>,
    silent: usize,
}

/// A watch, and how it stands in the indices.
struct Entry {
    watch: Watch,
    due_ms: u64,
    is_silent: bool,
}

impl Watches {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            lost_after_ms_of: BTreeMap::new(),
            all: BTreeMap::new(),
            dues: BTreeSet::new(),
            awaited: BTreeMap::new(),
            silent: 0,
        }
    }

    pub(super) fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.change_all(|_, _| {});
    }

    pub(super) fn set_lost_after(&mut self, lost_after_ms_of: BTreeMap<HostName, u64>) {
        self.lost_after_ms_of = lost_after_ms_of;
        self.change_all(|_, _| {});
    }

    pub(super) fn settings_of(&self, host: &HostName) -> Settings {
        let lost_after_ms = self.lost_after_ms_of.get(host).copied().unwrap_or(self.settings.lost_after_ms);
        Settings { lost_after_ms, ..self.settings }
    }

    /// Those that are watched from now on, and no others.
    pub(super) fn take<'a>(&mut self, hosts: impl Iterator<Item = &'a HostName>, now_ms: u64) {
        let hosts: BTreeSet<&HostName> = hosts.collect();
        let gone: Vec<HostName> = self.all.keys().filter(|name| !hosts.contains(name)).cloned().collect();
        for name in gone {
            if let Some(entry) = self.all.remove(&name) {
                self.silent -= usize::from(entry.is_silent);
                self.awaited.remove(&name);
                self.dues.remove(&(entry.due_ms, name));
            }
        }
        for name in hosts {
            if !self.all.contains_key(name) {
                let entry = Entry { watch: Watch::new(place_of(name), now_ms), due_ms: u64::MAX, is_silent: false };
                self.dues.insert((entry.due_ms, name.clone()));
                self.all.insert(name.clone(), entry);
                self.change(name, |_, _| {});
            }
        }
    }

    /// The only way to change one. Nothing for a host that is not watched.
    pub(super) fn change<T>(&mut self, host: &HostName, change: impl FnOnce(&mut Watch, &Settings) -> T) -> Option<T> {
        let settings = self.settings_of(host);
        let entry = self.all.get_mut(host)?;
        let changed = change(&mut entry.watch, &settings);
        let due_ms = entry.watch.due_ms(&settings);
        if due_ms != entry.due_ms {
            self.dues.remove(&(entry.due_ms, host.clone()));
            self.dues.insert((due_ms, host.clone()));
            entry.due_ms = due_ms;
        }
        self.silent -= usize::from(entry.is_silent);
        entry.is_silent = entry.watch.is_silent();
        self.silent += usize::from(entry.is_silent);
        match entry.watch.opens_ms(&settings) {
            0 => drop(self.awaited.remove(host)),
            opens_ms => drop(self.awaited.insert(host.clone(), opens_ms)),
        }
        Some(changed)
    }

    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut Watch, &Settings)) {
        let names: Vec<HostName> = self.all.keys().cloned().collect();
        for name in names {
            self.change(&name, &mut change);
        }
    }

    pub(super) fn get(&self, host: &str) -> Option<&Watch> {
        self.all.get(host).map(|entry| &entry.watch)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Watch> {
        self.all.values().map(|entry| &entry.watch)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many do not answer now.
    pub(super) fn silent(&self) -> usize {
        self.silent
    }

    /// When the first of them is due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.dues.first().map(|(due_ms, _)| *due_ms)
    }

    /// Those that are due, by name.
    pub(super) fn due(&self, now_ms: u64) -> BTreeSet<HostName> {
        self.dues.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).map(|(_, name)| name.clone()).collect()
    }

    /// At the beginning, and when hosts are added: before each has shown itself or was silent for long enough, nothing is known of
    /// what runs where. Returns until when at most.
    pub(super) fn eyes_open_ms(&self) -> u64 {
        self.awaited.values().copied().max().unwrap_or_default()
    }

    /// Whether each is there for sure, or given up for sure.
    pub(super) fn is_calm(&self) -> bool {
        self.values().all(|watch| matches!(watch.state, State::Up | State::Lost))
    }
}

/// The same for a name always, and even among many: FNV-1a, and the last round of MurmurHash3, since names of one kind differ little.
fn place_of(host: &HostName) -> u16 {
    let hash = host
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indices_say_what_the_watches_do_whatever_happened() {
        let settings = Settings { heartbeat_ms: 1_000, ..Settings::default() };
        let names: Vec<HostName> = (0..5).filter_map(|number| HostName::new(format!("h{number}")).ok()).collect();
        let mut watches = Watches::new(settings);
        let mut dice: u64 = 7;
        for now_ms in (0..100_000).step_by(200) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (word, name) = (dice >> 40, &names[(dice >> 33) as usize % names.len()]);
            match word % 8 {
                0 => watches.take(names.iter().filter(|other| *other != name), now_ms),
                1 => watches.take(names.iter(), now_ms),
                2 => watches.set_lost_after(BTreeMap::from([(name.clone(), 2_000)])),
                3 | 4 => drop(watches.change(name, |watch, _| watch.answered(now_ms))),
                5 => drop(watches.change(name, |watch, _| watch.is_seen = true)),
                6 => drop(watches.change(name, |watch, settings| watch.silent(false, String::new(), now_ms, settings))),
                _ => watches.change_all(|watch, settings| {
                    watch.passed(now_ms, settings);
                }),
            }
            let all = || watches.all.iter().map(|(name, entry)| (name, &entry.watch, watches.settings_of(name)));
            let due_ms = |(_, watch, settings): (&HostName, &Watch, Settings)| watch.due_ms(&settings);
            assert_eq!(watches.due_ms(), all().map(due_ms).min(), "at {now_ms}");
            assert_eq!(watches.due(now_ms).len(), all().map(due_ms).filter(|due_ms| *due_ms <= now_ms).count(), "at {now_ms}");
            assert_eq!(watches.silent(), all().filter(|(_, watch, _)| watch.is_silent()).count(), "at {now_ms}");
            let opens_ms = all().map(|(_, watch, settings)| watch.opens_ms(&settings)).max();
            assert_eq!(watches.eyes_open_ms(), opens_ms.unwrap_or_default(), "at {now_ms}");
        }
    }
}
