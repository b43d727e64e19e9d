//! Moments as engines write them and people give them (RFC 3339), as the time since 1970 in UTC.

use std::time::Duration;

/// RFC 3339, with less behind the date and without a zone too, which then is UTC.
pub fn parse(text: &str) -> Option<Duration> {
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
    let (date, time) = date_and_time(secs);
    format!("{date} {time}.{:06}", nanos / 1000)
}

/// As the API writes it: `2013-01-02T13:23:37.250000000Z`.
pub fn rfc3339(since_1970: Duration) -> String {
    let (date, time) = date_and_time(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX));
    format!("{date}T{time}.{:09}Z", since_1970.subsec_nanos())
}

fn date_and_time(since_1970_secs: i64) -> (String, String) {
    let (days, secs) = (since_1970_secs.div_euclid(86_400), since_1970_secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60))
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
    use super::*;

    #[test]
    fn moments_are_read_with_their_zone() {
        let ms = |text: &str| parse(text).map(|moment| moment.as_millis());
        assert_eq!(ms("2023-11-14T22:13:20.25Z"), Some(1_700_000_000_250));
        assert_eq!(ms("2023-11-15T00:13:20.250000001+02:00"), Some(1_700_000_000_250));
        assert_eq!(ms("2023-11-14T20:43:20-01:30"), Some(1_700_000_000_000));
        assert_eq!(ms("2024-02-29T12:00:00Z"), Some(1_709_208_000_000));
        assert_eq!(ms("2000-02-29T00:00:00Z"), Some(951_782_400_000));
        for text in ["not a time", "", "0001-01-01T00:00:00Z", "2023-11-14T22:13:20+99999:00"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_that_is_printed_is_the_one_that_was_read() {
        for text in ["1970-01-01", "2000-02-29", "2013-01-02", "2024-12-31", "2100-03-01"] {
            let moment = parse(text).expect("it is a date") + Duration::from_micros(250);
            let ns = i64::try_from(moment.as_nanos()).expect("it is in this era");
            assert_eq!(utc_text(ns), format!("{text} 00:00:00.000250"));
            assert_eq!(rfc3339(moment), format!("{text}T00:00:00.000250000Z"));
        }
    }
}
