//! Pauses that differ a little: what failed together is not to come back together.

/// By how much, at most, a pause is shorter than it would be: a part of so many.
const PART: u64 = 4;
/// FNV's.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A die of somebody's own, that falls the same each time it is thrown for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(Option<u64>);

impl Jitter {
    /// Pauses stay as they are.
    pub const NONE: Self = Self(None);

    pub fn of(seed: u64, name: &str) -> Self {
        let hashed = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        Self(Some(seed.to_le_bytes().into_iter().chain(name.bytes()).fold(OFFSET, hashed)))
    }

    /// The pause, by up to a quarter shorter, so that no longest one is exceeded. `times`: which one in a row it is.
    pub fn shortened(self, pause_ms: u64, times: u32) -> u64 {
        let Some(hash) = self.0 else { return pause_ms };
        let thrown = times.to_le_bytes().into_iter().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        // The low digits of such a number are the least mixed.
        let die = u128::from(thrown >> 32);
        let less = (u128::from(pause_ms / PART) * die) >> 32;
        pause_ms - u64::try_from(less).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_failed_together_comes_back_one_after_the_other() {
        let at = |seed: u64, number: u32| Jitter::of(seed, &format!("shop/web.{number}")).shortened(60_000, 7);
        let mut pauses: Vec<u64> = (1..=100).map(|number| at(1, number)).collect();
        assert_eq!(pauses, (1..=100).map(|number| at(1, number)).collect::<Vec<_>>(), "the same seed, the same pauses");
        assert_ne!(pauses, (1..=100).map(|number| at(2, number)).collect::<Vec<_>>());
        pauses.sort_unstable();
        assert!(pauses.iter().all(|pause_ms| (45_000..=60_000).contains(pause_ms)), "{pauses:?}");
        let in_a_second = |from_ms: u64| pauses.iter().filter(|pause| (from_ms..from_ms + 1_000).contains(*pause)).count();
        let most = (45_000..60_000).step_by(1_000).map(in_a_second).max();
        assert!(most.is_some_and(|most| most <= 20), "{most:?} at once of 100: {pauses:?}");
    }
}
