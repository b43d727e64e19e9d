//! Advice for failures of engines, by what they say.

use crate::engine::{EngineError, ErrorKind};
use crate::inventory::LOCAL_HOST;
use crate::project::HostName;

/// What helps against an error, where something is known to.
pub fn of(error: &EngineError) -> Option<String> {
    let host = &error.host;
    let message = error.message.to_lowercase();
    by_words(&message, host).or_else(|| match error.kind {
        ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Untrusted => of_unreachable(host, &error.message),
        ErrorKind::NoLeader => Some(
            "the swarm has no leader: are most of its managers up? `mcompose hosts ls` shows them, and with more than half of them \
             gone nothing new starts until they are back"
                .to_owned(),
        ),
        _ if error.call.starts_with("pull") => Some(format!(
            "an image that no registry has must come from elsewhere: `mcompose image ship` brings it to {host} from a host, or from \
             this machine, that has it"
        )),
        _ => None,
    })
}

/// What helps where a host cannot be reached; `why` is what was said of it.
pub fn of_unreachable(host: &HostName, why: &str) -> Option<String> {
    let why = why.to_lowercase();
    let is_local = host.as_str() == LOCAL_HOST;
    Some(match () {
        () if why.contains("permission denied") && is_local => {
            "this user may not speak with docker: run as root, or `usermod -aG docker USER` and log in anew".to_owned()
        }
        () if is_local && why.contains("no such file") => {
            "is Docker running here? Without a hosts.toml the local engine is the one host; `mcompose hosts add` begins one"
                .to_owned()
        }
        () if is_local => {
            "is Docker running here? DOCKER_HOST and the current docker context say where it is looked for".to_owned()
        }
        () => format!("`mcompose hosts check {host}` tells what is wrong"),
    })
}

/// The first words of the table that are all in a message decide.
fn by_words(message: &str, host: &HostName) -> Option<String> {
    let (_, advice) = ADVICE.iter().find(|(words, _)| words.iter().all(|word| message.contains(word)))?;
    Some(advice.replace("HOST", host.as_str()))
}

/// Words of engines in lower case, and what then helps.
const ADVICE: &[(&[&str], &str)] = &[
    (&["port is already allocated"], PORT_TAKEN),
    (&["bind: address already in use"], PORT_TAKEN),
    (&["address already in use"], "the fixed address is another container's: `docker network inspect` on HOST shows whose"),
    (&["is already in use by container"], NAME_TAKEN),
    (&["pool overlaps"], "give the network another `ipam` subnet; `docker network ls` on HOST shows those that are there"),
    (&["non-overlapping"], POOLS_USED_UP),
    (&["fully subnetted"], POOLS_USED_UP),
    (
        &["no space left on device"],
        "the disk of HOST is full: `docker system df` there shows by what, `docker system prune` frees some",
    ),
    (&["mcompose needs one of"], "HOST needs Docker 20.10 or newer"),
    (&["needs to be unlocked"], "the swarm of HOST is locked: `docker swarm unlock` there"),
    (
        &["/run/mcompose/secrets"],
        "the secret lies encrypted on HOST: `mcompose start`, `up` or `supervise` where its key is, `mcompose.key` beside hosts.toml or \
         MCOMPOSE_KEY, opens it",
    ),
    (&["bind source path does not exist"], "the path must be there on HOST; a named volume is made by itself"),
    (&["no such image"], "no registry gave it and HOST does not have it: `mcompose image ship` brings it there"),
    (
        &["no matching manifest"],
        "the image is not made for the processor of HOST: `platform:` or a placement constraint on node.platform.arch helps",
    ),
    (&["exec format error"], "the image is made for another processor than that of HOST: see `platform:`"),
    (&["executable file not found"], "the image has no such program: look at `command:` and `entrypoint:`"),
    (
        &["could not select device driver"],
        "HOST has no such device: a placement constraint keeps the service on hosts that have it",
    ),
    (
        &["toomanyrequests"],
        "the registry allows HOST no more pulls for now: wait, `docker login` here, or bring the image with `mcompose image ship`",
    ),
    (&["pull access denied"], NO_LOGIN),
    (&["unauthorized"], NO_LOGIN),
    (&["no basic auth credentials"], NO_LOGIN),
    (&["could not attach to network"], NOT_ATTACHABLE),
    (&["not manually attachable"], NOT_ATTACHABLE),
    (&["entitlement", "not allowed"], ENTITLED),
    (&["has active endpoints"], "containers of others use it: `docker network inspect` on HOST shows which"),
    (&["volume is in use"], "a container of others uses it: `docker ps -a --filter volume=NAME` on HOST shows which"),
];

