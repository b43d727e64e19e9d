//! What every store keeps, whichever it is. Each specification is given a store that is empty.
#![allow(dead_code, reason = "several test binaries share it, and not all use all of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mcompose::project::{FileObject, HostName, Project, ProjectName, Service, ServiceName, Slot};
use mcompose::store::{Draft, Holder, RECORDS_KEPT, RecordState, Store, StoreError};
use tokio::sync::watch;
use tokio::time::sleep;

/// What a supervisor says goes along with its next renewal, which comes every two seconds.
const SAID_LOOKS_MAX: u32 = 100;

pub fn name(text: &str) -> ProjectName {
    ProjectName::new(text).expect("a good name")
}

pub fn project(project: &str, image: &str) -> Project {
    let service = Service { image: Some(image.to_owned()), ..Service::default() };
    Project {
        name: name(project),
        working_dir: "/srv".to_owned(),
        config_files: vec!["/srv/compose.yaml".to_owned()],
        environment_files: Vec::new(),
        services: BTreeMap::from([(ServiceName::new("web").expect("a good name"), service)]),
        disabled_services: Default::default(),
        bases: Default::default(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        configs: BTreeMap::new(),
        secrets: BTreeMap::new(),
        contents: BTreeMap::new(),
        data_folders: Default::default(),
        config_hashes: BTreeMap::new(),
    }
}

pub fn draft(project: Project) -> Draft {
    Draft {
        project,
        scales: BTreeMap::new(),
        seats: BTreeMap::new(),
        halted: BTreeSet::new(),
        newest_seen: 0,
        created: 1_700_000_000,
        by: "me@here".to_owned(),
        command: "up -d".to_owned(),
    }
}

pub fn holder(token: &str) -> Holder {
    Holder { who: format!("{token}@here"), what: "up".to_owned(), since: 1_700_000_000, token: token.to_owned() }
}

pub const NO_WAIT: Duration = Duration::ZERO;

pub async fn an_empty_store_has_nothing_and_says_so(store: Arc<dyn Store>) {
    assert_eq!(store.latest(&name("p")).await.expect("it answers"), None);
    assert_eq!(store.record(&name("p"), 1).await.expect("it answers"), None);
    assert_eq!(store.projects().await.expect("it answers"), []);
    store.remove(&name("p")).await.expect("nothing to remove is no error");
}

pub async fn a_record_comes_back_as_it_was_put(store: Arc<dyn Store>) {
    let mut draft = draft(project("p", "nginx"));
    draft.scales.insert(ServiceName::new("web").expect("a good name"), 5);
    let put = store.put(draft.clone()).await.expect("it is kept");
    assert_eq!((put.head.revision, put.head.by.as_str(), put.head.command.as_str()), (1, "me@here", "up -d"));
    assert_eq!((&put.project, &put.scales), (&draft.project, &draft.scales));
    assert_eq!(store.latest(&name("p")).await.expect("it answers"), Some(put.clone()));
    assert_eq!(store.record(&name("p"), 1).await.expect("it answers"), Some(put));
    assert_eq!(store.latest(&name("other")).await.expect("it answers"), None);
}

pub async fn the_same_project_again_is_the_same_revision(store: Arc<dyn Store>) {
    let mut revisions = Vec::new();
    for image in ["a", "a", "b", "a"] {
        revisions.push(store.put(draft(project("p", image))).await.expect("it is kept").head.revision);
    }
    assert_eq!(revisions, [1, 1, 2, 3]);
    let mut scaled = draft(project("p", "a"));
    scaled.scales.insert(ServiceName::new("web").expect("a good name"), 2);
    assert_eq!(store.put(scaled).await.expect("it is kept").head.revision, 4);
}

pub async fn where_slots_are_is_kept_beside_the_record_and_makes_no_new_one(store: Arc<dyn Store>) {
    let seats = |host: &str| {
        let slot = |number| Slot::new(ServiceName::new("web").expect("a good name"), number).expect("not 0");
        let host = HostName::new(host).expect("a good name");
        BTreeMap::from([(slot(1), host.clone()), (slot(2), host)])
    };
    for (image, host, revision) in [("a", "alpha", 1), ("a", "beta", 1), ("a", "beta", 1), ("b", "beta", 2), ("b", "alpha", 2)] {
        let put = store.put(Draft { seats: seats(host), ..draft(project("p", image)) }).await.expect("it is kept");
        assert_eq!((put.head.revision, &put.seats), (revision, &seats(host)));
        assert_eq!(store.latest(&name("p")).await.expect("it answers"), Some(put));
    }
    assert_eq!(store.record(&name("p"), 1).await.expect("it answers").expect("it is kept").seats, seats("alpha"));
    store.remove(&name("p")).await.expect("it is removed");
    let anew = store.put(draft(project("p", "a"))).await.expect("it is kept");
    assert_eq!(store.latest(&name("p")).await.expect("it answers").expect("it is kept"), anew);
    assert_eq!(anew.seats, BTreeMap::new());
}

pub async fn what_is_halted_is_kept_beside_the_record_and_makes_no_new_one(store: Arc<dyn Store>) {
    let web = BTreeSet::from([ServiceName::new("web").expect("a good name")]);
    let put = store.put(draft(project("p", "a"))).await.expect("it is kept");
    let halted = store.put(put.redraft(put.seats.clone(), web.clone())).await.expect("it is kept");
    assert_eq!((halted.head, halted.halted), (put.head, web));
    assert_eq!(store.latest(&name("p")).await.expect("it answers").expect("it is kept").halted.len(), 1);
}

pub async fn one_supervisor_holds_the_lease_and_the_next_has_it_when_it_is_given_back(store: Arc<dyn Store>) {
    let free = store.supervisor().await.expect("it answers");
    assert_eq!(free, None);
    let (say, says) = watch::channel("p web.1 fits nowhere\nq db.1 is held".to_owned());
    let lease = store.lease(&holder("first"), says.clone()).await.expect("it is free");
    let said = async |expect: &[&str]| {
        for _ in 0..SAID_LOOKS_MAX {
            let held = store.supervisor().await.expect("it answers").expect("it is held");
            assert_eq!(held.holder.who, "first@here");
            if held.says_of(&name("p")).collect::<Vec<_>>() == expect {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{expect:?} is never said");
    };
    said(&["web.1 fits nowhere"]).await;
    say.send_replace(String::new());
    said(&[]).await;
    let stand_in = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.lease(&holder("second"), says).await }
    });
    // A project of that name has a lock of its own.
    let waits = |_: Holder| panic!("nobody holds it");
    let lock = store.lock(&name("supervisor"), &holder("third"), Duration::ZERO, &waits).await.expect("it is free");
    lock.release().await;
    assert!(!stand_in.is_finished());
    lease.release().await;
    let lease = stand_in.await.expect("it ends").expect("it is its turn");
    let held = store.supervisor().await.expect("it answers").expect("it is held");
    assert_eq!(held.holder.who, "second@here");
    lease.release().await;
}

