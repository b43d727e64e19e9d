//! The door for those who build a Compose file in code with docker-compose-types: it goes through the same loader as a text, so
//! it is checked as one. The other way round loses what that crate has no place for, and names it.

use docker_compose_types::Compose;

use super::{Files, LoadFailure, LoadRequest, Loaded, Node, load, render};

/// Loads a project that was built in code. `request` gives its surroundings; its files are not read.
/// Fails as a text with the same content would.
pub fn load_built(compose: &Compose, request: &LoadRequest) -> Result<Loaded, LoadFailure> {
    let text = serde_yaml::to_string(compose).unwrap_or_default();
    let request = LoadRequest { files: vec!["-".to_owned()], ..request.clone() };
    load(&request, &mut Built { text })
}

/// A canonical document as docker-compose-types has it, or in words what that crate cannot express.
pub fn built(model: &Node) -> Result<Compose, String> {
    serde_yaml::from_str(&render::yaml::document(model, true)).map_err(|error| error.to_string())
}

/// The built file as the one there is.
struct Built {
    text: String,
}

impl Files for Built {
    fn read(&mut self, path: &std::path::Path, _: u64) -> std::io::Result<Vec<u8>> {
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, format!("a file built in code names {}", path.display())))
    }

    fn exists(&mut self, _: &std::path::Path) -> bool {
        false
    }

    fn is_dir(&mut self, _: &std::path::Path) -> bool {
        false
    }

    fn read_stdin(&mut self, _: u64) -> std::io::Result<Vec<u8>> {
        Ok(self.text.clone().into_bytes())
    }

    fn canonicalize(&mut self, path: &std::path::Path) -> std::io::Result<std::path::PathBuf> {
        Ok(path.to_path_buf())
    }
}

#[cfg(test)]
mod tests {
    use super::{built, load_built};
    use crate::composefile::LoadRequest;

    fn compose(text: &str) -> docker_compose_types::Compose {
        serde_yaml::from_str(text).expect("the crate takes this file")
    }

    #[test]
    fn a_file_built_in_code_is_loaded_and_given_back() {
        let request = LoadRequest { cwd: "/shop".into(), ..LoadRequest::default() };
        let loaded = load_built(&compose("services:\n  web:\n    image: app:1\n"), &request).expect("it is a Compose file");
        assert_eq!(loaded.project.name.as_str(), "shop");
        let web = &built(&loaded.model).expect("the crate has a place for all of it").services.0["web"];
        assert_eq!(web.as_ref().and_then(|web| web.image.as_deref()), Some("app:1"));
    }

    #[test]
    fn a_file_built_in_code_is_checked_like_a_text() {
        let request = LoadRequest { cwd: "/shop".into(), ..LoadRequest::default() };
        let failure = load_built(&compose("services:\n  web:\n    image: app:1\n    networks: [nowhere]\n"), &request).err();
        let said = failure.map(|failure| failure.diagnostics[0].message.clone());
        assert_eq!(said.as_deref(), Some("service `web` refers to undefined network `nowhere`"));
    }
}
