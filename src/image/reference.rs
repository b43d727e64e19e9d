//! Names of images, by the grammar of distribution/reference: `[HOST/]PATH[:TAG][@DIGEST]`.

const HUB: &str = "docker.io";
const TAG_CHARS_MAX: usize = 128;

/// An image's name in full: `nginx` is `docker.io/library/nginx:latest`. A digest stands instead of the tag. Nothing where it is no name.
pub fn full_name(image: &str) -> Option<String> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let begin = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[begin..].split_once(':') {
        Some((last, tag)) => (&name[..begin + last.len()], Some(tag)),
        None => (name, None),
    };
    let (host, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
        Some(_) => (HUB, name.to_owned()),
        None => (HUB, format!("library/{name}")),
    };
    let host = if host == "index.docker.io" { HUB } else { host };
    let is_fine = is_host(host) && path.split('/').all(is_component) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    is_fine.then(|| match digest {
        Some(digest) => format!("{host}/{path}@{digest}"),
        None => format!("{host}/{path}:{}", tag.unwrap_or("latest")),
    })
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    name.split('.').all(is_part) && port.is_none_or(is_number)
}

/// Small letters and digits, with one of `.`, `_`, `__` or any number of `-` between two of them.
fn is_component(component: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'.' | b'_' | b'-');
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators: Vec<&str> = component.split(|letter: char| !is_inner(letter as u8)).filter(|part| !part.is_empty()).collect();
    let is_separator = |part: &&str| matches!(*part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-');
    component.bytes().all(|byte| is_plain(byte) || is_inner(byte))
        && component.bytes().next().is_some_and(is_plain)
        && component.bytes().last().is_some_and(is_plain)
        && separators.iter().all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=TAG_CHARS_MAX).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::full_name;

    const DIGEST: &str = "@sha256:0123456789012345678901234567890123456789012345678901234567890123";

    fn check(image: &str, expected: Option<&str>) {
        assert_eq!(full_name(image).as_deref(), expected, "{image}");
    }

    #[test]
    fn what_is_left_out_is_docker_hubs_newest() {
        check("nginx", Some("docker.io/library/nginx:latest"));
        check("grafana/loki:3", Some("docker.io/grafana/loki:3"));
        check("localhost/app", Some("localhost/app:latest"));
        check("r.example:5000/team/app:1", Some("r.example:5000/team/app:1"));
        check("index.docker.io/library/a", Some("docker.io/library/a:latest"));
    }

    #[test]
    fn a_digest_stands_instead_of_the_tag() {
        check(&format!("app:1{DIGEST}"), Some(&format!("docker.io/library/app{DIGEST}")));
        check("app@sha256:12", None);
    }

    #[test]
    fn what_is_no_name_is_none() {
        for image in ["", "Nginx", "a//b", "-a", "a..b", "a:", "a:é", "${IMAGE}", "a b", "é", "a.b/é"] {
            check(image, None);
        }
    }
}
