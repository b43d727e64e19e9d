//! Numbers as Go prints them.

/// A float as `%v`: the fewest digits, with an exponent below 1e-4 and from a million on.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    number.to_string()
}

/// A float as encoding/json writes it: with an exponent below 1e-6 and from 1e21 on.
pub(super) fn json_float(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
        return format!("{digits}e{sign}{exponent}");
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::{float, json_float};

    #[test]
    fn floats_are_printed_as_go_prints_them() {
        for (number, expect) in [
            (1.5, "1.5"),
            (1.0, "1"),
            (1e10, "1e+10"),
            (1e7, "1e+07"),
            (123_456.5, "123456.5"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
        ] {
            assert_eq!(float(number), expect);
        }
        for (number, expect) in [(1e20, "100000000000000000000"), (1e21, "1e+21"), (1e-7, "1e-7"), (0.3, "0.3")] {
            assert_eq!(json_float(number), expect);
        }
    }
}
