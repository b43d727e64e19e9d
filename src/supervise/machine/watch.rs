//! One host as its supervisor sees it: whether it answers, since when not, and how far it is trusted.

use super::Settings;

/// After a call that was refused, rather than not answered, silence counts double: somebody is there, and says no.
const REFUSAL_SPEEDS_UP: u64 = 2;
/// A host that was lost gets new slots again after this long; twice as long each time it is lost again.
const TRUSTED_AFTER_MS: u64 = 5_000;
const TRUSTED_AFTER_MS_MAX: u64 = 300_000;
/// A host that was not lost for this long is as good as one that never was.
const FORGIVEN_AFTER_MS: u64 = 600_000;

/// Heartbeats of all hosts go out in so many parts of their period.
const PINGS_SPREAD: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never heard of yet.
    Unknown,
    Up,
    /// A call went unanswered. Nothing is concluded from it.
    Doubtful,
    /// Silent for so long that its replicas are replaced elsewhere.
    Lost,
}

/// All times in milliseconds of the supervisor's own clock.
#[derive(Debug, Clone)]
pub struct Watch {
    place: u16,
    /// Its pings have their own place among those of the others.
    is_spread: bool,
    pub state: State,
    pub watched_since_ms: u64,
    /// When it answered last, or when it was first watched.
    pub heard_ms: u64,
    /// The last call was refused, not unanswered.
    refused: bool,
    pub why: String,
    lost_count: u32,
    lost_at_ms: Option<u64>,
    /// Until when a host that came back gets nothing new.
    pub cooling_until_ms: u64,
    pub ping_due_ms: u64,
    pub ping_under_way: bool,
    pub look_due_ms: u64,
    pub look_under_way: bool,
    /// Something happened after the look that is under way had begun: it may not show it.
    pub doubted: bool,
    /// It has shown itself.
    pub is_seen: bool,
}

/// A host that answers pings is waited for to show itself.
const FIRST_LOOK_WAIT_MAX_MS: u64 = 15_000;

/// What changed with a word of a host, or with its silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    Same,
    Doubted,
    Lost {
        silent_ms: u64,
    },
    /// It answers again; `was_lost` if its replicas were given up meanwhile.
    Back {
        was_lost: bool,
    },
}

impl Watch {
    /// `place`: where it stands among the hosts that are asked in turn, of 65,536 places.
    pub fn new(place: u16, now_ms: u64) -> Self {
        Self {
            place,
            is_spread: false,
            state: State::Unknown,
            watched_since_ms: now_ms,
            heard_ms: now_ms,
            refused: false,
            why: "not heard of yet".to_owned(),
            lost_count: 0,
            lost_at_ms: None,
            cooling_until_ms: 0,
            ping_due_ms: now_ms,
            ping_under_way: false,
            look_due_ms: now_ms,
            look_under_way: false,
            doubted: false,
            is_seen: false,
        }
    }

