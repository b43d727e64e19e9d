//! An image's archive as `docker save` writes it, without the layers that its receiver has.
//!
//! Two layouts (moby, `image/tarexport`): before engine 25 `ID/layer.tar`, in the order of the layers; since then OCI, with each layer
//! as `blobs/sha256/HEX` by the digest of its content. An engine that loads such an archive looks for a layer's file only when it
//! does not have the layer.

use std::io::{self, Read, Write};

use tar::{Archive, Builder, EntryType, Header};

/// Copies an archive from `input` to `out` and leaves out the first `known` of the image's `layers` (`sha256:…`, the lowest first).
pub(super) fn without_layers(input: impl Read, out: impl Write, layers: &[String], known: usize) -> io::Result<()> {
    let known_layers = layers.get(..known).unwrap_or(layers);
    let mut archive = Archive::new(input);
    let mut builder = Builder::new(out);
    // Extensions of the next entry: they go with it, or are left out with it.
    let mut extensions: Vec<(Header, Vec<u8>)> = Vec::new();
    let mut layer_files = 0;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let header = entry.header().clone();
        if matches!(header.entry_type(), EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            extensions.push((header, content));
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_known = match path.strip_prefix("blobs/sha256/") {
            Some(digest) => known_layers.iter().any(|layer| layer.strip_prefix("sha256:") == Some(digest)),
            None if path.ends_with("/layer.tar") => {
                layer_files += 1;
                layer_files <= known_layers.len()
            }
            None => false,
        };
        if is_known {
            extensions.clear();
            continue;
        }
        for (header, content) in extensions.drain(..) {
            builder.append(&header, content.as_slice())?;
        }
        builder.append(&header, &mut entry)?;
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content.as_bytes()).expect("it is written to memory");
        }
        builder.into_inner().expect("it is written to memory")
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut archive = Archive::new(archive);
        let entries = archive.entries().expect("it is an archive");
        entries.map(|entry| entry.expect("it is whole").path().expect("it has a name").display().to_string()).collect()
    }

    #[track_caller]
    fn check(entries: &[(&str, &str)], known: usize, kept: &[&str]) {
        let layers = ["sha256:aa", "sha256:bb", "sha256:cc"].map(str::to_owned);
        let mut out = Vec::new();
        without_layers(archive(entries).as_slice(), &mut out, &layers, known).expect("it is a good archive");
        assert_eq!(names(&out), kept);
    }

    #[test]
    fn layers_in_the_old_layout_are_counted() {
        let entries =
            [("z/json", "{}"), ("z/layer.tar", "1"), ("a/layer.tar", "2"), ("b/layer.tar", "3"), ("manifest.json", "[]")];
        check(&entries, 0, &["z/json", "z/layer.tar", "a/layer.tar", "b/layer.tar", "manifest.json"]);
        check(&entries, 2, &["z/json", "b/layer.tar", "manifest.json"]);
        check(&entries, 9, &["z/json", "manifest.json"]);
    }

    #[test]
    fn layers_in_the_oci_layout_are_known_by_name() {
        let entries = [("blobs/sha256/cc", "3"), ("blobs/sha256/aa", "1"), ("blobs/sha256/dd", "{}"), ("manifest.json", "[]")];
        check(&entries, 1, &["blobs/sha256/cc", "blobs/sha256/dd", "manifest.json"]);
        check(&entries, 3, &["blobs/sha256/dd", "manifest.json"]);
    }

    #[test]
    fn a_long_name_goes_with_its_entry() {
        let long = format!("{}/json", "x".repeat(200));
        let dropped = format!("{}/layer.tar", "y".repeat(80));
        check(&[(&dropped, "1"), (&long, "{}")], 1, &[&long]);
    }

    #[test]
    fn half_an_archive_is_an_error() {
        let whole = archive(&[("blobs/sha256/cc", &"3".repeat(2000))]);
        let cut = without_layers(&whole[..1200], io::sink(), &[], 0);
        assert!(cut.is_err());
    }
}
