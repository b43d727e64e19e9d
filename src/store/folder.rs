//! Records of one host outside of a swarm: a folder on this machine.
//!
//! `FOLDER/PROJECT/REVISION.json` has the head on its first line and the content on the second. Files appear whole or
//! not at all (written beside, synced, renamed). `FOLDER/PROJECT/seats` says where each slot is and
//! which services are halted. The lock is a file lock that ends with its process.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::record::{Encoded, Standing, decode, to_prune};
use super::{Draft, Holder, Lock, RECORDS_KEPT, Record, RecordHead, RecordState, Says, Store, StoreError, Supervisor, shortened};
use crate::project::{ProjectName, ServiceName};

/// Between two looks at a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// Between two looks at a lease that another process holds.
const LEASE_POLL: Duration = Duration::from_secs(1);
/// No project has a dot in its name.
const LEASE: &str = "supervisor.lease";
const SAYS: &str = "supervisor.says";
const FILE_BYTES_MAX: u64 = 256 << 20;

pub struct FolderStore {
    folder: PathBuf,
}

impl FolderStore {
    /// Nothing is made before something is kept.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn project_folder(&self, project: &ProjectName) -> PathBuf {
        self.folder.join(project.as_str())
    }

    fn record_path(&self, project: &ProjectName, revision: u64) -> PathBuf {
        self.project_folder(project).join(format!("{revision}.json"))
    }

    /// Revisions that are kept, the newest first.
    fn revisions(&self, project: &ProjectName) -> Result<Vec<u64>, StoreError> {
        let folder = self.project_folder(project);
        let names = names_in(&folder)?;
        let mut revisions: Vec<u64> =
            names.iter().filter_map(|name| name.strip_suffix(".json")).filter_map(|stem| stem.parse().ok()).collect();
        revisions.sort_unstable_by(|a, b| b.cmp(a));
        Ok(revisions)
    }

    /// Head and content; nothing where there is no such record.
    fn read(&self, project: &ProjectName, revision: u64) -> Result<Option<(RecordHead, Vec<u8>)>, StoreError> {
        let path = self.record_path(project, revision);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read a record", &path)(error)),
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let head = serde_json::from_slice(&bytes[..end]).map_err(|error| damaged(&path, error.to_string()))?;
        let body = bytes.split_off((end + 1).min(bytes.len()));
        Ok(Some((head, body)))
    }

    fn head(&self, project: &ProjectName, revision: u64) -> Result<Option<RecordHead>, StoreError> {
        Ok(self.read(project, revision)?.map(|(head, _)| head))
    }

    fn write_record(&self, head: &RecordHead, body: &[u8]) -> Result<(), StoreError> {
        let path = self.record_path(&head.project, head.revision);
        let mut bytes = serde_json::to_vec(head).map_err(|error| damaged(&path, error.to_string()))?;
        bytes.push(b'\n');
        bytes.extend(body);
        self.write(&head.project, &path, &bytes)
    }

    fn seats_path(&self, project: &ProjectName) -> PathBuf {
        self.project_folder(project).join("seats")
    }

    fn standing(&self, project: &ProjectName) -> Result<Standing, StoreError> {
        let path = self.seats_path(project);
        match fs::read(&path) {
            Ok(bytes) => Standing::decode(&bytes).map_err(|why| damaged(&path, why)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Standing::default()),
            Err(error) => Err(io("read the seats", &path)(error)),
        }
    }

    fn write_standing(&self, project: &ProjectName, standing: &Standing) -> Result<(), StoreError> {
        if self.standing(project).is_ok_and(|known| known == *standing) {
            return Ok(());
        }
        self.write(project, &self.seats_path(project), &standing.encode())
    }

    fn write(&self, project: &ProjectName, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = self.project_folder(project);
        make_folder(&folder)?;
        let beside = folder.join(".new");
        let written =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            });
        let renamed = written.and_then(|()| fs::rename(&beside, path)).and_then(|()| File::open(&folder)?.sync_all());
        renamed.map_err(io("write a record", path))
    }
}

#[async_trait]
impl Store for FolderStore {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    async fn lock(
        &self,
        project: &ProjectName,
        holder: &Holder,
        wait_max: Duration,
        waiting: &(dyn Fn(Holder) + Send + Sync),
    ) -> Result<Lock, StoreError> {
        make_folder(&self.folder)?;
        let path = self.folder.join(format!("{project}.lock"));
        let began = Instant::now();
        let mut told = false;
        loop {
            if let Some(file) = try_lock(&path, holder)? {
                return Ok(Lock::of_file(file, path));
            }
            let other = fs::read_to_string(&path).map(|text| holder_of(&text)).unwrap_or_default();
            if !std::mem::replace(&mut told, true) {
                waiting(other.clone());
            }
            if began.elapsed() >= wait_max {
                let waited_secs = began.elapsed().as_secs();
                return Err(StoreError::Held { project: project.clone(), holder: other.to_string(), waited_secs });
            }
            sleep(LOCK_POLL).await;
        }
    }

    async fn lease(&self, holder: &Holder, says: Says) -> Result<Lock, StoreError> {
        make_folder(&self.folder)?;
        let path = self.folder.join(LEASE);
        loop {
            if let Some(file) = try_lock(&path, holder)? {
                tokio::spawn(keep_said(self.folder.join(SAYS), says));
                return Ok(Lock::of_file(file, path));
            }
            sleep(LEASE_POLL).await;
        }
    }

