//! Whether a `Host` or `Match` block applies.

use super::words::fits_any;
use super::{HostConfig, Query};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    Applies,
    Never,
    /// A `Match` whose criterion is not judged here, and that would apply otherwise.
    Unknown {
        criterion: String,
    },
}

fn applies(it_does: bool) -> Block {
    if it_does { Block::Applies } else { Block::Never }
}

/// By the name as it was given, before HostName.
pub(super) fn of_host(patterns: &[String], query: &Query<'_>) -> Block {
    applies(fits_any(patterns.iter().map(String::as_str), query.host))
}

/// All criteria must hold. `host` is judged by HostName as it is known so far, `user` by who logs in as known so far.
pub(super) fn of_match(arguments: &[String], query: &Query<'_>, config: &HostConfig) -> Block {
    let mut words = arguments.iter();
    let mut unknown = None;
    while let Some(word) = words.next() {
        // OpenSSH takes `host=pattern` as well.
        let (word, inline) = word.split_once('=').map_or((word.as_str(), None), |(word, value)| (word, Some(value)));
        let (wanted, criterion) = word.strip_prefix('!').map_or((true, word), |criterion| (false, criterion));
        let criterion = criterion.to_ascii_lowercase();
        let mut value = || inline.or_else(|| words.next().map(String::as_str)).unwrap_or_default();
        let holds = |value: &str, text: &str| fits_any(value.split(','), text) == wanted;
        let holds = match criterion.as_str() {
            "all" => wanted,
            "host" => holds(value(), &host_name(query, config)),
            "originalhost" => holds(value(), query.host),
            "user" => holds(value(), user(query, config)),
            "localuser" => holds(value(), query.local_user),
            // The file is read once here: neither block would be reached at that point.
            "canonical" | "final" => !wanted,
            other => {
                unknown.get_or_insert(other.to_owned());
                value();
                true
            }
        };
        if !holds {
            return Block::Never;
        }
    }
    unknown.map_or_else(|| applies(!arguments.is_empty()), |criterion| Block::Unknown { criterion })
}

fn host_name(query: &Query<'_>, config: &HostConfig) -> String {
    config.host_name.as_ref().map_or_else(|| query.host.to_owned(), |name| name.replace("%h", query.host))
}

fn user<'a>(query: &Query<'a>, config: &'a HostConfig) -> &'a str {
    query.user.or(config.user.as_deref()).unwrap_or(query.local_user)
}
