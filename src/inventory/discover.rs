//! Which inventory is meant.

/// Where an inventory may be named or lie. What is nothing is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Places<'a> {
    /// `-i`
    pub flag: Option<&'a str>,
    /// `MCOMPOSE_INVENTORY`; empty counts as not set.
    pub environment: Option<&'a str>,
    /// The folder of the Compose file.
    pub project_folder: Option<&'a str>,
    /// `XDG_CONFIG_HOME`, else `~/.config`.
    pub config_folder: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    File {
        path: String,
        origin: Origin,
    },
    /// There is none: the local engine is the one host.
    Nowhere,
}

/// Who named the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    ProjectFolder,
    ConfigFolder,
}

/// A file that was named and is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no inventory `{path}`, which {} names", match .origin {
    Origin::Environment => "MCOMPOSE_INVENTORY",
    _ => "-i",
})]
pub struct MissingInventory {
    pub path: String,
    pub origin: Origin,
}

/// The first that is named or exists: `-i`, the environment, the Compose file's folder, the user's configuration.
pub fn find(places: &Places<'_>, exists: &dyn Fn(&str) -> bool) -> Result<Found, MissingInventory> {
    let environment = places.environment.filter(|path| !path.is_empty());
    let named = [(places.flag, Origin::Flag), (environment, Origin::Environment)];
    if let Some((path, origin)) = named.iter().find_map(|(path, origin)| path.map(|path| (path.to_owned(), *origin))) {
        return if exists(&path) { Ok(Found::File { path, origin }) } else { Err(MissingInventory { path, origin }) };
    }
    let beside = places.project_folder.map(|folder| (joined(folder, "hosts.toml"), Origin::ProjectFolder));
    let users = places.config_folder.map(|folder| (joined(folder, "mcompose/hosts.toml"), Origin::ConfigFolder));
    let found = [beside, users].into_iter().flatten().find(|(path, _)| exists(path));
    Ok(found.map_or(Found::Nowhere, |(path, origin)| Found::File { path, origin }))
}

fn joined(folder: &str, file: &str) -> String {
    format!("{}/{file}", folder.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::{Places, find};

    fn check(places: &Places<'_>, files: &[&str], expect: &str) {
        let got = match find(places, &|path| files.contains(&path)) {
            Ok(found) => format!("{found:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn the_nearest_inventory_is_taken() {
        let mut places = Places { project_folder: Some("/p"), config_folder: Some("/home/me/.config"), ..Places::default() };
        let user = "/home/me/.config/mcompose/hosts.toml";
        check(&places, &[], "Nowhere");
        check(&places, &[user], "File { path: \"/home/me/.config/mcompose/hosts.toml\", origin: ConfigFolder }");
        check(&places, &[user, "/p/hosts.toml"], "File { path: \"/p/hosts.toml\", origin: ProjectFolder }");
        places.environment = Some("");
        check(&places, &["/p/hosts.toml"], "File { path: \"/p/hosts.toml\", origin: ProjectFolder }");
        places.environment = Some("/env.toml");
        check(&places, &["/env.toml", "/p/hosts.toml"], "File { path: \"/env.toml\", origin: Environment }");
        places.flag = Some("mine.toml");
        check(&places, &["mine.toml", "/env.toml"], "File { path: \"mine.toml\", origin: Flag }");
    }

    #[test]
    fn a_file_that_was_named_and_is_not_there_is_an_error_and_not_passed_over() {
        let mut places = Places { project_folder: Some("/p"), environment: Some("/env.toml"), ..Places::default() };
        check(&places, &["/p/hosts.toml"], "there is no inventory `/env.toml`, which MCOMPOSE_INVENTORY names");
        places.flag = Some("mine.toml");
        check(&places, &["/p/hosts.toml"], "there is no inventory `mine.toml`, which -i names");
    }
}
