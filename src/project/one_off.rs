//! What `run` changes in a service before a container is made from it (docker compose, `pkg/compose/run.go`).

use super::names::HostName;
use super::service::{Mode, Mount, Port, Service};

/// The command line of one container beside a service's replicas. What is not said stays as the service has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OneOff {
    pub command: Vec<String>,
    /// An empty one clears the image's own. Without a command of its own the service's command is not its argument.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=VALUE` is set.
    pub environment: Vec<(String, String)>,
    pub labels: Vec<(String, String)>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    /// In addition to the service's own.
    pub mounts: Vec<Mount>,
    pub ports: Ports,
    pub pull_policy: Option<String>,
    pub tty: bool,
    pub interactive: bool,
    /// The one host that will do.
    pub host: Option<HostName>,
}

/// Which ports of the host the container takes. The service's replicas have the service's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Ports {
    These(Vec<Port>),
    /// `--service-ports`
    OfTheService,
}

impl Default for Ports {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl OneOff {
    /// The service that one container is made from: one replica, which nobody starts again, wherever the service's may be.
    pub fn of(&self, service: &Service) -> Service {
        let mut made = service.clone();
        made.scale = Some(1);
        made.restart = None;
        made.tty = self.tty;
        made.stdin_open = self.interactive;
        if !self.command.is_empty() {
            made.command = Some(self.command.clone());
        }
        if let Some(entrypoint) = &self.entrypoint {
            made.entrypoint = Some(entrypoint.clone());
            if self.command.is_empty() {
                made.command = Some(Vec::new());
            }
        }
        made.environment.extend(self.environment.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
        made.labels.extend(self.labels.iter().cloned());
        made.user = self.user.clone().or(made.user);
        made.working_dir = self.working_dir.clone().or(made.working_dir);
        exchange(&mut made.cap_add, &mut made.cap_drop, &self.cap_add);
        exchange(&mut made.cap_drop, &mut made.cap_add, &self.cap_drop);
        made.volumes.extend(self.mounts.iter().cloned());
        if let Ports::These(ports) = &self.ports {
            made.ports.clone_from(ports);
        }
        made.pull_policy = self.pull_policy.clone().or(made.pull_policy);
        // The hooks are those of a replica's life.
        made.pre_start.clear();
        made.post_start.clear();
        made.pre_stop.clear();
        if self.host.is_some() || made.deploy.is_some() {
            let deploy = made.deploy.get_or_insert_default();
            deploy.mode = Mode::Replicated;
            deploy.replicas = None;
            deploy.restart_policy = None;
            deploy.placement.max_replicas_per_node = None;
            deploy.placement.constraints.extend(self.host.iter().map(|host| format!("node.hostname == {host}")));
        }
        made
    }
}

/// Adds to one list what leaves the other.
fn exchange(to: &mut Vec<String>, from: &mut Vec<String>, items: &[String]) {
    to.extend(items.iter().cloned());
    from.retain(|item| !items.contains(item));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn service() -> Service {
        Service {
            command: Some(words("serve --all")),
            entrypoint: Some(words("/entry")),
            restart: Some("always".to_owned()),
            environment: [("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)].into(),
            cap_add: words("NET_ADMIN"),
            cap_drop: words("CHOWN"),
            ports: vec![Port { target: 80, published: Some("8080".to_owned()), ..Port::default() }],
            scale: Some(3),
            ..Service::default()
        }
    }

    #[test]
    fn it_is_one_container_that_nobody_starts_again_and_takes_no_port() {
        let made = OneOff::default().of(&service());
        assert_eq!((made.replicas(), made.restart, made.ports), (1, None, Vec::new()));
        assert_eq!((made.command, made.entrypoint), (Some(words("serve --all")), Some(words("/entry"))));
    }

    #[test]
    fn another_entrypoint_is_not_given_the_services_command() {
        let entrypoint = OneOff { entrypoint: Some(words("sh -c")), ..OneOff::default() };
        let made = entrypoint.of(&service());
        assert_eq!((made.command, made.entrypoint), (Some(Vec::new()), Some(words("sh -c"))));
        let both = OneOff { command: words("id"), ..entrypoint };
        assert_eq!(both.of(&service()).command, Some(words("id")));
    }

    #[test]
    fn what_is_said_goes_before_what_the_service_has() {
        let one_off = OneOff {
            environment: vec![("B".to_owned(), "2".to_owned())],
            cap_add: words("CHOWN"),
            cap_drop: words("NET_ADMIN"),
            user: Some("1000".to_owned()),
            ports: Ports::OfTheService,
            host: HostName::new("h2").ok(),
            ..OneOff::default()
        };
        let made = one_off.of(&service());
        let environment: Vec<_> = made.environment.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(environment, [("A", Some("1")), ("B", Some("2"))]);
        assert_eq!((made.cap_add, made.cap_drop), (words("CHOWN"), words("NET_ADMIN")));
        assert_eq!((made.user.as_deref(), made.ports.len()), (Some("1000"), 1));
        assert_eq!(made.deploy.expect("it has a host").placement.constraints, ["node.hostname == h2"]);
    }
}
