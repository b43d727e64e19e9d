//! A registry that asks for a password. A small server speaks as much of the protocol as a pull takes.
#![expect(clippy::disallowed_methods, reason = "the test is a server, and writes what `docker login` would")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use sha2::{Digest, Sha256};

use crate::harness::demo_image;
use crate::program::{Project, own};
use crate::reference;

const PASSWORD: &str = "open sesame";

/// Serves `private/app:1` to who knows the password, until the process ends. Returns its address, and who asked without it.
fn serve(address: &str) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind((address, 0)).expect("the fleet's bridge has this address");
    let port = listener.local_addr().expect("it is bound").port();
    let refused = Arc::new(Mutex::new(0));
    let blobs = Arc::new(image());
    let count = Arc::clone(&refused);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (blobs, count) = (Arc::clone(&blobs), Arc::clone(&count));
            std::thread::spawn(move || drop(answer(&stream, &blobs, &count)));
        }
    });
    (format!("{address}:{port}"), refused)
}

struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn image() -> Image {
    let layer = demo_image();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["sleep", "100000"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    });
    let config = config.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": part("application/vnd.docker.container.image.v1+json", &config),
        "layers": [part("application/vnd.docker.image.rootfs.diff.tar", &layer)],
    });
    Image { layer, config, manifest: manifest.to_string().into_bytes() }
}

/// One request on one connection.
fn answer(stream: &TcpStream, image: &Image, refused: &Mutex<usize>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ');
    let (is_head, path) = (words.next() == Some("HEAD"), words.next().unwrap_or_default().to_owned());
    let mut authorised = false;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let expected = format!("authorization: basic {}", BASE64.encode(format!("me:{PASSWORD}")).to_lowercase());
        authorised |= line.to_lowercase() == expected;
    }
    let manifest_type = "application/vnd.docker.distribution.manifest.v2+json";
    let (status, kind, body): (&str, &str, &[u8]) = match path.as_str() {
        _ if !authorised => {
            *refused.lock().expect("nobody panics") += 1;
            (
                "401 Unauthorized",
                "application/json",
                br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            )
        }
        "/v2/" => ("200 OK", "application/json", b"{}"),
        _ if path.contains("/manifests/") => ("200 OK", manifest_type, &image.manifest),
        _ if path.ends_with(&digest(&image.config)) => ("200 OK", "application/octet-stream", &image.config),
        _ if path.ends_with(&digest(&image.layer)) => ("200 OK", "application/octet-stream", &image.layer),
        _ => ("404 Not Found", "application/json", b"{}"),
    };
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nWww-Authenticate: Basic realm=\"test\"\r\nConnection: close\r\n\r\n",
        body.len(),
        digest(body)
    )?;
    if !is_head {
        out.write_all(body)?;
    }
    out.flush()
}

#[test]
fn an_image_is_pulled_with_the_password_of_docker_login_and_refused_without() {
    let fleet = own(2);
    let network = fleet.hosts[0].address.rsplit_once('.').expect("it is an address").0.to_owned();
    let (registry, refused) = serve(&format!("{network}.254"));
    let compose =
        format!("services:\n  app: {{image: \"{registry}/private/app:1\", stop_grace_period: 0s, deploy: {{replicas: 2}}}}\n");
    let project = Project::new(&fleet, "private", &compose);
    project.run(&["up", "-d"]).assert_refused(&["private/app:1", "docker login"]);
    assert!(*refused.lock().expect("nobody panics") > 0);

    let folder = project.home.join(".docker");
    fs::create_dir_all(&folder).expect("the fleet's folder is writable");
    let config = |password: &str| {
        let auth = BASE64.encode(format!("me:{password}"));
        fs::write(folder.join("config.json"), format!(r#"{{"auths": {{"{registry}": {{"auth": "{auth}"}}}}}}"#))
    };
    config("wrong").expect("the fleet's folder is writable");
    let ended = project.run(&["up", "-d"]);
    ended.assert_refused(&["private/app:1"]);
    assert!(!ended.everything().contains("wrong"), "{}", ended.everything());
    config(PASSWORD).expect("the fleet's folder is writable");
    let ended = project.ok(&["--progress", "json", "up", "-d"]);
    assert!(!ended.everything().contains(PASSWORD));
    assert_eq!(project.spread("app"), "h1:1 h2:1");
    for option in ["--resolve-image-digests", "--lock-image-digests"] {
        let ours = project.ok(&["config", option, "--format", "json"]).stdout;
        let file = project.file.display().to_string();
        let mut theirs = reference::command(&fleet.hosts[0], &["-f", &file, "config", option, "--format", "json"]);
        let theirs = theirs.env("HOME", &project.home).output().expect("docker compose is there");
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("it is JSON");
        let ours = read(ours.as_bytes());
        assert_eq!(ours, read(&theirs.stdout));
        assert_eq!(ours["services"]["app"]["image"], format!("{registry}/private/app:1@{}", digest(&image().manifest)));
    }
    project.ok(&["down"]);
    project.assert_gone();
}
