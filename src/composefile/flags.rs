//! The file's short forms where they stand on a command line: `-p 80:80`, `-v data:/data`, `--entrypoint "sh -c"`.

use super::node::Tag;
use super::short_forms::{port, volume, words};
use super::{Node, Span, bind, dotenv};
use crate::project::{Mount, Port, Protocol};

/// `[[HOST_IP:]PUBLISHED:]TARGET[/PROTOCOL]`; a range is several. Or what is wrong.
pub fn ports(short: &str) -> Result<Vec<Port>, String> {
    let long = |port: port::Port| Port {
        mode: Some("ingress".to_owned()),
        host_ip: Some(port.host_ip).filter(|ip| !ip.is_empty()),
        target: port.target,
        published: Some(port.published).filter(|published| !published.is_empty()),
        protocol: match port.protocol.as_str() {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        ..Port::default()
    };
    Ok(port::parse(short)?.into_iter().map(long).collect())
}

/// `[SOURCE:]TARGET[:OPTIONS]`, or what is wrong. Paths stay as they are.
pub fn mount(short: &str) -> Result<Mount, String> {
    let value = volume::parse(short, Span::default())?;
    let node = Node { span: Span::default(), tag: Tag::None, value };
    bind::value(&node).map_err(|why| format!("`{short}`: {why}"))
}

/// A command as one text to its words.
pub fn command(text: &str) -> Result<Vec<String>, String> {
    words::split(text)
}

/// The variables of a file in the form of `env_file`; one without a value is taken from `known`, or left out.
pub fn variables_of_file(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, String> {
    dotenv::parse(text, known).map_err(|error| format!("line {}: {}", error.line, error.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_mounts_are_those_of_the_file() {
        let port = |target: u16, published: &str| Port {
            mode: Some("ingress".to_owned()),
            target,
            published: Some(published.to_owned()),
            protocol: Protocol::Udp,
            ..Port::default()
        };
        assert_eq!(ports("8000-8001:80-81/udp"), Ok(vec![port(80, "8000"), port(81, "8001")]));
        assert!(ports("x").is_err());
        let found = mount("data:/data:ro,nocopy").expect("it is a good mount");
        assert_eq!((found.kind.as_str(), found.source.as_deref(), found.read_only), ("volume", Some("data"), true));
        assert!(found.volume.is_some_and(|volume| volume.nocopy));
        let found = mount("./a:/b").expect("it is a good mount");
        assert_eq!((found.kind.as_str(), found.source.as_deref(), found.target.as_str()), ("bind", Some("./a"), "/b"));
        assert!(mount("aa:/b:ro:x").is_err());
    }
}
