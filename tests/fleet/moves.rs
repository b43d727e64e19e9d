//! Volumes that move from host to host while something writes into them.
#![expect(clippy::disallowed_methods, reason = "a test reads the disks of hosts")]

use serde_json::Value;

use crate::harness::{Fleet, FleetHost, wait_until};
use crate::program::{Project, Running, own};

/// It counts on from where it was: each number becomes a file, old ones go, and the journal has them all.
const WRITER: &str = "services:
  store:
    image: mcompose-demo:1
    stop_grace_period: 5s
    volumes: [\"data:/data\"]
    command:
      - sh
      - -c
      - |
        mkdir -p /data/turn
        n=$$(tail -n 1 /data/journal 2>/dev/null)
        n=$${n:-0}
        while :; do
          n=$$((n+1))
          echo $$n > /data/turn/$$n
          echo $$n >> /data/journal
          rm -f /data/turn/$$((n-20))
          sleep 0.01
        done
  web: {image: \"mcompose-demo:1\", stop_grace_period: 0s}
volumes: {data: }
";

/// What stays as it is: owners, modes, links, the volume's own folder, and something large.
const FILL: &str = "set -e; mkdir -p '/data/a/b c' /data/empty; echo text > '/data/a/b c/file'; ln -s 'b c/file' /data/a/link; \
                    ln '/data/a/b c/file' /data/a/second; chown 12:34 '/data/a/b c/file'; chmod 4750 '/data/a/b c/file'; \
                    mkfifo /data/pipe; dd if=/dev/urandom of=/data/bulk bs=1M count=48 2>/dev/null; chown 1000:1001 /data; \
                    chmod 1770 /data";
const SHOW: &str = "cd /data; find . -path ./turn -prune -o -path ./journal -prune -o -print | sort | while read -r name; do \
                    stat -c '%n %A %u:%g %h %s' \"$name\" | grep -v '^. d' || stat -c '%n %A %u:%g' \"$name\"; done; \
                    readlink a/link; sha256sum bulk 'a/b c/file'";
/// No number is missing or there twice, and what went is gone.
const CHECK: &str = "awk 'NR != $1 { print \"line \" NR \" is \" $1; bad = 1 } END { exit bad }' /data/journal && \
                     test $(ls /data/turn 2>/dev/null | wc -l) -le 22";

struct Moved<'a> {
    project: Project<'a>,
    shown: String,
}

impl<'a> Moved<'a> {
    fn new(fleet: &'a Fleet, name: &str) -> Self {
        let project = Project::new(fleet, name, WRITER);
        project.ok(&["up", "-d"]);
        assert_eq!(project.exec("store-1", &["sh", "-c", FILL]), (0, String::new()));
        let shown = project.exec("store-1", &["sh", "-c", SHOW]).1;
        assert!(shown.contains("./a/second -rwsr-x--- 12:34 2 5"), "{shown}");
        Self { project, shown }
    }

    fn lines(&self) -> u64 {
        self.project.exec("store-1", &["sh", "-c", "wc -l < /data/journal"]).1.trim().parse().unwrap_or_default()
    }

    /// The one replica goes on with all that was there.
    fn assert_goes_on(&self, least: u64) {
        assert_eq!(self.project.spread("store").split(' ').count(), 1, "{}", self.project.spread("store"));
        assert_eq!(self.project.exec("store-1", &["sh", "-c", SHOW]).1, self.shown);
        assert_eq!(self.project.exec("store-1", &["sh", "-c", CHECK]), (0, String::new()));
        wait_until("it writes on", || self.lines() > least);
    }

    fn host(&self) -> String {
        self.project.replica("store-1").0.name.clone()
    }
}

fn volumes(host: &FleetHost) -> Vec<String> {
    let found = host.get("/volumes")["Volumes"].as_array().cloned().unwrap_or_default();
    let name = |volume: Value| volume["Name"].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = found.into_iter().map(name).collect();
    names.sort();
    names
}

fn others(fleet: &Fleet, host: &str) -> Vec<String> {
    fleet.hosts.iter().map(|other| other.name.clone()).filter(|name| name != host).collect()
}

#[test]
fn a_volume_moves_while_it_is_written_to_and_nothing_is_lost() {
    let fleet = own(2);
    let moved = Moved::new(&fleet, "moving");
    let project = &moved.project;
    let (from, web) = (moved.host(), project.spread("web"));
    let to = others(&fleet, &from).remove(0);
    project.run(&["volume", "mv", "data", "--to", "nowhere"]).assert_refused(&["`nowhere` does not answer", "hosts check"]);
    let shown = project.ok(&["--dry-run", "volume", "mv", "data", "--to", &to]);
    shown.assert_says(&[
        "copy volume moving_data",
        "stop store.1",
        "copy what changed",
        "check it",
        "then: its replicas start on",
    ]);
    assert_eq!(moved.host(), from);

    let before = moved.lines();
    let ended = project.ok(&["volume", "mv", "data", "--to", &to]);
    ended.assert_says(&["`moving_data` moved from"]);
    assert_eq!(moved.host(), to);
    moved.assert_goes_on(before);
    assert_eq!(project.spread("web"), web);
    let has = |host: &str| volumes(fleet.host(host)).into_iter().any(|name| name.contains("moving"));
    assert_eq!((has(&from), volumes(fleet.host(&to))), (false, vec!["moving_data".to_owned()]), "{}", ended.everything());
    assert_eq!(project.run(&["plan"]).code, Some(0), "nothing is left to do");
    project.ok(&["volume", "mv", "data", "--to", &to]).assert_says(&["is on", "already"]);

    // And back, with the name that the engines have.
    let before = moved.lines();
    project.ok(&["volume", "mv", "moving_data", "--to", &from]);
    assert_eq!(moved.host(), from);
    moved.assert_goes_on(before);
    project.ok(&["down", "-v"]);
    project.assert_gone();
}

/// Kills mcompose in the middle of a move, once something is so.
fn killed(running: Running, what: &str, is_so: impl Fn() -> bool) {
    wait_until(what, || is_so() || running.stderr().contains("error"));
    assert!(!running.stderr().contains("error"), "{}", running.stderr());
    drop(running);
}

#[test]
fn a_move_that_is_killed_leaves_the_data_whole_in_one_place_and_goes_on() {
    let fleet = own(2);
    let moved = Moved::new(&fleet, "killed");
    let project = &moved.project;
    let has = |host: &str, name: &str| volumes(fleet.host(host)).iter().any(|volume| volume.starts_with(name));
    let (from, to) = (moved.host(), others(&fleet, &moved.host()).remove(0));

    let before = moved.lines();
    let running = project.start(&["volume", "mv", "data", "--to", &to]);
    killed(running, "the copy is begun", || has(&to, "killed_data"));
    project.ok(&["up", "-d"]).assert_says(&["a move of `killed_data`", "was interrupted", "volume mv killed_data --to"]);
    assert_eq!(moved.host(), from);
    moved.assert_goes_on(before);

    let before = moved.lines();
    let running = project.start(&["volume", "mv", "data", "--to", &to]);
    killed(running, "the replica is stopped", || !project.running().contains_key("killed-store-1"));
    project.ok(&["up", "-d"]);
    assert_eq!(
        project.spread("store").split(':').next(),
        Some(if has(&from, "mcompose_outgoing") { to.as_str() } else { from.as_str() })
    );
    moved.assert_goes_on(before);

    let before = moved.lines();
    let running = project.start(&["volume", "mv", "data", "--to", &to]);
    killed(running, "it has moved", || has(&from, "mcompose_outgoing") || !has(&from, "killed_data"));
    project.ok(&["up", "-d"]);
    assert_eq!(moved.host(), to);
    moved.assert_goes_on(before);
    project.ok(&["volume", "mv", "data", "--to", &to]);
    moved.assert_goes_on(before);
    assert_eq!(
        (has(&from, "killed"), has(&from, "mcompose"), volumes(fleet.host(&to))),
        (false, false, vec!["killed_data".to_owned()])
    );

    // What is interrupted by hand goes back by itself.
    let before = moved.lines();
    let running = project.start(&["volume", "mv", "data", "--to", &from]);
    wait_until("the copy is begun", || has(&from, "killed_data"));
    running.interrupt();
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.everything());
    ended.assert_says(&["going back"]);
    assert_eq!(moved.host(), to);
    moved.assert_goes_on(before);
    assert!(!has(&from, "killed_data") && !has(&from, "mcompose"), "{:?}", volumes(fleet.host(&from)));
    project.ok(&["down", "-v"]);
    project.assert_gone();
}

