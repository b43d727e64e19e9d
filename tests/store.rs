//! What every store keeps, whichever it is: the same specification for the folder and for the swarm's Raft.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mcompose::cluster::Managers;
use mcompose::engine::ErrorKind;
use mcompose::engine::fake::{Fake, Fault, FaultRule};
use mcompose::project::{FileObject, HostName, Project, ProjectName, Role, Service, ServiceName, Slot};
use mcompose::store::{Draft, FolderStore, Holder, LOCK_TTL, RECORDS_KEPT, RaftStore, Store, StoreError};
use mcompose::world::Swarm;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("mcompose-store-{}-{number}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a specification on every kind of store, each empty.
async fn on_every_store(specification: impl AsyncFn(Arc<dyn Store>)) {
    let folder = Folder::new();
    specification(Arc::new(FolderStore::new(folder.0.clone()))).await;
    let fake = swarm_of_three().await;
    specification(Arc::new(raft_over(&fake, &["a", "b", "c"]))).await;
}

/// Hosts a, b and c, all managers of one swarm.
async fn swarm_of_three() -> Fake {
    let fake = Fake::new(&["a", "b", "c"]);
    let engines = fake.engines();
    engines["a"].swarm_init("10.0.0.1").await.expect("a swarm begins");
    let token = engines["a"].join_token(Role::Manager).await.expect("it has a token");
    let remote = match &fake.snapshot().seen("a").expect("it is up").swarm {
        Swarm::Active(member) => member.managers[&member.node_id].clone(),
        other => panic!("{other:?}"),
    };
    for (host, advertise) in [("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        engines[host].swarm_join(advertise, &remote, &token).await.expect("it joins");
    }
    fake
}

/// The store that reaches the swarm through these managers.
fn raft_over(fake: &Fake, managers: &[&str]) -> RaftStore {
    let engines = fake.engines();
    let first = HostName::new(managers[0]).expect("a good name");
    let reached = managers.iter().map(|name| engines[*name].clone()).collect();
    RaftStore::new(Managers::new(reached).expect("there are managers"), first)
}

fn name(text: &str) -> ProjectName {
    ProjectName::new(text).expect("a good name")
}

fn project(project: &str, image: &str) -> Project {
    let service = Service { image: Some(image.to_owned()), ..Service::default() };
    Project {
        name: name(project),
        working_dir: "/srv".to_owned(),
        config_files: vec!["/srv/compose.yaml".to_owned()],
        environment_files: Vec::new(),
        services: BTreeMap::from([(ServiceName::new("web").expect("a good name"), service)]),
        disabled_services: Default::default(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        configs: BTreeMap::new(),
        secrets: BTreeMap::new(),
        config_hashes: BTreeMap::new(),
    }
}

fn draft(project: Project) -> Draft {
    Draft {
        project,
        scales: BTreeMap::new(),
        seats: BTreeMap::new(),
        created: 1_700_000_000,
        by: "me@here".to_owned(),
        command: "up -d".to_owned(),
    }
}

fn holder(token: &str) -> Holder {
    Holder { who: format!("{token}@here"), what: "up".to_owned(), since: 1_700_000_000, token: token.to_owned() }
}

const NO_WAIT: Duration = Duration::ZERO;

#[tokio::test]
async fn an_empty_store_has_nothing_and_says_so() {
    on_every_store(async |store| {
        assert_eq!(store.latest(&name("p")).await.expect("it answers"), None);
        assert_eq!(store.record(&name("p"), 1).await.expect("it answers"), None);
        assert_eq!(store.projects().await.expect("it answers"), []);
        store.remove(&name("p")).await.expect("nothing to remove is no error");
    })
    .await;
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_put() {
    on_every_store(async |store| {
        let mut draft = draft(project("p", "nginx"));
        draft.scales.insert(ServiceName::new("web").expect("a good name"), 5);
        let put = store.put(draft.clone()).await.expect("it is kept");
        assert_eq!((put.head.revision, put.head.by.as_str(), put.head.command.as_str()), (1, "me@here", "up -d"));
        assert_eq!((&put.project, &put.scales), (&draft.project, &draft.scales));
        assert_eq!(store.latest(&name("p")).await.expect("it answers"), Some(put.clone()));
        assert_eq!(store.record(&name("p"), 1).await.expect("it answers"), Some(put));
        assert_eq!(store.latest(&name("other")).await.expect("it answers"), None);
    })
    .await;
}

#[tokio::test]
async fn the_same_project_again_is_the_same_revision() {
    on_every_store(async |store| {
        let mut revisions = Vec::new();
        for image in ["a", "a", "b", "a"] {
            revisions.push(store.put(draft(project("p", image))).await.expect("it is kept").head.revision);
        }
        assert_eq!(revisions, [1, 1, 2, 3]);
        let mut scaled = draft(project("p", "a"));
        scaled.scales.insert(ServiceName::new("web").expect("a good name"), 2);
        assert_eq!(store.put(scaled).await.expect("it is kept").head.revision, 4);
    })
    .await;
}

#[tokio::test]
async fn where_slots_are_is_kept_beside_the_record_and_makes_no_new_one() {
    on_every_store(async |store| {
        let seats = |host: &str| {
            let slot = |number| Slot::new(ServiceName::new("web").expect("a good name"), number).expect("not 0");
            let host = HostName::new(host).expect("a good name");
            BTreeMap::from([(slot(1), host.clone()), (slot(2), host)])
        };
        for (image, host, revision) in
            [("a", "alpha", 1), ("a", "beta", 1), ("a", "beta", 1), ("b", "beta", 2), ("b", "alpha", 2)]
        {
            let put = store.put(Draft { seats: seats(host), ..draft(project("p", image)) }).await.expect("it is kept");
            assert_eq!((put.head.revision, &put.seats), (revision, &seats(host)));
            assert_eq!(store.latest(&name("p")).await.expect("it answers"), Some(put));
        }
        assert_eq!(store.record(&name("p"), 1).await.expect("it answers").expect("it is kept").seats, seats("alpha"));
        store.remove(&name("p")).await.expect("it is removed");
        let anew = store.put(draft(project("p", "a"))).await.expect("it is kept");
        assert_eq!(store.latest(&name("p")).await.expect("it answers").expect("it is kept"), anew);
        assert_eq!(anew.seats, BTreeMap::new());
    })
    .await;
}

#[tokio::test]
async fn the_last_records_are_kept_and_older_ones_go() {
    on_every_store(async |store| {
        let count = RECORDS_KEPT as u64 + 3;
        for number in 1..=count {
            store.put(draft(project("p", &format!("image:{number}")))).await.expect("it is kept");
        }
        let kept: Vec<u64> = store.records(&name("p")).await.expect("it answers").iter().map(|head| head.revision).collect();
        assert_eq!(kept, (4..=count).rev().collect::<Vec<_>>());
        let oldest = store.record(&name("p"), 4).await.expect("it answers").expect("it is kept");
        assert_eq!(oldest.project, project("p", "image:4"));
        assert_eq!(store.record(&name("p"), 3).await.expect("it answers"), None);
    })
    .await;
}

#[tokio::test]
async fn projects_are_listed_with_their_newest_record_and_removed_one_by_one() {
    on_every_store(async |store| {
        for (name, image) in [("b", "1"), ("a", "1"), ("b", "2"), ("a-b", "1"), ("a_b", "1")] {
            store.put(draft(project(name, image))).await.expect("it is kept");
        }
        let listed = async || {
            let heads = store.projects().await.expect("it answers");
            heads.iter().map(|head| format!("{} {}", head.project, head.revision)).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(listed().await, "a 1, a-b 1, a_b 1, b 2");
        store.remove(&name("a")).await.expect("it is removed");
        store.remove(&name("b")).await.expect("it is removed");
        assert_eq!(listed().await, "a-b 1, a_b 1");
        assert_eq!(store.put(draft(project("a", "9"))).await.expect("it is kept").head.revision, 1);
    })
    .await;
}

#[tokio::test]
async fn a_long_name_and_a_large_project_are_kept_whole() {
    on_every_store(async |store| {
        let long = "a-project-with-a-name-that-is-much-longer-than-a-config-object-may-have-it";
        let mut project = project(long, "nginx");
        // Digits of a simple generator hardly compress: several parts of a config object.
        let mut state: u64 = 1;
        let noise: String = (0..1_200_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b'!' + ((state >> 33) % 90) as u8)
            })
            .collect();
        let content = FileObject { name: "c".to_owned(), content: Some(noise), ..FileObject::default() };
        project.configs.insert("c".to_owned(), content);
        store.put(draft(project.clone())).await.expect("it is kept");
        let twin = format!("{long}-2");
        assert_eq!(store.latest(&name(&twin)).await.expect("it answers"), None);
        assert_eq!(store.latest(&name(long)).await.expect("it answers").expect("it is kept").project, project);
        store.remove(&name(long)).await.expect("it is removed");
        assert_eq!(store.latest(&name(long)).await.expect("it answers"), None);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_a_project_that_was_removed() {
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a"]);
    store.put(draft(project("p", "a"))).await.expect("it is kept");
    store.remove(&name("p")).await.expect("it is removed");
    assert_eq!(fake.engines()["b"].configs("").await.expect("it answers"), []);
}

#[tokio::test]
async fn values_that_come_from_the_environment_are_not_kept() {
    on_every_store(async |store| {
        let object = |environment: Option<&str>| FileObject {
            name: "x".to_owned(),
            environment: environment.map(str::to_owned),
            content: Some("hush".to_owned()),
            ..FileObject::default()
        };
        let mut project = project("p", "nginx");
        project.secrets.insert("from_environment".to_owned(), object(Some("TOKEN")));
        project.secrets.insert("inline".to_owned(), object(None));
        project.configs.insert("from_environment".to_owned(), object(Some("TOKEN")));
        store.put(draft(project)).await.expect("it is kept");
        let kept = store.latest(&name("p")).await.expect("it answers").expect("it is kept").project;
        assert!(!serde_json::to_string(&kept).expect("it is JSON").contains("hush"));
        assert_eq!(kept.secrets["from_environment"].environment.as_deref(), Some("TOKEN"));
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_held_by_one_and_who_waits_is_told_by_whom() {
    on_every_store(async |store| {
        let lock = store.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
        let other = store.lock(&name("q"), &holder("second"), NO_WAIT, &|_| {}).await.expect("another project's is free");
        let error = store.lock(&name("p"), &holder("second"), NO_WAIT, &|_| {}).await.expect_err("it is held");
        assert!(matches!(&error, StoreError::Held { .. }), "{error}");
        assert_eq!(error.to_string(), "the project `p` is being changed by first@here (`up`); waited 0 s");
        assert!(!*lock.lost().borrow());
        lock.release().await;
        other.release().await;
        let lock = store.lock(&name("p"), &holder("second"), NO_WAIT, &|_| {}).await.expect("it is free again");
        lock.release().await;
    })
    .await;
}

#[tokio::test]
async fn who_waits_gets_the_lock_once_it_is_released() {
    on_every_store(async |store| {
        let lock = store.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
        let (told, asked) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        let waiting = |holder: Holder| drop(told.lock().expect("nobody panicked").take().map(|told| told.send(holder.who)));
        let second = holder("second");
        let q = name("p");
        let wait = store.lock(&q, &second, Duration::from_secs(60), &waiting);
        let release = async {
            assert_eq!(asked.await.expect("it waits"), "first@here");
            lock.release().await;
        };
        let (second, ()) = tokio::join!(wait, release);
        second.expect("it is free").release().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_holder_is_cut_off_is_lost_to_it_and_taken_over_by_another() {
    let fake = swarm_of_three().await;
    let lock = raft_over(&fake, &["a"]).lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
    let mut lost = lock.lost();
    fake.host("a").cut();
    let others = raft_over(&fake, &["b", "c"]);
    let taken = others.lock(&name("p"), &holder("second"), LOCK_TTL * 2, &|_| {}).await.expect("it is taken over");
    lost.wait_for(|lost| *lost).await.expect("the first knows that it lost it");
    fake.host("a").heal();
    lock.release().await;
    assert!(!*taken.lost().borrow());
    let error = others.lock(&name("p"), &holder("third"), NO_WAIT, &|_| {}).await.expect_err("the second still holds it");
    assert!(error.to_string().contains("second@here"), "{error}");
    taken.release().await;
    assert_eq!(fake.engines()["b"].configs("mcompose.").await.expect("it answers"), []);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_renewed_is_never_taken_over() {
    let fake = swarm_of_three().await;
    let lock = raft_over(&fake, &["a"]).lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
    let others = raft_over(&fake, &["b"]);
    let error = others.lock(&name("p"), &holder("second"), LOCK_TTL * 5, &|_| {}).await.expect_err("it is held");
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(!*lock.lost().borrow());
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_leader_costs_neither_lock_nor_record() {
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a", "b", "c"]);
    let lock = store.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
    fake.host("a").cut();
    let no_leader = Fault::Fail { kind: ErrorKind::NoLeader, message: "The swarm does not have a leader".to_owned() };
    // Both that are left are without a leader for a while: some twenty seconds of calls.
    for (host, times) in [("b", 70), ("c", 70)] {
        fake.fault(FaultRule { host: Some(host.to_owned()), call: String::new(), skip: 0, times, fault: no_leader.clone() });
    }
    assert_eq!(store.put(draft(project("p", "nginx"))).await.expect("it is kept").head.revision, 1);
    tokio::time::sleep(LOCK_TTL).await;
    assert!(!*lock.lost().borrow());
    lock.release().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_leads_to_no_second_record() {
    for what in ["create", "config"] {
        let fake = swarm_of_three().await;
        let store = raft_over(&fake, &["a", "b", "c"]);
        fake.fault(FaultRule::once(what, Fault::Unanswered));
        assert_eq!(store.put(draft(project("p", "nginx"))).await.expect("it is kept").head.revision, 1);
        assert_eq!(store.records(&name("p")).await.expect("it answers").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_is_lost_is_held_all_the_same() {
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a", "b", "c"]);
    fake.fault(FaultRule { host: None, call: "create".to_owned(), skip: 0, times: 1, fault: Fault::Unanswered });
    let lock = store.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is its own");
    lock.release().await;
}

#[tokio::test]
async fn who_writes_without_the_lock_is_told_that_somebody_was_faster() {
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a"]);
    store.put(draft(project("p", "one"))).await.expect("it is kept");
    let engines = fake.engines();
    let mut theirs = engines["b"].configs("mcompose.p.1").await.expect("it answers").remove(0);
    theirs.labels.insert("io.mcompose.revision".to_owned(), "2".to_owned());
    // Between the look and the write, somebody else writes revision 2.
    let write = Fault::Hang;
    fake.fault(FaultRule::once("create config", write));
    let put = store.put(draft(project("p", "two")));
    let other = async {
        tokio::task::yield_now().await;
        engines["b"].config_create("mcompose.p.2", &theirs.labels, &theirs.data).await.expect("it is written");
        fake.heal_faults();
    };
    let (put, ()) = tokio::join!(put, other);
    assert_eq!(
        put.expect_err("it was faster").to_string(),
        "revision 2 of the project `p` was written by somebody else meanwhile"
    );
}
