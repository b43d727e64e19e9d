//! What every store keeps, whichever it is: the same specification for the folder and for the swarm's Raft.

mod store_spec;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use mcompose::cluster::Managers;
use mcompose::engine::ErrorKind;
use mcompose::engine::fake::{Fake, Fault, FaultRule};
use mcompose::project::{HostName, Role};
use mcompose::store::{Clock, FolderStore, LOCK_TTL, RaftStore, Store, StoreError};
use mcompose::world::Swarm;
use store_spec::{NO_WAIT, draft, holder, name, project};
use tokio::sync::watch;
use tokio::time::timeout;

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

/// A store that learns who leads, and the host that does.
async fn led(fake: &Fake) -> (RaftStore, &'static str) {
    let world = fake.snapshot();
    let node_id = |host: &str| match world.seen(host).map(|seen| &seen.swarm) {
        Some(Swarm::Active(member)) => Some(member.node_id.clone()),
        _ => None,
    };
    let engines = fake.engines();
    let nodes = engines["a"].nodes().await.expect("it answers");
    let leads = |host: &&str| nodes.iter().any(|node| node.is_leader && Some(&node.id) == node_id(host).as_ref());
    let leader = ["a", "b", "c"].into_iter().find(leads).expect("one of the three leads");
    let managers = Managers::new(engines.into_values().collect()).expect("there are managers");
    let first = HostName::new("a").expect("a good name");
    (RaftStore::new(managers.known_as(|host| node_id(host.as_str())), first), leader)
}

#[tokio::test]
async fn an_empty_store_has_nothing_and_says_so() {
    on_every_store(store_spec::an_empty_store_has_nothing_and_says_so).await;
}

#[tokio::test]
async fn a_record_comes_back_as_it_was_put() {
    on_every_store(store_spec::a_record_comes_back_as_it_was_put).await;
}

#[tokio::test]
async fn the_same_project_again_is_the_same_revision() {
    on_every_store(store_spec::the_same_project_again_is_the_same_revision).await;
}

#[tokio::test]
async fn where_slots_are_is_kept_beside_the_record_and_makes_no_new_one() {
    on_every_store(store_spec::where_slots_are_is_kept_beside_the_record_and_makes_no_new_one).await;
}

#[tokio::test]
async fn what_is_halted_is_kept_beside_the_record_and_makes_no_new_one() {
    on_every_store(store_spec::what_is_halted_is_kept_beside_the_record_and_makes_no_new_one).await;
}

#[tokio::test]
async fn one_supervisor_holds_the_lease_and_the_next_has_it_when_it_is_given_back() {
    on_every_store(store_spec::one_supervisor_holds_the_lease_and_the_next_has_it_when_it_is_given_back).await;
}

#[tokio::test]
async fn a_record_is_newer_than_what_runs_already() {
    on_every_store(store_spec::a_record_is_newer_than_what_runs_already).await;
}

#[tokio::test]
async fn how_far_a_deployment_came_is_written_down_and_the_last_good_one_stays() {
    on_every_store(store_spec::how_far_a_deployment_came_is_written_down_and_the_last_good_one_stays).await;
}

#[tokio::test]
async fn the_last_records_are_kept_and_older_ones_go() {
    on_every_store(store_spec::the_last_records_are_kept_and_older_ones_go).await;
}

#[tokio::test]
async fn projects_are_listed_with_their_newest_record_and_removed_one_by_one() {
    on_every_store(store_spec::projects_are_listed_with_their_newest_record_and_removed_one_by_one).await;
}

#[tokio::test]
async fn a_long_name_and_a_large_project_are_kept_whole() {
    on_every_store(store_spec::a_long_name_and_a_large_project_are_kept_whole).await;
}

#[tokio::test]
async fn values_that_come_from_the_environment_are_not_kept() {
    on_every_store(store_spec::values_that_come_from_the_environment_are_not_kept).await;
}

#[tokio::test]
async fn a_lock_is_held_by_one_and_who_waits_is_told_by_whom() {
    on_every_store(store_spec::a_lock_is_held_by_one_and_who_waits_is_told_by_whom).await;
}

