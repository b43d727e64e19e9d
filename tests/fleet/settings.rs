//! What the environment says to docker compose itself, also in an `.env` file, counts here as well.
#![expect(clippy::disallowed_methods, reason = "tests write files")]

use crate::local::Local;

const BOTH: &str = r"
name: settings
services:
  web: {image: 'mcompose-demo:1', command: [demo, serve], scale: 2}
  old: {image: 'mcompose-demo:1', command: [demo, serve]}
";
const WITHOUT: &str = r"
name: settings
services:
  web: {image: 'mcompose-demo:1', command: [demo, serve], scale: 2}
";

#[test]
fn what_docker_compose_reads_of_its_environment_counts_in_an_env_file() {
    let local = Local::new(&[("compose.yaml", BOTH), ("without.yaml", WITHOUT), (".env", "COMPOSE_COMPATIBILITY=1\n")]);
    let say = |text: &str| std::fs::write(local.folder.join(".env"), text).expect("the fleet's folder is writable");
    local.docker_compose(&["up", "-d"]);
    let plan = local.mcompose(&["plan"]);
    assert!(plan.contains("nothing to do"), "{plan}");
    assert_eq!(names(&local), ["settings_old_1", "settings_web_1", "settings_web_2"]);

    let orphans = local.mcompose(&["-f", "without.yaml", "up", "-d"]);
    assert!(orphans.contains("orphan: settings_old_1"), "{orphans}");
    say("COMPOSE_COMPATIBILITY=1\nCOMPOSE_IGNORE_ORPHANS=true\n");
    let ignored = local.mcompose(&["-f", "without.yaml", "up", "-d"]);
    assert!(!ignored.contains("orphan"), "{ignored}");
    let both = local.mcompose_fails(&["-f", "without.yaml", "up", "-d", "--remove-orphans"]);
    assert!(both.contains("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans"), "{both}");
    // Docker compose takes this for a no, and goes on.
    say("COMPOSE_COMPATIBILITY=1\nCOMPOSE_REMOVE_ORPHANS=yes\n");
    local.mcompose(&["-f", "without.yaml", "up", "-d"]);
    assert_eq!(names(&local).len(), 3);
    say("COMPOSE_COMPATIBILITY=1\nCOMPOSE_REMOVE_ORPHANS=1\n");
    local.mcompose(&["-f", "without.yaml", "up", "-d"]);
    assert_eq!(names(&local), ["settings_web_1", "settings_web_2"]);
    local.mcompose(&["down"]);
    assert!(names(&local).is_empty());
}

fn names(local: &Local) -> Vec<String> {
    let mut names = local.host().containers_of("settings");
    names.sort();
    names
}
