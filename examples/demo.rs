//! The program inside the containers of compose-examples and of the fleet tests. Plain std, so that it links statically.
//!
//!   demo serve [ADDRESS]   an HTTP server, 0.0.0.0:80 when nothing is said
//!   demo get URL           prints what URL answers; exit code 1 unless it is a 2xx: good as a healthcheck
//!   demo any URL           as get, at one of the addresses of the name that is left to chance
//!   demo work URL          takes jobs from the queue at URL and prints them; serves, too, so that it can be asked how it is
//!
//! The server answers:
//!   GET /        its NAME (environment) and hostname, then a line of each server in UPSTREAM (host:port, comma-separated)
//!   GET /health  200, or 503 while a file /tmp/sick is there
//!   GET /count   how often it was asked, kept in the file DATA
//!   POST /jobs   puts the body on the queue        POST /jobs/take   takes the oldest: 200, or 204 when there is none
#![expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a program of its own, not a room of mcompose")]

use std::collections::VecDeque;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Failure = Box<dyn Error>;

const ADDRESS: &str = "0.0.0.0:80";
/// For connecting, and for every read and write.
const PATIENCE: Duration = Duration::from_secs(3);
const BETWEEN_JOBS: Duration = Duration::from_secs(1);
/// Of a request's body.
const BODY_BYTES_MAX: u64 = 1 << 20;

static JOBS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static COUNT: Mutex<()> = Mutex::new(());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["serve"] => serve(ADDRESS),
        ["serve", address] => serve(address),
        ["get", url] => get(url, First),
        ["any", url] => get(url, Any),
        ["work", url] => work(url),
        _ => Err("usage: demo serve [ADDRESS] | get URL | any URL | work URL".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)?;
    println!("{} listens on {address}", name());
    for stream in listener.incoming() {
        std::thread::spawn(move || {
            if let Err(error) = stream.map_err(Failure::from).and_then(answer) {
                eprintln!("demo: a request failed: {error}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<(), Failure> {
    let (request, body) = read_request(&stream)?;
    let (status, text) = match request.as_str() {
        "GET /" => ("200 OK", greeting()),
        "GET /health" if std::fs::exists("/tmp/sick")? => ("503 Service Unavailable", "sick\n".to_owned()),
        "GET /health" => ("200 OK", "ok\n".to_owned()),
        "GET /count" => ("200 OK", format!("{}\n", count()?)),
        "POST /jobs" => {
            jobs().push_back(body);
            ("202 Accepted", String::new())
        }
        "POST /jobs/take" => match jobs().pop_front() {
            Some(job) => ("200 OK", job),
            None => ("204 No Content", String::new()),
        },
        _ => ("404 Not Found", "no such page\n".to_owned()),
    };
    if request != "GET /health" {
        println!("{request} {status}");
    }
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )?;
    Ok(())
}

/// `GET /path` and the body.
fn read_request(stream: &TcpStream) -> Result<(String, String), Failure> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(BODY_BYTES_MAX));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let request = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((_, value)) = line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse()?;
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok((request, body))
}

fn greeting() -> String {
    let mut text = format!("{} on {}\n", name(), hostname());
    let upstream = std::env::var("UPSTREAM").unwrap_or_default();
    for server in upstream.split(',').filter(|server| !server.is_empty()) {
        let line = fetch(First, "GET", server, "/").map_or_else(|error| format!("{server}: {error}\n"), |(_, body)| body);
        line.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}

fn count() -> Result<u64, Failure> {
    let _one_at_a_time = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
    let path = std::env::var("DATA").unwrap_or_else(|_| "/data/count".to_owned());
    let before = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    std::fs::write(&path, format!("{}\n", before + 1))?;
    Ok(before + 1)
}

fn get(url: &str, which: Which) -> Result<(), Failure> {
    let (server, path) = split_url(url)?;
    let (status, body) = fetch(which, "GET", &server, &path)?;
    print!("{body}");
    if (200..300).contains(&status) { Ok(()) } else { Err(format!("{url} answers {status}").into()) }
}

fn work(url: &str) -> Result<(), Failure> {
    let (server, path) = split_url(url)?;
    println!("works on the queue at {url}");
    std::thread::spawn(|| {
        if let Err(error) = serve(ADDRESS) {
            eprintln!("demo: cannot serve: {error}");
        }
    });
    // Never ends: a worker works until it is stopped.
    loop {
        match fetch(First, "POST", &server, &path) {
            Ok((200, job)) => println!("did {}", job.trim()),
            Ok(_) => std::thread::sleep(BETWEEN_JOBS),
            Err(error) => {
                eprintln!("demo: the queue does not answer: {error}");
                std::thread::sleep(BETWEEN_JOBS);
            }
        }
    }
}

/// `http://host[:port]/path` as `host:port` and `/path`.
fn split_url(url: &str) -> Result<(String, String), Failure> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url} is no http:// address"))?;
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let server = if server.contains(':') { server.to_owned() } else { format!("{server}:80") };
    Ok((server, format!("/{path}")))
}

/// Which of a name's addresses is asked. The first is always the nearest, as the C library sorts them.
#[derive(Clone, Copy)]
enum Which {
    First,
    Any,
}
use Which::{Any, First};

fn fetch(which: Which, method: &str, server: &str, path: &str) -> Result<(u16, String), Failure> {
    let addresses: Vec<_> = server.to_socket_addrs()?.collect();
    let number = match which {
        First => 0,
        Any => SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_micros() as usize % addresses.len().max(1),
    };
    let address = *addresses.get(number).ok_or("the name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no HTTP status")?;
    Ok((status, body.to_owned()))
}

fn jobs() -> std::sync::MutexGuard<'static, VecDeque<String>> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name() -> String {
    std::env::var("NAME").unwrap_or_else(|_| "demo".to_owned())
}

fn hostname() -> String {
    std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned()
}
