//! An image as one engine shows it, and whether another engine has the same.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSeen {
    pub id: String,
    /// `name@sha256:…` of registries.
    pub digests: Vec<String>,
    pub size_bytes: i64,
    /// When it was built: RFC 3339.
    pub created: String,
    /// When this host gave it a name, by a pull or otherwise: RFC 3339.
    pub tagged: String,
    /// Digests of the layers' contents, the lowest first.
    pub layers: Vec<String>,
}

impl ImageSeen {
    /// Whether its store names images by their manifests, as containerd's does, and not by their configurations.
    fn is_named_by_manifest(&self) -> bool {
        self.digests.iter().any(|digest| digest.split_once('@').is_some_and(|(_, digest)| digest == self.id))
    }

    /// Whether two engines mean the same image. An image has another id in another kind of store; then its layers and the time when
    /// it was built tell. Where both stores name it by its configuration that is not enough: builds that can be repeated give
    /// different images the same time.
    pub fn is_same(&self, other: &Self) -> bool {
        let has_two_names = self.is_named_by_manifest() || other.is_named_by_manifest();
        let is_alike = !self.created.is_empty() && self.created == other.created && self.layers == other.layers;
        self.id == other.id || (has_two_names && is_alike)
    }
}

#[cfg(test)]
mod tests {
    use super::ImageSeen;

    fn image(id: &str, digest: &str, created: &str, layers: &[&str]) -> ImageSeen {
        let layers = layers.iter().map(|layer| (*layer).to_owned()).collect();
        let digests = if digest.is_empty() { Vec::new() } else { vec![format!("app@{digest}")] };
        ImageSeen { id: id.to_owned(), digests, size_bytes: 1, created: created.to_owned(), layers, ..ImageSeen::default() }
    }

    #[test]
    fn stores_of_one_kind_name_an_image_alike() {
        let one = image("config:1", "", "1970-01-01T00:00:00Z", &["a"]);
        assert!(one.is_same(&one));
        let other = image("config:2", "", "1970-01-01T00:00:00Z", &["a"]);
        assert!(!one.is_same(&other), "of one time, as builds that can be repeated are");
        let pulled = image("config:2", "manifest:2", "1970-01-01T00:00:00Z", &["a"]);
        assert!(!one.is_same(&pulled));
    }

    #[test]
    fn stores_of_two_kinds_have_the_same_where_time_and_layers_are() {
        let one = image("config:1", "", "2024-02-29T12:00:00Z", &["a", "b"]);
        let by_manifest = |created, layers| image("manifest:1", "manifest:1", created, layers);
        for (other, expected) in [
            (by_manifest("2024-02-29T12:00:00Z", &["a", "b"]), true),
            (by_manifest("2024-02-29T12:00:00Z", &["a", "c"]), false),
            (by_manifest("2024-02-29T12:00:01Z", &["a", "b"]), false),
            (by_manifest("", &["a", "b"]), false),
        ] {
            assert_eq!((one.is_same(&other), other.is_same(&one)), (expected, expected), "{other:?}");
        }
    }
}
