//! Moments on the command line (`--since`, `--until`) as the engines' API takes them: seconds since 1970 with nine digits behind.

use std::time::Duration;

use super::{Failure, exit};
use crate::project::GoDuration;
use crate::project::moment::parse;

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
    parse(text).map(api_text).ok_or_else(wrong)
}

pub fn api_text(since_1970: Duration) -> String {
    format!("{}.{:09}", since_1970.as_secs(), since_1970.subsec_nanos())
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
    fn other_words_are_no_moments() {
        for text in ["yesterday", "", "2013-13-02", "2013-01-02T25:00:00Z", "99999-01-01", "-", "2013-01-02T13:23:37.Z9", "é"] {
            check(text, None);
        }
    }
}
