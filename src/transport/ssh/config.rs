//! `~/.ssh/config` as far as it is read: Host and its patterns, HostName, User, Port, IdentityFile, IdentitiesOnly, ProxyJump,
//! UserKnownHostsFile. `Match` blocks are passed over.

/// What the file says of one host. The first value found stands, as in ssh_config(5); identity files add up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HostConfig {
    pub(super) host_name: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<String>,
    pub(super) identities_only: bool,
    pub(super) proxy_jump: Option<String>,
    pub(super) known_hosts_files: Vec<String>,
}

/// Reads what a configuration's text says of a host as it was named.
pub(super) fn of_host(text: &str, host: &str) -> HostConfig {
    let mut config = HostConfig::default();
    let mut applies = true;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim().trim_matches('"');
        let first = |slot: &mut Option<String>| {
            slot.get_or_insert_with(|| value.to_owned());
        };
        match key.to_ascii_lowercase().as_str() {
            "host" => applies = matches(value, host),
            "match" => applies = false,
            _ if !applies => {}
            "hostname" => first(&mut config.host_name),
            "user" => first(&mut config.user),
            "proxyjump" => first(&mut config.proxy_jump),
            "port" => config.port = config.port.or(value.parse().ok()),
            "identityfile" => config.identity_files.push(value.to_owned()),
            "identitiesonly" => config.identities_only |= value.eq_ignore_ascii_case("yes"),
            "userknownhostsfile" if config.known_hosts_files.is_empty() => {
                config.known_hosts_files = value.split_whitespace().map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    config
}

/// Whether one of the patterns fits and none that begins with `!` does.
fn matches(patterns: &str, host: &str) -> bool {
    let fits = |pattern: &str| wildcard(pattern.as_bytes(), host.as_bytes());
    let mut words = patterns.split_whitespace();
    let denied = words.clone().filter_map(|word| word.strip_prefix('!')).any(fits);
    !denied && words.any(|word| !word.starts_with('!') && fits(word))
}

/// `*` any letters, `?` one; without regard to case.
pub(super) fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
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
    use super::{of_host, wildcard};

    const CONFIG: &str = "User early\nHost web* !web9\n  HostName 10.0.0.1\n  Port=2222\n  User late\n  IdentityFile ~/.ssh/a\n\
                          Host *\n  IdentityFile ~/.ssh/b\n  ProxyJump gate\n  Port 22\nMatch all\n  Port 1\n";

    #[test]
    fn the_first_value_stands_and_identities_add_up() {
        let config = of_host(CONFIG, "web1");
        assert_eq!(config.user.as_deref(), Some("early"));
        assert_eq!((config.host_name.as_deref(), config.port), (Some("10.0.0.1"), Some(2222)));
        assert_eq!(config.identity_files, ["~/.ssh/a", "~/.ssh/b"]);
        assert_eq!(config.proxy_jump.as_deref(), Some("gate"));
    }

    #[test]
    fn a_pattern_with_an_exclamation_mark_takes_out() {
        assert_eq!(of_host(CONFIG, "web9").port, Some(22));
    }

    #[test]
    fn stars_and_question_marks_stand_for_letters() {
        assert!(wildcard(b"*.ex?mple.org", b"a.b.EXAMPLE.org"));
        assert!(!wildcard(b"a*b", b"abc"));
    }
}
