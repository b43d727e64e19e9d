//! Durations as Compose files write them and as Go prints them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A length of time in nanoseconds, as the Engine API counts it. Read from and printed as Go's text (`1m30s`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration {
    pub nanos: i64,
}

impl GoDuration {
    pub const fn from_secs(secs: i64) -> Self {
        Self { nanos: secs * 1_000_000_000 }
    }

    /// The same length for the standard library; a negative one is zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.nanos.max(0) as u64)
    }

    /// Reads `[sign](number unit)+` with the units ns, us, µs, ms, s, m, h, d, w (the last two are Compose's own).
    /// Returns nothing for any other text, and for a number without a unit other than 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self::default());
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: f64 = 0.0;
        let mut whole: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let nanos_per_unit: i64 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "d" => 86_400_000_000_000,
                "w" => 604_800_000_000_000,
                _ => return None,
            };
            match number.parse::<i64>() {
                Ok(count) => whole = whole.checked_add(count.checked_mul(nanos_per_unit)?)?,
                Err(_) => total += number.parse::<f64>().ok()? * nanos_per_unit as f64,
            }
            rest = after;
        }
        let nanos = whole.checked_add(total as i64)?;
        Some(Self { nanos: if negative { -nanos } else { nanos } })
    }
}

impl fmt::Display for GoDuration {
    /// As Go's time.Duration.String: the largest unit first, fractions of a second as decimals, `0s` for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        let decimal = |f: &mut fmt::Formatter<'_>, value: u64, per_unit: u64, unit: &str| {
            let width = per_unit.ilog10() as usize;
            let fraction = format!("{:0width$}", value % per_unit);
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() || per_unit == 1 { "" } else { "." };
            let fraction = if per_unit == 1 { "" } else { fraction };
            write!(f, "{}{dot}{fraction}{unit}", value / per_unit)
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => decimal(f, nanos, 1, "ns"),
            1_000..1_000_000 => decimal(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => decimal(f, nanos, 1_000_000, "ms"),
            _ => {
                let secs = nanos / 1_000_000_000;
                if secs >= 3_600 {
                    write!(f, "{}h", secs / 3_600)?;
                }
                if secs >= 60 {
                    write!(f, "{}m", secs / 60 % 60)?;
                }
                decimal(f, nanos % 60_000_000_000, 1_000_000_000, "s")
            }
        }
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> String {
        duration.to_string()
    }
}

impl TryFrom<String> for GoDuration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a duration such as 1m30s"))
    }
}

#[cfg(test)]
mod tests {
    use super::GoDuration;

    fn check(text: &str, printed: &str) {
        assert_eq!(GoDuration::parse(text).map(|d| d.to_string()).as_deref(), Some(printed));
    }

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        check("90s", "1m30s");
        check("1d", "24h0m0s");
        check("1w", "168h0m0s");
        check("1.5s", "1.5s");
        check("1us", "1µs");
        check("1500us", "1.5ms");
        check("-1m", "-1m0s");
        check("0", "0s");
        check("1h30m5.25s", "1h30m5.25s");
        check("7ns", "7ns");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "10", "1x", "s", "--1s", "1s1", "99999999999999w"] {
            assert_eq!(GoDuration::parse(text), None, "{text}");
        }
    }
}