pub async fn the_last_records_are_kept_and_older_ones_go(store: Arc<dyn Store>) {
    let count = RECORDS_KEPT as u64 + 3;
    for number in 1..=count {
        store.put(draft(project("p", &format!("image:{number}")))).await.expect("it is kept");
    }
    let kept: Vec<u64> = store.records(&name("p")).await.expect("it answers").iter().map(|head| head.revision).collect();
    assert_eq!(kept, (4..=count).rev().collect::<Vec<_>>());
    let oldest = store.record(&name("p"), 4).await.expect("it answers").expect("it is kept");
    assert_eq!(oldest.project, project("p", "image:4"));
    assert_eq!(store.record(&name("p"), 3).await.expect("it answers"), None);
}

pub async fn projects_are_listed_with_their_newest_record_and_removed_one_by_one(store: Arc<dyn Store>) {
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
}

pub async fn a_long_name_and_a_large_project_are_kept_whole(store: Arc<dyn Store>) {
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
}

pub async fn values_that_come_from_the_environment_are_not_kept(store: Arc<dyn Store>) {
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
}

pub async fn a_lock_is_held_by_one_and_who_waits_is_told_by_whom(store: Arc<dyn Store>) {
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
}

pub async fn who_waits_gets_the_lock_once_it_is_released(store: Arc<dyn Store>) {
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
}

pub async fn a_record_is_newer_than_what_runs_already(store: Arc<dyn Store>) {
    let seen = |image: &str, newest_seen: u64| Draft { newest_seen, ..draft(project("p", image)) };
    let mut revisions = Vec::new();
    for (image, newest_seen) in [("a", 7), ("a", 8), ("a", 9), ("a", 12), ("b", 3)] {
        revisions.push(store.put(seen(image, newest_seen)).await.expect("it is kept").head.revision);
    }
    assert_eq!(revisions, [8, 8, 10, 13, 14]);
}

pub async fn how_far_a_deployment_came_is_written_down_and_the_last_good_one_stays(store: Arc<dyn Store>) {
    let p = name("p");
    for image in ["a", "b"] {
        store.put(draft(project("p", image))).await.expect("it is kept");
    }
    assert_eq!(store.latest(&p).await.expect("it answers").expect("it is kept").head.state, RecordState::Begun);
    let (nothing, stuck) = (BTreeSet::new(), ["web", "x.y"].map(|name| ServiceName::new(name).expect("a name")).into());
    store.set_state(&p, 1, RecordState::Good, &nothing).await.expect("it is kept");
    store.set_state(&p, 2, RecordState::Paused, &stuck).await.expect("it is kept");
    store.set_state(&p, 99, RecordState::Good, &nothing).await.expect("what is gone is no error");
    let again = store.put(draft(project("p", "b"))).await.expect("it is kept").head;
    assert_eq!((again.revision, again.state, &again.stuck), (2, RecordState::Paused, &stuck));
    store.set_state(&p, 2, RecordState::Begun, &nothing).await.expect("it is kept");
    assert_eq!(store.records(&p).await.expect("it answers")[0].stuck, nothing);
    for number in 0..RECORDS_KEPT + 2 {
        store.put(draft(project("p", &format!("later:{number}")))).await.expect("it is kept");
    }
    let heads = store.records(&p).await.expect("it answers");
    assert_eq!(heads.len(), RECORDS_KEPT + 1);
    let oldest = heads.last().expect("there are some");
    assert_eq!((oldest.revision, oldest.state), (1, RecordState::Good));
    assert_eq!(store.record(&p, 1).await.expect("it answers").expect("it is kept").project, project("p", "a"));
}