/// When a move is killed.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// It has said so many of the ten parts of what a whole one says.
    Said(usize),
    /// So many MiB of the large file are on the new host.
    Arrived(u64),
}

/// Two each, one after the other: who was killed leaves a lock, which the next one waits for.
const POINTS: [(&str, [Point; 2]); 5] = [
    ("points-1", [Point::Said(0), Point::Said(5)]),
    ("points-2", [Point::Said(2), Point::Said(6)]),
    ("points-3", [Point::Arrived(1), Point::Said(7)]),
    ("points-4", [Point::Arrived(20), Point::Said(8)]),
    ("points-5", [Point::Said(4), Point::Said(9)]),
];

/// What is on a host's disk of the volume is whole: what stays as it was, and a journal without a gap.
fn assert_whole(host: &FleetHost, volume: &str, bulk: &[u8], least: u64) {
    let read = |name: &str| {
        std::fs::read(file_of(host, volume, name)).unwrap_or_else(|error| panic!("{name} on {}: {error}", host.name))
    };
    assert!(read("bulk") == bulk, "bulk on {} is another", host.name);
    assert_eq!(read("a/b c/file"), b"text\n");
    let journal = String::from_utf8(read("journal")).expect("they are numbers");
    // The last line may be under way.
    let lines: Vec<&str> = journal.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    let is_next = |(index, line): (usize, &&str)| line.trim_end().parse() == Ok(index + 1);
    assert!(lines.iter().enumerate().all(is_next), "the journal on {} has a gap: {journal}", host.name);
    assert!(lines.len() as u64 >= least, "{} lines on {}, and there were {least}", lines.len(), host.name);
}

