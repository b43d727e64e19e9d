//! What is told of the attributes that a file uses.

mod memory;

use mcompose::composefile::{LoadRequest, Used, model, used};
use memory::Memory;

fn rows(text: &str) -> Vec<Used> {
    let request = LoadRequest { cwd: "/p".into(), files: vec!["compose.yaml".to_owned()], ..LoadRequest::default() };
    let mut files = Memory([("/p/compose.yaml".into(), text.as_bytes().to_vec())].into());
    used(&model(&request, &mut files).expect("the file loads"))
}

#[test]
fn each_attribute_is_told_once_with_what_becomes_of_it_and_who_has_it() {
    let rows = rows(
        "services:
  web: {build: {context: ., isolation: a, target: t}, ports: ['80'], deploy: {replicas: 2, labels: {a: b}}}
  db: {image: i, ports: ['81'], dns: [], models: {m: {endpoint_var: E}}, healthcheck: {test: a, start_interval: 1s}}
models: {m: {model: a}}",
    );
    let told = |path: &str| {
        let row = rows.iter().find(|row| row.attribute.path == path)?;
        Some((row.attribute.support.word(), row.attribute.since, row.by.join(" ")))
    };
    let of = |word, since, by: &str| Some((word, since, by.to_owned()));
    assert_eq!(told("services.*.build"), of("translated", "", "web"));
    assert_eq!(told("services.*.build.isolation"), of("inert", "", "web"));
    assert_eq!(told("services.*.ports"), of("applied", "", "db web"));
    assert_eq!(told("services.*.deploy.labels"), of("inert", "", "web"));
    assert_eq!(told("services.*.healthcheck.start_interval"), of("applied", "1.44", "db"));
    assert_eq!(told("services.*.models"), of("refused", "", "db"));
    assert_eq!(told("networks"), of("translated", "", "default"));
    assert_eq!(told("services.*.build.target"), None, "a part of which there is nothing to say");
    assert_eq!(told("services.*.models.*.endpoint_var"), None, "a part of what is refused");
    assert_eq!(told("services.*.dns"), None, "an empty list");
    assert_eq!(told("volumes.*.name"), None, "none of these is there");
}
