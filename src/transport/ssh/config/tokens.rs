//! The `%` tokens of ssh_config(5).

/// What the tokens stand for.
pub(in super::super) struct Tokens<'a> {
    pub(in super::super) home: &'a str,
    /// `%h`: after HostName.
    pub(in super::super) host: &'a str,
    /// `%n`: as it was named.
    pub(in super::super) original: &'a str,
    pub(in super::super) port: u16,
    /// `%r`: who logs in.
    pub(in super::super) user: &'a str,
    pub(in super::super) local_user: &'a str,
    /// `%k`: HostKeyAlias, else the name as it was given.
    pub(in super::super) key_alias: &'a str,
}

/// A path with `~` and tokens replaced. The token that is not known here is the error.
pub(in super::super) fn expand(text: &str, tokens: &Tokens<'_>) -> Result<String, String> {
    let text = match text.strip_prefix("~/") {
        Some(rest) => format!("{}/{rest}", tokens.home),
        None => text.to_owned(),
    };
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match letters.next() {
            Some('%') => out.push('%'),
            Some('d') => out.push_str(tokens.home),
            Some('h') => out.push_str(tokens.host),
            Some('n') => out.push_str(tokens.original),
            Some('p') => out.push_str(&tokens.port.to_string()),
            Some('r') => out.push_str(tokens.user),
            Some('u') => out.push_str(tokens.local_user),
            Some('k') => out.push_str(tokens.key_alias),
            other => return Err(format!("%{}", other.map(String::from).unwrap_or_default())),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Tokens, expand};

    fn check(text: &str, expect: Result<&str, &str>) {
        let tokens = Tokens {
            home: "/home/me",
            host: "10.0.0.1",
            original: "alpha",
            port: 22,
            user: "deploy",
            local_user: "me",
            key_alias: "alpha",
        };
        assert_eq!(expand(text, &tokens).as_deref().map_err(String::as_str), expect, "{text}");
    }

    #[test]
    fn tokens_are_replaced_and_the_unknown_are_named() {
        check("~/.ssh/%n-%r", Ok("/home/me/.ssh/alpha-deploy"));
        check("%d/keys/%h:%p", Ok("/home/me/keys/10.0.0.1:22"));
        check("/a/100%%/%u/%k", Ok("/a/100%/me/alpha"));
        check("/a/%C", Err("%C"));
        check("/a/%", Err("%"));
    }
}
