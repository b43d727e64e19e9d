//! One run tells of every error that does not follow from another, each with its place, in the order of the files.

mod memory;

use std::path::Path;

use insta::assert_snapshot;
use mcompose::composefile::{LoadRequest, load, render};
use memory::Memory;

/// What is told of these files of the folder `/p`, merged in their order but for those that are no YAML.
fn told(files: &[(&str, &'static str)]) -> String {
    let names = files.iter().map(|(name, _)| *name).filter(|name| name.ends_with(".yaml") && !name.starts_with("part"));
    let request = LoadRequest { cwd: "/p".into(), files: names.map(str::to_owned).collect(), ..LoadRequest::default() };
    let files = files.iter().map(|(name, text)| (Path::new("/p").join(name), text.as_bytes().to_vec()));
    match load(&request, &mut Memory(files.collect())) {
        Ok(_) => "no error".to_owned(),
        Err(failure) => render(&failure.diagnostics, &failure.sources, false),
    }
}

/// The messages and their places alone.
fn titles(files: &[(&str, &'static str)]) -> String {
    let told = told(files);
    let is_kept = |line: &&str| line.starts_with("error") || line.starts_with("warning") || line.contains("--> ");
    told.lines().filter(is_kept).map(str::trim).collect::<Vec<_>>().join("\n").replace("\n-->", " -->")
}

#[test]
fn errors_of_every_phase_are_told_at_once_with_their_excerpts() {
    let text = "name: p
services:
  web:
    imagee: nginx
    ports: ['80:abc']
    cpu_percent: 300
    depends_on: [dv]
    environment: {A: '${B:?is needed}'}
  db:
    image: postgres
    volumes: ['date:/data']
    env_file: absent.env
    healthcheck: {test: [echo]}
volumes: {data: {}}
";
    assert_snapshot!(told(&[("compose.yaml", text)]), @r#"
    error: services.web.imagee: unknown key
     --> /p/compose.yaml:4:5
      |
    4 |     imagee: nginx
      |     ^^^^^^ did you mean `image`?
    error: services.web.ports[0]: `80:abc`: `abc` is no port and no range of ports
     --> /p/compose.yaml:5:13
      |
    5 |     ports: ['80:abc']
      |             ^^^^^^^^
    error: services.web.cpu_percent must be from 0 to 100
     --> /p/compose.yaml:6:18
      |
    6 |     cpu_percent: 300
      |                  ^^^
    error: service `web` depends on undefined service `dv`
     --> /p/compose.yaml:7:18
      |
    7 |     depends_on: [dv]
      |                  ^^ did you mean `db`?
    error: services.web.environment.A: required variable B is missing a value: is needed
     --> /p/compose.yaml:8:22
      |
    8 |     environment: {A: '${B:?is needed}'}
      |                      ^^^^^^^^^^^^^^^^^
    error: service `db` refers to undefined volume `date`
      --> /p/compose.yaml:11:15
       |
    11 |     volumes: ['date:/data']
       |               ^^^^^^^^^^^^ did you mean `data`?
    error: services.db.env_file: /p/absent.env is not there
      --> /p/compose.yaml:12:15
       |
    12 |     env_file: absent.env
       |               ^^^^^^^^^^
       |
       = help: `required: false` in its long form makes it optional
    error: services.db.healthcheck.test must start with CMD, CMD-SHELL or NONE
      --> /p/compose.yaml:13:26
       |
    13 |     healthcheck: {test: [echo]}
       |                          ^^^^
    "#);
}

#[test]
fn what_follows_from_an_error_is_not_told() {
    // Neither that `web` has no image, nor that the volume is not defined.
    assert_snapshot!(titles(&[("c.yaml", "services: {web: {image: 5}, db: {imag: x, volumes: ['vv:/v']}}\nvolumes: {vv: 7}\n")]), @r#"
    error: services.web.image must be a text, is a number --> /p/c.yaml:1:25
    error: services.db.imag: unknown key --> /p/c.yaml:1:34
    error: volumes.vv must be a mapping or empty, is a number --> /p/c.yaml:2:15
    "#);
    // With a section misspelt, nothing can be said of what names its entries.
    assert_snapshot!(titles(&[("c.yaml", "services: {web: {image: i, cpus: [], volumes: ['vv:/v']}}\nvolume: {vv: {}}\n")]), @r#"
    error: services.web.cpus must be a text or a number, is a list --> /p/c.yaml:1:34
    error: volume: unknown key --> /p/c.yaml:2:1
    "#);
}

#[test]
fn files_that_are_merged_and_included_tell_theirs() {
    let files = [
        ("one.yaml", "include: [part.yaml]\nservices: {web: {image: i, tty: maybe}}\n"),
        ("two.yaml", "services: {web: {init: 3}, job: {image: i, networks: [lost]}}\n"),
        ("part.yaml", "services: {db: {image: i, read_only: []}}\n"),
    ];
    assert_snapshot!(titles(&files), @r#"
    error: services.web.tty must be true or false, is `maybe` --> /p/one.yaml:2:33
    error: services.web.init must be true or false or a text, is a number --> /p/two.yaml:1:24
    error: service `job` refers to undefined network `lost` --> /p/two.yaml:1:55
    error: services.db.read_only must be true or false or a text, is a list --> /p/part.yaml:1:38
    "#);
    assert_snapshot!(titles(&[("one.yaml", "a: [\n"), ("two.yaml", "services: {a: {}, a: {}}\n")]), @r#"
    error: this is no YAML: unclosed bracket '[' --> /p/one.yaml:1:4
    error: the key `a` stands twice in this mapping --> /p/two.yaml:1:19
    "#);
}

#[test]
fn a_variable_without_a_name_is_told_where_it_stands() {
    let files = [
        ("c.yaml", "services: {web: {image: i, env_file: [e.env]}, db: {image: i, environment: ['=B']}}\n"),
        ("e.env", "A=1\n=B\n"),
    ];
    assert_snapshot!(titles(&files), @r"
    error: services.web.environment: a variable has no name --> /p/c.yaml:1:39
    error: services.db.environment: a variable has no name --> /p/c.yaml:1:77
    ");
}

#[test]
fn the_same_text_is_told_each_time() {
    let text = "services: {a: {imag: i, cpus: [], x: 1}, b: {image: i, depends_on: [c, d, e]}, c: {image: i, links: [z]}}\n";
    let first = told(&[("c.yaml", text)]);
    assert!((0..20).all(|_| told(&[("c.yaml", text)]) == first));
}

#[test]
fn what_docker_compose_loses_in_silence_is_told() {
    let text = "services:
  web:
    image: nginx
    command: echo a && echo b
    entrypoint: [sh, '&&']
    restart: on-failure:x
    mem_limit: 1.5e3
    volumes: ['data:/data:r0,cached', 'd:/d']
volumes: {data: , d: }
";
    let request = LoadRequest { cwd: "/p".into(), files: vec!["compose.yaml".to_owned()], ..LoadRequest::default() };
    let loaded = load(&request, &mut Memory([("/p/compose.yaml".into(), text.as_bytes().to_vec())].into())).expect("it loads");
    let limit = loaded.project.services.values().next().and_then(|service| service.mem_limit).map(|size| size.bytes);
    assert_eq!(limit, Some(1500), "an exponent does not make a limit vanish");
    assert_snapshot!(render(&loaded.warnings, &loaded.sources, false), @r#"
    warning: services.web.volumes[0]: `r0` is no option of a volume, and is left out
     --> /p/compose.yaml:8:15
      |
    8 |     volumes: ['data:/data:r0,cached', 'd:/d']
      |               ^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `ro`?
    warning: services.web.volumes[1]: `d:/d` is read as a path on a drive of Windows
     --> /p/compose.yaml:8:39
      |
    8 |     volumes: ['data:/data:r0,cached', 'd:/d']
      |                                       ^^^^^^
      |
      = help: a volume with a name of one letter needs the long form, with `source` and `target`
    warning: services.web.command: `&& echo b` is left out: a command as one text is not run by a shell
     --> /p/compose.yaml:4:14
      |
    4 |     command: echo a && echo b
      |              ^^^^^^^^^^^^^^^^
      |
      = help: write `[sh, -c, "…"]` for a shell to run it
    warning: services.web.restart: `x` is no number of attempts; there is no limit
     --> /p/compose.yaml:6:14
      |
    6 |     restart: on-failure:x
      |              ^^^^^^^^^^^^
    "#);
}

#[test]
fn what_is_elsewhere_is_named_with_the_place_that_asks_for_it() {
    let text = "include: [missing.yaml, github.com/o/r, https://x/y.yaml]
services:
  web: {extends: {file: 'oci://r/p', service: web}}
";
    assert_snapshot!(titles(&[("compose.yaml", text)]), @r"
    error: open /p/missing.yaml: no such file or directory --> /p/compose.yaml:1:11
    error: remote files cannot be included --> /p/compose.yaml:1:25
    error: remote files cannot be included --> /p/compose.yaml:1:41
    error: services.web.extends.file: remote files cannot be extended --> /p/compose.yaml:3:18
    ");
}
