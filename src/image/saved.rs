//! An image's archive as `docker save` writes it, without the layers that its receiver has.
//!
//! Two layouts (moby, `image/tarexport`): before engine 25 `ID/layer.tar`, in any order, with what the id was made from in `ID/json`;
//! since then OCI, with each layer as `blobs/sha256/HEX` by the digest of its content. An engine that loads such an archive looks for
//! a layer's file only when it does not have the layer.

use std::io::{self, Read, Write};

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

/// A `json` file is a layer's configuration; a larger one is none.
const JSON_BYTES_MAX: u64 = 1 << 20;

/// Copies an archive from `input` to `out` and leaves out the first `known` of the image's `layers` (`sha256:…`, the lowest first).
pub(super) fn without_layers(input: impl Read, out: impl Write, layers: &[String], known: usize) -> io::Result<()> {
    let known_layers = layers.get(..known).unwrap_or(layers);
    let mut archive = Archive::new(input);
    let mut builder = Builder::new(out);
    // Extensions of the next entry: they go with it, or are left out with it.
    let mut extensions: Vec<(Header, Vec<u8>)> = Vec::new();
    let mut known_ids: Vec<String> = Vec::new();
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let header = entry.header().clone();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_extension = matches!(header.entry_type(), EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink);
        let folder = path.strip_suffix("/json").filter(|_| entry.size() <= JSON_BYTES_MAX);
        if is_extension || folder.is_some() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            let ids = folder.map(|folder| (folder, old_ids(&content, known_layers)));
            // Of the highest layer, which has the image's configuration, no id is found so.
            if let Some((_, ids)) = ids.filter(|(folder, ids)| ids.iter().any(|id| id == folder)) {
                known_ids = ids;
            }
            extensions.push((header.clone(), content));
            if is_extension {
                continue;
            }
        }
        let is_known = match (path.strip_prefix("blobs/sha256/"), path.strip_suffix("/layer.tar")) {
            (Some(digest), _) => known_layers.iter().any(|layer| layer.strip_prefix("sha256:") == Some(digest)),
            (None, Some(folder)) => known_ids.iter().any(|id| id == folder),
            (None, None) => false,
        };
        if is_known {
            extensions.clear();
            continue;
        }
        for (header, content) in extensions.drain(..) {
            builder.append(&header, content.as_slice())?;
        }
        if folder.is_none() {
            builder.append(&header, &mut entry)?;
        }
    }
    builder.finish()
}

/// The ids of layers in the old layout, the lowest first, by what one of them is made of (moby, `image/v1`, `CreateID`): the digest of
/// its configuration with the chain of layers up to it, and the id of the layer below.
fn old_ids(json: &[u8], layers: &[String]) -> Vec<String> {
    let Ok(mut config) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(json) else { return Vec::new() };
    for key in ["id", "parent", "os"] {
        config.remove(key);
    }
    let text = |text: &str| serde_json::value::to_raw_value(text).ok();
    let mut ids: Vec<String> = Vec::new();
    let mut chain = String::new();
    for layer in layers {
        chain = if chain.is_empty() { layer.clone() } else { sha256(format!("{chain} {layer}").as_bytes()) };
        config.extend(text(&chain).map(|chain| ("layer_id".to_owned(), chain)));
        config.extend(ids.last().and_then(|id| Some(("parent".to_owned(), text(&format!("sha256:{id}"))?))));
        let config = serde_json::to_vec(&config).unwrap_or_default();
        ids.push(sha256(&config).trim_start_matches("sha256:").to_owned());
    }
    ids
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
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
    fn layers_in_the_oci_layout_are_known_by_name() {
        let entries = [("blobs/sha256/cc", "3"), ("blobs/sha256/aa", "1"), ("blobs/sha256/dd", "{}"), ("manifest.json", "[]")];
        check(&entries, 1, &["blobs/sha256/cc", "blobs/sha256/dd", "manifest.json"]);
        check(&entries, 3, &["blobs/sha256/dd", "manifest.json"]);
    }

    #[test]
    fn layers_of_the_old_layout_that_are_not_recognised_are_kept() {
        let entries = [("z/json", "{}"), ("z/layer.tar", "1"), ("a/layer.tar", "2"), ("manifest.json", "[]")];
        check(&entries, 3, &["z/json", "z/layer.tar", "a/layer.tar", "manifest.json"]);
    }

    #[test]
    fn a_long_name_goes_with_its_entry() {
        let long = format!("{}/VERSION", "x".repeat(200));
        check(&[("blobs/sha256/aa", "1"), (&long, "1.0")], 1, &[&long]);
    }

    #[test]
    fn half_an_archive_is_an_error() {
        let whole = archive(&[("blobs/sha256/cc", &"3".repeat(2000))]);
        let cut = without_layers(&whole[..1200], io::sink(), &[], 0);
        assert!(cut.is_err());
    }
}
