//! Short texts with a long meaning: ports, volumes, devices, sizes, command lines.

/// A volume's short form, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct VolumeText {
    pub(super) source: Option<String>,
    pub(super) target: String,
    pub(super) options: Vec<String>,
}

impl VolumeText {
    /// A path of the host rather than a volume's name.
    pub(super) fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(|source| source.starts_with(['.', '/', '~', '\\']) || has_drive(source))
    }
}

fn has_drive(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':'
}

/// `[source:]target[:options]`
pub(super) fn volume(text: &str) -> VolumeText {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(':') {
        // `C:\path`: one letter, and the colon belongs to it.
        match parts.last_mut() {
            Some(last) if last.len() == 1 && last.chars().all(|c| c.is_ascii_alphabetic()) && part.starts_with(['\\', '/']) => {
                last.push(':');
                last.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
    }
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(target), None, _) => VolumeText { source: None, target: clean(&target), options: Vec::new() },
        (Some(source), Some(target), options) => VolumeText {
            source: Some(source),
            target: clean(&target),
            options: options.map(|options| options.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        },
        (None, ..) => VolumeText::default(),
    }
}

/// A slash path without `.`, `..` and doubled slashes, as Go's path.Clean gives it.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// A published port, long form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortText {
    pub(super) host_ip: Option<String>,
    pub(super) published: Option<String>,
    pub(super) target: u16,
    pub(super) protocol: String,
}

/// `[[host_ip:]published:]target[/protocol]` with ranges; one entry per container port.
pub(super) fn ports(text: &str) -> Result<Vec<PortText>, String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("Invalid proto: {protocol}"));
    }
    let (rest, target) = rest.rsplit_once(':').map_or((None, rest), |(rest, target)| (Some(rest), target));
    let (host_ip, published) = match rest {
        None => (None, ""),
        Some(rest) => match rest.rsplit_once(':') {
            Some((ip, published)) => (Some(ip.trim_start_matches('[').trim_end_matches(']').to_owned()), published),
            None => (None, rest),
        },
    };
    if host_ip.as_deref().is_some_and(|ip| !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err()) {
        return Err(format!("Invalid ip address: {}", host_ip.unwrap_or_default()));
    }
    let targets = range(target).ok_or_else(|| match target {
        "" => format!("No port specified: {text}<empty>"),
        target => format!("Invalid containerPort: {target}"),
    })?;
    let published_range = match published {
        "" => None,
        text => Some(range(text).ok_or_else(|| format!("Invalid hostPort: {text}"))?),
    };
    let count = targets.1 - targets.0;
    if let Some(published) = published_range.filter(|published| published.1 - published.0 != count && count > 0) {
        let (from, to) = published;
        return Err(format!(
            "Invalid ranges specified for container and host Ports: {}-{} and {from}-{to}",
            targets.0, targets.1
        ));
    }
    let published_of = |offset: u16| {
        published_range.map(|(from, to)| match count {
            0 if to > from => format!("{from}-{to}"),
            _ => (from + offset).to_string(),
        })
    };
    let mut all: Vec<PortText> = (0..=count)
        .map(|offset| PortText {
            host_ip: host_ip.clone().filter(|ip| !ip.is_empty()),
            published: published_of(offset),
            target: targets.0 + offset,
            protocol: protocol.clone(),
        })
        .collect();
    all.sort_by_key(|port| format!("{}/{}", port.target, port.protocol));
    Ok(all)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

/// Bytes of `1.5g`, `512M`, `10 kb` …: units of 1024, any case.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(if text.starts_with('-') { text.len() } else { split });
    let factor: f64 = match unit.trim().to_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0_f64.powi(4),
        "p" | "pb" | "pib" => 1024.0_f64.powi(5),
        _ => return None,
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(factor as i64);
    }
    let value = number.parse::<f64>().ok()? * factor;
    value.is_finite().then_some(value as i64)
}

/// A command line split as a shell splits words: quotes and backslashes, no variables. An unquoted `;`, `|`, `&`, `<` or `>`
/// ends it, as docker compose's parser does.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            ';' | '|' | '&' | '<' | '>' => break,
            '(' => return Err("invalid command line string".to_owned()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("invalid command line string: a quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(c) => word.push(c),
                        None => return Err("invalid command line string: a quote is not closed".to_owned()),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{bytes, clean, ports, volume, words};

    #[test]
    fn volumes_are_taken_apart() {
        let parts = |text: &str| {
            let volume = volume(text);
            format!("{:?} {} {:?}", volume.source.as_deref(), volume.target, volume.options)
        };
        assert_eq!(parts("/data"), "None /data []");
        assert_eq!(parts("db:/var/lib:ro,z"), "Some(\"db\") /var/lib [\"ro\", \"z\"]");
        assert_eq!(parts("./a:/b/../c"), "Some(\"./a\") /c []");
    }

    #[test]
    fn ports_are_taken_apart() {
        let all = |text: &str| {
            let ports = ports(text)?;
            let text = |p: &super::PortText| {
                let (ip, published) = (p.host_ip.as_deref().unwrap_or("-"), p.published.as_deref().unwrap_or("-"));
                format!("{ip} {published} {}/{}", p.target, p.protocol)
            };
            Ok::<_, String>(ports.iter().map(text).collect::<Vec<_>>().join(", "))
        };
        assert_eq!(all("80"), Ok("- - 80/tcp".to_owned()));
        assert_eq!(all("127.0.0.1:8080-8081:80-81/UDP"), Ok("127.0.0.1 8080 80/udp, 127.0.0.1 8081 81/udp".to_owned()));
        assert_eq!(all("7000-7010:80"), Ok("- 7000-7010 80/tcp".to_owned()));
        assert_eq!(all("[::1]:80:80"), Ok("::1 80 80/tcp".to_owned()));
        assert!(all("1-3:3-4").is_err() && all("x").is_err() && all("70000").is_err() && all("1:2:3:80").is_err());
    }

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(bytes("1.5g"), Some(1_610_612_736));
        assert_eq!(bytes("512 MB"), Some(536_870_912));
        assert_eq!(bytes("-1"), Some(-1));
        assert_eq!(bytes("1x"), None);
    }

    #[test]
    fn command_lines_are_split_like_a_shell_does() {
        assert_eq!(words("a 'b c' \"d\\\"e\" f\\ g"), Ok(vec!["a".into(), "b c".into(), "d\"e".into(), "f g".into()]));
        assert_eq!(words("a | b"), Ok(vec!["a".into()]));
        assert!(words("a 'b").is_err());
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean("/a//b/./../c/"), "/a/c");
        assert_eq!(clean("../a"), "../a");
    }
}
