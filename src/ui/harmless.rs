//! Text from elsewhere made safe to show.

/// Control characters, escape sequences with them, as visible text; line ends and tabs stay.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c.to_string(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(harmless("a\x1b[31mb\rc\td\n"), "a\\u{1b}[31mb\\rc\td\n");
    }
}
