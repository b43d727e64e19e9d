//! The grammar of a line of ssh_config(5), and its patterns.

/// The keyword in lower case and its arguments; nothing where the line is empty or a comment.
///
/// `Key value`, `Key=value` and `Key = value` are the same; quotes keep spaces together; a bare `#` begins a comment.
pub(super) fn split(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    let key_end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let key = line[..key_end].trim_matches('"');
    if key.is_empty() || key.starts_with('#') {
        return None;
    }
    let rest = line[key_end..].trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Some((key.to_ascii_lowercase(), arguments(rest)))
}

fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match (c, quote) {
            ('\\', _) if letters.peek().is_some_and(|next| matches!(next, '"' | '\'' | '\\')) => {
                word.get_or_insert_default().extend(letters.next());
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Whether one of the patterns fits and none that begins with `!` does.
pub(in super::super) fn fits_any<'a>(patterns: impl Iterator<Item = &'a str> + Clone, text: &str) -> bool {
    let fits = |pattern: &str| wildcard(pattern.as_bytes(), text.as_bytes());
    let denied = patterns.clone().filter_map(|pattern| pattern.strip_prefix('!')).any(fits);
    !denied && patterns.filter(|pattern| !pattern.starts_with('!')).any(fits)
}

/// `*` any letters, `?` one; without regard to case.
pub(in super::super) fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || c.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::{fits_any, split, wildcard};

    fn check(line: &str, key: &str, words: &[&str]) {
        let (got, arguments) = split(line).expect("it is a line");
        assert_eq!((got.as_str(), arguments.iter().map(String::as_str).collect::<Vec<_>>()), (key, words.to_vec()), "{line}");
    }

    #[test]
    fn a_line_is_a_keyword_and_its_words() {
        check("  HostName 10.0.0.1  ", "hostname", &["10.0.0.1"]);
        check("Port=2222", "port", &["2222"]);
        check("User = \"a b\" c", "user", &["a b", "c"]);
        check("IdentityFile '~/my keys/id' # the old one", "identityfile", &["~/my keys/id"]);
        check("User \"say \\\"hi\\\"\"", "user", &["say \"hi\""]);
        check("Include", "include", &[]);
        assert_eq!(split("  # Host x"), None);
        assert_eq!(split(""), None);
    }

    #[test]
    fn stars_and_question_marks_stand_for_letters() {
        assert!(wildcard(b"*.ex?mple.org", b"a.b.EXAMPLE.org"));
        assert!(!wildcard(b"a*b", b"abc"));
        assert!(!wildcard(b"", b"a"));
    }

    #[test]
    fn a_pattern_with_an_exclamation_mark_takes_out_wherever_it_stands() {
        let fits = |patterns: &str, text: &str| fits_any(patterns.split(' '), text);
        assert!(fits("web* !web9", "web1"));
        assert!(!fits("!web9 web*", "web9"));
        assert!(!fits("!web9", "web1"), "a denial alone fits nothing");
    }
}
