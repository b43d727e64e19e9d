//! Images on their way to a registry. A small server takes what a push brings, from who knows the password.
#![expect(clippy::disallowed_methods, reason = "the test is a server, and writes what `docker login` would")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::program::{Project, own};

const PASSWORD: &str = "open sesame";

/// By path: blobs under their digests, manifests under their tags.
type Kept = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

fn serve(address: &str) -> (String, Kept) {
    let listener = TcpListener::bind((address, 0)).expect("the fleet's bridge has this address");
    let port = listener.local_addr().expect("it is bound").port();
    let kept = Kept::default();
    let all = Arc::clone(&kept);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&all);
            std::thread::spawn(move || drop(answer(&stream, &kept)));
        }
    });
    (format!("{address}:{port}"), kept)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// One request on one connection.
fn answer(stream: &TcpStream, kept: &Kept) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (first, headers) = head(&mut reader)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    let body = if header("transfer-encoding") == "chunked" {
        chunked(&mut reader)?
    } else {
        let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
        reader.read_exact(&mut body)?;
        body
    };
    let is_known = header("authorization") == format!("Basic {}", BASE64.encode(format!("me:{PASSWORD}")));
    let mut kept = kept.lock().expect("nobody panics");
    let (status, more): (&str, String) = match method {
        _ if !is_known => ("401 Unauthorized", "Www-Authenticate: Basic realm=\"test\"\r\n".to_owned()),
        "POST" => {
            let upload = format!("{path}{}", kept.len());
            kept.insert(upload.clone(), Vec::new());
            ("202 Accepted", format!("Location: {upload}\r\nRange: 0-0\r\nDocker-Upload-UUID: u\r\n"))
        }
        "PATCH" => {
            let upload = kept.entry(path.clone()).or_default();
            upload.extend(body);
            ("202 Accepted", format!("Location: {path}\r\nRange: 0-{}\r\n", upload.len()))
        }
        "PUT" if path.contains("/uploads/") => {
            let (upload, query) = path.split_once('?').unwrap_or((&path, ""));
            let named = query.split('&').find_map(|part| part.strip_prefix("digest=")).unwrap_or_default().replace("%3A", ":");
            let mut blob = kept.remove(upload).unwrap_or_default();
            blob.extend(body);
            let (name, _) = upload.split_once("/uploads/").unwrap_or_default();
            assert_eq!(digest(&blob), named, "what came is what was announced");
            kept.insert(format!("{name}/{named}"), blob);
            ("201 Created", format!("Location: {name}/{named}\r\nDocker-Content-Digest: {named}\r\n"))
        }
        "PUT" => {
            let named = digest(&body);
            kept.insert(path.clone(), body);
            ("201 Created", format!("Location: {path}\r\nDocker-Content-Digest: {named}\r\n"))
        }
        _ if path == "/v2/" || kept.contains_key(&path) => ("200 OK", String::new()),
        _ => ("404 Not Found", String::new()),
    };
    drop(kept);
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nDocker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n\r\n"
    )?;
    out.flush()
}

fn head(reader: &mut impl BufRead) -> std::io::Result<(String, BTreeMap<String, String>)> {
    let (mut first, mut headers) = (String::new(), BTreeMap::new());
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { return Ok((first, headers)) };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
}

fn chunked(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let mut piece = vec![0; size + 2];
        reader.read_exact(&mut piece)?;
        body.extend_from_slice(&piece[..size]);
        if size == 0 {
            return Ok(body);
        }
    }
}

#[test]
fn what_was_built_is_pushed_with_the_password_of_docker_login_and_refused_without() {
    let fleet = own(2);
    fleet.load_demo_image();
    let network = fleet.hosts[0].address.rsplit_once('.').expect("it is an address").0.to_owned();
    let (registry, kept) = serve(&format!("{network}.254"));
    let compose = format!(
        "services:
  app: {{image: \"{registry}/made/app:1\", build: {{context: ., dockerfile_inline: \"FROM mcompose-demo:1\\nRUN echo made > /made\\n\"}}}}
  plain: {{image: \"mcompose-demo:1\"}}
"
    );
    let project = Project::new(&fleet, "pushed", &compose);
    project.run(&["push", "app"]).assert_refused(&["run `mcompose build`"]);
    project.ok(&["build"]);
    project.run(&["push"]).assert_refused(&["made/app:1"]);
    let tolerant = project.run(&["push", "--ignore-push-failures"]);
    assert!(tolerant.everything().contains("made/app:1"), "{}", tolerant.everything());
    assert!(kept.lock().expect("nobody panics").is_empty());

    let folder = project.home.join(".docker");
    fs::create_dir_all(&folder).expect("the fleet's folder is writable");
    let auth = BASE64.encode(format!("me:{PASSWORD}"));
    let config = format!(r#"{{"auths": {{"{registry}": {{"auth": "{auth}"}}}}}}"#);
    fs::write(folder.join("config.json"), config).expect("the fleet's folder is writable");
    let ended = project.ok(&["--progress", "json", "push"]);
    assert!(!ended.everything().contains(PASSWORD));
    ended.assert_says(&["plain: nothing to push"]);
    let kept = kept.lock().expect("nobody panics");
    let manifest: Value = serde_json::from_slice(&kept["/v2/made/app/manifests/1"]).expect("a manifest is JSON");
    let parts = manifest["layers"].as_array().into_iter().flatten().chain([&manifest["config"]]);
    let digests: Vec<&str> = parts.filter_map(|part| part["digest"].as_str()).collect();
    assert_eq!(digests.len(), 3);
    assert!(digests.iter().all(|digest| kept.contains_key(&format!("/v2/made/app/blobs/{digest}"))), "{:?}", kept.keys());
    let id = fleet.host("h1").get(&format!("/images/{registry}/made/app:1/json"))["Id"].to_string();
    assert!(id.contains(digests[2]), "{id} {digests:?}");
    project.ok(&["down", "--rmi", "all"]);
}
