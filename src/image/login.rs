//! Passwords for registries, as docker's own client finds them: `docker login`'s file and the helpers that it names.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use docker_credential::{DockerCredential, get_credential};
use serde_json::json;

/// Docker Hub under the name that docker's client keeps its password by.
const HUB: &str = "https://index.docker.io/v1/";

/// What a pull is authorised with (`X-Registry-Auth`). A secret: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(String);

impl Login {
    pub fn header(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// The login for an image's registry on this machine; nothing where there is none, or what there is cannot be read: the registry
/// says then whether it asks for one. Helpers are asked once for each registry.
pub async fn login(image: &str) -> Option<Login> {
    static KNOWN: Mutex<BTreeMap<String, Option<Login>>> = Mutex::new(BTreeMap::new());
    let registry = registry(image).to_owned();
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&registry).cloned();
    if let Some(known) = known {
        return known;
    }
    let asked = registry.clone();
    // A helper is a program, and may take its time.
    let found = tokio::task::spawn_blocking(move || get_credential(&asked).ok()).await.ok().flatten();
    let login = found.map(|credential| of(&credential, &registry));
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(registry, login.clone());
    login
}

fn of(credential: &DockerCredential, registry: &str) -> Login {
    let document = match credential {
        DockerCredential::UsernamePassword(name, password) => {
            json!({ "username": name, "password": password, "serveraddress": registry })
        }
        DockerCredential::IdentityToken(token) => json!({ "identitytoken": token, "serveraddress": registry }),
    };
    Login(BASE64_URL_SAFE.encode(document.to_string()))
}

/// The registry that a reference names: the part before the first slash where that is a host, else Docker Hub.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => {
            if matches!(first, "docker.io" | "index.docker.io") { HUB } else { first }
        }
        _ => HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        let cases = [
            ("nginx", HUB),
            ("library/nginx:1.27", HUB),
            ("docker.io/library/nginx", HUB),
            ("ghcr.io/owner/app:1", "ghcr.io"),
            ("localhost/app", "localhost"),
            ("registry:5000/app@sha256:00", "registry:5000"),
        ];
        for (image, expected) in cases {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    #[test]
    fn a_login_is_not_shown() {
        let login = of(&DockerCredential::UsernamePassword("me".to_owned(), "hunter2".to_owned()), "r.example");
        assert_eq!(format!("{login:?}"), "Login(…)");
        let header = BASE64_URL_SAFE.decode(login.header()).expect("it is base64");
        assert!(String::from_utf8_lossy(&header).contains("\"password\":\"hunter2\""));
    }
}