const PORT_TAKEN: &str = "something else on HOST holds the port: `docker ps` there shows containers, `ss -ltnp` other programs";
const NAME_TAKEN: &str = "a container that is not of this project has the name on HOST: rename or remove it there, or use another \
                          project name (`-p`)";
const POOLS_USED_UP: &str = "HOST has no addresses left for networks: `docker network prune` there frees some, or give the network a \
                             subnet with `ipam`";
const ENTITLED: &str = "the engine on HOST allows it once its daemon.json says `{\"builder\": {\"Entitlements\": {\"security-insecure\": true}}}` \
                        (or `network-host`)";
const NO_LOGIN: &str = "the registry does not give it without a password, or has no such image: `docker login` on this machine is what \
                        mcompose pulls with on every host";
const NOT_ATTACHABLE: &str = "the network is not attachable: networks made by others need `--attachable`";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ErrorKind, message: &str, expected: &str) {
        let host = HostName::new("h1").expect("it is a host name");
        let error = EngineError { host, call: "create container `web-1`".to_owned(), kind, message: message.to_owned() };
        let hint = of(&error).unwrap_or_default();
        assert!(hint.contains(expected), "{message}: {hint}");
    }

    #[test]
    fn what_engines_say_gets_its_advice() {
        let conflict = "Conflict. The container name \"/web-1\" is already in use by container \"4f\". You have to remove (or rename) \
                        that container to be able to reuse that name.";
        check(ErrorKind::Conflict, conflict, "not of this project");
        let port = "driver failed programming external connectivity on endpoint web-1: Bind for 0.0.0.0:80 failed: port is already \
                    allocated";
        check(ErrorKind::Failed, port, "holds the port");
        check(ErrorKind::Failed, "listen tcp4 0.0.0.0:80: bind: address already in use", "holds the port");
        check(ErrorKind::Failed, "Address already in use", "fixed address");
        check(ErrorKind::Refused, "Pool overlaps with other one on this address space", "another `ipam` subnet");
        check(
            ErrorKind::NotFound,
            "could not find an available, non-overlapping IPv4 address pool among the defaults",
            "no addresses left",
        );
        check(ErrorKind::Failed, "write /var/lib/docker/tmp: no space left on device", "disk of h1 is full");
        check(ErrorKind::Refused, "it speaks API 1.12 to 1.40; mcompose needs one of 1.41 to 1.51", "Docker 20.10");
        check(ErrorKind::NoLeader, "The swarm does not have a leader.", "most of its managers");
        check(ErrorKind::Unreachable, "connection refused", "hosts check h1");
        let closed = "invalid mount config for type \"bind\": bind source path does not exist: /run/mcompose/secrets/1f/file";
        check(ErrorKind::Refused, closed, "lies encrypted on h1");
        check(ErrorKind::NotFound, "No such image: x:1", "mcompose image ship");
    }

    #[test]
    fn the_local_engine_is_looked_for_here() {
        let local = HostName::new(LOCAL_HOST).expect("it is a host name");
        let of = |why: &str| of_unreachable(&local, why).unwrap_or_default();
        assert!(of("/var/run/docker.sock: Permission denied (os error 13)").contains("usermod -aG docker"));
        assert!(of("/var/run/docker.sock: No such file or directory").contains("is Docker running here?"));
    }
}
