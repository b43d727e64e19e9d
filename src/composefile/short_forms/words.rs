//! A command as one text, split as docker compose splits it.

/// What keeps separators from separating.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    Single,
    Double,
    Back,
    /// `$(…)`, or whatever is between two lone closing parentheses.
    Dollar,
}

/// Splits at spaces, tabs and newlines; quotes, backquotes, `$(…)` and backslashes keep together, and nothing is expanded.
///
/// As in docker compose, whatever follows a free `;`, `|`, `&`, `<` or `>` is lost; a free opening parenthesis is an error.
pub(in crate::composefile) fn split(text: &str) -> Result<Vec<String>, String> {
    read(text).map(|(words, _)| words)
}

/// What of a command is lost so: from the operator on.
pub(in crate::composefile) fn lost(text: &str) -> Option<&str> {
    let (_, end) = read(text).ok()?;
    text.get(end..).filter(|lost| !lost.is_empty())
}

/// The words, and how many bytes of the text they come from.
fn read(text: &str) -> Result<(Vec<String>, usize), String> {
    let mut end = text.len();
    let mut words = Vec::new();
    let mut word = String::new();
    let mut has_word = false;
    let mut group: Option<Group> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, group) {
            ('\\', group) if group != Some(Group::Single) => {
                let next = chars.next().ok_or_else(|| unfinished(text))?;
                word.push(next);
                has_word = true;
                continue;
            }
            (' ' | '\t' | '\r' | '\n', None) => {
                if has_word {
                    words.push(std::mem::take(&mut word));
                    has_word = false;
                }
                continue;
            }
            ('\'', None) => group = Some(Group::Single),
            ('"', None) => group = Some(Group::Double),
            ('\'', Some(Group::Single)) | ('"', Some(Group::Double)) => {
                group = None;
                has_word = true;
            }
            ('(', None) if word.ends_with('$') => {
                group = Some(Group::Dollar);
                word.push(c);
                has_word = true;
            }
            ('(', None | Some(Group::Dollar)) => return Err(format!("`{text}` has an unquoted parenthesis")),
            (';' | '|' | '&' | '<' | '>', None) => {
                // `2>` goes with what it redirects.
                let is_descriptor = c == '>' && word.starts_with(|c: char| c.is_ascii_digit());
                has_word &= !is_descriptor;
                end -= chars.as_str().len() + c.len_utf8();
                break;
            }
            (c, current) => {
                group = match (c, current) {
                    ('`', None) => Some(Group::Back),
                    (')', None) => Some(Group::Dollar),
                    ('`', Some(Group::Back)) | (')', Some(Group::Dollar)) => None,
                    (_, current) => current,
                };
                word.push(c);
                has_word = true;
            }
        }
    }
    if group.is_some() {
        return Err(unfinished(text));
    }
    if has_word {
        words.push(word);
    }
    Ok((words, end))
}

fn unfinished(text: &str) -> String {
    format!("`{text}` ends within a quote, within parentheses or after a backslash")
}

#[cfg(test)]
mod tests {
    use super::{lost, split};

    fn check(text: &str, expect: &[&str]) {
        assert_eq!(split(text).as_deref(), Ok(&expect.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()[..]), "{text}");
    }

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        check("a  'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]);
        check("a '' \"\"", &["a", "", ""]);
        check("sh -c \"echo \\\"x\\\"\"", &["sh", "-c", "echo \"x\""]);
        check("a 'x\\y' b\\nc", &["a", "x\\y", "bnc"]);
        check("a#b # c", &["a#b", "#", "c"]);
    }

    #[test]
    fn substitutions_stay_as_they_are() {
        check("a $(b ; c) `d e` f", &["a", "$(b ; c)", "`d e`", "f"]);
        check("$(a \"b)", &["$(a \"b)"]);
        check("a b) c)", &["a", "b) c)"]);
    }

    #[test]
    fn what_follows_an_operator_is_lost() {
        check("a b | c", &["a", "b"]);
        check("a;b", &["a"]);
        check("\"a | b\"", &["a | b"]);
        check("a 2>x", &["a"]);
        check("a12>x", &["a12"]);
        assert_eq!(lost("ä b && c"), Some("&& c"));
        assert_eq!(lost("a '&& b' $(c; d)"), None);
    }

    #[test]
    fn what_is_not_closed_is_an_error() {
        for text in ["'a", "a\\", "(a)", "a b)"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