    /// When something is to be done about it at the latest: a ping, a look, or giving it up.
    pub fn due_ms(&self, settings: &Settings) -> u64 {
        let ping = (!self.ping_under_way).then_some(self.ping_due_ms);
        let look = (!self.look_under_way && self.state == State::Up).then_some(self.look_due_ms);
        let lost = (self.state == State::Doubtful).then(|| self.lost_when_ms(settings));
        [ping, look, lost].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Until when at most it is waited for, since it is not known what runs there; the far future where only a word of it will tell.
    pub fn opens_ms(&self, settings: &Settings) -> u64 {
        match self.state {
            State::Unknown => u64::MAX,
            State::Up if !self.is_seen => self.watched_since_ms + FIRST_LOOK_WAIT_MAX_MS,
            State::Doubtful if !self.is_seen => self.lost_when_ms(settings),
            State::Up | State::Doubtful | State::Lost => 0,
        }
    }

    /// Whether it does not answer now, for all that is known.
    pub fn is_silent(&self) -> bool {
        matches!(self.state, State::Doubtful | State::Lost)
    }

    /// When it is pinged next after a word of it. All times are on one grid, since what many hosts are asked at once costs less than what they
    /// are asked one after the other; the first round puts each host on a place of its own.
    pub fn ping_again(&mut self, now_ms: u64, settings: &Settings) {
        let grid_ms = (settings.heartbeat_ms / PINGS_SPREAD).max(1);
        let wait_ms = if self.is_spread { settings.heartbeat_ms } else { self.share_of(settings.heartbeat_ms) };
        self.is_spread = true;
        self.ping_due_ms = (now_ms + wait_ms) / grid_ms * grid_ms;
    }

    /// When it is looked at next, if it gives no sign: each host at its own place of the period, so that a thousand of them are not
    /// looked at at once.
    pub fn look_again(&mut self, now_ms: u64, settings: &Settings) {
        let (every_ms, place_ms) = (settings.look_every_ms.max(1), self.share_of(settings.look_every_ms));
        let passed_ms = (now_ms + every_ms - place_ms) % every_ms;
        self.look_due_ms = now_ms + every_ms - passed_ms;
    }

    fn share_of(&self, time_ms: u64) -> u64 {
        time_ms.saturating_mul(u64::from(self.place)) >> u16::BITS
    }

    /// It answered something.
    pub fn answered(&mut self, now_ms: u64) -> Turn {
        let before = self.state;
        self.heard_ms = now_ms;
        self.refused = false;
        self.state = State::Up;
        match before {
            State::Up => Turn::Same,
            State::Unknown | State::Doubtful => Turn::Back { was_lost: false },
            State::Lost => {
                let doubled = TRUSTED_AFTER_MS.saturating_mul(1 << self.lost_count.saturating_sub(1).min(16));
                self.cooling_until_ms = now_ms.saturating_add(doubled.min(TRUSTED_AFTER_MS_MAX));
                Turn::Back { was_lost: true }
            }
        }
    }

    /// A call was not answered, or was refused.
    pub fn silent(&mut self, refused: bool, why: String, now_ms: u64, settings: &Settings) -> Turn {
        self.refused = refused;
        self.why = why;
        let doubted = matches!(self.state, State::Up | State::Unknown);
        if doubted {
            self.state = State::Doubtful;
        }
        match self.passed(now_ms, settings) {
            Turn::Same if doubted => Turn::Doubted,
            turn => turn,
        }
    }

    /// For this long nobody listened: it counts neither as silence nor as having been watched.
    pub fn unheard(&mut self, for_ms: u64) {
        self.heard_ms = self.heard_ms.saturating_add(for_ms);
        self.watched_since_ms = self.watched_since_ms.saturating_add(for_ms);
    }

    /// What was known of it is old: it is looked at, and one that was lost or in doubt has to be silent for as long once more.
    pub fn ask_anew(&mut self, now_ms: u64) {
        self.look_due_ms = now_ms;
        if self.is_silent() {
            (self.state, self.heard_ms) = (State::Doubtful, now_ms);
        }
    }

    /// Time passed.
    pub fn passed(&mut self, now_ms: u64, settings: &Settings) -> Turn {
        if self.state != State::Doubtful || now_ms < self.lost_when_ms(settings) {
            return Turn::Same;
        }
        if self.lost_at_ms.is_some_and(|at| now_ms.saturating_sub(at) > FORGIVEN_AFTER_MS) {
            self.lost_count = 0;
        }
        self.state = State::Lost;
        self.lost_count += 1;
        self.lost_at_ms = Some(now_ms);
        Turn::Lost { silent_ms: now_ms.saturating_sub(self.heard_ms) }
    }

    /// When a doubtful host counts as lost.
    pub fn lost_when_ms(&self, settings: &Settings) -> u64 {
        let speed = if self.refused { REFUSAL_SPEEDS_UP } else { 1 };
        self.heard_ms.saturating_add(settings.lost_after_ms / speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Rebalancing;

    const SETTINGS: Settings = Settings {
        heartbeat_ms: 1_000,
        lost_after_ms: 5_000,
        look_every_ms: 30_000,
        rebalance: Rebalancing::Off,
        keeps_deployed: true,
        seed: 0,
    };

    enum Word {
        Answer,
        Silence,
        Refusal,
        Nothing,
    }
    use Word::*;

    /// Plays (time, word) and writes down every turn that is one.
    fn check(words: &[(u64, Word)], expect: &str) {
        let mut watch = Watch::new(0, 0);
        let mut told = Vec::new();
        for (now_ms, word) in words {
            let turn = match word {
                Answer => watch.answered(*now_ms),
                Silence => watch.silent(false, "no answer".to_owned(), *now_ms, &SETTINGS),
                Refusal => watch.silent(true, "refused".to_owned(), *now_ms, &SETTINGS),
                Nothing => watch.passed(*now_ms, &SETTINGS),
            };
            match turn {
                Turn::Same => {}
                Turn::Doubted => told.push(format!("{now_ms} doubted")),
                Turn::Lost { silent_ms } => told.push(format!("{now_ms} lost after {silent_ms}")),
                Turn::Back { was_lost: false } => told.push(format!("{now_ms} up")),
                Turn::Back { was_lost: true } => told.push(format!("{now_ms} back, cool until {}", watch.cooling_until_ms)),
            }
        }
        assert_eq!(told.join("; "), expect);
    }

    #[test]
    fn a_missed_answer_is_doubt_and_five_seconds_of_silence_are_a_loss() {
        check(
            &[(0, Answer), (3_000, Silence), (4_000, Answer), (7_000, Silence), (8_999, Nothing), (9_000, Nothing)],
            "0 up; 3000 doubted; 4000 up; 7000 doubted; 9000 lost after 5000",
        );
    }

    #[test]
    fn a_refusal_speaks_sooner_than_silence() {
        check(&[(0, Answer), (1_000, Refusal), (2_500, Nothing)], "0 up; 1000 doubted; 2500 lost after 2500");
    }

    #[test]
    fn time_alone_loses_no_host_that_was_not_doubted() {
        check(&[(0, Answer), (60_000, Nothing)], "0 up");
    }

    #[test]
    fn many_hosts_are_asked_in_turn_and_none_later_than_it_should_be() {
        let (mut pings, mut looks) = ([0; 20], [0; 30]);
        for place in (0..=u16::MAX).step_by(64) {
            let mut watch = Watch::new(place, 0);
            watch.ping_again(3, &SETTINGS);
            assert!(watch.ping_due_ms <= 1_003, "place {place}: the first round is no longer than the others");
            let second_ms = watch.ping_due_ms.max(3) + 2;
            watch.ping_again(second_ms, &SETTINGS);
            assert!((951..=1_000).contains(&(watch.ping_due_ms - second_ms)), "place {place}: a heartbeat is a second");
            pings[(watch.ping_due_ms % 1_000 / 50) as usize] += 1;
            for now_ms in [0, 1, 29_999, 30_000, 123_456] {
                watch.look_again(now_ms, &SETTINGS);
                assert!((1..=30_000).contains(&(watch.look_due_ms - now_ms)), "place {place} at {now_ms}");
            }
            looks[(watch.look_due_ms % 30_000 / 1_000) as usize] += 1;
        }
        assert!(pings.iter().all(|count| (40..=64).contains(count)), "{pings:?}");
        assert!(looks.iter().all(|count| (30..=38).contains(count)), "{looks:?}");
    }

    #[test]
    fn a_host_that_flaps_is_trusted_more_slowly_each_time_until_it_was_good_for_long() {
        let lose = |at: u64| [(at, Answer), (at + 2_000, Silence), (at + 5_000, Nothing)];
        let story: Vec<_> = [0, 10_000, 20_000, 1_000_000, 1_010_000].into_iter().flat_map(lose).collect();
        check(
            &story,
            "0 up; 2000 doubted; 5000 lost after 5000; \
             10000 back, cool until 15000; 12000 doubted; 15000 lost after 5000; \
             20000 back, cool until 30000; 22000 doubted; 25000 lost after 5000; \
             1000000 back, cool until 1020000; 1002000 doubted; 1005000 lost after 5000; \
             1010000 back, cool until 1015000; 1012000 doubted; 1015000 lost after 5000",
        );
    }
}