    async fn supervisor(&self) -> Result<Option<Supervisor>, StoreError> {
        let path = self.folder.join(LEASE);
        let is_held = match OpenOptions::new().read(true).open(&path) {
            Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        };
        let holder = || fs::read_to_string(&path).map(|text| holder_of(&text)).unwrap_or_default();
        let says = || fs::read_to_string(self.folder.join(SAYS)).unwrap_or_default();
        Ok(is_held.then(|| Supervisor { holder: holder(), renewed_at: None, says: says() }))
    }

    async fn latest(&self, project: &ProjectName) -> Result<Option<Record>, StoreError> {
        match self.revisions(project)?.first() {
            Some(revision) => self.record(project, *revision).await,
            None => Ok(None),
        }
    }

    async fn record(&self, project: &ProjectName, revision: u64) -> Result<Option<Record>, StoreError> {
        let Some((head, body)) = self.read(project, revision)? else { return Ok(None) };
        decode(head, &body, self.standing(project)?).map(Some).map_err(|why| damaged(&self.record_path(project, revision), why))
    }

    async fn records(&self, project: &ProjectName) -> Result<Vec<RecordHead>, StoreError> {
        let heads = self.revisions(project)?.into_iter().map(|revision| self.head(project, revision));
        Ok(heads.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    async fn projects(&self) -> Result<Vec<RecordHead>, StoreError> {
        let mut heads = Vec::new();
        let mut names: Vec<ProjectName> =
            names_in(&self.folder)?.into_iter().filter_map(|name| ProjectName::new(name).ok()).collect();
        names.sort();
        for project in names {
            if let Some(revision) = self.revisions(&project)?.first() {
                heads.extend(self.head(&project, *revision)?);
            }
        }
        Ok(heads)
    }

    async fn put(&self, draft: Draft) -> Result<Record, StoreError> {
        let encoded = Encoded::of(draft);
        let project = encoded.head.project.clone();
        let revisions = self.revisions(&project)?;
        let newest = revisions.first().copied().unwrap_or(0);
        if let Some(head) = self.head(&project, newest)?.filter(|head| encoded.is_again(head)) {
            self.write_standing(&project, &encoded.standing())?;
            return Ok(encoded.record(head));
        }
        let head = encoded.head_after(newest);
        self.write_record(&head, &encoded.bytes)?;
        self.write_standing(&project, &encoded.standing())?;
        let heads = self.records(&project).await?;
        for old in to_prune(heads.into_iter(), RECORDS_KEPT) {
            let path = self.record_path(&project, old);
            fs::remove_file(&path).map_err(io("remove an old record", &path))?;
        }
        Ok(encoded.record(head))
    }

    async fn set_state(
        &self,
        project: &ProjectName,
        revision: u64,
        state: RecordState,
        stuck: &BTreeSet<ServiceName>,
    ) -> Result<(), StoreError> {
        let Some((head, body)) = self.read(project, revision)? else { return Ok(()) };
        let now = RecordHead { state, stuck: stuck.clone(), ..head.clone() };
        if now == head { Ok(()) } else { self.write_record(&now, &body) }
    }

    async fn remove(&self, project: &ProjectName) -> Result<(), StoreError> {
        let folder = self.project_folder(project);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove the records", &folder)(error)),
            _ => Ok(()),
        }
    }
}

/// The locked file, or nothing if another holds it.
fn try_lock(path: &Path, holder: &Holder) -> Result<Option<File>, StoreError> {
    // A file that lost its name between opening and locking is not the lock any more: its holder was just letting go.
    const TRIES_MAX: u32 = 10;
    for _ in 0..TRIES_MAX {
        let Some(file) = try_lock_once(path)? else { return Ok(None) };
        if is_at(&file, path) {
            return note_holder(file, path, holder).map(Some);
        }
    }
    Ok(None)
}

/// Keeps what a supervisor says for as long as it may say more. Who cannot write it loses nothing but that.
async fn keep_said(path: PathBuf, mut says: Says) {
    loop {
        let text = shortened(&says.borrow_and_update()).to_owned();
        let beside = path.with_extension("new");
        let _ = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
        if says.changed().await.is_err() {
            return;
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(inode).ok() == fs::metadata(path).map(inode).ok()
}

fn note_holder(mut file: File, path: &Path, holder: &Holder) -> Result<File, StoreError> {
    let text = format!("{}\n{}\n{}\n", holder.who, holder.what, holder.since);
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(io("write the lock", path))?;
    Ok(file)
}

fn try_lock_once(path: &Path) -> Result<Option<File>, StoreError> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = open.map_err(io("open the lock", path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(io("lock", path)(error)),
    }
}

fn holder_of(text: &str) -> Holder {
    let mut lines = text.lines().map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    Holder { who: next(), what: next(), since: next().parse().unwrap_or_default(), token: String::new() }
}

/// Names of the entries; none where there is no such folder.
fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("list the records", folder)(error)),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<Vec<_>, _>>().map_err(io("list the records", folder))
}

/// Readable by its owner only: a record has the environment of services in it.
fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("make the folder of records", folder))
}

fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { what, path: path.display().to_string(), source }
}

fn damaged(path: &Path, why: String) -> StoreError {
    StoreError::Damaged { name: format!("`{}`", path.display()), why }
}
