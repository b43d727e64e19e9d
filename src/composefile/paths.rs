//! Relative paths against the directory of the project.

use super::{Node, Value};

/// What paths are resolved against.
pub(super) struct Base<'a> {
    /// Absolute.
    pub directory: &'a str,
    /// What `~` stands for, where it is known.
    pub home: Option<&'a str>,
    /// Follows symbolic links; gives back what it cannot follow.
    pub follow_links: &'a dyn Fn(&str) -> String,
}

/// Makes absolute what docker compose makes absolute: bind sources, build contexts, env and label files, files of configs and
/// secrets, watched paths, the device of a local volume that is a bind mount, and the file of `extends`.
pub(super) fn make_absolute(document: &mut Node, base: &Base<'_>) {
    for (_, service) in document.entries_mut("services") {
        service_paths(service, base);
    }
    for section in ["configs", "secrets"] {
        for (_, object) in document.entries_mut(section) {
            change(object, "file", |path| base.join(path));
        }
    }
    for (_, volume) in document.entries_mut("volumes") {
        let is_local = volume.text_at("driver").is_none_or(|driver| driver == "local" || driver.is_empty());
        if let Some(options) = volume.get_mut("driver_opts")
            && is_local
            && options.text_at("o") == Some("bind")
        {
            change(options, "device", |path| base.join(path));
        }
    }
}

fn service_paths(service: &mut Node, base: &Base<'_>) {
    if let Some(build) = service.get_mut("build") {
        change(build, "context", |path| base.context(path));
        for (_, context) in build.entries_mut("additional_contexts") {
            change_text(context, |path| base.context(path));
        }
        for (_, key) in build.entries_mut("ssh") {
            change_text(key, |path| base.join(path));
        }
    }
    for env_file in service.items_mut("env_file") {
        change(env_file, "path", |path| base.file(path));
    }
    for label_file in service.items_mut("label_file") {
        change_text(label_file, |path| base.file(path));
    }
    if let Some(extends) = service.get_mut("extends") {
        change(extends, "file", |path| base.file(path));
    }
    for mount in service.items_mut("volumes").iter_mut().filter(|mount| mount.text_at("type") == Some("bind")) {
        change(mount, "source", |path| base.join(path));
    }
    if let Some(develop) = service.get_mut("develop") {
        for rule in develop.items_mut("watch") {
            change(rule, "path", |path| (base.follow_links)(&base.file(path)));
        }
    }
}

fn change(node: &mut Node, key: &str, change: impl FnOnce(&str) -> String) {
    if let Some(node) = node.get_mut(key) {
        change_text(node, change);
    }
}

fn change_text(node: &mut Node, change: impl FnOnce(&str) -> String) {
    if let Value::Text(text) = &mut node.value {
        *text = change(text);
    }
}

impl Base<'_> {
    /// An empty path is the directory itself.
    pub(super) fn join(&self, path: &str) -> String {
        let path = self.expand_home(path);
        if path.starts_with('/') || is_windows_absolute(&path) { path } else { clean(&format!("{}/{path}", self.directory)) }
    }

    /// An empty path stays empty.
    pub(super) fn file(&self, path: &str) -> String {
        if path.is_empty() { String::new() } else { self.join(path) }
    }

    /// The place of a build context that is no directory of this machine stays as it is.
    fn context(&self, path: &str) -> String {
        if path.contains("://") || path.starts_with("service:") || is_remote(path) { path.to_owned() } else { self.file(path) }
    }

    fn expand_home(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(""), Some(home)) => home.to_owned(),
            (Some(rest), Some(home)) if rest.starts_with('/') => clean(&format!("{home}{rest}")),
            _ => path.to_owned(),
        }
    }
}

/// Whether a name of a Compose file is one of those that docker compose fetches from elsewhere: a git repository or an OCI artifact.
pub(super) fn is_remote_file(name: &str) -> bool {
    name.contains("://") || is_remote(name)
}

fn is_remote(context: &str) -> bool {
    ["https://", "http://", "git://", "ssh://", "github.com/", "git@"].iter().any(|prefix| context.starts_with(prefix))
}

fn is_windows_absolute(path: &str) -> bool {
    let bytes = path.as_bytes();
    let has_drive = bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/');
    has_drive || path.starts_with("\\\\")
}

/// The way from one absolute folder to another; `.` where they are the same.
pub(super) fn relative(from: &str, to: &str) -> String {
    let (from, to) = (clean(from), clean(to));
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (from, to) = (parts(&from), parts(&to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), from.len() - shared);
    clean(&up.chain(to[shared..].iter().cloned()).collect::<Vec<_>>().join("/"))
}

/// A path without `.`, `..` and doubled slashes, as Go's `path.Clean` gives it; an empty one is `.`.
pub(super) fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." => {
                    parts.pop();
                }
                _ if is_absolute => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::{Base, clean};

    fn check(path: &str, expect: &str) {
        let base = Base { directory: "/srv/app", home: Some("/home/me"), follow_links: &|path: &str| path.to_owned() };
        assert_eq!(base.join(path), expect, "{path}");
    }

    #[test]
    fn a_path_is_joined_to_the_directory_unless_it_is_absolute() {
        check("./a", "/srv/app/a");
        check("../a/./b//c", "/srv/a/b/c");
        check("", "/srv/app");
        check("/x/../y", "/x/../y");
        check("~/a", "/home/me/a");
        check("C:\\a", "C:\\a");
    }

    #[test]
    fn a_folder_is_found_from_another() {
        for (to, expect) in [("/a/b", "."), ("/a/b/c/d", "c/d"), ("/a/x", "../x"), ("/", "../..")] {
            assert_eq!(super::relative("/a/b", to), expect, "{to}");
        }
    }

    #[test]
    fn cleaning_follows_go() {
        for (path, expect) in [("", "."), ("/", "/"), ("/..", "/"), ("a/../..", ".."), ("/a/", "/a"), ("a//b", "a/b")] {
            assert_eq!(clean(path), expect, "{path}");
        }
    }
}
