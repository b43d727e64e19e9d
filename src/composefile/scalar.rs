//! Plain scalars by go-yaml's rules, and numbers as Go prints them.

use super::Value;

/// What a plain scalar means: YAML 1.2's core schema with old octal, binary and underscores, as go-yaml resolves it.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Value::Text(text.to_owned());
    }
    if is_date(text) {
        return Value::Timestamp(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    // With a dot in front the underscores stay, which no number has.
    let plain: String = text.chars().filter(|c| *c != '_' || text.starts_with('.')).collect();
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |digits: &str, radix: u32| {
        let valid = !digits.is_empty() && !digits.starts_with(['+', '-']);
        let value = valid.then(|| i128::from_str_radix(digits, radix).ok()).flatten()?;
        i64::try_from(value * sign).ok().map(Value::Int)
    };
    let based = [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)];
    if let Some((rest, base)) = based.iter().find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, *base))) {
        // go-yaml reads `0o+7` and `0b-1`, since it takes these two prefixes off by itself.
        let signed = rest.strip_prefix('-').map(|rest| (-1, rest)).or_else(|| rest.strip_prefix('+').map(|rest| (1, rest)));
        let takes_sign = plain.starts_with("0o") || plain.starts_with("0b");
        return match signed.filter(|_| takes_sign) {
            Some((sign, rest)) => match radix(rest, base) {
                Some(Value::Int(number)) => Some(Value::Int(sign * number)),
                _ => None,
            },
            None => radix(rest, base),
        };
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return radix(&digits[1..], 8);
    }
    let is_decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if is_decimal && !(digits.len() > 1 && digits.starts_with('0')) {
        return radix(digits, 10).or_else(|| plain.parse().ok().map(Value::Float));
    }
    // What no float can hold is a text to go-yaml.
    is_float(digits).then(|| plain.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)).flatten()
}

/// `[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let dots = mantissa.bytes().filter(|b| *b == b'.').count();
    let exponent_ok = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit())
    });
    digits > 0 && dots <= 1 && digits + dots == mantissa.len() && exponent_ok
}

/// `2001-01-02` that the calendar has; with a time behind it, `T15:04:05Z` or ` 15:04:05`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, '-').collect();
    let [year, month, rest] = parts[..] else { return false };
    let day_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (day, time) = rest.split_at(day_end);
    let (Some(year), Some(month), Some(day)) = (digits(year, 4, 4), digits(month, 1, 2), digits(day, 1, 2)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
        && match time.chars().next() {
            None => true,
            Some('T' | 't') => zoned(&time[1..]).is_some_and(is_time),
            Some(' ') => is_time(&time[1..]),
            Some(_) => false,
        }
}

/// A time without its zone, `Z` or `+01:00`.
fn zoned(text: &str) -> Option<&str> {
    if let Some(time) = text.strip_suffix('Z') {
        return Some(time);
    }
    let (time, zone) = text.split_at(text.rfind(['+', '-'])?);
    let (hours, minutes) = zone[1..].split_once(':')?;
    digits(hours, 2, 2).and(digits(minutes, 2, 2)).map(|_| time)
}

/// `15:04:05`, with or without a fraction.
fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    let [hour, minute, second] = parts[..] else { return false };
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let below = |text: &str, limit: u32| digits(text, 1, 2).is_some_and(|number| number < limit);
    below(hour, 24) && below(minute, 60) && below(second, 60) && digits(fraction, 1, 9).is_some()
}

/// A number of so many digits.
fn digits(text: &str, least: usize, most: usize) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && (least..=most).contains(&text.len()) { text.parse().ok() } else { None }
}
