//! Why a host's engine is not reached over SSH, in words with what helps.

use std::io;
use std::sync::{Arc, OnceLock};

use super::super::Untrusted;

/// A reason that many connections can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) struct Broken {
    /// It will not pass by itself.
    pub(super) lasting: bool,
    pub(super) words: String,
}

/// Why a connection ended, once it has, where its end of the stream is not word enough.
pub(in crate::transport) type Fate = Arc<OnceLock<Broken>>;

impl Broken {
    pub(super) fn passing(words: impl Into<String>) -> Self {
        Self { lasting: false, words: words.into() }
    }

    pub(super) fn lasting(words: impl Into<String>) -> Self {
        Self { lasting: true, words: words.into() }
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        if broken.lasting { Self::other(Untrusted(broken.words)) } else { Self::other(broken.words) }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        let lasting = error.get_ref().is_some_and(|inner| inner.is::<Untrusted>());
        Self { lasting, words: error.to_string() }
    }
}

/// Why the docker client on the host did not connect us to its engine: by what it said on standard error, and its exit code.
///
/// It was asked because the server did not open the engine's socket, for which it gives no reason.
pub(super) fn why_no_engine(user: &str, socket: &str, said: &str, code: Option<i32>) -> Broken {
    const COMMAND_NOT_FOUND: i32 = 127;
    let said = said.trim();
    let lower = said.to_lowercase();
    let tail = if said.is_empty() { String::new() } else { format!(" ({})", last_line(said)) };
    if code == Some(COMMAND_NOT_FOUND) || lower.contains("docker: command not found") || lower.contains("docker: not found") {
        return Broken::lasting(format!(
            "sshd there did not open {socket}, and `docker` is not on {user}'s PATH: is Docker installed? Else allow \
             `AllowStreamLocalForwarding` in sshd_config, and `{user}` the socket (`sudo usermod -aG docker {user}`)"
        ));
    }
    if lower.contains("permission denied") {
        return Broken::lasting(format!(
            "`{user}` may not use docker there{tail}: `sudo usermod -aG docker {user}` there lets it; it counts from the next login on"
        ));
    }
    if lower.contains("is not a docker command") || lower.contains("unknown command") {
        return Broken::lasting(format!("the docker client there is too old to pass connections on{tail}; 18.09 can"));
    }
    let dead = [
        "cannot connect to the docker daemon",
        "connection refused",
        "no such file or directory",
        "is the docker daemon running",
    ];
    if dead.iter().any(|words| lower.contains(words)) {
        return Broken::passing(format!("docker does not run there{tail}: `sudo systemctl start docker` there starts it"));
    }
    let code = code.map(|code| format!(" with code {code}")).unwrap_or_default();
    Broken::passing(format!("`docker system dial-stdio` there ended{code}{tail}"))
}

fn last_line(text: &str) -> String {
    const LETTERS_MAX: usize = 300;
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().chars().take(LETTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::why_no_engine;

    fn check(said: &str, code: Option<i32>, lasting: bool, words: &str) {
        let broken = why_no_engine("deploy", "/var/run/docker.sock", said, code);
        assert!(broken.words.contains(words), "{said}: {}", broken.words);
        assert_eq!(broken.lasting, lasting, "{said}");
    }

    #[test]
    fn what_the_docker_client_says_becomes_a_reason_with_a_remedy() {
        check("bash: line 1: docker: command not found", Some(127), true, "not on deploy's PATH");
        check("", Some(127), true, "not on deploy's PATH");
        check("dial unix /var/run/docker.sock: connect: permission denied", Some(1), true, "usermod -aG docker deploy");
        check("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", Some(1), false, "does not run");
        check("dial unix /var/run/docker.sock: connect: no such file or directory", Some(1), false, "systemctl start docker");
        check("docker: 'system' is not a docker command.", Some(1), true, "too old");
        check("motd\nsomething else\n", Some(3), false, "ended with code 3 (something else)");
        check("", None, false, "dial-stdio` there ended");
    }
}
