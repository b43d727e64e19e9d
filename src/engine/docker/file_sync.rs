//! Folders of this machine, as a build reads them (BuildKit's session/filesync, `DiffCopy`). It is told of every entry, and asks for the
//! files that it does not have yet.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::{Body, Frame};
use hyper::header::HeaderMap;
use tokio::sync::mpsc;

use super::grpc::{Answer, FINE, Messages, NOT_FOUND, framed, respond, status, unescaped, with_status};
use super::proto::{Message, number_of};
use crate::engine::{Folder, FolderEntry, Lent, Wanted};

pub(super) const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// Packets that wait to be sent.
const PACKETS_MAX: usize = 16;
const PIECE_BYTES: usize = 32 * 1024;

// Kinds of packets (tonistiigi/fsutil, types/wire.proto).
const STAT: u64 = 0;
const REQUEST: u64 = 1;
const DATA: u64 = 2;
const FINISH: u64 = 3;
const ERROR: u64 = 4;

type Sender = mpsc::Sender<io::Result<Frame<Bytes>>>;

/// What the engine asks while it is told.
enum Ask {
    /// A file, by how many entries were told before it.
    File(u64),
    Finish,
}

/// Why no more is told.
enum Stopped {
    /// The engine has had enough.
    Unwanted,
    Failed(io::Error),
}

/// Answers until the engine has all that it wants.
pub(super) fn diff_copy<B>(lent: &Lent, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let name = values(request.headers(), "dir-name").into_iter().next().unwrap_or_default();
    let Some(folder) = lent.folders.get(&name).map(Arc::clone) else { return status(NOT_FOUND) };
    let wanted = Wanted {
        include: values(request.headers(), "include-patterns"),
        exclude: values(request.headers(), "exclude-patterns"),
        follow: values(request.headers(), "followpaths"),
    };
    let (sender, receiver) = mpsc::channel(PACKETS_MAX);
    // Unbounded, since the engine asks while it is told and would else wait for us as we wait for it; `tell` counts.
    let (asks, asked) = mpsc::unbounded_channel();
    tokio::spawn(listen(request.into_body(), asks));
    tokio::task::spawn_blocking(move || tell(folder.as_ref(), &wanted, &sender, asked));
    let packets = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    respond(StreamBody::new(packets).boxed_unsync())
}

/// What the engine says of one thing, in as many headers as it has parts.
fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let is_escaped = headers.get(format!("{name}-encoded")).is_some_and(|value| value == "1");
    let texts = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    texts.map(|text| if is_escaped { unescaped(&text.replace('+', " ")) } else { text }).collect()
}

async fn listen<B>(mut body: B, asks: mpsc::UnboundedSender<Ask>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut messages = Messages::default();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        messages.add(&data);
        loop {
            let ask = match messages.next() {
                Ok(Some(packet)) => match number_of(&packet, 1) {
                    REQUEST => Ask::File(number_of(&packet, 3)),
                    FINISH => Ask::Finish,
                    ERROR => return,
                    _ => continue,
                },
                Ok(None) => break,
                Err(_) => return,
            };
            if asks.send(ask).is_err() {
                return;
            }
        }
    }
}

/// On a thread that may block.
fn tell(folder: &dyn Folder, wanted: &Wanted, sender: &Sender, asked: mpsc::UnboundedReceiver<Ask>) {
    let end = match tell_all(folder, wanted, sender, asked) {
        Ok(()) => Message::default().number(1, FINISH),
        Err(Stopped::Failed(error)) => Message::default().number(1, ERROR).text(4, &error.to_string()),
        Err(Stopped::Unwanted) => return,
    };
    if send(sender, end).is_ok() {
        let _ = sender.blocking_send(Ok(Frame::trailers(with_status(FINE))));
    }
}

fn tell_all(
    folder: &dyn Folder,
    wanted: &Wanted,
    sender: &Sender,
    mut asked: mpsc::UnboundedReceiver<Ask>,
) -> Result<(), Stopped> {
    let entries = folder.entries(wanted).map_err(Stopped::Failed)?;
    for entry in &entries {
        send(sender, Message::default().number(1, STAT).bytes(2, &stat(entry)))?;
    }
    send(sender, Message::default().number(1, STAT))?;
    // Each is asked for once at most.
    for _ in 0..=entries.len() {
        match asked.blocking_recv() {
            Some(Ask::File(id)) => {
                let entry = usize::try_from(id).ok().and_then(|index| entries.get(index));
                let unknown = || Stopped::Failed(io::Error::other("a file is asked for that nobody told of"));
                let path = &entry.ok_or_else(unknown)?.path;
                let unreadable =
                    |error: io::Error| Stopped::Failed(io::Error::other(format!("`{path}` cannot be read: {error}")));
                send_file(sender, id, folder.open(path).map_err(unreadable)?, unreadable)?;
            }
            Some(Ask::Finish) => return Ok(()),
            None => return Err(Stopped::Unwanted),
        }
    }
    Err(Stopped::Failed(io::Error::other("files are asked for more than once")))
}