#[test]
fn a_move_that_is_killed_anywhere_leaves_one_whole_copy_and_is_finished_by_the_next() {
    let fleet = own(2);
    let first = Moved::new(&fleet, "points");
    let to = others(&fleet, &first.host()).remove(0);
    let whole = first.project.ok(&["volume", "mv", "data", "--to", &to]).stderr.lines().count();
    let all = POINTS.map(|(name, points)| (Moved::new(&fleet, name), points));
    std::thread::scope(|scope| {
        for (moved, points) in &all {
            let fleet = &fleet;
            scope.spawn(move || {
                for (number, point) in points.iter().enumerate() {
                    kill_and_finish(fleet, moved, *point, whole, number == 1);
                }
            });
        }
    });
}

/// Kills a move at a point. `up`: the replica starts where its data is, before the same move is made again.
fn kill_and_finish(fleet: &Fleet, moved: &Moved<'_>, point: Point, whole: usize, up: bool) {
    let project = &moved.project;
    let volume = format!("{}_data", project.name);
    let (outgoing, incoming) = (format!("mcompose_outgoing_{volume}"), format!("mcompose_incoming_{volume}"));
    let has = |host: &FleetHost, name: &str| volumes(host).iter().any(|volume| volume == name);
    let from = fleet.host(&moved.host());
    let to = fleet.host(&others(fleet, &from.name).remove(0));
    let bulk = std::fs::read(file_of(from, &volume, "bulk")).expect("tests run as root");
    let before = moved.lines();

    let running = project.start(&["volume", "mv", "data", "--to", &to.name]);
    wait_until(&format!("{point:?} of {whole} lines"), || match point {
        Point::Said(tenths) => running.stderr().lines().count() >= whole * tenths / 10,
        Point::Arrived(mib) => std::fs::metadata(file_of(to, &volume, "bulk")).is_ok_and(|bulk| bulk.len() >= mib << 20),
    });
    let said = running.stderr();
    drop(running);
    // Where the data lives is said by the mark; while there is a copy on one host alone, it lives there.
    let home = if has(from, &outgoing) || !has(from, &volume) { to } else { from };
    assert_whole(home, &volume, &bulk, before);
    if up {
        project.ok(&["up", "-d"]);
        assert_eq!(moved.host(), home.name, "{point:?}: {said}");
        moved.assert_goes_on(before);
    }
    let ended = project.ok(&["volume", "mv", "data", "--to", &to.name]);
    assert_eq!(moved.host(), to.name, "{point:?}: {}", ended.everything());
    assert_whole(to, &volume, &bulk, before);
    moved.assert_goes_on(before);
    let left: Vec<&String> =
        [&volume, &outgoing, &incoming].into_iter().filter(|name| has(from, name) || has(to, name)).collect();
    assert!(!has(from, &volume) && left == [&volume], "{point:?}: {left:?}: {}", ended.everything());
}

fn file_of(host: &FleetHost, volume: &str, name: &str) -> std::path::PathBuf {
    host.folder.join("data/volumes").join(volume).join("_data").join(name)
}
