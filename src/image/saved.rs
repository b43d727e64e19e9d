//! An image's archive as `docker save` writes it, read once for several receivers, each without the layers that it has.
//!
//! Two layouts (moby, `image/tarexport`): before engine 25 `ID/layer.tar`, in any order, with what the id was made from in `ID/json`;
//! since then OCI, with each layer as `blobs/sha256/HEX` by the digest of its content. An engine that loads such an archive looks for
//! a layer's file only when it does not have the layer.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

/// A `json` file is a layer's configuration; a larger one is none.
const JSON_BYTES_MAX: u64 = 1 << 20;
/// The unit of an archive.
const BLOCK_BYTES: usize = 512;
const PIECE_BYTES: usize = 64 * 1024;

/// Who is sent the archive, and how many of the image's layers, from the lowest on, it has already.
pub(super) struct Receiver<W> {
    pub(super) known: usize,
    /// Nothing once it takes no more: that is its own failure, and not the others'.
    pub(super) out: Option<W>,
}

impl<W: Write> Receiver<W> {
    pub(super) fn new(known: usize, out: W) -> Self {
        Self { known, out: Some(out) }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.out.as_mut().is_some_and(|out| out.write_all(bytes).is_err()) {
            self.out = None;
        }
    }
}

/// Copies an archive to its receivers, to each without those of the image's `layers` (`sha256:…`, the lowest first) that it has. Who has
/// none gets the archive as it is, whatever its layout. Returns those who took it to its end, and how that was; nothing is read any more
/// once nobody takes it.
pub(super) fn fan_out<W: Write>(input: impl Read, layers: &[String], receivers: Vec<Receiver<W>>) -> Vec<(W, io::Result<()>)> {
    let (whole, mut parts): (Vec<_>, Vec<_>) = receivers.into_iter().partition(|receiver| receiver.known == 0);
    let mut input = Tee { input, whole, is_wanted: !parts.is_empty() };
    let read = if parts.is_empty() { Ok(()) } else { parts_of(&mut input, layers, &mut parts) };
    input.is_wanted = false;
    // What could not be taken apart may be taken by an engine all the same.
    let rest = if takes(&input.whole) { io::copy(&mut input, &mut io::sink()).map(drop) } else { Ok(()) };
    let ends = |receivers: Vec<Receiver<W>>, end: io::Result<()>| {
        let again = move || end.as_ref().map(drop).map_err(|error| io::Error::new(error.kind(), error.to_string()));
        receivers.into_iter().filter_map(|receiver| receiver.out).map(move |out| (out, again()))
    };
    ends(input.whole, rest).chain(ends(parts, read)).collect()
}

fn takes<W>(receivers: &[Receiver<W>]) -> bool {
    receivers.iter().any(|receiver| receiver.out.is_some())
}

/// Who reads it hands on everything to those who get the whole.
struct Tee<R, W> {
    input: R,
    whole: Vec<Receiver<W>>,
    /// The reader itself wants it, whether or not others do.
    is_wanted: bool,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_wanted && !takes(&self.whole) {
            return Ok(0);
        }
        let count = self.input.read(buffer)?;
        self.whole.iter_mut().for_each(|receiver| receiver.put(&buffer[..count]));
        Ok(count)
    }
}

