//! Numbers of bytes with their units.

/// Reads `1.5g`, `64 MiB`, `100`: a number, then a unit of powers of 1024 in any case. Fractions of a byte are cut off.
pub(in crate::composefile) fn parse(text: &str) -> Option<i64> {
    let digits = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let number: f64 = number.parse().ok().filter(|number| *number >= 0.0)?;
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some((number * 1024_f64.powi(power)) as i64)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn units_are_powers_of_1024_in_any_case() {
        for (text, bytes) in
            [("5", 5), ("1k", 1024), ("1KiB", 1024), ("1.5g", 1_610_612_736), ("64 MB", 67_108_864), ("1e3", 1000)]
        {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "x", "1x", "1 gig", "b", "-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