/// A file in pieces; an empty one ends it.
fn send_file(
    sender: &Sender,
    id: u64,
    mut file: Box<dyn Read + Send>,
    unreadable: impl Fn(io::Error) -> Stopped,
) -> Result<(), Stopped> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let packet = Message::default().number(1, DATA).number(3, id);
        match file.read(&mut piece) {
            Ok(0) => return send(sender, packet),
            Ok(count) => send(sender, packet.bytes(4, &piece[..count]))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

fn send(sender: &Sender, packet: Message) -> Result<(), Stopped> {
    sender.blocking_send(Ok(Frame::data(framed(&packet.0)))).map_err(|_| Stopped::Unwanted)
}

/// `fsutil.types.Stat`: everything is root's, as with docker's own client.
fn stat(entry: &FolderEntry) -> Vec<u8> {
    let message = Message::default().text(1, &entry.path).number(2, go_mode(entry.mode).into()).number(5, entry.bytes);
    // A time before 1970 is a negative number, which protobuf writes as the number of 64 bits that has its bits.
    let message = message.number(6, entry.modified_ns as u64);
    message.text(7, entry.target.as_deref().unwrap_or_default()).0
}

/// Go's `os.FileMode` of a mode as `stat` has it.
fn go_mode(mode: u32) -> u32 {
    const KIND: u32 = 0o170_000;
    let kind = match mode & KIND {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        _ => 0,
    };
    let bits = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    bits.into_iter().filter(|(bit, _)| mode & bit != 0).fold(kind | mode & 0o777, |found, (_, bit)| found | bit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Two;

    impl Folder for Two {
        fn entries(&self, wanted: &Wanted) -> io::Result<Vec<FolderEntry>> {
            if wanted.exclude == ["everything ä"] {
                return Ok(Vec::new());
            }
            let entry = |path: &str, mode| FolderEntry { path: path.to_owned(), mode, bytes: 0, modified_ns: 0, target: None };
            Ok(vec![entry("folder", 0o040_755), entry("folder/file", 0o100_644)])
        }

        fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
            Ok(Box::new(io::Cursor::new(vec![path.len() as u8; PIECE_BYTES + 1])))
        }
    }

    /// The packets of an answer: kind, id, bytes.
    async fn sync(headers: &[(&str, &str)], asks: &[Message]) -> Vec<(u64, u64, usize)> {
        let folders = BTreeMap::from([("context".to_owned(), Arc::new(Two) as Arc<dyn Folder>)]);
        let lent = Lent { folders, ..Lent::default() };
        let mut request = Request::post("http://session/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Vec<u8> = asks.iter().flat_map(|ask| framed(&ask.0)).collect();
        let request = request.body(http_body_util::Full::new(Bytes::from(body))).expect("a request");
        let answer = diff_copy(&lent, request).into_body().collect().await.expect("it ends");
        let mut messages = Messages::default();
        messages.add(&answer.to_bytes());
        let mut packets = Vec::new();
        while let Ok(Some(packet)) = messages.next() {
            let bytes = super::super::proto::bytes_of(&packet, 4).map(<[u8]>::len).unwrap_or_default();
            packets.push((number_of(&packet, 1), number_of(&packet, 3), bytes));
        }
        packets
    }

    #[tokio::test]
    async fn a_folder_is_told_and_what_is_asked_for_is_sent_whole() {
        let asks = [Message::default().number(1, REQUEST).number(3, 1), Message::default().number(1, FINISH)];
        let packets = sync(&[("dir-name", "context")], &asks).await;
        let told = [(STAT, 0, 0), (STAT, 0, 0), (STAT, 0, 0)];
        let sent = [(DATA, 1, PIECE_BYTES), (DATA, 1, 1), (DATA, 1, 0), (FINISH, 0, 0)];
        assert_eq!(packets, [told.as_slice(), &sent].concat());
    }

    #[tokio::test]
    async fn what_nobody_told_of_is_refused_and_patterns_are_read() {
        let asks = [Message::default().number(1, REQUEST).number(3, 7)];
        assert_eq!(sync(&[("dir-name", "context")], &asks).await.last().map(|packet| packet.0), Some(ERROR));
        let headers = [("dir-name", "context"), ("exclude-patterns", "everything+%C3%A4"), ("exclude-patterns-encoded", "1")];
        assert_eq!(sync(&headers, &[Message::default().number(1, FINISH)]).await, [(STAT, 0, 0), (FINISH, 0, 0)]);
        assert_eq!(sync(&[("dir-name", "other")], &asks).await, []);
    }

    #[test]
    fn modes_are_those_of_go() {
        for (mode, expected) in [(0o100_644, 0o644), (0o040_755, 1 << 31 | 0o755), (0o120_777, 1 << 27 | 0o777)] {
            assert_eq!(go_mode(mode), expected);
        }
        assert_eq!(go_mode(0o107_755), 1 << 23 | 1 << 22 | 1 << 20 | 0o755);
    }
}