#[tokio::test]
async fn who_waits_gets_the_lock_once_it_is_released() {
    on_every_store(store_spec::who_waits_gets_the_lock_once_it_is_released).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_project_that_was_removed() {
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a"]);
    store.put(draft(project("p", "a"))).await.expect("it is kept");
    store.remove(&name("p")).await.expect("it is removed");
    assert_eq!(fake.engines()["b"].configs("").await.expect("it answers"), []);
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_holder_is_cut_off_is_lost_to_it_and_taken_over_by_another() {
    let fake = swarm_of_three().await;
    let first = raft_over(&fake, &["a"]);
    let lock = first.lock(&name("p"), &holder("first"), NO_WAIT, &|_| {}).await.expect("it is free");
    let mut lost = lock.lost();
    fake.host("a").cut();
    let others = raft_over(&fake, &["b", "c"]);
    let taken = others.lock(&name("p"), &holder("second"), LOCK_TTL * 2, &|_| {}).await.expect("it is taken over");
    lost.wait_for(|lost| *lost).await.expect("the first knows that it lost it");
    fake.host("a").heal();
    let error = first.put(draft(project("p", "late"))).await.expect_err("the lock is another's");
    assert!(error.to_string().contains("second@here"), "{error}");
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

/// A manager that does not know yet that its leader is gone would hang on to the call, and hold up its host's containers.
#[tokio::test(start_paused = true)]
async fn while_the_leader_is_silent_the_others_are_only_listened_to() {
    let fake = swarm_of_three().await;
    let (store, leader) = led(&fake).await;
    store.put(draft(project("p", "one"))).await.expect("it is kept");

    fake.host(leader).cut();
    let no_leader = Fault::Fail { kind: ErrorKind::NoLeader, message: "The swarm does not have a leader".to_owned() };
    fake.fault(FaultRule { host: None, call: "hear".to_owned(), skip: 0, times: 80, fault: no_leader });
    let from = fake.calls().len();
    assert_eq!(store.put(draft(project("p", "two"))).await.expect("it is kept").head.revision, 2);
    let of_others: Vec<_> = fake.calls().split_off(from).into_iter().filter(|call| call.host.as_str() != leader).collect();
    let first = of_others.iter().position(|call| !call.call.starts_with("hear")).expect("the new leader wrote it");
    assert_eq!(of_others[..first].iter().filter(|call| call.failed).count(), 80, "{of_others:?}");
}

/// It has network, and this side does not reach it: nobody tells of a new leader, since there is none.
#[tokio::test(start_paused = true)]
async fn a_leader_that_only_this_side_does_not_reach_is_asked_through_the_others_in_the_end() {
    let fake = swarm_of_three().await;
    let (store, leader) = led(&fake).await;
    store.put(draft(project("p", "one"))).await.expect("it is kept");
    let unreached = Fault::Fail { kind: ErrorKind::Unreachable, message: "no route".to_owned() };
    fake.fault(FaultRule {
        host: Some(leader.to_owned()),
        call: String::new(),
        skip: 0,
        times: u32::MAX,
        fault: unreached.clone(),
    });
    fake.fault(FaultRule { host: None, call: "hear".to_owned(), skip: 0, times: u32::MAX, fault: unreached });
    for revision in [2, 3] {
        let began = tokio::time::Instant::now();
        let draft = draft(project("p", &format!("image-{revision}")));
        assert_eq!(store.put(draft).await.expect("it is kept").head.revision, revision);
        let within = Duration::from_secs(if revision == 2 { 25 } else { 2 });
        assert!(began.elapsed() < within, "{:?}: it is not waited for twice", began.elapsed());
    }
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

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_silent_is_passed_over() {
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a", "b", "c"]);
    fake.fault(FaultRule { host: Some("a".to_owned()), call: String::new(), skip: 0, times: 1000, fault: Fault::Hang });
    let begun = tokio::time::Instant::now();
    store.put(draft(project("p", "nginx"))).await.expect("another manager writes it");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn of_many_that_want_a_lock_one_has_it_at_a_time() {
    let fake = swarm_of_three().await;
    let held = Arc::new(AtomicU32::new(0));
    let managers = ["a", "b", "c"];
    let tasks: Vec<_> = (0..12)
        .map(|number: usize| {
            let store = raft_over(&fake, &[managers[number % 3]]);
            let held = Arc::clone(&held);
            tokio::spawn(async move {
                let lock =
                    store.lock(&name("p"), &holder(&format!("t{number}")), LOCK_TTL * 10, &|_| {}).await.expect("its turn comes");
                assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "two had it");
                tokio::time::sleep(Duration::from_secs(2)).await;
                held.fetch_sub(1, Ordering::SeqCst);
                lock.release().await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no two had it at once");
    }
    assert_eq!(fake.engines()["a"].configs("").await.expect("it answers"), []);
}

#[tokio::test(start_paused = true)]
async fn locks_hold_under_faults_of_every_kind() {
    for seed in 0..60 {
        let fake = swarm_of_three().await;
        fake.faults_by_seed(seed, 150);
        let held = Arc::new(AtomicU32::new(0));
        let tasks: Vec<_> = (0..3)
            .map(|number: usize| {
                let store = raft_over(&fake, &["a", "b", "c"]);
                let (held, fake) = (Arc::clone(&held), fake.clone());
                tokio::spawn(async move {
                    for turn in 0..3 {
                        let me = holder(&format!("seed {seed} task {number} turn {turn}"));
                        // A fault may cut hosts off; what is asked for is safety, and that a healed swarm goes on.
                        let Ok(lock) = store.lock(&name("p"), &me, LOCK_TTL * 4, &|_| {}).await else { continue };
                        let mut lost = lock.lost();
                        assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "two had it, seed {seed}");
                        tokio::select! {
                            _ = lost.wait_for(|lost| *lost) => {}
                            () = tokio::time::sleep(Duration::from_secs(7)) => {}
                        }
                        held.fetch_sub(1, Ordering::SeqCst);
                        lock.release().await;
                        ["a", "b", "c"].iter().for_each(|host| fake.host(host).heal());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no two had it at once");
        }
        ["a", "b", "c"].iter().for_each(|host| fake.host(host).heal());
        fake.heal_faults();
        let store = raft_over(&fake, &["a", "b", "c"]);
        let lock = store.lock(&name("p"), &holder("last"), LOCK_TTL * 2, &|_| {}).await.expect("what is left over ends");
        lock.release().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_slept_for_longer_than_its_lease_lives_knows_that_when_it_wakes_up() {
    let slept = Arc::new(AtomicU64::new(0));
    let fake = swarm_of_three().await;
    let store = raft_over(&fake, &["a", "b", "c"]).with_clock(Clock::Simulated(Arc::clone(&slept)));
    let (_say, says) = watch::channel(String::new());
    let lease = store.lease(&holder("first"), says).await.expect("it is free");
    let mut lost = lease.lost();
    let noticed = async |slept_ms: u64, lost: &mut watch::Receiver<bool>| {
        slept.fetch_add(slept_ms, Ordering::Relaxed);
        timeout(Duration::from_secs(1), lost.wait_for(|lost| *lost)).await.is_ok()
    };
    assert!(!noticed(3_000, &mut lost).await, "a nap");
    assert!(noticed(60_000, &mut lost).await, "a night");
}
