//! What becomes of replicas that do not last, told in virtual time: one supervisor, one service, and what was started how often.

use std::sync::PoisonError;
use std::time::Duration;

use mcompose::engine::fake::Behaviour;
use mcompose::project::Project;
use mcompose::supervise::machine::Notice;
use mcompose::world::{Container, Health, State};

use super::dice::Dice;
use super::people::{Diary, Process, Said};
use super::planning;
use super::town::Town;

const SLICE: Duration = Duration::from_millis(200);
const SEED: u64 = 1;

/// One project under supervision.
struct Street {
    town: Town,
    processes: Vec<Process>,
    diary: Diary,
    told: Vec<String>,
}

impl Street {
    fn new(project: &Project, behaviour: Behaviour) -> Self {
        let town = Town::new(SEED, &mut Dice::new(SEED, 1));
        town.fake.behave("crashes:1", behaviour);
        let diary = Diary::default();
        let user = Process::user("user1", project.clone(), &town, &diary);
        let mut street = Self { town, processes: vec![user], diary, told: Vec::new() };
        street.live(6);
        street.processes.push(Process::supervisor("s1", 1, &street.town, &street.diary));
        street
    }

    fn live(&mut self, secs: u64) {
        let until_ms = self.town.now_ms() + secs * 1_000;
        while self.town.now_ms() < until_ms {
            self.processes.iter_mut().for_each(|process| process.live(SLICE));
            self.processes.retain(|process| !process.is_done());
            let next_ms = self.town.now_ms() + SLICE.as_millis() as u64;
            self.town.fake.advance_to(self.town.began_ms + next_ms);
        }
        let said = std::mem::take(&mut *self.diary.lock().unwrap_or_else(PoisonError::into_inner));
        self.told.extend(said.into_iter().filter_map(|(_, _, said)| match said {
            Said::Notice(Notice::Unmet { text, .. }) => Some(text),
            _ => None,
        }));
    }

    /// What happened to containers of the project: `start`, `die`.
    fn count(&self, action: &str) -> usize {
        let is_one = |name: &str| name.contains("shop-");
        let events = self.town.fake.events_from(0).into_iter();
        events.filter(|(_, event)| event.action == action && is_one(&event.name)).count()
    }

    fn container(&self) -> Container {
        let (_, container) = self.town.containers().into_iter().next().expect("there is one");
        container
    }
}

fn crashing(policy: &str) -> Street {
    let project = planning::project(&format!("services: {{web: {{image: 'crashes:1', {policy}}}}}"));
    Street::new(&project, Behaviour { exits: Some((Duration::from_secs(1), 1)), ..Behaviour::default() })
}

#[test]
fn what_its_engine_has_tried_as_often_as_it_may_stays_as_it_is() {
    let mut street = crashing("restart: 'on-failure:3'");
    street.live(60);
    assert_eq!((street.count("start"), street.container().state), (4, State::Exited { code: Some(1) }));
    assert_eq!(
        street.told,
        ["web.1 is not started again: its policy's attempts are used up; `mcompose up` or `start` begins anew"]
    );
}

#[test]
fn an_engine_that_goes_on_for_ever_is_stopped_where_the_policy_has_an_end() {
    let mut street = crashing("deploy: {restart_policy: {max_attempts: 3}}");
    street.live(30);
    let starts = street.count("start");
    assert!((4..=9).contains(&starts), "{starts}");
    assert!(matches!(street.container().state, State::Exited { .. }), "{:?}", street.container().state);
    street.live(90);
    assert_eq!(street.count("start"), starts);
    // Another supervisor knows it from the engine.
    street.processes.clear();
    street.processes.push(Process::supervisor("s1", 2, &street.town, &street.diary));
    street.live(60);
    assert_eq!(street.count("start"), starts);
    assert!(street.told.last().is_some_and(|text| text.contains("is not started again")), "{:?}", street.told);
}

#[test]
fn a_crash_loop_is_told_once_and_backed_off() {
    let loops =
        "web.1 is in a crash loop: it ends or turns unhealthy soon after each start, and is started again after growing pauses";
    let mut street = crashing("deploy: {replicas: 1}");
    street.live(120);
    assert!((6..=9).contains(&street.count("start")), "{}", street.count("start"));
    assert_eq!(street.told, [loops]);
    // Its engine backs off as well, and the supervisor leaves it to that.
    let mut street = crashing("restart: always");
    street.live(120);
    assert_eq!(street.told, [loops]);
    assert_eq!(street.town.fake.sent_from(0).iter().filter(|sent| sent.by == "s1" && sent.call.starts_with("start ")).count(), 0);
}

#[test]
fn who_takes_long_to_turn_unhealthy_is_backed_off_too() {
    let project = planning::project("services: {web: {image: 'crashes:1', deploy: {}, healthcheck: {test: [CMD, check]}}}");
    let unhealthy = Behaviour { health: Health::Unhealthy, health_after: Duration::from_secs(90), ..Behaviour::default() };
    let mut street = Street::new(&project, unhealthy);
    street.live(1_800);
    // At 90 s each it would be twenty.
    let made = street.count("create");
    assert!((9..=13).contains(&made), "{made}");
    assert_eq!(street.told.len(), 1, "{:?}", street.told);
}

#[test]
fn who_is_unhealthy_makes_way_when_the_next_one_is_ready() {
    let project = planning::project(
        "services: {web: {image: 'web:1', deploy: {update_config: {order: stop-first}}, healthcheck: {test: [CMD, check]}}}",
    );
    let mut street = Street::new(&project, Behaviour::default());
    let (host, container) = street.town.containers().into_iter().next().expect("there is one");
    street.town.fake.host(host.as_str()).set_health(container.id.as_str(), Health::Unhealthy);
    street.live(20);
    let events = street.town.fake.events_from(0);
    let at = |action: &str, is_old: bool| {
        events.iter().position(|(_, event)| {
            event.action == action && event.name.contains("shop-web-1") && (event.id == container.id.as_str()) == is_old
        })
    };
    assert!(at("health_status: healthy", false) < at("die", true), "{events:?}");
    assert_eq!(street.town.containers().len(), 1);
    assert_ne!(street.container().id, container.id);
}