fn parts_of<W: Write>(input: impl Read, layers: &[String], receivers: &mut [Receiver<W>]) -> io::Result<()> {
    let mut archive = Archive::new(input);
    // Extensions of the next entry: they go with it, or are left out with it.
    let mut before: Vec<u8> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let header = entry.header().clone();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_extension = matches!(header.entry_type(), EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink);
        let folder = path.strip_suffix("/json").filter(|_| entry.size() <= JSON_BYTES_MAX);
        if is_extension || folder.is_some() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            // Of the highest layer, which has the image's configuration, no id is found so.
            let found = folder.map(|folder| (folder, old_ids(&content, layers)));
            if let Some((_, found)) = found.filter(|(folder, found)| found.iter().any(|id| id == folder)) {
                ids = found;
            }
            before.extend_from_slice(header.as_bytes());
            before.extend_from_slice(&content);
            before.resize(before.len().next_multiple_of(BLOCK_BYTES), 0);
            if is_extension {
                continue;
            }
        }
        let found = match (path.strip_prefix("blobs/sha256/"), path.strip_suffix("/layer.tar")) {
            (Some(digest), _) => layers.iter().find(|layer| layer.strip_prefix("sha256:") == Some(digest)),
            (None, Some(folder)) => ids.iter().position(|id| id == folder).and_then(|at| layers.get(at)),
            (None, None) => None,
        };
        // An image may have the same layer twice, an empty one above all: its file is missing where one of the two is.
        let layer = found.and_then(|found| layers.iter().rposition(|layer| layer == found));
        let mut takers: Vec<&mut Receiver<W>> = receivers
            .iter_mut()
            .filter(|receiver| receiver.out.is_some() && layer.is_none_or(|layer| layer >= receiver.known))
            .collect();
        takers.iter_mut().for_each(|taker| taker.put(&before));
        before.clear();
        if folder.is_none() {
            takers.iter_mut().for_each(|taker| taker.put(header.as_bytes()));
            let mut length = 0;
            loop {
                let count = entry.read(&mut piece)?;
                if count == 0 {
                    break;
                }
                length += count;
                takers.iter_mut().for_each(|taker| taker.put(&piece[..count]));
            }
            let padding = length.next_multiple_of(BLOCK_BYTES) - length;
            takers.iter_mut().for_each(|taker| taker.put(&[0; BLOCK_BYTES][..padding]));
        }
        if !takes(receivers) {
            return Ok(());
        }
    }
    receivers.iter_mut().for_each(|receiver| receiver.put(&[0; 2 * BLOCK_BYTES]));
    Ok(())
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
    use tar::{Builder, Header};

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
        let archive = archive(entries);
        let receivers = vec![Receiver::new(0, Vec::new()), Receiver::new(known, Vec::new())];
        let outs = fan_out(archive.as_slice(), &layers, receivers).into_iter();
        let outs: Vec<Vec<u8>> = outs.map(|(out, end)| end.map(|()| out).expect("it is a good archive")).collect();
        assert_eq!(names(&outs[1]), kept);
        assert_eq!(outs[0], archive, "who has nothing gets everything");
    }

    #[test]
    fn layers_in_the_oci_layout_are_known_by_name() {
        let entries = [("blobs/sha256/cc", "3"), ("blobs/sha256/aa", "1"), ("blobs/sha256/dd", "{}"), ("manifest.json", "[]")];
        check(&entries, 1, &["blobs/sha256/cc", "blobs/sha256/dd", "manifest.json"]);
        check(&entries, 3, &["blobs/sha256/dd", "manifest.json"]);
    }

    #[test]
    fn a_layer_that_the_image_has_twice_goes_to_who_lacks_the_upper_one() {
        let layers = ["sha256:aa", "sha256:bb", "sha256:aa"].map(str::to_owned);
        let archive = archive(&[("blobs/sha256/aa", "1"), ("blobs/sha256/bb", "2")]);
        let outs = fan_out(archive.as_slice(), &layers, vec![Receiver::new(2, Vec::new()), Receiver::new(3, Vec::new())]);
        let sent: Vec<_> = outs.iter().map(|(out, _)| names(out)).collect();
        assert_eq!(sent, [vec!["blobs/sha256/aa".to_owned()], Vec::new()]);
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
        for known in [0, 1] {
            let ends = fan_out(Cut(&whole[..1200]), &["sha256:aa".to_owned()], vec![Receiver::new(known, Vec::new())]);
            assert!(ends.iter().all(|(_, end)| end.is_err()) && ends.len() == 1);
        }
    }

    /// A stream that breaks off says so.
    struct Cut<'a>(&'a [u8]);

    impl Read for Cut<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::ErrorKind::ConnectionReset.into()),
                count => Ok(count),
            }
        }
    }

    /// Takes so many bytes and no more.
    struct Short(usize, Vec<u8>);

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1.len() + bytes.len() > self.0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_takes_no_more_does_not_stop_the_others() {
        let entries: Vec<(String, String)> = (0..50).map(|n| (format!("blobs/sha256/{n:02}"), "x".repeat(5000))).collect();
        let entries: Vec<(&str, &str)> = entries.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
        let (archive, layers) = (archive(&entries), vec!["sha256:03".to_owned()]);
        let most = usize::MAX;
        for (ill, well) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let receivers = vec![Receiver::new(ill, Short(20_000, Vec::new())), Receiver::new(well, Short(most, Vec::new()))];
            let outs = fan_out(archive.as_slice(), &layers, receivers);
            assert_eq!(outs.len(), 1);
            assert!(outs[0].1.is_ok());
            assert_eq!(names(&outs[0].0.1).len(), 50 - well);
        }
        let mut input = archive.as_slice();
        assert!(fan_out(&mut input, &layers, vec![Receiver::new(1, Short(9, Vec::new()))]).is_empty());
        assert!(input.len() > archive.len() / 2, "nobody reads on when nobody takes it");
    }
}
