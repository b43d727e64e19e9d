//! Moments on the command line (`--since`, `--until`) as the engines' API takes them: seconds since 1970 with nine digits behind.

use std::time::Duration;

use super::{Failure, exit};
use crate::project::GoDuration;

/// Nothing is an empty text. `now` is since 1970.
pub fn moment(text: Option<&str>, now: Duration) -> Result<String, Failure> {
    let Some(text) = text else { return Ok(String::new()) };
    let wrong = || {
        let hint = "as in 42m, 2013-01-02T13:23:37Z, 2013-01-02 or seconds since 1970".to_owned();
        Failure::said(format!("`{text}` is no moment"), hint, exit::USAGE)
    };
    if let Some(back) = GoDuration::parse(text) {
        return Ok(api_text(now.saturating_sub(back.to_std())));
    }
    if text.parse::<f64>().is_ok_and(|secs| secs.is_finite() && secs >= 0.0) {
        return Ok(text.to_owned());
    }
    date(text).map(api_text).ok_or_else(wrong)
}

pub fn api_text(since_1970: Duration) -> String {
    format!("{}.{:09}", since_1970.as_secs(), since_1970.subsec_nanos())
}

/// RFC 3339, with less behind the date and without a zone too, which then is UTC.
pub fn date(text: &str) -> Option<Duration> {
    let (date, rest) = text.split_once(['T', ' ']).unwrap_or((text.trim_end_matches('Z'), ""));
    let [year, month, day] = numbers::<3>(date, '-')?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = match time.split(':').count() {
        _ if time.is_empty() => [0, 0, 0],
        2 => numbers::<2>(time, ':').map(|[hour, minute]| [hour, minute, 0])?,
        _ => numbers::<3>(time, ':')?,
    };
    let zone_minutes = match zone.get(1..) {
        None | Some("") => 0,
        Some(offset) => {
            let [hours, minutes] = numbers::<2>(offset, ':')?;
            if zone.starts_with('-') { -(hours * 60 + minutes) } else { hours * 60 + minutes }
        }
    };
    let is_sound = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_sound || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let secs = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute - zone_minutes) * 60 + second;
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    Some(Duration::from_secs(u64::try_from(secs).ok()?) + Duration::from_secs_f64(fraction))
}

/// Exactly so many numbers with a mark between them.
fn numbers<const COUNT: usize>(text: &str, mark: char) -> Option<[i64; COUNT]> {
    let is_number = |word: &str| !word.is_empty() && word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<i64> = text.split(mark).map(|word| is_number(word).then(|| word.parse().ok())?).collect::<Option<_>>()?;
    words.try_into().ok()
}

/// Nanoseconds since 1970 as a date and a time of day of UTC, with microseconds: `2013-01-02 13:23:37.250000`.
pub fn utc_text(since_1970_ns: i64) -> String {
    let (secs, nanos) = (since_1970_ns.div_euclid(1_000_000_000), since_1970_ns.rem_euclid(1_000_000_000));
    let (days, secs) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{:06}", secs / 3600, secs / 60 % 60, secs % 60, nanos / 1000)
}

/// The inverse of `days_since_1970`.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

/// By the civil calendar, years beginning in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    fn check(text: &str, expected: Option<&str>) {
        let now = Duration::from_secs(1_000_000);
        assert_eq!(super::moment(Some(text), now).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn moments_are_relative_absolute_or_counted() {
        check("10m", Some("999400.000000000"));
        check("1h30m", Some("994600.000000000"));
        check("1357133017.5", Some("1357133017.5"));
        check("2013-01-02T13:23:37Z", Some("1357133017.000000000"));
        check("2013-01-02T14:23:37+01:00", Some("1357133017.000000000"));
        check("2013-01-02T13:23:37.25Z", Some("1357133017.250000000"));
        check("2013-01-02T13:23", Some("1357132980.000000000"));
        check("2013-01-02", Some("1357084800.000000000"));
        check("2000-02-29T00:00:00Z", Some("951782400.000000000"));
    }

    #[test]
    fn a_date_that_is_printed_is_the_one_that_was_read() {
        for text in ["1970-01-01", "2000-02-29", "2013-01-02", "2024-12-31", "2100-03-01"] {
            let secs: f64 =
                super::moment(Some(text), Duration::ZERO).ok().and_then(|text| text.parse().ok()).expect("it is a date");
            assert_eq!(super::utc_text(secs as i64 * 1_000_000_000 + 250_000), format!("{text} 00:00:00.000250"));
        }
    }

    #[test]
    fn other_words_are_no_moments() {
        for text in ["yesterday", "", "2013-13-02", "2013-01-02T25:00:00Z", "99999-01-01", "-", "2013-01-02T13:23:37.Z9", "é"] {
            check(text, None);
        }
    }
}
